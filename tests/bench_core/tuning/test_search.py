"""Which rows are tuned, and where the board of trials lies."""

from collections.abc import Callable
from pathlib import Path

import pytest

import bench_core.tuning.search as search_module
from bench_core.errors import RequestError, UnknownNameError
from bench_core.planning.boards import load_board
from bench_core.store import Store
from bench_core.tuning.search import trial_store, tuned_path, written_board
from tests.bench_core.tuning.conftest import Tuner


def test_all_rows_that_are_trained_are_tuned(tuner: Tuner) -> None:
    search = tuner.search()
    assert search.asked == ["shrink", "tinted", "tinted_control", "after"]
    assert search.left_out == {"still": "it is not trained"}
    assert tuner.search(["all"]).asked == search.asked


def test_a_row_whose_plugin_is_missing_is_left_out(tuner: Tuner, change: Callable[[str, str], None]) -> None:
    change("[methods.shrink]\n", "[methods.gone]\n[methods.shrink]\n")
    assert tuner.search().left_out["gone"] == "there is no method gone"


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (["shrunk"], r"no row named 'shrunk'.*shrink.*--methods names rows of board toys"),
        (["still"], r"still cannot be tuned: it is not trained"),
    ],
)
def test_wrong_rows_are_refused(tuner: Tuner, methods: list[str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        tuner.search(methods)


def test_a_board_without_a_metric_for_any_row_is_refused(tuner: Tuner, change: Callable[[str, str], None]) -> None:
    change('metrics.features = "spread:spread"', 'metrics.generators = "spread:spread"')
    with pytest.raises(RequestError, match=r"no row of board toys can be tuned: .*names no metric of its family"):
        tuner.search()


def test_a_task_that_there_is_not_is_refused(tuner: Tuner, change: Callable[[str, str], None]) -> None:
    change('"spread:spread"', '"spreads:spread"')
    with pytest.raises(UnknownNameError, match="spreads"):
        tuner.plan(tuner.search())


def test_trials_have_a_store_of_their_own_inside_the_store(tuner: Tuner) -> None:
    search = tuner.search()
    trials = trial_store(tuner.store, search.board)
    assert not tuner.store.exists()
    with written_board(search, tuner.store, trials) as path:
        assert path == tuner.store / "tuning" / "toys" / "board.toml"
        assert load_board(str(path)).name == "toys"
    assert Store(tuner.store).exists()
    assert Store(tuner.store).records() == []
    assert trials.exists()


def test_several_processes_share_a_board_of_trials_and_none_may_change_it_meanwhile(tuner: Tuner) -> None:
    search, other = tuner.search(["shrink"]), tuner.search(["tinted"])
    more = tuner.search(trials=5)
    trials = trial_store(tuner.store, search.board)
    with (
        written_board(search, tuner.store, trials),
        written_board(other, tuner.store, trials),
        pytest.raises(RequestError, match=r"another bench tune is at work in .*--store"),
        written_board(more, tuner.store, trials),
    ):
        pass
    with written_board(more, tuner.store, trials) as path:
        assert path.read_text() == more.text


def test_outcome_lies_beside_the_board_or_here_where_the_board_is_of_an_installed_package(
    tuner: Tuner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tuned_path(str(tuner.board_file), None) == tuner.board_file.parent / "tuned.toml"
    assert tuned_path(str(tuner.board_file), tmp_path / "x.toml") == tmp_path / "x.toml"
    monkeypatch.setattr(search_module, "checkout", lambda: None)
    monkeypatch.setattr(search_module, "shipped_files", lambda: tuner.board_file.parent)
    assert tuned_path(str(tuner.board_file), None) == Path("tuned.toml")
