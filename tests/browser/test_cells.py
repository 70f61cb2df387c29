"""Pages of cells: the log of a chain as a curve and as numbers, the page of further cells, and unknown keys."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import ROOT, once

if TYPE_CHECKING:
    from playwright.sync_api import Page

Address = Callable[..., str]
Accessible = Callable[["Page"], None]


def build_further(folder: Path) -> None:
    """Build a site of a board with pictures, with one page of a cell and the others as data: folder/site."""
    from bench_core.reports.site import cell_pages
    from bench_core.reports.site.build import build_site
    from bench_core.reports.site.content import read_content

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_pages, "PAGES", 1)
        build_site(read_content(ROOT / "leaderboards", None, ["mnist_halves"]), folder / "site")


@pytest.fixture(scope="session")
def further_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "further_site", build_further) / "site"


def of_task(site: Path, task: str, has: str = "") -> str:
    """Return the address of the first page of a cell of a task that has a text."""
    pages = sorted((site / "cells").glob("*.html"))
    of_it = [page for page in pages if f"/ {task}, seed" in (text := page.read_text()) and has in text]
    return f"cells/{of_it[0].name}"


def keys(site: Path, task: str, has: str = "") -> list[str]:
    """Return the keys of the cells of a task that are data and have a text."""
    texts = "".join(path.read_text() for path in sorted((site / "data/cells").glob("*.js")))
    cells = re.findall(r'"([0-9a-f]{16})":"((?:(?!</article>).)*)', texts)
    return [key for key, text in cells if f"/ {task}, seed" in text and has in text]


def test_the_log_of_a_chain_is_drawn_and_its_numbers_are_a_table(
    page: "Page", site: Path, address: Address, accessible: Accessible
) -> None:
    page.goto(address(of_task(site, "knn", "data/logs/")))
    figure = page.locator("figure[data-address]")
    assert "epoch 1  loss" in figure.locator("pre").inner_text()
    figure.scroll_into_view_if_needed()
    drawing = figure.locator(".plot-drawing svg")
    drawing.wait_for()
    assert drawing.get_attribute("aria-label") == "Log: loss over epoch."
    figure.get_by_label("shown").select_option("learning_rate")
    figure.locator('svg[aria-label="Log: learning rate over epoch."]').wait_for()
    figure.get_by_text("Log: the numbers").click()
    figure.locator("table tbody tr").nth(1).wait_for()
    assert figure.locator("table tbody tr").count() == 2  # epochs
    assert figure.locator("thead th").first.inner_text() == "epoch"
    accessible(page)


def test_keyboard_alone_leads_from_a_cell_to_that_of_another_seed_and_back(
    page: "Page", site: Path, address: Address
) -> None:
    start = address(of_task(site, "knn", "data/logs/"))
    page.goto(start)
    heading = page.locator("h1").inner_text()
    page.get_by_role("link", name=re.compile("^seed ")).first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: url != start)
    assert page.locator("h1").inner_text().rpartition(",")[0] == heading.rpartition(",")[0]
    assert page.locator("h1").inner_text() != heading
    page.go_back()
    assert page.locator("h1").inner_text() == heading


def test_a_cell_without_a_page_is_shown_by_the_key_in_the_address(
    page: "Page", further_site: Path, address: Address, accessible: Accessible
) -> None:
    first, second = keys(further_site, "knn")[:2]
    page.goto(address(f"cell.html#{first}", further_site))
    page.locator(f'.cell[data-key^="{first}"]').wait_for()
    assert page.title() == f"{page.locator('h1').inner_text()} · bench"
    accessible(page)
    page.evaluate(f"location.hash = '#{second}'")
    page.locator(f'.cell[data-key^="{second}"]').wait_for()
    page.get_by_text("Skip to the content").focus()
    page.keyboard.press("Enter")  # an address inside the page
    assert page.locator(f'.cell[data-key^="{second}"]').count() == 1
    page.locator(".others a").first.click()
    page.locator(f'.cell:not([data-key^="{second}"])').wait_for()


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ("", "its key belongs behind #"),
        ("#0123456789abcdef", "No record on this page has the key 0123456789abcdef."),
        ("#<img src=x>", "No record on this page has the key"),
    ],
)
def test_an_unknown_key_is_said(page: "Page", further_site: Path, address: Address, view: str, said: str) -> None:
    page.goto(address(f"cell.html{view}", further_site))
    page.get_by_role("heading", name="No such cell").wait_for()
    assert said in page.locator(".said").inner_text()
    assert page.locator("main img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_with_pictures_is_accessible_and_fits_a_phone(
    new_page: Callable[..., Any], further_site: Path, address: Address, accessible: Accessible, scheme: str
) -> None:
    page = new_page(color_scheme=scheme, viewport={"width": 390, "height": 844})
    with_pictures = keys(further_site, "translation", "<img ")  # of the first seed alone
    page.goto(address(f"cell.html#{with_pictures[0]}", further_site))
    image = page.locator(".picture img").first
    image.scroll_into_view_if_needed()
    assert image.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    accessible(page)


def test_a_curve_of_a_record_is_drawn_from_the_table_on_its_page(
    page: "Page", site: Path, address: Address, accessible: Accessible
) -> None:
    page.goto(address(of_task(site, "distribution")))
    figure = page.locator("figure.plot:not([data-address])").first
    figure.scroll_into_view_if_needed()
    figure.locator("svg").first.wait_for()
    figure.locator("summary").click()
    assert figure.locator("tbody tr").count() > 5
    accessible(page)
