"""Pictures hold the numbers of the records, and say so."""

import builtins
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from bench_core import Evaluation, Evaluator, Frozen, NoConfig, Score
from bench_core.cli.group import main
from bench_core.errors import RequestError, UnknownNameError
from bench_core.planning.boards import Picture, read_board
from bench_core.planning.plan import Plan
from bench_core.reports.pictures.draw import draw, drawn, fingerprint
from bench_core.reports.pictures.kinds import KINDS, kind_of, without_shown_once
from bench_core.reports.pictures.select import find
from bench_core.reports.pictures.similarity import compare
from bench_core.reports.pictures.style import dot, shade
from bench_core.reports.pictures.tradeoff import points
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.reports.tables.entries import Entry, entries_of
from bench_core.running.runner import run_plan
from bench_core.running.setting import Setting
from bench_core.store import Store

PICTURE = Picture(name="tradeoff", x="spread:spread", y="size:top1", connect=True)
ROWS = ["shrink (factor=0.0)", "shrink (factor=1.0)", "shrink (factor=5.0)"]


class Size(Evaluator):
    """A fraction, and a curve or grid of each kind."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        self.config = config

    def evaluate(self, frozen: Frozen) -> Evaluation:
        features = frozen.splits["test"].embeddings["features"]
        size, seed = float(features.abs().mean()) % 1, float(frozen.seed)
        plane = features[:, :2].tolist()
        return Evaluation(
            scores=[Score(metric="top1", value=size, n=16)],
            protocol="mean",
            curves={
                "projection_pca": {
                    "x": [x for x, _ in plane],
                    "y": [y for _, y in plane],
                    "label": [k % 2 for k in range(len(plane))],
                },
                "pr_2_bits": {"recall": [0.1 + seed / 10, 0.5, 1.0], "precision": [1.0, 0.5, 0.1]},
                "histogram": {"centre": [-1.0, 0.0, 1.0], "density": [0.1, seed, 0.1], "prior": [0.2, 0.4, 0.2]},
                "layers": {"layer": [0, 1], "accuracy": [0.5, 0.7 + seed / 10]},
                "over_k": {"neighbours": [1 + seed, 5.0], "accuracy": [0.5, 0.7], "again": [0.1, 0.2]},
            },
            images={"samples": torch.full((3, 1, 4, 4), 255 * frozen.seed, dtype=torch.uint8)},
        )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that is run once."""
    return tmp_path_factory.mktemp("ran") / "runs"


@pytest.fixture
def entries(
    plan_of: Callable[..., Plan], add: Callable[[str, str, type], None], store: Store, ran: Path
) -> list[Entry]:
    """Of a store of its own, three rows at two seeds."""
    add("evaluator", "size", Size)
    plan = plan_of(tasks=["spread", "size"], sweeps={"shrink.factor": [0.0, 1.0, 5.0]}, seeds=[0, 1])
    if not ran.exists():
        assert run_plan(plan, Store(ran), Setting(torch.device("cpu"))) == []
    shutil.copytree(ran, store.path)
    return plan_entries(plan, store.records())


def of(kind: str, **asked: Any) -> Picture:
    return Picture(**{"name": "p", "kind": kind, **asked})


def test_a_picture_has_a_point_for_each_row_in_the_boards_order(entries: list[Entry], tmp_path: Path) -> None:
    assert list(points(entries, PICTURE)) == ROWS
    draw(entries, PICTURE, tmp_path / "tradeoff.svg")
    text = (tmp_path / "tradeoff.svg").read_text()
    assert "shrink (factor=5.0)" in text
    assert drawn(tmp_path / "tradeoff.svg") == fingerprint(entries, PICTURE)


def test_what_pictures_can_ask_for_since_leaves_the_fingerprint_of_older_ones(entries: list[Entry]) -> None:
    asked = ("name", "x", "y", "title", "x_label", "y_label", "connect")
    rows = [
        [row, *([f"{cell.mean:.9g}", f"{cell.halfwidth:.9g}"] for cell in pair)]
        for row, pair in points(entries, PICTURE).items()
    ]
    text = json.dumps([{name: getattr(PICTURE, name) for name in asked}, rows])
    assert fingerprint(entries, PICTURE) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("picture", [PICTURE, *(of(kind) for kind in KINDS)], ids=lambda picture: picture.kind)
def test_the_same_numbers_give_the_same_bytes_and_others_another_fingerprint(
    entries: list[Entry], tmp_path: Path, picture: Picture
) -> None:
    for name in ("a.svg", "b.svg"):
        draw(entries, picture, tmp_path / name)
    text = (tmp_path / "a.svg").read_bytes()
    assert text == (tmp_path / "b.svg").read_bytes()
    assert b"<dc:date>" not in text
    assert all(row.encode() in text for row in ROWS)  # as text, not as outlines
    assert drawn(tmp_path / "a.svg") == fingerprint(entries, picture)
    later = [entry for entry in entries if entry.seed == 1]
    assert fingerprint(later, picture) != drawn(tmp_path / "a.svg")
    assert fingerprint(entries, replace(picture, title="T")) != drawn(tmp_path / "a.svg")
    assert drawn(tmp_path / "none.svg") == ""


def test_a_curves_name_says_its_kind() -> None:
    names = ["projection_umap", "pr_32_bits", "histogram_prior", "layers", "over_k", "probability"]
    assert [kind_of(name) for name in names] == ["projection", "pr", "histogram", "layers", "lines", "lines"]


def test_curves_are_means_over_seeds_where_their_points_are_the_same(entries: list[Entry]) -> None:
    found = find(entries, of("layers"))
    assert (found.dataset, found.encoder, found.task, found.methods) == ("blobs", "tiny", "size", ROWS)
    assert found.parts[0].axes == [("layer", [0, 1]), ("accuracy", [0.5, pytest.approx(0.75)])]
    assert found.seeds() == "means over 2 seeds"
    recall, precision = find(entries, of("pr")).parts[0].axes  # its points are radii, whatever their recall
    assert recall == ("recall", pytest.approx([0.15, 0.5, 1.0]))
    assert precision == ("precision", [1.0, 0.5, 0.1])


@pytest.mark.parametrize("kind", ["projection", "samples", "lines"])
def test_what_has_no_mean_is_the_first_seeds_and_says_so(entries: list[Entry], tmp_path: Path, kind: str) -> None:
    found = find(entries, of(kind))
    assert {part.seeds for part in found.parts} == {(0,)}
    draw(entries, of(kind), tmp_path / "p.svg")
    assert "(seed 0)" in (tmp_path / "p.svg").read_text()


def test_a_curve_keeps_its_x_first_on_disk(entries: list[Entry], store: Store) -> None:
    curves = next(record["curves"] for record in store.records() if record["curves"])
    assert list(curves["over_k"]) == ["neighbours", "accuracy", "again"]


def test_a_picture_can_be_of_some_rows(entries: list[Entry], tmp_path: Path) -> None:
    for picture in (of("pr", methods=(ROWS[1],)), replace(PICTURE, methods=(ROWS[1],))):
        draw(entries, picture, tmp_path / "p.svg")
        text = (tmp_path / "p.svg").read_text()
        assert ROWS[1] in text
        assert ROWS[0] not in text
        with pytest.raises(UnknownNameError, match="no row named 'shrunk'"):
            fingerprint(entries, replace(picture, methods=("shrunk",)))


def test_what_the_records_lack_is_refused_with_what_to_run(entries: list[Entry]) -> None:
    none = [entry for entry in entries if entry.names["task"] == "spread"]
    with pytest.raises(RequestError, match=r"no record here holds a projection; `bench run --tasks projection` makes"):
        find(none, of("projection"))
    with pytest.raises(RequestError, match="no record of task 'spread' here holds a precision-recall curve"):
        find(entries, of("pr", task="spread"))
    with pytest.raises(RequestError, match="a histogram named 'histogram_3'"):
        find(entries, of("histogram", curve="histogram_3"))
    with pytest.raises(UnknownNameError, match="no metric named 'size:top5'"):
        points(entries, Picture(name="p", x="spread:spread", y="size:top5"))


def test_curves_of_several_tasks_or_data_sets_need_a_choice(entries: list[Entry]) -> None:
    done = [entry for entry in entries if entry.names["task"] == "size"]
    also = [replace(entry, names={**entry.names, "task": "size2"}) for entry in done]
    with pytest.raises(RequestError, match="several tasks have a projection; say task = one of 'size', 'size2'"):
        find([*done, *also], of("projection"))
    assert find([*done, *also], of("projection", task="size2")).task == "size2"
    elsewhere = [replace(entry, names={**entry.names, "dataset": "other"}) for entry in done]
    with pytest.raises(RequestError, match="a picture shows one data set with one encoder"):
        find([*done, *elsewhere], of("projection"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"x": "a:b"}, "needs x and y"),
        ({"x": "a:b", "y": "c:d", "z": 1}, "z does not exist"),
        (3, "must be a table"),
        ({"kind": "pr", "x": "a:b"}, "x, y and connect are of the kind tradeoff, not of pr"),
        ({"kind": "pie"}, "kind must be 'tradeoff'"),
        ({"kind": "similarity"}, "not published; draw it from a store with `bench plot --kind similarity`"),
        ({"kind": "pr", "methods": ["nca"]}, "no row named 'nca'; did you mean 'nac'"),
    ],
)
def test_a_board_says_what_its_pictures_need(table: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_board({"methods": {"nac": {}}, "pictures": {"p": table}}, "b", "b.toml")


def test_matplotlib_is_asked_for_by_its_extra(
    entries: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    assert re.fullmatch("[0-9a-f]{64}", fingerprint(entries, of("pr")))  # checking needs no matplotlib
    with pytest.raises(RequestError, match=r"picture 'p' needs matplotlib: pip install 'bench-core\[pictures\]'"):
        draw(entries, of("pr"), tmp_path / "p.svg")
    monkeypatch.undo()
    assert not (tmp_path / "p.svg").exists()


def test_many_lines_and_classes_look_different() -> None:
    assert len({tuple(shade(place).items()) for place in range(40)}) == 40
    assert len({tuple(dot(place).items()) for place in range(40)}) == 40


def test_similarity_is_one_with_itself_and_reads_the_stores_embeddings(entries: list[Entry], store: Store) -> None:
    found = compare(entries, store)
    assert found.methods == tuple(ROWS)
    assert (found.seed, found.items, found.gone) == (0, 16, ())
    assert torch.equal(found.values, found.values.T)
    assert found.values.diagonal().tolist() == [1.0] * 3
    assert 0.9 < float(found.values[0, 1]) <= 1.0 + 1e-9  # the same initialisation, a little training


def test_what_only_one_seed_shows_is_taken_out_of_the_others(entries: list[Entry], store: Store) -> None:
    record = next(record for record in store.records() if record["images"])
    light = without_shown_once(record)
    assert light["images"] == {}
    assert record["curves"].keys() - light["curves"].keys() == {"projection_pca"}
    assert {**light, "curves": record["curves"], "images": record["images"]} == record


def plot(store: Store, *words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(main, ["plot", "--store", str(store.path), *words])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def test_the_command_draws_all_that_records_hold(entries: list[Entry], store: Store) -> None:
    result = plot(store)
    names = ["histogram", "layers", "over_k", "pr", "projection", "samples"]
    files = sorted((store.path / "pictures").iterdir())
    assert [path.name for path in files] == [f"blobs_tiny_size_{name}.svg" for name in names]
    assert all(f"picture: {path}" in result.stdout for path in files)
    assert result.stderr == ""
    assert len(store.records()) == 12  # pictures are no records


def test_the_command_draws_one_kind_and_says_what_it_leaves_out(
    entries: list[Entry], store: Store, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    plot(store, "--kind", "pr", "--methods", ROWS[0], "--out", str(out))
    plot(store, "--x", "spread:spread", "--y", "size:top1", "--out", str(out))
    plot(store, "--kind", "similarity", "--out", str(out))
    assert sorted(path.name for path in out.iterdir()) == [
        "blobs_tiny_similarity.svg", "blobs_tiny_size_pr.svg", "blobs_tiny_tradeoff_spread_spread_size_top1.svg",
    ]  # fmt: skip
    assert ROWS[1] not in (out / "blobs_tiny_size_pr.svg").read_text()


def test_embeddings_that_were_deleted_are_named(entries: list[Entry], store: Store) -> None:
    done = sorted((store.path / "chains").glob("*/embeddings/*/done.json"))
    label = {entry.names["method"] for entry in entries_of(store.records())}
    for path in done[:1]:
        path.unlink()
    gone = set(compare(entries, store).gone)
    assert gone < label or not gone  # at the other seed all are there
    for path in done[1:]:
        path.unlink()
    result = plot(store, "--kind", "similarity", code=2)
    assert "0 of 3 rows have embeddings" in result.stderr
    assert "deleted" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "pie"], "no kind of picture named 'pie'"),
        (["--kind", "tradeoff"], "needs --x TASK:METRIC and --y TASK:METRIC"),
        (["--x", "spread:spread"], "needs both --x TASK:METRIC and --y TASK:METRIC"),
        (["--kind", "pr", "--x", "a:b", "--y", "c:d"], "--x and --y are of the kind tradeoff, not of pr"),
        (["--x", "a:b", "--y", "c:d"], "no metric named 'a:b'"),
        (["--kind", "pr", "--methods", "nac"], "no row named 'nac'"),
    ],
)
def test_a_wrong_request_says_what_would_be_right(
    entries: list[Entry], store: Store, words: list[str], message: str
) -> None:
    assert message in " ".join(plot(store, *words, code=2).stderr.split())


def test_a_store_without_curves_says_what_to_run(store: Store) -> None:
    assert "`bench run --tasks projection`" in plot(store, code=2).stderr
    assert (
        "holds a histogram; `bench run --tasks distribution` makes one"
        in plot(store, "--kind", "histogram", code=2).stderr
    )
