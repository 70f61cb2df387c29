"""Records as frozen objects, built from JSON."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench_core.keys import key_of
from bench_core.store.record import Cost, Document, Provenance, record_from_json
from bench_core.store.record_schema import record_error, unit_error
from bench_core.store.store import read_record

RECORDS = Path(__file__).parents[3] / "leaderboards" / "digits" / "records"


def small_record(task: str = "toys/t", **parts: Any) -> dict[str, Any]:
    """Return the least that a record must hold, and further parts."""
    components = {axis: {"id": f"toys/{axis}", "revision": 1} for axis in ("dataset", "encoder", "method")}
    document = {"task": {"id": task, "revision": 1}, "embed": {"pretrain": {**components, "seed": 3}}}
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
    parts: dict[str, Any] = dict.fromkeys(
        ("facts", "cost", "provenance", "notes", "curves", "images", "items", "protocol")
    )
    assert record_from_json({**small_record(), **parts}).cost == Cost()


def test_parts_of_a_record_are_kept_as_they_stand() -> None:
    facts = {"uses_labels": True, "parameters": 9, "starts_from": "a", "recipe_from": "--epochs", "shortened": "b"}
    parts: dict[str, Any] = {"curves": {"c": {"x": [1.0]}}, "images": {"i": "png"}, "items": {"top1": {"n": 1}}}
    stored = small_record(facts=facts, protocol="k = 5", notes=["one"], **parts)
    stored["doc"]["embed"]["pretrain"]["recipe"] = {"epochs": 3}
    stored["scores"][0] |= {"caveat": "few items", "ranks": False}
    record = record_from_json(stored)
    assert {name: getattr(record, name) for name in facts} == facts
    assert {name: getattr(record, name) for name in parts} == parts
    assert (record.protocol, record.notes, record.document.recipe) == ("k = 5", ("one",), {"epochs": 3})
    scores = [(score.caveat, score.ranks) for score in record.scores.values()]
    assert scores == [("few items", False), ("", True)]


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


@pytest.mark.parametrize(
    ("value", "unit", "allowed"),
    [
        (1 + 0.9e-6, "fraction", True),
        (1 + 1.1e-6, "fraction", False),
        (1.7e308, "fraction", False),
        (-1.1e-6, "fraction", False),
        (float("nan"), "fraction", True),  # could not be measured: tables show it as failed
        (float("inf"), "fraction", True),
        (-35.2, "points", True),
        (-1.0, "count", False),
        (1e9, "count", True),
        (-956.4, "nats", True),
        (1.7e308, "a unit of another package", True),
        (None, "fraction", True),
    ],
)
def test_a_value_that_its_unit_does_not_allow_is_an_error(value: float | None, unit: str, allowed: bool) -> None:
    assert (unit_error(value, unit) is None) == allowed
    stored = small_record(scores=[{"metric": "top1", "unit": unit, "value": value, "higher_is_better": True}])
    error = record_error(stored)
    assert (error is None) == allowed
    if error:
        assert "scores[0].value" in error
        assert unit in error


def test_a_task_that_its_record_gives_no_family_has_the_family_of_the_built_in_task() -> None:
    old = small_record(task="bench-core/linear_regions")
    assert (record_from_json(old).family, record_from_json(old).ranks) == ("bench-core/linear_regions", False)
    assert record_from_json(small_record(task="bench-core/knn")).family == "classification"
    assert record_from_json(small_record(task="other/knn")).family == "other/knn"
    said = {**old, "ranks": True, "family": "structure"}
    assert (record_from_json(said).family, record_from_json(said).ranks) == ("structure", True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sources", ["sha256:1"]),
        ("sources", {"method": 1}),
        ("sources", {"color": "sha256:1"}),
        ("sources", {"method": "a\nb"}),
        ("embed_sources", "sha256:1"),
        ("earlier_sources", {"method": "sha256:1"}),
        ("start_sources", ["sha256:1"]),
        ("resumed", -1),
        ("resumed", True),
    ],
)
def test_code_in_a_provenance_that_no_run_writes_is_an_error(field: str, value: object) -> None:
    for provenance in ({field: value}, {"pretrain": {field: value}}):
        error = record_error(small_record(provenance=provenance))
        assert error is not None
        assert field in error


def test_all_code_of_a_record_is_that_of_task_embedding_and_training() -> None:
    sources = [{"method": f"sha256:{number}"} for number in range(4)]
    pretrain = {"sources": sources[2], "earlier_sources": [sources[3]], "start_sources": [{}], "resumed": 2}
    stored = small_record(provenance={"sources": sources[0], "embed_sources": sources[1], "pretrain": pretrain})
    assert record_error(stored) is None
    provenance = record_from_json(stored).provenance
    assert [version for version in provenance.all_sources if version] == sources
    assert provenance.pretrain is not None
    assert provenance.pretrain.resumed == 2
    assert (provenance.pretrain.earlier_sources, provenance.pretrain.start_sources) == ((sources[3],), ({},))
