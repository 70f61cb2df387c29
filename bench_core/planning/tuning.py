"""The tuning of a board's rows and its outcome: the table [tuning] of a board.toml, and tuned.toml beside it.

`bench tune` writes tuned.toml; a board takes its values with `tuned = "tuned.toml"`:

    command = "bench tune --board digits"
    [tuning]                    # the board's table as it was then
    trials = 12
    [rows.nac]
    metrics = ["knn:top1"]      # what chose among the trials
    lower = []                  # metrics of which less is better
    trials = 12                 # trials that finished
    best = 7
    values = {flip = 0.3}       # of the best trial; what is as in the row is left out
    seeds = [0]                 # how its trials were run, which may differ from the table
    validation = 0.2
    epochs = 20                 # left out where they are the board's
    digest = "sha256:..."       # of the row, the recipe and the space that were tuned
    commits = ["1a2b3c4"]       # of the code that ran its trials; rows may be tuned at different times
    space = {flip = [0.1, 0.2, 0.3, 0.4], "recipe.learning_rate" = "0.000333 to 0.3 (log)"}
    tried = [                   # every trial, the row as it is first
        {values = {}, scores = {"knn:top1" = 0.981}},
    ]
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_core.config import build, param, read_toml
from bench_core.errors import RequestError, shown

_METRIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*:[^\s:][^:]*")
_HOW = ("seeds", "validation", "epochs", "datasets")  # keys of a row beside what came out, as in the table [tuning]
FAMILIES = ("features", "generators", "hashes")  # families of rows, each of which is tuned by metrics of its own


@dataclass(frozen=True, kw_only=True)
class _Numbers:
    trials: int = param(12, "trials of each row, the row as it is among them", "ours", ge=1)
    validation: float = param(0.2, "part of the train split that trials are scored on", "ours", gt=0, lt=1)
    seeds: tuple[int, ...] = param((0,), "seeds of each trial; its score is their mean", "ours", ge=0)
    epochs: int | None = param(None, "most epochs of a trial; none are the board's", "ours", ge=1)


@dataclass(frozen=True, kw_only=True)
class Tuning(_Numbers):
    """The way in which the rows of a board are tuned.

    Attributes:
        trials: Trials of each row, the row as it is among them.
        validation: Part of the train split that trials are scored on, and not trained on.
        seeds: Seeds of each trial; its score is their mean.
        epochs: Epochs of a trial, or its row's own where they are fewer; None are the board's.
        metrics: Family of rows -> the metrics that choose among their trials, as "TASK:METRIC".
        datasets: Name of a dataset -> parameters that it has in trials, such as fewer images.
    """

    metrics: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"features": ("knn:top1",)})
    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One trial of a row.

    Attributes:
        values: Parameter -> value, where it differs from the row as it is; recipe parameters as "recipe.NAME".
        scores: Metric -> score, mean over seeds; empty where the trial failed.
    """

    values: Mapping[str, Any]
    scores: Mapping[str, float]


@dataclass(frozen=True)
class TunedRow:
    """The outcome of one row.

    Attributes:
        values: Values of the best trial, in place of the row's own.
        metrics: The metrics that chose.
        trials: The row's budget: the number of trials that finished.
        best: Position of the best trial in `tried`, from 0.
        digest: Digest of row, recipe and space that were tuned, to see that they changed since.
        space: Parameter -> its search space in words or as a list.
        tried: Every trial, in order.
        seeds: Seeds of each trial.
        validation: Part of the train split that trials were scored on.
        epochs: Epochs of a trial, or its row's own where they are fewer; None are the board's.
        datasets: Name of a dataset -> parameters that it had in trials.
        lower: The metrics of which less is better.
        commits: Commits of the code that ran its trials; empty where that was no checkout.
    """

    values: Mapping[str, Any]
    metrics: tuple[str, ...]
    trials: int
    best: int
    digest: str
    space: Mapping[str, Any]
    tried: Sequence[Trial]
    seeds: tuple[int, ...] = (0,)
    validation: float = 0.2
    epochs: int | None = None
    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lower: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tuned:
    """The content of a tuned.toml.

    Attributes:
        command: The command that made it.
        tuning: The board's table [tuning] as it was then.
        rows: Name of a row -> what came out.
    """

    command: str
    tuning: Tuning
    rows: Mapping[str, TunedRow]


def read_tuning(table: Mapping[str, Any], where: str) -> Tuning:
    """Read the table [tuning] of a board; `where` is what messages name.

    Raises:
        RequestError: A key does not exist, or a value does not fit.
    """
    values = dict(table)
    metrics, datasets = values.pop("metrics", {}), values.pop("datasets", {})
    tuning = build(_Numbers, values, where, beside=("metrics", "datasets"))
    of_family = {
        family: _metrics(names, f"{where}.metrics.{family}")
        for family, names in _table(metrics, f"{where}.metrics").items()
    }
    if unknown := sorted(of_family.keys() - set(FAMILIES)):
        raise RequestError(f"{where}.metrics.{unknown[0]} does not exist; families of rows: {', '.join(FAMILIES)}.")
    at_size = {
        name: _table(parameters, f"{where}.datasets.{name}")
        for name, parameters in _table(datasets, f"{where}.datasets").items()
    }
    return Tuning(**vars(tuning), metrics=of_family or Tuning().metrics, datasets=at_size)


def read_tuned(path: Path) -> Tuned:
    """Read a tuned.toml.

    Raises:
        RequestError: It cannot be read, or a value in it does not fit.
    """
    document = read_toml(path)
    rows = {
        name: _row(_table(row, f"{path}: rows.{name}"), f"{path}: rows.{name}")
        for name, row in _table(document.get("rows", {}), f"{path}: rows").items()
    }
    return Tuned(
        command=_text(document, "command", str(path)),
        tuning=read_tuning(_table(document.get("tuning", {}), f"{path}: tuning"), f"{path}: tuning"),
        rows=rows,
    )


def _row(table: Mapping[str, Any], where: str) -> TunedRow:
    tried = table.get("tried", [])
    if not isinstance(tried, list) or not tried:
        raise RequestError(f"{where}.tried must be a list of trials, got {shown(tried)}.")
    trials = [
        Trial(
            _table(_table(trial, f"{where}.tried").get("values", {}), f"{where}.tried.values"),
            _scores(_table(trial.get("scores", {}), f"{where}.tried.scores"), f"{where}.tried.scores"),
        )
        for trial in tried
    ]
    best, budget = table.get("best"), table.get("trials")
    if not isinstance(best, int) or not 0 <= best < len(trials):
        raise RequestError(f"{where}.best must be the number of a trial, 0 to {len(trials) - 1}, got {shown(best)}.")
    if not isinstance(budget, int) or not 1 <= budget <= len(trials):
        raise RequestError(f"{where}.trials must be 1 to {len(trials)}, got {shown(budget)}.")
    how = read_tuning({key: table[key] for key in _HOW if key in table}, where)
    lower = table.get("lower", [])
    commits = table.get("commits", [])
    if not isinstance(commits, list) or not all(isinstance(commit, str) for commit in commits):
        raise RequestError(f"{where}.commits must be a list of commits, got {shown(commits)}.")
    return TunedRow(
        values=_table(table.get("values", {}), f"{where}.values"),
        metrics=_metrics(table.get("metrics"), f"{where}.metrics"),
        trials=budget,
        best=best,
        digest=_text(table, "digest", where),
        space=_table(table.get("space", {}), f"{where}.space"),
        tried=trials,
        seeds=how.seeds,
        validation=how.validation,
        epochs=how.epochs,
        datasets=how.datasets,
        lower=_metrics(lower, f"{where}.lower") if lower else (),
        commits=tuple(commits),
    )


def _scores(table: Mapping[str, Any], where: str) -> dict[str, float]:
    for metric, score in table.items():
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise RequestError(f"{where}: {metric} must be a number, got {shown(score)}.")
    return {metric: float(score) for metric, score in table.items()}


def _metrics(value: Any, where: str) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(n, str) and _METRIC.fullmatch(n) for n in names):
        raise RequestError(f'{where} must be TASK:METRIC or a list of them, like "knn:top1", got {shown(value)}.')
    return tuple(names)


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise RequestError(f"{where}: {key} must be text, got {shown(value)}.")
    return value


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RequestError(f"{where} must be a table, got {shown(value)}.")
    return value
