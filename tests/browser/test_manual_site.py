"""The manual as a site: it builds without a warning, needs nothing that lies elsewhere, and is searched in a file."""

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FETCHED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}


class Tags(HTMLParser):
    """Tags of a page: what it fetches, where its links lead, the names that links can lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag in FETCHED and FETCHED[tag] in values:
            self.fetched.append(values[FETCHED[tag]])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        self.names |= {values["id"]} if "id" in values else set()


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("manual")
    workflow = (ROOT / ".github/workflows/pages.yml").read_text()
    (line,) = re.findall(r"run: \.venv/bin/(mkdocs .*)", workflow)
    words = [sys.executable, "-m", *line.split(), "--quiet", "-d", str(out)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return out


@pytest.fixture(scope="module")
def pages(manual: Path) -> dict[Path, Tags]:
    return {path: Tags(path.read_text()) for path in sorted(manual.rglob("*.html")) if path.name != "404.html"}


def test_every_page_of_the_docs_is_a_page_of_the_site(manual: Path) -> None:
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).with_suffix(".html")
        assert (manual / name.with_name(name.name.replace("README", "index"))).is_file(), page


def test_nothing_is_fetched_from_elsewhere(manual: Path, pages: dict[Path, Tags]) -> None:
    fetched = {(path.name, address) for path, tags in pages.items() for address in tags.fetched}
    styles = [*manual.rglob("*.css"), *pages]
    fetched |= {(path.name, address) for path in styles for address in re.findall(r"url\(([^)]+)\)", path.read_text())}
    assert len(fetched) > 100
    assert [(name, address) for name, address in fetched if re.match(r"['\"]?\s*(?:https?:|//)", address)] == []


def test_links_within_the_site_lead_to_pages_and_to_boards(manual: Path, pages: dict[Path, Tags]) -> None:
    broken = []
    boards = {path.parent.name for path in (ROOT / "leaderboards").glob("*/board.toml")}
    there = {manual / "boards/index.html", manual / "boards/claims/index.html"}
    there |= {manual / f"boards/boards/{name}.html" for name in boards}
    for path, tags in pages.items():
        for link in tags.links:
            name, _, anchor = unquote(link).partition("#")
            target = Path(os.path.normpath(path.parent / name)) if name else path
            if re.match(r"[a-z]+:", link) or target in there:
                continue
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].names):
                broken.append((path.relative_to(manual).as_posix(), link))
    assert broken == []


def test_the_first_page_leads_to_the_boards(manual: Path, pages: dict[Path, Tags]) -> None:
    assert "boards/index.html" in pages[manual / "index.html"].links


def test_a_link_to_a_source_file_shows_its_path(manual: Path) -> None:
    assert "nac.py (<code>plugins/bench_methods/nac.py</code>)" in (manual / "methods/nac.html").read_text()


def test_tables_of_our_numbers_are_not_searched(manual: Path) -> None:
    index = (manual / "search/search_index.js").read_text()
    assert index.startswith("var __index = {")
    assert "methods/nac.html#what-is-minimised" in index
    assert "methods/nac.html#our-numbers" not in index


def test_formulas_are_drawn_by_the_browser_itself(manual: Path) -> None:
    formulas = [
        tag for path in manual.rglob("*.html") for tag in re.findall(r"<math.*?</math>", path.read_text(), re.S)
    ]
    assert len(formulas) > 200
    assert not [formula for formula in formulas if "\\" in formula]
    assert "<msqrt>" in (manual / "methods/nac.html").read_text()


def test_the_script_that_search_needs_in_files_is_the_one_that_npm_gave() -> None:
    (library,) = tomllib.loads((DOCS / "manual/versions.toml").read_text())["library"]
    assert hashlib.sha256((DOCS / "manual" / library["file"]).read_bytes()).hexdigest() == library["sha256"]
    assert "Copyright" in (DOCS / "manual" / library["licence_file"]).read_text()


def test_search_finds_a_page_in_a_file(manual: Path, page: "Page") -> None:
    page.goto((manual / "index.html").as_uri())
    page.keyboard.press("/")
    page.keyboard.type("mean rank")
    found = page.locator("a.md-search-result__link").first
    found.wait_for(timeout=60_000)  # the index is made in the browser; on a busy machine that takes a while
    found.click()
    page.wait_for_load_state()
    assert "mean rank" in (page.text_content("article") or "").lower()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_accessible(
    manual: Path, new_page: "Callable[..., Page]", accessible: "Callable[[Page], None]", scheme: str
) -> None:
    page = new_page(color_scheme=scheme)
    page.goto((manual / "numbers.html").as_uri())
    accessible(page)
