"""The outcome of a row's trials: scores from records, and the best trial.

The best trial has the least mean rank over the metrics; of one metric it is the one with the best mean over seeds.
Trials that failed share the last rank, and ties go to the earliest trial, so that a row stays as it is unless something
is better.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench_core.contracts.capabilities import Generative, Sampling
from bench_core.errors import RequestError
from bench_core.planning.boards import NamedComponent
from bench_core.planning.chains import Cell, Plan
from bench_core.planning.components import find_component
from bench_core.planning.tuning import Trial, TunedRow, Tuning
from bench_core.plugins import Registry
from bench_core.store import Store
from bench_core.store.done_cells import done_keys, failed_cells
from bench_core.store.record import Record
from bench_core.tuning.trials import RowTrials

_CODE = "code"  # name of the embedding that is a method's own code


@dataclass(frozen=True)
class Trials:
    """The cells of a row's trials in a store.

    Attributes:
        of_row: The trials.
        cells: Number of a trial -> its cells that are not skipped.
        skipped: Reasons why cells are skipped.
        records: Key of a cell -> its record.
        failures: Key of a cell that failed -> the reason.
    """

    of_row: RowTrials
    cells: Mapping[int, Sequence[Cell]]
    skipped: Sequence[str]
    records: Mapping[str, Record]
    failures: Mapping[str, str]

    @property
    def is_finished(self) -> bool:
        """True if every cell has a record or has failed."""
        return all(cell.key in self.records or cell.key in self.failures for cell in self.all_cells)

    @property
    def all_cells(self) -> list[Cell]:
        """The cells of all trials."""
        return [cell for cells in self.cells.values() for cell in cells]

    def failed_trials(self) -> list[tuple[int, str]]:
        """Return number and reason of each trial that has failed or was refused."""
        reasons = dict(self.of_row.refused)
        for number, cells in self.cells.items():
            if failed := [self.failures[cell.key] for cell in cells if cell.key in self.failures]:
                reasons[number] = failed[0]
        return sorted(reasons.items())


def find_trials(of_row: RowTrials, plan: Plan, store: Store) -> Trials:
    """Look up the cells of a row's trials in a store."""
    number_of = {row.name: number for number, row in of_row.rows.items()}
    cells: dict[int, list[Cell]] = {number: [] for number in number_of.values()}
    skipped: dict[str, None] = {}
    for chain in plan.chains:
        if chain.method.name in number_of:
            cells[number_of[chain.method.name]] += [cell for cell in chain.cells if cell.skip is None]
            skipped |= dict.fromkeys(cell.skip for cell in chain.cells if cell.skip is not None)
    keys = [cell.key for of_trial in cells.values() for cell in of_trial]
    records = {key: record for key in done_keys(store, keys) if (record := store.record(key)) is not None}
    failed = failed_cells(store, (key for key in keys if key not in records))
    return Trials(
        of_row, cells, list(skipped), records, {key: str(attempt.get("error", "")) for key, attempt in failed.items()}
    )


def metrics_of(row: NamedComponent, tuning: Tuning, registry: Registry) -> list[str]:
    """Return the metrics that may choose among the trials of a row: those of the families that its method may be in.

    Whether a method has a code of its own is not known before one is measured, see `metrics_left`.
    """
    cls = find_component("objective", row.use, registry)[0].cls
    generates = issubclass(cls, Generative) or issubclass(cls, Sampling)
    is_in = {"features": not generates or issubclass(cls, Generative), "generators": generates, "hashes": True}
    return list(dict.fromkeys(m for family, metrics in tuning.metrics.items() if is_in[family] for m in metrics))


def metrics_left(of_row: RowTrials, plan: Plan, store: Store, tuning: Tuning, registry: Registry) -> list[str]:
    """Return the metrics of `metrics_of` that may still choose, so that other trials are not measured by the others.

    A metric of hashes is left out where trial 0 has a record that reads no code of the method's own.
    """
    metrics, hashes = metrics_of(of_row.row, tuning, registry), _only_hashes(tuning)
    if hashes.isdisjoint(metrics):
        return metrics
    trials = find_trials(of_row, plan, store)

    def reads_no_code(metric: str) -> bool:
        task, _, name = metric.partition(":")
        first = [trials.records.get(cell.key) for cell in trials.cells.get(0, ()) if cell.names["task"] == task]
        scores = [record.scores.get(name) for record in first if record]
        return bool(scores) and all(score is None or score.embedding != _CODE for score in scores)

    return [metric for metric in metrics if not (metric in hashes and reads_no_code(metric))]


def check_metrics(records: Iterable[Record], tuning: Tuning) -> None:
    """Check that the records of trials have the metrics that shall choose; those of tasks without a record pass.

    Raises:
        RequestError: A task has records, and none of them has the metric.
    """
    known: dict[str, set[str]] = {}
    for record in records:
        known.setdefault(record.names["task"], set()).update(record.scores)
    for metric in dict.fromkeys(metric for metrics in tuning.metrics.values() for metric in metrics):
        task, _, name = metric.partition(":")
        if task in known and name not in known[task]:
            there_are = ", ".join(sorted(f"{task}:{other}" for other in known[task]))
            raise RequestError(f"[tuning.metrics] names {metric}, which no trial has; there are: {there_are}.")


def outcome(trials: Trials, tuning: Tuning, registry: Registry) -> TunedRow:
    """Choose among the finished trials of a row.

    Raises:
        RequestError: No metric is left for this row, or no trial has finished.
    """
    row = trials.of_row.row
    asked = metrics_of(row, tuning, registry)
    values = {metric: _values(metric, trials, is_code=metric in _only_hashes(tuning)) for metric in asked}
    metrics = [metric for metric in asked if any(values[metric])]
    if not metrics:
        raise RequestError(_why_none(trials, asked))
    directions = {metric: _is_higher_better(metric, trials) for metric in metrics}
    scores = [
        {metric: fmean(values[metric][number]) for metric in metrics}
        if all(values[metric][number] for metric in metrics)
        else {}
        for number in range(len(trials.of_row.values))
    ]
    lower = tuple(metric for metric in metrics if not directions[metric])
    best = best_trial(scores, metrics, lower)
    if best is None:
        raise RequestError(f"no trial of {row.name} has all of {', '.join(metrics)}: {_first_failure(trials)}")
    return TunedRow(
        values=trials.of_row.values[best],
        metrics=tuple(metrics),
        trials=sum(bool(of_trial) for of_trial in scores),
        best=best,
        digest=trials.of_row.digest,
        space=trials.of_row.written_space,
        tried=[Trial(*trial) for trial in zip(trials.of_row.values, scores, strict=True)],
        seeds=tuning.seeds,
        validation=tuning.validation,
        epochs=tuning.epochs,
        datasets=tuning.datasets,
        lower=lower,
        commits=_commits(trials),
    )


def best_trial(scores: Sequence[Mapping[str, float]], metrics: Sequence[str], lower: Sequence[str]) -> int | None:
    """Return the number of the trial with the least mean rank, the earliest of those that tie; None where all failed.

    Args:
        scores: Metric -> score of each trial; empty where it failed.
        metrics: The metrics that count.
        lower: Those of which less is better.
    """
    finished = [number for number, of_trial in enumerate(scores) if of_trial]
    if not finished:
        return None
    ranks = {number: 0.0 for number in finished}
    for metric in metrics:
        sign = 1 if metric in lower else -1
        costs = {number: sign * scores[number][metric] for number in finished}
        for number, cost in costs.items():
            better, as_good = (
                sum(test) for test in ([c < cost for c in costs.values()], [c == cost for c in costs.values()])
            )
            ranks[number] += better + (as_good + 1) / 2
    return min(finished, key=lambda number: (ranks[number], number))


def _commits(trials: Trials) -> tuple[str, ...]:
    """Return the commits of the code that trained and scored the trials, in alphabetical order."""
    sources = [record.provenance for record in trials.records.values()]
    trained = [source.pretrain for source in sources if source.pretrain]
    return tuple(sorted({source.commit for source in (*sources, *trained) if source.commit}))


def _only_hashes(tuning: Tuning) -> set[str]:
    """Return the metrics that only the family of hashes has."""
    others = {metric for family, metrics in tuning.metrics.items() if family != "hashes" for metric in metrics}
    return set(tuning.metrics.get("hashes", ())) - others


def _values(metric: str, trials: Trials, is_code: bool) -> list[list[float]]:
    """Return the values of a metric in each trial, one for each chain; none where one is missing or is no number."""
    task, _, name = metric.partition(":")
    found: list[list[float]] = []
    for number in range(len(trials.of_row.values)):
        cells = [cell for cell in trials.cells.get(number, ()) if cell.names["task"] == task]
        values: list[float] = []
        for cell in cells:
            record = trials.records.get(cell.key)
            score = record.scores.get(name) if record else None
            if score and score.value is not None and not (is_code and score.embedding != _CODE):
                values.append(score.value)
        is_whole = bool(cells) and len(values) == len(cells) and all(map(math.isfinite, values))
        found.append(values if is_whole else [])
    return found


def _is_higher_better(metric: str, trials: Trials) -> bool:
    task, _, name = metric.partition(":")
    records = [trials.records[cell.key] for cell in trials.all_cells if cell.key in trials.records]
    scores = [r.scores[name] for r in records if r.names["task"] == task and name in r.scores]
    if any(score.higher_is_better is None for score in scores):
        raise RequestError(f"{metric} has no better and worse, so it cannot choose; name another in [tuning.metrics].")
    return all(score.higher_is_better for score in scores)


def _why_none(trials: Trials, asked: Sequence[str]) -> str:
    row = trials.of_row.row.name
    if not asked:
        return f"{row} is in no family of rows that [tuning.metrics] names a metric of."
    known = sorted({f"{record.names['task']}:{name}" for record in trials.records.values() for name in record.scores})
    if trials.failures and not known:
        return f"every trial of {row} failed: {_first_failure(trials)}"
    if trials.skipped and not known:
        return f"{row} {trials.skipped[0]}"
    return f"{row} has none of {', '.join(asked)}; its trials have {', '.join(known) or 'no scores'}."


def _first_failure(trials: Trials) -> str:
    reasons = [*trials.of_row.refused.values(), *trials.failures.values()]
    return reasons[0] if reasons else "no cell of it can run"
