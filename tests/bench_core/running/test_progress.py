import io
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench_core import Loss, Player, Recipe
from bench_core.conformance.toys import Untrained
from bench_core.planning.chains import Plan
from bench_core.running.progress import ChildLogLines, LogLines, NoProgress, ProgressBar, choose_progress
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store

LINE = {"loss": 1.25, "images_per_s": 1000.4}


def test_log_has_few_epoch_lines_and_always_the_last_epoch() -> None:
    out = io.StringIO()
    lines = LogLines(out)
    lines.chain(1, 2, "nac on digits")
    for epoch in range(1, 101):
        lines.epoch(epoch, 100, LINE)
    lines.log("  embed")
    lines.close()
    assert out.getvalue() == "[1/2] nac on digits\n  epoch 100/100  loss 1.25  1000 images/s\n  embed\n"


def test_process_of_one_chain_does_not_log_the_name_of_its_chain() -> None:
    out = io.StringIO()
    lines = ChildLogLines(out)
    lines.chain(1, 1, "nac on digits")
    lines.epoch(1, 1, LINE)
    assert out.getvalue() == "  epoch 1/1  loss 1.25  1000 images/s\n"


def test_log_to_a_closed_pipe_is_no_error() -> None:
    class ClosedPipe(io.StringIO):
        """A pipe that nothing reads any more."""

        def write(self, text: str) -> int:
            raise BrokenPipeError

    LogLines(ClosedPipe()).log("hello")


def test_log_of_a_game_shows_one_loss(
    plan_of: Callable[..., Plan], add: Callable[[str, str, type], None], tmp_path: Path
) -> None:
    class Game(Untrained):
        """A method with two players (a toy)."""

        recipe = Recipe(epochs=1)

        def players(self) -> list[Player]:
            first, *rest = self.encoder.parameters()
            return [Player("a", [first]), Player("b", rest)]

        def forward(self, views: Any, player: str = "main") -> Loss:
            return Loss(self.encoder(views).square().mean())

    add("objective", "game", Game)
    out = io.StringIO()
    plan = plan_of(methods=["game"])
    assert run_plan(plan, Store(tmp_path / "runs"), RunSetting(device="cpu"), LogLines(out)) == []
    assert "epoch 1/1  loss " in out.getvalue()


def test_quiet_run_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = choose_progress(quiet=True)
    assert isinstance(progress, NoProgress)
    progress.chain(1, 1, "x")
    progress.epoch(1, 1, LINE)
    progress.log("x")
    progress.close()
    assert capsys.readouterr() == ("", "")


def test_output_that_is_no_terminal_gets_log_lines() -> None:
    assert isinstance(choose_progress(quiet=False), LogLines)


def test_progress_bar_prints_brackets_in_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar()
    bar.chain(1, 2, "nac [bold] on digits")
    bar.epoch(1, 2, LINE)
    bar.log("  linear")
    bar.close()
    output = capsys.readouterr().err
    assert "[1/2] nac [bold] on digits" in output
    assert "  linear" in output


def test_bar_shows_epochs_loss_and_speed_of_the_chain_that_trains() -> None:
    bar = ProgressBar()
    (shown,) = bar.bars.tasks
    assert bar.bars.live.is_started
    bar.chain(1, 2, "nac on digits")
    bar.epoch(3, 4, LINE)
    note = "loss 1.25  1000 images/s"
    assert (shown.description, shown.completed, shown.total, shown.fields["note"]) == ("  pretrain", 3, 4, note)
    bar.chain(2, 2, "sela on digits")
    assert (shown.completed, shown.fields["note"]) == (0, "")
    bar.close()
    assert not bar.bars.live.is_started


@pytest.mark.parametrize(("terminal", "columns"), [("xterm-256color", 80), ("xterm", 40), ("dumb", 80), ("", 1)])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_lines_above_a_bar_come_whole_on_any_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: str, columns: int, encoding: str
) -> None:
    """The other end of a terminal is read; what moves the cursor is left out of what was read."""
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    leader, follower = os.openpty()
    line = "nac:key: on digits [bold] with convnet :warning: " + "x" * 60
    with open(follower, "w", encoding=encoding) as stderr, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        progress = choose_progress(quiet=False)
        assert isinstance(progress, ProgressBar)
        progress.chain(1, 2, line)
        for epoch in range(1, 4):
            progress.epoch(epoch, 3, LINE)
        progress.log("\x1b[2J 1 ± 2")
        progress.close()
    shown = b""
    with suppress(OSError):  # all is read
        while part := os.read(leader, 1 << 16):
            shown += part
    os.close(leader)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(encoding))
    assert f"[1/2] {line}" in plain
    assert f"\\u001b[2J 1 {'±' if encoding == 'utf-8' else '?'} 2" in plain


def test_epochs_show_the_time_left_of_the_training_and_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_core.running.progress.LINE_INTERVAL_S", 0.0)
    out = io.StringIO()
    lines = LogLines(out)
    lines.chain(1, 2, "nac on digits")
    lines.later(100.0)
    for epoch in (1, 2, 9, 10):
        lines.epoch(epoch, 10, LINE | {"seconds": 5.0 if epoch == 1 else 3.0})
    lines.later(None)
    lines.items("embed", 512, 1000)
    lines.working("linear", 12.4)
    lines.working("knn", 1.0)  # too short for a word
    lines.working("knn", None)
    assert out.getvalue().splitlines()[1:] == [
        "  epoch 1/10  loss 1.25  1000 images/s  45 s left, 2 min in all",
        "  epoch 2/10  loss 1.25  1000 images/s  32 s left, 2 min in all",  # medians: 4 s, then 3 s
        "  epoch 9/10  loss 1.25  1000 images/s  3 s left, 2 min in all",
        "  epoch 10/10  loss 1.25  1000 images/s  2 min in all",
        "    embed 512/1000",
        "    takes about 12 s",
    ]


def test_a_run_knows_from_its_first_chain_how_long_the_second_takes(
    plan_of: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Keeps(NoProgress):
        """Keeps what comes later, and how many items are embedded."""

        def __init__(self) -> None:
            self.seconds: list[float | None] = []
            self.embedded: list[tuple[int, int]] = []

        def later(self, seconds: float | None) -> None:
            self.seconds.append(seconds)

        def items(self, what: str, done: int, total: int) -> None:
            self.embedded.append((done, total))

    monkeypatch.setattr("bench_core.running.estimates._ASK_AGAIN_S", 0.0)
    progress = Keeps()
    run_plan(plan_of(seeds=[0, 1, 2]), Store(tmp_path / "runs"), RunSetting(device="cpu"), progress)
    first, second, third = progress.seconds
    assert first is None
    assert second is not None
    assert third is not None
    assert second > third > 0
    assert progress.embedded == [(48, 64), (64, 64)] * 3
