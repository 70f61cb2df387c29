"""The pages of datasets: what they hold, where they are from, their parameters, and the boards that use them."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from bench_core.contracts import DataSpec
from bench_core.reports.site.component_rows import PlacedTable, names_of, placed_tables, spec_of
from bench_core.reports.site.component_views import (
    described,
    docstring,
    facts_of,
    parameter_groups,
    source_facts,
    summary_of,
    with_own_address,
)
from bench_core.reports.site.content import SiteContent, address_name
from bench_core.reports.site.prose import to_html, with_code
from bench_core.reports.site.writer import SiteWriter

_SOURCES = ("Paper", "Source", "Note", "Shapes")


def write_datasets(site: SiteWriter, content: SiteContent) -> None:
    """Write datasets/index.html and a page for each dataset that a plugin or a record names.

    Args:
        site: The site.
        content: What it shows.
    """
    tables = placed_tables(content)
    lines = []
    for name in with_own_address(names_of("dataset", content, tables)):
        address = f"datasets/{address_name(name)}.html"
        values = _dataset(name, content, [of for of in tables if of.dataset == name])
        site.page(address, "dataset.html", values)
        lines.append({**values, "href": address})
    site.page("datasets/index.html", "datasets.html", {"datasets": lines})


def _dataset(name: str, content: SiteContent, tables: Sequence[PlacedTable]) -> dict[str, Any]:
    """Return the values of a dataset's page, of which the index shows some."""
    components = described("dataset", name, content.registry)
    spec = spec_of(content.registry, name)
    uses = [_use(of, content) for of in tables]
    return {
        "name": name,
        "summary": summary_of(components),
        "facts": [
            *([] if spec is None else _facts(spec)),
            *([("Size", "known only from its files")] if spec is None and components else []),
            *source_facts(components, _SOURCES),
            *_licences(components),
            *facts_of(components),
        ],
        "text": to_html(docstring(components), shift=1),
        "kind": spec.kind if spec else "",
        "size": _size(spec) if spec else "",
        "classes": _classes(spec) if spec else "",
        "parameters": [group for component in components for group in parameter_groups(component)],
        "uses": uses,
        "boards": list(dict.fromkeys((of.address, of.board.name) for of in tables)),
    }


def _licences(components: Sequence[Mapping[str, Any]]) -> list[tuple[str, Markup]]:
    """Return what the classes of a dataset state as the licence of its items, or that they state none."""
    stated = list(dict.fromkeys(one["licence"] for one in components if one["licence"]))
    return [("Licence", with_code(text)) for text in stated or ["none is stated" for _ in components[:1]]]


def _use(of: PlacedTable, content: SiteContent) -> dict[str, Any]:
    """Return a board that uses a dataset, with the sizes that it has there."""
    spec = spec_of(content.registry, of.dataset, of.entries)
    done = sum(entry.state == "done" for entry in of.entries)
    return {
        "href": of.address,
        "title": of.board.title,
        "table": of.table.title,
        "size": _size(spec) if spec else "",
        "rows": len(of.methods),
        "tasks": ", ".join(of.tasks),
        "cells": f"{done:,} of {len(of.entries):,}",
    }


def _facts(spec: DataSpec) -> list[tuple[str, str]]:
    """Return what a dataset says of itself, with its default parameters."""
    facts = [("Kind", spec.kind), ("Items", _size(spec))]
    if spec.shape:
        facts.append(("Shape of an item", " x ".join(map(str, spec.shape))))
    if classes := _classes(spec):
        facts.append(("Classes", classes))
    if spec.factors:
        facts.append(("Known factors", ", ".join(f"{name} ({number} values)" for name, number in spec.factors.items())))
    if spec.modalities:
        facts.append(("Modalities", ", ".join(f"{name} ({part.kind})" for name, part in spec.modalities.items())))
    if spec.folds:
        facts.append(("Folds", f"{spec.folds}, one of which is tested at a time"))
    if spec.transductive:
        facts.append(("Transductive", "training reads the items that are tested, without their labels"))
    return facts


def _size(spec: DataSpec) -> str:
    return ", ".join(f"{number:,} {split}" for split, number in spec.splits.items())


def _classes(spec: DataSpec) -> str:
    if spec.num_labels:
        return f"{spec.num_labels} labels, several an item"
    return str(spec.num_classes) if spec.num_classes else ""
