"""Measure by simulation how well bold keeps its promise: `python -m benchmarks.bold [--boards 2000] [--save]`.

A row that is truly best is to be bold in at least 95 % of boards. This is hardest where other rows are as good, for
each of them may be ahead by chance. So all rows of a board are drawn with the same mean, and the first one is looked
at. For power, all others are moved to be worse; bounded scores are not, for they would leave their bounds.

Shapes: B boards, k rows, n seeds.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import sqrt
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray

from bench_core.evaluation.intervals import LEVEL
from bench_core.reports.tables.statistics import best_group

PAGE = Path(__file__).with_name("bold.md")
WORSE = (1, 2, 4)  # deviations of the best row
_WIDE = 0.7  # sigma of the logarithms of deviations: one row in twenty is four times noisier than the middle one

Boards = NDArray[np.float64]  # (B, k, n)
Shape = tuple[int, int, int]
Rule = Callable[[Boards], NDArray[np.bool_]]  # -> (B, k): is the row bold?


@dataclass(frozen=True)
class Case:
    """One kind of board.

    Attributes:
        rows: Number of rows k.
        seeds: Number of seeds n.
        scores: Name of the scores in the table.
        draw: Draws boards of a shape; all rows have the same mean.
        moved: `draw` takes `worse`, by which all rows but the first are moved, in deviations of the first.
    """

    rows: int
    seeds: int
    scores: str
    draw: Callable[..., Boards]
    moved: bool = True

    @property
    def name(self) -> str:
        """The first cells of the case's line."""
        return f"{self.rows} | {self.seeds} | {self.scores}"


def normal(rng: np.random.Generator, shape: Shape, worse: float = 0, *, wide: bool = False, groups: int = 0) -> Boards:
    """Draw normal scores with an effect of each seed on all rows.

    Args:
        rng: Source of the draws.
        shape: (B, k, n).
        worse: All rows but the first are worse by so many deviations of the first.
        wide: The rows' deviations are lognormal instead of 1.
        groups: The rows form so many groups, such as a method and its variants, whose errors correlate by 0.9.
    """
    boards, rows, seeds = shape
    errors = rng.standard_normal(shape)
    if groups:
        shared = rng.standard_normal((boards, groups, seeds)).repeat(rows // groups, 1)
        errors = sqrt(0.1) * errors + sqrt(0.9) * shared
    deviations = np.exp(_WIDE * rng.standard_normal((boards, rows, 1))) if wide else np.ones((boards, rows, 1))
    scores = deviations * errors + rng.standard_normal((boards, 1, seeds))
    scores[:, 1:] -= worse * deviations[:, :1]
    return scores


def half_constant(rng: np.random.Generator, shape: Shape) -> Boards:
    """Draw normal scores; those of the first half of the rows are the same at every seed, as nothing is trained."""
    scores = rng.standard_normal(shape)
    scores[:, : shape[1] // 2] = 0
    return scores


def one_noisier(rng: np.random.Generator, shape: Shape) -> Boards:
    """Draw normal scores; those of the first row have five times the deviation of the others."""
    scores = rng.standard_normal(shape)
    scores[:, 0] *= 5
    return scores


def one_apart(rng: np.random.Generator, shape: Shape) -> Boards:
    """Draw normal scores; the errors of all rows but the first correlate by 0.5."""
    scores = sqrt(0.5) * (rng.standard_normal(shape) + rng.standard_normal((shape[0], 1, shape[2])))
    scores[:, 0] = rng.standard_normal((shape[0], shape[2]))
    return scores


def beta(rng: np.random.Generator, shape: Shape, mean: float, deviation: float) -> Boards:
    """Draw Beta scores in [0, 1]."""
    strength = mean * (1 - mean) / deviation**2 - 1
    return rng.beta(mean * strength, (1 - mean) * strength, shape)


def hits(rng: np.random.Generator, shape: Shape, mean: float) -> Boards:
    """Draw shares of hits in 500 items."""
    return rng.binomial(500, mean, shape) / 500


def cases() -> dict[str, list[Case]]:
    """Return title -> cases."""
    spreads: dict[str, Callable[..., Boards]] = {
        "deviations alike": normal,
        "deviations wide": partial(normal, wide=True),
    }
    sizes = [(5, 3), (10, 3), (10, 5), (20, 5), (20, 10)]
    few = [(2, 3), (2, 5), (3, 3), (3, 5)]
    correlated = {
        "pairs of rows correlate by 0.9": partial(normal, groups=5),
        "the same, wide": partial(normal, groups=5, wide=True),
        "rows of each half correlate by 0.9": partial(normal, groups=2),
        "the same halves, wide": partial(normal, groups=2, wide=True),
    }
    bounded: dict[str, Callable[..., Boards]] = {}
    for mean, deviation in ((0.95, 0.02), (0.97, 0.01), (0.99, 0.003), (0.99, 0.01), (0.01, 0.01)):
        bounded[f"Beta, mean {mean}, deviation {deviation}"] = partial(beta, mean=mean, deviation=deviation)
    for mean in (0.99, 0.998):
        bounded[f"hits of 500 items, mean {mean}"] = partial(hits, mean=mean)
    unlike = {"the best five times noisier": one_noisier, "the best alone, the others correlate by 0.5": one_apart}
    return {
        "Normal scores": [Case(k, n, name, draw) for name, draw in spreads.items() for k, n in sizes],
        "Few rows": [Case(k, n, name, draw) for name, draw in spreads.items() for k, n in few],
        "Rows that are not independent": [
            *(Case(10, n, name, draw) for n in (3, 5) for name, draw in correlated.items()),
            *(Case(10, n, "half of the rows constant", half_constant, moved=False) for n in (3, 5)),
        ],
        "Scores near their bounds": [
            Case(10, n, name, draw, moved=False) for n in (3, 5) for name, draw in bounded.items()
        ],
        "Where the promise falls short: the best is unlike all others": [
            Case(10, n, name, draw, moved=False) for n in (3, 5) for name, draw in unlike.items()
        ],
    }


def pair_by_pair(boards: Boards) -> NDArray[np.bool_]:
    """Return which rows the rule before this one had bold: a paired t test of 5 % against the best, each by itself."""
    n, best = boards.shape[2], boards.mean(2).argmax(1)
    differences = boards[np.arange(len(boards)), best][:, None] - boards
    half = scipy.special.stdtrit(n - 1, (1 + LEVEL) / 2) * differences.std(2, ddof=1) / sqrt(n)
    return np.asarray(np.abs(differences.mean(2)) <= half)


def comparisons_with_best(boards: Boards) -> NDArray[np.bool_]:
    """Return which rows are bold, by the function that tables call."""
    rows = range(boards.shape[1])
    bold = []
    for board in boards.tolist():
        group = best_group({str(row): dict(enumerate(board[row])) for row in rows}, higher_is_better=True)
        bold.append([str(row) in group for row in rows])
    return np.array(bold)


RULES: tuple[Rule, ...] = (pair_by_pair, comparisons_with_best)


def best_is_bold(rule: Rule, case: Case, boards: int) -> tuple[float, float]:
    """Return the shares of boards in which the first row is bold, and in which all are; every row is a true best."""
    bold = rule(case.draw(np.random.default_rng(0), (boards, case.rows, case.seeds)))
    return float(bold[:, 0].mean()), float(bold.all(1).mean())


def found(rule: Rule, case: Case, boards: int) -> list[float]:
    """Return the shares of losers that are not bold, for each distance from the best."""
    shape, shares = (boards, case.rows, case.seeds), []
    for worse in WORSE:
        bold = rule(case.draw(np.random.default_rng(1), shape, worse))
        shares.append(float(1 - bold[:, 1:].mean()))
    return shares


def line(case: Case, boards: int) -> str:
    """Return a case's line of the table; a share below the promise is in bold."""
    bold, nobody_told, power = [], [], []
    for rule in RULES:
        best, everybody = best_is_bold(rule, case, boards)
        mark = "**" if best < least(boards) else ""
        bold.append(f"{mark}{best:.3f}{mark} ± {sqrt(best * (1 - best) / boards):.3f}")
        nobody_told.append(f"{everybody:.2f}")
        power.append(" ".join(f"{share:.2f}" for share in found(rule, case, -(-boards // 4))) if case.moved else "")
    return f"| {case.name} | {' | '.join([*bold, *nobody_told, *power])} |"


def least(boards: int) -> float:
    """Return 0.95 less two standard errors of a simulation of so many boards."""
    return LEVEL - 2 * sqrt(LEVEL * (1 - LEVEL) / boards)


def page(boards: int) -> Iterator[str]:
    """Yield the page line by line, as they are made."""
    yield INTRODUCTION.format(boards=boards, quarter=-(-boards // 4), least=least(boards))
    for title, group in cases().items():
        yield f"\n## {title}\n\n{HEAD}"
        for case in group:
            yield line(case, boards)


INTRODUCTION = """\
# Which rows are bold

A row of a table is bold where it cannot be told from the best. The promise: a row that is truly best is bold in at
least 95 % of boards. Here it is held against simulated boards, {boards:,} for each line. This page is written by
`python -m benchmarks.bold --boards {boards} --save`; nothing here is typed by hand.

Of two columns the first is the rule of earlier versions: a paired t test of each row against the best, each at 5 % by
itself. The second is the present rule, `best_group`: comparisons with the best, variances moderated over rows.

- **best is bold**: all rows have the same mean, so each of them is a true best; the share of boards in which the first
  row is bold, with the standard error of the simulation. A share below {least:.3f}, which is two standard errors under
  0.95, is in bold.
- **no loser**: the share of the same boards in which every row is bold. This is not promised.
- **found at 1, 2, 4**: one row is best, and all others are worse by so many of its deviations over seeds; the share of
  them that is not bold, over {quarter:,} boards each.

Every seed moves all rows of normal scores alike. Where deviations are wide, those of the rows are lognormal with sigma
0.7."""

HEAD = """\
| rows | seeds | scores | best is bold: earlier | present | no loser: earlier | present | found: earlier | present |
|--:|--:|:--|--:|--:|--:|--:|:--|:--|"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bold", description=__doc__)
    parser.add_argument("--boards", type=int, default=2000, help="boards of each case (default 2000; two minutes)")
    parser.add_argument("--save", action="store_true", help="write bold.md")
    options = parser.parse_args()
    lines = []
    for part in page(options.boards):
        print(part, flush=True)
        lines.append(part)
    if options.save:
        PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
