"""One entry for the chains of one row that were each trained on other parts of a dataset: the mean over its folds.

A graph set without a test part has `folds` (`DataSpec.folds`): a method that uses labels is trained once for each, and
tested on the part that it was not trained on. The mean over the folds is the row's number at that seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median
from typing import Any

from bench_core.keys import key_of
from bench_core.reports.tables.entries import Entry, State
from bench_core.store.record import Cost, Document, Record, RecordScore

FOLDS = "folds"  # of a joined record's `stored`: how many records it stands for
_WORST_FIRST: tuple[State, ...] = ("failed", "missing", "stale", "skipped")


def in_one_entry(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries with those of several folds joined, in the place of the first; doing it twice changes nothing.

    A score is the mean over the folds where all folds are done. Where one is not, the joined entry has its state.
    """
    folds: dict[tuple[object, ...], list[Entry]] = {}
    order: list[tuple[object, ...]] = []
    for position, entry in enumerate(entries):
        key: tuple[object, ...] = (position,)
        if "fold" in entry.names:
            document = _without_fold(entry.document)
            key = (*_names(entry).items(), entry.seed, document and key_of(document.content))
        if key not in folds:
            order.append(key)
        folds.setdefault(key, []).append(entry)
    return [_joined(folds[key]) if "fold" in folds[key][0].names else folds[key][0] for key in order]


def _names(entry: Entry) -> dict[str, str]:
    return {axis: name for axis, name in entry.names.items() if axis != "fold"}


def _joined(folds: Sequence[Entry]) -> Entry:
    first = folds[0]
    joined = replace(first, names=_names(first), document=_without_fold(first.document), record=None)
    planned = max(len(folds), *(int(entry.names["fold"].partition(" of ")[2] or 0) for entry in folds))
    undone = sorted((entry for entry in folds if entry.state != "done"), key=lambda e: _WORST_FIRST.index(e.state))
    done = f"{len(folds) - len(undone)} of {planned} folds are done"
    if undone:
        reason = undone[0].reason if undone[0].state == "skipped" else f"{done}; {undone[0].reason}".rstrip("; ")
        return replace(joined, state=undone[0].state, reason=reason)
    if len(folds) < planned:  # the others were not run: a mean over some folds is no number of this row
        return replace(joined, state="missing", reason=done)
    records = [entry.record for entry in folds if entry.record]
    return replace(joined, state="done", reason="", record=_mean(records))


def _mean(records: Sequence[Record]) -> Record:
    """Return a record whose scores are means over the folds, for those scores that all folds have."""
    first = records[0]
    metrics = [metric for metric in first.scores if all(metric in record.scores for record in records)]
    document = _without_fold(first.document)
    assert document is not None, "a record has a document"
    stored = {name: part for name, part in first.stored.items() if name not in ("items", "curves", "images")}
    return replace(
        first,
        key=key_of({"folds": sorted(record.key for record in records)}),
        document=document,
        names={axis: name for axis, name in first.names.items() if axis != "fold"},
        scores={metric: _mean_score([record.scores[metric] for record in records]) for metric in metrics},
        notes=(*_shared_notes(records), f"mean of {len(records)} folds, each tested on the part it was not trained on"),
        cost=_total_cost([record.cost for record in records]),
        stored={**stored, FOLDS: len(records)},
    )


def _mean_score(scores: Sequence[RecordScore]) -> RecordScore:
    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return fmean(known) if len(known) == len(values) else None

    items = [score.n for score in scores if score.n is not None]
    return replace(
        scores[0],
        value=mean([score.value for score in scores]),
        chance=mean([score.chance for score in scores]),
        best=mean([score.best for score in scores]),
        n=sum(items) if len(items) == len(scores) else None,
    )


def _shared_notes(records: Sequence[Record]) -> list[str]:
    return [note for note in records[0].notes if all(note in record.notes for record in records)]


def _total_cost(costs: Sequence[Cost]) -> Cost:
    """Return the seconds of all folds together, and the median of speed and memory."""

    def known(name: str) -> list[float]:
        return [value for cost in costs if (value := getattr(cost, name)) is not None]

    seconds = {name: sum(known(name)) if known(name) else None for name in ("pretrain_s", "embed_s", "task_s")}
    medians = {name: median(known(name)) if known(name) else None for name in ("images_per_s", "peak_memory_gib")}
    return Cost(**seconds, **medians)


def _without_fold(document: Document | None) -> Document | None:
    """Return a document in which the dataset's parameter `fold` is not set, as that of a row without folds."""
    if document is None:
        return None
    pretrain = document.pretrain
    dataset: Mapping[str, Any] = pretrain["dataset"]
    whole = {**dataset, "config": {**dataset.get("config", {}), "fold": None}}
    embed = {**document.embed, "pretrain": {**pretrain, "dataset": whole}}
    return Document({**document.content, "embed": embed})
