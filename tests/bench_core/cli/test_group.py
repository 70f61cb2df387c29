"""The command line on the built-in plugins: what is printed, where, and the exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from bench_core.cli.group import main

SHORT = ["--methods", "random,nac", "--tasks", "knn", "--epochs", "1"]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`bench("list", code=0)` in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result

    return call


RUN = [
    "--checkpoint-every", "--compile", "--device", "--download", "--dry-run", "--isolate", "--jobs", "--json",
    "--only-chain", "--quiet", "--retry-failed", "--time-limit", "--without-cell", "--workers",
]  # fmt: skip


def test_the_flags_are_few_and_frozen() -> None:
    flags = {name: sorted(o for p in command.params for o in p.opts) for name, command in main.commands.items()}
    cells = [
        "--batch-size", "--board", "--data-root", "--datasets", "--encoders", "--epochs", "--methods", "--precision",
        "--seeds", "--set", "--store", "--sweep", "--tasks",
    ]  # fmt: skip
    assert flags == {
        "run": sorted([*cells, *RUN]),
        "why": sorted([*cells, "cell"]),
        "list": ["--broken", "--json", "kind"],
        "show": ["--json", "name"],
        "check": ["names"],
        "completion": ["shell"],
        "table": [
            "--board",
            "--check",
            "--format",
            "--leaderboards",
            "--metric",
            "--published",
            "--sort",
            "--store",
            "--task",
        ],
        "plot": ["--board", "--kind", "--methods", "--out", "--store", "--x", "--y"],
        "publish": ["--leaderboards", "--store", "board"],
        "export": ["--csv", "--parquet", "--sqlite", "--store"],
        "merge": ["--dry-run", "--store", "other"],
        "verify": sorted(["--data-root", "--device", "--download", "--quiet", "--store", "--tolerance", "cell"]),
        "compare": ["--board", "--every-metric", "--format", "--store", "rows"],
    }


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--methods", "nca"], "no method named 'nca'; did you mean 'nac'? Known: autoencoder, "),
        (["run", "--methods", "nac,"], "'nac,' has an empty name"),
        (["run"], "say which methods: --methods"),
        (["run", "--methods", "nac", "--seeds", "0,x"], "'0,x' must be whole numbers from 0"),
        (["run", "--methods", "nac", "--set", "nac.flip=0.7"], "nac: flip must be in (0, 0.5), got 0.7"),
        (["run", "--methods", "nac", "--set", "nac.flp=0.2"], "nac.flp does not exist; did you mean 'flip'?"),
        (["run", "--methods", "nac", "--set", "nac.flip=high"], "nac.flip must be float, got 'high'"),
        (["run", "--methods", "nac", "--set", "sela.heads=2"], "in this request named 'sela'"),
        (["run", "--methods", "nac", "--device", "cuda:99"], "device 'cuda:99' cannot be used here"),
        (
            ["run", "--methods", "nac", "--datasets", "mnist", "--tasks", "knn"],
            "does not exist. To mend it, add --download",
        ),
        (["run", "--board", "nowhere"], "no board named 'nowhere'"),
        (["show", "nca"], "no component or board named 'nca'; did you mean 'nac'?"),
        (["why", "zzzz"], "no cell 'zzzz' in this request"),
        (["table", "--sort", "x"], ""),
        (["export"], "say where to: --csv FILE"),
        (["-p", "nac", "list"], "must be no:NAME"),
    ],
)
def test_a_wrong_request_is_one_line_on_stderr_and_exit_code_2(
    bench: Callable[..., Result], words: list[str], message: str
) -> None:
    if words[0] == "table":
        bench("run", *SHORT, "--quiet")
    result = bench(*words, code=2)
    assert message in result.stderr
    assert "Traceback" not in result.output
    if "Usage" not in result.stderr:
        assert result.stderr.count("\n") == 1


def test_a_folder_that_is_no_store_is_left_alone(bench: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "thesis.tex").write_text("x")
    assert "is no store" in bench("run", *SHORT, code=2).stderr
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["thesis.tex"]


def test_list_names_everything_with_its_package(bench: Callable[..., Result]) -> None:
    lines = json.loads(bench("list", "--json").stdout)
    assert {line["kind"] for line in lines} == {"encoder", "method", "dataset", "task", "board"}
    nac = next(line for line in lines if line["name"] == "nac")
    assert (nac["package"], bool(nac["version"]), bool(nac["summary"])) == ("bench-core", True, True)
    assert any(line.startswith("method") and "  nac" in line for line in bench("list").stdout.splitlines())
    assert bench("list", "--broken").stdout == ""
    left = json.loads(bench("-p", "no:nac", "list", "--json").stdout)
    assert "nac" not in {line["name"] for line in left}


def test_show_gives_paper_parameters_defaults_and_their_sources(bench: Callable[..., Result]) -> None:
    shown = bench("show", "nac").stdout
    assert "https://arxiv.org/abs/2112.04014" in shown
    assert "--set nac.flip=0.1  (float)" in shown
    assert "[README" in shown
    assert "--set nac.recipe.epochs=" in shown
    assert json.loads(bench("show", "knn", "--json").stdout)[0]["kind"] == "task"


def test_show_tells_what_a_board_holds_fixed(bench: Callable[..., Result]) -> None:
    shown = bench("show", "digits").stdout
    assert "dataset bench-core/digits" in shown
    assert "board digits: Handwritten digits, 8x8" in shown
    assert "methods.nac_without_noise: nac {'code_dim': 32" in shown


def test_why_prints_the_key_and_what_differs_from_the_nearest_cell(bench: Callable[..., Result]) -> None:
    bench("run", *SHORT, "--quiet")
    done = bench("why", "nac/knn", "--epochs", "1").stdout
    assert "done: a record has this key." in done
    assert "embed.pretrain.recipe.epochs = 1" in done
    other = bench("why", "nac/knn/0", "--epochs", "1", "--set", "nac.flip=0.3").stdout
    assert "embed.pretrain.method.config.flip: there 0.2, here 0.3" in other
    assert other.count(": there ") == 1


def test_check_tries_a_component(bench: Callable[..., Result]) -> None:
    result = bench("check", "simclr")
    assert "ok    objective bench-core/simclr: " in result.stdout
    assert "FAIL" not in result.stdout


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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(bench: Callable[..., Result], shell: str) -> None:
    assert "_BENCH_COMPLETE" in bench("completion", shell).stdout


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


def test_the_page_shows_all_that_is_in_the_store(bench: Callable[..., Result], tmp_path: Path) -> None:
    for method in ("random", "pixels"):
        bench("run", "--methods", method, "--tasks", "knn", "--quiet")
    page = (tmp_path / "runs" / "leaderboard.md").read_text()
    assert "| random" in page
    assert "| pixels" in page


@pytest.mark.parametrize("option", ["--csv", "--parquet", "--sqlite"])
def test_export_onto_a_folder_is_one_line_and_leaves_nothing(
    bench: Callable[..., Result], tmp_path: Path, option: str
) -> None:
    bench("run", "--methods", "random", "--tasks", "knn", "--quiet")
    (tmp_path / "there").mkdir()
    assert "there cannot be written" in bench("export", option, "there", code=2).stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["runs", "there"]
