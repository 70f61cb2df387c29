"""Several chains on one screen: bars for those that run, lines for what deserves one."""

import io
import re

import pytest

from bench_core.running.chain_bars import ChainBars, choose_chain_progress
from bench_core.running.progress import ChildLogLines, LogLines, NoProgress, read_epoch, read_first_step

LABELS = "nac on digits with convnet, seed 0", "vae on digits with convnet, seed [1]"


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def bars(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> ChainBars:
    monkeypatch.setenv("COLUMNS", "100")
    bars = ChainBars(out)
    bars.bars.stop()  # what is drawn depends on the time; the tests look at the bars themselves
    for number, label in enumerate(LABELS, 1):
        bars.chain(number, 3, label)
    return bars


def rows(bars: ChainBars) -> list[tuple[str, float, float | None, str]]:
    return [(task.description, task.completed, task.total, task.fields["note"]) for task in bars.bars.tasks]


def test_each_running_chain_has_a_bar_that_follows_its_epochs(bars: ChainBars) -> None:
    bars.of_chain(LABELS[1], "  epoch 3/40  loss 6.1  3400 images/s  12 s left")
    bars.of_chain(LABELS[0], "  knn")
    assert rows(bars) == [
        ("chains", 0, 3, ""),
        (LABELS[0], 0, None, "knn"),
        (LABELS[1], 3, 40, "12 s left"),
    ]


def test_chain_that_ended_has_no_bar_and_the_time_of_all_that_is_left_is_shown(bars: ChainBars) -> None:
    bars.ended(LABELS[0])
    bars.overall(1, 3, "about 12 min")
    assert rows(bars) == [("chains", 1, 3, "about 12 min left in all"), (LABELS[1], 0, None, "starts")]
    bars.ended("a chain without a process")
    bars.overall(2, 3, "")
    assert rows(bars)[0] == ("chains", 2, 3, "")


def test_names_are_cut_so_that_epochs_and_time_left_fit_on_narrow_terminals(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    bars = ChainBars(out)
    bars.close()
    long = "nac_without_noise on cifar10 with resnet18, seed 0"
    bars.chain(3, 3, long)
    bars.of_chain(long, "  epoch 180/1000  loss 6.081  3864 images/s  23 min left, 2 h 40 min in all")
    bars.bars.console.print(bars.bars.get_renderable())
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue())
    [line] = [line for line in text.splitlines() if "180/1000" in line]
    assert line.startswith("nac_without_noise on...")
    assert line.rstrip().endswith("180/1000 23 min left, 2 h 40 min in all")


def test_chain_that_continues_has_one_bar(bars: ChainBars) -> None:
    bars.chain(1, 3, LABELS[0])
    assert len(rows(bars)) == 3


def test_warnings_failures_and_lines_of_chains_without_a_bar_are_printed_whole(
    bars: ChainBars, out: io.StringIO
) -> None:
    bars.of_chain(LABELS[1], "  warning: [bold]collapse[/bold]")
    bars.of_chain(LABELS[1], "done")
    bars.of_chain("another", "  knn")
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).splitlines()
    for line in (f"{LABELS[1]}: warning: [bold]collapse[/bold]", f"{LABELS[1]}: done", "another: knn"):
        assert line in lines
    assert f"[1/3] {LABELS[0]}" in lines


def test_display_is_chosen_by_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(choose_chain_progress(quiet=True)) is NoProgress
    assert type(choose_chain_progress(quiet=False)) is LogLines
    monkeypatch.setattr("bench_core.running.chain_bars.is_terminal", lambda: True)
    chosen = choose_chain_progress(quiet=False)
    chosen.close()
    assert isinstance(chosen, ChainBars)


def test_lines_of_a_process_are_read_by_the_one_that_started_it() -> None:
    out = io.StringIO()
    lines = ChildLogLines(out)
    lines.chain(1, 1, "nac")
    lines.epoch(40, 40, {"loss": 1.25, "images_per_s": 1000.4})
    lines.first_step(3.25, 80.0)
    epoch, memory = out.getvalue().splitlines()
    assert read_epoch(epoch) == (40, 40, "loss 1.25  1000 images/s")
    assert read_first_step(memory) == (3.25, 80.0)
    assert read_epoch(memory) is None
    assert read_first_step(epoch) is None


def test_log_says_how_many_chains_have_ended() -> None:
    out = io.StringIO()
    LogLines(out).overall(2, 45, "about 12 min")
    LogLines(out).overall(45, 45, "")
    assert out.getvalue() == "2 of 45 chains have ended, about 12 min left in all\n45 of 45 chains have ended\n"
