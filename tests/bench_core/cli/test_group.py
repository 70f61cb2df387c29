"""The command group: which flags there are, how a wrong request is answered, and the commands check and completion."""

import errno
import os
import signal
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result

from bench_core.cli.group import main
from bench_core.conformance.check import Outcome
from bench_core.errors import RequestError, StoreError
from bench_core.store.claims import LostClaim
from bench_core.training.stopping import Stopped

SHORT = ["--methods", "random,nac", "--tasks", "knn", "--epochs", "1"]


ENGINE = [
    "--checkpoint-every", "--claim-beat", "--claim-stale", "--compile", "--data-cache", "--device", "--engine",
    "--isolate", "--jobs", "--keep-every", "--log", "--memory", "--probe-every", "--ranks", "--rerun",
    "--resume-anyway", "--slurm", "--time-limit", "--wait", "--workers",
]  # fmt: skip
RUN = [
    *ENGINE, "--cells", "--check-data", "--commands", "--download", "--dry-run", "--element", "--element-device",
    "--element-gives-up", "--element-part", "--json", "--only-chain", "--quiet", "--retry-failed", "--without-cell",
]  # fmt: skip
CLAIMS = [
    "--claims", "--data-root", "--download", "--dry-run", "--json", "--leaderboards", "--markdown", "--quiet", "--run",
    "--store", "paper",
]  # fmt: skip
TUNE = [
    "--board", "--data-root", "--download", "--dry-run", "--epochs", "--methods", "--out", "--quiet", "--retry-failed",
    "--seeds", "--store", "--trials", "--validation",
]  # fmt: skip


def test_the_flags_are_few_and_frozen() -> None:
    flags = {name: sorted(o for p in command.params for o in p.opts) for name, command in main.commands.items()}
    cells = [
        "--at", "--batch-size", "--board", "--data-root", "--datasets", "--encoders", "--epochs", "--methods",
        "--precision", "--seeds", "--set", "--store", "--sweep", "--tasks", "--validation",
    ]  # fmt: skip
    assert flags == {
        "run": sorted([*cells, *RUN]),
        "tune": sorted({*TUNE, *ENGINE} - {"--rerun"}),
        "why": sorted([*cells, "cell"]),
        "status": sorted([*cells, "--json"]),
        "logs": ["--follow", "--store", "-f", "chain"],
        "rm": sorted(["--dry-run", "--embeddings", "--failed", "--records", "--store", "--yes", "chains"]),
        "convert": ["--output", "--set", "--store", "--to", "-o", "chain"],
        "embed": ["--output", "--set", "--store", "-o", "chain", "images"],
        "path": ["--dataset", "--encoder", "--names", "--seed", "--store", "name"],
        "list": ["--broken", "--json", "kind"],
        "show": ["--board", "--json", "name"],
        "check": ["--data-root", "--datasets", "--set", "names"],
        "claims": sorted([*CLAIMS, *ENGINE]),
        "completion": ["shell"],
        "table": [
            "--board",
            "--check",
            "--columns",
            "--decimals",
            "--format",
            "--leaderboards",
            "--methods",
            "--notes",
            "--published",
            "--raw-cells",
            "--readme",
            "--sort",
            "--store",
            "--wide",
        ],
        "plot": ["--board", "--kind", "--methods", "--out", "--store", "--x", "--y"],
        "publish": ["--leaderboards", "--pages", "--partial", "--readme", "--store", "board"],
        "site": ["--board", "--leaderboards", "--out", "--served", "--store"],  # --served: hidden, for `serve`
        "serve": ["--board", "--leaderboards", "--port", "--store"],
        "export": ["--csv", "--parquet", "--raw-cells", "--sqlite", "--store"],
        "merge": ["--dry-run", "--store", "other"],
        "new": ["--dir", "kind", "name"],
        "eval": ["--data-root", "--dataset", "--device", "--name", "--quiet", "--set", "--store", "--tasks", "file"],
        "verify": sorted(
            ["--data-root", "--device", "--download", "--quiet", "--set", "--store", "--tolerance", "cell"]
        ),
        "compare": ["--board", "--every-metric", "--format", "--store", "rows"],
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--methods", "nca"], "no method named 'nca'; did you mean 'nac'? Known: amdim, autoencoder, "),
        (["run", "--methods", "nac,"], "'nac,' has an empty name"),
        (["run"], "say which methods: --methods"),
        (["run", "--methods", "nac", "--seeds", "0,x"], "'0,x' must be whole numbers from 0"),
        (["run", "--methods", "nac", "--set", "nac.flip=0.7"], "nac: flip must be in (0, 0.5), got 0.7"),
        (["run", "--methods", "nac", "--set", "nac.flp=0.2"], "nac.flp does not exist; did you mean 'flip'?"),
        (["run", "--methods", "nac", "--set", "nac.flip=high"], "nac.flip must be float, got 'high'"),
        (["run", "--methods", "nac", "--set", "sela.heads=2"], "in this request named 'sela'"),
        (["run", "--methods", "nac", "--device", "cuda:99"], "device 'cuda:99' cannot be used here"),
        (
            ["run", "--methods", "nac", "--datasets", "mnist", "--tasks", "knn", "--quiet"],
            "does not exist. To repair it, add --download",
        ),
        (["run", "--board", "nowhere"], "no board named 'nowhere'"),
        (["show", "nca"], "no component or board named 'nca'; did you mean 'nac'?"),
        (["why", "zzzz"], "no cell 'zzzz' in this request"),
        (["table", "--sort", "x"], ""),
        (["export"], "say where to: --csv FILE"),
        (["export", "--sqlite", "a", "--raw-cells"], "--raw-cells is for --csv FILE"),
        (["table", "--raw-cells"], "--raw-cells is for --format csv"),
        (["publish"], "say which board to publish; `bench publish --pages` writes all pages again"),
        (["publish", "digits", "--pages"], "type it without 'digits'"),
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tabel"], "No such command 'tabel'; did you mean 'table'?"),
        (["LIST"], "No such command 'LIST'; did you mean 'list'?"),
        (["run", "--method", "nac"], "No such option '--method'; did you mean '--methods'?"),
        (["--helf"], "No such option '--helf'; did you mean '--help'?"),
    ],
)
def test_unknown_command_or_option_ends_with_the_most_similar_one(
    bench: Callable[..., Result], words: list[str], message: str
) -> None:
    assert message in bench(*words, code=2).stderr


@pytest.mark.parametrize(("before", "after"), [(None, "20000"), ("7", "7")])
def test_waiting_threads_give_up_their_core_unless_the_user_says_otherwise(
    in_child: Callable[[Callable[[], None]], None], before: str | None, after: str
) -> None:
    def import_again() -> None:
        os.environ.pop("GOMP_SPINCOUNT", None)
        if before is not None:
            os.environ["GOMP_SPINCOUNT"] = before
        del sys.modules["bench_core.cli.group"]
        __import__("bench_core.cli.group")
        assert os.environ["GOMP_SPINCOUNT"] == after

    in_child(import_again)


def test_check_prints_each_outcome_and_fails_if_one_has_an_error(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [Outcome("It learns", None), Outcome("It ends", "ValueError: no"), Outcome("It is read", None, False)]
    monkeypatch.setattr("bench_core.conformance.check_component", lambda component, registry: outcomes)
    assert bench("check", "nac", code=1).stdout.splitlines() == [
        "ok    method bench-core/nac: It learns",
        "FAIL  method bench-core/nac: It ends: ValueError: no",
        "skip  method bench-core/nac: It is read",
    ]


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "stopped; what was finished is kept, and the same command resumes from there\n"),
        (Stopped(signal.SIGINT), 130, "SIGINT: stopped; what was finished is kept"),
        (Stopped(signal.SIGTERM), 75, "SIGTERM: stopped; what was finished is kept"),
        (LostClaim("ab"), 75, "another process has taken over this chain"),
        (
            OSError(errno.EACCES, "Permission denied", "runs/a"),
            1,
            "Error: runs/a: Permission denied. What was finished",
        ),
        (OSError(errno.ENOSPC, "No space left"), 1, "Error: the disk: No space left. What was finished is kept.\n"),
        (StoreError("a record\nis damaged"), 1, "Error: a record is damaged\n"),
        (RequestError("no such\x1b thing"), 2, "Error: no such thing\n"),
        (click.Abort(), 130, ""),
    ],
    ids=repr,
)
def test_errors_that_are_meant_for_users_are_one_line_and_an_exit_code(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, told: str
) -> None:
    def fail(ctx: click.Context) -> None:
        raise error

    monkeypatch.setattr("bench_core.cli.look.load", fail)
    result = bench("list", code=code)
    assert result.stdout == ""
    assert result.stderr.startswith(told)
    assert result.stderr.count("\n") == bool(told)


@pytest.mark.parametrize("error", [ValueError("a defect"), OSError(errno.ECHILD, "No child")])
def test_any_other_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(ctx: click.Context) -> None:
        raise error

    monkeypatch.setattr("bench_core.cli.look.load", fail)
    with pytest.raises(type(error)):
        CliRunner().invoke(main, ["list"], catch_exceptions=False)


def test_help_lists_every_command_under_a_heading(bench: Callable[..., Result]) -> None:
    lines = bench("--help").stdout.splitlines()
    listed = [line.split()[0] for line in lines[lines.index("Run:") :] if line.startswith("  ") and line[2] != " "]
    assert sorted(listed) == sorted(main.commands)
    assert "Compare:" in lines


def test_calling_the_group_ends_the_process(in_child: Callable[[Callable[[], None]], None]) -> None:
    def work() -> None:
        with pytest.raises(SystemExit) as end:
            main(["list", "--nothing"], prog_name="bench")
        assert end.value.code == 2

    in_child(work)


def test_check_takes_several_names(bench: Callable[..., Result]) -> None:
    lines = bench("check", "random", "pixels").stdout.splitlines()
    assert {line.split()[2] for line in lines} == {"bench-core/random:", "bench-core/pixels:"}


def test_check_tries_a_component(bench: Callable[..., Result]) -> None:
    result = bench("check", "simclr")
    assert "ok    method bench-core/simclr: " in result.stdout
    assert "FAIL" not in result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(bench: Callable[..., Result], shell: str) -> None:
    assert "_BENCH_COMPLETE" in bench("completion", shell).stdout
