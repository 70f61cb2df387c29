"""Parts of a table: columns, rows and cells. Every format is drawn from these and from nothing else."""

from dataclasses import dataclass
from typing import Literal

from bench_core.reports.tables.entries import State

Kind = Literal["task", "mean", "rank", "family_rank", "coverage", "cost"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: The name that `sort` takes.
        kind: "task" columns hold scores; the others are computed from scores, or show the cost.
        task: Label of the task, empty for the other kinds.
        metric: Metric of the task; empty where no record names one.
        unit: "fraction" is shown as per cent.
        higher_is_better: The direction; None has no better.
        ranks: False where the task measures no quality by itself: nothing is bold, and no mean counts it.
        family: What the task measures, as others do ("classification"), or what a "family_rank" column ranks; empty for
            the other kinds.
        seeds: The number of seeds that a row needs to be ranked in this column.
    """

    name: str
    kind: Kind
    task: str = ""
    metric: str = ""
    unit: str = ""
    higher_is_better: bool | None = None
    ranks: bool = True
    family: str = ""
    seeds: int = 0

    @property
    def title(self) -> str:
        """The header: "linear top1 % ↑ (n = 5)"."""
        head = f"{self.task} {self.metric}".strip() if self.kind == "task" else self.name
        arrow = ""
        if self.kind in ("task", "mean", "rank", "family_rank") and self.higher_is_better is not None:
            arrow = "↑" if self.higher_is_better else "↓"
        unit = "%" if self.unit == "fraction" else self.unit
        seeds = f"(n = {self.seeds})" if self.seeds else ""
        return " ".join(part for part in (head.strip(), unit, arrow, seeds) if part)

    @property
    def can_rank(self) -> bool:
        """True if a row can be better than another in this column."""
        return self.ranks and self.higher_is_better is not None

    @property
    def spellings(self) -> set[str]:
        """All names that `sort` takes for this column."""
        full = f"{self.task}:{self.metric}" if self.kind == "task" else f"{self.name} {self.unit}".strip()
        short = {"rank"} if self.kind == "rank" else set()
        return {plain_name(self.name), plain_name(full), *short}


def plain_name(name: str) -> str:
    """Return a name in lower case, with blanks for underscores."""
    return name.casefold().replace("_", " ").strip()


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """One cell of a table: the mean of a row's scores over seeds, in one column.

    Attributes:
        text: Text to show, without marks for bold and notes.
        mean: In the unit of its column (a fraction stays a fraction), None where there is no number. A stale number
            is in the text alone, so that nothing is computed from it.
        halfwidth: Half-width of the 95 % t interval over seeds, None for fewer than three.
        low: Lower end of the 95 % interval over test items, where there is one seed and its record keeps the items.
        high: Upper end, like `low`.
        n: Number of seeds.
        ranked: Whether it takes part in ranks and means and may be bold. A row that lacks a seed does not, for one.
        bold: Whether it is the best of its column, or cannot be told from the best.
        caveat: What a reader must know of this number; empty for most.
        state: "done" where there is a number.
        reason: Why there is no number, or why seeds are missing.
        note: Number of the note under the table that gives the reason.
    """

    text: str = ""
    mean: float | None = None
    halfwidth: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    ranked: bool = True
    bold: bool = False
    caveat: str = ""
    state: State = "done"
    reason: str = ""
    note: int | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row.

    Attributes:
        name: Label of the method; "chance" for the chance level.
        encoder: Label of its encoder; empty where the table has one for all rows.
        kind: "labels" marks a reference that is trained with labels or with ground-truth factors, "network" one network
            that was trained elsewhere; neither is ranked.
        marks: What a reader must know of the row's training: "labels", "factors", "transductive", "one network", and
            where others of the board were tuned "untuned", or its own number of trials.
        cells: One for each column.
    """

    name: str
    encoder: str = ""
    kind: Literal["method", "labels", "network", "chance"] = "method"
    marks: tuple[str, ...] = ()
    cells: tuple[TableCell, ...]

    @property
    def label(self) -> str:
        """The name as the table shows it: "supervised (labels)", "dgi (transductive)"."""
        return f"{self.name} ({', '.join(self.marks)})" if self.marks else self.name

    @property
    def head(self) -> tuple[str, str]:
        """Text before the cells: the label, and the encoder where encoders differ."""
        return self.label, self.encoder

    @property
    def told(self) -> str:
        """The row in a sentence: "nac", "nac with convnet"."""
        return f"{self.name} with {self.encoder}" if self.encoder else self.name


@dataclass(frozen=True, kw_only=True)
class Table:
    """All methods on all tasks for one dataset, and for one encoder or for several.

    Attributes:
        dataset: Label.
        encoder: Label; empty where encoders differ and each row names its own.
        columns: Tasks, then columns computed from them, then cost.
        rows: Sorted, the chance level last.
        notes: Reasons, numbered from 1.
        footer: How the numbers were made, a line each.
        protocols: How many lines of the footer, from the first, say how the tasks measure.
    """

    dataset: str
    encoder: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    footer: tuple[str, ...]
    protocols: int = 0

    @property
    def title(self) -> str:
        """Name of what the table is of: "digits, convnet", or "digits" where encoders differ."""
        return ", ".join(filter(None, (self.dataset, self.encoder)))

    @property
    def heads(self) -> tuple[str, ...]:
        """Headers of the columns before the first one: "method", and "encoder" where encoders differ."""
        return ("method", "encoder") if any(row.encoder for row in self.rows) else ("method",)

    @property
    def skipped(self) -> bool:
        """True if nothing works on this dataset with this encoder: every cell of a task is skipped."""
        tasks = [number for number, column in enumerate(self.columns) if column.kind == "task"]
        return bool(self.rows) and all(row.cells[number].state == "skipped" for row in self.rows for number in tasks)
