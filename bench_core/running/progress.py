"""Progress of a run, shown on stderr: a bar on a terminal, log lines elsewhere, nothing with `--quiet`."""

import re
import sys
import time
from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any, Protocol, TextIO, cast

from bench_core.output import SteadyStream, printable, write
from bench_core.running.estimates import duration

LINE_INTERVAL_S = 5.0  # least time between two log lines of one training
NOTICED_S = 2.0  # shorter work needs no word on its time
_RECENT = 20  # epochs of which the speed is taken


_FIRST_STEP = "    memory of the first step: "
_EPOCH = re.compile(r"  epoch (\d+)/(\d+)  (.*)")


def epoch_line(done: int, total: int, note: str) -> str:
    """Return the log line of an epoch, which `read_epoch` reads in the output of another process."""
    return f"  epoch {done}/{total}  {note}"


def read_epoch(line: str) -> tuple[int, int, str] | None:
    """Return the epochs done, the epochs in all and the note of a line of `epoch_line`; None of another line."""
    found = _EPOCH.fullmatch(line)
    return (int(found[1]), int(found[2]), found[3]) if found else None


def read_first_step(line: str) -> tuple[float, float] | None:
    """Return the GiB that a training took in its first step, and those of its GPU, from the line that tells them."""
    if not line.startswith(_FIRST_STEP):
        return None
    peak, _, device = line.removeprefix(_FIRST_STEP).removesuffix(" GiB").partition(" of ")
    return float(peak), float(device)


def overall_line(done: int, total: int, left: str) -> str:
    """Say how many of several chains have ended, and how long all others take."""
    return f"{done} of {total} chains have ended{f', {left} left in all' if left else ''}"


def task_line(task: str) -> str:
    """Return the log line that says that a task begins.

    A process that starts others reads it in their output: the last such line names the task that is running.
    """
    return f"  {task}"


class TimeLeft:
    """Time that a training and all after it still take, by the speed of its epochs so far.

    Attributes:
        later: Seconds of all that comes after the training; None where they are not known.
    """

    def __init__(self) -> None:
        """Begin with no epoch."""
        self.later: float | None = None
        self._seconds: deque[float] = deque(maxlen=_RECENT)

    def text(self, done: int, total: int, line: Mapping[str, Any]) -> str:
        """Take in an epoch's line of the log, and write the time left behind it; "" where it is short."""
        if isinstance(line.get("seconds"), float):
            self._seconds.append(line["seconds"])
        if not self._seconds:
            return ""
        training = median(self._seconds) * (total - done)
        parts = [f"{duration(training)} left"] if training >= NOTICED_S else []
        if self.later is not None and self.later >= NOTICED_S:
            parts.append(f"{duration(training + self.later)} in all")
        return f"  {', '.join(parts)}" if parts else ""


class Progress(Protocol):
    """Receives what a run is doing. The runner and the engines call these methods as the work proceeds."""

    def chain(self, number: int, total: int, label: str) -> None:
        """Show that chain `number` (from 1) of `total` begins."""

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """Show that epoch `done` (from 1) of `total` has ended; `line` is its line of the training's log."""

    def later(self, seconds: float | None) -> None:
        """Note how long all takes that comes after the training of this chain; None where that is not known."""

    def working(self, what: str, expected: float | None) -> None:
        """Show that a task begins, and the seconds that it took before, if that is known."""

    def items(self, what: str, done: int, total: int) -> None:
        """Show how many items of the data are done, of which there are `total`."""

    def first_step(self, peak_gib: float, device_gib: float) -> None:
        """Note the memory of a GPU that a training has taken after its first step, and how much the GPU has."""

    def log(self, text: str) -> None:
        """Show a line of text: a stage begins, or something ended that deserves a line."""

    def of_chain(self, label: str, text: str) -> None:
        """Show a line of one of several chains that run at the same time, each in a process of its own."""

    def ended(self, label: str) -> None:
        """Note that one of several chains has ended."""

    def overall(self, done: int, total: int, left: str) -> None:
        """Show how many of several chains have ended, and the time of all that is left, "" where it is not known."""

    def close(self) -> None:
        """End the display. No other method is called afterwards."""


class NoProgress:
    """Shows nothing; for `--quiet` and for tests."""

    def chain(self, number: int, total: int, label: str) -> None:
        """Show nothing."""

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """Show nothing."""

    def later(self, seconds: float | None) -> None:
        """Show nothing."""

    def working(self, what: str, expected: float | None) -> None:
        """Show nothing."""

    def items(self, what: str, done: int, total: int) -> None:
        """Show nothing."""

    def first_step(self, peak_gib: float, device_gib: float) -> None:
        """Show nothing."""

    def log(self, text: str) -> None:
        """Show nothing."""

    def of_chain(self, label: str, text: str) -> None:
        """Take it as a line that begins with the chain's name."""
        self.log(f"{label}: {text.strip()}")

    def ended(self, label: str) -> None:
        """Show nothing."""

    def overall(self, done: int, total: int, left: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Do nothing."""


class LogLines(NoProgress):
    """Writes a line for each stage, and during a training one every few seconds; for log files."""

    def __init__(self, out: TextIO | None = None) -> None:
        """Write to `out`, by default stderr."""
        self.out = out or sys.stderr
        self._last_epoch_line = 0.0
        self._left = TimeLeft()

    def chain(self, number: int, total: int, label: str) -> None:
        """Write a line such as `[2/10] sela on digits with convnet, seed 0`."""
        self.log(f"[{number}/{total}] {label}")
        self._begin()

    def _begin(self) -> None:
        self._last_epoch_line = time.monotonic()
        self._left = TimeLeft()

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """Write a line if the last one is some seconds old, and always after the last epoch."""
        if time.monotonic() - self._last_epoch_line >= LINE_INTERVAL_S or done == total:
            left = self._left.text(done, total, line)
            self.log(epoch_line(done, total, f"loss {line['loss']:.4g}  {line['images_per_s']:.0f} images/s{left}"))
            self._last_epoch_line = time.monotonic()

    def later(self, seconds: float | None) -> None:
        """Keep it for the lines of the epochs."""
        self._left.later = seconds

    def working(self, what: str, expected: float | None) -> None:
        """Write how long a task took before, if that is a while."""
        if expected is not None and expected >= NOTICED_S:
            self.log(f"    takes about {duration(expected)}")

    def items(self, what: str, done: int, total: int) -> None:
        """Write a line if the last one is some seconds old."""
        if time.monotonic() - self._last_epoch_line >= LINE_INTERVAL_S:
            self.log(f"    {what} {done}/{total}")
            self._last_epoch_line = time.monotonic()

    def log(self, text: str) -> None:
        """Write the text. A closed pipe is no error: the run continues without a reader."""
        write(f"{printable(text)}\n", self.out)

    def overall(self, done: int, total: int, left: str) -> None:
        """Write it as a line."""
        self.log(overall_line(done, total, left))


class ChildLogLines(LogLines):
    """Writes the log lines of a process that runs one chain; the process that started it has named the chain."""

    def chain(self, number: int, total: int, label: str) -> None:
        """Write nothing."""
        self._begin()

    def first_step(self, peak_gib: float, device_gib: float) -> None:
        """Write a line that the other process reads."""
        self.log(f"{_FIRST_STEP}{peak_gib:.3f} of {device_gib:.3f} GiB")


class ProgressBar(NoProgress):
    """Shows a bar for the training of the current chain, and log lines above it; for terminals."""

    def __init__(self) -> None:
        """Start drawing on stderr."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self.bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=Console(file=cast(TextIO, SteadyStream(sys.stderr))),  # rich would raise
            transient=True,
        )
        self.bars.start()
        self.bar = self.bars.add_task("", total=None, note="")
        self._left = TimeLeft()

    def chain(self, number: int, total: int, label: str) -> None:
        """Print a line that names the chain, and begin a new bar."""
        self.log(f"[{number}/{total}] {label}")
        self._left = TimeLeft()
        self.bars.reset(self.bar, description="  pretrain", note="")

    def epoch(self, done: int, total: int, line: Mapping[str, Any]) -> None:
        """Move the bar, and show loss and speed beside it."""
        note = f"loss {line['loss']:.4g}  {line['images_per_s']:.0f} images/s{self._left.text(done, total, line)}"
        self.bars.update(self.bar, total=total, completed=done, note=note)

    def later(self, seconds: float | None) -> None:
        """Keep it for the bar."""
        self._left.later = seconds

    def working(self, what: str, expected: float | None) -> None:
        """Let the bar move without an end, as the steps of a task are not known."""
        known = expected is not None and expected >= NOTICED_S
        note = f"takes about {duration(expected)}" if known and expected else ""
        self.bars.reset(self.bar, total=None, description=f"  {what}", note=note)

    def items(self, what: str, done: int, total: int) -> None:
        """Move the bar."""
        self.bars.update(self.bar, total=total, completed=done, description=f"  {what}", note="")

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
    return ProgressBar() if is_terminal() else LogLines()


def is_terminal() -> bool:
    """Return True if stderr is a terminal, on which bars can be drawn."""
    return sys.stderr is not None and sys.stderr.isatty()
