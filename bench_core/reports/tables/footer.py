"""The lines under a table: how its numbers were made."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.model import Column, Row


def footer(entries: Sequence[Entry], columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Protocols, statistics, seeds, budget, data, machines, versions, and a hash of the records.

    Args:
        entries: Of the table; only done ones count.
        columns: As shown.
        rows: As shown.
    """
    done = [entry for entry in entries if entry.state == "done" and entry.record is not None]
    tasks = list(dict.fromkeys(column.task for column in columns if column.kind == "task"))
    lines = [line for task in tasks for line in _protocol(task, [e for e in done if e.names["task"] == task])]
    lines += _statistics(columns, rows)
    if not done:
        return [*lines, "No records."]
    lines.append(f"Seeds: {', '.join(map(str, sorted({entry.seed for entry in done})))}.")
    lines += [f"Budget: {text}." for text in _shared((e.names["method"], _budget(e)) for e in done)]
    lines += _starts(done)
    lines.append(f"Data: {'; '.join(sorted({_data(entry) for entry in done}))}.")
    return [*lines, *_provenance([entry.record for entry in done if entry.record is not None])]


def store_hash(keys: Iterable[str]) -> str:
    """SHA-256 over the sorted keys, a line each; its first 12 digits."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:12]


def _protocol(task: str, done: Sequence[Entry]) -> list[str]:
    """What the records say of their protocol, and the notes that all of them carry."""
    records = [entry.record or {} for entry in done]
    methods = [entry.names["method"] for entry in done]
    lines = _shared(zip(methods, (str(record.get("protocol") or "") for record in records), strict=True))
    notes = [list(record.get("notes") or ()) for record in records]
    first = dict.fromkeys(notes[0]) if notes else ()
    everywhere = [note for note in first if all(note in own for own in notes)]
    return [f"{task}: {line}" for line in (*lines, *everywhere) if line]


def _shared(said: Iterable[tuple[str, str]]) -> list[str]:
    """What all say once; where they disagree, each text with who says it."""
    by_text: dict[str, dict[str, None]] = {}
    for who, text in said:
        by_text.setdefault(text, {})[who] = None
    if len(by_text) < 2:
        return list(by_text)
    return [f"{text or 'not on record'} ({', '.join(whose)})" for text, whose in by_text.items()]


def _statistics(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """How to read the cells."""
    scores = [c for row in rows for k, c in zip(columns, row.cells, strict=True) if k.kind == "task" and c.n]
    lines = []
    if any(cell.n > 1 for cell in scores):
        lines.append("Cells: mean over n seeds ± half-width of its 95 % t interval.")
        lines.append(
            "Bold (* in plain text): the best, and all that the 95 % t interval of the difference, "
            "paired by seed, does not tell from it (each pair by itself)."
        )
        if any(cell.n == 1 for cell in scores):
            lines.append("A cell of one seed has no interval and is never bold.")
    elif scores:
        lines.append("One seed: no interval, and nothing is bold.")
    if any(column.kind == "mean" for column in columns):
        lines.append("Mean: over the seeds that have every task; blank if a task is missing.")
    ranks = [c for row in rows for k, c in zip(columns, row.cells, strict=True) if k.kind == "rank" and c.text]
    skipped = [
        column.name
        for place, column in enumerate(columns)
        if column.kind == "task" and any(r.kind == "method" and r.cells[place].state == "skipped" for r in rows)
    ]
    over = f"over the tasks that no row skips (not {', '.join(skipped)}), " if skipped else ""
    every = "all of these" if skipped else "every task"
    if any(column.kind == "rank" for column in columns):
        lines.append(f"Mean rank: {over}among the rows that have {every} ({len(ranks)}). Cost: medians over seeds.")
    labelled = [row.name for row in rows if row.kind == "labels"]
    if labelled:
        lines.append(f"Trained with labels, for reference, neither bold nor ranked: {', '.join(labelled)}.")
    return lines


def _budget(entry: Entry) -> str:
    recipe = (entry.doc or (entry.record or {})["doc"])["embed"]["pretrain"].get("recipe") or {}
    return f"{recipe.get('epochs', '?')} epochs, batch size {recipe.get('batch_size', '?')}"


def _starts(done: Sequence[Entry]) -> list[str]:
    """Rows whose encoder did not start fresh: their budget and cost tell half of the story."""
    starts = {e.names["method"]: str(((e.record or {}).get("facts") or {}).get("starts_from") or "") for e in done}
    return [f"{row} starts from {what}; its budget and cost leave that out." for row, what in starts.items() if what]


def _data(entry: Entry) -> str:
    dataset = (entry.doc or (entry.record or {})["doc"])["embed"]["pretrain"]["dataset"]
    kind, _, digest = str(dataset.get("digest") or "").rpartition(":")
    return f"{dataset['id']} revision {dataset['revision']}, {kind or 'digest'} {digest[:12] or 'unknown'}"


def _provenance(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Machines, versions, how many records, and their hash."""
    made = [record.get("provenance") or {} for record in records]
    devices = sorted({str(p.get("device") or "unknown") for p in made})
    versions = sorted({_version(p) for p in made})
    newest = max((str(p.get("ended") or p.get("started") or "") for p in made), default="")[:10]
    mixed = " (mixed: costs do not compare)" if len(devices) > 1 else ""
    return [
        f"Devices{mixed}: {'; '.join(devices)}.",
        f"Versions{' (mixed)' if len(versions) > 1 else ''}: {'; '.join(versions)}.",
        f"Records: {len(records)}{f', newest of {newest}' if newest else ''}; "
        f"store hash {store_hash(str(record['key']) for record in records)}.",
    ]


def _version(made: Mapping[str, Any]) -> str:
    commit = f" at {str(made['commit'])[:8]}" if made.get("commit") else ""
    dirty = " (dirty)" if made.get("dirty") else ""
    return f"bench {made.get('bench') or 'unknown'}{commit}{dirty}, torch {made.get('torch') or 'unknown'}"
