"""Pages of claims: verdicts with numbers and drawings, what is missing, links to boards and methods, escaped texts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_core.reports.claims.claim import Claim, Paper
from bench_core.reports.claims.commands import Command
from bench_core.reports.claims.evidence import BoardTables
from bench_core.reports.claims.report import JudgedPaper, judged_papers
from bench_core.reports.site.claim_pages import _claimed, write_claims
from bench_core.reports.site.content import SiteContent
from bench_core.reports.site.writer import SiteWriter

HOSTILE = '<script>alert("1")</script>'
MEASURED = Claim(
    name="better",
    claim="Its codes are `better` than SimCLR's.",
    source="abstract",
    by="paper",
    paper_scale="ImageNet",
    scale="cpu",
    board="made",
    left="nac",
    right=("simclr",),
    score="knn:top1",
    relation="higher",
    control=("random",),
)
MISSING = Claim(
    name="large", claim="It works on ImageNet.", source="Table 1", by="ours", paper_scale="ImageNet", needs="a GPU"
)


@pytest.fixture
def content(make_record: Callable[..., dict[str, Any]], content_of: Callable[..., SiteContent]) -> SiteContent:
    values = {"nac": 0.9, "simclr": 0.8, "random": 0.5}
    return content_of(
        [make_record(name, "knn", seed, value + seed / 1000) for name, value in values.items() for seed in range(3)]
    )


def judged(content: SiteContent, claims: Sequence[Claim], **changes: str) -> list[JudgedPaper]:
    parts: dict[str, Any] = {
        "key": "nac",
        "title": "NAC",
        "paper": "Park: NAC, 2021",
        "url": "https://arxiv.org/abs/1",
        **changes,
    }
    paper = Paper(claims={claim.name: claim for claim in claims}, **parts)
    read: Mapping[str, Any] = {"made": content.boards[0].entries}
    return judged_papers({paper.key: paper}, BoardTables(content.registry, read=read), None)


def written(content: SiteContent, papers: Sequence[JudgedPaper], folder: Path) -> tuple[str, str]:
    write_claims(SiteWriter(folder), replace(content, papers=papers))
    return (folder / "claims" / "index.html").read_text(), (folder / "claims" / "nac.html").read_text()


def test_verdict_stands_with_its_numbers_and_a_drawing(content: SiteContent, tmp_path: Path) -> None:
    index, page = written(content, judged(content, [MEASURED]), tmp_path)
    assert "supported at CPU size" in index
    assert "Its codes are <code>better</code> than SimCLR&#39;s." in page
    assert "nac higher than simclr in knn:top1" in page
    assert '<td class="number">90.1 %</td><td class="number">80.1 %</td>' in page
    assert '<td class="number">10.00</td>' in page
    assert 'aria-label="nac minus simclr: 10.00"' in page
    assert Command("made", "", "", ("nac", "simclr", "random"), ("knn",)).text in page


def test_claim_leads_to_its_rows_and_methods(content: SiteContent, tmp_path: Path) -> None:
    index, page = written(content, judged(content, [MEASURED]), tmp_path)
    assert 'href="../claims/nac.html#better"' in index
    assert 'id="better"' in page
    assert "../boards/made.html#sort=-knn%3Atop1&amp;show=knn%3Atop1&amp;rows=nac%2Csimclr%2Crandom" in page
    assert 'href="../methods/simclr.html"' in page


def test_what_is_missing_is_said(content: SiteContent, tmp_path: Path) -> None:
    index, page = written(content, judged(content, [MISSING]), tmp_path)
    assert "1 not measured" in index
    assert "needs a GPU" in page
    assert "ours: not a claim of the paper" in page
    assert "<svg" not in page


def test_texts_of_claim_files_are_escaped(content: SiteContent, tmp_path: Path) -> None:
    claim = replace(MISSING, claim=HOSTILE, source=HOSTILE, paper_scale=HOSTILE, needs=HOSTILE)
    papers = judged(content, [claim], title=HOSTILE, paper=HOSTILE, url="javascript:alert(1)")
    for page in written(content, papers, tmp_path):
        assert "<script>" not in page
        assert "javascript:" not in page
        assert "&lt;script&gt;" in page


def test_site_without_claims_says_so(content: SiteContent, tmp_path: Path) -> None:
    write_claims(SiteWriter(tmp_path), content)
    assert "No claims are judged here" in (tmp_path / "claims" / "index.html").read_text()


@pytest.mark.parametrize(
    ("relation", "ends"),
    [
        ("higher", (0.1, math.inf)),
        ("not_lower", (-0.1, math.inf)),
        ("lower", (-math.inf, -0.1)),
        ("not_higher", (-math.inf, 0.1)),
        ("equal", (-0.1, 0.1)),
    ],
)
def test_shaded_side_is_where_the_claim_says_the_difference_lies(relation: Any, ends: tuple[float, float]) -> None:
    claim = replace(MEASURED, relation=relation, margin=0.1, control=())
    assert _claimed(claim, 0.1) == ends
