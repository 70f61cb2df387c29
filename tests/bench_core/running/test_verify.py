"""Running a record again: changed code or data is refused, different scores are reported."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench_core import Config, Evaluation, Frozen, Score, param
from bench_core.cli.records import verify as command
from bench_core.errors import BenchError, DataMissingError, RequestError, UnknownNameError
from bench_core.keys import key_of
from bench_core.planning.boards import load_board
from bench_core.planning.chains import Plan
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.planning.settings import parse_settings
from bench_core.plugins import Registry, load_plugins
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.running.verify import ScorePair, choose_record, plan_again, verify
from bench_core.store import Store
from bench_core.store.record import Document, Record, record_from_json
from bench_core.store.record_schema import repetition_error
from bench_core.store.store import read_record

CPU = RunSetting(device="cpu", command="test")
PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]


def run(plan: Plan, path: Path) -> list[Record]:
    run_plan(plan, Store(path), CPU)
    return Store(path).records()


def with_pretrain(record: Record, **changes: Any) -> Record:
    """Return the record with other values in its chain's document, and the key that belongs to it."""
    document = record.document
    embed = {**document.embed, "pretrain": {**document.pretrain, **changes}}
    content = {**document.content, "embed": embed}
    return record_from_json({**record.stored, "doc": content, "key": key_of(content)})


def test_score_is_reproduced_exactly_and_the_store_is_not_changed(
    plan_of: PlanOf, registry: Registry, tmp_path: Path
) -> None:
    settings = {"shrink.factor": 0.5, "shrink.recipe.learning_rate": 0.02, "blobs.train_size": 40}
    [record] = run(plan_of(settings=settings, seeds=[3], epochs=1, precision="fp32"), tmp_path / "runs")
    before = sorted((tmp_path / "runs").rglob("*"))
    plan = plan_again(record, registry, tmp_path)
    assert [cell.key for cell in plan.cells] == [record.key]
    result = verify(plan, record, "cpu")
    value = record.scores["spread"].value
    assert (result.scores, result.largest) == ((ScorePair("spread", value, value),), 0.0)
    assert sorted((tmp_path / "runs").rglob("*")) == before


@pytest.mark.parametrize("method", ["nac", "sela"])
def test_score_of_a_built_in_method_is_reproduced_exactly(method: str, tmp_path: Path) -> None:
    settings = {"digits.train_size": 64, "knn.k": 5, f"{method}.recipe.batch_size": 32}
    request = Request(methods=[method], tasks=["knn"], epochs=2, seeds=[1], settings=settings, data_root=tmp_path)
    built_ins = load_plugins()
    [record] = run(make_plan(request, built_ins), tmp_path / "runs")
    assert record.stored["cost"]["steps"] == 4
    result = verify(plan_again(record, built_ins, tmp_path), record, "cpu")
    assert result.largest == 0.0
    assert result.new.key == record.key


def test_repetition_has_the_threads_of_the_record(
    plan_of: PlanOf, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run_plan(plan_of(), Store(tmp_path / "runs"), replace(CPU, threads=3))  # more than a step of a toy can use
    [record] = Store(tmp_path / "runs").records()
    result = verify(plan_again(record, registry, tmp_path), record, "cpu")
    assert record.provenance.threads == result.new.provenance.threads == 3


def test_row_that_starts_from_other_rows_is_reproduced_with_them(
    plan_of: PlanOf, add: Add, registry: Registry, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        add("objective", name, type(name, (registry.get("objective", "shrink").cls,), {}))
    plan = plan_of(
        methods=["first", "second", "shrink"],
        settings={"shrink.init": "second", "second.init": "first", "first.recipe.epochs": 1},
    )
    records = {record.names["method"]: record for record in run(plan, tmp_path / "runs")}
    for record in records.values():
        assert verify(plan_again(record, registry, tmp_path), record, "cpu").largest == 0.0
    assert len(plan_again(records["shrink"], registry, tmp_path).chains) == 1


def test_record_that_starts_from_a_file_is_refused(plan_of: PlanOf, registry: Registry, tmp_path: Path) -> None:
    [record] = run(plan_of(), tmp_path / "runs")
    changed = with_pretrain(record, init={"sha256": "0" * 64})
    with pytest.raises(RequestError, match="starts from a file that it does not hold"):
        plan_again(changed, registry, tmp_path)


def test_changed_revisions_are_named_and_nothing_is_run(
    plan_of: PlanOf, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [record] = run(plan_of(), tmp_path / "runs")
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "revision", 4)
    monkeypatch.setattr(registry.get("evaluator", "spread").cls, "revision", 2)
    with pytest.raises(RequestError, match="revision of toys/shrink was 1, is 4; revision of toys/spread was 1, is 2"):
        plan_again(record, registry, tmp_path)


def test_changed_data_changed_protocol_and_a_missing_plugin_are_named(
    plan_of: PlanOf, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [record] = run(plan_of(), tmp_path / "runs")
    with monkeypatch.context() as patch:
        patch.setattr(registry.get("dataset", "blobs").cls, "digest", lambda self: "blobs-2")
        with pytest.raises(RequestError, match=r"dataset.digest was 'blobs-1', is 'blobs-2'"):
            plan_again(record, registry, tmp_path)
    older = replace(record, document=Document({**record.document.content, "protocol": 0}))
    with pytest.raises(RequestError, match="protocol was 0, is 1"):
        plan_again(older, registry, tmp_path)
    registry.components = [c for c in registry.components if c.name != "shrink"]
    with pytest.raises(UnknownNameError, match="toys/shrink"):
        plan_again(record, registry, tmp_path)


def test_cell_that_fails_now_is_reported_with_the_reason(plan_of: PlanOf, registry: Registry, tmp_path: Path) -> None:
    [record] = run(plan_of(), tmp_path / "runs")
    plan = plan_of(settings={"shrink.broken": True})
    with pytest.raises(BenchError, match=r"it does not run any more: .*shrink"):
        verify(plan, record, "cpu")


def test_difference_is_relative_and_infinite_for_a_missing_score() -> None:
    assert ScorePair("m", 2.0, 1.0).difference == 0.5
    assert ScorePair("m", 0.0, 0.0).difference == 0.0
    assert ScorePair("m", None, 1.0).difference == float("inf")


def test_a_score_that_the_task_gives_since_does_not_count(
    plan_of: PlanOf, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [record] = run(plan_of(), tmp_path / "runs")
    cls = registry.get("evaluator", "spread").cls
    evaluate = cls.evaluate

    def with_more(self: Any, frozen: Frozen) -> Evaluation:
        evaluation: Evaluation = evaluate(self, frozen)
        return replace(evaluation, scores=[*evaluation.scores, Score(metric="more", value=1.0, n=1)])

    monkeypatch.setattr(cls, "evaluate", with_more)
    result = verify(plan_again(record, registry, tmp_path), record, device="cpu")
    assert [(score.metric, score.old) for score in result.scores][1:] == [("more", None)]
    assert result.largest == 0
    monkeypatch.setattr(
        cls, "evaluate", lambda self, frozen: Evaluation(scores=[Score(metric="more", value=1.0, n=1)], protocol="")
    )
    assert verify(plan_again(record, registry, tmp_path), record, device="cpu").largest == float("inf")


def test_a_cell_is_chosen_by_the_beginning_of_its_key(plan_of: PlanOf, tmp_path: Path) -> None:
    records = run(plan_of(seeds=[0, 1]), tmp_path / "runs")
    key = records[0].key
    assert choose_record(key[:20], tmp_path / "runs").key == key
    with pytest.raises(RequestError, match=r"2 records of .* begin with ''"):
        choose_record("", tmp_path / "runs")
    with pytest.raises(RequestError, match=r"no record of .* begins with 'xyz'"):
        choose_record("xyz", tmp_path / "runs")


def test_verify_command_prints_both_scores_and_exits_with_1_if_they_differ(
    plan_of: PlanOf, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [record] = run(plan_of(), tmp_path / "runs")
    monkeypatch.setattr("bench_core.plugins.load_plugins", lambda block: registry)
    words = [record.key[:9], "--store", str(tmp_path / "runs"), "--device", "cpu", "--quiet"]
    value = record.scores["spread"].value
    assert value is not None
    same = CliRunner().invoke(command, words)
    assert same.exit_code == 0, same.output
    assert f"spread  {value!r} -> {value!r}  (0 relative)" in same.output
    assert "came back exactly" in same.output
    changed = copy.deepcopy(dict(record.stored))
    changed["scores"][0]["value"] = value * 1.001
    Store(tmp_path / "runs").record_file(record.key).unlink()
    Store(tmp_path / "runs").add_record(changed)
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 1
    assert "did not come back: off by up to 0.001 of a score" in result.output
    assert CliRunner().invoke(command, [*words, "--tolerance", "0.01"]).exit_code == 0


def test_every_cell_of_the_digits_board_can_be_planned_from_its_record(tmp_path: Path) -> None:
    """No parameter of any built-in is missing in the document of a record."""
    registry, board = load_plugins(), load_board("digits")
    plan = make_plan(Request(board="digits", seeds=[0], data_root=tmp_path), registry)
    assert len(plan.chains) == len(board.methods)
    for cell in (cell for cell in plan.cells if not cell.skip):
        stored = {"key": cell.key, "doc": cell.document, "names": cell.names, "scores": []}
        record = record_from_json(stored)
        [again] = plan_again(record, registry, tmp_path).cells
        assert replace(again, names=cell.names).key == cell.key


DELETED = object()
LACKING: dict[str, tuple[str, Any]] = {
    "recipe": ("embed.pretrain.recipe", DELETED), "precision": ("embed.pretrain.precision", DELETED),
    "protocol": ("protocol", DELETED), "dataset.config": ("embed.pretrain.dataset.config", DELETED),
    "encoder.config": ("embed.pretrain.encoder.config", DELETED), "task.config": ("task.config", None),
    "method.config": ("embed.pretrain.method.config", DELETED), "precision cannot be 'fp8'": (
        "embed.pretrain.precision", "fp8"
    ),
    "recipe.epochs must be int": ("embed.pretrain.recipe.epochs", None),
    "recipe.many does not exist": ("embed.pretrain.recipe.many", 1),
    "factor must be float": ("embed.pretrain.method.config.factor", "x"),
    "factor must be >= 0": ("embed.pretrain.method.config.factor", -1),
    "a file that it does not hold": ("embed.pretrain.init", {"sha256": "0" * 64}),
    "a chain with another": ("embed.pretrain.init", {"chain": {"method": {"config": {}}, "recipe": {}, "seed": 1}}),
    "init.chain.recipe": ("embed.pretrain.init", {"chain": {"method": {"id": "toys/shrink", "revision": 1}}}),
    "init.chain.method.config": (
        "embed.pretrain.init", {"chain": {"method": {"id": "toys/shrink", "revision": 1}, "recipe": {}}}
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "change"), LACKING.items(), ids=LACKING)
def test_what_a_record_lacks_to_be_run_again_is_named(
    message: str, change: tuple[str, Any], plan_of: PlanOf, registry: Registry, tmp_path: Path
) -> None:
    plan = plan_of()
    content: Any = copy.deepcopy(dict(plan.cells[0].document))
    parent, (*names, last) = content, change[0].split(".")
    for name in names:
        parent = parent[name]
    if change[1] is DELETED:
        del parent[last]
    else:
        parent[last] = change[1]
    record = record_from_json({"key": key_of(content), "doc": content, "names": plan.cells[0].names, "scores": []})
    with pytest.raises(RequestError, match=re.escape(message)) as raised:
        plan_again(record, registry, tmp_path)
    assert "\n" not in str(raised.value)


@dataclass(frozen=True, kw_only=True)
class PlacedConfig(Config):
    """Parameters of Placed."""

    path: str = param("", "folder of the data", "ours", in_key=False)
    brightness: int = param(150, "of class 1", "ours")


@pytest.fixture
def placed(add: Add, registry: Registry) -> None:
    """Add the dataset `placed`, which is found at the path 2024-05-01 alone."""
    blobs: Any = registry.get("dataset", "blobs").cls

    class Placed(blobs):  # type: ignore[misc]
        Config = PlacedConfig

        def __init__(self, root: Path, config: PlacedConfig) -> None:
            if config.path != "2024-05-01":
                raise DataMissingError(f"placed is not at {config.path!r}")
            super().__init__(root, blobs.Config())

    add("dataset", "placed", Placed)


@pytest.mark.parametrize("name", ["placed", "toys/placed", "datasets.placed"])
def test_parameter_that_is_in_no_key_is_set_for_verify(
    name: str, placed: None, plan_of: PlanOf, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [record] = run(plan_of(datasets=["placed"], settings={"placed.path": "2024-05-01"}), tmp_path / "runs")
    with pytest.raises(DataMissingError, match="placed is not at ''"):
        plan_again(record, registry, tmp_path)
    monkeypatch.setattr("bench_core.plugins.load_plugins", lambda block: registry)
    words = [record.key[:9], "--store", str(tmp_path / "runs"), "--device", "cpu", "--quiet"]
    result = CliRunner().invoke(command, [*words, "--set", f"{name}.path=2024-05-01"])
    assert result.exit_code == 0, result.output
    assert "came back exactly" in result.output


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("placed.brightness=3", r"placed.brightness is part of the key.*in no key: path\."),
        ("shrink.factor=3", r"shrink.factor is part of the key.*in no key: none\."),
        ("shrink.recipe.epochs=3", r"shrink.recipe.epochs does not exist"),
        ("placed.paht=x", r"placed.paht does not exist; did you mean 'path'\?"),
        ("placed.path=[1]", r"placed.path must be str, got \[1\]"),
        ("plased.path=x", r"no dataset, encoder, method or task of this record named 'plased'; did you mean 'placed'"),
        ("path", "--set takes NAME.PARAM=VALUE"),
    ],
)
def test_other_parameters_are_refused_by_verify(
    setting: str, message: str, placed: None, plan_of: PlanOf, registry: Registry, tmp_path: Path
) -> None:
    plan = plan_of(datasets=["placed"], settings={"placed.path": "2024-05-01"})
    cell = plan.cells[0]
    record = record_from_json({"key": cell.key, "doc": cell.document, "names": cell.names, "scores": []})
    with pytest.raises(RequestError, match=message):
        plan_again(record, registry, tmp_path, settings=parse_settings([setting]))


def test_every_published_record_holds_what_defines_its_cell() -> None:
    files = sorted((Path(__file__).parents[3] / "leaderboards").glob("*/records/*.json"))
    assert len(files) > 1000
    assert not [file for file in files if repetition_error(read_record(file).document.content)]
