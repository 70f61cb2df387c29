import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core import Loss, Player, Recipe
from bench_core.conformance.toys import Untrained
from bench_core.planning.plan import Plan
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
