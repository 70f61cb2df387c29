"""The log of a training that goes on: what is written, who holds it, and which lines count."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench_core.store.training_log import current_lines, read_log
from bench_core.store.under_way import LiveLog, is_being_trained, under_way_folder

DESCRIPTION = {"doc": {}, "names": {}, "label": "nac on digits"}


def test_a_line_is_on_disk_at_once_and_the_folder_is_named_after_the_chain(tmp_path: Path) -> None:
    folder = under_way_folder(tmp_path / "abc")
    assert folder == tmp_path / "abc.under-way"
    with LiveLog(folder, DESCRIPTION) as log:
        log.write({"epoch": 1, "loss": 2.0})
        assert read_log(folder / "log.jsonl") == [{"epoch": 1, "loss": 2.0}]
    assert json.loads((folder / "recipe.json").read_text())["label"] == "nac on digits"


def test_a_chain_is_being_trained_while_a_process_holds_its_log(tmp_path: Path) -> None:
    folder = tmp_path / "abc.under-way"
    assert not is_being_trained(folder)  # nothing there
    code = (
        "import sys, pathlib; from bench_core.store.under_way import LiveLog\n"
        "with LiveLog(pathlib.Path(sys.argv[1]), {}): print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert is_being_trained(folder)
        process.kill()
    assert not is_being_trained(folder)


def test_epochs_that_were_done_again_count_once() -> None:
    lines = [{"epoch": epoch, "try": attempt} for attempt, epoch in [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3)]]
    assert current_lines([*lines, {"after_training": {}}]) == [lines[0], lines[3], lines[4], {"after_training": {}}]
    started_anew = [*lines, {"epoch": 1, "try": 3}]
    assert current_lines(started_anew) == [{"epoch": 1, "try": 3}]


@pytest.mark.parametrize("half", ['{"epoch": 2, "lo', "[1]", "\x00\x00", "[" * 100_000])
def test_half_a_line_is_left_out(tmp_path: Path, half: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"epoch": 1}\n' + half)
    assert read_log(path) == [{"epoch": 1}]


def test_a_disk_that_cannot_be_written_costs_only_the_log(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with LiveLog(tmp_path / "file" / "abc.under-way", DESCRIPTION) as log:
        log.write({"epoch": 1})
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]
    assert (tmp_path / "file").read_text() == ""
