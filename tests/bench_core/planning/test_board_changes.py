"""What a board changes of a component: each value that is not the default, and the place that it comes from."""

from pathlib import Path
from typing import Any

import pytest

from bench_core import NoConfig, Recipe, Variant
from bench_core.errors import ConfigError, RequestError, UnknownNameError
from bench_core.planning.board_changes import board_changes, print_board_changes
from bench_core.plugins import Component, Registry, load_plugins

BOARD = """
[recipe]
epochs = 5
batch_size = 16
[datasets.blobs]
train_size = 32
[encoders.tiny]
[methods.shrink]
factor = 1.0
[methods.half]
use = "shrink:big"
factor = 0.5
recipe.learning_rate = 0.2
init = "shrink"
[methods.gone]
use = "not_installed"
[tasks.spread]
"""


@pytest.fixture
def board(tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> str:
    """A board of the tiny plugins, with a row of a plugin that is not installed."""
    big = Variant({"broken": True, "recipe.momentum": 0.5, "recipe.learning_rate": 0.5}, "ours: a test", "larger")
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "variants", {"big": big})
    (tmp_path / "small.toml").write_text(BOARD)
    return str(tmp_path / "small.toml")


def changes(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(change["name"], change["value"], change["default"], change["from"]) for change in row["changes"]]


def test_each_value_comes_from_the_last_place_that_sets_it(board: str, registry: Registry) -> None:
    (half,) = board_changes("half", board, registry)
    assert (half["section"], half["row"], half["component"]) == ("methods", "half", "toys/shrink")
    assert changes(half) == [
        ("factor", 0.5, 1.0, "methods.half"),
        ("broken", True, False, "variant shrink:big"),
        ("recipe.learning_rate", 0.2, 0.01, "methods.half.recipe"),
        ("recipe.momentum", 0.5, 0.9, "variant shrink:big"),
        ("recipe.epochs", 5, 2, "recipe"),
        ("init", "shrink", "none", "methods.half"),
    ]


@pytest.mark.parametrize("name", ["shrink", "toys/shrink"])
def test_a_component_is_found_in_every_row_that_uses_it_and_defaults_are_no_change(
    board: str, registry: Registry, name: str
) -> None:
    shrink, half = board_changes(name, board, registry)
    assert changes(shrink) == [("recipe.epochs", 5, 2, "recipe")]  # the board repeats the default factor and batch size
    assert half["row"] == "half"
    assert [row["row"] for row in board_changes("shrink:big", board, registry)] == ["half"]


def test_datasets_encoders_and_tasks_have_no_recipe(board: str, registry: Registry) -> None:
    (blobs,) = board_changes("blobs", board, registry)
    assert changes(blobs) == [("train_size", 32, 48, "datasets.blobs")]
    assert [board_changes(name, board, registry)[0]["changes"] for name in ("tiny", "spread")] == [[], []]


def test_a_method_that_is_not_trained_has_no_recipe_of_the_board(
    board: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "recipe", Recipe(epochs=0))
    assert board_changes("shrink", board, registry)[0]["changes"] == []


def test_what_the_board_does_not_use_is_refused_with_what_it_has(board: str, registry: Registry) -> None:
    other = type("Other", (registry.get("encoder", "tiny").cls,), {"Config": NoConfig})
    registry.components.append(Component("encoder", "other", "toys", "1.0", other))
    with pytest.raises(
        RequestError, match="board 'small' does not use 'other'; it has blobs, tiny, shrink, half, gone"
    ):
        board_changes("other", board, registry)
    with pytest.raises(UnknownNameError, match="row or column of board 'small' named 'haf'; did you mean 'half'"):
        board_changes("haf", board, registry)
    with pytest.raises(UnknownNameError, match="no board named 'smal'"):
        board_changes("half", "smal", registry)
    with pytest.raises(UnknownNameError, match="no method named 'not_installed'"):
        board_changes("gone", board, registry)


def test_a_wrong_value_of_the_board_is_refused(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "bad.toml").write_text("[methods.shrink]\nfactor = -1\n")
    with pytest.raises(ConfigError, match="shrink: factor must be >= 0"):
        board_changes("shrink", str(tmp_path / "bad.toml"), registry)


def test_text_sets_each_value_and_names_default_and_place(board: str, registry: Registry) -> None:
    text = print_board_changes(board_changes("half", board, registry)).splitlines()
    assert text[0] == f"[methods.half] of board {board}: toys/shrink"
    assert text[2:4] == ["--set half.factor=0.5  (float, >= 0)", "      instead of 1.0 [methods.half]"]
    assert text[-2] == ""  # before the command
    assert text[-1] == f"bench run --board {board} --methods half"
    unchanged = print_board_changes(board_changes("tiny", board, registry)).splitlines()
    assert unchanged[1] == "      its defaults, unchanged"


def test_rows_of_a_shipped_board_are_shown_with_what_its_recipe_changes() -> None:
    nac, without_noise = board_changes("nac", "digits", load_plugins())
    assert (nac["row"], without_noise["row"]) == ("nac", "nac_without_noise")
    assert ("code_dim", 32, 128, "methods.nac") in changes(nac)
    assert ("recipe.optimizer", "adamw", "lars", "recipe") in changes(nac)
    tuned = {"flip", "recipe.learning_rate", "recipe.weight_decay"}
    assert {change["name"] for change in without_noise["changes"]} - tuned == {
        *(change["name"] for change in nac["changes"]), "noise",
    } - tuned  # fmt: skip
