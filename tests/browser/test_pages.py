"""Pages of methods, tasks, datasets and claims: links, verdicts, views of boards."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

Address = Callable[..., str]


class Links(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.anchors.append(str(values["id"]))
        for name in ("href", "src"):
            if tag in ("a", "link", "script", "img") and values.get(name):
                self.links.append(str(values[name]))


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {path.resolve(): Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_link_leads_to_a_file_and_to_an_anchor_that_is_there(pages: dict[Path, Links]) -> None:
    lost = []
    for path, page in pages.items():
        for link in page.links:
            file, fragment = urldefrag(link)
            if file.startswith(("https://", "http://", "data:")):
                continue
            target = (path.parent / unquote(file)).resolve() if file else path
            if not target.is_file():
                lost.append(f"{path.name} -> {link}")
            elif is_anchor(fragment, target) and unquote(fragment) not in pages[target].anchors:
                lost.append(f"{path.name} -> {link}, an anchor")
    assert not lost, "\n".join(sorted(set(lost))[:20])


def is_anchor(fragment: str, target: Path) -> bool:
    """Return whether what follows # is a place on a page: a view, or the key of a further cell, is none."""
    return bool(fragment) and "=" not in fragment and target.name != "cell.html"


def test_no_anchor_stands_twice_on_a_page(pages: dict[Path, Links]) -> None:
    twice = [path.name for path, page in pages.items() if len(set(page.anchors)) < len(page.anchors)]
    assert not twice


def test_choice_of_a_verdict_is_in_the_address_and_restored(page: "Page", address: Address) -> None:
    page.goto(address("claims/index.html"))
    everything = page.locator(".papers li:visible").count()
    button = page.get_by_role("button", name="not measured")
    button.press("Enter")
    shown = page.locator(".papers li:visible")
    assert 0 < shown.count() < everything
    assert set(page.locator(".papers li:visible .verdict").all_inner_texts()) == {"not measured"}
    assert page.get_by_role("status").inner_text().startswith(f"{shown.count()} of {everything} claims are shown")
    view = page.url
    page.goto("about:blank")
    page.goto(view)
    assert page.get_by_role("button", pressed=True).inner_text().endswith("not measured")
    page.get_by_role("button", pressed=True).click()
    assert page.locator(".papers li:visible").count() == everything


def test_link_to_a_claim_marks_it(page: "Page", address: Address, pages: dict[Path, Links]) -> None:
    of_paper = next(of for path, of in pages.items() if path.name == "dim.html" and path.parent.name == "claims")
    claim = next(link for link in of_paper.links if link.startswith("#") and link != "#main")
    page.goto(address(f"claims/dim.html{claim}"))
    assert page.locator(".claim:target").count() == 1


def test_method_leads_to_its_rows_on_the_board(page: "Page", address: Address) -> None:
    page.goto(address("methods/dim.html"))
    page.locator("h3 a[href*='digits_dim']").first.click()
    page.locator(".board[data-ready]").first.wait_for()
    names = page.locator(".board tbody tr:visible th").all_inner_texts()
    assert names
    assert all("dim" in name or "chance" in name for name in names)


def test_claims_read_without_scripts(new_page: "Callable[..., Page]", address: Address) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(address("claims/index.html"))
    assert page.locator(".papers .claims li:visible").count() > 1
    assert page.locator(".verdicts").is_visible()
