"""A small campaign of faults, and a signal from the outside: nothing is lost, doubled or changed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner

from bench_core.cli.group import main
from bench_core.store import Store

CAMPAIGN = Path(__file__).with_name("campaign.py")
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
# The command in a process that is told to stop right after its first checkpoint.
STOPPED = """
import os, signal
from bench_core import cli
from bench_core.training import checkpoints
write = checkpoints._write
def stopped(path, content):
    write(path, content)
    os.kill(os.getpid(), signal.SIGTERM)
checkpoints._write = stopped
cli.main()
"""


def rows(store: Path) -> dict[str, Any]:
    return {r["key"]: {k: v for k, v in r.items() if k not in ("provenance", "cost")} for r in Store(store).records()}


def test_a_small_campaign_is_survived(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    markers = [f"<!-- bench:{end} {part} -->" for part in ("stopped", "others") for end in ("begin", "end")]
    page.write_text("\n".join(markers))
    files = "newest checkpoint|record|per-item results in a record"
    words = ["--methods", "moco", "--kills", "4", "--apart", "1", "--tries", "1", "--only", files]
    command = [sys.executable, str(CAMPAIGN), *words, "--out", str(page)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Runs that were stopped: 5." in page.read_text()
    assert re.search(r"\| `--jobs 2`, who watches, .* \| 1 of 1 \|", page.read_text())
    for fault in ("record: one bit flipped", "per-item results in a record: one hit turned"):
        assert f"| {fault} | 1 | 0 | 1 | 1 of 1 |" in page.read_text()


def test_a_run_that_is_told_to_stop_says_so_and_the_same_command_goes_on_to_the_same_rows(tmp_path: Path) -> None:
    words = ["run", "--methods", "simclr", "--tasks", "knn", "--epochs", "2", "--device", "cpu"]
    words += ["--checkpoint-every", "0", "--store"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", STOPPED, *words, str(tmp_path / "stopped")]
    stopped = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert stopped.returncode == 75, stopped.stderr
    said = "SIGTERM: stopped; what was finished is kept, and the same command goes on from there"
    assert stopped.stderr.splitlines()[-1] == said
    (under_way,) = (tmp_path / "stopped").glob("chains/*.under-way")
    assert [path.name[:12] for path in under_way.iterdir()] == ["000000000001"]

    for name in ("stopped", "whole"):
        assert CliRunner().invoke(main, [*words, str(tmp_path / name)]).exit_code == 0
    assert rows(tmp_path / "stopped") == rows(tmp_path / "whole")
    assert not under_way.exists()
    (log,) = (tmp_path / "stopped").glob("chains/*/log.jsonl")
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [4, 8]


def test_the_page_tells_of_a_campaign_that_was_survived() -> None:
    page = PAGE.read_text()
    (stopped,) = re.findall(r"Runs that were stopped: (\d+)\.", page)
    assert int(stopped) >= 100
    survived = re.findall(r"\| (\d+) of (\d+) \|$", page, re.MULTILINE)
    assert len(survived) > 20
    assert all(held == tries for held, tries in survived)
