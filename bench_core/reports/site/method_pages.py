"""The pages of methods: the manual's page, parameters, rows on all boards, how they were tuned, claims."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench_core.planning.boards import Board, Picture
from bench_core.planning.tuned_text import chosen_text, metrics_text
from bench_core.reports.claims.report import JudgedClaim
from bench_core.reports.pages.reported_numbers import NOTE, ReportedNumber, load_reported, shipped_numbers
from bench_core.reports.pictures.tuning import Tuning
from bench_core.reports.site.component_rows import PlacedTable, names_of, parts_of_method, placed_tables, spec_of
from bench_core.reports.site.component_views import (
    claim_view,
    contents_of,
    described,
    docstring,
    facts_of,
    manual_page,
    method_address,
    page_links,
    parameter_groups,
    part_view,
    source_facts,
    summary_of,
    with_own_address,
    with_sections,
)
from bench_core.reports.site.content import SiteContent
from bench_core.reports.site.curves import curve
from bench_core.reports.site.prose import PageLinks, in_pieces, title_and_rest
from bench_core.reports.site.writer import SiteWriter
from bench_core.reports.tables.cells import show

_SECTIONS = {
    "parameters": "Parameters",
    "numbers": "Our numbers",
    "published": "Published numbers",
}  # generated on each page


def write_methods(site: SiteWriter, content: SiteContent) -> None:
    """Write methods/index.html and a page for each method that a plugin or a record names.

    Args:
        site: The site.
        content: What it shows.
    """
    tables = placed_tables(content)
    names = names_of("method", content, tables)
    links = page_links(content, tables, has_manual=site.has_manual)
    numbers = load_reported(shipped_numbers())
    lines = []
    for name in with_own_address(names):
        values = _method(name, content, tables, links, [number for number in numbers if number.method == name])
        site.page(method_address(name), "method.html", values)
        lines.append({**values, "name": name, "href": method_address(name)})
    site.page("methods/index.html", "methods.html", {"methods": lines})


def _method(
    name: str,
    content: SiteContent,
    tables: Sequence[PlacedTable],
    links: PageLinks,
    published: Sequence[ReportedNumber],
) -> dict[str, Any]:
    """Return the values of a method's page, of which the index shows some."""
    components = described("method", name, content.registry)
    parts = list(parts_of_method(name, tables))
    text = manual_page(content.docs, "method", name)
    links_of_page = links.from_file(f"docs/methods/{name}.md", "../")
    title, rest = title_and_rest(with_sections(text or f"# {name}\n{docstring(components)}", _SECTIONS))
    pieces = in_pieces(rest, list(_SECTIONS), links=links_of_page)
    kinds = _kinds([part.of for part in parts], content)
    claims = [
        claim_view(claim, paper) for paper in content.papers for claim in paper.claims if _is_about(claim, name, tables)
    ]
    tunings = list(_tunings(name, tables))
    contents = contents_of(pieces, _SECTIONS.values())
    contents += [("#tuning", "How it was tuned")] if tunings else []
    contents += [("#claims", "Claims about it")] if claims else []
    return {
        "title": title,
        "summary": summary_of(components),
        "facts": [
            ("Name", name),
            ("Labels", _labels(components)),
            *([("Kinds of data on the boards", ", ".join(kinds))] if kinds else []),
            *([] if text else source_facts(components, ("Paper", "Code", "Source", "Note"))),
            *facts_of(components),
        ],
        "kinds": kinds,
        "labels": _labels(components),
        "boards": list(dict.fromkeys((part.address, part.of.board.name) for part in parts)),
        "contents": contents,
        "pieces": pieces,
        "parameters": [group for component in components for group in parameter_groups(component)],
        "numbers": [part_view(part) for part in parts],
        "published": [
            _published(number) for number in sorted(published, key=lambda n: (n.dataset, n.metric, -n.value))
        ],
        "published_note": NOTE,
        "tunings": tunings,
        "claims": claims,
    }


def _labels(components: Sequence[Mapping[str, Any]]) -> str:
    """Say whether training uses labels."""
    if not components:
        return "unknown"
    if components[0]["uses_labels"]:
        return "used in training"
    return "ground-truth factors are used in training" if components[0]["uses_factors"] else "not used in training"


def _kinds(tables: Sequence[PlacedTable], content: SiteContent) -> list[str]:
    """Return the kinds of data of some tables, as their datasets say."""
    datasets = {of.dataset: of.entries for of in tables}
    specs = [spec_of(content.registry, name, entries) for name, entries in datasets.items()]
    return sorted({spec.kind for spec in specs if spec})


def _is_about(judged: JudgedClaim, name: str, tables: Sequence[PlacedTable]) -> bool:
    """Return whether the row that a claim is about is one of a method."""
    return any(of.board.name == judged.claim.board and of.methods.get(judged.claim.left) == name for of in tables)


def _published(number: ReportedNumber) -> dict[str, str]:
    percent = " %" if number.unit == "fraction" else ""
    return {
        **{field: getattr(number, field) for field in ("dataset", "setting", "metric", "source", "url", "verified")},
        "text": show(number.value, number.unit, 1 if number.unit == "fraction" else 3) + percent,
    }


def _tunings(name: str, tables: Sequence[PlacedTable]) -> Iterator[dict[str, Any]]:
    """Yield each row of a method that a board tuned: what was chosen, curves, trials."""
    boards = {of.board.name: (of.board.board, of.board.title) for of in tables if of.board.board}
    for board, title in boards.values():
        of_board = [of for of in tables if of.board.board is board]
        rows = dict.fromkeys(label for of in of_board for label, method in of.methods.items() if method == name)
        for row in rows:
            if board is not None and (tuned := board.tuned_row(row)):
                yield {
                    "title": f"{row} on {title}",
                    "text": f"Chosen: {chosen_text(tuned)}.",
                    "curves": list(_curves(row, board)),
                    "metrics": [metrics_text([metric]) for metric in tuned.metrics],
                    "trials": [
                        {
                            "best": number == tuned.best,
                            "changes": ", ".join(f"{key} = {value}" for key, value in trial.values.items())
                            or "the row as it was",
                            "scores": [_score(trial.scores.get(metric)) for metric in tuned.metrics],
                        }
                        for number, trial in enumerate(tuned.tried)
                    ],
                }


def _curves(row: str, board: Board) -> Iterator[dict[str, Any]]:
    """Yield the expected best of n trials of a row, by each metric that chose."""
    for panel in Tuning(board).read([], Picture(name="tuning", kind="tuning", methods=(row,))).panels:
        (of_row,) = panel.curves
        every = [*of_row.best, *([] if of_row.first is None else [of_row.first])]
        caption = f"{panel.title}: {of_row.best[0]:.4g} after 1 trial, {of_row.best[-1]:.4g} after {len(of_row.best)}"
        caption += "" if of_row.first is None else f"; the row as it was: {of_row.first:.4g}"
        drawing = curve(of_row.best, caption, first=of_row.first, low=min(every), high=max(every))
        yield {"drawing": drawing, "caption": caption}


def _score(score: float | None) -> str:
    return "failed" if score is None or not math.isfinite(score) else f"{score:.4g}"
