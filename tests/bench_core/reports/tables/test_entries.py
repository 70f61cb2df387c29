import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import Entry, entries_of, with_distinct_names
from bench_core.store.record import record_from_json

Make = Callable[..., dict[str, Any]]


def entries_from(records: Iterable[dict[str, Any]]) -> list[Entry]:
    """Return the entries of records that are given as JSON objects."""
    return entries_of(map(record_from_json, records))


def labels(entries: list[Entry], axis: str) -> set[str]:
    return {entry.names[axis] for entry in entries}


def test_entries_do_not_depend_on_the_order_of_the_records(make_record: Make) -> None:
    records = [make_record(method, task, seed, 0.5) for method in "ba" for task in ("knn", "linear") for seed in (1, 0)]
    entries = entries_from(records)
    assert [(e.names["method"], e.names["task"], e.seed) for e in entries[:3]] == [
        ("a", "knn", 0),
        ("a", "knn", 1),
        ("a", "linear", 0),
    ]
    random.Random(0).shuffle(records)
    assert entries_from(records) == entries


def test_records_that_differ_by_their_seed_alone_keep_their_name(make_record: Make) -> None:
    entries = entries_of(
        map(record_from_json, [make_record("nac", "linear", seed, 0.5, config={"flip": 0.1}) for seed in range(3)])
    )
    assert labels(entries, "method") == {"nac"}
    assert [entry.state for entry in entries] == ["done"] * 3


def test_one_name_for_two_parameters_becomes_two_rows(make_record: Make) -> None:
    entries = entries_from(
        make_record("nac", "linear", seed, 0.5, config={"flip": flip, "bits": 64})
        for flip in (0.1, 0.3)
        for seed in (0, 1)
    )
    assert labels(entries, "method") == {"nac (flip=0.1)", "nac (flip=0.3)"}


def test_recipe_revision_digest_and_missing_parameters_are_told_apart(make_record: Make) -> None:
    long_run = make_record("nac", "linear", 0, 0.5)
    long_run["doc"]["embed"]["pretrain"]["recipe"]["epochs"] = 200
    long_run["key"] = "long"
    both = [make_record("nac", "linear", 0, 0.5), long_run]
    assert labels(entries_from(both), "method") == {
        "nac (recipe.epochs=20)",
        "nac (recipe.epochs=200)",
    }

    both = [make_record("nac", "linear", 0, 0.5), make_record("nac", "linear", 0, 0.5, task_revision=2)]
    assert labels(entries_from(both), "task") == {"linear (revision=1)", "linear (revision=2)"}
    assert labels(entries_from(both), "method") == {"nac"}

    other = make_record("nac", "linear", 0, 0.5, dataset={"digest": "sha256:ffff0000ffff"})
    both = [make_record("nac", "linear", 0, 0.5), other]
    assert labels(entries_from(both), "dataset") == {
        "digits (digest=01234567..)",
        "digits (digest=ffff0000..)",
    }

    both = [make_record("nac", "linear", 0, 0.5), make_record("nac", "linear", 0, 0.5, config={"flip": 0.1})]
    assert labels(entries_from(both), "method") == {"nac (flip=unset)", "nac (flip=0.1)"}


def test_values_that_look_alike_are_told_apart_by_a_hash(make_record: Make) -> None:
    configs: list[dict[str, Any]] = [{"p": "x" * 40 + "a"}, {"p": "x" * 40 + "b"}]
    names = labels(entries_from(make_record("m", "t", 0, 0.5, config=c) for c in configs), "method")
    assert len(names) == 2
    assert all(" #" in label for label in names)
    names = labels(
        entries_from(make_record("m", "t", 0, 0.5, config=c) for c in [{"p": 1}, {"p": "1"}]),
        "method",
    )
    assert len(names) == 2


def test_a_name_that_looks_like_a_suffix_shares_no_row(make_record: Make) -> None:
    records = [make_record("nac", "t", 0, 0.5, config={"flip": flip}) for flip in (0.1, 0.3)]
    records.append(make_record("nac (flip=0.1)", "t", 0, 0.5))
    assert len(labels(entries_from(records), "method")) == 3


def test_the_same_name_in_two_tables_needs_no_suffix(make_record: Make) -> None:
    records = [
        make_record("nac", "linear", 0, 0.5, config={"flip": flip}, names={"dataset": name})
        for name, flip in (("digits", 0.1), ("mnist", 0.3))
    ]
    assert labels(entries_from(records), "method") == {"nac"}


def test_same_parameters_under_two_names_are_two_rows(make_record: Make) -> None:
    records = [
        make_record("nac", "t", 0, 0.5, config={"flip": flip}, names={"method": name})
        for name, flip in (("nac", 0.1), ("nac_strong", 0.3))
    ]
    assert labels(entries_from(records), "method") == {"nac", "nac_strong"}


def test_making_names_distinct_twice_changes_nothing(make_record: Make) -> None:
    records = [make_record("nac", "t", s, 0.5, config={"flip": flip}) for flip in (0.1, 0.3) for s in (0, 1)]
    once = entries_from(records)
    assert with_distinct_names(once) == once


def test_an_entry_without_a_document_keeps_its_name(make_record: Make) -> None:
    names = {"dataset": "digits", "encoder": "convnet", "method": "nac", "task": "t"}
    records = [make_record("nac", "t", 0, 0.5, config={"flip": flip}) for flip in (0.1, 0.3)]
    entries = with_distinct_names([*entries_from(records), Entry(names, 0, "missing")])
    assert labels(entries, "method") == {"nac (flip=0.1)", "nac (flip=0.3)", "nac"}


def test_the_same_key_counts_once(make_record: Make) -> None:
    record = make_record("nac", "linear", 0, 0.5)
    assert len(entries_from([record, {**record, "scores": []}])) == 1


def test_only_attempts_without_a_record_are_failures_and_the_last_one_counts(make_record: Make) -> None:
    done, other = make_record("nac", "linear", 0, 0.5), make_record("nac", "linear", 1, 0.5)

    def attempt(record: dict[str, Any], kind: str | None, error: str) -> dict[str, Any]:
        return {"key": record["key"], "doc": record["doc"], "names": record["names"], "kind": kind, "error": error}

    entries = entries_of(
        map(record_from_json, [done]),
        [
            attempt(done, "oom", "first try"),
            attempt(other, "oom", "too large"),
            attempt(other, "nan", "loss at step 3"),
            attempt(make_record("nac", "linear", 2, 0.5), None, "still running"),
        ],
    )
    assert [(e.seed, e.state, e.reason) for e in entries] == [(0, "done", ""), (1, "failed", "nan: loss at step 3")]


def test_a_failure_without_a_document_names_its_seed() -> None:
    names = {"dataset": "d", "encoder": "e", "method": "m", "task": "t"}
    [entry] = entries_of([], [{"key": "k", "names": names, "seed": 4, "kind": "error", "error": "boom"}])
    assert (entry.seed, entry.reason, entry.document) == (4, "error: boom", None)


def test_no_records_give_no_entries() -> None:
    assert entries_of([]) == []


def tables_of(records: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return (data, encoder, row, column, text) of every cell with a number in a task column, of all tables."""
    return [
        (table.dataset, table.encoder, row.name, column.name, cell.text)
        for table in build(entries_from(records))
        for row in table.rows
        for column, cell in zip(table.columns, row.cells, strict=True)
        if row.kind == "method" and column.kind == "task" and cell.text
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("protocol", 2),
        ("task.revision", 2),
        ("task.config.k", 20),
        ("others.svhn.digest", "sha256:ff"),
        ("embed.protocol", 2),
        ("embed.pretrain.protocol", 2),
        ("embed.pretrain.dataset.digest", "sha256:ff"),
        ("embed.pretrain.dataset.revision", 2),
        ("embed.pretrain.encoder.revision", 2),
        ("embed.pretrain.method.revision", 2),
        ("embed.pretrain.method.id", "elsewhere/nac"),
        ("embed.pretrain.recipe.epochs", 21),
        ("embed.pretrain.precision", "bf16"),
        ("embed.pretrain.init.sha256", "ff"),
        ("embed.pretrain.added_later", "anything"),
    ],
)
def test_records_that_differ_by_more_than_their_seed_never_share_a_cell(
    make_record: Make, path: str, value: object
) -> None:
    records = [make_record("nac", "linear", seed, score) for seed, score in enumerate([0.1, 0.3, 0.9, 0.5])]
    *parents, last = path.split(".")
    for record in records[2:]:
        parent = record["doc"]
        for name in parents:
            parent = parent.setdefault(name, {})
        parent[last] = value
        record["key"] += "-other"
    cells = tables_of(records)
    assert len({cell[:-1] for cell in cells}) == 2
    assert {cell[-1].split(" ")[0] for cell in cells} == {"20.0", "70.0"}  # means of two seeds each, of their own kind


def test_records_that_differ_by_their_seed_share_a_cell(make_record: Make) -> None:
    cells = tables_of([make_record("nac", "linear", seed, score) for seed, score in enumerate([0.1, 0.3, 0.9, 0.5])])
    assert [cell[-1].split(" ")[0] for cell in cells] == ["45.0"]
