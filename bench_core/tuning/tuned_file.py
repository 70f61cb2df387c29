"""Write tuned.toml, row by row: the rows that are there already stay."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench_core.errors import RequestError
from bench_core.files import make_folder, write_text
from bench_core.planning.tuning import Tuned, TunedRow, Tuning, read_tuned


def add_row(path: Path, name: str, row: TunedRow, head: Tuned, order: Sequence[str], lock: Path) -> Tuned:
    """Put the outcome of a row into a tuned.toml, over an older one of it.

    Args:
        path: The file; it is made where it is missing.
        name: The row.
        row: Its outcome.
        head: Command and table that the file gets.
        order: Names of rows in the board's order; others stay behind them.
        lock: A file by which processes that write the same tuned.toml wait for each other.

    Returns:
        What the file holds now.

    Raises:
        RequestError: The file that is there is no tuned.toml, or a value cannot be written.
    """
    with held(lock):
        rows = dict(read_tuned(path).rows) if path.exists() else {}
        rows[name] = row
        known = [known for known in order if known in rows]
        ordered = {name: rows[name] for name in (*known, *sorted(rows.keys() - set(known)))}
        tuned = replace(head, rows=ordered)
        write_text(path, tuned_text(tuned))
    return tuned


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Hold a lock between processes, where the system has some."""
    make_folder(lock.parent)
    with lock.open("ab") as file:
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tuned_text(tuned: Tuned) -> str:
    """Return the text of a tuned.toml."""
    rows = {name: _row_table(row) for name, row in tuned.rows.items()}
    return toml_text({"command": tuned.command, "tuning": _tuning_table(tuned.tuning), "rows": rows})


def toml_text(document: Mapping[str, Any]) -> str:
    """Return a document as TOML.

    Raises:
        RequestError: tomlkit is not installed.
    """
    text: str = _import_tomlkit().dumps(_inlined(document))
    return text


def _import_tomlkit() -> Any:
    try:
        import tomlkit.items
    except ImportError as error:
        raise RequestError("tomlkit is not installed; type: pip install 'bench-core[tune]'") from error
    return tomlkit


def _inlined(value: Any) -> Any:
    """Return a value in which a list of tables has a line for each."""
    tomlkit = _import_tomlkit()
    if isinstance(value, dict) and not isinstance(value, tomlkit.items.InlineTable):
        return {key: _inlined(inner) for key, inner in value.items()}
    if not isinstance(value, list) or not value or not all(isinstance(item, Mapping) for item in value):
        return value
    lines = tomlkit.array().multiline(True)
    lines.extend(_on_one_line(item) for item in value)
    return lines


def _on_one_line(table: Mapping[str, Any]) -> Any:
    line = _import_tomlkit().inline_table()
    line.update({key: _on_one_line(inner) if isinstance(inner, Mapping) else inner for key, inner in table.items()})
    return line


def _tuning_table(tuning: Tuning) -> dict[str, Any]:
    epochs = {} if tuning.epochs is None else {"epochs": tuning.epochs}
    return {
        "trials": tuning.trials,
        "validation": tuning.validation,
        "seeds": list(tuning.seeds),
        **epochs,
        "metrics": {family: list(metrics) for family, metrics in tuning.metrics.items()},
        **({"datasets": {name: dict(values) for name, values in tuning.datasets.items()}} if tuning.datasets else {}),
    }


def _row_table(row: TunedRow) -> dict[str, Any]:
    """Return the table of a row; its own tables stand on one line each, so that what was chosen stands first."""
    datasets = {name: dict(values) for name, values in row.datasets.items()}
    return {
        "metrics": list(row.metrics),
        **({"lower": list(row.lower)} if row.lower else {}),
        "trials": row.trials,
        "best": row.best,
        "values": _on_one_line(row.values),
        "seeds": list(row.seeds),
        "validation": row.validation,
        **({} if row.epochs is None else {"epochs": row.epochs}),
        **({"datasets": _on_one_line(datasets)} if datasets else {}),
        "digest": row.digest,
        **({"commits": list(row.commits)} if row.commits else {}),
        "space": _on_one_line(row.space),
        "tried": [
            {"values": dict(trial.values), "scores": {name: _short(score) for name, score in trial.scores.items()}}
            for trial in row.tried
        ],
    }


def _short(score: float) -> float:
    """Round a score to what readers can use; ranks were made of the whole number."""
    return float(f"{score:.6g}")
