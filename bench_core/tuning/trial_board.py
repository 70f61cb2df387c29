"""The trials of rows as an ordinary board, which `bench run` runs as any other: each trial is a row of it.

A row of the board that others start from, or learn from, is there as its trial 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench_core.config import shortened
from bench_core.errors import UnknownNameError
from bench_core.planning.boards import Board, NamedComponent
from bench_core.planning.components import configure
from bench_core.planning.recipes import RECIPE, recipe_of, with_values
from bench_core.planning.tuning import Tuning
from bench_core.plugins import Registry
from bench_core.tuning.trials import RowTrials, trial_name


def trial_board(board: Board, tuning: Tuning, rows: Sequence[RowTrials], registry: Registry) -> dict[str, Any]:
    """Return the document of the board of trials.

    Args:
        board: The board whose rows are tuned, without tuned values.
        tuning: How they are tuned.
        rows: The trials of its rows.
        registry: The plugins.

    Raises:
        UnknownNameError: [tuning] names a dataset or a task that there is not.
        RequestError: A value does not fit.
    """
    if unknown := [name for name in tuning.datasets if name not in board.datasets]:
        raise UnknownNameError("dataset", unknown[0], board.datasets, "([tuning.datasets] names those of the board.)")
    trials = {trial.name: trial for of_row in rows for trial in of_row.rows.values()}
    sources = [board.methods[name] for name in _sources(board, [of_row.row for of_row in rows])]
    trials = {**{row.name: row for row in (trial_name(source, 0) for source in sources)}, **trials}
    return {
        "title": f"Trials of {board.title or board.name}",
        "description": f"Trials by which `bench tune` tunes the rows of board {board.name}. They are never published.",
        "seeds": list(tuning.seeds),
        "precision": board.precision,
        "validation": tuning.validation,
        "recipe": dict(board.recipe),
        "datasets": {
            name: {"use": part.use, **part.values, **tuning.datasets.get(name, {})}
            for name, part in board.datasets.items()
        },
        "encoders": {name: {"use": part.use, **part.values} for name, part in board.encoders.items()},
        "methods": {
            name: _row_table(_at_epochs(_from_trials(row, board), tuning.epochs, board, registry))
            for name, row in trials.items()
        },
        "tasks": {name: _task_table(board, name) for name in tasks_of(tuning)},
    }


def tasks_of(tuning: Tuning) -> list[str]:
    """Return the names of the tasks whose metrics choose among trials."""
    return list(dict.fromkeys(m.partition(":")[0] for metrics in tuning.metrics.values() for m in metrics))


def _task_table(board: Board, name: str) -> dict[str, Any]:
    task = board.tasks.get(name, NamedComponent(name, name))
    return {"use": task.use, **task.values}


def _sources(board: Board, rows: Sequence[NamedComponent]) -> list[str]:
    """Return the names of the board's rows that these start from or learn from, and that those do."""
    found: dict[str, None] = {}
    names = [name for row in rows for name in (row.init, row.teacher)]
    while names:
        name = names.pop()
        if name in board.methods and name not in found:
            found[name] = None
            names += [board.methods[name].init, board.methods[name].teacher]
    return list(found)


def _from_trials(row: NamedComponent, board: Board) -> NamedComponent:
    """Return a row that starts from trial 0 of the rows that it starts from; chains and files stay."""
    first: dict[str, Any] = {
        start: trial_name(board.methods[name], 0).name
        for start in ("init", "teacher")
        if (name := getattr(row, start)) in board.methods
    }
    return replace(row, **first)


def _at_epochs(row: NamedComponent, epochs: int | None, board: Board, registry: Registry) -> NamedComponent:
    """Return a row with at most the epochs of a trial; what is counted in epochs gets shorter by the same ratio."""
    usual = recipe_of(row, board, registry).epochs
    if epochs is None or usual <= epochs:
        return row
    parts = {"": configure(row, "methods", registry).config, RECIPE: recipe_of(row, board, registry)}
    shorter = {
        f"{prefix}{name}": list(value) if isinstance(value, tuple) else value
        for prefix, part in parts.items()
        for name, value in shortened(part, epochs, usual).items()
    }
    return with_values(row, "methods", {**shorter, f"{RECIPE}epochs": epochs})


def _row_table(row: NamedComponent) -> dict[str, Any]:
    table: dict[str, Any] = {"use": row.use, **row.values}
    for name, value in row.starts.items():  # "encoder" and "encoder.widths" are one table
        key, _, parameter = name.partition(".")
        if key in ("encoder", "teacher_encoder"):
            own: Mapping[str, Any] = table.get(key, {})
            table[key] = {**own, parameter or "use": value}
        else:
            table[key] = value
    return {**table, "recipe": dict(row.recipe)} if row.recipe else table
