"""Pictures show the numbers of the records, and their files carry the fingerprint of these numbers."""

import builtins
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError, UnknownNameError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.draw import draw, fingerprint, fingerprint_in
from bench_core.reports.pictures.kinds import KINDS
from bench_core.reports.pictures.model import NothingToDrawError
from bench_core.reports.pictures.style import line_style, point_style
from bench_core.reports.pictures.tradeoff import Tradeoff
from bench_core.reports.tables.entries import Entry

TRADEOFF = Picture(name="tradeoff", x="spread:spread", y="size:top1", connect=True)
ROWS = ["shrink (factor=0.0)", "shrink (factor=1.0)", "shrink (factor=5.0)"]
PUBLISHED = [
    TRADEOFF,
    *(
        Picture(name="p", kind=name)
        for name, kind in KINDS.items()
        if kind.published and not kind.of_board and name not in ("tradeoff", "epochs")
    ),  # of epochs: test_over_epochs; of a board: test_tuning
]


def test_a_tradeoff_has_a_point_for_each_row_in_the_boards_order(entries: list[Entry], tmp_path: Path) -> None:
    assert list(Tradeoff().read(entries, TRADEOFF).points) == ROWS
    draw(entries, TRADEOFF, tmp_path / "tradeoff.svg")
    assert "shrink (factor=5.0)" in (tmp_path / "tradeoff.svg").read_text()
    assert fingerprint_in(tmp_path / "tradeoff.svg") == fingerprint(entries, TRADEOFF)


def test_a_tradeoff_marks_rows_of_fewer_seeds_and_values_with_a_caveat(entries: list[Entry], tmp_path: Path) -> None:
    def changed(entry: Entry) -> Entry:
        if entry.names["method"] == ROWS[0] and entry.seed == 1:
            return replace(entry, state="failed", record=None)
        if entry.names["method"] == ROWS[1] and entry.names["task"] == "size":
            assert entry.record
            scores = {name: replace(score, caveat="code by ITQ") for name, score in entry.record.scores.items()}
            return replace(entry, record=replace(entry.record, scores=scores))
        return entry

    draw(list(map(changed, entries)), TRADEOFF, tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    assert f"{ROWS[0]} (1 of 2 seeds)<" in text
    assert f"{ROWS[1]} †<" in text
    assert f"{ROWS[2]}<" in text
    assert "† code by ITQ" in text
    assert fingerprint_in(tmp_path / "p.svg") != fingerprint(entries, TRADEOFF)


def test_a_tradeoff_without_a_point_is_not_drawn(entries: list[Entry], tmp_path: Path) -> None:
    apart = [e for e in entries if (e.names["task"] == "size") == (e.names["method"] == ROWS[0])]
    with pytest.raises(NothingToDrawError, match="no row has both spread:spread and size:top1"):
        draw(apart, TRADEOFF, tmp_path / "p.svg")
    assert not (tmp_path / "p.svg").exists()


def test_options_added_to_pictures_later_leave_the_fingerprints_of_older_pictures(entries: list[Entry]) -> None:
    first_options = ("name", "x", "y", "title", "x_label", "y_label", "connect")
    rows = [
        [row, *([f"{cell.mean:.9g}", ""] for cell in pair)]  # two seeds have no interval
        for row, pair in Tradeoff().read(entries, TRADEOFF).points.items()
    ]
    text = json.dumps([{name: getattr(TRADEOFF, name) for name in first_options}, rows])
    assert fingerprint(entries, TRADEOFF) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("picture", PUBLISHED, ids=lambda picture: picture.kind)
def test_equal_numbers_give_equal_bytes_and_other_numbers_another_fingerprint(
    entries: list[Entry], tmp_path: Path, picture: Picture
) -> None:
    for name in ("a.svg", "b.svg"):
        draw(entries, picture, tmp_path / name)
    svg = (tmp_path / "a.svg").read_bytes()
    assert svg == (tmp_path / "b.svg").read_bytes()
    assert b"<dc:date>" not in svg
    assert all(row.encode() in svg for row in ROWS)  # as text, not as outlines
    assert fingerprint_in(tmp_path / "a.svg") == fingerprint(entries, picture)
    second_seed = [entry for entry in entries if entry.seed == 1]
    assert fingerprint(second_seed, picture) != fingerprint_in(tmp_path / "a.svg")
    assert fingerprint(entries, replace(picture, title="T")) != fingerprint_in(tmp_path / "a.svg")
    assert fingerprint_in(tmp_path / "none.svg") == ""


@pytest.mark.parametrize("kind", ["projection", "samples", "lines"])
def test_series_without_a_mean_are_the_first_seeds_and_the_picture_says_so(
    entries: list[Entry], tmp_path: Path, kind: str
) -> None:
    picture = Picture(name="p", kind=kind)
    data = KINDS[kind].read(entries, picture, None)
    assert {series.seeds for series in data.series} == {(0,)}
    draw(entries, picture, tmp_path / "p.svg")
    assert "(seed 0)" in (tmp_path / "p.svg").read_text()


@pytest.mark.parametrize("picture", [TRADEOFF, Picture(name="p", kind="pr")], ids=lambda picture: picture.kind)
def test_a_picture_shows_only_the_rows_it_names(entries: list[Entry], tmp_path: Path, picture: Picture) -> None:
    draw(entries, replace(picture, methods=(ROWS[1],)), tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    assert ROWS[1] in text
    assert ROWS[0] not in text
    with pytest.raises(UnknownNameError, match="no row named 'shrunk'"):
        fingerprint(entries, replace(picture, methods=("shrunk",)))


def test_a_fingerprint_needs_no_matplotlib_and_a_picture_names_the_extra_to_install(
    entries: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def import_without_matplotlib(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    picture = Picture(name="p", kind="pr")
    monkeypatch.setattr(builtins, "__import__", import_without_matplotlib)
    assert re.fullmatch("[0-9a-f]{64}", fingerprint(entries, picture))
    with pytest.raises(RequestError, match=r"picture 'p' needs matplotlib: pip install 'bench-core\[pictures\]'"):
        draw(entries, picture, tmp_path / "p.svg")
    monkeypatch.undo()
    assert not (tmp_path / "p.svg").exists()


def test_forty_lines_and_forty_classes_look_different() -> None:
    assert len({tuple(line_style(index).items()) for index in range(40)}) == 40
    assert len({tuple(point_style(index).items()) for index in range(40)}) == 40
