"""What a person sees while chains run: a live bar on a terminal, a line now and then elsewhere; all on stderr."""

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol, TextIO

QUIET_S = 5.0  # between two plain lines of one stage


def begins(task: str) -> str:
    """The line that says so; a process that is watched says by it how far it came."""
    return f"  {task}"


class Progress(Protocol):
    """Told by the runner where it stands."""

    def chain(self, number: int, total: int, label: str) -> None:
        """A chain begins."""

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """An epoch ended."""

    def say(self, text: str) -> None:
        """A stage begins, or something ended that deserves a line."""

    def close(self) -> None:
        """No more is to come."""


class Silent:
    """For `--quiet` and for tests."""

    def chain(self, number: int, total: int, label: str) -> None:
        """Nothing."""

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Plain:
    """Lines for logs: each stage, and during training one every few seconds."""

    def __init__(self, out: TextIO | None = None) -> None:
        """Write to `out`, by default stderr."""
        self.out = out or sys.stderr
        self.last = 0.0

    def chain(self, number: int, total: int, label: str) -> None:
        """`[2/10] sela on digits with convnet, seed 0`."""
        self.say(f"[{number}/{total}] {label}")
        self.last = time.monotonic()

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """One line every few seconds, and the last."""
        if time.monotonic() - self.last >= QUIET_S or done == total:
            self.say(f"  epoch {done}/{total}  loss {line['loss']:.4g}  {line['images_per_s']:.0f} images/s")
            self.last = time.monotonic()

    def say(self, text: str) -> None:
        """The text, as long as somebody reads."""
        with suppress(BrokenPipeError):
            self.out.write(f"{text}\n")  # at once: of chains side by side no line is torn
            self.out.flush()

    def close(self) -> None:
        """Nothing."""


class Watched(Plain):
    """For a process that runs one chain: the one that watches it has said which."""

    def chain(self, number: int, total: int, label: str) -> None:
        """Nothing."""


class Live:
    """A bar for each chain's training, by rich."""

    def __init__(self) -> None:
        """Start drawing on stderr."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self.bars.start()
        self.task = self.bars.add_task("", total=None, note="")

    def chain(self, number: int, total: int, label: str) -> None:
        """A new bar."""
        self.bars.print(f"[{number}/{total}] {label}", highlight=False, markup=False)
        self.bars.reset(self.task, total=None, description="  pretrain", note="")

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """Move it."""
        note = f"loss {line['loss']:.4g}  {line['images_per_s']:.0f} images/s"
        self.bars.update(self.task, total=total, completed=done, note=note)

    def say(self, text: str) -> None:
        """A line above the bar."""
        self.bars.print(text, highlight=False, markup=False)

    def close(self) -> None:
        """Take the bar away."""
        self.bars.stop()


def choose_progress(quiet: bool) -> Progress:
    """Silent where asked, live on a terminal, plain lines elsewhere."""
    if quiet:
        return Silent()
    return Live() if sys.stderr.isatty() else Plain()
