"""`bench run`: what is printed and where, what is done again, and the exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

SHORT = ["--methods", "random,nac", "--tasks", "knn", "--epochs", "1"]


def test_run_prints_a_table_and_says_where_records_and_page_are(bench: Callable[..., Result], tmp_path: Path) -> None:
    result = bench("run", *SHORT)
    assert "digits, convnet" in result.stdout
    assert "knn top1" in result.stdout
    assert "records: runs/cells" in result.stdout
    assert "page:    runs/leaderboard.md" in result.stdout
    assert "nac on digits with convnet, seed 0" in result.stderr
    assert "| nac" in (tmp_path / "runs" / "leaderboard.md").read_text()
    assert len(list((tmp_path / "runs" / "cells").rglob("*.json"))) == 2

    again = bench("run", *SHORT)
    assert again.stderr == ""  # nothing was missing
    assert again.stdout == result.stdout


def test_a_dry_run_says_what_is_done_what_would_run_and_what_would_be_skipped(
    bench: Callable[..., Result], tmp_path: Path
) -> None:
    assert "2 cells: 2 would run; 2 chains, 0 of them pretrained" in bench("run", *SHORT, "--dry-run").stdout
    assert not (tmp_path / "runs").exists()
    bench("run", *SHORT, "--quiet")
    lines = json.loads(bench("run", *SHORT, "--tasks", "knn,linear", "--dry-run", "--json").stdout)
    assert [(line["method"], line["task"], line["state"]) for line in lines] == [
        ("random", "knn", "done"), ("random", "linear", "would run"),
        ("nac", "knn", "done"), ("nac", "linear", "would run"),
    ]  # fmt: skip
    skipped = bench("run", *SHORT, "--encoders", "vgg16_bn", "--dry-run").stdout
    assert "skipped" in skipped
    assert "32" in skipped  # VGG needs images of 32 pixels, and says so


def test_quiet_is_silent_and_json_is_for_scripts(bench: Callable[..., Result]) -> None:
    result = bench("run", *SHORT, "--quiet", "--json")
    assert result.stderr == ""
    frame = pd.DataFrame(json.loads(result.stdout))
    assert set(frame["method"]) == {"random", "nac"}


def test_a_folder_that_is_no_store_is_left_alone(bench: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "thesis.tex").write_text("x")
    assert "is no store" in bench("run", *SHORT, code=2).stderr
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["thesis.tex"]


def test_a_failed_cell_is_exit_code_1_and_the_others_are_done(bench: Callable[..., Result], tmp_path: Path) -> None:
    words = ["--methods", "random,nac", "--tasks", "knn", "--set", "nac.recipe.learning_rate=1e30", "--epochs", "30"]
    result = bench("run", *words, code=1)
    assert "failed: digits/convnet/nac/knn seed 0: " in result.stderr
    assert "failed [1]" in result.stdout
    assert len(list((tmp_path / "runs" / "cells").rglob("*.json"))) == 1


def test_a_store_that_cannot_be_written_is_one_line(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "runs/cells")

    monkeypatch.setattr("bench_core.store.store.Store.chain", refuse)
    monkeypatch.setattr("bench_core.store.store.Store.add_attempt", refuse)
    result = bench("run", *SHORT, "--quiet", code=1)
    assert result.stderr == "Error: runs/cells: Permission denied. What was finished is kept.\n"


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        from bench_core.training.pretrain import pretrain as real

        def stop_at_nac(objective: object, *words: object, **named: object) -> object:
            if type(objective).__name__ == "NAC":
                raise KeyboardInterrupt
            return real(objective, *words, **named)  # type: ignore[arg-type]  # passed on as they come

        patch.setattr("bench_core.running.chain.pretrain", stop_at_nac)
        result = bench("run", *SHORT, "--quiet", code=130)
        assert "stopped; what was finished is kept" in result.stderr
    assert len(list((tmp_path / "runs" / "cells").rglob("*.json"))) == 1
    bench("run", *SHORT, "--quiet")
    assert len(list((tmp_path / "runs" / "cells").rglob("*.json"))) == 2


def test_a_first_run_in_which_all_is_skipped_leaves_a_store(bench: Callable[..., Result]) -> None:
    words = ["run", "--methods", "random", "--tasks", "knn", "--quiet"]
    assert "32" in bench(*words, "--encoders", "vgg16_bn").stdout
    assert "top1" in bench(*words).stdout
