"""Columns of tasks: the first metric of each task, or those that `--columns` names.

knn               the first metric of the task knn
linear:top1       one metric
outliers:*        all metrics of a task
*:map_cosine      one metric of every task that has it
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from bench_core.errors import UnknownNameError
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Column
from bench_core.store.record import Record, RecordScore


@dataclass(frozen=True)
class Wanted:
    """A column, or several, as `--columns` names them.

    Attributes:
        task: Name or pattern of tasks; a column that is computed from others has its name here.
        metric: Name or pattern of metrics; None for the first metric of each task.
    """

    task: str
    metric: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Wanted":
        """Read "knn", "linear:top1" or "outliers:*"."""
        task, colon, metric = text.rpartition(":")
        return cls(task, metric) if colon else cls(text)

    def is_of(self, task_names: Iterable[str]) -> bool:
        """Return whether the task that has these names is meant."""
        return any(fnmatchcase(name, self.task) for name in task_names)

    def has(self, score: RecordScore) -> bool:
        """Return whether a score of such a task is meant."""
        return self.metric is not None and fnmatchcase(score.metric, self.metric)


def check_wanted(wanted: Iterable[Wanted], entries: Sequence[Entry], computed: Container[str]) -> None:
    """Refuse columns that no table has.

    Args:
        wanted: The columns.
        entries: Entries of all tables.
        computed: Names of the columns that are computed from others, which are no tasks.

    Raises:
        UnknownNameError: There is no such task or metric.
    """
    scores = {f"{entry.names['task']}:{metric}" for entry in entries if entry.record for metric in entry.record.scores}
    for one in wanted:
        of_task = [entry for entry in entries if one.is_of(entry.task_names)]
        of_records = [score for entry in of_task if entry.record for score in entry.record.scores.values()]
        if one.metric not in (None, "*") and not any(map(one.has, of_records)):
            raise UnknownNameError("metric", f"{one.task}:{one.metric}", scores)
        if not of_task and (one.metric is not None or one.task not in computed):
            is_metric = any(score.endswith(f":{one.task}") for score in scores)
            hint = f"It is a metric: write it as '*:{one.task}', or with its task." if is_metric else ""
            raise UnknownNameError("task", one.task, {entry.names["task"] for entry in entries}, hint)


def task_columns(
    entries: Sequence[Entry], wanted: Sequence[Wanted] | None = None, *, all_metrics: bool = False
) -> list[Column]:
    """Return the columns of each task: its first metric, all its metrics, or those that are wanted, in their order.

    A task has several columns for its first metric, where its records disagree about metric, unit or direction. Stale
    records say which columns there are only where no other record does.
    """
    by_task: dict[str, list[Entry]] = {}
    for entry in entries:
        by_task.setdefault(entry.names["task"], []).append(entry)
    found: dict[tuple[object, ...], Column] = {}
    for one in [Wanted("*", "*" if all_metrics else None)] if wanted is None else wanted:
        for task, of_task in by_task.items():
            task_names = set[str]().union(*(entry.task_names for entry in of_task))
            if wanted is None or one.is_of(task_names):
                for column in _of_one_task(task, of_task, one):
                    found.setdefault((task, column.metric, column.unit, column.higher_is_better), column)
    tasks = [column.task for column in found.values()]
    return [
        column if tasks.count(column.task) == 1 else replace(column, name=f"{column.task}:{column.metric}")
        for column in found.values()
    ]


def _of_one_task(task: str, entries: Sequence[Entry], wanted: Wanted) -> list[Column]:
    done = [entry.finished_record for entry in entries if entry.finished_record]
    stale = [entry.record for entry in entries if entry.record and entry.state == "stale"]
    for records in (done, stale):
        if records and (columns := _columns(task, records, wanted)):
            return columns
    return [Column(name=task, kind="task", task=task)] if wanted.metric in (None, "*") else []


def _columns(task: str, records: Sequence[Record], wanted: Wanted) -> list[Column]:
    """Return a column for each metric, unit and direction that the records of a task show.

    Whether the task ranks, and its family, is what the newest record says.
    """
    newest = max(records, key=lambda record: record.provenance.ended or "")
    columns: dict[tuple[object, ...], Column] = {}
    for record in records:
        scores = list(record.scores.values())
        for score in [score for score in scores if wanted.has(score)] if wanted.metric is not None else scores[:1]:
            column = Column(
                name=task,
                kind="task",
                task=task,
                metric=score.metric,
                unit=score.unit,
                higher_is_better=score.higher_is_better,
                ranks=newest.ranks,
                family=newest.family,
            )
            columns.setdefault((score.metric, score.unit, score.higher_is_better), column)
    return list(columns.values())
