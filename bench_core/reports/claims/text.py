"""Verdicts on claims as plain text and as JSON."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import zip_longest
from math import ceil
from typing import Any

from bench_core.reports.claims.report import JudgedClaim, JudgedPaper, counts
from bench_core.reports.claims.verdict import Difference, Verdict
from bench_core.reports.tables.cells import decimals, show
from bench_core.reports.tables.escape import one_line

OURS = "(ours)"  # behind the name of a claim that neither the paper's text nor its abstract makes
_OURS = f"{OURS}: neither the text nor the abstract of the paper says so; the claim is this project's."
_NOTE = (
    "Differences are left minus right at the same seeds, with a plain 95 % interval; of several rows, the one that "
    "decides. Verdicts: one-sided t tests, 5 % after Holm over the measured claims of a paper."
)
_HEADS = ("claim", "verdict", "difference [95 %]", "seeds", "board")
_GAP = 2  # blanks between columns
_LEAST = 12  # characters of a column that is wrapped
_FACT = 12  # characters before a fact of a claim


def overview(papers: Sequence[JudgedPaper], width: int) -> str:
    """Return a table for each paper that fits into lines of `width` characters, and what its signs mean."""
    blocks = []
    for judged in papers:
        title = f"{judged.paper.title} ({judged.paper.key}): {judged.counts}"
        rows = [_row(claim) for claim in judged.claims]
        blocks.append(_wrapped(title, width) + "\n\n" + _fitted(rows, width))
    every = [claim for judged in papers for claim in judged.claims]
    blocks += [_wrapped(f"All {len(every)} claims: {counts(every)}.", width)] if len(papers) > 1 else []
    signs = [_OURS] if any(claim.claim.by == "ours" for claim in every) else []
    first = papers[0].paper.key if papers else "PAPER"
    notes = [_NOTE, *signs, f"`bench claims {first}` shows each claim of a paper in full."]
    return "\n\n".join([*blocks, "\n".join(_wrapped(note, width) for note in notes)]) + "\n"


def in_full(judged: JudgedPaper, width: int) -> str:
    """Return a paper and each of its claims: source, numbers, controls, scale and command."""
    paper = judged.paper
    head = [f"{paper.title}: {judged.counts}", paper.paper, paper.url]
    blocks = ["\n".join(_wrapped(line, width) for line in head)]
    blocks += ["\n".join(_claim_lines(claim, width)) for claim in judged.claims]
    return "\n\n".join(blocks) + "\n"


def json_text(papers: Sequence[JudgedPaper]) -> str:
    """Return papers and claims with all that is known of them; numbers have all digits."""
    return json.dumps([_paper_document(judged) for judged in papers], indent=1, ensure_ascii=False, allow_nan=False)


def difference_text(verdict: Verdict, difference: Difference) -> str:
    """Return a difference with its interval, fractions as per cent: "1.25 [0.31, 2.19]"."""
    unit, digits = verdict.unit, decimals(verdict.unit, (difference.left, difference.right))
    finer = None if digits is None else digits + 1
    mean = show(difference.mean, unit, finer)
    if difference.low is None or difference.high is None:
        return mean
    return f"{mean} [{show(difference.low, unit, finer)}, {show(difference.high, unit, finer)}]"


def about(seconds: float) -> str:
    """Return an estimate in words: "about 3 min in one process"."""
    minutes = ceil(seconds / 60)
    text = f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f"about {text} in one process"


def _row(judged: JudgedClaim) -> list[str]:
    """Return the cells of a claim in the table of its paper."""
    claim, decisive = judged.claim, judged.decisive
    name = f"{claim.name} {OURS}" if claim.by == "ours" else claim.name
    numbers = difference_text(judged.verdict, decisive) if decisive else ""
    return [name, judged.verdict.text, numbers, str(decisive.seeds) if decisive else "", claim.board]


def _fitted(rows: Sequence[Sequence[str]], width: int) -> str:
    """Draw a table; where it is too wide, the widest columns are wrapped between words, and within words at last."""
    cells = [list(_HEADS), *([one_line(cell) for cell in row] for row in rows)]
    columns = [[row[k] for row in cells] for k in range(len(_HEADS))]
    widths = [max(map(len, column)) for column in columns]
    words = [max(len(word) for cell in column for word in cell.split() or [""]) for column in columns]
    while sum(widths) + _GAP * (len(widths) - 1) > width and max(widths) > _LEAST:
        between_words = [k for k in range(len(widths)) if widths[k] > max(words[k], _LEAST)]
        widest = max(between_words or range(len(widths)), key=lambda k: widths[k])
        widths[widest] -= 1
    lines = [line for row in cells for line in _lines(row, widths)]
    head = len(_lines(cells[0], widths))
    rule = "  ".join("-" * w for w in widths)
    return "\n".join([*lines[:head], rule, *lines[head:]])


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Return the lines of one row, whose cells are wrapped to these widths."""
    wrapped = [textwrap.wrap(cell, w, break_on_hyphens=False) for cell, w in zip(row, widths, strict=True)]
    return [
        "  ".join(text.ljust(w) for text, w in zip(texts, widths, strict=True)).rstrip()
        for texts in zip_longest(*wrapped, fillvalue="")
    ]


def _claim_lines(judged: JudgedClaim, width: int) -> Iterator[str]:
    claim, verdict = judged.claim, judged.verdict
    yield _wrapped(f"{claim.name}: {verdict.text}", width)
    yield _wrapped(claim.claim, width, "  ", "  ")
    for name, text in _facts(judged):
        head = f"  {name:<{_FACT - 2}}"
        if name == "command":  # stays on one line, so that it can be copied
            yield head + one_line(text)
        else:
            yield _wrapped(text, width, head, " " * _FACT)


def _facts(judged: JudgedClaim) -> Iterator[tuple[str, str]]:
    """Yield what is said of a claim below its sentence, under a word each."""
    claim, verdict = judged.claim, judged.verdict
    yield "source", f"{claim.source} {OURS}" if claim.by == "ours" else claim.source
    yield "paper", claim.paper_scale
    if claim.is_measurable:
        pair = "".join(f", {name}" for name in (claim.dataset, claim.encoder) if name)
        size = "smaller than the paper's" if claim.scale == "cpu" else "of the paper's size"
        yield "here", f"board {claim.board}{pair}: {size}"
        yield "test", judged.relation
    for difference in verdict.differences:
        other = difference.other if isinstance(difference.other, str) else judged.number(difference.other)
        unit = "%" if verdict.unit == "fraction" else verdict.unit
        yield (
            "control" if difference.is_control else "numbers",
            f"{claim.left} - {other}: {difference_text(verdict, difference)} {unit}".rstrip()
            + f", {difference.seeds} seeds, {p_values(difference.p, difference.p_reverse)}",
        )
    if verdict.p_holm is not None and verdict.p_reverse_holm is not None:
        yield "Holm", p_values(verdict.p_holm, verdict.p_reverse_holm)
    if verdict.note:
        yield "missing" if verdict.word == "not measured" else "note", verdict.note
    if judged.left:
        time = "time unknown: no record of the board" if judged.seconds is None else about(judged.seconds)
        yield "left", f"{judged.left} {'cell' if judged.left == 1 else 'cells'}, {time}"
    for command in judged.commands:
        yield "command", command.text


def _paper_document(judged: JudgedPaper) -> dict[str, Any]:
    paper = judged.paper
    claims = [_claim_document(claim) for claim in judged.claims]
    return {"key": paper.key, "title": paper.title, "paper": paper.paper, "url": paper.url, "claims": claims}


def _claim_document(judged: JudgedClaim) -> dict[str, Any]:
    verdict = asdict(judged.verdict)
    claim = verdict.pop("claim")
    del claim["where"]
    return {
        "name": claim.pop("name"),
        "verdict": judged.verdict.text,
        **verdict,
        **claim,
        "left_cells": judged.left,
        "seconds": judged.seconds,
        "commands": [command.text for command in judged.commands],
    }


def p_values(p: float, reverse: float) -> str:
    """Return the p-values of a claim and of its reverse: "p = 0.012, of the reverse 0.99"."""
    first, second = (f"= {value:.2g}" if value >= 1e-4 else "< 1e-4" for value in (p, reverse))
    return f"p {first}, of the reverse {second.removeprefix('= ')}"


def _wrapped(text: str, width: int, first: str = "", after: str = "") -> str:
    """Break text into lines that begin with `first` and, from the second on, with `after`."""
    filled = textwrap.fill(one_line(text), width - len(first), break_on_hyphens=False)
    return first + filled.replace("\n", f"\n{after}")
