from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError
from bench_core.reports.pages.markers import page, placeholder, splice, stale_pages, write_sections
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import entries_of
from bench_core.reports.tables.render import render
from bench_core.store.record import record_from_json

Make = Callable[..., dict[str, Any]]

TEXT = "# Mine\n\n<!-- bench:begin digits -->\nold\n<!-- bench:end digits -->\n\nmy words\n"


def test_splice_replaces_the_content_between_the_markers_only() -> None:
    expected = "# Mine\n\n<!-- bench:begin digits -->\nnew\n<!-- bench:end digits -->\n\nmy words\n"
    assert splice(TEXT, "digits", "\nnew\n\n") == expected


def test_splicing_twice_changes_nothing_and_can_be_undone() -> None:
    once = splice(TEXT, "digits", "| a \\| b |\n\n\\1 \\g<0>")
    assert splice(once, "digits", "| a \\| b |\n\n\\1 \\g<0>") == once
    assert splice(once, "digits", "old") == TEXT


def test_an_empty_content_leaves_the_placeholder() -> None:
    assert splice(placeholder("digits"), "digits", " \n") == placeholder("digits")
    assert placeholder("digits") == "<!-- bench:begin digits -->\n<!-- bench:end digits -->\n"


def test_names_that_start_alike_are_told_apart() -> None:
    text = placeholder("digits") + placeholder("digits-full")
    assert splice(text, "digits-full", "x") == placeholder("digits") + splice(
        placeholder("digits-full"), "digits-full", "x"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing", r"bench:begin digits -->' is missing"),
        ("<!-- bench:begin digits -->", r"bench:end digits -->' is missing"),
        (TEXT + TEXT, r"bench:begin digits -->' stands there 2 times"),
        ("<!-- bench:end digits -->\n<!-- bench:begin digits -->", "stands before"),
    ],
)
def test_markers_that_are_missing_doubled_or_swapped_are_refused(text: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        splice(text, "digits", "new")


def test_content_with_its_own_markers_is_refused() -> None:
    with pytest.raises(RequestError, match="contains such a marker"):
        splice(TEXT, "digits", placeholder("digits"))


def test_a_page_holds_heading_command_and_tables(make_record: Make) -> None:
    tables = build(entries_of([record_from_json(make_record("nac", "linear", 0, 0.5))]))
    text = page("digits | full", "Held fixed: *everything*.", "bench run --board digits", render(tables, "md"))
    blocks = text.split("\n\n")
    assert blocks[:3] == [r"# digits \| full", "Held fixed: *everything*.", "    bench run --board digits"]
    assert blocks[4].startswith("| method")
    assert text.count("\n\n\n") == 0
    assert text.endswith("\n")


def test_a_page_without_description_or_records_has_no_gaps() -> None:
    assert page("digits", "", "bench run", "No records.\n") == "# digits\n\n    bench run\n\nNo records.\n"


def test_stale_pages_are_those_that_differ_with_a_diff(tmp_path: Path) -> None:
    right, wrong, missing = tmp_path / "right.md", tmp_path / "wrong.md", tmp_path / "gone.md"
    right.write_text(TEXT, encoding="utf-8")
    wrong.write_text(TEXT + placeholder("mnist"), encoding="utf-8")
    stale = stale_pages(
        {right: {"digits": "old\n"}, wrong: {"digits": "old", "mnist": "new"}, missing: {"digits": "old"}}
    )
    assert list(stale) == [wrong, missing]
    assert "\n+new\n" in stale[wrong]
    assert "old" not in stale[wrong]
    assert stale[missing] == f"{missing} does not exist\n"
    assert right.read_text(encoding="utf-8") == TEXT


def test_a_page_without_markers_is_refused_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("nothing", encoding="utf-8")
    with pytest.raises(RequestError, match=r"README\.md: the marker"):
        stale_pages({path: {"digits": "x"}})


def test_sections_are_written_where_they_differ_and_the_changed_files_are_returned(tmp_path: Path) -> None:
    old, new = tmp_path / "old.md", tmp_path / "new.md"
    old.write_text(TEXT)
    sections = {old: {"digits": "old"}, new: {"digits": "fresh"}}
    assert write_sections(sections) == [new]
    assert old.read_text() == TEXT
    assert new.read_text() == splice(placeholder("digits"), "digits", "fresh")
    assert write_sections({**sections, old: {"digits": "newer"}}) == [old]
    assert old.read_text() == splice(TEXT, "digits", "newer")


def test_markers_may_stand_beside_each_other_but_not_in_reverse() -> None:
    together = "<!-- bench:begin digits --><!-- bench:end digits -->"
    assert splice(together, "digits", "x") == "<!-- bench:begin digits -->\nx\n<!-- bench:end digits -->"
