"""Markdown becomes HTML with links of the site, formulas and anchors, and no HTML of its own gets through."""

import pytest
from markupsafe import Markup

from bench_core.reports.site.formulas import formula
from bench_core.reports.site.prose import PageLinks, anchor, to_html

PAGES = PageLinks(
    frozenset(
        {"methods/nac.html", "methods/index.html", "tasks/knn.html", "boards/digits.html", "index.html"}
        | {"claims/index.html", "claims/nac.html", "claims/nac_moco.html"}
    )
)


def test_headings_are_lowered_and_have_an_anchor_each() -> None:
    html = to_html("# A page\n\n## Our numbers\n\n### Our `numbers`\n\n# Main", shift=1)
    assert '<h2 id="a-page">A page</h2>' in html
    assert '<h3 id="our-numbers">Our numbers</h3>' in html
    assert '<h4 id="our-numbers-1">Our <code>numbers</code></h4>' in html
    assert '<h2 id="main-1">Main</h2>' in html


def test_anchor_is_that_of_code_hosts() -> None:
    assert anchor("What `embed` gives: 2 views, one pass") == "what-embed-gives-2-views-one-pass"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "[a](javascript:alert(1))",
        "[a](data:text/html,<script>alert(1)</script>)",
        '![<script>](x.png "t")',
        "`<script>`",
        "```\n<script>\n```",
        "$\\text{<script>}$",
        "$\\href{javascript:alert(1)}{x}$",
        "$$\n\\text{<script>}\n$$",
        "| a |\n| - |\n| <script> |",
        "# <script>",
    ],
)
def test_html_in_a_text_never_gets_through(text: str) -> None:
    html = to_html(text, links=PAGES.from_file("docs/methods/nac.md", "../"))
    assert "<script" not in html
    assert "<img" not in html
    assert "href=" not in html


def test_comments_and_markers_are_left_out_and_the_text_around_them_stays() -> None:
    html = to_html("a <!-- hidden --> b\n\n<!-- bench:begin numbers -->\nold\n<!-- bench:end numbers -->\n\nc")
    assert "hidden" not in html
    assert "bench" not in html
    assert "old" in html
    assert "<p>c</p>" in html


def test_what_stands_between_markers_is_replaced_by_a_section() -> None:
    text = "before\n\n<!-- bench:begin numbers -->\nold\n\n- old\n<!-- bench:end numbers -->\n\nafter"
    html = to_html(text, sections={"numbers": Markup("<table>new</table>")})
    assert "old" not in html
    assert html.index("before") < html.index("<table>new</table>") < html.index("after")


@pytest.mark.parametrize(
    ("target", "address"),
    [
        ("nac.md", "../methods/nac.html"),
        ("nac.md#parameters", "../methods/nac.html#parameters"),
        ("README.md", "../methods/index.html"),
        ("../tasks/knn.md", "../tasks/knn.html"),
        ("../../leaderboards/digits/README.md", "../boards/digits.html"),
        ("../../leaderboards/digits", "../boards/digits.html"),
        ("../../leaderboards/README.md", "../index.html"),
        ("../../leaderboards/claims/README.md", "../claims/index.html"),
        ("../../leaderboards/claims/README.md#nac", "../claims/nac.html"),
        ("../../leaderboards/claims/README.md#nac-retrieval", "../claims/nac.html#retrieval"),
        ("../../leaderboards/claims/README.md#nac_moco-retrieval", "../claims/nac_moco.html#retrieval"),
        ("#our-numbers", "#our-numbers"),
        ("simclr.md", None),
        ("../decisions.md", None),
        ("../../plugins/bench_methods/nac.py", None),
        ("../../../outside.md", None),
        ("/etc/passwd", None),
    ],
)
def test_links_lead_to_pages_of_the_site(target: str, address: str | None) -> None:
    assert PAGES.from_file("docs/methods/nac.md", "../")(target) == address


def test_links_to_the_manual_lead_there_where_its_site_is_beside() -> None:
    beside = PageLinks(PAGES.pages, has_manual=True).from_file("docs/methods/nac.md", "../")
    assert beside("../decisions.md#lars") == "../../decisions.html#lars"
    assert beside("simclr.md") is None
    assert beside("../../plugins/bench_methods/nac.py") is None


def test_links_that_lead_nowhere_become_their_text() -> None:
    html = to_html("[the *code*](../x.py) and [paper](https://arxiv.org/abs/1) <https://a.org>")
    assert "<p>the <em>code</em> and" in html
    assert '<a href="https://arxiv.org/abs/1">paper</a>' in html
    assert '<a href="https://a.org">https://a.org</a>' in html


def test_formulas_become_mathml_in_lines_and_blocks() -> None:
    html = to_html("with $x_i < 3$ units, and\n\n$$\nL = \\sum_i a_i\n- b\n$$\n\n- one\n\n  $$ c $$")
    assert html.count("<math ") == 3
    assert html.count('class="formula"') == 2
    assert "<msub><mi>x</mi><mi>i</mi></msub><mo>&lt;</mo>" in html


def test_amounts_of_money_are_no_formulas() -> None:
    assert to_html("from $5 to $10, or $ 3 $") == "<p>from $5 to $10, or $ 3 $</p>\n"


def test_formula_that_cannot_be_converted_is_shown_as_written() -> None:
    assert formula(r"\nosuchword a<b", False) == '<code class="formula">\\nosuchword a&lt;b</code>'


def test_tables_and_code_scroll_by_themselves() -> None:
    html = to_html("| a | b |\n| - | -: |\n| 1 | 2 |\n\n```sh\nbench run\n```")
    assert '<div class="wide" role="group" aria-label="Table" tabindex="0"><table>' in html
    assert '<pre tabindex="0"><code>bench run\n</code></pre>' in html


def test_an_empty_cell_of_a_head_is_no_heading() -> None:
    html = to_html("| | a |\n| - | - |\n| b | c |")
    assert "<td></td>\n<th>a</th>" in html
