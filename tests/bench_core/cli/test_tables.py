"""`bench table` and `bench export`: the store as a table, a page and files for other tools."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

SHORT = ["--methods", "random,nac", "--tasks", "knn", "--epochs", "1"]


def test_table_and_export_read_the_store(bench: Callable[..., Result], tmp_path: Path) -> None:
    bench("run", *SHORT, "--quiet")
    for form, mark in (
        ("md", "| nac"),
        ("csv", "digits,convnet,nac"),
        ("latex", r"\begin{tabular}"),
        ("json", '"tables"'),
    ):
        assert mark in bench("table", "--format", form).stdout
    bench("export", "--csv", "a.csv", "--parquet", "a.parquet", "--sqlite", "a.sqlite")
    frame = pd.read_csv("a.csv")
    assert len(frame) == len(pd.read_parquet("a.parquet"))
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect("a.sqlite")) as connection:
        assert connection.execute("select count(*) from scores").fetchone() == (len(frame),)


def test_publish_writes_a_page_that_check_compares_and_pages_writes_again(
    bench: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_core.running.provenance._commit", lambda: ("abc1234", False))
    board = tmp_path / "tiny.toml"
    board.write_text("seeds = [0]\n[datasets.digits]\n[encoders.convnet]\n[methods.random]\n[tasks.knn]\n")
    bench("run", "--board", "tiny.toml", "--quiet")
    page = Path("leaderboards") / "tiny" / "README.md"
    assert bench("publish", "tiny.toml").stdout == f"1 records in leaderboards; pages: {page}\n"
    assert bench("publish", "--pages").stdout == "0 pages changed\n"
    text = page.read_text()
    page.write_text(text.replace("random", "randon"))
    assert "run `bench publish --pages`" in bench("table", "--check", code=1).stderr
    assert bench("publish", "--pages").stdout == f"1 pages changed: {page}\n"
    assert page.read_text() == text
    assert "1 pages agree" in bench("table", "--check").stdout


@pytest.mark.parametrize("option", ["--csv", "--parquet", "--sqlite"])
def test_export_onto_a_folder_is_one_line_and_leaves_nothing(
    bench: Callable[..., Result], tmp_path: Path, option: str
) -> None:
    bench("run", "--methods", "random", "--tasks", "knn", "--quiet")
    (tmp_path / "there").mkdir()
    assert "there cannot be written" in bench("export", option, "there", code=2).stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs", "there"]
