"""Boards are read from files, and refused with what would be right."""

import tomllib
from pathlib import Path

import pytest

from bench_core.errors import RequestError, UnknownNameError
from bench_core.planning.board_files import board_names
from bench_core.planning.boards import NamedComponent, load_board, read_board

TEXT = """
title = "Tiny"
seeds = [0, 1]
[recipe]
epochs = 3
[datasets.blobs]
[methods.shrink]
[methods.shrink_less]
use = "shrink"
factor = 0.5
recipe.learning_rate = 0.1
[tasks.spread]
"""


def test_a_board_file_names_rows_and_their_components(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "board.toml").write_text(TEXT)
    board = load_board(str(tmp_path / "tiny"))
    assert (board.name, board.title, board.seeds, board.recipe) == ("tiny", "Tiny", (0, 1), {"epochs": 3})
    assert board.methods["shrink"] == NamedComponent("shrink", "shrink")
    assert board.methods["shrink_less"] == NamedComponent(
        "shrink_less", "shrink", {"factor": 0.5}, {"learning_rate": 0.1}
    )
    assert load_board(str(tmp_path / "tiny" / "board.toml")) == board


def test_sections_that_a_board_does_not_have_are_those_of_its_base(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TEXT)
    (tmp_path / "more.toml").write_text(f"base = '{tmp_path / 'tiny.toml'}'\nseeds = [5]\n[tasks.other]\n")
    tiny, more = load_board(str(tmp_path / "tiny.toml")), load_board(str(tmp_path / "more.toml"))
    assert (more.name, more.title, more.seeds) == ("more", "Tiny", (5,))
    assert more.methods == tiny.methods
    assert list(more.tasks) == ["other"]


@pytest.mark.parametrize(
    ("base", "message"),
    [("3", r"base must be the name or the path of a board, got 3"), ("'nowhere'", r"no board named 'nowhere'")],
)
def test_a_base_that_is_no_board_is_refused(base: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(f"base = {base}")
    with pytest.raises(RequestError, match=message):
        load_board(str(tmp_path))


def test_a_base_may_have_a_base_but_not_in_a_circle(tmp_path: Path) -> None:
    for name, text in (("a", TEXT), ("b", f"base = '{tmp_path / 'a.toml'}'"), ("c", f"base = '{tmp_path / 'b.toml'}'")):
        (tmp_path / f"{name}.toml").write_text(text)
    assert load_board(str(tmp_path / "c.toml")).methods == load_board(str(tmp_path / "a.toml")).methods
    (tmp_path / "a.toml").write_text(f"base = '{tmp_path / 'c.toml'}'")
    with pytest.raises(RequestError, match="bases go in a circle"):
        load_board(str(tmp_path / "c.toml"))


def test_only_keeps_rows_in_the_order_in_which_it_names_them(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TEXT)
    (tmp_path / "b.toml").write_text(f"base = '{tmp_path / 'a.toml'}'\nonly = ['shrink_less', 'shrink']")
    assert list(load_board(str(tmp_path / "b.toml")).methods) == ["shrink_less", "shrink"]


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("['shrnk']", r"no row named 'shrnk'; did you mean 'shrink'\?"),
        ("3", r"only must be a list of rows, like .*got 3"),
    ],
)
def test_only_is_refused_unless_it_lists_rows(only: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(f"only = {only}\n{TEXT}")
    with pytest.raises(RequestError, match=message):
        load_board(str(tmp_path / "a.toml"))


def test_the_digits_board_is_shipped() -> None:
    assert "digits" in board_names()
    assert len(load_board("digits").seeds) == 5


def test_an_unknown_board_is_refused_with_the_names_of_the_shipped_ones() -> None:
    with pytest.raises(
        UnknownNameError, match=r"no board named 'digit'; did you mean 'digits'\?.*path of a board\.toml"
    ):
        load_board("digit")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks = 3", r"tasks must be a table, got 3"),
        ("[task.knn]", r"task unknown; a board has"),
        ("seeds = [0, -1]", r"seeds must be a list of whole numbers >= 0, got \[0, -1\]"),
        ("seeds = 3", r"seeds must be a list of whole numbers >= 0, got 3"),
        ("title = 3", r"title must be text, got 3"),
        ("[methods.'../x']", r"must be letters, digits, '_' and '-'"),
        ("[methods]\nnac = 3", r"methods\.nac must be a table, got 3"),
        ("[methods.nac]\nuse = 3", r"methods\.nac\.use must be the name of a component, got 3"),
        ("[methods.nac]\nrecipe = 3", r"methods\.nac\.recipe must be a table, got 3"),
    ],
)
def test_a_malformed_board_is_refused_with_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_board(tomllib.loads(text), "x", "x.toml")


def test_a_board_and_its_base_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    base = tmp_path / "base.toml"
    base.write_text("seeds = [3]\n[tasks.knn]\n", encoding="utf-8-sig")
    (tmp_path / "board.toml").write_text(f"base = '{base}'\ntitle = 'Zürich'\n", encoding="utf-8-sig")
    board = load_board(str(tmp_path / "board.toml"))
    assert (board.title, board.seeds, list(board.tasks)) == ("Zürich", (3,), ["knn"])


def test_a_file_that_is_not_toml_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("a = = 1")
    with pytest.raises(RequestError, match=r"x\.toml is not TOML"):
        load_board(str(path))


def test_a_picture_may_name_rows_of_its_board_alone(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(f"{TEXT}\n[pictures.plane]\nkind = 'projection'\nmethods = ['shrink']\n")
    assert load_board(str(tmp_path / "a.toml")).pictures["plane"].methods == ("shrink",)
    (tmp_path / "b.toml").write_text(f"{TEXT}\n[pictures.plane]\nkind = 'projection'\nmethods = ['shrnk']\n")
    with pytest.raises(UnknownNameError, match=r"no row named 'shrnk'; did you mean 'shrink'\?.*pictures\.plane"):
        load_board(str(tmp_path / "b.toml"))
