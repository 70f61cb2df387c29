"""The board of trials: an ordinary board."""

from collections.abc import Callable

import pytest

from bench_core.config import parse_toml
from bench_core.errors import UnknownNameError
from bench_core.planning.boards import Board, OwnEncoder, load_board, read_board
from bench_core.planning.recipes import recipe_of
from bench_core.plugins import Registry
from bench_core.tuning.search import Search
from tests.bench_core.tuning.conftest import Tuner


def read(search: Search) -> Board:
    """The board of trials."""
    return read_board(parse_toml(search.text), "trials", "here")


def test_every_trial_is_a_row_on_a_part_of_train_at_the_size_of_trials(tuner: Tuner, plugins: Registry) -> None:
    board = read(tuner.search())
    assert board.validation == 0.2
    assert board.seeds == (0,)
    assert board.precision == "fp32"
    assert board.datasets["blobs"].values == {"train_size": 40}
    assert list(board.tasks) == ["spread"]
    assert {name.rpartition("-")[0] for name in board.methods} == {"shrink", "tinted", "tinted_control", "after"}
    recipe = recipe_of(board.methods["tinted-2"], board, plugins)
    assert (recipe.epochs, recipe.warmup_epochs) == (2, 1)  # half the epochs, half the warm-up


def test_without_epochs_trials_have_those_of_the_board(
    tuner: Tuner, plugins: Registry, change: Callable[[str, str], None]
) -> None:
    change("epochs = 2\nmetrics", "metrics")
    board = read(tuner.search())
    recipe = recipe_of(board.methods["shrink-1"], board, plugins)
    assert (recipe.epochs, recipe.warmup_epochs) == (4, 2)


def test_a_row_that_starts_from_another_starts_from_its_trial_0(
    tuner: Tuner, change: Callable[[str, str], None]
) -> None:
    board = read(tuner.search())
    assert [board.methods[f"after-{i}"].init for i in range(4)] == ["tinted-0"] * 4
    change('init = "tinted"', 'init = "still"')
    board = read(tuner.search())
    assert board.methods["after-3"].init == "still-0"
    assert board.methods["still-0"].use == "still"


def test_rows_keep_their_own_encoder(tuner: Tuner, change: Callable[[str, str], None]) -> None:
    change("[methods.shrink]\n", '[methods.shrink]\nencoder.use = "tiny"\nencoder.size = 3\n')
    assert read(tuner.search()).methods["shrink-1"].encoder == OwnEncoder("tiny", {"size": 3})


def test_a_dataset_that_the_board_lacks_is_refused(tuner: Tuner, change: Callable[[str, str], None]) -> None:
    change("datasets.blobs.train_size", "datasets.blob.train_size")
    with pytest.raises(UnknownNameError, match=r"'blob'.*blobs"):
        tuner.search()


def test_board_is_tuned_as_it_is_written_not_with_values_found_before(
    tuner: Tuner, change: Callable[[str, str], None]
) -> None:
    change('precision = "fp32"', 'precision = "fp32"\ntuned = "tuned.toml"')  # there is no such file yet
    assert load_board(str(tuner.board_file), tuned=False).methods["tinted"].values == {}
    assert read(tuner.search()).methods["tinted-0"].values == {}
