"""Every kind of page of a site: from a file, in the dark, on a phone, by keyboard, for axe, with hostile names."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench_core.plugins import load_plugins
from bench_core.reports.site.build import build_site
from bench_core.reports.site.content import SiteBoard, SiteContent
from bench_core.reports.tables.entries import entries_of
from bench_core.store.record import record_from_json
from tests.bench_core.reports.conftest import _record as make_record
from tests.bench_core.reports.conftest import _score as make_score
from tests.bench_core.reports.site.test_build import HOSTILE
from tests.browser.conftest import DESKTOP, PHONE, once

if TYPE_CHECKING:
    from playwright.sync_api import Page

NewPage = Callable[..., "Page"]
SCHEMES = ("light", "dark")


def kinds(site: Path) -> Iterator[Path]:
    """Yield one page of each kind: those at the top, and of each folder its index, its first page and its last."""
    yield from sorted(site.glob("*.html"))
    for folder in sorted(path for path in site.iterdir() if path.is_dir()):
        pages = sorted(path for path in folder.glob("*.html"))
        yield from dict.fromkeys([*(path for path in pages if path.name == "index.html"), *pages[:1], *pages[-1:]])


def look_through(page: "Page", path: Path) -> None:
    """Open a page and scroll to its end, so that what is drawn on demand is drawn."""
    page.goto(path.resolve().as_uri())
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(100)
    page.evaluate("window.scrollTo(0, 0)")


def test_the_small_site_has_all_kinds_of_pages(site: Path) -> None:
    assert {path.parent.name for path in kinds(site)} >= {
        "site", "boards", "claims", "compare", "methods", "tasks", "datasets", "cells",
    }  # fmt: skip


def test_pages_open_from_files_with_a_title_and_one_heading(page: "Page", site: Path) -> None:
    for path in kinds(site):
        look_through(page, path)
        assert page.title().endswith(" · bench"), path
        assert page.locator("h1").count() == 1, path
        assert page.locator("h1").inner_text().strip(), path
        assert page.locator("html").get_attribute("lang") == "en", path


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_phone_scrolls_no_page_sideways_and_colours_follow_the_system(
    new_page: NewPage, site: Path, scheme: str
) -> None:
    page = new_page(viewport=PHONE, has_touch=True, color_scheme=scheme)
    for path in kinds(site):
        look_through(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        bright = sum(int(part) for part in colour.strip("rgb()").split(",")) / 3
        assert (bright > 200) if scheme == "light" else (bright < 60), (path, colour)


@pytest.mark.parametrize(("viewport", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=SCHEMES)
def test_no_page_stands_in_anybodys_way(
    new_page: NewPage, accessible: "Callable[[Page], None]", site: Path, viewport: dict[str, int], scheme: str
) -> None:
    page = new_page(viewport=viewport, color_scheme=scheme)
    for path in kinds(site):
        look_through(page, path)
        accessible(page)


def test_a_wide_screen_has_no_page_with_anything_cut_off(new_page: NewPage, site: Path) -> None:
    page = new_page(viewport={"width": 2560, "height": 1440})
    for path in kinds(site):
        look_through(page, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 2560, path


def test_keyboard_alone_goes_through_the_header_into_the_content(page: "Page", site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the content"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0  # it shows while it has the focus
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(focused.inner_text().strip())
    assert seen[:6] == ["bench", "Boards", "Claims", "Methods", "Tasks", "Datasets"]
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_keyboard_alone_leads_from_the_index_to_a_board_and_a_cell(page: "Page", site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.locator("main a[href='boards/digits_dim.html']").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/boards/*.html")
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.board tbody td, .board tbody td *')"):
            break
    assert page.evaluate("document.activeElement.matches('.board tbody td, .board tbody td *')")
    page.keyboard.press("Enter")
    assert page.locator("dialog[open]").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def build_hostile(folder: Path) -> None:
    records = []
    for number, name in enumerate(HOSTILE):
        score = make_score(name, 0.5 + number / 100, embedding=name, caveat=name)
        for seed in range(3):
            names = {"method": name, "task": name, "encoder": name, "dataset": name if number % 2 else "digits"}
            record = make_record(f"m{number}", "knn", seed, [score], names=names, config={"note": name}, notes=[name])
            record["provenance"] |= {"device": name, "command": name, "commit": name}
            records.append(record_from_json({**record, "protocol": name}))
    board = SiteBoard("made", HOSTILE[1], "\n\n".join(HOSTILE), HOSTILE[0], entries_of(records))
    build_site(SiteContent([board], [], load_plugins(), None), folder / "site")


def test_hostile_names_are_text_in_a_real_browser(new_page: NewPage, tmp_path_factory: pytest.TempPathFactory) -> None:
    site = once(tmp_path_factory, "hostile_site", build_hostile) / "site"
    page = new_page()
    plain = dict.fromkeys([*kinds(site), *sorted((site / "cells").glob("*.html"))[::4]])
    for path in plain:
        look_through(page, path)
        for summary in page.locator("summary").all()[:6]:
            if summary.is_visible():
                summary.click()
        page.mouse.move(200, 300)
        assert page.locator("img[src='x'], [onerror], [onmouseover]").count() == 0, path
        assert page.evaluate("document.documentElement.scrollWidth") <= DESKTOP["width"], path
    page.goto((site / "boards" / "made.html").as_uri())
    assert page.get_by_text(HOSTILE[0]).count() > 0
    page.locator(".board tbody td:not(:empty)").first.click()
    assert page.locator("dialog[open]").is_visible()
