"""A board's page loads little at once, also for the largest board of the repository."""

import gzip
import re
from pathlib import Path

import pytest

from bench_core.plugins import Registry
from bench_core.reports.site.board_page import write_boards
from bench_core.reports.site.build import write_assets
from bench_core.reports.site.content import read_content
from bench_core.reports.site.writer import SiteWriter

ROOT = Path(__file__).parents[4]
MOST = 300_000  # bytes, compressed
LARGEST = "digits"


@pytest.fixture(scope="module")
def board(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the largest board, in a site without other parts."""
    tmp_path = tmp_path_factory.mktemp("largest")
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "leaderboards" / LARGEST).symlink_to(ROOT / "leaderboards" / LARGEST)
    site = SiteWriter(tmp_path / "site")
    write_assets(site)
    write_boards(site, read_content(tmp_path / "leaderboards", None, registry=registry))
    return site.out / "boards" / f"{LARGEST}.html"


def test_page_styles_library_and_data_of_the_largest_board_are_below_300_kb(board: Path) -> None:
    html = board.read_text(encoding="utf-8")
    loaded = re.findall(r'<(?:link rel="stylesheet" href|script src)="([^"]+)"', html)
    names = {Path(address).name for address in loaded}
    assert {"site.css", "bench.js", "table-core.min.js", f"{LARGEST}.js"} <= names
    assert not names & {"plot.min.js", "d3.min.js"}  # before a plot is asked for
    sizes = {file.name: len(gzip.compress(file.read_bytes())) for file in [board, *(board.parent / a for a in loaded)]}
    assert sum(sizes.values()) < MOST, sizes
    records = {path.name: len(list((path / "records").glob("*"))) for path in (ROOT / "leaderboards").iterdir()}
    assert max(records, key=lambda name: records[name]) == LARGEST


def test_without_scripts_the_table_has_all_rows_and_the_columns_of_bench_table(board: Path) -> None:
    html = board.read_text(encoding="utf-8")
    body = re.findall(r"<tr data-row.*?</tr>", html)
    assert len(body) > 20
    shown = re.findall(r'<th scope="col" data-column="[^"]+">', html)
    hidden = re.findall(r'<th scope="col" data-column="[^"]+" hidden>', html)
    assert len(shown) >= 10
    assert len(hidden) >= 100
    assert all(row.count("<td") == len(shown) + len(hidden) for row in body)
    assert all(row.count(" hidden>") == len(hidden) for row in body)
    for reason in set(re.findall(r'href="#(note-0-\d+)"', html)):
        assert f'id="{reason}"' in html
