"""A small campaign of faults, and one run that a real signal stops: nothing is lost, doubled or changed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench_core.cli.group import main
from bench_core.store import Store
from bench_core.store.chain_files import read_finished_log

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
# The command in a process that gets SIGTERM right after its first checkpoint.
STOPPED = """
import os, signal
from bench_core import cli
from bench_core.training import checkpoints
write = checkpoints.write_bytes
def write_and_stop(path, content):
    write(path, content)
    os.kill(os.getpid(), signal.SIGTERM)
checkpoints.write_bytes = write_and_stop
cli.main()
"""


def rows(store: Path) -> dict[str, Any]:
    return {
        r.key: {k: v for k, v in r.stored.items() if k not in ("provenance", "cost")} for r in Store(store).records()
    }


def test_small_campaign_of_faults_is_survived_and_written_into_its_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    markers = [f"<!-- bench:{end} {part} -->" for part in ("stopped", "others") for end in ("begin", "end")]
    page.write_text("\n".join(markers))
    files = "newest checkpoint|record|per-item results in a record"
    arguments = ["--methods", "moco", "--kills", "4", "--parallel-kills", "1", "--tries", "1", "--only", files]
    command = [sys.executable, "-m", "tests.faults", *arguments, "--out", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    text = page.read_text()
    assert [marker for marker in markers if marker in text] == markers
    assert "Runs that were stopped: 5." in text
    assert re.search(r"\| `--jobs 2`, parent process, .* \| 1 of 1 \|", text)
    for fault in ("record: one bit flipped", "per-item results in a record: one hit turned"):
        assert f"| {fault} | 1 | 0 | 1 | 1 of 1 |" in text


def test_four_runs_of_one_command_share_the_work_of_a_store_while_signals_strike(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:begin shared -->\n<!-- bench:end shared -->\n")
    arguments = ["--kills", "0", "--parallel-kills", "0", "--tries", "0", "--shared-kills", "4"]
    arguments += ["--shared-only", "a start from another row, --jobs 1|one chain, --jobs 2", "--out", str(page)]
    done = subprocess.run([sys.executable, "-m", "tests.faults", *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    text = page.read_text()
    assert re.search(r"^Signals to four runs that shared a store: \d+\.$", text, re.MULTILINE)
    for case in (r"a start from another row \| `--jobs 1` \| \d \| 3", r"one chain \| `--jobs 2` \| \d \| 1"):
        assert re.search(rf"^\| {case} \| .* \| (\d) of \1 \|$", text, re.MULTILINE)


@pytest.mark.skipif(shutil.which("cc") is None, reason="a C compiler is needed to let operations on files fail")
def test_operations_on_files_that_fail_in_any_command_leave_nothing_half(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:begin io -->\n<!-- bench:end io -->\n")
    arguments = ["--kills", "0", "--parallel-kills", "0", "--tries", "0", "--io-faults", "2", "--out", str(page)]
    done = subprocess.run([sys.executable, "-m", "tests.faults", *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Operations on files that failed: 34." in page.read_text()


def test_run_stopped_by_sigterm_reports_it_and_the_same_command_resumes_to_the_same_rows(tmp_path: Path) -> None:
    arguments = ["run", "--methods", "simclr", "--tasks", "knn", "--epochs", "2", "--device", "cpu"]
    arguments += ["--checkpoint-every", "0", "--store"]
    command = [sys.executable, "-c", STOPPED, *arguments, str(tmp_path / "stopped")]
    stopped = subprocess.run(command, capture_output=True, text=True)
    assert stopped.returncode == 75, stopped.stderr
    assert stopped.stderr.splitlines()[-1].startswith("SIGTERM: stopped")
    (checkpoint_folder,) = (tmp_path / "stopped").glob("chains/*.under-way")
    assert [path.name[:12] for path in checkpoint_folder.glob("*.safetensors")] == ["000000000001"]

    for name in ("stopped", "whole"):
        assert CliRunner().invoke(main, [*arguments, str(tmp_path / name)]).exit_code == 0
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    assert not checkpoint_folder.exists()
    (chain,) = (tmp_path / "stopped").glob("chains/*/chain.json")
    assert [line["step"] for line in read_finished_log(chain.parent)] == [4, 8]


def test_published_campaign_survived_every_fault() -> None:
    page = PAGE.read_text()
    (stopped,) = re.findall(r"Runs that were stopped: (\d+)\.", page)
    assert int(stopped) >= 100
    (shared,) = re.findall(r"Signals to four runs that shared a store: (\d+)\.", page)
    assert int(shared) >= 100
    (operations,) = re.findall(r"Operations on files that failed: (\d+)\.", page)
    assert int(operations) >= 300
    survived = re.findall(r"\| (\d+) of (\d+) \|$", page, re.MULTILINE)
    assert len(survived) > 20
    assert all(held == tries for held, tries in survived)
