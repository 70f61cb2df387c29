"""What a table is made of. Every format is drawn from these and from nothing else."""

from dataclasses import dataclass
from typing import Literal

from bench_core.reports.tables.entries import State

Kind = Literal["task", "mean", "rank", "coverage", "cost"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: What `sort` takes.
        kind: "task" holds scores; the others are made of them or stand beside them.
        task: Label of the task, empty for the others.
        metric: Of a task; empty where no record says.
        unit: "fraction" is shown as per cent.
        higher_is_better: The direction; None has no better.
        seeds: Over which most cells are means; the others say their own number.
    """

    name: str
    kind: Kind
    task: str = ""
    metric: str = ""
    unit: str = ""
    higher_is_better: bool | None = None
    seeds: int = 0

    @property
    def title(self) -> str:
        """The header: "linear top1 % ↑ (n = 5)"."""
        head = f"{self.task} {self.metric}".strip() if self.kind == "task" else self.name
        arrow = ""
        if self.kind in ("task", "mean", "rank") and self.higher_is_better is not None:
            arrow = "↑" if self.higher_is_better else "↓"
        unit = "%" if self.unit == "fraction" else self.unit
        seeds = f"(n = {self.seeds})" if self.seeds else ""
        return " ".join(part for part in (head.strip(), unit, arrow, seeds) if part)

    @property
    def spellings(self) -> set[str]:
        """All that `sort` may call it."""
        full = f"{self.task}:{self.metric}" if self.kind == "task" else f"{self.name} {self.unit}".strip()
        short = {"rank"} if self.kind == "rank" else set()
        return {plain_name(self.name), plain_name(full), *short}


def plain_name(name: str) -> str:
    """A name without the differences that nobody means."""
    return name.casefold().replace("_", " ").strip()


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell.

    Attributes:
        text: As shown, without marks for bold and notes.
        mean: In the unit of its column (a fraction stays a fraction), None where there is no number.
        halfwidth: Of the 95 % t interval over seeds, None for fewer than two.
        n: Seeds.
        bold: The best of its column, or not told from it.
        state: "done" where there is a number.
        reason: Why there is none, or why seeds are missing.
        note: Number of the note under the table that gives the reason.
    """

    text: str = ""
    mean: float | None = None
    halfwidth: float | None = None
    n: int = 0
    bold: bool = False
    state: State = "done"
    reason: str = ""
    note: int | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row.

    Attributes:
        name: Of the method; "chance" for the chance level.
        kind: "labels" marks a reference that is trained with labels.
        cells: One for each column.
    """

    name: str
    kind: Literal["method", "labels", "chance"] = "method"
    cells: tuple[Cell, ...]

    @property
    def label(self) -> str:
        """As shown."""
        return f"{self.name} (labels)" if self.kind == "labels" else self.name


@dataclass(frozen=True, kw_only=True)
class Table:
    """All methods on all tasks for one dataset and one encoder.

    Attributes:
        dataset: Label.
        encoder: Label.
        columns: Tasks, then what sums them up, then cost.
        rows: Sorted, the chance level last.
        notes: Reasons, numbered from 1.
        footer: How the numbers were made, a line each.
    """

    dataset: str
    encoder: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    footer: tuple[str, ...]
