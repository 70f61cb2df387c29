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


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    Store(tmp_path / "runs").create()
    Store(tmp_path / "my runs").create()
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("table", 0), ("table --format md", 0), ("table --format csv", 0), ("table --format json", 0), ("compare", 0),
        ("table --columns knn:top1", 2), ("table --methods nac", 2), ("table --sort knn", 2), ("plot", 2),
        ("plot --kind projection", 2), ("compare nac vae", 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "runs has no record yet; run `bench run --methods nac,sela`."),
        (["--board", "mnist_vae"], "runs has no record of board 'mnist_vae' yet; run `bench run --board mnist_vae`."),
        (
            ["--board", "digits", "--store", "my runs"],
            "my runs has no record of board 'digits' yet; run `bench run --board digits --store 'my runs'`.",
        ),
    ],
    ids=["store", "board", "another store"],
)
@pytest.mark.usefixtures("empty")
def test_table_picture_and_comparison_without_any_record_say_what_to_run(
    bench: Bench, words: str, code: int, options: list[str], sentence: str
) -> None:
    result = bench(*words.split(), *options)
    assert (result.exit_code, result.stderr.removeprefix("Error: ")) == (code, f"{sentence}\n")


@pytest.mark.usefixtures("empty")
def test_export_of_a_store_without_records_says_what_to_run(bench: Bench) -> None:
    result = bench("export", "--csv", "a.csv")
    assert (result.exit_code, result.stdout) == (0, "0 scores: a.csv\n")
    assert result.stderr == "runs has no record yet; run `bench run --methods nac,sela`.\n"


def test_table_of_a_board_whose_records_are_of_other_boards_says_what_to_run(bench: Bench, tmp_path: Path) -> None:
    assert bench("run", *RUN, "--device", "cpu", "--quiet").exit_code == 0
    assert bench("table").stderr == ""
    assert bench("table", "--board", "digits").stderr == (
        "runs has no record of board 'digits' yet; run `bench run --board digits`.\n"
    )


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
