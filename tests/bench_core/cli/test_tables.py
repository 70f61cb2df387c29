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


def test_table_of_a_store_without_records_says_what_to_run(bench: Callable[..., Result]) -> None:
    bench("run", "--methods", "random", "--tasks", "knn", "--encoders", "vgg16_bn", "--quiet")  # skips its only cell
    told = "runs has no record yet; run `bench run --methods nac,sela`.\n"
    assert bench("table").stderr == told
    for option in ("--columns", "--methods", "--sort"):
        assert bench("table", option, "knn", code=2).stderr == f"Error: {told}"
    assert bench("plot", code=2).stderr == f"Error: {told}"
    exported = bench("export", "--csv", "a.csv")
    assert (exported.stdout, exported.stderr) == ("0 scores: a.csv\n", told)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["table", "--raw-cells"], "--raw-cells is for --format csv"),
        (["export"], "say where to: --csv FILE"),
        (["export", "--sqlite", "a", "--raw-cells"], "--raw-cells is for --csv FILE"),
        (["publish", "digits", "--pages"], "type it without 'digits'"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    bench: Callable[..., Result], words: list[str], told: str
) -> None:
    assert told in bench(*words, code=2).stderr


def test_published_numbers_stand_below_the_table(bench: Callable[..., Result], tmp_path: Path) -> None:
    board = '[datasets.cifar10]\nuse = "digits"\n[encoders.convnet]\n[methods.dim]\nuse = "random"\n[tasks.knn]\n'
    (tmp_path / "named.toml").write_text(board)
    bench("run", "--board", "named.toml", "--quiet")
    table, both = bench("table").stdout, bench("table", "--published").stdout
    assert both.startswith(table)
    assert both[len(table) :].startswith("Published numbers\n\nmethod ")
    assert "csv" in bench("table", "--published", "--format", "csv", code=2).stderr


def test_plot_draws_the_rows_that_are_asked_for(bench: Callable[..., Result]) -> None:
    bench("run", "--methods", "random,pixels", "--tasks", "projection", "--quiet")
    assert [Path(line.removeprefix("picture: ")).exists() for line in bench("plot").stdout.splitlines()] == [True]
    assert "no row named 'nac'. Known: pixels, random." in bench("plot", "--methods", "nac", code=2).stderr


def test_publish_says_what_is_missing_and_what_was_replaced(
    bench: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_core.running.provenance._commit", lambda: ("abc1234", False))
    board = tmp_path / "tiny.toml"
    board.write_text(
        "seeds = [0]\n[datasets.digits]\n[encoders.convnet]\n[methods.random]\n[methods.pixels]\n[tasks.knn]\n"
    )
    bench("run", "--board", "tiny.toml", "--methods", "random", "--quiet")
    assert "--partial" in bench("publish", "tiny.toml", code=2).stderr
    told = bench("publish", "tiny.toml", "--partial").stdout.splitlines()
    assert told[1:] == ["partial: 1 cells of the board have no record yet; its page says so"]
    bench("run", "--board", "tiny.toml", "--quiet", "--rerun", "random")
    told = bench("publish", "tiny.toml").stdout.splitlines()
    assert told[1:] == ["run again: 1 records took the places of earlier ones of the same keys"]


@pytest.mark.parametrize("option", ["--csv", "--parquet", "--sqlite"])
def test_export_onto_a_folder_is_one_line_and_leaves_nothing(
    bench: Callable[..., Result], tmp_path: Path, option: str
) -> None:
    bench("run", "--methods", "random", "--tasks", "knn", "--quiet")
    (tmp_path / "there").mkdir()
    assert "there cannot be written" in bench("export", option, "there", code=2).stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs", "there"]


def test_tuning_of_a_board_is_said_under_its_table_and_drawn_without_a_store(
    bench: Callable[..., Result], tmp_path: Path
) -> None:
    rows = "[methods.pixels]\n[methods.nac]\n[methods.sela]\n"
    (tmp_path / "tiny.toml").write_text(
        f'tuned = "tuned.toml"\nseeds = [0]\n[datasets.digits]\n[encoders.convnet]\n[tasks.knn]\n{rows}'
    )
    (tmp_path / "tuned.toml").write_text(
        '[rows.nac]\nmetrics = ["knn:top1"]\ntrials = 2\nbest = 1\ndigest = "sha256:0"\n'
        '[[rows.nac.tried]]\nscores = { "knn:top1" = 0.5 }\n[[rows.nac.tried]]\nscores = { "knn:top1" = 0.75 }\n'
    )
    assert (
        bench("plot", "--kind", "tuning", "--board", "tiny.toml", "--out", "a").stdout == "picture: a/tiny_tuning.svg\n"
    )
    assert "say which, such as `bench plot --kind tuning --board" in bench("plot", "--kind", "tuning", code=2).stderr
    bench("run", "--board", "tiny.toml", "--methods", "pixels", "--quiet")
    table = " ".join(bench("table", "--board", "tiny.toml").stdout.split())
    assert "Tuned: each row is the best of 2 trials on a held-out 20 % of train, by knn top1; labels" in table
    assert "Not trained, so nothing is tuned: pixels." in table
    assert "sela (untuned)" in table
    assert "Budgets differ: sela: not tuned; all others: 2 trials" in table
    assert "Tuned before the row or its search space changed: nac." in table
    assert "Tuned" not in bench("table").stdout
