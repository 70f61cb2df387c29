"""Rows whose networks were trained elsewhere: neither ranked nor bold where they are one network."""

from collections.abc import Callable
from typing import Any

import pytest

from bench_core.reports.comparison.rows import compare
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import entries_of
from bench_core.reports.tables.model import Table
from bench_core.store.record import record_from_json
from bench_core.store.record_schema import record_error

Make = Callable[..., dict[str, Any]]
DIGEST = "0123456789abcdef" * 4
ONE = {
    "name": "resnet18.a1_in1k",
    "digest": DIGEST,
    "trained_on": "ImageNet",
    "revision": "7f2",
    "one_network": True,
}


def _records(make_record: Make, outside: dict[str, Any], seeds: range) -> list[dict[str, Any]]:
    ours = [make_record(m, "t", s, v + s / 100) for m, v in (("nac", 0.5), ("random", 0.2)) for s in range(3)]
    return ours + [make_record("resnet18", "t", seed, 0.9, outside=outside) for seed in seeds]


@pytest.fixture
def table(make_record: Make) -> Table:
    """A table of two rows of three seeds and one network, which is better than both."""
    [table] = build(entries_of(map(record_from_json, _records(make_record, ONE, range(1)))))
    return table


def test_one_network_is_shown_marked_and_neither_bold_nor_ranked(table: Table) -> None:
    assert [row.label for row in table.rows] == ["nac", "random", "resnet18 (one network)", "chance"]
    network = table.rows[2]
    assert network.kind == "network"
    assert network.cells[0].text == "90.0"  # not "(1 of 3 seeds)", as there are no further seeds of it
    assert network.cells[0].halfwidth is None
    assert not any(cell.bold or (cell.mean is not None and cell.n and cell.ranked) for cell in network.cells[:1])
    ranks = [row.cells[-6].text for row in table.rows[:3]]
    assert ranks == ["1.00", "2.00", ""]


def test_footer_says_model_digest_revision_pretraining_and_why_it_is_not_ranked(table: Table) -> None:
    told = "resnet18: weights of resnet18.a1_in1k, SHA-256 0123456789ab, revision 7f2, pretrained on ImageNet."
    assert told in table.footer
    assert "One network, which has no spread over seeds, neither bold nor ranked: resnet18." in table.footer


def test_what_is_not_known_of_the_pretraining_is_said(make_record: Make) -> None:
    unknown = {"name": "a", "digest": DIGEST, "one_network": True}
    [table] = build(entries_of([record_from_json(make_record("a", "t", 0, 0.9, outside=unknown))]))
    told = "a: weights of a, SHA-256 0123456789ab, revision not known, pretrained on data that is not known."
    assert told in table.footer


def test_files_for_each_seed_are_seeds_of_a_row_that_ranks(make_record: Make) -> None:
    records = _records(make_record, {**ONE, "one_network": False}, range(3))
    [table] = build(entries_of(map(record_from_json, records)))
    assert [row.label for row in table.rows] == ["resnet18", "nac", "random", "chance"]
    assert table.rows[0].cells[0].text == "90.0 ± 0.0"
    assert table.rows[0].cells[0].bold


def test_seeds_of_a_column_are_those_of_the_trained_rows(make_record: Make) -> None:
    records = _records(make_record, ONE, range(7, 8))[3:]  # random at seeds 0, 1, 2, and one network at seed 7
    records += [make_record(name, "t", 7, 0.9, outside=ONE) for name in ("other", "third")]
    [table] = build(entries_of(map(record_from_json, records)))
    assert (table.columns[0].seeds, table.notes) == (3, ())


def test_comparison_with_one_network_says_so(make_record: Make) -> None:
    entries = entries_of(map(record_from_json, _records(make_record, ONE, range(1))))
    notes = compare(entries, "nac", "resnet18").notes
    assert "resnet18 is one network: nothing can be said of other trainings of it" in notes


@pytest.mark.parametrize(
    "outside", [{"name": "a"}, {**ONE, "digest": "0"}, {**ONE, "one_network": "yes"}, {**ONE, "revision": 1}, "a"]
)
def test_a_fact_that_no_run_writes_is_an_error(make_record: Make, outside: Any) -> None:
    assert record_error(make_record("a", "t", 0, 0.9, outside=ONE)) is None
    assert "facts.outside" in str(record_error(make_record("a", "t", 0, 0.9, outside=outside)))
