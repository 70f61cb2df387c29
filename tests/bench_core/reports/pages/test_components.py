"""Pages of methods and tasks, and the indexes that link them."""

from pathlib import Path

import pytest

from bench_core.errors import RequestError
from bench_core.plugins import load_plugins
from bench_core.reports.pages.components import task_sections

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
