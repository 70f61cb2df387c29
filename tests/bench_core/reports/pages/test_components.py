"""Pages of methods and tasks, and the indexes that link them."""

from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError
from bench_core.plugins import Component, Registry, load_plugins
from bench_core.reports.pages.components import component_pages, method_sections, task_sections
from bench_core.reports.pages.published_board import read_published
from bench_core.reports.pages.reported_numbers import ReportedNumber

Project = Any  # of conftest.py, which tests cannot import
DOCS = Path(__file__).parents[4] / "docs"
OURS = [c for c in load_plugins().components if c.distribution == "bench-core"]


@pytest.mark.parametrize(("kind", "folder"), [("objective", "methods"), ("evaluator", "tasks")])
def test_each_component_has_a_page_that_the_index_links(kind: str, folder: str) -> None:
    names = {component.name for component in OURS if component.kind == kind}
    assert len(names) > 15
    assert {path.stem for path in (DOCS / folder).glob("*.md")} - {"README"} == names
    index = (DOCS / folder / "README.md").read_text()
    assert [name for name in sorted(names) if f"({name}.md)" not in index] == []


def test_page_of_a_task_has_its_parameters_and_says_if_there_is_no_number() -> None:
    sections = task_sections("knn", [], load_plugins())
    assert "`knn.k`" in sections["parameters"]
    assert sections["numbers"] == "No board has a number of this task yet."


def test_a_page_about_no_task_is_refused() -> None:
    with pytest.raises(RequestError, match="'simclr' is about no task"):
        task_sections("simclr", [], load_plugins())


def test_page_of_a_task_has_the_rows_of_the_boards_that_have_numbers_of_it(project: Project) -> None:
    boards = [read_published(project.folder, project.registry)]
    numbers = task_sections("spread", boards, project.registry)["numbers"]
    assert "[toys](../../leaderboards/toys/README.md)" in numbers
    assert [line.split("|")[1].strip() for line in numbers.splitlines() if line.startswith("| ")] == [
        "method", "weak", "strong",
    ]  # fmt: skip


def test_a_column_of_another_package_under_the_same_name_is_no_number_of_a_task(project: Project) -> None:
    boards = [read_published(project.folder, project.registry)]
    other = Registry([c for c in project.registry.components if c.name != "spread"])
    other.components.append(
        Component("evaluator", "spread", "elsewhere", "1.0", project.registry.get("evaluator", "spread").cls)
    )
    assert task_sections("spread", boards, other)["numbers"] == "No board has a number of this task yet."


def test_page_of_a_method_has_its_rows_with_the_columns_of_tasks_alone(project: Project) -> None:
    boards = [read_published(project.folder, project.registry)]
    numbers = method_sections("shrink", boards, [], project.registry)["numbers"]
    header = next(line for line in numbers.splitlines() if line.startswith("| "))
    assert [cell.split()[0] for cell in header.strip("|").split("|")] == ["method", "spread", "look"]
    assert "| strong" in numbers
    assert "| weak" in numbers
    idle = Component("objective", "idle", "toys", "1.0", project.registry.get("objective", "shrink").cls)
    other = Registry([*project.registry.components, idle])
    assert method_sections("idle", boards, [], other)["numbers"] == "No board has a number of this method yet."


def test_reported_numbers_of_a_method_begin_with_the_highest(registry: Registry) -> None:
    numbers = [
        ReportedNumber(
            method="shrink",
            dataset="blobs",
            setting="linear",
            metric="top1",
            value=value,
            source="a paper",
            url="https://example.org",
            verified="read in it",
        )
        for value in (0.25, 0.75)
    ]
    section = method_sections("shrink", [], numbers, registry)["published"]
    assert section.index("75") < section.index("25")


def test_the_index_of_a_folder_is_no_page_of_a_component(project: Project) -> None:
    docs = project.root / "docs"
    (docs / "tasks" / "README.md").write_text("the index")
    pages = component_pages(docs, [read_published(project.folder, project.registry)], project.registry)
    assert {path.name for path in pages} == {"look.md", "spread.md"}
