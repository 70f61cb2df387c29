"""The watch over pages itself: it must see what no page may do."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGE = '<!doctype html><html lang="en"><head><title>t</title></head><body><main><h1>t</h1>{}</main></body></html>'


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ('<img alt="" src="http://example.invalid/a.png">', ("request to http://example.invalid/a.png", "ERR_FAILED")),
        ('<img alt="" src="/etc/none.png">', ("request to file:///etc/none.png", "ERR_FILE_NOT_FOUND")),
        ("<script>console.error('lost')</script>", ("console: lost",)),
        ("<script>nothing()</script>", ("uncaught: nothing is not defined",)),
        ('<script src="missing.js"></script>', ("ERR_FILE_NOT_FOUND",)),
    ],
)
def test_faults_of_a_page_are_seen(
    new_page: "Callable[..., Page]", tmp_path: Path, body: str, faults: tuple[str, ...]
) -> None:
    (tmp_path / "page.html").write_text(PAGE.format(body))
    page = new_page(faults=faults)  # which fails where one is not seen
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_timeout(50)


def test_axe_finds_an_image_without_text(page: "Page", accessible: "Callable[[Page], None]", tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(PAGE.format(""))
    page.goto((tmp_path / "page.html").as_uri())
    accessible(page)
    page.evaluate("document.querySelector('main').append(new Image(8, 8))")
    with pytest.raises(AssertionError, match="image-alt"):
        accessible(page)


def test_the_small_site_has_its_scripts(address: "Callable[..., str]") -> None:
    assert address("assets/bench.js#a=b").endswith("/site/assets/bench.js#a=b")
