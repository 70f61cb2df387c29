"""Pages of methods, tasks and datasets: rows of all boards, parameters, and all that plugins say is escaped."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench_core.reports.site.component_rows import (
    chosen_rows,
    names_of,
    parts_of_method,
    parts_of_task,
    placed_tables,
    spec_of,
)
from bench_core.reports.site.content import SiteContent
from bench_core.reports.site.curves import curve, interval
from bench_core.reports.site.dataset_pages import write_datasets
from bench_core.reports.site.method_pages import write_methods
from bench_core.reports.site.task_pages import write_tasks
from bench_core.reports.site.writer import SiteWriter

Records = Sequence[Mapping[str, Any]]
HOSTILE = '<script>alert("1")</script>'


@pytest.fixture
def records(make_record: Callable[..., dict[str, Any]]) -> Records:
    values = {"nac": 0.9, "simclr": 0.8, "random": 0.5}
    return [
        make_record(method, task, seed, value + seed / 1000)
        for method, value in values.items()
        for task in ("knn", "linear")
        for seed in range(3)
    ]


@pytest.fixture
def content(content_of: Callable[..., SiteContent], records: Records) -> SiteContent:
    return content_of(records)


def test_method_has_its_rows_beside_the_untrained_one(content: SiteContent) -> None:
    (part,) = parts_of_method("nac", placed_tables(content))
    assert [row.name for row in part.table.rows if row.kind != "chance"] == ["nac", "random"]
    assert [column.kind for column in part.table.columns] == ["task", "task", "rank"]
    assert part.address == "boards/made.html#q=nac"


def test_numbers_of_a_part_are_those_of_the_board(content: SiteContent) -> None:
    (part,) = parts_of_method("nac", placed_tables(content))
    (whole,) = content.boards[0].tables
    of_board = {row.name: row.cells for row in whole.rows}
    for row in part.table.rows:
        assert row.cells[0] == of_board[row.name][0]


def test_task_has_all_rows_with_a_score(content: SiteContent) -> None:
    (part,) = parts_of_task("knn", placed_tables(content))
    assert {row.name for row in part.table.rows} == {"nac", "simclr", "random", "chance"}
    assert {column.task for column in part.table.columns} == {"knn"}
    assert part.address == "boards/made.html#sort=-knn%3Atop1"


def test_components_that_only_records_know_have_pages_too(
    make_record: Callable[..., dict[str, Any]], content_of: Callable[..., SiteContent], tmp_path: Path
) -> None:
    content = content_of([make_record("gone", "lost", seed, 0.5) for seed in range(3)])
    assert "gone" in names_of("method", content, placed_tables(content))
    for write in (write_methods, write_tasks, write_datasets):
        write(SiteWriter(tmp_path), content)
    assert "not installed where this site was made" in (tmp_path / "methods" / "gone.html").read_text()
    assert "50.0" in (tmp_path / "tasks" / "lost.html").read_text()


def test_pages_of_all_plugins_are_written_without_the_manual(content: SiteContent, tmp_path: Path) -> None:
    write_methods(SiteWriter(tmp_path), content)
    page = (tmp_path / "methods" / "nac.html").read_text()
    assert "Send a binary code through noise" in page
    assert "<code>nac.flip</code>" in page
    assert "one of 0.1, 0.2, 0.3, 0.4" in page
    assert 'href="../boards/made.html#q=nac"' in page
    index = (tmp_path / "methods" / "index.html").read_text()
    assert 'href="../methods/nac.html"' in index


def test_generated_sections_of_the_manual_are_replaced_by_live_ones(
    content_of: Callable[..., SiteContent], records: Records, tmp_path: Path
) -> None:
    manual = tmp_path / "docs"
    (manual / "methods").mkdir(parents=True)
    text = "# NAC\n\nIdea, as in [simclr](simclr.md).\n\n## Our numbers\n\n"
    text += "<!-- bench:begin numbers -->\nold numbers\n<!-- bench:end numbers -->\n"
    (manual / "methods" / "nac.md").write_text(text)
    write_methods(SiteWriter(tmp_path / "site"), content_of(records, docs=manual))
    page = (tmp_path / "site" / "methods" / "nac.html").read_text()
    assert "<h1>NAC</h1>" in page
    assert "old numbers" not in page
    assert '<a href="../methods/simclr.html">simclr</a>' in page
    assert page.index('id="our-numbers"') < page.index("Made by hand")


def test_dataset_says_what_it_holds_without_its_files(content: SiteContent, tmp_path: Path) -> None:
    write_datasets(SiteWriter(tmp_path), content)
    page = (tmp_path / "datasets" / "digits.html").read_text()
    assert "CC-BY-4.0, Alpaydin and Kaynak" in page
    assert "none is stated" in (tmp_path / "datasets" / "cifar10.html").read_text()
    assert "1,257 train, 540 test" in page
    assert "1 x 8 x 8" in page
    assert 'href="../boards/made.html"' in page
    own = (tmp_path / "datasets" / "image_folder.html").read_text()
    assert "known only from its files" in own


def test_spec_is_that_of_the_board_where_cells_are_given(
    make_record: Callable[..., dict[str, Any]], content_of: Callable[..., SiteContent]
) -> None:
    small = {"id": "bench-core/digits", "revision": 1, "config": {"train_size": 100}, "digest": "sha256:0"}
    content = content_of([make_record("nac", "knn", 0, 0.9, dataset=small)])
    spec = spec_of(content.registry, "digits", content.boards[0].entries)
    assert spec is not None
    assert spec.splits["train"] == 100


def test_values_of_plugins_are_escaped(
    make_record: Callable[..., dict[str, Any]], content_of: Callable[..., SiteContent], tmp_path: Path
) -> None:
    names = {"dataset": HOSTILE, "encoder": HOSTILE, "method": HOSTILE, "task": HOSTILE}
    content = content_of([make_record("nac", "knn", seed, 0.5, names=names) for seed in range(3)], title=HOSTILE)
    site = SiteWriter(tmp_path)
    for write in (write_methods, write_tasks, write_datasets):
        write(site, content)
    for path in tmp_path.rglob("*.html"):
        scripts = re.findall(r"<script[^>]*>", path.read_text())
        assert all('src="../assets/' in script for script in scripts)
    assert "&lt;script&gt;alert" in (tmp_path / "methods" / "nac.html").read_text()


def test_same_content_gives_the_same_bytes(content: SiteContent, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_tasks(SiteWriter(tmp_path / folder), content)
    for path in (tmp_path / "a" / "tasks").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "tasks" / path.name).read_bytes()


def test_names_of_marked_rows_keep_their_commas() -> None:
    assert chosen_rows(["a,b", "50%", "c", "d"]) == "a%2Cb,50%25,c"


def test_curve_spans_its_limits() -> None:
    drawing = curve([0.0, 1.0], "best <of> 2", low=0.0, high=1.0)
    assert 'points="8.0,76.0 232.0,8.0"' in drawing
    assert 'aria-label="best &lt;of&gt; 2"' in drawing


def test_interval_is_drawn_to_scale_and_ends_at_the_edge() -> None:
    drawing = interval(1.0, 0.0, 2.0, "text", claimed=(0.0, float("inf")), scale=2.0)
    assert '<line class="range" x1="120.0" x2="232.0"' in drawing
    assert '<circle cx="176.0"' in drawing
    assert '<rect x="120.0" y="3" width="112.0"' in drawing
