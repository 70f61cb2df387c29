"""Verdicts on claims: one-sided tests over common seeds, in the claim's direction and in the reverse one.

A claim says where the mean of left minus right lies: above a bound, below one, or between two. It is supported where
seeds tell that the mean lies there, and contradicted where they tell that it lies elsewhere, each at 5 % after Holm
over the measured claims of its paper. So chance supports any claim of a paper of which none holds in at most 5 % of
cases, and contradicts any of a paper of which all hold in at most 5 %.

"higher" with margin m: above m; "not_lower": above -m; "lower" and "not_higher": the same with left and right
exchanged; "equal": between -m and m (two one-sided tests; Schuirmann, 1987). Of a claim about several rows, all must
hold, so it has the largest of their p-values (an intersection-union test; Berger, 1982), and controls are among them.
One of the rows is enough to contradict it, so it has the smallest p-value times their number there (Bonferroni);
controls contradict nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Literal

import scipy  # its part `special` loads at its first use, and fast

from bench_core.evaluation.intervals import LEVEL, t_halfwidth
from bench_core.reports.claims.claim import Claim, Paper
from bench_core.reports.claims.evidence import BoardTables, Evidence, RowValues, find_evidence
from bench_core.reports.tables.statistics import FEWEST_SEEDS, holm

Word = Literal["supported", "contradicted", "not distinguishable", "not measured"]
WORDS: tuple[Word, ...] = ("supported", "contradicted", "not distinguishable", "not measured")
_CHANCE = 1 - LEVEL
_ROUNDING = 1e-12  # of the largest value: what varies by less does not vary


@dataclass(frozen=True)
class Difference:
    """Left minus another row, or a number, at the seeds that both have.

    Attributes:
        other: The row, or the number as the claim has it.
        is_control: Whether the row is a control.
        seeds: Number of common seeds.
        left: Mean of left over them.
        right: Mean of the other over them, or the number.
        mean: Mean of the differences.
        low: Lower end of its 95 % t interval (two-sided, not adjusted); None where differences do not vary.
        high: Upper end, like `low`.
        p: p-value of the claim's direction, not adjusted.
        p_reverse: p-value of the reverse one, not adjusted.
    """

    other: str | float
    is_control: bool
    seeds: int
    left: float
    right: float
    mean: float
    low: float | None
    high: float | None
    p: float
    p_reverse: float


@dataclass(frozen=True)
class Verdict:
    """The verdict on a claim.

    Attributes:
        claim: The claim.
        word: The verdict; `text` is what readers must see.
        note: What a reader must know beside it: what is missing, which control does not fall; "" for most.
        differences: Left minus each row on the right, then minus each control; empty where it is not measured.
        unit: Unit of the score, "fraction" for what is shown as per cent; "" where no record names it.
        p: p-value in the claim's direction; None where it is not measured.
        p_reverse: p-value in the reverse direction; None like `p`.
        p_holm: `p` after Holm over the paper's measured claims.
        p_reverse_holm: `p_reverse` after Holm over the same.
    """

    claim: Claim
    word: Word
    note: str = ""
    differences: tuple[Difference, ...] = ()
    unit: str = ""
    p: float | None = None
    p_reverse: float | None = None
    p_holm: float | None = None
    p_reverse_holm: float | None = None

    @property
    def text(self) -> str:
        """The verdict, no further than its evidence: "supported at CPU size"."""
        decided = self.word in ("supported", "contradicted")
        return f"{self.word} at CPU size" if decided and self.claim.scale == "cpu" else self.word


def judge_papers(papers: Mapping[str, Paper], boards: BoardTables) -> dict[str, dict[str, Verdict]]:
    """Return key of a paper -> name of a claim -> verdict, from the records of the boards that the claims name."""
    return {key: judge_paper(paper, boards) for key, paper in papers.items()}


def judge_paper(paper: Paper, boards: BoardTables) -> dict[str, Verdict]:
    """Return name of a claim -> verdict, for all claims of a paper."""
    return judge([(claim, find_evidence(claim, boards)) for claim in paper.claims.values()])


def judge(claims: Sequence[tuple[Claim, Evidence]]) -> dict[str, Verdict]:
    """Return name of a claim -> verdict, for the claims of one paper with their evidence."""
    measured = {claim.name: _measure(claim, evidence) for claim, evidence in claims}
    tested = [verdict for verdict in measured.values() if verdict.p is not None]
    p_holm = holm([verdict.p for verdict in tested if verdict.p is not None])
    p_reverse_holm = holm([verdict.p_reverse for verdict in tested if verdict.p_reverse is not None])
    judged = [
        _decide(replace(verdict, p_holm=p, p_reverse_holm=p_reverse), len(tested))
        for verdict, p, p_reverse in zip(tested, p_holm, p_reverse_holm, strict=True)
    ]
    return measured | {verdict.claim.name: verdict for verdict in judged}


def _measure(claim: Claim, evidence: Evidence) -> Verdict:
    """Return a claim with its differences and p-values, not decided; or "not measured", with what is missing."""
    unit = evidence.column.unit if evidence.column else ""
    compared = [] if evidence.lacks else _compared(claim, evidence.rows)
    common = min((len(one.pairs) for one in compared), default=0)
    lacks = [evidence.lacks] if evidence.lacks else [row.lacks for row in evidence.rows.values() if row.lacks]
    if common < FEWEST_SEEDS:
        few = f"{common} {'seed' if common == 1 else 'seeds'} in common, at least {FEWEST_SEEDS} are needed"
        missing = (lacks or [few]) if claim.is_measurable else []
        needs = [f"needs {claim.needs}"] if claim.needs else []
        return Verdict(claim, "not measured", "; ".join([*missing, *needs]), unit=unit)
    differences = tuple(_difference(claim, one) for one in compared)
    of_right = [difference for difference in differences if not difference.is_control]
    caveats = [f"{name}: {row.caveat}" for name, row in evidence.rows.items() if row.caveat]
    return Verdict(
        claim,
        "not distinguishable",
        "; ".join([*lacks, *caveats]),
        differences,
        unit,
        p=max(difference.p for difference in differences),
        p_reverse=min(1.0, min(difference.p_reverse for difference in of_right) * len(of_right)),
    )


def _decide(verdict: Verdict, tested: int) -> Verdict:
    """Return the verdict that follows from the p-values after Holm over the `tested` claims."""
    p, p_holm, p_reverse, p_reverse_holm = (
        1.0 if value is None else value
        for value in (verdict.p, verdict.p_holm, verdict.p_reverse, verdict.p_reverse_holm)
    )
    if p_holm < _CHANCE:
        return replace(verdict, word="supported")
    if p_reverse_holm < _CHANCE:
        return replace(verdict, word="contradicted")
    notes = [verdict.note] if verdict.note else []
    standing = [str(d.other) for d in verdict.differences if d.is_control and d.p >= _CHANCE]
    if standing and all(d.p < _CHANCE for d in verdict.differences if not d.is_control):
        notes.append(f"control {', '.join(standing)} does not fall")
    if min(p, p_reverse) < _CHANCE:
        side = f"p = {p:.2g} for the claim" if p < p_reverse else f"p = {p_reverse:.2g} against the claim"
        notes.append(f"{side}, but not below 0.05 after Holm over the paper's {tested} measured claims")
    return replace(verdict, note="; ".join(notes))


@dataclass(frozen=True)
class _Compared:
    """Left beside another row, or a number: their values at common seeds."""

    other: str | float
    is_control: bool
    pairs: Sequence[tuple[float, float]]


def _compared(claim: Claim, rows: Mapping[str, RowValues]) -> list[_Compared]:
    """Pair left with each row on the right, or the number there, and with each control."""
    left = rows[claim.left]
    compared = [_Compared(name, False, _pairs(left, rows[name])) for name in claim.others]
    if not isinstance(claim.right, tuple):
        number = RowValues({0: claim.right}, one_network=True)
        compared.append(_Compared(claim.right, False, _pairs(left, number)))
    return compared + [_Compared(name, True, _pairs(left, rows[name])) for name in claim.control]


def _difference(claim: Claim, one: _Compared) -> Difference:
    """Test the differences of two rows."""
    differences, largest = [a - b for a, b in one.pairs], max(abs(value) for pair in one.pairs for value in pair)
    test = _Test(differences, largest)
    p, p_reverse = _control_p_values(claim, test) if one.is_control else _p_values(claim, test)
    half = None if test.does_not_vary else t_halfwidth(differences)
    return Difference(
        one.other,
        one.is_control,
        len(one.pairs),
        left=fmean(a for a, _ in one.pairs),
        right=fmean(b for _, b in one.pairs),
        mean=test.mean,
        low=None if half is None else test.mean - half,
        high=None if half is None else test.mean + half,
        p=p,
        p_reverse=p_reverse,
    )


def _pairs(left: RowValues, right: RowValues) -> list[tuple[float, float]]:
    """Return the values of two rows at their common seeds; two single networks, or a row without values, have none.

    The value of one network stands beside each seed of the other row.
    """
    if not left.values or not right.values or (left.one_network and right.one_network):
        return []
    if right.one_network:
        number = fmean(right.values.values())
        return [(value, number) for _, value in sorted(left.values.items())]
    if left.one_network:
        number = fmean(left.values.values())
        return [(number, value) for _, value in sorted(right.values.items())]
    return [(left.values[seed], right.values[seed]) for seed in sorted(left.values.keys() & right.values.keys())]


def _p_values(claim: Claim, test: "_Test") -> tuple[float, float]:
    """Return the p-values of a claim's relation and of its reverse."""
    margin = claim.margin
    if claim.relation == "equal":
        inside = max(test.above(-margin), test.below(margin))
        return inside, min(1.0, 2 * min(test.above(margin), test.below(-margin)))
    bound = {"higher": margin, "lower": -margin, "not_lower": -margin, "not_higher": margin}[str(claim.relation)]
    if claim.relation in ("higher", "not_lower"):
        return test.above(bound), test.below(bound)
    return test.below(bound), test.above(bound)


def _control_p_values(claim: Claim, test: "_Test") -> tuple[float, float]:
    """Return the same for a control: left differs from it in the claim's direction, by however little."""
    if claim.relation in ("higher", "not_lower"):
        return test.above(0.0), test.below(0.0)
    return test.below(0.0), test.above(0.0)


class _Test:
    """One-sided t tests of the mean of differences, or of values.

    Differences that do not vary over seeds, as those of counts or of rows without randomness, leave no doubt about
    their mean: its p-value is 0 where it lies beyond the bound, and 1 where it does not.
    """

    def __init__(self, differences: Sequence[float], largest: float) -> None:
        """Take the differences, and the largest absolute value of both rows, which rounding is measured by."""
        self.n, self.mean = len(differences), fmean(differences)
        self.rounding = _ROUNDING * largest
        self.does_not_vary = max(differences) - min(differences) <= self.rounding
        self.error = 0.0 if self.does_not_vary else stdev(differences) / math.sqrt(self.n)

    def above(self, bound: float) -> float:
        """Return the p-value of a mean above the bound."""
        return self._tail(self.mean - bound)

    def below(self, bound: float) -> float:
        """Return the p-value of a mean below the bound."""
        return self._tail(bound - self.mean)

    def _tail(self, beyond: float) -> float:
        if self.does_not_vary:
            return 0.0 if beyond > self.rounding else 1.0
        return float(scipy.special.stdtr(self.n - 1, -beyond / self.error))
