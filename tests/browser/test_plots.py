"""Plots of a board's page: the library comes on demand, every plot draws, numbers stand beside it as text."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

Address = Callable[..., str]
NewPage = Callable[..., "Page"]

BOARD = "boards/digits_dim.html"
LIBRARY = ("d3.min.js", "plot.min.js")
DRAWN = ".plot-drawing svg, .plot-drawing img"
DRAW_ALL = """async () => {
  const figures = [...document.querySelectorAll("figure.plot")];
  for (const figure of figures) {
    const details = figure.querySelector(".plot-numbers");
    details.open = true;
    figure.querySelector(".plot-draw").click();
  }
  const complete = (figure) => figure.querySelector(".plot-drawing svg, .plot-drawing img, .plot-failed")
    && figure.querySelector(".plot-numbers td");
  for (let k = 0; k < 200 && !figures.every(complete); k += 1) await new Promise((done) => setTimeout(done, 50));
  return figures.filter((one) => !complete(one) || one.querySelector(".plot-failed")).map((one) => one.id);
}"""


def figure(page: "Page", kind: str) -> "Locator":
    return page.locator(f"figure[data-plot={kind}]")


def test_library_is_not_asked_for_before_a_plot_is_scrolled_to(new_page: NewPage, address: Address) -> None:
    page = new_page(viewport={"width": 800, "height": 200})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page.goto(address(BOARD))
    page.wait_for_load_state("networkidle")
    assert not set(LIBRARY) & set(asked)
    assert "seeds.js" not in asked
    figure(page, "seeds").scroll_into_view_if_needed()
    drawing = figure(page, "seeds").locator(".plot-drawing svg").first
    drawing.wait_for()
    assert set(LIBRARY) <= set(asked)
    assert drawing.get_attribute("role") == "img"
    assert "seed of" in (drawing.get_attribute("aria-label") or "")


def test_numbers_open_by_keyboard_and_need_no_plot_library(new_page: NewPage, address: Address) -> None:
    page = new_page(viewport={"width": 800, "height": 100})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page.goto(address(BOARD))
    figure(page, "seeds").locator("summary").evaluate("(summary) => summary.focus({preventScroll: true})")
    page.keyboard.press("Enter")
    table = figure(page, "seeds").locator(".plot-numbers table")
    table.wait_for()
    rows = page.evaluate("bench.get('plot/digits_dim/seeds').views[0].rows")
    cells = table.locator("tbody tr").first.locator("th, td").all_inner_texts()
    assert cells[0] == rows[0]["name"]
    assert float(cells[1]) == rows[0]["mean"]


def test_choice_of_a_score_draws_it_and_changes_the_numbers(page: "Page", address: Address) -> None:
    page.goto(address(BOARD))
    place = figure(page, "seeds")
    place.locator(".plot-draw").evaluate("(button) => button.click()")
    place.locator(DRAWN).first.wait_for()
    place.locator("summary").click()
    select = place.locator("select:visible").last
    name = select.locator("option").last.inner_text()
    assert name not in (place.locator("svg").first.get_attribute("aria-label") or "")
    select.select_option(name)
    place.locator(f'svg[aria-label^="{name}"]').wait_for()
    assert f"mean of {name}" in place.locator("thead").inner_text()


def test_drawing_follows_the_width_of_the_window(page: "Page", address: Address, until: Callable[..., None]) -> None:
    page.goto(address(BOARD))
    assert page.evaluate(DRAW_ALL) == []
    wide = figure(page, "seeds").locator(".plot-drawing svg").first.get_attribute("width")
    page.set_viewport_size({"width": 390, "height": 844})
    until(
        page,
        "(wide) => document.querySelector('[data-plot=seeds] .plot-drawing svg').getAttribute('width') !== wide",
        wide,
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_drawn_plots_are_accessible(
    new_page: NewPage, address: Address, accessible: Callable[["Page"], None], scheme: str
) -> None:
    page = new_page(color_scheme=scheme)
    page.goto(address(BOARD))
    assert page.evaluate(DRAW_ALL) == []
    accessible(page)


def test_names_of_rows_are_text_and_no_html(page: "Page", address: Address) -> None:
    page.goto(address(BOARD))
    hostile = "<img src=x onerror=alert(1)>"
    inside = page.evaluate(
        """async (name) => {
          const place = document.createElement("div");
          document.querySelector("main").append(place);
          const series = [1, 2, 3, 4, 5, 6, 7, 8].map((k) => ({ name: `${name}${k}`, x: [1, 2], y: [k, 2 * k] }));
          await bench.plot(place, { shape: "lines", label: name, x: name, y: name, series: series.slice(0, 2) });
          const together = place.querySelectorAll("img").length + place.querySelectorAll("svg").length;
          await bench.plot(place, { shape: "lines", label: name, x: name, y: name, series });
          return [together, place.querySelectorAll("img").length, place.querySelectorAll("svg").length];
        }""",
        hostile,
    )
    assert inside == [1, 0, 8]


def test_many_rows_are_drawn_in_parts(page: "Page", address: Address) -> None:
    page.goto(address(BOARD))
    drawn = page.evaluate(
        """async () => {
          const place = document.createElement("div");
          document.querySelector("main").append(place);
          const names = Array.from({ length: 100 }, (_, k) => `row ${k}`);
          const series = names.slice(0, 30).map((name, k) => ({ name, x: [1, 2], y: [k, 2 * k] }));
          await bench.plot(place, { shape: "lines", label: "curves", x: "x", y: "y", series });
          const first = place.querySelectorAll("svg").length;
          place.querySelector("button").click();
          const all = [place.querySelectorAll("svg").length, place.querySelectorAll("button").length];
          const rows = names.map((name, k) => ({ name, rank: k + 1, groups: "" }));
          await bench.plot(place, { shape: "ranks", label: "ranks", x: "mean rank", rows, critical: null });
          return [first, ...all, place.innerText.includes("the best 80 of 100 rows")];
        }"""
    )
    assert drawn == [24, 30, 0, True]


def test_items_of_embeddings_are_seen_by_pointer_and_by_keyboard(
    page: "Page", address: Address, repository_site: Path, accessible: Callable[["Page"], None]
) -> None:
    page.goto(address("boards/sprites.html", repository_site))
    place = figure(page, "projection")
    place.locator(".plot-draw").evaluate("(button) => button.click()")
    place.locator(DRAWN).first.wait_for()
    chosen, ring = place.get_by_role("img", name="Image of item"), place.locator(".plot-item-ring")
    items = page.evaluate("bench.get('plot/sprites/projection').shared.items")
    sheet = page.evaluate(
        "(address) => new Promise((done) => Object.assign(new Image(), "
        "{ onload() { done([this.width, this.height]); }, src: document.body.dataset.root + address }))",
        items["address"],
    )
    assert sheet == [items["side"] * items["across"], items["side"] * items["down"]]

    slider = place.get_by_role("slider", name="Item")
    slider.focus()
    page.keyboard.press("End")
    said = place.locator(".plot-item-text").inner_text()
    assert said.endswith("of the test split, class 2")
    assert chosen.get_attribute("aria-label") == f"Image of {said}"
    assert slider.get_attribute("aria-valuetext") == said
    assert ring.count() == place.locator(".plot-panel").count()
    before = ring.last.get_attribute("cx")

    svg = place.locator(".plot-panel svg").first
    svg.scroll_into_view_if_needed()
    svg.hover(position={"x": 60, "y": 60})
    place.locator(".plot-item-near:visible").wait_for()
    assert chosen.get_attribute("aria-label") != f"Image of {said}"
    assert ring.last.get_attribute("cx") != before
    accessible(page)


def test_every_plot_of_the_repositorys_boards_draws(page: "Page", address: Address, repository_site: Path) -> None:
    failed = []
    for path in sorted((repository_site / "boards").glob("*.html")):
        page.goto(address(f"boards/{path.name}", repository_site))
        failed += [f"{path.stem}: {name}" for name in page.evaluate(DRAW_ALL)]
    assert failed == []


def test_figure_says_so_where_its_data_cannot_be_read(new_page: NewPage, address: Address) -> None:
    page = new_page(faults=("ERR_FILE_NOT_FOUND",))
    page.goto(address(BOARD))
    place = figure(page, "seeds")
    place.evaluate("(one) => { one.dataset.address = 'data/plots/gone.js'; one.dataset.name = 'gone'; }")
    place.scroll_into_view_if_needed()
    place.locator(".plot-failed").wait_for()
    assert "data/plots/gone.js cannot be read" in place.inner_text()
