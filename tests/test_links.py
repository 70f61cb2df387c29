"""Links between pages: every relative link leads to a file of the repository."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])


def relative_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub(_keep_inline, page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _keep_inline(code: re.Match[str]) -> str:
    return "" if code[0].startswith("```") else code[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_of_page_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in relative_links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        is_broken = not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target))
        if is_broken:
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_link_that_shows_the_name_of_a_source_file_leads_to_a_file_of_this_name(page: Path) -> None:
    wrong = []
    for shown, target in re.findall(r"\[`?([\w./]+\.py)`?\]\(([^)\s#]+)", page.read_text(encoding="utf-8")):
        if Path(shown).name != Path(target).name:
            wrong.append(f"{shown} -> {target}")
    assert not wrong


def test_check_of_links_reads_the_pages_of_the_project() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "docs/decisions.md", "docs/methods/sela.md", "benchmarks/README.md"} <= names
    assert sum(len(list(relative_links(page))) for page in PAGES) > 100
