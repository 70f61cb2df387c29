"""Curves of tuning are exact expectations over sets of trials, read from a board's tuned.toml alone."""

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from bench_core.errors import RequestError, UnknownNameError
from bench_core.planning.boards import Board, NamedComponent, Picture, with_tuned
from bench_core.planning.tuning import Trial, Tuned, TunedRow
from bench_core.planning.tuning import Tuning as TuningTable
from bench_core.reports.pictures.draw import draw, fingerprint, fingerprint_in
from bench_core.reports.pictures.model import NothingToDrawError, PlotRequest
from bench_core.reports.pictures.plot import plot_all
from bench_core.reports.pictures.tuning import Tuning, TuningData, expected_best
from bench_core.store import Store

PICTURE = Picture(name="tuning", kind="tuning")
TOP1, FRECHET = "knn:top1", "distribution:frechet"


def row(*scores: float | None, metrics: tuple[str, ...] = (TOP1,), lower: tuple[str, ...] = ()) -> TunedRow:
    """A row whose trials have these scores in every metric; None failed."""
    tried = [Trial({}, {} if score is None else dict.fromkeys(metrics, score)) for score in scores]
    finished = len([score for score in scores if score is not None])
    return TunedRow({}, metrics, finished, 0, "sha256:0", {}, tried, epochs=20, lower=lower)


def board_of(rows: Mapping[str, TunedRow], *untuned: str, **fields: Any) -> Board:
    names = (*rows, *untuned)
    board = Board(name="toys", methods={name: NamedComponent(name, name) for name in names}, **fields)
    return with_tuned(board, Tuned("bench tune --board toys", TuningTable(), rows))


def read(board: Board, **options: Any) -> TuningData:
    return Tuning(board).read((), replace(PICTURE, **options))


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("number", [1, 2, 5, 7])
def test_expected_best_is_the_mean_over_all_sets_of_trials(number: int, lower: bool) -> None:
    rng, best = random.Random(number), min if lower else max
    for _ in range(5):
        scores = [rng.choice([0.5, rng.random(), -rng.random()]) for _ in range(number)]  # some are equal
        slowly = [fmean(map(best, itertools.combinations(scores, n))) for n in range(1, number + 1)]
        assert expected_best(scores, lower=lower) == pytest.approx(slowly, abs=1e-12)


def test_expected_best_of_three_scores_by_hand() -> None:
    assert expected_best([1.0, 4.0, 2.0]) == pytest.approx((7 / 3, 10 / 3, 4))
    assert expected_best([1.0, 4.0, 2.0], lower=True) == pytest.approx((7 / 3, 4 / 3, 1))


def test_expected_best_begins_at_the_mean_ends_at_the_best_and_ignores_the_order() -> None:
    scores = [random.Random(3).random() for _ in range(12)]
    found = expected_best(scores)
    assert found[0] == pytest.approx(fmean(scores))
    assert found[-1] == max(scores)
    assert list(found) == sorted(found)
    assert expected_best(scores[::-1]) == found
    assert [-value for value in expected_best([-score for score in scores], lower=True)] == pytest.approx(found)


def test_a_panel_has_the_rows_that_its_metric_chose_the_best_first() -> None:
    rows = {
        "nac": row(0.5, 0.75),
        "vae": row(0.5, 0.25, metrics=(TOP1, FRECHET), lower=(FRECHET,)),
        "gan": row(4.0, 0.125, metrics=(FRECHET,), lower=(FRECHET,)),
    }
    top1, frechet = read(board_of(rows, "pixels")).panels
    assert (top1.title, [(curve.row, curve.best, curve.first) for curve in top1.curves]) == (
        "knn top1 ↑",
        [("nac", (0.625, 0.75), 0.5), ("vae", (0.375, 0.5), 0.5)],
    )
    assert (frechet.title, [(curve.row, curve.best) for curve in frechet.curves]) == (
        "distribution frechet ↓",
        [("gan", (2.0625, 0.125)), ("vae", (0.375, 0.25))],
    )


@pytest.mark.parametrize("failed", [None, math.nan, math.inf])
def test_a_failed_trial_counts_as_the_worst_that_finished(failed: float | None) -> None:
    (panel,) = read(board_of({"nac": row(failed, 0.5, 1.0)})).panels
    (curve,) = panel.curves
    assert curve.best == pytest.approx((2 / 3, 5 / 6, 1.0))
    assert curve.first is None
    (panel,) = read(board_of({"nac": row(failed, 0.5, 1.0, lower=(TOP1,))})).panels
    assert panel.curves[0].best == pytest.approx((5 / 6, 2 / 3, 0.5))


def test_rows_and_task_select_what_is_shown() -> None:
    board = board_of({"nac": row(0.5), "vae": row(0.25, metrics=(TOP1, FRECHET))})
    assert read(board, methods=("vae",)).rows == ["vae"]
    assert [panel.metric for panel in read(board, task="distribution").panels] == [FRECHET]
    with pytest.raises(UnknownNameError, match="no tuned row named 'nacc'; did you mean 'nac'"):
        read(board, methods=("nacc",))
    with pytest.raises(NothingToDrawError, match="no metric of task 'linear' chose a row; there are knn:top1"):
        read(board, task="linear")


def test_a_board_that_is_not_tuned_says_how_to_tune_it() -> None:
    for board in (Board(name="toys"), board_of({})):
        with pytest.raises(NothingToDrawError, match="no row of board 'toys' is tuned; `bench tune --board toys` does"):
            read(board)


@pytest.mark.parametrize(("number", "metrics"), [(1, (TOP1,)), (5, (TOP1, FRECHET)), (13, (TOP1,))])
def test_every_row_is_named_with_its_best_score(number: int, metrics: tuple[str, ...], tmp_path: Path) -> None:
    rows = {f"row_{k}": row(0.5 + k / 128, None, 0.25, metrics=metrics) for k in range(number)}
    draw((), PICTURE, tmp_path / "a.svg", board=board_of(rows))
    text = (tmp_path / "a.svg").read_text()
    assert all(text.count(f"row_{k}  {0.5 + k / 128:.4g}<") == len(metrics) for k in range(number))
    assert "3 trials of at most 20 epochs" in text


def test_the_same_trials_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw((), PICTURE, tmp_path / name, board=board_of({"nac": row(0.5, 0.75)}))
    assert (tmp_path / "b.svg").read_bytes() == (tmp_path / "a.svg").read_bytes()


def test_a_row_of_one_trial_or_of_equal_trials_is_drawn(tmp_path: Path) -> None:
    rows = {f"row_{k}": row(*[0.0] * (1 + k % 2)) for k in range(13)}
    draw((), PICTURE, tmp_path / "many.svg", board=board_of(rows))
    draw((), replace(PICTURE, methods=("row_0",)), tmp_path / "one.svg", board=board_of(rows))
    assert "row_0  0<" in (tmp_path / "one.svg").read_text()


def test_the_fingerprint_follows_the_trials(tmp_path: Path) -> None:
    board = board_of({"nac": row(0.5, 0.75)})
    draw((), PICTURE, tmp_path / "a.svg", board=board)
    assert fingerprint_in(tmp_path / "a.svg") == fingerprint((), PICTURE, board)
    assert fingerprint((), PICTURE, board_of({"nac": row(0.5, 0.625)})) != fingerprint((), PICTURE, board)


def test_a_board_has_one_picture_whatever_its_records_are(tmp_path: Path) -> None:
    board, store = board_of({"nac": row(0.5, 0.75)}), Store(tmp_path / "none")
    drawn = plot_all((), store, board, PlotRequest(kind="tuning"), tmp_path).drawn
    assert drawn == (tmp_path / "toys_tuning.svg",)
    own = replace(board, pictures={"trials": replace(PICTURE, name="trials")})
    assert plot_all((), store, own, PlotRequest(kind="tuning"), tmp_path).drawn == (tmp_path / "toys_trials.svg",)
    with pytest.raises(RequestError, match="no row of board '' is tuned"):
        plot_all((), store, Board(), PlotRequest(kind="tuning"), tmp_path)
