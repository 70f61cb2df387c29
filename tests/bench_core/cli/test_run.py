"""`bench run`: its output, its exit codes, and what it leaves on disk."""

import errno
import json
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from bench_core.errors import RequestError
from bench_core.planning.boards import load_board

SHORT = ["--methods", "random,nac", "--tasks", "knn", "--epochs", "1"]
NAC = f"nac: adamw, rate {load_board('digits').methods['nac'].recipe['learning_rate']:g}, 1 epoch, batch 256"
RECIPES = [
    "random: not trained",
    f"{NAC} (board digits, tuned; --epochs)",
    "nac: warmup_epochs 20 -> 0.05, as 1 of 400 epochs were asked for",
]


def test_run_prints_a_table_and_the_paths_of_records_and_page(bench: Callable[..., Result], tmp_path: Path) -> None:
    result = bench("run", *SHORT)
    assert "digits, convnet" in result.stdout
    assert "knn top1" in result.stdout
    assert "records: runs/cells" in result.stdout
    assert "page:    runs/leaderboard.md" in result.stdout
    assert "nac on digits with convnet, seed 0" in result.stderr
    assert "| nac" in (tmp_path / "runs" / "leaderboard.md").read_text()
    assert len(list((tmp_path / "runs" / "cells").rglob("*.json"))) == 2

    again = bench("run", *SHORT)
    assert again.stderr.splitlines() == [*RECIPES, "2 of 2 cells are done already"]
    assert again.stdout == result.stdout


def test_a_large_store_has_no_page_and_the_run_says_how_to_write_one(
    bench: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_core.cli.run._LARGEST_PAGE", 1)
    shown = bench("run", *SHORT).stdout
    assert "page:    none of more than 1 records; bench table --format md writes one" in shown
    assert not (tmp_path / "runs" / "leaderboard.md").exists()


SCREEN = """\
[1/2] random on digits with convnet, seed 0
  embed
  knn
[2/2] nac on digits with convnet, seed 0
  epoch 1/1  loss N  N images/s
  embed
  knn
"""


def test_screen_of_a_run_fits_eighty_columns(bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = bench("run", *SHORT).stderr
    shown = re.sub(r"loss \S+  \d+ images/s.*", "loss N  N images/s", shown)
    lines = [line for line in shown.splitlines() if "took" not in line]  # as there is on a busy machine
    assert lines == [*RECIPES, *SCREEN.splitlines()]
    assert max(map(len, shown.splitlines())) <= 80


def test_dry_run_takes_a_missing_store_for_empty_and_does_not_create_it(
    bench: Callable[..., Result], tmp_path: Path
) -> None:
    assert "2 cells: 2 would run; 2 chains, 0 of them pretrained" in bench("run", *SHORT, "--dry-run").stdout
    assert "nothing of this request failed before" in bench("run", *SHORT, "--dry-run", "--retry-failed").stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", [[], ["--isolate"], ["--jobs", "2"]])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "nac", "--workers", "-1"], "workers must be a whole number from 0, got -1"),
        (["--methods", "nca"], "no method named 'nca'"),
        (["--methods", "nac", "--device", "cuda:99"], "device 'cuda:99' cannot be used here"),
        (["--methods", "nac", "--datasets", "mnist"], "--download"),
    ],
)
def test_refused_request_leaves_no_store(
    bench: Callable[..., Result], tmp_path: Path, engine: list[str], options: list[str], message: str
) -> None:
    result = bench("run", *engine, *options, "--tasks", "knn", code=2)
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_time_limit_without_a_process_for_each_chain_is_refused(bench: Callable[..., Result], tmp_path: Path) -> None:
    result = bench("run", *SHORT, "--jobs", "1", "--time-limit", "5", code=2)
    assert "add --isolate or --jobs 2" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_lists_exit_codes_and_ends_with_examples(bench: Callable[..., Result]) -> None:
    lines = bench("run", "--help").stdout.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "    130  stopped by Ctrl-C; give the same command again" in lines
    assert lines[-3:] == [
        "  Examples:",
        "    bench run --methods nac,sela --tasks knn,linear --seeds 0,1,2",
        "    bench run --board digits --jobs 4",
    ]


def test_dry_run_prints_which_cells_are_done_would_run_or_are_skipped(bench: Callable[..., Result]) -> None:
    bench("run", *SHORT, "--quiet")
    lines = json.loads(bench("run", *SHORT, "--tasks", "knn,linear", "--dry-run", "--json").stdout)
    assert [(line["method"], line["task"], line["state"]) for line in lines] == [
        ("random", "knn", "done"), ("random", "linear", "would run"),
        ("nac", "knn", "done"), ("nac", "linear", "would run"),
    ]  # fmt: skip
    skipped = bench("run", *SHORT, "--encoders", "vgg16_bn", "--dry-run").stdout
    assert "skipped" in skipped
    assert "32" in skipped  # the reason: VGG needs images of 32 pixels


def test_quiet_shows_no_progress_and_json_prints_only_the_scores(bench: Callable[..., Result]) -> None:
    result = bench("run", *SHORT, "--quiet", "--json")
    assert result.stderr == ""
    frame = pd.DataFrame(json.loads(result.stdout))
    assert set(frame["method"]) == {"random", "nac"}


@pytest.mark.parametrize("options", [[], ["--dry-run"], ["--dry-run", "--json"], ["--json"]])
def test_run_begins_with_the_recipe_of_each_method_once(bench: Callable[..., Result], options: list[str]) -> None:
    result = bench("run", *SHORT, *options)
    lines = result.stderr.splitlines()
    assert lines[:3] == RECIPES
    if "--json" in options:
        assert json.loads(result.stdout)


def test_quiet_run_and_process_for_one_chain_show_no_recipe(bench: Callable[..., Result]) -> None:
    assert bench("run", *SHORT, "--quiet", "--dry-run").stderr == ""
    error = bench("run", *SHORT, "--only-chain", "0" * 64, code=2).stderr
    assert "is not in this request any more" in error
    assert not set(error.splitlines()) & set(RECIPES)


def test_record_and_footer_keep_where_the_recipe_came_from_and_what_was_shortened(
    bench: Callable[..., Result], tmp_path: Path
) -> None:
    shown = bench("run", *SHORT, "--quiet").stdout
    assert "Recipe of random: not trained." in shown
    assert f"Recipe of {NAC} (board digits, tuned; --epochs)." in shown
    assert "Shortened for nac: warmup_epochs 20 -> 0.05, as 1 of 400 epochs were asked for." in shown
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs" / "cells").rglob("*.json")]
    facts = {record["names"]["method"]: record["facts"] for record in records}
    assert (facts["random"]["recipe_from"], facts["random"]["shortened"]) == ("", "")
    assert facts["nac"]["recipe_from"] == "board digits, tuned; --epochs"
    assert facts["nac"]["shortened"] == RECIPES[2].removeprefix("nac: ")


def test_folder_that_is_no_store_is_refused_and_unchanged(bench: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "thesis.tex").write_text("x")
    assert "is no store" in bench("run", *SHORT, code=2).stderr
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["thesis.tex"]


def test_failed_cell_gives_exit_code_1_and_other_cells_are_done(bench: Callable[..., Result], tmp_path: Path) -> None:
    words = ["--methods", "random,nac", "--tasks", "knn", "--set", "nac.recipe.learning_rate=1e30", "--epochs", "30"]
    result = bench("run", *words, code=1)
    assert "failed: digits/convnet/nac/knn seed 0: " in result.stderr
    assert "failed [1]" in result.stdout
    assert len(list((tmp_path / "runs" / "cells").rglob("*.json"))) == 1


def test_store_that_cannot_be_written_gives_one_line_on_stderr(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "runs/cells")

    monkeypatch.setattr("bench_core.store.store.Store.chain_folder", refuse)
    monkeypatch.setattr("bench_core.store.store.Store.add_attempt", refuse)
    result = bench("run", *SHORT, "--quiet", code=1)
    assert result.stderr == "Error: runs/cells: Permission denied. What was finished is kept.\n"


@pytest.mark.parametrize(("number", "read_only"), [(errno.EROFS, True), (errno.EACCES, True), (errno.ENOSPC, False)])
@pytest.mark.parametrize("wrapped", [False, True])
def test_read_only_store_still_shows_its_table_and_a_full_disk_is_an_error(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, number: int, read_only: bool, wrapped: bool
) -> None:
    words = ["run", "--methods", "random", "--tasks", "knn", "--quiet"]
    before = bench(*words).stdout

    def refuse(*_: object) -> None:
        error = OSError(number, os.strerror(number), "runs/leaderboard.md")
        if wrapped:
            raise RequestError("runs cannot be written") from error
        raise error

    monkeypatch.setattr("bench_core.store.store.Store.write_page", refuse)
    result = bench(*words, code=0 if read_only else 2 if wrapped else 1)
    assert "knn top1" in result.stdout
    if read_only:
        assert result.stdout == before[: before.index("page: ")]
        assert result.stderr == "runs is read-only: its page and pictures stay as they are\n"


def test_pictures_of_a_board_are_drawn_or_it_is_said_why_not(bench: Callable[..., Result], tmp_path: Path) -> None:
    axes = "seeds = [0]\n[datasets.digits]\n[encoders.convnet]\n[methods.random]\n[tasks.knn]\n[tasks.projection]\n"
    pictures = '[pictures.map]\nkind = "projection"\n[pictures.empty]\nkind = "samples"\ntask = "generation"\n'
    (tmp_path / "b.toml").write_text(axes + pictures)
    result = bench("run", "--board", "b.toml", "--quiet")
    assert "picture: runs/map.svg\n" in result.stdout
    assert "empty.svg" not in result.stdout
    assert result.stderr.startswith("no picture 'empty': ")
    assert [path.name for path in (tmp_path / "runs").glob("*.svg")] == ["map.svg"]
    (tmp_path / "b.toml").write_text(axes + '[pictures.map]\nkind = "a_map"\n')
    assert "a_map" in bench("run", "--board", "b.toml", "--store", "other", code=2).stderr
    assert not (tmp_path / "other").exists()


def test_finished_cells_are_run_again_on_request_and_what_moved_is_told(bench: Callable[..., Result]) -> None:
    words = ["run", "--methods", "random", "--tasks", "knn", "--quiet"]
    bench(*words)
    dry = bench(*words, "--rerun", "random", "--dry-run")
    assert dry.stdout.splitlines()[-1].startswith("1 cells: 1 would run again; ")
    told = bench(*words, "--rerun", "random").stderr.splitlines()
    assert told[0] == "1 record was replaced, 1 with the same scores"


def test_ctrl_c_keeps_finished_cells_and_the_same_command_runs_the_rest(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        from bench_core.training.pretrain import pretrain

        def stop_at_nac(objective: object, *arguments: object, **keywords: object) -> object:
            if type(objective).__name__ == "NAC":
                raise KeyboardInterrupt
            return pretrain(objective, *arguments, **keywords)  # type: ignore[arg-type]  # any arguments

        patch.setattr("bench_core.running.chain.pretrain", stop_at_nac)
        result = bench("run", *SHORT, "--quiet", code=130)
        assert "stopped; what was finished is kept" in result.stderr
    assert len(list((tmp_path / "runs" / "cells").rglob("*.json"))) == 1
    bench("run", *SHORT, "--quiet")
    assert len(list((tmp_path / "runs" / "cells").rglob("*.json"))) == 2


def test_run_that_skips_every_cell_creates_a_store(bench: Callable[..., Result]) -> None:
    words = ["run", "--methods", "random", "--tasks", "knn", "--quiet"]
    assert "32" in bench(*words, "--encoders", "vgg16_bn").stdout
    assert "top1" in bench(*words).stdout


def test_a_dry_run_names_the_fold_of_each_chain(bench: Callable[..., Result], tmp_path: Path) -> None:
    graphs = ("run", "--datasets", "mutag", "--methods", "supervised,random", "--tasks", "graph_classification")
    lines = bench(*graphs, "--data-root", str(tmp_path), "--dry-run").stdout.splitlines()
    cells = [line.split("  ")[-2].strip() for line in lines if "would run" in line and "/" in line]
    folds = [f"mutag/gin/supervised/graph_classification fold {fold} of 10" for fold in range(10)]
    assert cells == [*folds, "mutag/gin/random/graph_classification"]


def test_commands_of_a_dry_run_do_the_same_work_chain_by_chain(bench: Callable[..., Result]) -> None:
    words = [
        "--methods",
        "moco,simclr",
        "--set",
        "moco.init=simclr",
        "--tasks",
        "knn",
        "--epochs",
        "1",
        "--store",
        "a b",
    ]
    lines = bench("run", *words, "--dry-run", "--commands").stdout.splitlines()
    assert not Path("a b").exists()
    split = [shlex.split(line) for line in lines]
    assert [line[:-2] for line in split] == [["bench", "run", *words]] * 2
    keys = [line[-1] for line in split]
    result = bench(*split[0][1:])
    assert result.stdout == ""
    (chain,) = [path.name for path in Path("a b/chains").iterdir() if len(path.name) == 64]
    assert chain == keys[0]  # simclr, from which the other starts
    assert bench("run", *words, "--dry-run", "--commands").stdout.splitlines() == lines[1:]
    bench(*split[1][1:])
    assert bench("run", *words, "--dry-run", "--commands").stdout == ""
    assert "2 of 2 cells are done already" in bench("run", *words).stderr


@pytest.mark.parametrize("words", [["--commands"], ["--commands", "--dry-run", "--engine", "slurm"]])
def test_commands_belong_to_a_dry_run_for_other_schedulers(bench: Callable[..., Result], words: list[str]) -> None:
    assert "add --dry-run, and leave out --engine slurm" in bench("run", *SHORT, *words, code=2).stderr
