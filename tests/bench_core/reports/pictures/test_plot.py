"""`bench plot` draws what the records of a store hold, and says what it cannot draw."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench_core.cli.group import main
from bench_core.errors import RequestError
from bench_core.planning.boards import Board, Picture
from bench_core.reports.pictures.draw import fingerprint, fingerprint_in
from bench_core.reports.pictures.kinds import KINDS, check_pictures
from bench_core.reports.pictures.model import PictureData, PlotRequest
from bench_core.reports.pictures.plot import plot_all
from bench_core.reports.pictures.series_kind import SeriesKind
from bench_core.reports.tables.entries import Entry
from bench_core.store import Store

ROWS = ["shrink (factor=0.0)", "shrink (factor=1.0)", "shrink (factor=5.0)"]


def plot(store: Store, *words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["plot", "--store", str(store.path), *words])
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def test_plot_draws_a_picture_of_each_kind_that_the_records_hold(entries: list[Entry], store: Store) -> None:
    result = plot(store)
    names = ["histogram", "layers", "over_k", "pr", "projection", "samples"]
    files = sorted((store.path / "pictures").iterdir())
    assert [path.name for path in files] == [f"blobs_tiny_size_{name}.svg" for name in names]
    assert all(f"picture: {path}" in result.stdout for path in files)
    assert result.stderr == ""
    assert len(store.records()) == 12  # pictures are no records


def test_plot_draws_one_kind_some_rows_or_a_tradeoff_into_a_folder(
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


def test_help_lists_every_kind() -> None:
    text = " ".join(CliRunner().invoke(main, ["plot", "--help"]).output.split())
    assert "tradeoff, projection, pr, histogram, layers, lines, samples, similarity" in text


class Bars(SeriesKind):
    """Curves over k as bars (a toy)."""

    name = "bars"
    noun = "a curve over k"
    hint = "nothing makes one"
    prefix = "over_k"
    mean_if = "never"

    def paint(self, figure: Any, data: PictureData, picture: Picture) -> None:
        figure.add_subplot().bar(range(len(data.series)), [series.columns["accuracy"][0] for series in data.series])


def test_a_kind_in_the_table_can_be_plotted_put_on_a_board_and_is_in_the_help(
    entries: list[Entry], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "bars", Bars())
    plot(store, "--kind", "bars")
    path = store.path / "pictures" / "blobs_tiny_size_bars.svg"
    picture = Picture(name="size_bars", kind="bars", task="size")
    check_pictures(Board(pictures={"size_bars": picture}))
    assert fingerprint_in(path) == fingerprint(entries, picture)
    assert "training, epochs, tuning, bars" in " ".join(plot(store, "--help").output.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "pie"], "no kind of picture named 'pie'"),
        (["--kind", "tradeoff"], "needs --x TASK:METRIC and --y TASK:METRIC"),
        (["--x", "spread:spread"], "needs both --x TASK:METRIC and --y TASK:METRIC"),
        (["--kind", "pr", "--x", "a:b", "--y", "c:d"], "--x and --y are of the kind tradeoff, not of pr"),
        (["--x", "a:b", "--y", "c:d"], "no metric named 'a:b'"),
        (["--kind", "pr", "--methods", "nac"], "no row named 'nac'"),
        (["--kind", "similarity", "--methods", "nac"], "no row named 'nac'"),
        (["--kind", "filters"], "no row has filters to draw"),  # the toys are no installed plugins
    ],
)
def test_a_request_that_cannot_be_drawn_says_why(
    entries: list[Entry], store: Store, words: list[str], message: str
) -> None:
    assert message in " ".join(plot(store, *words, code=2).stderr.split())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("", "`bench run --tasks projection`"),
        ("histogram", "holds a histogram; `bench run --tasks distribution` makes one"),
        ("similarity", "holds two rows with embeddings"),
    ],
)
def test_a_store_without_records_says_what_to_run(store: Store, kind: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        plot_all([], store, Board(), PlotRequest(kind=kind), store.path / "pictures")


def test_a_board_with_a_wrong_picture_is_refused_before_anything_is_drawn(entries: list[Entry], store: Store) -> None:
    board = Board(pictures={"bad": Picture(name="bad", kind="pie")})
    with pytest.raises(RequestError, match="no kind of picture named 'pie'"):
        plot_all(entries, store, board, PlotRequest(), store.path / "pictures")
    assert not (store.path / "pictures").exists()


def test_rows_of_the_request_replace_those_of_a_boards_picture(entries: list[Entry], store: Store) -> None:
    board = Board(pictures={"curves": Picture(name="curves", kind="pr", task="size", methods=(ROWS[1],))})

    def drawn(*rows: str) -> str:
        plot_all(entries, store, board, PlotRequest(kind="pr", methods=rows), store.path / "pictures")
        return (store.path / "pictures" / "blobs_tiny_curves.svg").read_text()

    assert [row in drawn() for row in ROWS] == [False, True, False]
    assert [row in drawn(ROWS[0]) for row in ROWS] == [True, False, False]


def test_pictures_whose_names_become_one_file_name_are_numbered(entries: list[Entry], store: Store) -> None:
    picture = Picture(name="a", kind="pr", task="size")
    board = Board(pictures={name: replace(picture, name=name) for name in ("a b", "a/b", "a?b")})
    files = plot_all(entries, store, board, PlotRequest(kind="pr"), store.path / "pictures").drawn
    assert [file.stem for file in files[:3]] == ["blobs_tiny_a_b", "blobs_tiny_a_b_2", "blobs_tiny_a_b_3"]


def test_a_dataset_and_an_encoder_on_which_all_is_skipped_are_one_line(entries: list[Entry], store: Store) -> None:
    others = [
        replace(entry, names={**entry.names, "dataset": "graph"}, state="skipped", reason="reads images", record=None)
        for entry in entries
    ]
    board = Board(pictures={"curves": Picture(name="curves", kind="pr", task="size")})
    result = plot_all([*entries, *others], store, board, PlotRequest(kind="pr"), store.path / "pictures")
    assert [line for line in result.left_out if line.startswith("graph")] == ["graph, tiny: skipped, reads images"]
    assert result.drawn
