"""Several runs on one store share the work: what others hold is put off, waited for, and never done twice."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError
from bench_core.planning.chains import Chain, Plan
from bench_core.running.failures import attempt
from bench_core.running.pending import FailedTrainings, to_run
from bench_core.running.progress import NoProgress
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.running.shared_queue import SharedQueue
from bench_core.store import Store
from bench_core.store.claims import Claim, Claims
from bench_core.store.per_item import pack_items
from bench_core.training.stopping import Stop, Stopped
from tests.conftest import Shrink

PlanOf = Callable[..., Plan]
QUICK = RunSetting(device="cpu", command="bench run --test", claim_beat=0.05, claim_stale=0.5)


class Starts(Shrink):
    """Starts from the weights of another (a toy)."""


class Lines(NoProgress):
    """Keeps the lines of a run, and calls a function at each."""

    def __init__(self, on_line: Callable[[str], object] = lambda line: None) -> None:
        self.lines: list[str] = []
        self.on_line = on_line

    def chain(self, number: int, total: int, label: str) -> None:
        self.log(f"[{number}/{total}] {label}")

    def log(self, text: str) -> None:
        self.lines.append(text)
        self.on_line(text)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    store.create()
    return store


@pytest.fixture
def with_source(plan_of: PlanOf, add: Callable[[str, str, type], None]) -> Plan:
    """Plan of two chains, of which the second starts from the first."""
    add("objective", "starts", Starts)
    return plan_of(methods=["shrink", "starts"], settings={"starts.init": "shrink"})


@pytest.fixture
def others(store: Store) -> Iterator[Claims]:
    """The claims of another process, as far as files can tell."""
    with Claims(store.path, 0.05, 0.5, "bench run --other") as claims:
        yield claims


def claimed(claims: Claims, chain: Chain) -> Claim:
    claim = claims.try_claim(chain.key)
    assert claim is not None
    return claim


def claim_files(store: Store) -> list[str]:
    return [path.name for path in (store.path / "claims").iterdir()]


def in_background(function: Callable[[], object], wait_s: float) -> threading.Timer:
    timer = threading.Timer(wait_s, function)
    timer.start()
    return timer


def trainings(monkeypatch: pytest.MonkeyPatch, before: Callable[[str], object] = lambda key: None) -> list[str]:
    """Return a list to which the keys of chains are added whose training begins."""
    from bench_core.running import chain as module

    train, keys = module._train, list[str]()

    def counted(chain: Chain, *args: Any, **kwargs: Any) -> None:
        keys.append(chain.key)
        before(chain.key)
        train(chain, *args, **kwargs)

    monkeypatch.setattr(module, "_train", counted)
    return keys


def test_chain_of_another_process_is_put_off_and_waited_for(plan_of: PlanOf, store: Store, others: Claims) -> None:
    plan = plan_of(seeds=[0, 1])
    first, second = plan.chains
    claim = claimed(others, first)
    progress = Lines(lambda line: claim.release() if line.startswith("waiting") else None)
    assert run_plan(plan, store, QUICK, progress) == []
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    heads = [line for line in progress.lines if not line.startswith(" ")]
    assert heads == [f"[2/2] {second.label}", f"waiting for {first.label}, trained by {holder}", f"[1/2] {first.label}"]
    assert len(store.records()) == 2
    assert claim_files(store) == []


def test_cells_that_another_process_has_finished_meanwhile_are_not_run(
    plan_of: PlanOf, store: Store, others: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(seeds=[0, 1])
    first, second = plan.chains
    claim = claimed(others, first)
    trained = trainings(monkeypatch)

    def finish_elsewhere(line: str) -> None:
        if line.startswith("waiting"):
            claim.release()
            run_plan(plan_of(seeds=[0]), store, QUICK)

    progress = Lines(finish_elsewhere)
    assert run_plan(plan, store, QUICK, progress) == []
    assert trained == [second.key, first.key]
    assert not any(line.startswith("[1/2]") for line in progress.lines)
    assert claim_files(store) == []


def test_failure_that_another_process_records_meanwhile_is_reported_and_not_retried(
    with_source: Plan, store: Store, others: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, chain = with_source.chains
    claim = claimed(others, source)
    trained = trainings(monkeypatch)

    def fail() -> None:
        store.add_attempt(attempt(source.cells[0], "nan", "the loss is not finite", [], 1.0, {}))
        claim.release()

    timer = in_background(fail, 0.5)
    failed = run_plan(with_source, store, QUICK)
    timer.join()
    assert trained == []
    assert [(cell.kind, cell.error) for cell in failed] == [
        ("nan", "the loss is not finite"),
        ("nan", f"its source chain ({source.label}) failed: the loss is not finite"),
    ]
    assert chain.cells[0].key in {record["key"] for record in store.attempts()}
    assert claim_files(store) == []


def test_chain_that_another_process_was_stopped_in_is_taken(plan_of: PlanOf, store: Store, others: Claims) -> None:
    plan = plan_of()
    claim = claimed(others, plan.chains[0])

    def stop() -> None:
        store.add_attempt(attempt(plan.cells[0], "preempted", "its process got a stop signal", [], 1.0, {}))
        claim.release()

    timer = in_background(stop, 0.3)
    assert run_plan(plan, store, QUICK) == []
    timer.join()
    assert len(store.records()) == 1


def test_source_is_trained_once_under_its_own_claim(
    with_source: Plan, store: Store, others: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, chain = with_source.chains
    held: list[dict[str, object]] = []
    trained = trainings(monkeypatch, lambda key: held.append({key: set(others.holders())}))
    only = replace(with_source, chains=(chain,))
    assert run_plan(only, store, QUICK) == []
    assert trained == [source.key, chain.key]
    assert held == [{source.key: {source.key}}, {chain.key: {chain.key}}]


def test_chain_whose_source_another_process_trains_waits_and_others_go_on(
    plan_of: PlanOf, with_source: Plan, store: Store, others: Claims
) -> None:
    source, chain = with_source.chains
    claim = claimed(others, source)
    free = plan_of(seeds=[1])
    progress = Lines(lambda line: claim.release() if line.startswith("waiting") else None)
    assert run_plan(replace(with_source, chains=(chain, *free.chains)), store, QUICK, progress) == []
    heads = [line.partition(",")[0] for line in progress.lines if not line.startswith(" ")]
    assert heads[0].startswith("[2/2]")
    assert heads[1] == f"waiting for {source.label}".partition(",")[0]
    assert heads[2].startswith("[1/2]")


def test_stop_signal_ends_the_wait_at_once(plan_of: PlanOf, store: Store, others: Claims) -> None:
    plan = plan_of()
    setting = replace(QUICK, stop=Stop(), claim_beat=1.0, claim_stale=60.0)
    with claimed(others, plan.chains[0]):
        began = time.monotonic()
        with pytest.raises(Stopped), setting.stop.listening():
            run_plan(plan, store, setting, Lines(lambda line: signal.raise_signal(signal.SIGTERM)))
        assert time.monotonic() - began < 0.9
    assert store.records() == []


def test_claim_of_a_process_that_gives_no_sign_of_life_is_taken_over(
    plan_of: PlanOf, store: Store, others: Claims
) -> None:
    plan = plan_of()
    claim = claimed(others, plan.chains[0])
    claim._ended.set()
    assert run_plan(plan, store, QUICK) == []
    assert len(store.records()) == 1
    assert claim_files(store) == []


def test_training_whose_claim_is_lost_stops_at_its_next_step_and_publishes_nothing(
    plan_of: PlanOf, store: Store, others: Claims
) -> None:
    plan = plan_of(epochs=3)
    (chain,) = plan.chains
    epochs: list[int] = []
    seen: list[Mapping[str, bool]] = []

    class Sleeps(Lines):
        def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
            epochs.append(done)
            if len(epochs) == 1:
                (path,) = (store.path / "claims").iterdir()
                path.unlink()  # taken over and released: as this process slept for long
                other = claimed(others, chain)
                time.sleep(0.1)  # longer than a beat
                in_background(other.release, 0.5)

        def log(self, text: str) -> None:
            super().log(text)
            if "another process has taken over" in text:
                files = list(store.path.glob("chains/*.under-way/*.safetensors"))
                seen.append({"trained": store.chain_folder(chain.key).exists(), "checkpoint": bool(files)})

    progress = Sleeps()
    assert run_plan(plan, store, replace(QUICK, checkpoint_every=1e6), progress) == []
    assert seen == [{"trained": False, "checkpoint": False}]
    assert epochs == [1, 1, 2, 3]
    assert [line.split(",")[0] for line in progress.lines if line.startswith("waiting")] == [
        f"waiting for {chain.label}".split(",")[0]
    ]
    assert len(store.records()) == 1
    assert store.attempts() == []
    assert claim_files(store) == []


def test_record_of_a_task_whose_claim_was_lost_is_not_written(
    plan_of: PlanOf, store: Store, others: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of()
    (chain,) = plan.chains
    run_plan(plan, store, QUICK)
    store.record_file(plan.cells[0].key).unlink()
    calls: list[int] = []

    def slow(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            (path,) = (store.path / "claims").iterdir()
            path.unlink()
            other = claimed(others, chain)
            time.sleep(0.1)
            assert not store.records()
            in_background(other.release, 0.3)
        else:
            assert not store.records()
        return pack_items(*args)

    monkeypatch.setattr("bench_core.running.evaluate.pack_items", slow)
    assert run_plan(plan, store, QUICK) == []
    assert len(calls) == 2
    assert len(store.records()) == 1


def test_no_claim_is_left_after_a_stop_or_a_failure(plan_of: PlanOf, store: Store) -> None:
    setting = replace(QUICK, stop=Stop())

    class StopsAtOnce(Lines):
        def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
            setting.stop.request(signal.SIGTERM)

    with pytest.raises(Stopped):
        run_plan(plan_of(), store, setting, StopsAtOnce())
    assert claim_files(store) == []


@pytest.mark.parametrize(
    ("beat", "stale", "named"),
    [
        (0.0, 300.0, "claim-beat must be a number of seconds above 0, got 0.0"),
        (float("nan"), 300.0, "claim-beat must be"),
        (30.0, 60.0, "claim-stale must be at least 3 times claim-beat, 90 seconds, got 60.0; 300 is the default"),
        (1.0, float("inf"), "claim-stale must be"),
        (1.0, "x", "claim-stale must be"),
    ],
)
def test_times_of_claims_have_a_range(beat: Any, stale: Any, named: str) -> None:
    with pytest.raises(RequestError, match=named):
        RunSetting(device="cpu", claim_beat=beat, claim_stale=stale)


def test_a_chain_that_is_claimed_is_looked_at_after_all_others(
    plan_of: PlanOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, claims, asked = plan_of(seeds=[0, 1, 2]), Claims(store.path), list[str]()
    held = Claims(store.path).try_claim(plan.chains[0].key)
    assert held
    queue = SharedQueue(to_run(plan, store), store, claims, FailedTrainings(store))
    monkeypatch.setattr(claims, "holder", asked.append)
    first = queue.take()
    assert first
    assert (first.waiting.chain.key, asked) == (plan.chains[1].key, [])
    with first.claim, held:
        assert claims.keys() == {chain.key for chain in plan.chains[:2]}
        second = queue.take()
        assert second
        assert second.waiting.chain.key == plan.chains[2].key
        second.claim.release()
    assert claims.keys() == set()
