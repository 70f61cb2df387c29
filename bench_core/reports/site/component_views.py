"""Values for the templates of methods, tasks and datasets: what is known of components, and parts of tables."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from bench_core.errors import RequestError
from bench_core.planning.describe import describe_component
from bench_core.plugins import Registry
from bench_core.reports.claims.report import JudgedClaim, JudgedPaper
from bench_core.reports.pages.markers import begin_marker, placeholder
from bench_core.reports.site.component_rows import Part, PlacedTable, names_of
from bench_core.reports.site.content import SiteContent, address_name
from bench_core.reports.site.prose import PageLinks, anchor, with_code
from bench_core.reports.tables.model import Column, Table, TableCell

LOOKS = {"supported": "good", "contradicted": "bad", "not distinguishable": "plain", "not measured": "none"}
_PARAGRAPH = re.compile(r"^(Papers?|Code|Sources?|Notes?|Licen[cs]e|Shapes):\s*(.*(?:\n[ \t]+\S.*)*)", re.MULTILINE)


def described(kind: str, name: str, registry: Registry) -> list[dict[str, Any]]:
    """Return what `bench show` tells of the components of a kind and name; several have it where packages share it.

    Args:
        kind: "method", "task" or "dataset".
        name: The short name.
        registry: The plugins.
    """
    try:
        return [one for one in describe_component(name, registry) if one["kind"] == kind]
    except RequestError:  # records know it, and no plugin that is installed
        return []


def summary_of(components: Sequence[Mapping[str, Any]]) -> str:
    """Return the first sentence of a component; "" where it has none."""
    return str(components[0]["class"]).partition("\n")[0] if components else ""


def facts_of(components: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return package, version and revision of a component, or that it is not installed."""
    if not components:
        return [("Plugin", "not installed where this site was made")]
    return [("Plugin", f"{one['id']}, version {one['version']}, revision {one['revision']}") for one in components]


def source_facts(components: Sequence[Mapping[str, Any]], words: Sequence[str]) -> list[tuple[str, Markup]]:
    """Return paragraphs of a module's docstring that begin with a word: "Source: ...", "Note: ..."."""
    module = str(components[0]["module"]) if components else ""
    found = [(match[1], " ".join(match[2].split())) for match in _PARAGRAPH.finditer(module)]
    return [(word, with_code(text)) for word, text in found if word.rstrip("s") in words]


def docstring(components: Sequence[Mapping[str, Any]]) -> str:
    """Return what a class says of itself after its first sentence, as Markdown."""
    return str(components[0]["class"]).partition("\n")[2].strip() if components else ""


def parameter_groups(component: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parameters of a component, the recipe and the variants of a method."""
    name = component["name"]
    if component["parameters"]:
        yield _group(f"Parameters of {component['id']}", name, component["parameters"])
    if "recipe" in component:
        about = f"Recipe, by default ({component['recipe_source']}):"
        yield {**_group(f"Recipe of {component['id']}", f"{name}.recipe", component["recipe"]), "about": about}
    for variant in component.get("variants", ()):
        settings = ", ".join(f"{key} = {json.dumps(value)}" for key, value in variant["settings"].items())
        about = f"Variant `{name}:{variant['name']}`: {variant['help']} ({variant['source']}): {settings}"
        yield {"about": with_code(about), "rows": []}


def part_view(part: Part, *, without_task: bool = False) -> dict[str, Any]:
    """Return a part of a table.

    Args:
        part: The part.
        without_task: Whether headers leave out the task, of which all columns are.
    """
    table, best = part.table, _best_means(part.whole)
    return {
        "board": part.of.board.title,
        "title": table.title,
        "address": part.address,
        "columns": [_header(column.title, column.task if without_task else "") for column in table.columns],
        "rows": [
            {
                "name": row.name,
                "marks": row.marks,
                "href": method_address(part.of.methods.get(row.name, "")),
                "cells": [
                    {"text": _text(cell), "look": _look(cell, best.get(column))}
                    for column, cell in zip(table.columns, row.cells, strict=True)
                ],
            }
            for row in table.rows
        ],
        "notes": table.notes,
    }


def method_address(name: str) -> str:
    """Return the page of a method; "" for the chance level and for rows whose method is unknown."""
    return f"methods/{address_name(name)}.html" if name else ""


def with_own_address(names: Sequence[str]) -> list[str]:
    """Return one name for each address: names that differ in signs that addresses lack share the page of the first."""
    return list({address_name(name): name for name in reversed(names)}.values())[::-1]


def claim_view(judged: JudgedClaim, paper: JudgedPaper) -> dict[str, Any]:
    """Return a claim as a line of a list."""
    return {
        "verdict": judged.verdict.text,
        "look": LOOKS[judged.verdict.word],
        "sentence": with_code(judged.claim.claim),
        "paper": paper.paper.title,
        "address": claim_address(paper.paper.key, judged.claim.name),
    }


def claim_address(paper: str, claim: str = "") -> str:
    """Return the page of a paper, at one of its claims."""
    return f"claims/{address_name(paper)}.html" + (f"#{address_name(claim)}" if claim else "")


def page_links(content: SiteContent, tables: Iterable[PlacedTable], *, has_manual: bool) -> PageLinks:
    """Return the pages that links in Markdown of the project may lead to.

    Args:
        content: The site.
        tables: Its tables.
        has_manual: Whether the manual's site lies in the folder above.
    """
    tables = list(tables)
    pages = {"index.html", "methods/index.html", "tasks/index.html", "claims/index.html"}
    pages |= {f"methods/{address_name(name)}.html" for name in names_of("method", content, tables)}
    pages |= {f"tasks/{address_name(name)}.html" for name in names_of("task", content, tables)}
    pages |= {f"boards/{board.name}.html" for board in content.boards}
    pages |= {claim_address(paper.paper.key) for paper in content.papers}
    return PageLinks(frozenset(pages), has_manual)


def manual_page(docs: Path | None, kind: str, name: str) -> str:
    """Return the page of the manual on a component as Markdown; "" where there is none."""
    path = None if docs is None else docs / f"{kind}s" / f"{name}.md"
    known = path is not None and path.is_file() and address_name(name) == name
    return path.read_text(encoding="utf-8") if path and known else ""


def with_sections(markdown: str, titles: Mapping[str, str]) -> str:
    """Add the markers of generated sections that a page lacks at its end, each under a heading.

    Args:
        markdown: The page.
        titles: Name of the markers -> heading.
    """
    lacks = {name: title for name, title in titles.items() if begin_marker(name) not in markdown}
    return "\n\n".join([markdown, *(f"## {title}\n\n{placeholder(name)}" for name, title in lacks.items())])


def contents_of(pieces: Sequence[tuple[str, str]], titles: Iterable[str]) -> list[tuple[str, str]]:
    """Return a link to each heading of a page that is there."""
    text = "".join(html for html, _ in pieces)
    return [(f"#{anchor(title)}", title) for title in titles if f'id="{anchor(title)}"' in text]


def _group(title: str, prefix: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    shown = [
        {
            "name": f"{prefix}.{row['name']}",
            "default": "none" if row["default"] is None else json.dumps(row["default"], ensure_ascii=False),
            "meaning": with_code("; ".join(filter(None, (row["help"], row["range"])))),
            "tune": row["tune"],
            "source": with_code(row["source"]),
        }
        for row in rows
    ]
    return {"title": title, "about": "", "rows": shown}


def _header(title: str, task: str) -> str:
    return title.removeprefix(f"{task} ") if task else title


def _text(cell: TableCell) -> str:
    """Return the text of a cell with the number of its remark."""
    return f"{cell.text} [{cell.note}]".strip() if cell.note else cell.text


def _best_means(table: Table) -> dict[Column, float]:
    """Return the best mean of each column in which a cell is marked as best."""
    best = {}
    for number, column in enumerate(table.columns):
        marked = [row.cells[number].mean for row in table.rows if row.cells[number].bold]
        means = [mean for mean in marked if mean is not None]
        if means:
            best[column] = max(means) if column.higher_is_better else min(means)
    return best


def _look(cell: TableCell, best: float | None) -> str:
    """Return the classes of a cell, which are those of a board's page."""
    looks = {"best": cell.bold, "first": cell.bold and cell.mean == best, cell.state: cell.state != "done"}
    return " ".join(look for look, holds in looks.items() if holds)
