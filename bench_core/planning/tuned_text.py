"""Says in words how the rows of a board were tuned: for the lines under tables, `bench show` and `bench why`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from bench_core.planning.tuning import Tuned, TunedRow, Tuning


def tuned_sentences(tuned: Tuned) -> list[str]:
    """Say how most rows were tuned, and by which metrics.

    Returns:
        ["Tuned: each row is the best of 12 trials on a held-out 20 % of train, by knn top1; labels of the held-out part
        chose.", "Trials: at most 40 epochs, 1 seed, mnist with train_size = 5000."]
    """
    usual = usual_budget(tuned)
    labels = "labels of the held-out part" if _labels_chose(tuned) else "the held-out part"
    return [
        f"Tuned: each row is the best of {_trials(usual)} on a held-out {100 * usual.validation:g} % of train, "
        f"by {_metrics_of_families(tuned)}; {labels} chose.",
        f"Trials: {_size(usual)}.",
    ]


def usual_budget(tuned: Tuned) -> TunedRow:
    """Return a row that was tuned as most rows were."""
    rows = list(tuned.rows.values())
    common = Counter(map(budget_text, rows)).most_common(1)[0][0]
    return next(row for row in rows if budget_text(row) == common)


def budget_text(row: TunedRow) -> str:
    """Say what the tuning of a row cost: "12 trials of at most 40 epochs, 1 seed, mnist with train_size = 5000"."""
    return f"{_trials(row)} of {_size(row)}, scored on {100 * row.validation:g} % of train"


def metrics_text(metrics: Sequence[str]) -> str:
    """Return "knn top1", or "the mean rank in knn top1 and linear top1"."""
    names = [metric.replace(":", " ", 1) for metric in metrics]
    return names[0] if len(names) == 1 else f"the mean rank in {', '.join(names[:-1])} and {names[-1]}"


def chosen_text(row: TunedRow) -> str:
    """Say what tuning chose for a row: "flip = 0.3; best of 12 trials by knn top1"."""
    values = ", ".join(f"{name} = {value}" for name, value in row.values.items()) or "the row as the board has it"
    return f"{values}; best of {_trials(row)} by {metrics_text(row.metrics)}"


def families_of(row: TunedRow, tuning: Tuning) -> list[str]:
    """Return the families of rows by whose metrics a row was chosen; none if a metric is of no family."""
    families = [family for family, metrics in tuning.metrics.items() if set(metrics) <= set(row.metrics)]
    known = {metric for family in families for metric in tuning.metrics[family]}
    return families if known == set(row.metrics) else []


def _trials(row: TunedRow) -> str:
    return f"{len(row.tried)} trial{'s' * (len(row.tried) != 1)}"


def _size(row: TunedRow) -> str:
    """Return the size of a trial: "at most 40 epochs, 1 seed, mnist with train_size = 5000"."""
    epochs = "the board's epochs" if row.epochs is None else f"at most {row.epochs} epoch{'s' * (row.epochs != 1)}"
    seeds = f"{len(row.seeds)} seed{'s' * (len(row.seeds) != 1)}"
    return ", ".join([epochs, seeds, *(_with(name, values) for name, values in row.datasets.items() if values)])


def _with(name: str, values: Mapping[str, Any]) -> str:
    return f"{name} with {', '.join(f'{parameter} = {value}' for parameter, value in values.items())}"


def _metrics_of_families(tuned: Tuned) -> str:
    """Return "knn top1", or "knn top1 (features) and distribution frechet (generators)", as far as rows have them."""
    used = {family for row in tuned.rows.values() for family in families_of(row, tuned.tuning)}
    named = {family: metrics_text(metrics) for family, metrics in tuned.tuning.metrics.items() if family in used}
    if len(named) == 1:
        return next(iter(named.values()))
    several = any(len(families_of(row, tuned.tuning)) > 1 for row in tuned.rows.values())
    parts = " and ".join(f"{text} ({family})" for family, text in named.items())
    return f"{parts}, rows of several by the mean rank" if several else parts or "metrics of their own"


def _labels_chose(tuned: Tuned) -> bool:
    """Return whether a metric needs labels: those of features and of hashes do."""
    used = {family for row in tuned.rows.values() for family in families_of(row, tuned.tuning)}
    return used != {"generators"}
