"""Cells with their state, under names such that different things have different names: the input of every table."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench_core.errors import one_line
from bench_core.reports.tables.contents import Leaves, content_of
from bench_core.store.record import AXES, Document, Record
from bench_core.store.store import latest_attempts

State = Literal["done", "skipped", "failed", "stale", "missing"]

_LONGEST_VALUE = 24  # characters of one value in a label


@dataclass(frozen=True)
class Entry:
    """One cell, that is one task on one chain with one seed, and what is known of it.

    Attributes:
        names: Labels of dataset, encoder, method and task, as rows and columns show them; `own_encoder` and `fold`
            where the cell has them (`bench_core.planning.chains.Cell`).
        seed: Seed of the chain.
        state: "done" cells alone have numbers.
        reason: Why the cell was skipped, failed or went stale; one line.
        record: The record of a cell that is done; of a stale cell its old record; else None.
        document: The document of the cell; None for a failed attempt of older code.
        planned: Whether a board or a request asks for this cell: its column then needs every seed that is asked for.
    """

    names: Mapping[str, str]
    seed: int
    state: State
    reason: str = ""
    record: Record | None = None
    document: Document | None = None
    planned: bool = False

    @property
    def finished_record(self) -> Record | None:
        """The record, if the cell is done; else None."""
        return self.record if self.state == "done" else None

    @property
    def is_one_network(self) -> bool:
        """True if the row is one network that was trained elsewhere, so that it has no spread over seeds."""
        return bool(self.record and self.record.outside and self.record.outside["one_network"])

    @property
    def task_names(self) -> set[str]:
        """The label of the task, and its name in the request that the record was made for."""
        return {self.names["task"], self.record.names["task"] if self.record else self.names["task"]}


def entries_of(records: Iterable[Record], attempts: Iterable[Mapping[str, Any]] = ()) -> list[Entry]:
    """Return an entry for each cell that a store has a record or a failed attempt of.

    Args:
        records: Records in any order; of several with one key the first counts.
        attempts: Oldest first. One with a `kind` whose key has no record becomes a failed entry; of several with
            one key the last counts.

    Returns:
        Sorted by names and seed, so that the same files give the same table; relabelled by `with_distinct_names`.
    """
    done: dict[str, Entry] = {}
    for record in records:
        entry = Entry(record.names, record.seed, "done", record=record, document=record.document)
        done.setdefault(record.key, entry)
    failed: dict[str, Entry] = {}
    for attempt in latest_attempts(attempts).values():
        if attempt["key"] not in done:
            document = None if attempt.get("doc") is None else Document(attempt["doc"])
            seed = attempt["seed"] if document is None else document.seed
            names, reason = dict(attempt["names"]), failure_reason(attempt)
            failed[attempt["key"]] = Entry(names, seed, "failed", reason, document=document)
    by_key = {**failed, **done}
    keys = sorted(by_key, key=lambda key: (*_labels_of(by_key[key]), by_key[key].seed, key))
    return with_distinct_names([by_key[key] for key in keys])


def failure_reason(attempt: Mapping[str, Any]) -> str:
    """Return in one line why an attempt failed: "oom: memory ran out; ..."."""
    return one_line(": ".join(filter(None, [attempt["kind"], attempt.get("error")])))


def by_table(entries: Iterable[Entry]) -> dict[tuple[str, str], list[Entry]]:
    """Group entries that `with_distinct_names` relabelled by dataset and encoder; each group is one table."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.names["dataset"], entry.names["encoder"]), []).append(entry)
    return groups


def by_row(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Group entries by method, each group one row of a table."""
    rows: dict[str, list[Entry]] = {}
    for entry in entries:
        rows.setdefault(entry.names["method"], []).append(entry)
    return rows


def with_distinct_names(entries: Sequence[Entry], *, hold_encoder: bool = True) -> list[Entry]:
    """Relabel entries so that those of one row and column differ by their seed alone.

    Where one name stands for several documents, each gets the parameters that differ as a suffix:
    `nac (flip=0.1)` and `nac (flip=0.3)`. Names that are clear stay, so doing it twice changes nothing.

    Args:
        entries: Cells, each under the names of its request.
        hold_encoder: False where one table holds all encoders of a dataset.
    """
    relabelled = _relabel(entries, "dataset", ())
    relabelled = _relabel(relabelled, "encoder", ("dataset",))
    relabelled = _relabel(relabelled, "method", ("dataset", "encoder"))
    return _relabel(relabelled, "task", ("dataset", "encoder") if hold_encoder else ("dataset",))


def _relabel(entries: Sequence[Entry], axis: str, within: tuple[str, ...]) -> list[Entry]:
    """Relabel one axis, table by table: another table may use the same name for something else."""
    scopes: dict[tuple[str, ...], dict[str, dict[str, Leaves]]] = {}
    found = []
    for entry in entries:
        scope_key, name = tuple([entry.names[name] for name in within]), entry.names[axis]
        content = content_of(entry.document, axis, entry.names)
        found.append((entry, scope_key, name, content.text if content else None))
        of_name = scopes.setdefault(scope_key, {}).setdefault(name, {})
        if content:
            of_name.setdefault(content.text, content.leaves)
    labels = {scope: _labels(names) for scope, names in scopes.items()}
    if all(label == name for of_scope in labels.values() for (name, _), label in of_scope.items()):
        return list(entries)
    relabelled = []
    for entry, scope_key, name, text in found:
        label = labels[scope_key].get((name, text), name)
        relabelled.append(entry if label == name else replace(entry, names={**entry.names, axis: label}))
    return relabelled


def _labels(names: Mapping[str, Mapping[str, Leaves]]) -> dict[tuple[str, str | None], str]:
    """Return (name, content) -> label; no two labels are equal."""
    labels: dict[tuple[str, str | None], str] = {}
    for name, contents in names.items():
        differing = _differing_leaves(list(contents.values()))
        for content, leaves in contents.items():
            values = {leaf.removeprefix("config."): _short(leaves.get(leaf)) for leaf in differing}
            suffix = ", ".join(f"{leaf}={value}" for leaf, value in values.items())
            labels[name, content] = f"{name} ({suffix})" if suffix else name
    taken = list(labels.values())
    for key, label in labels.items():
        if taken.count(label) > 1:  # shortened values that look alike, or a name that has such a suffix itself
            digest = hashlib.sha256("\n".join(map(str, key)).encode()).hexdigest()
            labels[key] = f"{label} #{digest[:8]}"
    return labels


def _differing_leaves(contents: Sequence[Leaves]) -> list[str]:
    """Return the names of the parameters that are not equal in all contents, in their order."""
    names = dict.fromkeys(name for leaves in contents for name in leaves)
    return [name for name in names if len({leaves.get(name) for leaves in contents}) > 1]


def _short(value: str | None) -> str:
    if value is None:
        return "unset"
    value = value.strip('"')
    if value.startswith("sha256:"):
        return f"{value.removeprefix('sha256:')[:8]}.."
    return value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}.."


def _labels_of(entry: Entry) -> tuple[str, ...]:
    return tuple(entry.names[axis] for axis in AXES)
