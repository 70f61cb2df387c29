"""Claims of papers, as the files of leaderboards/claims/ state them."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench_core.errors import shown

Relation = Literal["higher", "lower", "not_lower", "not_higher", "equal"]
WITH_MARGIN: tuple[Relation, ...] = ("not_lower", "not_higher", "equal")  # a claim of no difference needs its size
_SCORE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*:[^\s:*?\[\]][^:*?\[\]]*")


@dataclass(frozen=True, kw_only=True)
class ClaimKeys:
    """The keys of a claim in its file: a row of a board against other rows, or against a number, in one score.

    Attributes:
        claim: The claim in one sentence.
        source: Where in the paper it stands.
        by: "paper", or "ours" where the paper's text and abstract do not make it.
        paper_scale: The data, network and budget with which the paper makes it.
        scale: Size of the board: "cpu", or "paper" for that of the paper.
        board: The board that measures it: a name, or a file.
        dataset: Name of the dataset on the board; "" where the board has one.
        encoder: Name of the encoder on the board; "" where the board has one.
        left: The row that the claim is about.
        right: The rows that it is compared with, all of which the claim names, or a number.
        score: The score, "TASK:METRIC".
        relation: How left lies to right, by the score's own value: whether more is better does not matter.
        margin: "higher" and "lower" mean by more than this; "not_lower", "not_higher" and "equal" allow this much.
        control: Rows whose idea is taken out: left must differ from them in the claim's direction, too.
        needs: What it takes to measure the claim where no board does yet, with its cost; then `board`, `left` and the
            like may be empty.
    """

    claim: str
    source: str
    by: Literal["paper", "ours"]
    paper_scale: str
    scale: Literal["cpu", "paper"] | None = None
    board: str = ""
    dataset: str = ""
    encoder: str = ""
    left: str = ""
    right: float | tuple[str, ...] = ()
    score: str = ""
    relation: Relation | None = None
    margin: float = 0.0
    control: tuple[str, ...] = ()
    needs: str = ""

    def __post_init__(self) -> None:
        """Check that nothing is missing and the parts fit together; ValueError names the key and what is right."""
        for key in ("claim", "source", "paper_scale"):
            if not getattr(self, key).strip():
                raise ValueError(f"{key} must be a text that is not empty")
        for key in ("board", "dataset", "encoder", "left", "score"):
            if not getattr(self, key).isprintable():
                raise ValueError(f"{key} must be a name on one line, got {shown(getattr(self, key))}")
        lacks = self._lacks()
        if lacks and not self.needs.strip():
            raise ValueError(f"{', '.join(lacks)} missing; without them, `needs` must say what it takes to measure it")
        if self.score and not _SCORE.fullmatch(self.score):
            raise ValueError(f'score must be TASK:METRIC, like "linear:top1", got {shown(self.score)}')
        if not math.isfinite(self.margin) or self.margin < 0:
            raise ValueError(f"margin must be a number >= 0, got {self.margin}")
        if self.relation in WITH_MARGIN and self.margin == 0:
            raise ValueError(
                f"relation {self.relation!r} needs a margin > 0, in the unit of the score (0.01: one point)"
            )
        if self.relation == "equal" and self.control:
            raise ValueError(
                "a claim with relation 'equal' has no control; make it a claim of its own with a direction"
            )
        twice = [row for row in self.rows if self.rows.count(row) > 1]
        if twice:
            raise ValueError(f"left, right and control must be different rows; {twice[0]!r} stands there twice")

    def _lacks(self) -> list[str]:
        """Return the keys that a claim needs to be measured, and that are empty."""
        keys = ("scale", "board", "left", "right", "score", "relation")
        return [key for key in keys if getattr(self, key) in ("", (), None)]

    @property
    def is_measurable(self) -> bool:
        """True if it names a board, rows, score and relation, so that records can decide."""
        return not self._lacks()

    @property
    def others(self) -> tuple[str, ...]:
        """The rows on the right; none where a number stands there."""
        return self.right if isinstance(self.right, tuple) else ()

    @property
    def rows(self) -> tuple[str, ...]:
        """All rows that it needs: left, right, controls."""
        return (*([self.left] if self.left else []), *self.others, *self.control)

    @property
    def task(self) -> str:
        """Name of the board's task."""
        return self.score.partition(":")[0]

    @property
    def metric(self) -> str:
        """Name of the task's metric."""
        return self.score.partition(":")[2]


@dataclass(frozen=True, kw_only=True)
class Claim(ClaimKeys):
    """A claim of a paper.

    Attributes:
        name: Its name in the file.
        where: The file and key, for messages: "nac.toml: claims.retrieval".
    """

    name: str = ""
    where: str = ""


@dataclass(frozen=True)
class Paper:
    """A paper with its claims.

    Attributes:
        key: The file's name without its ending.
        title: Short name, as tables show it.
        paper: Authors, title, venue, year.
        url: Where to read it.
        claims: Name -> claim, in the file's order.
    """

    key: str
    title: str
    paper: str
    url: str
    claims: Mapping[str, Claim]
