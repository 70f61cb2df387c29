"""Progress of a run, shown on stderr: a bar on a terminal, log lines elsewhere, nothing with `--quiet`."""

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol, TextIO, cast

from bench_core.output import SteadyStream, printable, write

LINE_INTERVAL_S = 5.0  # least time between two log lines of one training


def task_line(task: str) -> str:
    """Return the log line that says that a task begins.

    A process that starts others reads it in their output: the last such line names the task that is running.
    """
    return f"  {task}"


class Progress(Protocol):
    """Receives what a run is doing. The runner and the engines call these methods as the work proceeds."""

    def chain(self, number: int, total: int, label: str) -> None:
        """Show that chain `number` (from 1) of `total` begins."""

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """Show that epoch `done` (from 1) of `total` has ended; `line` is its line of the training's log."""

    def log(self, text: str) -> None:
        """Show a line of text: a stage begins, or something ended that deserves a line."""

    def close(self) -> None:
        """End the display. No other method is called afterwards."""


class NoProgress:
    """Shows nothing; for `--quiet` and for tests."""

    def chain(self, number: int, total: int, label: str) -> None:
        """Show nothing."""

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """Show nothing."""

    def log(self, text: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class LogLines:
    """Writes a line for each stage, and during a training one every few seconds; for log files."""

    def __init__(self, out: TextIO | None = None) -> None:
        """Write to `out`, by default stderr."""
        self.out = out or sys.stderr
        self._last_epoch_line = 0.0

    def chain(self, number: int, total: int, label: str) -> None:
        """Write a line such as `[2/10] sela on digits with convnet, seed 0`."""
        self.log(f"[{number}/{total}] {label}")
        self._last_epoch_line = time.monotonic()

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """Write a line if the last one is some seconds old, and always after the last epoch."""
        if time.monotonic() - self._last_epoch_line >= LINE_INTERVAL_S or done == total:
            self.log(f"  epoch {done}/{total}  loss {line['loss']:.4g}  {line['images_per_s']:.0f} images/s")
            self._last_epoch_line = time.monotonic()

    def log(self, text: str) -> None:
        """Write the text. A closed pipe is no error: the run continues without a reader."""
        write(f"{printable(text)}\n", self.out)

    def close(self) -> None:
        """Do nothing."""


class ChildLogLines(LogLines):
    """Writes the log lines of a process that runs one chain; the process that started it has named the chain."""

    def chain(self, number: int, total: int, label: str) -> None:
        """Write nothing."""


class ProgressBar:
    """Shows a bar for the training of the current chain, and log lines above it; for terminals."""

    def __init__(self) -> None:
        """Start drawing on stderr."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(file=cast(TextIO, SteadyStream(sys.stderr))),  # rich would raise
            transient=True,
        )
        self.bars.start()
        self.bar = self.bars.add_task("", total=None, note="")

    def chain(self, number: int, total: int, label: str) -> None:
        """Print a line that names the chain, and begin a new bar."""
        self.log(f"[{number}/{total}] {label}")
        self.bars.reset(self.bar, description="  pretrain", note="")

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """Move the bar, and show loss and speed beside it."""
        note = f"loss {line['loss']:.4g}  {line['images_per_s']:.0f} images/s"
        self.bars.update(self.bar, total=total, completed=done, note=note)

    def log(self, text: str) -> None:
        """Print a line above the bar, brackets and colons in it as they are."""
        self.bars.print(printable(text), highlight=False, markup=False, emoji=False, soft_wrap=True)

    def close(self) -> None:
        """Remove the bar."""
        self.bars.stop()


def choose_progress(quiet: bool) -> Progress:
    """Return a display that shows nothing if `quiet`, a bar on a terminal, log lines elsewhere."""
    if quiet:
        return NoProgress()
    return ProgressBar() if sys.stderr is not None and sys.stderr.isatty() else LogLines()
