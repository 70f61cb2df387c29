"""Claims: of all processes on one store, one at a time trains and measures a chain.

    claims/<key>.json                  the claim on a chain, which names a process
    claims/<key>.after-<token>.json    the claim of a process that took over from the claim of this token

A claim's file gets its name by link(2), which one process alone can do, also on a network file system. The process
renews the file's date at every beat. Another process takes over if it has seen no beat for a while by its own clock:
no two clocks are compared. It takes over at once if this machine says that the process has ended. To take over, it
makes a file whose name holds the token of the claim before it. So of several one alone succeeds, and one that slept
meanwhile can take over no claim but the one that it saw. A process that slept finds that file before it goes on.

The files of a claim are deleted when it ends. No lock of the file system is used, and no function in here waits.
"""

import errno
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType
from typing import BinaryIO, Self, cast

from bench_core.files import paths_in, write_once
from bench_core.store.claim_holders import Holder, describe_this_process, parse_holder

FOLDER = "claims"  # in the store
BEAT_S, STALE_S = 30.0, 300.0
BEATS_MISSED = 3  # so many beats of the other process must be missed at least, however short our own patience is
_AFTER = ".after-"
_OURS: set[str] = set()  # tokens of the claims that this process holds
_LARGEST = 2**16  # bytes of a claim's file that are read


class LostClaim(BaseException):  # no error: like `Stopped`, and `except Exception` does not catch it
    """Raised where a process would go on though another process has taken over its claim."""


def clock() -> float:
    """Return seconds that pass also while the machine is suspended, where the system counts them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


@dataclass
class _Watch:
    """Silence of a claim, as far as this process has watched it.

    Attributes:
        holder: The claim as it was seen last.
        seen: When it was seen last, by the clock of this process.
        quiet_s: Seconds for which it was watched without a new beat.
    """

    holder: Holder
    seen: float
    quiet_s: float = 0.0


class Claims:
    """The claims on the chains of one store, as one process sees and makes them."""

    def __init__(self, store: Path, beat_s: float = BEAT_S, stale_s: float = STALE_S, command: str = "") -> None:
        """Name the folder; nothing is written before a claim.

        Args:
            store: Folder of the store.
            beat_s: Seconds between two beats of the claims of this process, > 0.
            stale_s: Seconds without a beat after which this process takes over a claim.
            command: What was typed, for people who ask who holds a claim.
        """
        self.folder, self.beat_s, self.stale_s, self.command = store / FOLDER, beat_s, stale_s, command
        self._watched: dict[str, _Watch] = {}
        self._held: set[Claim] = set()

    def __enter__(self) -> Self:
        """Begin a block after which this process holds no claim."""
        return self

    def __exit__(self, *error: object) -> None:
        """Release all claims that are left; a signal may have come between two lines."""
        for claim in list(self._held):
            claim.release()

    def try_claim(self, key: str) -> "Claim | None":
        """Claim a chain, or take over a claim whose process has ended or gives no sign of life.

        Args:
            key: Key of the chain.

        Returns:
            The claim, or None if another process holds it, or this one already.

        Raises:
            OSError: The store cannot be written.
        """
        row = self.row(key)
        if not row:
            return self._make(key, self.folder / f"{key}.json")
        path, holder = row[-1]
        if not self._is_over(key, holder):
            return None
        with _opened_to_mark(path, holder) as file:
            claim = self._make(key, self.folder / f"{key}{_AFTER}{holder.token}.json")
            if claim and file:
                # A network's file server lets a process see new names up to a minute late, but new content at once.
                with suppress(OSError):
                    file.write(b"replaced\n")
        return claim

    def free(self, key: str) -> bool:
        """Return True if no process works on a chain; a claim that is over is deleted."""
        if self.holder(key) is None:
            return True
        claim = self.try_claim(key)
        if claim:
            claim.release()
        return claim is not None

    def holder(self, key: str) -> Holder | None:
        """Return the process that holds the claim on a chain, which may be dead; None where there is no claim."""
        row = self.row(key)
        return row[-1][1] if row else None

    def keys(self) -> set[str]:
        """Return the keys of the chains for which there is a claim, by the names of their files alone."""
        return {path.name.partition(".")[0] for path in paths_in(self.folder, ".json")}

    def holders(self) -> dict[str, Holder]:
        """Return key of a chain -> the process that holds the claim on it."""
        names = [path.name.removesuffix(".json") for path in paths_in(self.folder, ".json")]
        found = {key: self.holder(key) for key in names if _AFTER not in key and not key.startswith(".")}
        return {key: holder for key, holder in found.items() if holder}

    def files(self, key: str) -> list[Path]:
        """List the files of the claims on a chain."""
        names = (f"{key}.json", f"{key}{_AFTER}")
        return [path for path in paths_in(self.folder, ".json") if path.name.startswith(names)]

    def row(self, key: str) -> list[tuple[Path, Holder]]:
        """Return the claims on a chain with their files, each taken over by the one after it; the last one holds."""
        row: list[tuple[Path, Holder]] = []
        path = self.folder / f"{key}.json"
        while holder := _read(path):
            row.append((path, holder))
            path = self.folder / f"{key}{_AFTER}{holder.token}.json"
        return row

    def forget(self, claim: "Claim") -> None:
        """Note that a claim has ended."""
        self._held.discard(claim)
        _OURS.discard(claim.token)

    def _make(self, key: str, path: Path) -> "Claim | None":
        """Make the file of a claim; None where another process was first."""
        claim = Claim(self, key, path)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        self._held.add(claim)
        _OURS.add(claim.token)
        try:
            write_once(path, describe_this_process(claim.token, since, self.command, self.beat_s))
            # Its answer is not asked for: the reply of a file server may be lost, and then the second try fails.
            if claim.verify():
                self._watched.pop(key, None)
                claim.start()
                return claim
        except BaseException:
            claim.release()
            raise
        claim.release()
        return None

    def _is_over(self, key: str, holder: Holder) -> bool:
        """Return True if a claim may be taken over. Each call is a look at it, as `_Watch` counts them."""
        now, watch = clock(), self._watched.get(key)
        if watch is None or watch.holder != holder:
            watch = self._watched[key] = _Watch(holder, now)
        # No more than a beat is counted for a look: if this process slept, the other may have slept with it.
        watch.quiet_s += min(now - watch.seen, self.beat_s)
        watch.seen = now
        was_ours = holder.is_this_process() and holder.token not in _OURS  # its files could not be deleted
        is_silent = watch.quiet_s >= max(self.stale_s, BEATS_MISSED * holder.beat_s)
        return was_ours or holder.is_dead() or is_silent


class Claim:
    """A claim that this process holds, and whose beat a thread gives. Use it as a context manager."""

    def __init__(self, claims: Claims, key: str, path: Path) -> None:
        """Describe a claim; `Claims.try_claim` makes them.

        Args:
            claims: The claims of this process.
            key: Key of the chain.
            path: File of the claim.
        """
        self.key, self.token = key, uuid.uuid4().hex
        self._claims, self._path, self._pid = claims, path, os.getpid()
        self._verified = float("-inf")  # when it was seen to be ours, by `clock`
        self._is_lost = False
        self._ended, self._lock = Event(), Lock()

    def __enter__(self) -> Self:
        """Begin a block that ends with the claim."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the claim."""
        self.release()

    def start(self) -> None:
        """Start the thread that gives the beats."""
        Thread(target=self._beat, name=f"claim {self.key[:12]}", daemon=True).start()

    def verify(self) -> bool:
        """Read whether the claim is still ours, and if so give a beat.

        Raises:
            OSError: The store cannot be read now.
        """
        with self._lock:
            if self._is_lost or self._ended.is_set():
                return False
            now = clock()
            if not self._is_ours(self._claims.row(self.key)):
                self._is_lost = True
                return False
            os.utime(self._path)
            self._verified = now
            return True

    def is_lost(self) -> bool:
        """Return True once another process has taken over. Files are read only if that was not done for a beat."""
        if not self._is_lost and clock() - self._verified > self._claims.beat_s:
            with suppress(OSError):  # the network may come back; until then nothing says that the claim is lost
                self.verify()
        return self._is_lost

    def check(self) -> None:
        """Raise LostClaim if another process has taken over; files are read as for `is_lost`."""
        if self.is_lost():
            raise LostClaim(self.key)

    def release(self) -> None:
        """Delete the files of the claim, if it is still ours; the chain is free then."""
        if os.getpid() != self._pid:  # a forked process
            return
        self._ended.set()
        with self._lock, suppress(OSError):  # what cannot be deleted is taken over when this process has ended
            row = self._claims.row(self.key)
            if self._is_ours(row):
                _delete(self._claims.files(self.key))
            elif self._path not in [path for path, _ in row] and _has_token(self._path, self.token):
                self._path.unlink()  # the claim that it would take over had been released just before
        self._claims.forget(self)

    def _is_ours(self, row: Sequence[tuple[Path, Holder]]) -> bool:
        """Return whether this claim is the last one of the row, and nobody says to have taken it over."""
        return bool(row) and row[-1][1].token == self.token and not row[-1][1].is_replaced

    def _beat(self) -> None:
        """Give a beat from time to time until the claim ends."""
        while not self._ended.wait(self._claims.beat_s):
            with suppress(OSError):
                if not self.verify():
                    return


def _read(path: Path) -> Holder | None:
    """Read the file of a claim; None where there is none."""
    for is_last in (False, True):
        try:
            with path.open("rb") as file:
                return parse_holder(file.read(_LARGEST), os.fstat(file.fileno()).st_mtime_ns)
        except FileNotFoundError:
            break
        except OSError as error:  # on NFS, a file that was deleted while it was read
            if is_last or error.errno != errno.ESTALE:
                raise
    return None


def _has_token(path: Path, token: str) -> bool:
    holder = _read(path)
    return holder is not None and holder.token == token


@contextmanager
def _opened_to_mark(path: Path, holder: Holder) -> Iterator[BinaryIO | None]:
    """Open the file of a claim to add a line; None where it has become another, is damaged, or is another user's.

    What is written to the open file never reaches one that gets its name later.
    """
    try:
        file = path.open("r+b", buffering=0)
    except OSError:
        yield None
        return
    with file:
        found = parse_holder(file.read(_LARGEST) or b"", 0)
        is_same = found.token == holder.token and bool(found.host)  # the token of a damaged one is all of its content
        yield cast(BinaryIO, file) if is_same else None


def _delete(paths: Sequence[Path]) -> None:
    """Delete the files of a released claim, the one without which the others are no claim first."""
    for path in sorted(paths, key=lambda path: _AFTER in path.name):
        path.unlink(missing_ok=True)
