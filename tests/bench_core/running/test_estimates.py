"""Estimates of time and memory from finished cells of the same names, else guessed, else unknown."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench_core.cli import main
from bench_core.planning.chains import Plan, narrowed
from bench_core.plugins import Registry
from bench_core.running.dry_run import screen
from bench_core.running.estimates import Costs, Left, Outlook, Seconds, about, all_left, begun, duration, left_of
from bench_core.running.planned import Announcement, planned, read_planned
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.record import Cost, Record
from bench_core.store.under_way import LiveLog, under_way_folder

PlanOf = Callable[..., Plan]
CPU = RunSetting(device="cpu")
COST = Cost(pretrain_s=40.0, embed_s=2.0, task_s=3.0, images_per_s=100.0, peak_memory_gib=0.5)  # of 2 epochs


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def costs(plan_of: PlanOf, store: Store) -> Costs:
    """Costs of one finished cell: shrink, 2 epochs."""
    assert run_plan(plan_of(), store, CPU) == []
    return Costs([made(record) for record in store.records()])


def made(record: Record) -> Record:
    """Give a record costs that are known."""
    return replace(record, cost=COST)


def test_a_training_takes_its_epochs_times_the_seconds_of_one(costs: Costs, plan_of: PlanOf, store: Store) -> None:
    (left,) = all_left(planned(plan_of(seeds=[1], epochs=5)), store)
    assert (left.epochs, left.epoch_s, left.embeds, left.tasks) == (5, None, True, ["spread"])
    assert costs.of(left) == Seconds(training=100.0, embedding=2.0, tasks=3.0)
    assert costs.memory(left.chain.names) == 0.5
    assert about(costs.of(left)) == "about 2 min"


def test_other_methods_are_a_guess_and_other_data_is_unknown(costs: Costs, plan_of: PlanOf, store: Store) -> None:
    (left,) = all_left(planned(plan_of(seeds=[1])), store)
    other = replace(left.chain, names={**left.chain.names, "method": "other"})
    assert costs.of(replace(left, chain=other)) == Seconds(40.0, 2.0, 3.0, guessed=3)
    assert costs.memory(other.names) is None
    elsewhere = replace(left.chain, names={**left.chain.names, "dataset": "other"})
    assert costs.of(replace(left, chain=elsewhere)) == Seconds(unknown=3)
    assert about(Seconds(unknown=3)) == "unknown time"
    assert about(Seconds(training=40.0, unknown=1)) == "at least 40 s"


def test_a_training_under_way_tells_its_own_speed(costs: Costs, plan_of: PlanOf, store: Store) -> None:
    plan = plan_of(seeds=[1], epochs=10)
    (chain,) = planned(plan).chains
    assert begun(chain, store) == (0, None)
    with LiveLog(under_way_folder(store.chain_folder(chain.key)), {}) as log:
        for epoch, seconds in [(1, 100.0), (2, 1.0), (3, 1.0), (4, 1.0)]:
            log.write({"epoch": epoch, "seconds": seconds})
    left = left_of(chain, store)
    assert (left.epochs, left.epoch_s) == (6, 1.0)  # a median: the first epoch is slow
    assert costs.of(left).training == 6.0


def test_of_many_chains_some_are_looked_up_and_stand_for_all(
    plan_of: PlanOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_plan(plan_of(), store, CPU) == []
    chains, outlook = plan_of(seeds=[1, 2, 3, 4]).chains, Outlook(store)
    every, later = outlook.rest(chains), outlook.later(chains)
    monkeypatch.setattr("bench_core.running.estimates._LOOKED_UP", 2)
    assert outlook.rest(chains).total == pytest.approx(every.total)
    assert outlook.rest(chains[:0]) == Seconds()
    assert Outlook(store).later(chains) == pytest.approx(later)
    assert later == pytest.approx(every.total - outlook.rest(chains[:1]).training)


def test_nothing_is_left_of_a_finished_chain(costs: Costs, plan_of: PlanOf, store: Store) -> None:
    assert all_left(planned(plan_of()), store) == []
    store.record_file(store.records()[0].key).unlink()
    (left,) = all_left(planned(plan_of()), store)
    assert left == Left(left.chain, 0, None, False, ["spread"])  # its weights and embeddings are there


def test_what_a_chain_starts_from_counts_once(
    plan_of: PlanOf, store: Store, add: Callable[[str, str, type], None], registry: Registry
) -> None:
    add("objective", "starts", registry.get("objective", "shrink").cls)
    whole = plan_of(methods=["shrink", "starts"], settings={"starts.init": "shrink"})
    assert [len(chain.tasks) for chain in planned(whole).chains] == [1, 1]
    plan = narrowed(whole, lambda chain, _: chain.method.name == "starts")
    content = planned(plan)
    assert [bool(chain.tasks) for chain in content.chains] == [False, True]
    assert [left.trains for left in all_left(content, store)] == [True, True]
    with Announcement(content, store) as announcement:
        store.create()
        announcement.write()
    assert read_planned(store) == content


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "under 1 s"), (12.4, "12 s"), (99, "99 s"), (100, "2 min"), (3599, "1 h"), (7800, "2 h 10 min"),
     (86400 * 3 + 3600 * 4, "3 d 4 h"), (86400, "1 d")],
)  # fmt: skip
def test_durations_are_written_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_dry_run_of_many_cells_is_grouped(plan_of: PlanOf, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run_plan(plan_of(), store, CPU)
    records = [made(record) for record in store.records()]
    monkeypatch.setattr(Store, "records", lambda self: records)
    lines = screen(plan_of(seeds=list(range(25))), store, (), width=80)
    assert lines == [
        "blobs, tiny: 1 method, 1 task, 25 seeds; 25 cells",
        "25 cells: 1 done, 24 would run; 25 chains, 1 of them pretrained",
        "time     about 18 min: training 16 min, embedding 48 s, tasks 72 s",
        "from     72 of 72 parts measured in this store",
        "longest  shrink on blobs with tiny, seed 1: 45 s; shrink on blobs with tiny,",
        "         seed 2: 45 s; shrink on blobs with tiny, seed 3: 45 s",
        "memory   up to 0.5 GiB (shrink on blobs with tiny, seed 1), measured",
        "--cells lists them one by one, --json too",
    ]
    every = screen(plan_of(seeds=list(range(25))), store, (), width=80, every_cell=True)
    assert sum("blobs/tiny/shrink/spread" in line for line in every) == 25
    assert "time     about 4 min" in screen(plan_of(seeds=list(range(25))), store, (), width=80, jobs=4)[2]


def test_a_dry_run_of_everything_fits_one_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(main, ["run", "--methods", "all", "--tasks", "all", "--dry-run"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()  # of both streams
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("time     unknown time") for line in lines)
