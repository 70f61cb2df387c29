"""The lines under a table on the code of its records; they compare records with one another only."""

from collections.abc import Callable
from typing import Any

from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import entries_of
from bench_core.store.record import record_from_json

A, B = "sha256:aaaaaaaaaaaaaaaa", "sha256:bbbbbbbbbbbbbbbb"


def code_lines(*records: dict[str, Any]) -> list[str]:
    (table,) = build(entries_of(map(record_from_json, records)))
    return [line for line in table.footer if "code" in line]


def made_by(record: dict[str, Any], sources: dict[str, str], **training: Any) -> dict[str, Any]:
    record["provenance"] |= {"sources": sources, "pretrain": {"sources": sources, **training}}
    return record


def test_two_codes_at_one_revision_are_said(make_record: Callable[..., dict[str, Any]]) -> None:
    records = [make_record("nac", "knn", seed, 0.5) for seed in (0, 1)]
    assert code_lines(*records) == []  # records without digests say nothing
    made_by(records[0], {"method": A, "task": A})
    assert code_lines(*records) == []
    made_by(records[1], {"method": B, "task": A})
    assert code_lines(*records) == ["2 codes of nac at revision 1."]


def test_codes_of_two_revisions_or_two_methods_are_no_difference(make_record: Callable[..., dict[str, Any]]) -> None:
    first = made_by(make_record("nac", "knn", 0, 0.5), {"method": A, "task": A})
    second = made_by(make_record("vae", "knn", 0, 0.5), {"method": B, "task": A})
    assert code_lines(first, second) == []
    other = make_record("nac", "knn", 1, 0.5)
    other["doc"]["embed"]["pretrain"]["method"]["revision"] = 2
    assert code_lines(first, made_by(other, {"method": B, "task": A})) == []


def test_a_training_by_two_codes_is_said_with_its_row(make_record: Callable[..., dict[str, Any]]) -> None:
    record = made_by(make_record("nac", "knn", 0, 0.5), {"method": B}, earlier_sources=[{"method": A}], resumed=1)
    assert code_lines(record) == [
        "2 codes of nac at revision 1.",
        "Stopped, and resumed by other code, so that one training is of 2 codes: nac.",
    ]
