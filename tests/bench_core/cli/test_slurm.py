"""`bench run --engine slurm` with programs that stand in for Slurm's, and the command of an element."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bench_core.cli.engine_options import SlurmElement, planning_device
from bench_core.running.setting import RunSetting
from bench_core.store import Store

REQUEST = ["--methods", "random", "--tasks", "knn", "--datasets", "digits", "--seeds", "0,1", "--device", "cpu"]
SLURM = ["--engine", "slurm", "--slurm", "time=60"]


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File that squeue prints; sbatch submits everything as job 7 and keeps the script."""
    folder = tmp_path / "slurm-programs"
    folder.mkdir()
    scripts = {
        "sbatch": f'[ "$1" = --help ] && echo --time || {{ cp "$1" {folder}/script; echo "Submitted batch job 7"; }}',
        "squeue": f"cat {folder}/queue",
        "scontrol": 'echo "MaxArraySize = 1001"',
        "srun": "",
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (folder / "queue").touch()
    return folder / "queue"


def test_elements_are_submitted_once_and_status_tells_what_they_do(
    bench: Callable[..., Result], queue: Path, tmp_path: Path
) -> None:
    result = bench("run", *REQUEST, *SLURM)
    assert "submitted 2 elements to Slurm, jobs 7" in result.stderr
    (cancel,) = [line for line in result.stderr.splitlines() if line.startswith("to cancel: scancel --name=bench-")]
    assert "--array=0-1%2\n" in (queue.parent / "script").read_text()
    queue.write_text("7_0|RUNNING|n3|None\n7_1|PENDING||Priority\n")
    status = bench("status").stdout
    assert "running on n3 (job 7_0)" in status
    assert "pending in Slurm's queue (job 7_1, Priority)" in " ".join(status.split())
    assert cancel in status
    again = bench("run", *REQUEST, *SLURM).stderr
    assert "submitted" not in again
    assert "2 elements of this request were in Slurm's queue before" in again
    queue.unlink()
    assert "squeue fails" in bench("status").stdout


def test_trials_of_all_rows_are_submitted_at_once(bench: Callable[..., Result], queue: Path, tmp_path: Path) -> None:
    command = ["tune", "--board", "digits", "--methods", "nac,simclr", "--trials", "2", "--epochs", "1"]
    result = bench(*command, "--out", "tuned.toml", *SLURM)
    assert "submitted 4 elements to Slurm, jobs 7" in result.stderr
    assert "not finished: nac, simclr; the same command goes on, and writes what has ended" in result.stderr
    assert not (tmp_path / "tuned.toml").exists()
    elements = list((tmp_path / "runs" / "tuning" / "digits" / "slurm" / "elements").glob("*_submitted.pkl"))
    assert [b"--board=runs/tuning/digits/board.toml" in element.read_bytes() for element in elements] == [True] * 4


@pytest.mark.slow
def test_command_of_an_element_makes_the_records_of_its_chain(
    bench: Callable[..., Result], queue: Path, tmp_path: Path
) -> None:
    bench("run", *REQUEST, *SLURM, "--slurm", "evaluation.time=5")
    elements = sorted((Path("runs") / "slurm" / "elements").glob("*_submitted.pkl"))
    script = (
        "import sys; from submitit.core.utils import *; print(*DelayedSubmission.load(sys.argv[1]).function.command)"
    )
    done = subprocess.run([sys.executable, "-c", script, elements[0]], capture_output=True, text=True, check=True)
    words = done.stdout.split()
    for part in ("train", "evaluate"):
        words[-1] = f"--element-part={part}"
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert len(Store("runs").records()) == (part == "evaluate")


def test_precision_follows_the_gpus_that_elements_ask_for(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def device(*slurm: str, device: str = "auto") -> str:
        return planning_device(RunSetting(engine="slurm", slurm=("time=60", *slurm), device=device), None)

    assert (device(), device("gpus=2"), device("gpus=2", device="cpu")) == ("cpu", "cuda", "cpu")
    assert planning_device(RunSetting(device="cpu"), SlurmElement("key", "whole", "cuda")) == "cuda"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--slurm", "time=60"], "slurm needs --engine slurm beside it"),
        (["--wait"], "wait needs --engine slurm beside it"),
        ([*SLURM, "--rerun", "knn"], "needs --wait"),
        (["--engine", "slurm"], "time is missing"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(
    bench: Callable[..., Result], queue: Path, options: list[str], message: str
) -> None:
    assert message in bench("run", *REQUEST, *options, code=2).stderr
