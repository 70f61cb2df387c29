import base64
import json
import math
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bench_core import DataSpec, Evaluation, Evaluator, Frozen, NoConfig, Objective, PerItem, Score, Split
from bench_core.devices import to_channels_last
from bench_core.errors import DataMissingError, RequestError, StoreError
from bench_core.files import sealed, write_over
from bench_core.planning.chains import Cell, Chain, Plan
from bench_core.plugins import Registry
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.running.chain import build_objective
from bench_core.running.pending import missing
from bench_core.running.progress import NoProgress
from bench_core.running.runner import _PlanRun, run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.chain_files import read_finished_log, read_recipe, read_summary
from bench_core.store.per_item import unpack_items
from bench_core.store.record import Record
from bench_core.store.tensors import load_tensors
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.stopping import Stop, Stopped

PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]
CPU = RunSetting(device="cpu", command="bench run --test")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def first_value(record: Record) -> float:
    value = next(iter(record.scores.values())).value
    assert value is not None
    return value


def weights(store: Store, plan: Plan) -> bytes:
    return (store.chain_folder(plan.chains[0].key) / "weights.safetensors").read_bytes()


def test_record_holds_document_scores_provenance_and_cost(plan_of: PlanOf, store: Store) -> None:
    plan = plan_of()
    assert run_plan(plan, store, CPU) == []
    (record,) = store.records()
    assert record.document.content == plan.cells[0].document
    assert record.document.component("dataset")["digest"] == "blobs-1"
    assert record.document.recipe["epochs"] == 2
    assert record.stored["scores"][0].keys() == {
        "metric", "value", "unit", "higher_is_better", "chance", "best", "embedding", "n", "ranks", "caveat",
    }  # fmt: skip
    assert record.provenance.command == "bench run --test"
    assert record.stored["provenance"].keys() >= {
        "bench", "torch", "commit", "dirty", "device", "threads", "cuda", "precision", "started", "ended", "packages",
    }  # fmt: skip
    assert record.stored["cost"].keys() == {
        "pretrain_s",
        "embed_s",
        "task_s",
        "images_per_s",
        "peak_memory_gib",
        "steps",
    }
    assert record.parameters == sum(p.numel() for p in build_objective(plan.chains[0]).encoder.parameters())


def test_chain_folder_holds_recipe_log_weights_and_embeddings(plan_of: PlanOf, store: Store) -> None:
    plan = plan_of()
    run_plan(plan, store, CPU)
    folder = store.chain_folder(plan.chains[0].key)
    recipe = read_recipe(folder)
    assert recipe["doc"]["recipe"]["weight_decay"] == 0.0  # every default is written out
    log = read_finished_log(folder)
    assert [line["epoch"] for line in log] == [1, 2]
    assert log[0].keys() >= {"loss", "difference", "images_per_s", "peak_memory_gib", "learning_rate", "step"}
    embeddings = folder / "embeddings" / plan.chains[0].embed_key
    assert sorted(path.name for path in embeddings.glob("*.safetensors")) == ["test.safetensors", "train.safetensors"]


def test_second_run_of_the_same_plan_runs_nothing(
    plan_of: PlanOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_plan(plan_of(), store, CPU)
    monkeypatch.setattr("bench_core.running.chain.pretrain", None)
    monkeypatch.setattr("bench_core.running.chain.embed_all", None)
    assert run_plan(plan_of(), store, CPU) == []
    assert missing(plan_of().chains[0], store) == []


def test_a_new_task_on_a_pretrained_chain_trains_and_embeds_nothing(
    plan_of: PlanOf, add: Add, store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_plan(plan_of(), store, CPU)
    add("evaluator", "again", registry.get("evaluator", "spread").cls)
    monkeypatch.setattr("bench_core.running.chain.pretrain", None)
    monkeypatch.setattr("bench_core.running.chain.embed_all", None)
    assert run_plan(plan_of(tasks=["spread", "again"]), store, CPU) == []
    assert len(store.records()) == 2


def test_a_chain_run_twice_gives_the_same_bits(plan_of: PlanOf, tmp_path: Path) -> None:
    stores = [Store(tmp_path / name) for name in ("a", "b")]
    for store in stores:
        run_plan(plan_of(), store, CPU)
        torch.rand(7)  # the state of the global generator must not matter
    assert weights(stores[0], plan_of()) == weights(stores[1], plan_of())
    assert stores[0].records()[0].scores == stores[1].records()[0].scores


def test_another_method_in_the_plan_changes_no_numbers(
    plan_of: PlanOf, add: Add, registry: Registry, tmp_path: Path
) -> None:
    add("objective", "another", registry.get("objective", "shrink").cls)
    alone, together = Store(tmp_path / "a"), Store(tmp_path / "b")
    run_plan(plan_of(), alone, CPU)
    run_plan(plan_of(methods=["another", "shrink"]), together, CPU)
    key = plan_of().cells[0].key
    assert alone.record(key).scores == together.record(key).scores  # type: ignore[union-attr]  # both are there


def test_run_leaves_the_global_generator_unchanged(plan_of: PlanOf, store: Store) -> None:
    state = torch.get_rng_state()
    run_plan(plan_of(), store, CPU)
    assert torch.equal(state, torch.get_rng_state())


def test_infinite_loss_is_recorded_with_its_step_and_parts_and_other_chains_run(
    plan_of: PlanOf, store: Store, tmp_path: Path
) -> None:
    board = tmp_path / "b.toml"
    board.write_text('[methods.shrink]\n[methods.broken]\nuse = "shrink"\nbroken = true\n')
    plan = plan_of(methods=["broken", "shrink"], board=str(board))
    (failure,) = run_plan(plan, store, CPU)
    assert failure.kind == "nan"
    assert "the loss of main is inf at step 0; its parts: {'difference': " in failure.error
    assert [record.names["method"] for record in store.records()] == ["shrink"]
    (attempt,) = store.attempts()
    assert (attempt["kind"], attempt["names"]["method"]) == ("nan", "broken")
    states = [entry.state for entry in plan_entries(plan, store.records(), store.attempts())]
    assert states == ["failed", "done"]


class Breaks(Evaluator):
    """Always raises an error (a toy)."""

    def __init__(self, config: Any) -> None:
        pass

    def evaluate(self, frozen: Frozen) -> Evaluation:
        raise RuntimeError("no luck\ntoday")


class Forbidden(Breaks):
    """Skips every chain (a toy)."""

    def skip_reason(self, data: Any, objective: type[Objective]) -> str | None:
        return "never fits"


def test_failed_or_skipped_task_stops_no_other_task(plan_of: PlanOf, add: Add, store: Store) -> None:
    add("evaluator", "breaks", Breaks)
    add("evaluator", "forbidden", Forbidden)
    plan = plan_of(tasks=["breaks", "forbidden", "spread"])
    (failure,) = run_plan(plan, store, CPU)
    assert failure.error == "RuntimeError: no luck today"
    entries = plan_entries(plan, store.records(), store.attempts())
    assert [(entry.state, entry.reason) for entry in entries] == [
        ("failed", "error: RuntimeError: no luck today"),
        ("skipped", "never fits"),
        ("done", ""),
    ]
    assert len(run_plan(plan, store, CPU)) == 1  # a second run tries it again


class ReadsMethodAndInputs(Evaluator):
    """Embeds the test inputs with the frozen method and compares with the stored embeddings (a toy)."""

    def __init__(self, config: Any) -> None:
        pass

    def evaluate(self, frozen: Frozen) -> Evaluation:
        method, inputs = frozen.method(), frozen.inputs("test").inputs
        assert not method.training
        assert not any(p.requires_grad for p in method.parameters())
        assert isinstance(inputs, torch.Tensor)
        features = method.embed(inputs.float() / 255)["features"]
        error = float((features - frozen.splits["test"].embeddings["features"]).abs().max())
        return Evaluation(scores=[Score(metric="error", value=error, unit="", n=1)], protocol="none")


def test_evaluator_can_read_the_frozen_method_and_the_inputs(plan_of: PlanOf, add: Add, store: Store) -> None:
    add("evaluator", "reads", ReadsMethodAndInputs)
    assert run_plan(plan_of(tasks=["reads"]), store, CPU) == []
    assert first_value(store.records()[0]) < 1e-6


class Shows(Evaluator):
    """Reads another dataset, and returns two of its images (a toy)."""

    def __init__(self, config: Any) -> None:
        pass

    def datasets(self, data: DataSpec) -> list[str]:
        return ["blobs"]

    def evaluate(self, frozen: Frozen) -> Evaluation:
        images = frozen.others["blobs"].load("test").inputs
        assert isinstance(images, torch.Tensor)
        score = Score(metric="items", value=len(images), unit="count", n=len(images))
        return Evaluation(scores=[score], protocol="none", images={"first": images[:2]})


def test_evaluator_gets_the_datasets_that_it_names_and_can_return_images(
    plan_of: PlanOf, add: Add, store: Store
) -> None:
    add("evaluator", "shows", Shows)
    assert run_plan(plan_of(tasks=["shows"]), store, CPU) == []
    (record,) = store.records()
    assert first_value(record) == 16
    assert base64.b64decode(record.images["first"]).startswith(b"\x89PNG")


class ByItem(Evaluator):
    """Returns the result of each item (a toy)."""

    value = 0.25

    def __init__(self, config: Any) -> None:
        pass

    def evaluate(self, frozen: Frozen) -> Evaluation:
        items = {"top1": PerItem(torch.arange(16) < 4)}
        return Evaluation(scores=[Score(metric="top1", value=self.value, n=16)], protocol="none", items=items)


def test_per_item_results_are_stored_if_their_mean_is_the_score(
    plan_of: PlanOf, add: Add, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("evaluator", "by_item", ByItem)
    plan = plan_of(tasks=["by_item"])
    monkeypatch.setattr(ByItem, "value", 0.5)
    [failed] = run_plan(plan, store, CPU)
    assert "per-item results do not belong to their score: top1 is 0.5, and the mean of its values 0.25" in failed.error
    monkeypatch.setattr(ByItem, "value", 0.25)
    assert run_plan(plan, store, CPU) == []
    (record,) = store.records()
    assert unpack_items(record.items["top1"]).tolist() == [1.0] * 4 + [0.0] * 12


def test_missing_data_ends_the_run_before_anything_is_trained_and_leaves_no_store(
    plan_of: PlanOf, add: Add, store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_missing(dataset: object, split: str) -> Split:
        raise DataMissingError(f"{split} is missing")

    blobs = registry.get("dataset", "blobs").cls
    add("dataset", "missing", type("Missing", (blobs,), {"load": raise_missing, "digest": lambda _: "missing"}))
    with pytest.raises(DataMissingError, match="train is missing"):
        run_plan(plan_of(datasets=["blobs", "missing"]), store, CPU)
    assert not store.path.exists()


def test_store_that_cannot_be_written_ends_the_run_before_anything_is_trained(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[object] = []
    monkeypatch.setattr("bench_core.running.chain.pretrain", lambda *_, **__: trained.append(1))
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="cannot be written"):
        run_plan(plan_of(), Store(tmp_path / "file" / "runs"), CPU)
    assert trained == []


def test_a_damaged_weights_file_is_refused(plan_of: PlanOf, store: Store) -> None:
    plan = plan_of()
    run_plan(plan, store, CPU)
    path = store.chain_folder(plan.chains[0].key) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(StoreError, match=r"weights\.safetensors is missing or damaged; delete"):
        load_tensors(path, read_summary(path.parent)["weights_sha256"])


@pytest.mark.parametrize("name", ["train.safetensors", "done.json"])
def test_damaged_embeddings_are_computed_again_from_good_weights(name: str, plan_of: PlanOf, store: Store) -> None:
    run_plan(plan_of(), store, CPU)
    (expected,) = store.records()
    (path,) = store.path.glob(f"chains/*/embeddings/*/{name}")
    written = path.read_bytes()
    path.write_bytes(written.replace(b"0", b"1"))
    assert path.read_bytes() != written
    store.record_file(expected.key).unlink()
    assert run_plan(plan_of(), store, CPU) == []
    assert store.records()[0].scores == expected.scores
    if name != "done.json":  # which holds seconds
        assert path.read_bytes() == written


def test_embeddings_that_lack_a_name_are_made_again_from_the_weights(
    plan_of: PlanOf, store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_record() -> Path:
        store.record_file(store.records()[0].key).unlink()
        return next(store.path.glob("chains/*/embeddings/*"))

    lines: list[str] = []

    class Listens(NoProgress):
        def log(self, text: str) -> None:
            lines.append(text)

    run_plan(plan_of(), store, CPU)
    (expected,) = store.records()
    folder = without_record()
    features = load_file(folder / "test.safetensors")["features"]
    done = json.loads((folder / "done.json").read_text())
    assert done["sources"] == plan_of().chains[0].sources
    write_over(folder / "done.json", sealed({"digests": done["digests"], "embed_s": 0.0}))  # as older code wrote it
    cls = registry.get("objective", "shrink").cls
    monkeypatch.setattr("bench_core.running.chain.pretrain", None)

    run_plan(plan_of(), store, CPU, Listens())
    assert not [line for line in lines if "lack" in line]  # the same names: nothing is embedded
    assert json.loads((folder / "done.json").read_text())["embed_s"] == 0

    def embed(self: Any, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.encoder(inputs)
        return {"features": features, "code": features > 0}

    monkeypatch.setattr(cls, "embed", embed)
    without_record()
    assert run_plan(plan_of(), store, CPU, Listens()) == []
    assert "  the embeddings lack 'code', which shrink gives now; embedding again" in lines
    assert store.records()[0].scores == expected.scores
    now = load_file(folder / "test.safetensors")
    assert torch.equal(now["features"], features)
    assert torch.equal(now["code"], features > 0)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]

    without_record()
    monkeypatch.setattr("bench_core.running.chain.lacking_names", None)  # known code is not tried
    assert run_plan(plan_of(), store, CPU) == []


def test_checkpoints_beside_a_trained_chain_are_deleted(plan_of: PlanOf, store: Store) -> None:
    run_plan(plan_of(), store, CPU)
    checkpoints = store.path / "chains" / f"{plan_of().chains[0].key}.under-way"
    checkpoints.mkdir()
    store.record_file(store.records()[0].key).unlink()
    run_plan(plan_of(), store, CPU)
    assert not checkpoints.exists()


def test_run_stopped_after_another_process_trained_the_chain_leaves_no_checkpoints(
    plan_of: PlanOf, store: Store
) -> None:
    setting = replace(CPU, stop=Stop())

    class TrainsTheChainElsewhere(NoProgress):
        def epoch(self, done: int, total: int, line: object) -> None:
            shutil.rmtree(store.path / "claims")  # this process slept, and the other one took its claim over
            assert run_plan(plan_of(), store, CPU) == []
            setting.stop.request(signal.SIGTERM)

    with pytest.raises(Stopped):
        run_plan(plan_of(), store, setting, TrainsTheChainElsewhere())
    assert list(store.path.glob("chains/*.under-way")) == []
    assert len(store.records()) == 1


def test_swallowed_stop_signal_ends_the_run_before_the_next_cell(plan_of: PlanOf, add: Add, store: Store) -> None:
    setting = replace(CPU, stop=Stop())

    class Swallows(Evaluator):
        Config = NoConfig

        def __init__(self, config: NoConfig) -> None: ...

        def evaluate(self, frozen: Frozen) -> Evaluation:
            with suppress(Stopped):  # as the interpreter does in a finalizer
                setting.stop.request(signal.SIGTERM)
            return Evaluation(scores=[Score(metric="x", value=1.0, unit="", n=1)], protocol="")

    add("evaluator", "swallows", Swallows)
    with pytest.raises(Stopped):
        run_plan(plan_of(tasks=["swallows", "spread"]), store, setting)
    assert [record.names["task"] for record in store.records()] == ["swallows"]


def test_stop_signal_after_the_last_step_waits_until_the_weights_are_written(
    plan_of: PlanOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = replace(CPU, stop=Stop())
    monkeypatch.setattr(
        plan_of().chains[0].method.plugin.cls, "after_training", lambda *_: setting.stop.request(signal.SIGTERM)
    )
    with pytest.raises(Stopped):
        run_plan(plan_of(), store, setting)
    assert weights(store, plan_of())
    monkeypatch.setattr("bench_core.running.chain.pretrain", None)
    assert run_plan(plan_of(), store, CPU) == []


def test_checkpoint_of_other_code_is_refused_with_the_name_of_its_folder(plan_of: PlanOf, store: Store) -> None:
    chain = plan_of().chains[0]
    Checkpoints(store.path / "chains" / f"{chain.key}.under-way").save(3, {"objective": {"a": torch.zeros(1)}})
    (failure,) = run_plan(plan_of(), store, CPU)
    assert failure.error.endswith("do not fit this method; was its code changed? Delete that folder and run again.")
    assert f"{chain.key}.under-way" in failure.error


def test_stale_record_is_reported_with_what_changed(
    plan_of: PlanOf, store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_plan(plan_of(), store, CPU)
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "revision", 2)
    (entry,) = plan_entries(plan_of(), store.records())
    assert (entry.state, entry.reason) == ("stale", "embed.pretrain.method.revision was 1, is 2")


def test_other_parameters_are_another_experiment_and_not_stale(plan_of: PlanOf, store: Store) -> None:
    run_plan(plan_of(), store, CPU)
    (entry,) = plan_entries(plan_of(settings={"shrink.factor": 2.0}), store.records())
    assert entry.state == "missing"


def test_bf16_trains_on_the_cpu_too(plan_of: PlanOf, store: Store) -> None:
    assert run_plan(plan_of(precision="bf16"), store, CPU) == []
    record = store.records()[0]
    assert record.provenance.precision == "bf16"
    assert math.isfinite(first_value(record))


def test_record_of_a_compiled_training_says_so_under_the_same_key(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, compiled = Store(tmp_path / "plain"), Store(tmp_path / "compiled")
    torch_compile, calls = nn.Module.compile, list[nn.Module]()

    def compile_quickly(module: nn.Module) -> None:
        calls.append(module)
        torch_compile(module, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_quickly)
    plan = plan_of(methods=["shrink"])
    assert run_plan(plan, plain, CPU) == run_plan(plan, compiled, replace(CPU, compiled=True)) == []
    (one,), (other,) = plain.records(), compiled.records()
    assert one.key == other.key
    assert "compiled" not in one.stored["provenance"]["pretrain"]
    assert other.stored["provenance"]["pretrain"]["compiled"] is True
    assert first_value(one) == pytest.approx(first_value(other), rel=1e-5)
    assert [type(module).__name__ for module in calls] == ["Shrink"]


def test_a_record_is_as_dirty_as_the_code_that_trained_it(
    plan_of: PlanOf, add: Add, store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_core.running.provenance._commit", lambda: ("abc", True))
    run_plan(plan_of(), store, CPU)
    monkeypatch.setattr("bench_core.running.provenance._commit", lambda: ("def", False))
    add("evaluator", "again", registry.get("evaluator", "spread").cls)
    run_plan(plan_of(tasks=["again"]), store, CPU)
    record = next(r for r in store.records() if r.names["task"] == "again")
    assert (record.provenance.commit, record.provenance.dirty) == ("def", True)
    assert (record.stored["provenance"]["pretrain"]["commit"], record.stored["provenance"]["pretrain"]["dirty"]) == (
        "abc",
        True,
    )


class Volumes(Objective):
    """Has a weight of five dimensions, as video methods have (ours)."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.volume = torch.nn.Conv3d(1, 1, 1)

    def make_views(self, batch: Any, rng: torch.Generator) -> Any:
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Any:
        from bench_core import Loss

        return Loss(self.encoder(views).square().mean() + self.volume(views[:, None]).square().mean())


def test_weights_may_have_any_number_of_dimensions(plan_of: PlanOf, add: Add, store: Store) -> None:
    add("objective", "volumes", Volumes)
    assert run_plan(plan_of(methods=["volumes"], epochs=1), store, CPU) == []


class Lines(NoProgress):
    """Keeps what is shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def chain(self, number: int, total: int, label: str) -> None:
        self.lines.append(f"[{number}/{total}] {label}")

    def log(self, text: str) -> None:
        self.lines.append(text)

    def close(self) -> None:
        self.lines.append("closed")


def test_code_of_all_cells_is_read_before_the_first_chain_begins(
    plan_of: PlanOf, add: Add, store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("evaluator", "again", registry.get("evaluator", "spread").cls)
    read: set[str] = set()
    sources_of = Chain.sources_of

    def note(chain: Chain, cell: Cell) -> dict[str, str]:
        read.add(cell.key)
        return sources_of(chain, cell)

    monkeypatch.setattr(Chain, "sources_of", note)
    plan = plan_of(tasks=["spread", "again"], seeds=[0, 1])

    class Looks(NoProgress):
        def chain(self, number: int, total: int, label: str) -> None:
            assert read == {cell.key for cell in plan.cells}

    assert run_plan(plan, store, CPU, Looks()) == []


def test_chains_tasks_and_failures_are_shown_as_they_come(plan_of: PlanOf, add: Add, store: Store) -> None:
    class Starts(Volumes):
        """Starts from a method that fails (a toy)."""

    add("evaluator", "breaks", Breaks)
    add("objective", "starts", Starts)
    settings = {"shrink.broken": True, "starts.init": "shrink"}
    progress = Lines()
    failed = run_plan(plan_of(methods=["shrink", "starts"], settings=settings), store, CPU, progress)
    reason = failed[0].error
    assert "the loss of main is inf" in reason
    assert [line for line in progress.lines if "failed" in line or line.startswith("[")] == [
        "[1/2] shrink on blobs with tiny, seed 0", f"  failed: {reason}",
        "[2/2] starts on blobs with tiny, seed 0",
        f"  failed: its source chain (shrink on blobs with tiny, seed 0) failed: {reason}",
    ]  # fmt: skip
    assert progress.lines[-1] == "closed"
    progress = Lines()
    run_plan(plan_of(tasks=["spread", "breaks"]), store, CPU, progress)
    assert progress.lines[-4:] == [
        "  spread", "  breaks", "  breaks failed: RuntimeError: no luck today", "closed"
    ]  # fmt: skip


def test_attempt_lasts_from_the_beginning_of_the_chain_or_task_to_its_failure(plan_of: PlanOf, store: Store) -> None:
    (chain,) = plan_of().chains
    walk = _PlanRun(store, CPU, NoProgress())
    walk.record_failure(chain, chain.cells[0], RuntimeError("no luck"), time.perf_counter() - 5)
    (attempt,) = store.attempts()
    assert 5 <= attempt["seconds"] < 60


@pytest.mark.parametrize("channels", [1, 3])
def test_convolutions_get_the_strides_that_torch_gives_them(channels: int) -> None:
    ours = torch.nn.Conv2d(channels, 8, 3)
    torchs = torch.nn.Conv2d(channels, 8, 3).to(memory_format=torch.channels_last)
    to_channels_last(ours)
    assert ours.weight.stride() == torchs.weight.stride()


def test_two_writers_of_one_chain_leave_one_whole_chain(plan_of: PlanOf, store: Store) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda _: run_plan(plan_of(), store, CPU), range(2)))
    assert outcomes == [[], []]
    (chain,) = (store.path / "chains").iterdir()  # and nothing else
    assert len(read_finished_log(chain)) == 2
    assert len(store.records()) == 1


class Scores(Evaluator):
    """Returns the scores that a test gives it (a toy)."""

    scores: ClassVar[list[Score]] = []
    ranks = False
    family = "toys"

    def __init__(self, config: Any) -> None:
        pass

    def evaluate(self, frozen: Frozen) -> Evaluation:
        return Evaluation(scores=self.scores, protocol="none")


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([Score(metric="top1", value=1.7e308, n=1)], "top1 whose value 1.7e+308 is beyond what the unit fraction"),
        ([Score(metric="top1", value=0.5, chance=-1.0, n=1)], "top1 whose chance -1.0 is beyond"),
        ([Score(metric="top1", value=0.5, n=1), Score(metric="top1", value=0.4, n=1)], "two scores named 'top1'"),
    ],
)
def test_scores_that_cannot_be_are_refused_before_they_are_written(
    plan_of: PlanOf, add: Add, store: Store, monkeypatch: pytest.MonkeyPatch, scores: list[Score], words: str
) -> None:
    monkeypatch.setattr(Scores, "scores", scores)
    add("evaluator", "scores", Scores)
    (failed,) = run_plan(plan_of(tasks=["scores"]), store, CPU)
    assert words in failed.error
    assert store.records() == []


def test_a_record_holds_family_ranks_and_caveats_and_no_negative_zero(
    plan_of: PlanOf, add: Add, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = Score(metric="gain", value=-0.0, unit="difference", n=1, ranks=False, caveat="of another length", best=1.0)
    monkeypatch.setattr(Scores, "scores", [marked])
    add("evaluator", "scores", Scores)
    assert run_plan(plan_of(tasks=["scores"]), store, CPU) == []
    (record,) = store.records()
    score = record.scores["gain"]
    assert (record.family, record.ranks) == ("toys", False)
    assert (score.ranks, score.caveat, score.best) == (False, "of another length", 1.0)
    assert math.copysign(1, score.value or 0.0) == 1
    assert "-0.0" not in store.record_file(record.key).read_text()
