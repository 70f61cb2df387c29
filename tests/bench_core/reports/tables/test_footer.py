"""The lines under a table on the code of its records; they compare records with one another only."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import entries_of
from bench_core.reports.tables.footer import footer, protocols
from bench_core.store.record import record_from_json

Make = Callable[..., dict[str, Any]]
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


def lines_of(*records: dict[str, Any]) -> list[str]:
    (table,) = build(entries_of(map(record_from_json, records)))
    return list(table.footer)


def test_what_all_rows_share_is_said_once_and_what_differs_with_its_rows(make_record: Make) -> None:
    nac, vae = make_record("nac", "knn", 0, 0.5), make_record("vae", "knn", 3, 0.4)
    nac["notes"], vae["notes"] = ["k capped", "of nac alone"], ["k capped"]
    lines = lines_of(nac, vae)
    assert lines[:2] == ["knn: knn: on test", "knn: k capped"]
    assert "Seeds: 0, 3." in lines
    assert not any("of nac alone" in line for line in lines)
    vae["protocol"] = "another"
    assert lines_of(nac, vae)[:2] == ["knn: knn: on test (nac)", "knn: another (vae)"]


def test_recipes_are_said_with_their_origin_and_their_rows_where_they_differ(make_record: Make) -> None:
    nac, vae = make_record("nac", "knn", 0, 0.5), make_record("vae", "knn", 0, 0.4)
    one = [line for line in lines_of(nac, vae) if line.startswith("Recipe")]
    assert one == ["Recipe: 20 epochs, batch 128."]
    nac["facts"]["recipe_from"] = "board digits"
    nac["facts"]["shortened"] = "warmup_epochs 2 -> 0.5"
    both = [line for line in lines_of(nac, vae) if line.startswith(("Recipe", "Shortened"))]
    assert both == [
        "Recipe of nac: 20 epochs, batch 128 (board digits).",
        "Recipe of vae: 20 epochs, batch 128.",
        "Shortened for nac: warmup_epochs 2 -> 0.5.",
    ]


def test_versions_name_the_commit_where_there_is_one(make_record: Make) -> None:
    record = make_record("nac", "knn", 0, 0.5)
    assert "Versions: bench 0.1.0 at abcdef01, torch 2.6.0." in lines_of(record)
    record["provenance"] |= {"commit": None, "dirty": None}
    assert "Versions: bench 0.1.0, torch 2.6.0." in lines_of(record)
    record["provenance"] |= {"commit": "abcdef0123456789", "dirty": True}
    assert "Versions: bench 0.1.0 at abcdef01 (dirty), torch 2.6.0." in lines_of(record)


def test_stale_records_are_told_where_there_are_no_others(make_record: Make) -> None:
    (entry,) = entries_of([record_from_json(make_record("nac", "knn", 0, 0.5))])
    lines = [*protocols([replace(entry, state="stale")]), *footer([replace(entry, state="stale")], [], [], [])]
    assert lines[0] == "knn (stale): knn: on test"
    assert lines[-1] == "Stale records: 1, newest of 2026-01-01."
    assert footer([entry], [], [], [])[-1].startswith("Records: 1, newest of 2026-01-01; store hash ")
    assert footer([], [], [], [])[-1] == "No records."


def test_rows_trained_by_several_ranks_are_named(make_record: Make) -> None:
    nac, vae = make_record("nac", "knn", 0, 0.5), make_record("vae", "knn", 0, 0.4)
    assert not [line for line in lines_of(nac, vae) if "ranks" in line and "Trained" in line]
    nac["provenance"]["pretrain"] = {"ranks": 2}
    assert "Trained by 2 ranks: nac; seconds of chains with other numbers do not compare." in lines_of(nac, vae)
