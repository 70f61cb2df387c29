"""The table of a board in the browser: sort, filters, columns, cells, downloads, and the view in the address."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench_core.plugins import load_plugins
from bench_core.reports.pages.published_board import read_published
from bench_core.reports.tables.build import build
from bench_core.reports.tables.model import Table
from bench_core.reports.tables.render import render

if TYPE_CHECKING:
    from playwright.sync_api import Page

BOARD = "boards/digits_dim.html"
ROOT = Path(__file__).parents[2]
Address = Callable[..., str]


def names(page: "Page") -> list[str]:
    """Return the names of the rows in their order."""
    found: list[str] = page.locator(".board tbody tr").evaluate_all("rows => rows.map(row => row.cells[0].textContent)")
    return [name.strip() for name in found]


def column(page: "Page", name: str) -> list[str]:
    """Return the texts of a column that is shown."""
    cells = page.locator(f'.board tbody td[data-column="{name}"]:not([hidden])')
    return [text.strip() for text in cells.all_text_contents()]


def head(page: "Page", name: str) -> Any:
    return page.locator(f'.board thead th[data-column="{name}"]')


def ids(page: "Page") -> list[str]:
    """Return the columns of scores that are shown."""
    found: list[str] = page.locator(".board thead th[data-column]:not([hidden])").evaluate_all(
        "heads => heads.map(head => head.dataset.column)"
    )
    return found


def download(page: "Page", form: str) -> str:
    """Return what the button of a form gives, by the road of a reader."""
    page.locator("summary", has_text="Download").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name=f"Download the view as {form}").click()
    page.keyboard.press("Escape")
    return waiting.value.path().read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def table() -> Table:
    """The board as Python builds it, with all columns."""
    published = read_published(ROOT / "leaderboards" / "digits_dim", load_plugins())
    [one] = build(published.entries, tuning=published.tuning, every=True)
    return one


def test_three_presses_sort_best_first_then_the_other_way_then_as_the_board_has_it(
    page: "Page", address: Address
) -> None:
    page.goto(address(BOARD))
    first = names(page)
    name = ids(page)[0]
    button = head(page, name).get_by_role("button")
    orders = []
    for sort in ("ascending", "descending", None):  # of distances: less is better
        button.click()
        assert head(page, name).get_attribute("aria-sort") == sort
        orders.append(names(page))
    best_is_high = page.evaluate("bench.get('board/digits_dim').tables[0].columns[0].up")
    values = page.evaluate(
        "([name, board]) => { const t = bench.get(board).tables[0]; const at = t.columns.findIndex(c => c.id === name);"
        " return Object.fromEntries(t.rows.map((row, r) => [row.label, t.cells[r][at].v ?? null])) }",
        [name, "board/digits_dim"],
    )
    assert best_is_high is False
    ranked = [values[row] for row in orders[0] if row != "chance" and values.get(row) is not None]
    assert ranked == sorted(ranked)
    assert orders[2] == first
    assert {order[-1] for order in orders} == {first[-1]} == {"chance"}
    assert "sort=" not in page.url


def test_keyboard_alone_sorts_and_opens_and_closes_a_cell(page: "Page", address: Address) -> None:
    page.goto(address(BOARD))
    name = ids(page)[0]
    head(page, name).get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head(page, name).get_attribute("aria-sort") == "ascending"
    stops = page.locator('.board tbody td[tabindex="0"]')
    assert stops.count() == 1
    stops.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert dialog.is_visible()
    assert names(page)[1] in dialog.get_by_role("heading").first.inner_text()
    dialog.get_by_role("heading", name="By seed").wait_for()
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    focused = "document.activeElement.parentElement.cells[0].textContent"
    assert page.evaluate(focused).strip() == names(page)[1]


def test_press_on_a_cell_tells_its_seeds_and_a_press_outside_closes_it(page: "Page", address: Address) -> None:
    page.goto(address(BOARD))
    page.locator(f'.board tbody td[data-column="{ids(page)[0]}"]').first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("heading", name="By seed").wait_for()
    assert "95 % t interval" in dialog.inner_text() or "an interval needs three" in dialog.inner_text()
    link = dialog.locator(".seeds a").first.get_attribute("href")
    assert link is not None
    assert "cell" in link
    page.mouse.click(5, 5)
    assert not dialog.is_visible()


def test_link_restores_a_view_and_reset_ends_it(page: "Page", address: Address, until: Callable[..., None]) -> None:
    page.goto(address(BOARD))
    whole, columns, name = names(page), ids(page), ids(page)[1]
    page.get_by_label("Method contains").fill("dim")
    head(page, name).get_by_role("button").click()
    page.locator("summary", has_text="Columns").click()
    page.locator(".controls .panel input:checked").first.uncheck()
    page.keyboard.press("Escape")
    seen = names(page), ids(page)
    assert 0 < len(seen[0]) < len(whole)
    assert seen[1] == columns[1:]
    assert "are those of the whole board" in page.get_by_role("status").inner_text()
    url = page.url
    page.goto("about:blank")
    page.goto(url)
    assert (names(page), ids(page)) == seen
    assert page.get_by_label("Method contains").input_value() == "dim"
    page.evaluate("location.hash = ''")
    until(page, f"document.querySelectorAll('.board tbody tr').length === {len(whole)}")
    page.evaluate("hash => (location.hash = hash)", "#" + url.partition("#")[2])
    until(page, f"document.querySelectorAll('.board tbody tr').length === {len(seen[0])}")
    page.get_by_role("button", name="Reset view").click()
    assert (names(page), ids(page)) == (whole, columns)
    assert "#" not in page.url


def test_link_to_a_place_of_the_page_is_no_view(page: "Page", address: Address, until: Callable[..., None]) -> None:
    page.goto(address(BOARD + "#provenance"))
    assert "rows" in page.get_by_role("status").inner_text()
    assert page.locator(".board td[tabindex='0']").count() == 1
    page.evaluate("document.querySelector('.board .wide').dispatchEvent(new Event('scroll'))")
    page.goto(address(BOARD + "#q=dim"))
    shown = names(page)
    page.locator("nav.places a[href='#provenance']").click()
    until(page, "location.hash === '#q=dim'")
    assert names(page) == shown


def test_address_of_another_board_or_by_hand_breaks_nothing(page: "Page", address: Address) -> None:
    page.goto(address(BOARD + "#sort=-none:none&show=%25,%2525&hide=gone&families=x&rows=a&kind=odd&seeds=many"))
    assert names(page) == []
    page.get_by_role("button", name="Reset view").click()
    assert "chance" in names(page)


def test_mean_rank_over_chosen_families_is_that_of_python(page: "Page", address: Address, table: Table) -> None:
    page.goto(address(BOARD))
    page.locator("summary", has_text="Families").click()
    families = {column.family for column in table.columns if column.kind == "family_rank"}
    for family in families:
        page.get_by_label(family.rpartition("/")[2], exact=True).check()
    page.keyboard.press("Escape")
    shown = dict(zip(names(page), page.locator(".board tbody tr td:nth-of-type(1)").all_text_contents(), strict=True))
    place = next(number for number, column in enumerate(table.columns) if column.kind == "rank")
    assert families
    assert shown == {row.label: row.cells[place].text for row in table.rows}
    assert "computed in this page" in page.get_by_role("status").inner_text()


def test_families_and_costs_show_and_hide_columns(page: "Page", address: Address, table: Table) -> None:
    page.goto(address(BOARD))
    before = ids(page)
    page.get_by_role("button", name="Costs").click()
    costs = [column.name for column in table.columns if column.kind == "cost"]
    assert costs
    assert set(ids(page)) == {*before, *costs}
    page.get_by_role("button", name="Costs").click()
    assert ids(page) == before


def test_files_of_the_whole_board_are_those_of_bench_table(
    page: "Page", address: Address, table: Table, until: Callable[..., None]
) -> None:
    page.goto(address(BOARD))
    page.evaluate("""() => {
        const columns = bench.get("board/digits_dim").tables[0].columns;
        const show = columns.filter((column) => !column.shown).map((column) => column.id).join(",");
        location.hash = new URLSearchParams({ show });
    }""")
    until(page, "!document.querySelector('.board thead th[data-column][hidden]')")
    ours = list(csv.DictReader(io.StringIO(download(page, "CSV"))))
    theirs = list(csv.DictReader(io.StringIO(render([table], "csv"))))
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for name in ("dataset", "encoder", "method", "row", "column", "metric", "unit", "shown", "n", "bold", "reason"):
            assert one[name] == other[name], name
        for name in ("mean", "halfwidth", "low", "high"):
            assert bool(one[name]) == bool(other[name])
            assert not one[name] or float(one[name]) == pytest.approx(float(other[name]), rel=1e-7)


def test_files_hold_what_is_shown_alone(page: "Page", address: Address) -> None:
    page.goto(address(BOARD + "#q=dim"))
    rows, columns = names(page), ids(page)
    content = json.loads(download(page, "JSON"))
    assert content["view"] == "#q=dim"
    assert not any("file:" in str(value) for value in content.values())
    assert [row["name"] for row in content["rows"]] == [row.partition(" ")[0] for row in rows]
    assert [one["id"] for one in content["columns"]] == columns
    latex = download(page, "LaTeX")
    assert latex.count(" & ") == len(columns) * (len(rows) + 1)
    assert "\\toprule" in latex
    markdown = download(page, "Markdown")
    assert sum(line.startswith("|") for line in markdown.splitlines()) == len(rows) + 2


def test_texts_of_strangers_are_harmless_in_files(page: "Page", address: Address) -> None:
    page.goto(address(BOARD))
    page.evaluate("""() => {
        const data = bench.get("board/digits_dim").tables[0];
        Object.assign(data.rows[0], { name: "=cmd|' /C calc'!A0", label: "=1+1 & $x$ \\\\input{a} |b| <i>" });
        data.cells[0][0].c = "+1\\n@SUM";
    }""")
    lines = list(csv.DictReader(io.StringIO(download(page, "CSV"))))
    assert lines[0]["method"] == "'=cmd|' /C calc'!A0"
    assert lines[0]["caveat"] == "'+1 @SUM"
    assert r"=1+1 \& \$x\$ \textbackslash{}input\{a\} \textbar{}b\textbar{} \textless{}i\textgreater{} &" in download(
        page, "LaTeX"
    )
    assert r"| =1+1 &amp; $x$ \\input{a} \|b\| &lt;i&gt; |" in download(page, "Markdown")


def test_two_chosen_rows_lead_to_their_comparison(page: "Page", address: Address) -> None:
    page.goto(address(BOARD))
    first, second = names(page)[:2]
    page.locator(".choose").nth(0).check()
    assert page.get_by_text("Compare: choose 2 or 3 rows").get_attribute("href") is None
    page.locator(".choose").nth(1).check()
    link = page.get_by_role("link", name="Compare").last.get_attribute("href")
    assert link == f"../compare/digits_dim.html#table=0&a={first}&b={second}&c="
    assert f"rows={first}" in page.url


def test_cell_without_a_number_says_why_on_hover_and_focus(page: "Page", address: Address) -> None:
    page.goto(address("boards/store.html"))
    failed = page.locator(".board td.failed:not([hidden])").first
    failed.hover()
    tip = page.get_by_role("tooltip")
    assert tip.inner_text().startswith("failed; ")
    assert "did not converge" in tip.inner_text()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.locator('.board tbody td[tabindex="0"]').focus()
    across, down = failed.evaluate(
        "cell => [[...cell.parentElement.querySelectorAll('td[data-column]:not([hidden])')].indexOf(cell),"
        " cell.parentElement.sectionRowIndex]"
    )
    for key in ["ArrowRight"] * across + ["ArrowDown"] * down:
        page.keyboard.press(key)
    assert failed.get_attribute("aria-describedby") == "tip"
    assert tip.is_visible()


def test_table_reads_without_scripts(new_page: "Callable[..., Page]", address: Address) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(address(BOARD))
    assert page.locator(".board tbody tr").count() > 2
    assert not page.locator(".controls").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_board_is_accessible(
    new_page: "Callable[..., Page]", address: Address, accessible: "Callable[[Page], None]", scheme: str
) -> None:
    page = new_page(color_scheme=scheme)
    page.goto(address(BOARD))
    accessible(page)
    page.get_by_label("Method contains").fill("dim")
    page.locator("summary", has_text="Columns").click()
    accessible(page)
    page.keyboard.press("Escape")
    page.locator(".board tbody td[data-column]:not([hidden])").first.click()
    page.get_by_role("dialog").get_by_role("heading", name="By seed").wait_for()
    accessible(page)


def test_phone_scrolls_the_table_and_never_the_page(phone: "Page", address: Address) -> None:
    phone.goto(address(BOARD))
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    assert not phone.get_by_label("Method contains").is_visible()
    phone.locator("summary", has_text="Filters").tap()
    phone.get_by_label("Method contains").fill("dim")
    phone.locator(".board tbody td[data-column]:not([hidden])").first.tap()
    assert phone.get_by_role("dialog").is_visible()


def test_switch_of_colours_is_kept(page: "Page", address: Address) -> None:
    page.goto(address(BOARD))
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    button = page.locator("button.theme")
    button.click()
    button.click()
    assert button.inner_text() == "Dark"
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    assert page.evaluate(ground) == dark
