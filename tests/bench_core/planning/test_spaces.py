"""Search spaces of a board's rows, and the digest of what was tuned."""

from dataclasses import dataclass, replace

import pytest

from bench_core import Recipe, param
from bench_core.planning.boards import Board, NamedComponent, read_board
from bench_core.planning.spaces import row_digest, space_of, value_of, written_space
from bench_core.plugins import Registry
from bench_core.ranges import choice, log
from tests.conftest import Shrink, ShrinkConfig, toy


@dataclass(frozen=True, kw_only=True)
class TintedConfig(ShrinkConfig):
    """Parameters of Tinted."""

    kind: str = param("idea", "what it is", "ours: tiny", tune=choice("idea", "control"))
    tint: float = param(0.5, "how much", "ours: tiny", ge=0, tune=log(0.1, 10))


class Tinted(Shrink):
    """Method with a search space (ours)."""

    Config = TintedConfig


class Still(Shrink):
    """Method that is not trained (ours)."""

    recipe = Recipe(epochs=0)


@pytest.fixture
def plugins(registry: Registry) -> Registry:
    """The tiny plugins, and methods with and without a search space."""
    registry.components += [toy("objective", "tinted", Tinted), toy("objective", "still", Still)]
    return registry


def board_of(**methods: dict[str, object]) -> Board:
    """Board of these rows."""
    return read_board(
        {"recipe": {"learning_rate": 0.02}, "datasets": {"blobs": {}}, "methods": methods}, "toys", "here"
    )


def test_a_row_has_the_space_of_its_recipe_and_of_its_method(plugins: Registry) -> None:
    board = board_of(tinted={}, shrink={})
    of_recipe = ["recipe.learning_rate", "recipe.weight_decay"]
    assert list(space_of(board.methods["tinted"], board, plugins)) == [*of_recipe, "kind", "tint"]
    assert list(space_of(board.methods["shrink"], board, plugins)) == of_recipe


def test_what_tells_rows_of_one_method_apart_is_not_tuned_in_any_of_them(plugins: Registry) -> None:
    board = board_of(tinted={}, control={"use": "tinted", "kind": "control", "recipe": {"learning_rate": 0.1}})
    for name in ("tinted", "control"):
        assert list(space_of(board.methods[name], board, plugins)) == [
            "recipe.learning_rate",
            "recipe.weight_decay",
            "tint",
        ]


def test_a_part_that_a_control_has_switched_off_is_tuned_where_it_is_on(plugins: Registry) -> None:
    board = board_of(tinted={}, untinted={"use": "tinted", "tint": 0.0})  # 0 is outside the space of tint
    assert "tint" in space_of(board.methods["tinted"], board, plugins)
    assert "tint" not in space_of(board.methods["untinted"], board, plugins)


def test_a_value_that_trials_could_reach_tells_rows_apart_also_beside_a_control(plugins: Registry) -> None:
    board = board_of(tinted={}, other={"use": "tinted", "tint": 2.0}, untinted={"use": "tinted", "tint": 0.0})
    assert not any("tint" in space_of(row, board, plugins) for row in board.methods.values())


def test_a_row_that_is_not_trained_has_no_space(plugins: Registry) -> None:
    board = board_of(still={})
    assert space_of(board.methods["still"], board, plugins) == {}


def test_rows_whose_plugin_is_missing_tell_nothing_apart(plugins: Registry) -> None:
    board = board_of(tinted={}, gone={"use": "gone", "kind": "control"})
    assert "kind" in space_of(board.methods["tinted"], board, plugins)


def test_value_is_the_rows_the_boards_or_the_methods_own(plugins: Registry) -> None:
    board = board_of(tinted={"tint": 2.0})
    row = board.methods["tinted"]
    assert value_of(row, "tint", board, plugins) == 2.0
    assert value_of(row, "kind", board, plugins) == "idea"
    assert value_of(row, "recipe.learning_rate", board, plugins) == 0.02


def test_space_is_written_as_lists_and_words(plugins: Registry) -> None:
    board = board_of(tinted={})
    row = board.methods["tinted"]
    assert written_space(space_of(row, board, plugins), row, board, plugins) == {
        "recipe.learning_rate": "0.000667 to 0.6 (log)",
        "recipe.weight_decay": "0, or 1e-06 to 0.01 (log)",
        "kind": ["idea", "control"],
        "tint": "0.1 to 10 (log)",
    }


def test_digest_changes_with_all_that_is_tuned_and_with_nothing_else(plugins: Registry) -> None:
    board = board_of(tinted={})
    row = board.methods["tinted"]
    digest = row_digest(row, board, plugins)
    assert digest.startswith("sha256:")
    assert digest == row_digest(replace(row, name="other"), replace(board, title="x", seeds=(7,)), plugins)
    others = [
        (replace(row, values={"tint": 1.0}), board),
        (replace(row, recipe={"epochs": 9}), board),
        (replace(row, init="shrink"), board),
        (row, replace(board, recipe={"learning_rate": 0.03})),
        (row, replace(board, datasets={"blobs": NamedComponent("blobs", "blobs", {"train_size": 9})})),
        (row, board_of(tinted={}, control={"use": "tinted", "kind": "control"})),
    ]
    digests = {row_digest(other, on, plugins) for other, on in others}
    assert len(digests) == len(others)
    assert digest not in digests
