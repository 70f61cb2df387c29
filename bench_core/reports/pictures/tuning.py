"""Pictures of kind `tuning`: the expected best of n trials of each row, from a board's tuned.toml alone.

A panel for each metric. A line is the mean of the best score over all sets of n of a row's trials, so a line that
still rises at its end would gain from more trials. A hollow marker at one trial is the row as the board has it.
Of a row that several metrics chose together each panel shows what its metric alone would have chosen.
"""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from bench_core.errors import UnknownNameError
from bench_core.planning.boards import Board, Picture
from bench_core.planning.tuned_text import budget_text, metrics_text, usual_budget
from bench_core.planning.tuning import TunedRow
from bench_core.reports.pictures.end_labels import label_ends
from bench_core.reports.pictures.model import NothingToDrawError, PictureKind, PlotRequest
from bench_core.reports.pictures.style import COLOURS, add_caption, line_style, make_panels
from bench_core.reports.tables.entries import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bench_core.store import Store

_HEIGHT = 3.2  # inches of a panel of several rows
_LABEL = 0.17  # inches that a row's name takes beside it
_MOST_LABELS = 12  # rows in one panel; more have a panel each
_COLUMNS = 6  # of such panels
_CELL = (1.75, 1.25)  # inches of such a panel with its numbers
_TITLE, _CAPTION = 0.25, 0.65  # inches above the panels of a metric, and above all


@dataclass(frozen=True)
class TuningCurve:
    """One row in one panel.

    Attributes:
        row: Name of the row.
        best: Expected best score of 1, 2, ... trials.
        first: Score of the row as the board has it; None where that trial failed.
    """

    row: str
    best: tuple[float, ...]
    first: float | None


@dataclass(frozen=True)
class TuningPanel:
    """The rows that one metric chose, the best first.

    Attributes:
        metric: The metric, as "TASK:METRIC".
        lower: Whether less is better.
        curves: A curve for each row.
    """

    metric: str
    lower: bool
    curves: tuple[TuningCurve, ...]

    @property
    def title(self) -> str:
        """The metric with an arrow that points to better scores: "knn top1 ↑"."""
        return f"{metrics_text([self.metric])} {'↓' if self.lower else '↑'}"


@dataclass(frozen=True)
class TuningData:
    """The panels of a picture, and the board and budget that its caption names.

    Attributes:
        board: Name of the board.
        budget: What the tuning of most rows cost, in words.
        panels: A panel for each metric.
    """

    board: str
    budget: str
    panels: tuple[TuningPanel, ...]

    @property
    def rows(self) -> list[str]:
        """Names of the rows, in order of the panels."""
        return list(dict.fromkeys(curve.row for panel in self.panels for curve in panel.curves))


class Tuning(PictureKind[TuningData]):
    """The expected best of n trials of each row of a board, a panel for each metric."""

    name = "tuning"
    noun = "the trials of a board's rows"
    hint = "`bench tune --board NAME` makes them; draw them with `bench plot --kind tuning --board NAME`"
    of_board = True

    def __init__(self, board: Board | None = None) -> None:
        """Read this board; a kind without a board draws nothing."""
        self.board = board or Board()

    def for_board(self, board: Board) -> Self:
        """Return the kind as it reads this board."""
        return type(self)(board)

    def possible_pictures(self, entries: Sequence[Entry], request: PlotRequest) -> Iterator[Picture]:
        """Yield the picture where the request names this kind and the board has no such picture of its own."""
        own = [picture for picture in self.board.pictures.values() if picture.kind == self.name]
        if request.kind == self.name and not own:
            yield Picture(name=self.name, kind=self.name, methods=request.methods)

    def read(self, entries: Sequence[Entry], picture: Picture, store: "Store | None" = None) -> TuningData:
        """Read the trials of the board's rows; entries and store are not read.

        Raises:
            NothingToDrawError: No row of the board is tuned.
            UnknownNameError: A row of the picture is not tuned.
        """
        tuned = self.board.tuned
        rows = {name: row for name in self.board.methods if (row := self.board.tuned_row(name))}
        if tuned is None or not rows:
            raise NothingToDrawError(
                f"picture {picture.name!r}: no row of board {self.board.name!r} is tuned; `bench tune --board "
                f'{self.board.name}` does it, and `tuned = "tuned.toml"` in the board names the outcome.'
            )
        for name in picture.methods:
            if name not in rows:
                raise UnknownNameError("tuned row", name, rows)
        shown = {name: row for name, row in rows.items() if not picture.methods or name in picture.methods}
        metrics = dict.fromkeys(metric for row in shown.values() for metric in row.metrics)
        of_task = [metric for metric in metrics if picture.task in ("", metric.partition(":")[0])]
        panels = [panel for metric in of_task if (panel := _panel(metric, shown)).curves]
        if not panels:
            raise NothingToDrawError(
                f"picture {picture.name!r}: no metric of task {picture.task!r} chose a row; "
                f"there are {', '.join(metrics)}."
            )
        return TuningData(self.board.name, budget_text(usual_budget(tuned)), tuple(panels))

    def shown(self, data: TuningData) -> list[tuple[str, str]]:
        """Return the rows; no task of the board's cells measured a trial."""
        return [(row, "") for row in data.rows]

    def fingerprint_values(self, data: TuningData) -> list[Any]:
        """Return all that is drawn, numbers as text with 9 significant digits."""

        def digits(values: Sequence[float | None]) -> list[str]:
            return ["" if value is None else f"{value:.9g}" for value in values]

        panels = [
            [panel.metric, panel.lower, [[c.row, digits(c.best), digits([c.first])] for c in panel.curves]]
            for panel in data.panels
        ]
        return [data.board, data.budget, panels]

    def paint(self, figure: "Figure", data: TuningData, picture: Picture) -> None:
        """Draw a panel for each metric, with the names of the rows at the ends of their lines."""
        if max(len(panel.curves) for panel in data.panels) <= _MOST_LABELS:
            panels = make_panels(figure, len(data.panels), 1, (5.4, _HEIGHT + 0.6))
            for (axes,), panel in zip(panels, data.panels, strict=True):
                _draw_rows(axes, panel, data.rows, picture)
        else:
            _draw_each_row(figure, data.panels, picture)
        caption = picture.title or f"tuning of {data.board}: expected best of n trials"
        text = f"{data.budget}; hollow: the row as the board has it, a triangle: beyond the edge"
        add_caption(figure, caption, textwrap.fill(text, int(11 * figure.get_figwidth())))


def expected_best(scores: Sequence[float], *, lower: bool = False) -> tuple[float, ...]:
    """Return the mean, over all sets of n scores, of the best score of the set, for n = 1, 2, ... of them.

    The i-th of N scores, the worst first, is the best of C(i - 1, n - 1) of the C(N, n) sets of n.

    Args:
        scores: The scores.
        lower: Whether less is better.
    """
    worst_first = sorted(scores, reverse=lower)
    number = len(worst_first)
    return tuple(
        math.fsum(math.comb(i, n - 1) * score for i, score in enumerate(worst_first)) / math.comb(number, n)
        for n in range(1, number + 1)
    )


def _panel(metric: str, rows: Mapping[str, TunedRow]) -> TuningPanel:
    """Return the curves of the rows that a metric chose, alone or with others."""
    lower = any(metric in row.lower for row in rows.values())
    curves = []
    for name, row in rows.items():
        scores = [_score(trial.scores, metric) for trial in row.tried]
        finished = [score for score in scores if score is not None]
        if metric in row.metrics and finished:
            worst = max(finished) if lower else min(finished)
            best = expected_best([worst if score is None else score for score in scores], lower=lower)
            curves.append(TuningCurve(name, best, scores[0]))
    curves.sort(key=lambda curve: curve.best[-1], reverse=not lower)
    return TuningPanel(metric, lower, tuple(curves))


def _score(scores: Mapping[str, float], metric: str) -> float | None:
    """Return a trial's score, or None where the trial failed or has no number."""
    score = scores.get(metric)
    return score if score is not None and math.isfinite(score) else None


def _draw_rows(axes: "Axes", panel: TuningPanel, rows: Sequence[str], picture: Picture) -> None:
    """Draw the rows in one panel, each with its name and the best of all its trials."""
    styles = [line_style(rows.index(curve.row)) for curve in panel.curves]
    for curve, style in zip(panel.curves, styles, strict=True):
        axes.plot(range(1, len(curve.best) + 1), curve.best, linewidth=1.3, **style)
    axes.margins(y=0.08)
    axes.set_xlim(0.6, max(max(len(curve.best) for curve in panel.curves), 1.4))
    axes.set_ylim(*axes.get_ylim())
    for curve, style in zip(panel.curves, styles, strict=True):
        _mark_first(axes, curve, style["color"])
    ends = [(len(curve.best), curve.best[-1]) for curve in panel.curves]
    names = [f"{curve.row}  {curve.best[-1]:.4g}" for curve in panel.curves]
    label_ends(axes, ends, names, styles, _LABEL / _HEIGHT)
    axes.set_title(panel.title)
    axes.set_xlabel(picture.x_label or "trials")
    axes.set_ylabel(picture.y_label)
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)


def _draw_each_row(figure: "Figure", panels: Sequence[TuningPanel], picture: Picture) -> None:
    """Draw a small panel for each row, the best first; those of one metric cover equally much of it.

    Panels have fixed places: to find places for many takes matplotlib long.
    """
    across, down = _CELL
    heights = [down * math.ceil(len(panel.curves) / _COLUMNS) for panel in panels]
    width, height = across * _COLUMNS, sum(heights) + _TITLE * len(panels) + _CAPTION
    figure.set_layout_engine("none")
    figure.set_size_inches(width, height)
    top = height - _CAPTION
    for panel, below in zip(panels, heights, strict=True):
        title = f"{panel.title} over {picture.x_label or 'trials'}; equal heights are equal differences"
        figure.text(0.5, (top - 0.1) / height, title, ha="center", va="center", fontsize=9)
        top -= _TITLE
        covered = _covered(panel)
        for number, curve in enumerate(panel.curves):
            left, under = across * (number % _COLUMNS) + 0.42, top - down * (number // _COLUMNS + 1) + 0.2
            box = (left / width, under / height, (across - 0.5) / width, (down - 0.45) / height)
            _draw_row(figure.add_axes(box), curve, covered * (1 if panel.lower else -1))
        top -= below


def _draw_row(axes: "Axes", curve: TuningCurve, worse: float) -> None:
    """Draw a row in a small panel, which reaches from its best by so much to the worse."""
    best = curve.best[-1]
    axes.set_xlim(0.4, len(curve.best) + 0.6)
    axes.set_ylim(*sorted((best + worse, best - 0.12 * worse)))
    axes.plot(range(1, len(curve.best) + 1), curve.best, linewidth=1.3, color=COLOURS[0])
    _mark_first(axes, curve, COLOURS[0])
    axes.set_title(f"{curve.row}  {best:.4g}", fontsize=7, pad=3)
    axes.tick_params(labelsize=6, length=2, pad=2)
    axes.locator_params(axis="x", integer=True, nbins=4)
    axes.locator_params(axis="y", nbins=4)
    axes.grid(alpha=0.3)


def _covered(panel: TuningPanel) -> float:
    """Return how much of a metric each small panel covers: what one trial lacks to all in nine of ten rows."""
    lacks = sorted(abs(curve.best[-1] - curve.best[0]) for curve in panel.curves)
    return lacks[math.ceil(0.9 * len(lacks)) - 1] or abs(panel.curves[0].best[-1]) or 1.0


def _mark_first(axes: "Axes", curve: TuningCurve, colour: str) -> None:
    """Mark the row as the board has it; a triangle on the edge where its score is outside of the panel."""
    if curve.first is None:
        return
    low, high = axes.get_ylim()
    marker = "v" if curve.first < low else "^" if curve.first > high else "o"
    axes.plot(1, min(max(curve.first, low), high), marker=marker, markersize=4, color=colour,
              markerfacecolor="white", clip_on=False, zorder=3)  # fmt: skip
