"""`bench tune`: what it prints and writes, its exit codes, and that nothing is done twice."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bench_core.planning.boards import load_board
from bench_core.planning.tuning import read_tuned

Bench = Callable[..., Result]
BOARD = """\
precision = "fp32"
tuned = "tuned.toml"
[recipe]
epochs = 2
batch_size = 256
[datasets.digits]
[encoders.convnet]
widths = [4, 8, 8]
[methods.random]
[methods.simclr]
output_dim = 8
[methods.nac]
code_dim = 8
[methods.nac_without_noise]
use = "nac"
code_dim = 8
noise = false
[tasks.knn]
[tuning]
trials = 3
epochs = 1
metrics.features = "knn:top1"
"""


@pytest.fixture
def board(tmp_path: Path) -> str:
    """Path of a small board."""
    path = tmp_path / "small" / "board.toml"
    path.parent.mkdir()
    path.write_text(BOARD)
    return str(path)


def test_rows_are_tuned_once_written_and_taken_by_the_board(
    bench: Bench, board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = ["tune", "--board", board, "--methods", "nac,simclr", "--device", "cpu"]
    result = bench(*command, "--jobs", "1")
    assert "nac: 1 of 3 trials to run, over recipe.learning_rate, recipe.weight_decay, flip" in result.stderr
    assert "nac: 2 of 3 trials to run" in result.stderr
    assert result.stdout.splitlines()[0].split() == ["row", "trials", "metric", "as", "it", "was", "best", "trial"]
    assert f"next:    bench run --board {board}" in result.stdout
    assert max(map(len, result.stdout.splitlines()[:-2])) <= 80
    tuned = read_tuned(tmp_path / "small" / "tuned.toml")
    assert list(tuned.rows) == ["simclr", "nac"]  # as the board has them
    assert tuned.command == f"bench tune --board {board}"
    row = tuned.rows["nac"]
    assert [len(commit) for commit in row.commits] in ([], [40])  # none without git
    assert load_board(board).methods["nac"].recipe.get("learning_rate") == row.values.get("recipe.learning_rate")
    journal = tmp_path / "runs" / "tuning" / "small" / "optuna.log"
    text, added = (tmp_path / "small" / "tuned.toml").read_text(), journal.read_text().count("user_attrs")

    again = bench(*command, "--jobs", "1")  # the board's rows have other values now, and their trials have not
    assert "to run" not in again.stderr
    assert again.stdout == result.stdout
    assert (tmp_path / "small" / "tuned.toml").read_text() == text
    assert journal.read_text().count("user_attrs") == added

    more = bench(*command[:4], "nac_without_noise", "--trials", "2", "--device", "cpu", "--jobs", "1", "--quiet")
    assert more.stderr == ""
    rows = read_tuned(tmp_path / "small" / "tuned.toml").rows
    assert list(rows) == ["simclr", "nac", "nac_without_noise"]
    assert rows["nac_without_noise"].tried[1].values == row.tried[1].values
    assert rows["nac"] == row
    assert [rows[name].trials for name in rows] == [3, 3, 2]


@pytest.mark.slow
def test_processes_change_nothing(bench: Bench, board: str, tmp_path: Path) -> None:
    command = ["tune", "--board", board, "--methods", "nac", "--trials", "2", "--device", "cpu"]
    told = bench(*command, "--jobs", "1", "--store", "a", "--out", "a.toml").stdout
    assert f"next:    copy a.toml beside {board}\nthen:    bench run --board {board}" in told
    bench(*command, "--jobs", "2", "--store", "b", "--out", "b.toml")
    assert (tmp_path / "a.toml").read_text() == (tmp_path / "b.toml").read_text()


def test_dry_run_says_what_would_run_and_writes_nothing(bench: Bench, board: str, tmp_path: Path) -> None:
    result = bench("tune", "--board", board, "--dry-run", "--seeds", "0-1")
    assert "9 methods, 1 task, 2 seeds; 18 cells" in result.stdout
    assert "random is not tuned: it is not trained" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small"]
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == ["board.toml"]


def test_a_row_without_a_finished_trial_is_told_and_others_come_out(bench: Bench, board: str, tmp_path: Path) -> None:
    text = BOARD.replace("output_dim = 8", "output_dim = 8\nrecipe.learning_rate = 1e38")
    Path(board).write_text(text)
    command = ["tune", "--board", board, "--methods", "simclr,nac", "--trials", "1", "--device", "cpu", "--jobs", "1"]
    result = bench(*command, code=1)
    assert "simclr did not come out: every trial of simclr failed: " in result.stderr
    assert "not finished: simclr" in result.stderr
    assert list(read_tuned(tmp_path / "small" / "tuned.toml").rows) == ["nac"]
    again = bench(*command, code=1)
    assert "to run" not in again.stderr
    assert "simclr: 1 of 1 trials to run" in bench(*command, "--retry-failed", code=1).stderr


def test_a_mistyped_metric_is_refused_after_the_first_trials_and_not_after_all(
    bench: Bench, board: str, tmp_path: Path
) -> None:
    Path(board).write_text(BOARD.replace('"knn:top1"', '["knn:top1", "knn:topp1"]'))
    command = ["tune", "--board", board, "--methods", "simclr,nac", "--device", "cpu", "--jobs", "1"]
    told = bench(*command, code=2).stderr
    assert "[tuning.metrics] names knn:topp1, which no trial has; there are: knn:top1" in " ".join(told.split())
    assert len(list((tmp_path / "runs" / "tuning" / "small" / "chains").glob("*/chain.json"))) == 2  # trial 0 of each
    Path(board).write_text(BOARD)
    assert "nac: 2 of 3 trials to run" in bench(*command).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Missing option '--board'"),
        (["--board", "small", "--trials", "0"], "--trials"),
        (["--board", "small", "--validation", "1"], "--validation"),
        (["--board", "small", "--methods", "nacs"], "no row named 'nacs'"),
    ],
)
def test_wrong_requests_are_refused(bench: Bench, board: str, words: list[str], message: str) -> None:
    assert message in " ".join(bench("tune", *words, code=2).stderr.split())
