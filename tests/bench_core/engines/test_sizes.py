"""Cores and memory that chains take, and when processes side by side are worth their start."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_core.engines import sizes
from bench_core.engines.resources import GUESS_GIB, Alone, Machine, Needs, Place
from bench_core.engines.sizes import Sizes, expected_jobs, settle_jobs
from bench_core.errors import RequestError
from bench_core.planning.chains import Chain, Plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store

PlanOf = Callable[..., Plan]
AUTO = RunSetting(device="cpu", jobs="auto")


class Known:
    """Stands in for an outlook: the memory of chains by the type of device."""

    def __init__(self, **gib: float) -> None:
        self.gib = gib

    def memory(self, chain: Chain, device: str) -> float | None:
        return self.gib.get(device)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def chain(plan_of: PlanOf, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.setattr(sizes, "threads_here", lambda chain: 4)
    return plan_of().chains[0]


def sizes_on(place: Place, setting: RunSetting = AUTO, **gib: float) -> Sizes:
    outlook: Any = Known(**gib)
    return Sizes(outlook, setting, Machine(8, 64.0, [place]))


def test_chain_on_a_cpu_takes_its_threads_and_the_memory_that_records_know(chain: Chain) -> None:
    assert sizes_on(Place(), cpu=3.5, cuda=9.0).needs(chain) == Needs(4, 3.5)
    assert sizes_on(Place()).needs(chain, Alone.MACHINE) == Needs(4, GUESS_GIB, alone=Alone.MACHINE)


def test_processes_that_read_data_and_ranks_take_cores_too(chain: Chain) -> None:
    assert sizes_on(Place(), replace(AUTO, workers=2)).needs(chain).cores == 6
    assert sizes_on(Place(), replace(AUTO, workers=2, ranks=3)).needs(chain).cores == 18


def test_chain_on_a_gpu_takes_one_core_and_what_its_first_step_or_a_record_tells(chain: Chain) -> None:
    gpu = Place(has_own_memory=True)
    known = sizes_on(gpu, cpu=3.5, cuda=9.0)
    assert known.needs(chain) == Needs(1, GUESS_GIB, 9.0)
    unknown = sizes_on(gpu)
    assert unknown.needs(chain).device_gib is None
    unknown.note_first_step(chain, 0, 7.0, 80.0)
    unknown.note_first_step(replace(chain, seed=1), 0, 6.0, 80.0)  # alike: the larger one counts for both
    assert unknown.device_gib == [80.0]
    assert unknown.needs(replace(chain, seed=2, key="another")).device_gib == 7.0
    other = replace(chain, key="larger", recipe=replace(chain.recipe, batch_size=2 * chain.recipe.batch_size))
    assert unknown.needs(other).device_gib is None


def long(chain: Chain) -> Chain:
    return replace(chain, recipe=replace(chain.recipe, epochs=100_000))


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Function that sets the number of cores of the machine."""
    return lambda count: monkeypatch.setattr("bench_core.engines.resources.cpu_count", lambda: count)


def test_several_long_chains_run_side_by_side_and_all_else_in_this_process(
    plan_of: PlanOf, store: Store, cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cores(4)
    short = list(plan_of(seeds=[0, 1]).chains)
    several = [long(chain) for chain in short]
    assert settle_jobs(AUTO, several, store).jobs == "auto"
    for chains in ([], several[:1], short):
        settled = settle_jobs(AUTO, chains, store)
        assert (settled.jobs, settled.isolate) == (1, False)
    cores(1)
    assert settle_jobs(AUTO, several, store).jobs == 1
    cores(4)
    monkeypatch.delattr("os.killpg")  # as on Windows
    assert settle_jobs(AUTO, several, store).jobs == 1


def test_chains_that_only_embed_count_too(
    plan_of: PlanOf, store: Store, cores: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cores(4)
    untrained = [replace(chain, recipe=replace(chain.recipe, epochs=0)) for chain in plan_of(seeds=[0, 1]).chains]
    monkeypatch.setattr(sizes, "item_operations", lambda chain: 1e12)
    assert settle_jobs(AUTO, untrained, store).jobs == "auto"


def test_number_that_was_typed_stays(plan_of: PlanOf, store: Store) -> None:
    for jobs in (1, 3):
        setting = RunSetting(device="cpu", jobs=jobs)
        assert settle_jobs(setting, plan_of().chains, store) is setting
        assert expected_jobs(setting, plan_of().chains) == jobs


def test_short_chains_with_a_time_limit_have_processes_one_by_one(plan_of: PlanOf, store: Store) -> None:
    settled = settle_jobs(replace(AUTO, time_limit=5.0), plan_of().chains, store)
    assert (settled.jobs, settled.isolate) == (1, True)


def test_device_that_is_not_there_is_an_error_once_chains_run_in_this_process(plan_of: PlanOf, store: Store) -> None:
    with pytest.raises(RequestError, match="device 'cuda:99' cannot be used here"):
        settle_jobs(replace(AUTO, device="cuda:99"), plan_of().chains, store)


def test_estimates_take_the_chains_that_fit(plan_of: PlanOf, chain: Chain, cores: Callable[[int], None]) -> None:
    chains = [chain] * 5  # of 4 threads each
    for count, jobs in ((2, 1), (9, 2), (64, 5)):
        cores(count)
        assert expected_jobs(AUTO, chains) == jobs
    assert expected_jobs(AUTO, []) == 1
