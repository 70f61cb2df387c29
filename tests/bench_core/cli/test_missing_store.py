"""Commands on a store that does not exist: those that read it are refused, those that write create it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench_core.cli.group import main
from bench_core.store import Store

Bench = Callable[..., Result]
RUN = ("--methods", "random", "--tasks", "knn", "--set", "digits.train_size=64", "--set", "knn.k=3")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a function that runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Result:
        return CliRunner().invoke(main, words)

    return call


@pytest.mark.parametrize(
    "words",
    [
        ("table",),
        ("table", "--board", "digits"),
        ("export", "--csv", "scores.csv"),
        ("compare",),
        ("compare", "nac", "vae"),
        ("plot",),
        ("publish", "digits"),
        ("verify", "abcd", "--device", "cpu"),
    ],
    ids=" ".join,
)
def test_command_that_reads_a_missing_store_names_it_and_exits_with_2(
    bench: Bench, tmp_path: Path, words: tuple[str, ...]
) -> None:
    result = bench(*words, "--store", "nowhere")
    assert result.exit_code == 2
    assert "there is no store at nowhere; `bench run --store nowhere` makes one" in " ".join(result.stderr.split())
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_empty_folder_is_no_store_to_read(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    result = bench("table")
    assert result.exit_code == 2
    assert "there is no store at runs" in result.stderr


def test_store_without_records_is_an_empty_table(bench: Bench, tmp_path: Path) -> None:
    Store(tmp_path / "runs").create()
    result = bench("table")
    assert (result.exit_code, result.stdout.strip()) == (0, "No records.")


def test_why_and_dry_run_take_a_missing_store_for_empty(bench: Bench, tmp_path: Path) -> None:
    why = bench("why", "random/knn", *RUN)
    assert why.exit_code == 0
    assert "the store has no record to compare with" in why.stdout
    assert bench("run", *RUN, "--dry-run").exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_run_and_merge_create_the_store(bench: Bench, tmp_path: Path) -> None:
    assert bench("run", *RUN, "--device", "cpu", "--quiet").exit_code == 0
    assert bench("merge", "runs", "--store", "copy").exit_code == 0
    [record] = Store(tmp_path / "runs").records()
    assert Store(tmp_path / "copy").records() == [record]


@pytest.mark.parametrize("output_format", ["csv", "json", "latex"])
def test_reported_numbers_in_another_format_are_refused_before_anything_is_printed(
    bench: Bench, tmp_path: Path, output_format: str
) -> None:
    Store(tmp_path / "runs").create()
    result = bench("table", "--published", "--format", output_format)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no format of published numbers named '{output_format}'" in result.stderr
