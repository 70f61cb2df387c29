"""Weights along the way are kept, and each task can be run on them."""

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench_core.engines.command_line import run_command
from bench_core.errors import RequestError, StoreError
from bench_core.files import file_digest
from bench_core.keys import key_of
from bench_core.planning.at_epochs import at_epochs
from bench_core.planning.chains import Chain, Plan
from bench_core.planning.request import Request
from bench_core.running.kept_epochs import cost_until
from bench_core.running.progress import NoProgress
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.chain_files import read_summary
from bench_core.store.merge import apply, compare_stores
from bench_core.training.stopping import Stop, Stopped
from tests.chain_forms import rewrite


@pytest.fixture
def plan(plan_of: Callable[..., Plan]) -> Plan:
    """One training of 4 epochs with one task."""
    return plan_of(seeds=[0], epochs=4)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def run(plan: Plan, store: Store, **setting: Any) -> None:
    assert run_plan(plan, store, RunSetting(device="cpu", **setting)) == []


def kept(chain: Chain, store: Store) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (store.chain_folder(chain.key) / "epochs").glob("*")}


def test_every_second_epoch_is_kept_and_the_training_stays_the_same(plan: Plan, store: Store, tmp_path: Path) -> None:
    plain, (chain,) = Store(tmp_path / "plain"), plan.chains
    run(plan, store, keep_every=2)
    run(plan, plain)
    weights = [one.chain_folder(chain.key) / "weights.safetensors" for one in (store, plain)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert sorted(kept(chain, store)) == ["0002.safetensors", "0004.safetensors"]
    assert kept(chain, store)["0004.safetensors"] == weights[0].read_bytes() != kept(chain, store)["0002.safetensors"]
    summary = read_summary(store.chain_folder(chain.key))
    digest = file_digest(store.chain_folder(chain.key) / "epochs" / "0002.safetensors")
    assert summary["epochs"]["2"] == digest
    assert not (plain.chain_folder(chain.key) / "epochs").exists()


def test_weights_after_an_epoch_are_those_of_a_training_that_was_stopped_there(
    plan: Plan, store: Store, tmp_path: Path
) -> None:
    (chain,) = plan.chains
    run(plan, store, keep_every=1)
    whole = kept(chain, store)

    stopped, stop = Store(tmp_path / "stopped"), Stop()

    class StopAfterTwo(NoProgress):
        """Asks for a stop after the second epoch."""

        def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
            if done == 2:
                stop.request(signal.SIGTERM)

    with pytest.raises(Stopped):
        run_plan(plan, stopped, RunSetting(device="cpu", keep_every=1, stop=stop), StopAfterTwo())
    assert not stopped.chain_folder(chain.key).exists()
    run(plan, stopped, keep_every=1)
    assert kept(chain, stopped) == whole
    assert read_summary(stopped.chain_folder(chain.key))["provenance"]["resumed"] == 1


def test_cells_of_epochs_have_keys_and_rows_of_their_own_and_others_keep_theirs(plan: Plan) -> None:
    (cell,) = plan.chains[0].cells
    (chain,) = at_epochs(plan, [3, 1]).chains
    assert (chain.key, chain.document) == (plan.chains[0].key, plan.chains[0].document)
    assert [one.names["method"] for one in chain.cells] == ["shrink @ 1 epoch", "shrink @ 3 epochs"]
    assert [one.document["embed"]["epoch"] for one in chain.cells] == [1, 3]
    assert all(one.key == key_of(one.document) for one in chain.cells)
    assert len({cell.key, *(one.key for one in chain.cells)}) == 3
    assert at_epochs(plan, []) is plan


def test_a_row_of_an_epoch_has_the_scores_of_its_weights_and_the_cost_until_then(plan: Plan, store: Store) -> None:
    run(plan, store)
    (last,) = store.records()
    run(at_epochs(plan, []), store)
    other = Store(store.path.with_name("other"))
    run(at_epochs(plan, [2, 4]), other, keep_every=2)
    records = {record.document.embed["epoch"]: record for record in other.records()}
    assert records[4].scores == last.scores
    assert records[2].scores != last.scores
    assert records[2].cost.pretrain_s is not None
    assert records[4].cost.pretrain_s is not None
    assert 0 < records[2].cost.pretrain_s < records[4].cost.pretrain_s


def test_epochs_that_are_not_kept_are_refused_before_anything_runs(plan: Plan, store: Store) -> None:
    with pytest.raises(RequestError, match=r"after epochs 2, 4 would not be kept; add --keep-every 2"):
        run(at_epochs(plan, [2, 4]), store)
    with pytest.raises(RequestError, match=r"after epoch 4 would not be kept; add --keep-every 4"):
        run(at_epochs(plan, [4]), store, keep_every=3)
    assert not store.exists()
    run(plan, store, keep_every=3)
    with pytest.raises(
        RequestError, match=r"weights after epochs 2, 4, but only those after epoch 3.*--keep-every 1 --rerun shrink"
    ):
        run(at_epochs(plan, [2, 3, 4]), store)


@pytest.mark.parametrize(
    ("epochs", "message"),
    [([5], "is trained for 4 epochs, and --at asks for epoch 5"), ([0], "whole numbers from 1, got 0"),
     ([1.5], "whole numbers from 1, got 1.5")],
)  # fmt: skip
def test_epochs_that_there_are_not_are_refused(plan: Plan, epochs: list[Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        at_epochs(plan, epochs)


def test_kept_weights_are_merged(plan: Plan, store: Store, tmp_path: Path) -> None:
    run(plan, store, keep_every=2)
    ours = Store(tmp_path / "ours")
    apply(compare_stores(store.path, ours), ours)
    assert kept(plan.chains[0], ours) == kept(plan.chains[0], store) != {}


@pytest.mark.parametrize("epoch", ["../2", "0", "2.0", "many"])
def test_a_summary_with_an_epoch_that_is_none_is_refused(plan: Plan, store: Store, epoch: str) -> None:
    run(plan, store, keep_every=2)
    folder = store.chain_folder(plan.chains[0].key)
    summary = read_summary(folder)
    rewrite(folder, "summary", epochs={epoch: summary["weights_sha256"]})
    with pytest.raises(StoreError, match="epochs"):
        read_summary(folder)


def test_cost_until_an_epoch_is_the_sum_of_its_seconds(tmp_path: Path) -> None:
    lines = [{"epoch": epoch, "step": 3 * epoch, "seconds": 0.5} for epoch in (1, 2, 3)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cost_until(tmp_path, 2) == {"steps": 6, "pretrain_s": 1.0}
    assert cost_until(tmp_path, 4) == {}


def test_a_process_for_one_chain_gets_the_epochs(tmp_path: Path) -> None:
    request = Request(methods=["nac"], at_epochs=[10, 20], data_root=tmp_path)
    words = run_command(request, RunSetting(device="cpu", keep_every=10), tmp_path)
    assert {"--at=epochs=10,20", "--keep-every=10"} <= set(words)
