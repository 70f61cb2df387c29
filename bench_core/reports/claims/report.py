"""Papers with the verdicts on their claims, and what measures each: what the screen, the page and JSON show."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench_core.errors import RequestError
from bench_core.reports.claims.check import check_claim
from bench_core.reports.claims.claim import Claim, Paper
from bench_core.reports.claims.commands import Command, commands_for
from bench_core.reports.claims.evidence import BoardTables, table_of
from bench_core.reports.claims.verdict import WORDS, Difference, Verdict, judge_paper
from bench_core.reports.tables.entries import Entry
from bench_core.store.record import Record


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its verdict and what measures it.

    Attributes:
        verdict: The verdict.
        commands: The commands that measure it; none where no board does.
        left: Cells that it needs and that are not done.
        seconds: The time that these cells take in one process, from records of the same board; None where nothing is
            known.
    """

    verdict: Verdict
    commands: tuple[Command, ...]
    left: int = 0
    seconds: float | None = None

    @property
    def claim(self) -> Claim:
        """The claim."""
        return self.verdict.claim

    @property
    def decisive(self) -> Difference | None:
        """The difference that the verdict hangs on: the one with the weakest evidence, of contradicted the reverse."""
        claimed = [difference for difference in self.verdict.differences if not difference.is_control]
        if self.verdict.word == "contradicted":
            return min(claimed, key=lambda difference: difference.p_reverse, default=None)
        return max(self.verdict.differences, key=lambda difference: difference.p, default=None)

    def number(self, value: float) -> str:
        """Return a number of the claim as its scores are shown, fractions as per cent, if a record names their unit."""
        return f"{100 * value:g} %" if self.verdict.unit == "fraction" else f"{value:g}"

    @property
    def relation(self) -> str:
        """The test in words: "nac higher than simclr in linear:top1"."""
        claim = self.claim
        if not claim.is_measurable:
            return ""
        others = ", ".join(claim.others) if isinstance(claim.right, tuple) else self.number(claim.right)
        words = {
            "higher": "higher than {}",
            "lower": "lower than {}",
            "not_lower": "not lower than {}",
            "not_higher": "not higher than {}",
            "equal": "equal to {}",
        }
        margin = f" by more than {self.number(claim.margin)}" if claim.margin else ""
        if claim.relation == "equal":
            margin = f" to within {self.number(claim.margin)}"
        return f"{claim.left} {words[str(claim.relation)].format(others)}{margin} in {claim.score}"


@dataclass(frozen=True)
class JudgedPaper:
    """A paper with the verdicts on its claims."""

    paper: Paper
    claims: tuple[JudgedClaim, ...]

    @property
    def counts(self) -> str:
        """The number of claims with each verdict: "3 supported at CPU size, 1 not measured"."""
        return counts(self.claims)


def judged_papers(papers: Mapping[str, Paper], boards: BoardTables, leaderboards: Path | None) -> list[JudgedPaper]:
    """Judge all claims of some papers.

    Args:
        papers: Key -> paper.
        boards: The cells of boards with their records.
        leaderboards: Folder of boards, for the commands of those that do not come with the project.
    """
    judged = []
    for paper in papers.values():
        claims = [
            JudgedClaim(verdict, tuple(commands_for([verdict.claim], leaderboards)), *_left(verdict.claim, boards))
            for verdict in judge_paper(paper, boards).values()
        ]
        judged.append(JudgedPaper(paper, tuple(claims)))
    return judged


def wrong_claims(judged: Iterable[JudgedPaper], boards: BoardTables) -> list[str]:
    """Return a line for each claim that no record could ever decide, as it names what its board does not have."""
    lines = []
    for claim in [claim.claim for paper in judged for claim in paper.claims]:
        try:
            check_claim(claim, boards)
        except RequestError as error:
            lines.append(str(error))
    return lines


def counts(claims: Iterable[JudgedClaim]) -> str:
    """Say how many claims have which verdict, in the order of the verdicts."""
    of_text = Counter(claim.verdict.text for claim in claims)
    in_order = [text for word in WORDS for text in (f"{word} at CPU size", word) if text in of_text]
    return ", ".join(f"{of_text[text]} {text}" for text in in_order)


def _left(claim: Claim, boards: BoardTables) -> tuple[int, float | None]:
    """Return the number of a claim's missing cells, and their seconds by the costs of the same board's records.

    A training of a row without records is taken to cost as much as the median of the others. Rows that others start
    from are left out.
    """
    try:
        rows = table_of(claim, boards.of(claim.board)) if claim.is_measurable else {}
    except RequestError:  # the verdict says that it cannot be read
        return 0, None
    of_board = [entry for row in rows.values() for entry in row]
    tasks = [record.cost.task_s or 0.0 for record in _records(of_board) if record.names["task"] == claim.task]
    number, seconds = 0, list[float]()
    for name in claim.rows:
        row = rows.get(name, ())
        left = [e for e in row if e.names["task"] == claim.task and e.state not in ("done", "skipped")]
        trainings = _trainings(row) or _trainings(of_board)
        number += len(left)
        if trainings:
            seconds += len(left) * [median(trainings) + median(tasks or [0.0])]
    return number, sum(seconds) if number and len(seconds) == number else None


def _records(entries: Iterable[Entry]) -> list[Record]:
    return [entry.record for entry in entries if entry.record is not None]


def _trainings(entries: Iterable[Entry]) -> list[float]:
    """Return the seconds of the trainings behind some cells, each seed of a row once."""
    return list({(r.names["method"], r.seed): r.cost.pretrain_s or 0.0 for r in _records(entries)}.values())
