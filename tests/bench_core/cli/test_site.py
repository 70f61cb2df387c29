"""`bench site` on what is there: published boards, a store, both, or neither."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bench_core.cli import site as site_module
from bench_core.store import Store

Bench = Callable[..., Result]
ROOT = Path(__file__).parents[3]
BOARD = "gaussian_pairs"  # the smallest of the repository


@pytest.fixture
def leaderboards(tmp_path: Path) -> Path:
    """The folder of published boards of the current folder, with one board."""
    shutil.copytree(ROOT / "leaderboards" / BOARD, tmp_path / "leaderboards" / BOARD)
    return tmp_path / "leaderboards"


def test_neither_boards_nor_a_store_is_an_error_that_says_what_to_run(bench: Bench, tmp_path: Path) -> None:
    told = " ".join(bench("site", code=2).stderr.split())
    assert "neither a published board in leaderboards nor a store at runs; run `bench run --methods nac,sela`" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--store", "nowhere"], "there is no store at nowhere"),
        (["--leaderboards", "nowhere"], "nowhere holds no published board"),
        (["--board", "digits"], "'digits' is no published board in leaderboards; there are: gaussian_pairs."),
    ],
    ids=" ".join,
)
def test_what_is_named_and_not_there_is_refused(
    bench: Bench, leaderboards: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    assert message in " ".join(bench("site", *words, code=2).stderr.split())
    assert [path.name for path in tmp_path.iterdir()] == ["leaderboards"]


def test_shows_boards_and_the_store_and_says_what_to_open(
    bench: Bench, leaderboards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(tmp_path / "runs").create()
    monkeypatch.setattr(site_module, "_QUIET_S", 0.0)
    result = bench("site")
    pages = sum(1 for _ in (tmp_path / "site").rglob("*.html"))
    assert result.stdout.startswith(f"{pages} pages, ")
    assert result.stdout.endswith(" s; open site/index.html\n")
    assert f"s: reading board {BOARD}\n" in result.stderr
    assert f"s: boards/{BOARD}.html\n" in result.stderr
    index = (tmp_path / "site" / "index.html").read_text()
    assert f"boards/{BOARD}.html" in index
    assert "boards/store.html" in index
    bench("site", "--board", BOARD)  # a second build takes the place of the first
    index = (tmp_path / "site" / "index.html").read_text()
    assert f"boards/{BOARD}.html" in index
    assert "boards/store.html" not in index
    assert not (tmp_path / "site" / "boards" / "store.html").exists()


def test_a_folder_of_somebody_else_is_refused_before_anything_is_read(
    bench: Bench, leaderboards: Path, tmp_path: Path
) -> None:
    told = bench("site", "--out", "leaderboards", code=2).stderr
    assert "holds files that are no site of `bench site`" in " ".join(told.split())
    assert (leaderboards / BOARD / "board.toml").is_file()
