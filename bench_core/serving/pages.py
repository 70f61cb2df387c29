"""The pages of a site in a temporary folder: built by a process of their own, and again when records change."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from shutil import rmtree
from threading import Event
from typing import Any

from bench_core.engines.child_process import POLL_S, ChildProcess, restart_command
from bench_core.errors import RequestError
from bench_core.files import paths_in

_LOOK_S = 2.0  # between two looks at the records
_LOOK_SHARE = 0.002  # of a core, at most, for looking at very many folders
_BUILD_SHARE = 0.2  # of the time, at most, for building again while records come all the time


class Pages:
    """Pages that follow their records; those of before are shown until the new ones are complete.

    Attributes:
        folder: The folder of the pages as they are now.
        said: What the page "Live" says of them: when they were built, and why the last attempt failed.
    """

    def __init__(self, words: Sequence[str], temporary: Path, store: Path, leaderboards: Path) -> None:
        """Name the command; nothing is built before `build`.

        Args:
            words: What follows `bench` in the command that builds the pages, without --out.
            temporary: An empty folder for the pages.
            store: The store; a change of its records leads to new pages.
            leaderboards: The folder of published boards; a change of them does, too.
        """
        self.folder = self._before = temporary / "none"  # the one before may still be read
        self.said: dict[str, Any] = {"built": "", "building": False, "error": ""}
        self._words, self._temporary = words, temporary
        self._sources = (store, leaderboards)
        self._number = 0
        self._stamp: object = None

    def build(self, stop: Event, told: Callable[[str], None] = lambda _: None) -> None:
        """Build the pages; those of the build before the last are deleted.

        Args:
            stop: Ends the build early.
            told: Gets the lines that the command prints.

        Raises:
            RequestError: They cannot be built; the message is that of `bench site`.
        """
        self._number += 1
        out = self._temporary / str(self._number)
        self._stamp = stamp(*self._sources)  # before they are read: what changes meanwhile leads to another build
        child = ChildProcess([*restart_command(), *self._words, f"--out={out}"], told, grace=0.5)
        try:
            while (ended := child.poll(stop.is_set())) is None:
                time.sleep(POLL_S)
        finally:
            child.kill()
        if stop.is_set():
            return
        if ended.code:
            lines = [line for line in ended.last_lines if line.strip()]
            raise RequestError(lines[-1].removeprefix("Error: ") if lines else f"it ended with code {ended.code}.")
        rmtree(self._before, ignore_errors=True)
        self._before, self.folder = self.folder, out
        self.said = {"built": f"{datetime.now():%Y-%m-%d %H:%M:%S}", "building": False, "error": ""}

    def follow(self, stop: Event) -> None:
        """Build the pages again whenever records have changed, until an event is set."""
        wait = _LOOK_S
        while not stop.wait(wait):
            began = time.monotonic()
            found = stamp(*self._sources)
            wait = max(_LOOK_S, (time.monotonic() - began) / _LOOK_SHARE)
            if found == self._stamp:
                continue
            self.said = {**self.said, "building": True}
            try:
                self.build(stop)
            except (RequestError, OSError) as error:
                self.said = {**self.said, "building": False, "error": str(error)}
            wait = max(_LOOK_S, (time.monotonic() - began) / _BUILD_SHARE)


def stamp(store: Path, leaderboards: Path) -> list[tuple[str, int]]:
    """Return names and dates of what changes when records do.

    Records are never edited, so the dates of their folders do; of published boards also those of their files.
    """
    boards = [leaderboards, *(path for path in paths_in(leaderboards) if path.is_dir())]
    return [entry for folder in (store / "cells", store / "attempts", *boards) for entry in _dates(folder)]


def _dates(folder: Path) -> Iterator[tuple[str, int]]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            with suppress(OSError):
                yield entry.path, entry.stat().st_mtime_ns
