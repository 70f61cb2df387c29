"""What a table is built from: cells with a state, under names that tell different things apart."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from bench_core.store.record_schema import AXES, seed_of
from bench_core.store.store import latest_attempts

State = Literal["done", "skipped", "failed", "stale", "missing"]


_Contents = dict[str, dict[str, str]]  # canonical text -> leaf -> value

_LONGEST = 24  # characters of one value in a label


@dataclass(frozen=True)
class Entry:
    """One cell (a task on a chain) as a table sees it.

    Attributes:
        names: Of dataset, encoder, method and task, as rows and columns show them.
        seed: Of the chain.
        state: Only "done" carries numbers into a table.
        reason: Why it was skipped, failed or went stale; one line.
        record: What the finished cell wrote; of a stale one, what no longer holds.
        doc: The document that was asked for; equal to the record's where the cell is done.
    """

    names: Mapping[str, str]
    seed: int
    state: State
    reason: str = ""
    record: Mapping[str, Any] | None = None
    doc: Mapping[str, Any] | None = None


def entries_of(records: Iterable[Mapping[str, Any]], attempts: Iterable[Mapping[str, Any]] = ()) -> list[Entry]:
    """Everything that lies in a store, whoever asked for it.

    Args:
        records: Of finished cells, in any order; of several with one key the first counts.
        attempts: Oldest first. One with a `kind` whose key has no record becomes a failed entry; of several with
            one key the last counts.

    Returns:
        Sorted by names and seed, so that the same files give the same table; relabelled by `distinct`.
    """
    done: dict[str, Entry] = {}
    for record in records:
        doc = record["doc"]
        entry = Entry(dict(record["names"]), seed_of(doc), "done", record=record, doc=doc)
        done.setdefault(record["key"], entry)
    failed: dict[str, Entry] = {}
    for attempt in latest_attempts(attempts).values():
        if attempt["key"] not in done:
            doc = attempt.get("doc")
            seed = attempt["seed"] if doc is None else seed_of(doc)
            reason = ": ".join(filter(None, [attempt["kind"], attempt.get("error")]))
            failed[attempt["key"]] = Entry(dict(attempt["names"]), seed, "failed", reason, doc=doc)
    found = sorted({**failed, **done}.items(), key=lambda item: (*_place(item[1]), item[1].seed, item[0]))
    return distinct([entry for _, entry in found])


def distinct(entries: Sequence[Entry]) -> list[Entry]:
    """The entries under names such that what shares a row and a column differs by its seed alone.

    Where one name stands for several documents, each gets the parameters that differ as a suffix:
    `nac (flip=0.1)` and `nac (flip=0.3)`. Names that are clear stay, so doing it twice changes nothing.
    """
    relabelled = _relabel(entries, "dataset", ())
    relabelled = _relabel(relabelled, "encoder", ("dataset",))
    relabelled = _relabel(relabelled, "method", ("dataset", "encoder"))
    return _relabel(relabelled, "task", ("dataset", "encoder"))


def _relabel(entries: Sequence[Entry], axis: str, within: tuple[str, ...]) -> list[Entry]:
    """One axis made clear, table by table: other tables may use the same name for other things."""
    scopes: dict[tuple[str, ...], dict[str, _Contents]] = {}
    for entry in entries:
        known = scopes.setdefault(tuple(entry.names[a] for a in within), {}).setdefault(entry.names[axis], {})
        if entry.doc is not None:
            leaves = _leaves_of(entry.doc, axis)
            known.setdefault(_canonical(leaves), leaves)
    labels = {scope: _labels(names) for scope, names in scopes.items()}
    relabelled = []
    for entry in entries:
        scope, name = tuple(entry.names[a] for a in within), entry.names[axis]
        content = None if entry.doc is None else _canonical(_leaves_of(entry.doc, axis))
        label = labels[scope].get((name, content), name)
        relabelled.append(entry if label == name else replace(entry, names={**entry.names, axis: label}))
    return relabelled


def _labels(names: Mapping[str, _Contents]) -> dict[tuple[str, str | None], str]:
    """(name, content) -> label, no two alike."""
    labels: dict[tuple[str, str | None], str] = {}
    for name, contents in names.items():
        differing = [
            leaf
            for leaf in dict.fromkeys(leaf for leaves in contents.values() for leaf in leaves)
            if len({leaves.get(leaf) for leaves in contents.values()}) > 1
        ]
        for content, leaves in contents.items():
            shown = {leaf.removeprefix("config."): _short(leaves.get(leaf)) for leaf in differing}
            suffix = ", ".join(f"{leaf}={value}" for leaf, value in shown.items())
            labels[name, content] = f"{name} ({suffix})" if suffix else name
    taken = list(labels.values())
    for about, label in labels.items():
        if taken.count(label) > 1:  # shortened values that look alike, or a name with a suffix of its own
            digest = hashlib.sha256("\n".join(map(str, about)).encode()).hexdigest()
            labels[about] = f"{label} #{digest[:8]}"
    return labels


def _leaves_of(doc: Mapping[str, Any], axis: str) -> dict[str, str]:
    """The parameters that belong to one axis, by dotted name; the seed belongs to none."""
    embed = doc["embed"]
    pretrain = embed["pretrain"]
    if axis in ("dataset", "encoder"):
        return dict(_flat(pretrain[axis]))
    if axis == "task":
        return {**dict(_flat(doc["task"])), **dict(_flat(_without(doc, "task", "embed")))}
    rest = _without(pretrain, "method", "dataset", "encoder", "seed")
    around = {"embed": _without(embed, "pretrain")}
    return {**dict(_flat(pretrain["method"])), **dict(_flat(rest)), **dict(_flat(around))}


def _without(mapping: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value, ensure_ascii=False)  # "1" is not 1


def _canonical(leaves: Mapping[str, str]) -> str:
    return json.dumps(leaves, sort_keys=True)


def _short(value: str | None) -> str:
    if value is None:
        return "unset"
    value = value.strip('"')
    if value.startswith("sha256:"):
        return f"{value.removeprefix('sha256:')[:8]}.."
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}.."


def _place(entry: Entry) -> tuple[str, ...]:
    return tuple(entry.names[axis] for axis in AXES)
