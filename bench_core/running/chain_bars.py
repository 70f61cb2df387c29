"""Progress of several chains on one screen: a bar for each chain that runs, and log lines above them."""

import sys
from textwrap import shorten
from typing import Any, TextIO, cast

from bench_core.output import SteadyStream, printable
from bench_core.running.progress import LogLines, NoProgress, Progress, is_terminal, read_epoch

_REST = 50  # columns of a terminal beside the name of a chain
_LEAST = 20


class ChainBars(NoProgress):
    """Shows a bar for each running chain, and how many have ended; for terminals."""

    def __init__(self, out: TextIO | None = None) -> None:
        """Start drawing, by default on stderr."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self.bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(file=cast(TextIO, SteadyStream(out or sys.stderr)), force_terminal=True),
            transient=True,
        )
        self.bars.start()
        self.bar_of_all = self.bars.add_task("chains", total=None, note="")
        self.bar_of = dict[str, Any]()  # label of a chain -> what rich calls its bar

    def chain(self, number: int, total: int, label: str) -> None:
        """Print a line that names the chain, and begin a bar for it."""
        self.log(f"[{number}/{total}] {label}")
        self.bars.update(self.bar_of_all, total=total)
        self.ended(label)
        name = shorten(printable(label), max(_LEAST, self.bars.console.width - _REST), placeholder="...")
        self.bar_of[label] = self.bars.add_task(name, total=None, note="starts")

    def of_chain(self, label: str, text: str) -> None:
        """Move the chain's bar after an epoch, show beside it what begins, and print warnings and all other lines."""
        bar, epoch = self.bar_of.get(label), read_epoch(text)
        is_stage = text.startswith("  ") and ":" not in text
        if bar is None or not (epoch or is_stage):
            self.log(f"{label}: {text.strip()}")
        elif epoch:
            done, total, note = epoch
            left = note.partition(" images/s  ")[2]  # neither loss nor speed has room
            self.bars.update(bar, total=total, completed=done, note=printable(left))
        else:
            self.bars.update(bar, note=printable(text.strip()))

    def overall(self, done: int, total: int, left: str) -> None:
        """Move the bar of all chains, with the time of all that is left beside it."""
        self.bars.update(self.bar_of_all, total=total, completed=done, note=left and f"{left} left in all")

    def ended(self, label: str) -> None:
        """Remove the bar of the chain, if it has one."""
        if (bar := self.bar_of.pop(label, None)) is not None:
            self.bars.remove_task(bar)

    def log(self, text: str) -> None:
        """Print a line above the bars, brackets and colons in it as they are."""
        self.bars.print(printable(text), highlight=False, markup=False, emoji=False, soft_wrap=True)

    def close(self) -> None:
        """Remove all bars."""
        self.bars.stop()


def choose_chain_progress(quiet: bool) -> Progress:
    """Return a display for several chains: nothing if `quiet`, a bar for each on a terminal, log lines elsewhere."""
    if quiet:
        return NoProgress()
    return ChainBars() if is_terminal() else LogLines()
