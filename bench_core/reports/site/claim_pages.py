"""The pages of claims: all papers with their verdicts, and for each paper its claims with numbers and commands."""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from bench_core.reports.claims.claim import Claim
from bench_core.reports.claims.page import INTRO
from bench_core.reports.claims.report import JudgedClaim, JudgedPaper
from bench_core.reports.claims.text import about, difference_text, p_values
from bench_core.reports.claims.verdict import WORDS, Difference
from bench_core.reports.site.component_rows import PlacedTable, chosen_rows, placed_tables, view_of
from bench_core.reports.site.component_views import LOOKS, claim_address, claim_view, method_address, page_links
from bench_core.reports.site.content import SiteContent, address_name
from bench_core.reports.site.curves import interval
from bench_core.reports.site.prose import title_and_rest, to_html, with_code
from bench_core.reports.site.writer import SiteWriter
from bench_core.reports.tables.cells import decimals, show


def write_claims(site: SiteWriter, content: SiteContent) -> None:
    """Write claims/index.html and a page for each paper.

    Args:
        site: The site.
        content: What it shows.
    """
    tables = placed_tables(content)
    papers = {claim_address(paper.paper.key): paper for paper in reversed(content.papers)}
    every = [claim for paper in content.papers for claim in paper.claims]
    title, intro = title_and_rest(INTRO)
    links = page_links(content, tables, has_manual=site.has_manual).from_file("leaderboards/claims/README.md", "../")
    site.page(
        "claims/index.html",
        "claims.html",
        {
            "title": title,
            "intro": to_html(intro, links=links),
            "counts": _counts(every),
            "number": len(every),
            "papers": [{**_paper(paper), "href": address} for address, paper in reversed(papers.items())],
        },
    )
    for address, paper in papers.items():
        claims = [_claim(claim, tables) for claim in paper.claims]
        site.page(address, "paper.html", {**_paper(paper), "judged": claims})


def _paper(paper: JudgedPaper) -> dict[str, Any]:
    """Return what both pages say of a paper."""
    return {
        "title": paper.paper.title,
        "paper": paper.paper.paper,
        "url": paper.paper.url if paper.paper.url.startswith(("https://", "http://")) else "",
        "counts": _counts(paper.claims),
        "claims": [claim_view(claim, paper) for claim in paper.claims],
    }


def _counts(claims: Sequence[JudgedClaim]) -> list[dict[str, Any]]:
    """Return the number of claims with each verdict, in the order of the verdicts."""
    found = [claim.verdict.text for claim in claims]
    texts = [(word, text) for word in WORDS for text in (f"{word} at CPU size", word)]
    return [{"text": text, "number": found.count(text), "look": LOOKS[word]} for word, text in texts if text in found]


def _claim(judged: JudgedClaim, tables: Sequence[PlacedTable]) -> dict[str, Any]:
    """Return a claim as its section of the page of its paper shows it."""
    claim, verdict = judged.claim, judged.verdict
    of = next((of for of in tables if _has(of, claim)), None)
    missing = verdict.word == "not measured"
    return {
        "anchor": address_name(claim.name),
        "sentence": with_code(claim.claim),
        "ours": claim.by == "ours",
        "source": with_code(claim.source),
        "verdict": verdict.text,
        "look": LOOKS[verdict.word],
        "note": with_code(verdict.note),
        "missing": missing,
        "paper_scale": with_code(claim.paper_scale),
        "scale": {"cpu": "smaller than the paper's", "paper": "of the paper's size"}.get(claim.scale or "", ""),
        "board": claim.board,
        "where": ", ".join(filter(None, (claim.dataset, claim.encoder))),
        "board_href": "" if of is None else of.address + _view(of, claim),
        "relation": judged.relation,
        "rows": [
            {"name": row, "href": "" if of is None else method_address(of.methods.get(row, ""))} for row in claim.rows
        ],
        "differences": [_difference(judged, difference) for difference in verdict.differences],
        "holm": "" if verdict.p_holm is None else p_values(verdict.p_holm, verdict.p_reverse_holm or 0.0),
        "left": _left(judged),
        "commands": [command.text for command in judged.commands],
    }


def _has(of: PlacedTable, claim: Claim) -> bool:
    """Return whether a table is the one that measures a claim."""
    return (
        claim.is_measurable
        and address_name(claim.board) == of.board.name
        and claim.dataset in ("", of.table.dataset)
        and claim.encoder in ("", of.table.encoder)
        and claim.left in of.methods
    )


def _view(of: PlacedTable, claim: Claim) -> str:
    """Return the view of the board in which the claim's rows are marked, sorted by its score."""
    column = next((column for column in of.board.full_tables[of.number].columns if _is_score(column, claim)), None)
    down = "-" if column and column.higher_is_better else ""
    sort = {} if column is None else {"sort": f"{down}{claim.score}", "show": claim.score}
    return view_of(of, {**sort, "rows": chosen_rows(claim.rows)})


def _is_score(column: Any, claim: Claim) -> bool:
    return (column.task, column.metric) == (claim.task, claim.metric)


def _left(judged: JudgedClaim) -> str:
    """Say how many cells are missing, and what they cost."""
    if not judged.left:
        return ""
    time = "time unknown, as the board has no record" if judged.seconds is None else about(judged.seconds)
    return f"{judged.left} {'cell' if judged.left == 1 else 'cells'}, {time}"


def _difference(judged: JudgedClaim, difference: Difference) -> dict[str, Any]:
    """Return left minus another row, or a number, in words and drawn."""
    claim, unit = judged.claim, judged.verdict.unit
    other = difference.other if isinstance(difference.other, str) else judged.number(difference.other)
    digits = decimals(unit, (difference.left, difference.right))
    text = difference_text(judged.verdict, difference)
    return {
        "other": other,
        "control": difference.is_control,
        "left": show(difference.left, unit, digits),
        "right": show(difference.right, unit, digits),
        "unit": "%" if unit == "fraction" else unit,
        "text": text,
        "seeds": difference.seeds,
        "p": p_values(difference.p, difference.p_reverse),
        "drawing": _drawing(judged, difference, f"{claim.left} minus {other}: {text}"),
    }


def _drawing(judged: JudgedClaim, difference: Difference, label: str) -> Markup:
    """Draw a difference; all of one claim have one scale."""
    every = judged.verdict.differences
    ends = [value for one in every for value in (one.mean, one.low, one.high) if value is not None]
    scale = 1.15 * max([abs(judged.claim.margin), *map(abs, ends)])
    low = difference.mean if difference.low is None else difference.low
    high = difference.mean if difference.high is None else difference.high
    claimed = _claimed(judged.claim, 0.0 if difference.is_control else judged.claim.margin)
    return interval(difference.mean, low, high, label, claimed=claimed, scale=scale or 1.0)


def _claimed(claim: Claim, margin: float) -> tuple[float, float]:
    """Return where a claim says that the difference lies; that from a control lies on the same side of 0."""
    if claim.relation == "equal":
        return -margin, margin
    if claim.relation in ("higher", "not_lower"):
        return (margin if claim.relation == "higher" else -margin), math.inf
    return -math.inf, (-margin if claim.relation == "lower" else margin)
