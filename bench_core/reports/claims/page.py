"""The page of all claims, leaderboards/claims/README.md: generated from claim files and published records."""

from collections.abc import Sequence
from pathlib import Path

from bench_core.plugins import Registry
from bench_core.reports.claims.check import check_claim
from bench_core.reports.claims.evidence import BoardTables
from bench_core.reports.claims.files import load_papers
from bench_core.reports.claims.report import JudgedClaim, JudgedPaper, counts, judged_papers
from bench_core.reports.claims.text import about, difference_text
from bench_core.reports.pages.markers import Sections
from bench_core.reports.tables import escape

MARKER = "claims"
_HEADS = ("claim", "verdict", "numbers [95 %]", "the paper's scale, and ours", "measured by")
INTRO = """\
# What papers claim, and what our records say

Each claim is put in our own words, with the place in the paper. The verdict comes from the published records of a
board, paired by seed. It says what those records show: of that board, with its data, encoder and budget, which for
most claims are far smaller than the paper's. **It does not say that a paper is right or wrong.** "Not distinguishable"
does not mean equal: with three seeds, true differences of two standard errors are missed more often than found. Where
records are missing, the verdict is "not measured", with what it takes.

A claim marked *ours* stands neither in the paper's text nor in its abstract. Numbers are left minus right at the same
seeds, per cent where the score is a fraction, with a plain 95 % interval; a verdict comes from one-sided t tests, 5 %
after Holm over the paper's measured claims. [docs/claims.md](../../docs/claims.md) explains all of it.
`bench claims PAPER` shows every claim in full.
"""


def claims_page(papers: Sequence[JudgedPaper]) -> str:
    """Return the page as Markdown."""
    every = [claim for judged in papers for claim in judged.claims]
    total = f"**{_number(len(every), 'claim')} of {_number(len(papers), 'paper')}: {counts(every)}.**"
    index = " · ".join(f"[{escape.markdown(judged.paper.title)}](#{judged.paper.key})" for judged in papers)
    return "\n\n".join([INTRO.strip(), total, index, *map(_paper, papers)]) + "\n"


def claims_section(leaderboards: Path, registry: Registry, *, check: bool = True) -> Sections:
    """Return the content of the page in a folder of boards; nothing where the folder holds no claim files.

    Args:
        leaderboards: The folder of boards, with a folder of claim files beside them.
        registry: The plugins.
        check: Check that every claim names rows and tasks of its board.

    Raises:
        RequestError: A claim file is not as it should be.
    """
    folder = leaderboards / "claims"
    papers = load_papers([folder])
    if not papers:
        return {}
    boards = BoardTables(registry, leaderboards=leaderboards)
    for claim in [claim for paper in papers.values() for claim in paper.claims.values() if check]:
        check_claim(claim, boards)
    judged = judged_papers(papers, boards, leaderboards)
    return {folder / "README.md": {MARKER: claims_page(judged)}}


def _paper(judged: JudgedPaper) -> str:
    """Return the part of a paper: what it is, how many claims have which verdict, and a table."""
    paper = judged.paper
    head = f'<a id="{paper.key}"></a>\n\n## {escape.markdown(paper.title)}'
    source = f"[{escape.markdown(paper.paper)}]({paper.url}): {judged.counts}."
    # Not padded to columns of equal width, as the change of one cell would then change every line.
    rows = [_HEADS, [":--"] * len(_HEADS), *(_row(paper.key, claim) for claim in judged.claims)]
    return "\n\n".join([head, source, "\n".join(f"| {' | '.join(row)} |" for row in rows)])


def _row(key: str, judged: JudgedClaim) -> list[str]:
    claim, verdict = judged.claim, judged.verdict
    ours = " *ours*" if claim.by == "ours" else ""
    words, source = escape.with_code(claim.claim), escape.with_code(claim.source)
    sentence = f'<a id="{key}-{claim.name}"></a>{words} ({source}){ours}'
    told = f"**{verdict.text}**" if verdict.word in ("supported", "contradicted") else verdict.text
    time = [about(judged.seconds)] if judged.seconds is not None and verdict.word == "not measured" else []
    notes = "; ".join([*filter(None, [verdict.note]), *time])
    told += f": {escape.with_code(notes)}" if notes else ""
    return [sentence, told, _numbers(judged), _scales(judged), _commands(judged)]


def _numbers(judged: JudgedClaim) -> str:
    """Return every difference: "nac - simclr: 1.25 [0.31, 2.19], 3 seeds"."""
    verdict, lines = judged.verdict, []
    for difference in verdict.differences:
        other = difference.other if isinstance(difference.other, str) else judged.number(difference.other)
        role = "control: " if difference.is_control else ""
        numbers = f"{difference_text(verdict, difference)}, {difference.seeds} seeds"
        lines.append(escape.markdown(f"{role}{judged.claim.left} - {other}: {numbers}"))
    if lines:
        lines.insert(0, escape.markdown(judged.relation))
    return "<br>".join(lines)


def _scales(judged: JudgedClaim) -> str:
    claim = judged.claim
    parts = [claim.paper_scale]
    if claim.is_measurable:
        where = ", ".join(filter(None, [f"board {claim.board}", claim.dataset, claim.encoder]))
        parts.append(f"ours: {where}{' (CPU size)' if claim.scale == 'cpu' else ''}")
    return "<br>".join(map(escape.with_code, parts))


def _commands(judged: JudgedClaim) -> str:
    return "<br>".join(escape.code(command.text) for command in judged.commands)


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
