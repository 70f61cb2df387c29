"""Tables of many rows: the browser's layout is spared, and nothing is out of reach; the benchmark does its works."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import site_table

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_works_of_the_benchmark_are_done_by_both_tables(
    browser: "Browser", tmp_path: Path, until: Callable[..., None]
) -> None:
    opened = site_table.pages(browser, tmp_path, rows=130, columns=12)
    try:
        timings = {timing.name: timing for timing in site_table.measure(opened, rounds=1)}
        assert set(timings) == {f"{work}, {name}" for work in site_table.WORKS for name in opened} | {site_table.EMPTY}
        assert all(len(timing.cpu_s) == 1 for timing in timings.values())
        page = opened["ours"]
        line = page.get_by_role("status")
        page.evaluate("measure('filter half of the rows', 0)")
        assert line.inner_text().startswith("Shown: 65 of 130 rows, 12 of 12 columns.")
        page.evaluate("measure('all rows again', 0)")
        page.evaluate("measure('hide 25 columns, or show them', 0)")
        assert line.inner_text().startswith("Shown: 130 of 130 rows, 2 of 12 columns.")
        rows = page.locator(".board tbody tr")
        assert rows.count() < 130
        while (seen := rows.count()) < 130:  # rows come as somebody scrolls to them, with the columns of the view
            page.locator(".board .wide").evaluate("region => region.scrollTo(0, region.scrollHeight)")
            until(page, f"document.querySelectorAll('.board tbody tr').length > {seen}")
        assert rows.last.locator("td[data-column]:not([hidden])").count() == 2
        assert page.locator(".board table").get_attribute("aria-rowcount") == "131"
    finally:
        for page in opened.values():
            page.close()
