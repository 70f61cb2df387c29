"""The lines under a table: how its numbers were made."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

from bench_core.planning.recipe_lines import recipe_text
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.folds import FOLDS
from bench_core.reports.tables.legend import legend
from bench_core.reports.tables.model import Column, Row
from bench_core.store.record import AXES, Document, Provenance, Record

_Done = tuple[Entry, Record]  # an entry that is done, and its record


def footer(
    entries: Sequence[Entry], columns: Sequence[Column], rows: Sequence[Row], counted: Sequence[Column]
) -> list[str]:
    """Return statistics, seeds, recipes, data, machines, versions, and a hash of the records.

    Args:
        entries: Entries of the table. Stale ones count where there are no others: their numbers are shown, too.
        columns: Columns as shown.
        rows: Rows as shown.
        counted: The columns that count for mean and mean rank.
    """
    done = [(entry, entry.finished_record) for entry in entries if entry.finished_record]
    stale = [(entry, entry.record) for entry in entries if entry.state == "stale" and entry.record]
    lines = legend(columns, rows, counted)
    told = done or stale
    if not told:
        return [*lines, "No records."]
    lines.append(f"Seeds: {', '.join(map(str, sorted({entry.seed for entry, _ in told})))}.")
    lines += _held_out(told)
    lines += _recipes(told)
    lines += _starts(told)
    lines += _outside(told)
    lines += _teachers_and_encoders(told)
    lines += _codes(told)
    lines += _ranks(told)
    lines.append(f"Data: {'; '.join(sorted({_data(record.document) for _, record in told}))}.")
    if done:
        lines += _provenance([record for _, record in done])
    if stale:
        lines.append(f"Stale records: {_number_and_date([record for _, record in stale])}.")
    return lines


def protocols(entries: Sequence[Entry]) -> list[str]:
    """Return how each task measures, and the notes that all its records have; stale records count without others."""
    done = [(entry, entry.finished_record) for entry in entries if entry.finished_record]
    stale = [(entry, entry.record) for entry in entries if entry.state == "stale" and entry.record]
    lines = []
    for task in dict.fromkeys(entry.names["task"] for entry in entries):
        of_done, of_stale = ([pair for pair in pairs if pair[0].names["task"] == task] for pairs in (done, stale))
        lines += _protocol(task, of_done) if of_done else _protocol(f"{task} (stale)", of_stale)
    return lines


def store_hash(keys: Iterable[str]) -> str:
    """Return the first 12 digits of the SHA-256 over the sorted keys, a line each."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:12]


def _protocol(task: str, done: Sequence[_Done]) -> list[str]:
    """Return the protocols of a task's records, and the notes that all of them have."""
    lines = _shared((entry.names["method"], record.protocol) for entry, record in done)
    notes = [record.notes for _, record in done]
    common = [note for note in dict.fromkeys(notes[0]) if all(note in others for others in notes)] if notes else []
    return [f"{task}: {line}" for line in (*lines, *common) if line]


def _shared(texts: Iterable[tuple[str, str]]) -> list[str]:
    """Return the text of all rows once; where rows differ, each text with its rows: "20 epochs (nac, vae)".

    Args:
        texts: (row, text) of each record.
    """
    rows_by_text: dict[str, dict[str, None]] = {}
    for row, text in texts:
        rows_by_text.setdefault(text, {})[row] = None
    if len(rows_by_text) < 2:
        return list(rows_by_text)
    return [f"{text or 'not on record'} ({', '.join(rows)})" for text, rows in rows_by_text.items()]


def _held_out(done: Sequence[_Done]) -> list[str]:
    """Say that scores are of a part of train, in place of the test split."""
    parts = sorted({record.document.held_out for _, record in done} - {0.0})
    return [
        f"Scores are of a held-out {100 * part:g} % of train, on which nothing was trained; the test split was not "
        "opened."
        for part in parts
    ]


def _recipes(done: Sequence[_Done]) -> Iterator[str]:
    """Yield the recipes with their rows, as `bench run` begins with them, and what was shortened for fewer epochs."""
    known: dict[str, dict[str, None]] = {}  # row -> where its recipe comes from; records of older code do not say
    for entry, record in done:
        known.setdefault(entry.names["method"], {}).update({record.recipe_from: None} if record.recipe_from else {})
    rows_by_recipe: dict[str, dict[str, None]] = {}
    rows_by_shortened: dict[str, dict[str, None]] = {}
    for entry, record in done:
        row = entry.names["method"]
        origin = f" ({' or '.join(known[row])})" if known[row] else ""
        rows_by_recipe.setdefault(recipe_text(record.document.recipe) + origin, {})[row] = None
        if record.shortened:
            rows_by_shortened.setdefault(record.shortened, {})[row] = None
    for recipe, rows in rows_by_recipe.items():
        of_rows = f" of {', '.join(rows)}" if len(rows_by_recipe) > 1 else ""
        yield f"Recipe{of_rows}: {recipe}."
    for text, rows in rows_by_shortened.items():
        yield f"Shortened for {', '.join(rows)}: {text}."


def _starts(done: Sequence[_Done]) -> list[str]:
    """Name the rows whose encoder was trained before: their recipe and cost leave that training out."""
    trained = [pair for pair in done if pair[1].document.recipe.get("epochs") != 0 or not pair[1].outside]
    starts = {entry.names["method"]: record.starts_from for entry, record in trained}
    return [
        f"{row} starts from {source}; its recipe and cost leave that out." for row, source in starts.items() if source
    ]


def _outside(done: Sequence[_Done]) -> Iterator[str]:
    """Say of each row whose weights come from elsewhere: model, digests, revision, and what it was pretrained on."""
    rows: dict[tuple[str, str, str, str], dict[str, None]] = {}  # row, model, revision and data -> digests
    for entry, record in done:
        if outside := record.outside:
            facts = (outside["name"], outside.get("revision") or "", outside.get("trained_on") or "")
            rows.setdefault((entry.names["method"], *facts), {})[outside["digest"][:12]] = None
    for (row, model, revision, trained_on), digests in rows.items():
        yield (
            f"{row}: weights of {model}, SHA-256 {', '.join(digests)}, revision {revision or 'not known'}, "
            f"pretrained on {trained_on or 'data that is not known'}."
        )


def _teachers_and_encoders(done: Sequence[_Done]) -> Iterator[str]:
    """Name the rows that have a teacher, an encoder of their own, or weights that were kept for their training loss."""
    for row, teacher in {entry.names["method"]: record.taught_by for entry, record in done}.items():
        if teacher:
            yield f"{row} learns from {teacher}; its recipe and cost leave that training out."
    for row, encoder in {entry.names["method"]: entry.names.get("own_encoder") for entry, _ in done}.items():
        if encoder:
            yield f"{row} has an encoder of its own: {encoder}."
    kept: dict[str, list[int]] = {}
    for entry, record in done:
        if record.kept_epoch is not None:
            kept.setdefault(entry.names["method"], []).append(record.kept_epoch)
    for row, epochs in kept.items():
        least, most = min(epochs), max(epochs)
        which = f"{least}" if least == most else f"{least} to {most}"
        yield f"{row} keeps the weights of the least training loss (epoch {which})."


def _codes(done: Sequence[_Done]) -> Iterator[str]:
    """Name the components of which records come from several versions of the code, though their revision is one.

    Records are compared with one another only, never with the code that is installed: a page stays as it is.
    """
    versions: dict[tuple[str, str, int], set[str]] = {}  # axis, id and revision -> digests of the code
    trained: dict[int, dict[str, None]] = {}  # number of versions that took part in one training -> rows
    for entry, record in done:
        document, provenance = record.document, record.provenance
        for axis in AXES:
            component = document.component(axis)
            digests = {sources[axis] for sources in provenance.all_sources if axis in sources}
            versions.setdefault((axis, component["id"], component["revision"]), set()).update(digests)
        if provenance.pretrain and provenance.pretrain.earlier_sources:
            number = 1 + len(provenance.pretrain.earlier_sources)
            trained.setdefault(number, {})[entry.names["method"]] = None
    for (_, component_id, revision), digests in versions.items():
        if len(digests) > 1:
            yield f"{len(digests)} codes of {component_id.rpartition('/')[2]} at revision {revision}."
    for number, rows in trained.items():
        yield f"Stopped, and resumed by other code, so that one training is of {number} codes: {', '.join(rows)}."


def _ranks(done: Sequence[_Done]) -> Iterator[str]:
    """Name the rows that several processes trained together, by their number."""
    rows: dict[int, dict[str, None]] = {}
    for entry, record in done:
        ranks = record.provenance.pretrain.ranks if record.provenance.pretrain else 1
        rows.setdefault(ranks, {})[entry.names["method"]] = None
    for ranks, names in sorted(rows.items()):
        if ranks > 1:
            seconds = "; seconds of chains with other numbers do not compare" if len(rows) > 1 else ""
            yield f"Trained by {ranks} ranks: {', '.join(names)}{seconds}."


def _data(document: Document) -> str:
    dataset = document.component("dataset")
    kind, _, digest = str(dataset.get("digest") or "").rpartition(":")
    return f"{dataset['id']} revision {dataset['revision']}, {kind or 'digest'} {digest[:12] or 'unknown'}"


def _provenance(records: Sequence[Record]) -> list[str]:
    """Name machines and versions, the number of records, and their hash."""
    provenance = [record.provenance for record in records]
    devices = sorted({run.device or "unknown" for run in provenance})
    versions = sorted({_version(run) for run in provenance})
    mixed = " (mixed: costs do not compare)" if len(devices) > 1 else ""
    return [
        f"Devices{mixed}: {'; '.join(devices)}.",
        f"Versions{' (mixed)' if len(versions) > 1 else ''}: {'; '.join(versions)}.",
        f"Records: {_number_and_date(records)}; store hash {store_hash(record.key for record in records)}.",
    ]


def _number_and_date(records: Sequence[Record]) -> str:
    """Return how many records there are, and the day of the newest: "312, newest of 2026-11-22"."""
    newest = max((record.provenance.ended or record.provenance.started or "" for record in records), default="")[:10]
    number = sum(record.stored.get(FOLDS, 1) for record in records)
    return f"{number}{f', newest of {newest}' if newest else ''}"


def _version(provenance: Provenance) -> str:
    commit = f" at {provenance.commit[:8]}" if provenance.commit else ""
    dirty = " (dirty)" if provenance.dirty else ""
    return f"bench {provenance.bench or 'unknown'}{commit}{dirty}, torch {provenance.torch or 'unknown'}"
