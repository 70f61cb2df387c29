"""The page that compares rows, in Chromium: its numbers, its view in the address, keyboard, phone, dark, no script."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from bench_core.reports.comparison.rows import Comparison

ROOT = Path(__file__).parents[2]
BOARD = "digits_distillation"  # six rows on four tasks, with results of test items


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a site of one board with many rows."""

    from bench_core.reports.site.build import build_site
    from bench_core.reports.site.content import read_content

    folder = tmp_path_factory.mktemp("compared") / "site"
    build_site(read_content(ROOT / "leaderboards", None, [BOARD]), folder)
    return folder


@pytest.fixture
def of_rows(address: Callable[..., str], compared: Path) -> Callable[..., str]:
    """Function: rows -> the address of their comparison."""

    def call(*rows: str) -> str:
        view = "&".join(f"{name}={row}" for name, row in zip("abc", rows, strict=False))
        return address(f"compare/{BOARD}.html#table=0&{view}", compared)

    return call


def by_command(first: str, second: str) -> "Comparison":
    from bench_core.plugins import load_plugins
    from bench_core.reports.comparison.rows import compare
    from bench_core.reports.pages.published_board import read_published

    return compare(read_published(ROOT / "leaderboards" / BOARD, load_plugins()).entries, first, second)


def first_line(page: "Page", section: int = 0) -> list[str]:
    """Return the texts of the first line over seeds of a pair."""
    row = page.locator(".compare-pair").nth(section).locator("tbody tr").first
    return [text.strip().replace("\u00a0", " ") for text in row.locator("th, td").all_inner_texts()]


def test_a_link_shows_the_numbers_of_bench_compare(page: "Page", of_rows: Callable[..., str]) -> None:
    page.goto(of_rows("mimkd", "random"))
    page.wait_for_selector(".compare-pair table")
    line, *_ = by_command("mimkd", "random").lines
    shown = first_line(page)
    assert line.means is not None
    assert shown[:3] == [line.column.title, *(f"{100 * mean:.1f}" for mean in line.means)]
    ends = [
        f"{100 * value:.2f}" for value in (line.paired.mean, line.paired.low, line.paired.high) if value is not None
    ]
    assert shown[3] == f"{ends[0]} [{ends[1]}, {ends[2]}]"
    assert shown[5] == line.verdict
    assert line.items is not None
    by_item = page.locator(".compare-pair .wide").nth(1).locator("tbody td").first.inner_text()
    assert by_item.startswith(f"{100 * line.items.mean:.2f} [")
    assert "a=mimkd&b=random" in page.url
    assert page.get_by_label("Second row").input_value() == str(
        page.get_by_label("Second row").locator("option").all_inner_texts().index("random")
    )


def test_rows_change_places_by_keyboard_and_the_address_follows(
    page: "Page", of_rows: Callable[..., str], until: Callable[..., None]
) -> None:
    page.goto(of_rows("mimkd", "random"))
    page.wait_for_selector(".compare-pair table")
    before = first_line(page)
    page.get_by_label("First row").focus()
    page.keyboard.type("random")
    until(page, "location.hash.includes('a=random&b=mimkd')")
    after = first_line(page)
    assert page.evaluate("document.activeElement.id") == "compare-a"
    assert [after[2], after[1]] == before[1:3]
    assert after[3].split()[0] == f"-{before[3].split()[0]}".replace("--", "")
    page.goto(of_rows("mimkd", "random"))
    until(page, "document.querySelector('.compare-said').textContent.includes('mimkd, random')")
    assert first_line(page) == before


def test_three_rows_have_three_pairs_each_with_its_command(page: "Page", of_rows: Callable[..., str]) -> None:
    page.goto(of_rows("mimkd", "random"))
    page.wait_for_selector(".compare-pair table")
    third = "distillation"
    options = page.get_by_label("Third row").locator("option").all_inner_texts()
    [label] = [option for option in options if option.partition(" (")[0] == third]
    page.get_by_label("Third row").select_option(label=label)
    assert page.locator(".compare-pair h2").all_inner_texts() == [
        "mimkd − random", f"mimkd − {third}", f"random − {third}",  # noqa: RUF001  # a minus sign is meant
    ]  # fmt: skip
    commands = page.locator(".compare-shown pre").inner_text().splitlines()
    assert commands[1] == f"bench compare mimkd {third} --board {BOARD} --store leaderboards/{BOARD}/records"
    assert len(commands) == 3
    assert f"c={third}" in page.url


def test_a_row_that_is_not_there_is_said(page: "Page", of_rows: Callable[..., str]) -> None:
    page.goto(of_rows("nobody", "random"))
    page.wait_for_selector(".compare-pair table")
    assert "no row nobody" in page.locator(".compare-said").inner_text()


def test_differences_of_items_are_drawn_on_demand(page: "Page", of_rows: Callable[..., str]) -> None:
    page.goto(of_rows("mimkd", "random"))
    page.wait_for_selector(".compare-pair table")
    assert page.evaluate("typeof window.Plot") == "undefined"
    page.get_by_text("How the differences are spread").click()
    page.wait_for_selector(".compare-spread svg[role=img]")
    assert (
        page.locator(".compare-spread svg[role=img]").count()
        == page.locator(".compare-pair .wide:nth-of-type(2) tbody tr").count()
    )


def test_curves_of_both_rows_are_drawn_when_they_are_scrolled_to(page: "Page", address: Callable[..., str]) -> None:
    page.goto(address("compare/digits_dim.html"))
    figures = page.locator("figure.plot")
    figures.first.wait_for()
    assert figures.locator("h3").all_inner_texts() == ["Training", "Curves"]
    figures.nth(1).scroll_into_view_if_needed()
    figures.nth(1).locator("svg[role=img]").first.wait_for()
    assert figures.nth(1).locator(".plot-name").all_inner_texts() == [
        page.locator(f"#compare-{name} option:checked").inner_text() for name in "ab"
    ]


def test_logs_of_both_rows_are_drawn_over_each_other(page: "Page", address: Callable[..., str]) -> None:
    page.goto(address("compare/store.html#a=nac&b=random"))
    training = page.locator("figure.plot").first
    training.scroll_into_view_if_needed()
    training.locator("svg[role=img]").first.wait_for()
    choices = training.locator("select")
    assert choices.nth(0).input_value() == "loss"
    assert choices.nth(1).locator("option").all_inner_texts() == ["0", "1", "2"]
    assert "nothing was trained: random" in training.inner_text()
    choices.nth(1).focus()
    page.keyboard.type("2")
    assert page.evaluate("document.activeElement.value") == "2"
    training.get_by_text("the numbers").click()
    training.locator("thead th").first.wait_for()
    assert training.locator("thead th").all_inner_texts()[:3] == ["row", "epoch", "loss"]
    assert training.locator("tbody tr").count() == 2  # epochs
    training.get_by_label("loss over epochs of nac, random, seed 2").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anybody(
    new_page: "Callable[..., Page]", of_rows: Callable[..., str], accessible: "Callable[[Page], None]", scheme: str
) -> None:
    page = new_page(color_scheme=scheme)
    page.goto(of_rows("mimkd", "random"))
    page.wait_for_selector(".compare-pair table")
    page.get_by_text("How the differences are spread").click()
    page.wait_for_selector(".compare-spread svg[role=img]")
    accessible(page)


def test_a_phone_scrolls_the_tables_not_the_page(phone: "Page", of_rows: Callable[..., str]) -> None:
    phone.goto(of_rows("mimkd", "random"))
    phone.wait_for_selector(".compare-pair table")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_without_a_script_the_page_says_how_to_get_the_same(
    new_page: "Callable[..., Page]", of_rows: Callable[..., str]
) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(of_rows("mimkd", "random"))
    assert f"--board {BOARD} --store leaderboards/{BOARD}/records" in page.locator("noscript pre").inner_text()
    assert page.locator("form").is_hidden()
