import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench_core import Loss, Player, Recipe
from bench_core.conformance.toys import Untrained
from bench_core.planning.plan import Plan
from bench_core.running.progress import Live, Plain, Silent, Watched, choose_progress
from bench_core.running.runner import run_plan
from bench_core.running.setting import Setting
from bench_core.store import Store

LINE = {"loss": 1.25, "images_per_s": 1000.4}


def test_plain_lines_are_few_and_the_last_epoch_is_always_told() -> None:
    out = io.StringIO()
    plain = Plain(out)
    plain.chain(1, 2, "nac on digits")
    for epoch in range(1, 101):
        plain.epoch(epoch, 100, LINE)
    plain.say("  embed")
    plain.close()
    assert out.getvalue() == "[1/2] nac on digits\n  epoch 100/100  loss 1.25  1000 images/s\n  embed\n"


def test_who_is_watched_does_not_say_again_which_chain_it_is() -> None:
    out = io.StringIO()
    watched = Watched(out)
    watched.chain(1, 1, "nac on digits")
    watched.epoch(1, 1, LINE)
    assert out.getvalue() == "  epoch 1/1  loss 1.25  1000 images/s\n"


def test_work_goes_on_when_nobody_reads_any_more() -> None:
    class Broken(io.StringIO):
        """A pipe whose reader left."""

        def write(self, text: str) -> int:
            raise BrokenPipeError

    Plain(Broken()).say("hello")


def test_a_game_is_told_as_one_loss(
    plan_of: Callable[..., Plan], add: Callable[[str, str, type], None], tmp_path: Path
) -> None:
    class Game(Untrained):
        """Two players (ours)."""

        recipe = Recipe(epochs=1)

        def players(self) -> list[Player]:
            """Both halves of the encoder."""
            first, *rest = self.encoder.parameters()
            return [Player("a", [first]), Player("b", rest)]

        def forward(self, views: Any, player: str = "main") -> Loss:
            """Anything."""
            return Loss(self.encoder(views).square().mean())

    add("objective", "game", Game)
    out = io.StringIO()
    plan = plan_of(methods=["game"])
    assert run_plan(plan, Store(tmp_path / "runs"), Setting(torch.device("cpu")), Plain(out)) == []
    assert "epoch 1/1  loss " in out.getvalue()


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    silent = choose_progress(quiet=True)
    assert isinstance(silent, Silent)
    silent.chain(1, 1, "x")
    silent.epoch(1, 1, LINE)
    silent.say("x")
    silent.close()
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_lines_are_plain() -> None:
    assert isinstance(choose_progress(quiet=False), Plain)


def test_the_live_bar_prints_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    live = Live()
    live.chain(1, 2, "nac [bold] on digits")
    live.epoch(1, 2, LINE)
    live.say("  linear")
    live.close()
    shown = capsys.readouterr().err
    assert "[1/2] nac [bold] on digits" in shown
    assert "  linear" in shown
