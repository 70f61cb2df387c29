"""Records as frozen objects, built from JSON."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench_core.keys import key_of
from bench_core.store.record import Cost, Document, Provenance, record_from_json
from bench_core.store.store import read_record

RECORDS = Path(__file__).parents[3] / "leaderboards" / "digits" / "records"


def small_record(**parts: Any) -> dict[str, Any]:
    """Return the least that a record must hold, and further parts."""
    components = {axis: {"id": f"toys/{axis}", "revision": 1} for axis in ("dataset", "encoder", "method")}
    document = {"task": {"id": "toys/t", "revision": 1}, "embed": {"pretrain": {**components, "seed": 3}}}
    names = {"method": "m", "task": "t", "encoder": "e", "dataset": "d"}
    scores = [
        {"metric": metric, "unit": "fraction", "value": 0.5, "higher_is_better": True} for metric in ("top5", "top1")
    ]
    return {"key": "k", "doc": document, "names": names, "scores": scores, **parts}


def test_record_of_older_code_has_none_and_empty_fields() -> None:
    record = record_from_json(small_record())
    assert (record.cost, record.provenance) == (Cost(), Provenance())
    assert (record.protocol, record.notes, record.starts_from) == ("", (), "")
    assert (record.uses_labels, record.parameters) == (None, None)
    assert (record.curves, record.images, record.items) == ({}, {}, {})
    assert record.document.recipe == {}


def test_null_stands_for_a_missing_part() -> None:
    parts = dict.fromkeys(("facts", "cost", "provenance", "notes", "curves", "images", "items", "protocol"))
    assert record_from_json(small_record(**parts)).cost == Cost()


def test_scores_are_found_by_metric_and_keep_their_order() -> None:
    record = record_from_json(small_record())
    assert list(record.scores) == ["top5", "top1"]
    assert record.scores["top1"].value == 0.5
    assert record.scores["top1"].n is None


def test_names_are_ordered_by_axis() -> None:
    record = record_from_json(small_record())
    assert record.axes == ("d", "e", "m", "t")
    assert record.label == "d/e/m/t seed 3"


def test_document_gives_the_parts_whose_hashes_name_chain_and_embeddings() -> None:
    content = small_record()["doc"]
    document = Document(content)
    assert document.embed == content["embed"]
    assert document.pretrain == content["embed"]["pretrain"]
    assert document.component("task") == {"id": "toys/t", "revision": 1}
    assert document.component("method") == {"id": "toys/method", "revision": 1}


def test_record_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        record_from_json(small_record()).key = "other"  # type: ignore[misc]


def test_published_record_is_read_with_cost_and_provenance_of_task_and_training() -> None:
    record = read_record(sorted(RECORDS.glob("*.json"))[0])
    assert record.key == key_of(record.document.content)
    assert (record.cost.pretrain_s or 0.0) >= 0
    assert record.provenance.commit
    assert record.stored["key"] == record.key
