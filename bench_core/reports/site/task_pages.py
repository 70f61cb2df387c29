"""The pages of tasks: the manual's page, parameters, and all scores on all boards."""

from collections.abc import Sequence
from typing import Any

from bench_core.reports.site.component_rows import PlacedTable, names_of, parts_of_task, placed_tables
from bench_core.reports.site.component_views import (
    contents_of,
    described,
    docstring,
    facts_of,
    manual_page,
    page_links,
    parameter_groups,
    part_view,
    source_facts,
    summary_of,
    with_own_address,
    with_sections,
)
from bench_core.reports.site.content import SiteContent, address_name
from bench_core.reports.site.prose import PageLinks, in_pieces, title_and_rest
from bench_core.reports.site.writer import SiteWriter

_SECTIONS = {"parameters": "Parameters", "numbers": "Our numbers"}  # generated on each page


def write_tasks(site: SiteWriter, content: SiteContent) -> None:
    """Write tasks/index.html and a page for each task that a plugin or a record names.

    Args:
        site: The site.
        content: What it shows.
    """
    tables = placed_tables(content)
    names = names_of("task", content, tables)
    links = page_links(content, tables, has_manual=site.has_manual)
    lines = []
    for name in with_own_address(names):
        address = f"tasks/{address_name(name)}.html"
        values = _task(name, content, tables, links)
        site.page(address, "task.html", values)
        lines.append({**values, "name": name, "href": address})
    site.page("tasks/index.html", "tasks.html", {"tasks": lines})


def _task(name: str, content: SiteContent, tables: Sequence[PlacedTable], links: PageLinks) -> dict[str, Any]:
    """Return the values of a task's page, of which the index shows some."""
    components = described("task", name, content.registry)
    parts = list(parts_of_task(name, tables))
    text = manual_page(content.docs, "task", name)
    links_of_page = links.from_file(f"docs/tasks/{name}.md", "../")
    title, rest = title_and_rest(with_sections(text or f"# {name}\n{docstring(components)}", _SECTIONS))
    pieces = in_pieces(rest, list(_SECTIONS), links=links_of_page)
    families = sorted({column.family for part in parts for column in part.table.columns} - {""})
    return {
        "title": title,
        "summary": summary_of(components),
        "facts": [
            ("Name", name),
            *([("Family", ", ".join(families))] if families else []),
            *([] if text else source_facts(components, ("Paper", "Code", "Source", "Note"))),
            *facts_of(components),
        ],
        "family": ", ".join(families),
        "boards": list(dict.fromkeys((part.address, part.of.board.name) for part in parts)),
        "contents": contents_of(pieces, _SECTIONS.values()),
        "pieces": pieces,
        "parameters": [group for component in components for group in parameter_groups(component)],
        "numbers": [part_view(part, without_task=len({c.task for c in part.table.columns}) == 1) for part in parts],
    }
