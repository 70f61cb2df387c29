"""Screen, page and JSON of judged claims, also with names that others wrote."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from bench_core.reports.claims.claim import Claim, Paper
from bench_core.reports.claims.page import claims_page
from bench_core.reports.claims.report import JudgedClaim, JudgedPaper, counts
from bench_core.reports.claims.text import about, difference_text, in_full, json_text, overview
from bench_core.reports.claims.verdict import Difference, Verdict

HOSTILE = "a | b <script>*x*</script> [y](javascript:z) `code`\x1b[31m\nnext"


def claim(**changes: Any) -> Claim:
    values: dict[str, Any] = {
        "claim": "It is better.", "source": "Table 1", "by": "paper", "paper_scale": "large", "scale": "cpu",
        "board": "mnist", "left": "nac", "right": ("simclr", "vae"), "score": "linear:top1", "relation": "higher",
        "name": "better",
    }  # fmt: skip
    return Claim(**(values | changes))


def difference(other: str, p: float, p_reverse: float, *, is_control: bool = False) -> Difference:
    return Difference(other, is_control, 3, 0.9, 0.8, 0.1, 0.05, 0.15, p, p_reverse)


def judged(word: str = "supported", differences: tuple[Difference, ...] = (), **changes: Any) -> JudgedClaim:
    verdict = Verdict(claim(**changes), word, differences=differences, unit="fraction")  # type: ignore[arg-type]
    return JudgedClaim(verdict, ())


def paper(*claims: JudgedClaim, title: str = "NAC") -> JudgedPaper:
    of_paper = Paper("nac", title, "Author, Title, 2020", "https://example.org", {})
    return JudgedPaper(of_paper, claims)


def test_the_decisive_difference_is_the_one_that_the_verdict_hangs_on() -> None:
    against = (
        difference("simclr", 0.01, 0.99), difference("vae", 0.3, 0.7), difference("cold", 0.4, 0.001, is_control=True),
    )  # fmt: skip
    decisive = [judged(word, against).decisive for word in ("supported", "contradicted", "not distinguishable")]
    assert [found.other if found else "" for found in decisive] == ["cold", "vae", "cold"]
    assert judged("not measured").decisive is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "nac higher than simclr, vae in linear:top1"),
        ({"relation": "not_lower", "margin": 0.01}, "nac not lower than simclr, vae by more than 1 % in linear:top1"),
        ({"relation": "equal", "right": 0.5, "margin": 0.02}, "nac equal to 50 % to within 2 % in linear:top1"),
    ],
)
def test_a_test_is_said_in_words(changes: dict[str, Any], words: str) -> None:
    assert judged(**changes).relation == words


def test_verdicts_are_counted_in_the_order_of_their_strength() -> None:
    words = ["not measured", "supported", "contradicted", "supported", "not distinguishable"]
    found = [judged(word) for word in words] + [judged("supported", scale="paper")]
    assert counts(found) == (
        "2 supported at CPU size, 1 supported, 1 contradicted at CPU size, 1 not distinguishable, 1 not measured"
    )


def test_a_fraction_is_shown_as_per_cent_with_one_digit_more_than_scores() -> None:
    verdict = judged().verdict
    shown = difference("vae", 0.1, 0.9)
    assert difference_text(verdict, shown) == "10.00 [5.00, 15.00]"
    assert difference_text(replace(verdict, unit="nats"), shown) == "0.10000 [0.05000, 0.15000]"
    assert difference_text(verdict, replace(shown, low=None, high=None)) == "10.00"


def test_times_are_rounded_up() -> None:
    assert [about(seconds) for seconds in (0.5, 61, 7140, 7300)] == [
        f"about {time} in one process" for time in ("1 min", "2 min", "119 min", "2 h")
    ]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_line_fits_but_for_commands(width: int) -> None:
    long = judged(differences=(difference("simclr", 0.01, 0.99),), claim="It is better. " * 20, name="a_very_" * 9)
    text = overview([paper(long, judged())], width) + in_full(paper(long, judged()), width)
    assert max(map(len, text.splitlines())) <= width


def test_what_others_wrote_cannot_break_a_page_or_a_screen() -> None:
    hostile = judged(
        differences=(difference("simclr", 0.01, 0.99),), claim=HOSTILE, source=HOSTILE, paper_scale=HOSTILE
    )
    page = claims_page([paper(hostile, title=HOSTILE)])
    rows = [line for line in page.splitlines() if line.startswith("| <a id")]
    assert len(rows) == 1
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 6  # the borders of five cells
    assert "<script>" not in page
    assert not re.search(r"(?<!\\)\]\(javascript", page)
    assert "\x1b" not in page
    assert "\x1b" not in overview([paper(hostile, title=HOSTILE)], 80) + in_full(paper(hostile, title=HOSTILE), 80)
    assert json.loads(json_text([paper(hostile)]))[0]["claims"][0]["claim"] == HOSTILE


def test_without_papers_there_is_an_empty_list() -> None:
    assert json.loads(json_text([])) == []
    assert "0 claims of 0 papers" in claims_page([])
