"""Rank 0 of a chain that several processes train together: it calls the others to a piece of work, and learns who died.

Ranks find one another in a store of torch.distributed. For each attempt to work together rank 0 opens a meeting there,
with a number; the others join it. After a failure all leave, and the next piece of work opens the next meeting.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch._C._distributed_c10d import PrefixStore, Store

from bench_core.errors import TrainingError
from bench_core.training.rank_group import RankGroup

START_S = 300.0  # for the other ranks to start: to import torch and to plan the same run
REPORT_S = 5.0  # for the reason of a rank that has left, after its connection broke
POLL_S = 0.1
_NUMBER, _END = "meeting", "end"


@dataclass
class RankLeader:
    """The side of rank 0.

    Attributes:
        store: Where the ranks find one another.
        size: Number of ranks.
        start: Starts the ranks that do not run; it does nothing where somebody else starts them.
        ended: Returns why a rank has ended that should run, or None.
        group: The ranks, while they meet.
    """

    store: Store
    size: int
    start: Callable[[], None] = lambda: None
    ended: Callable[[], str | None] = lambda: None
    group: RankGroup | None = None
    _number: int = field(default=0, repr=False)

    @contextmanager
    def together(self, device: torch.device, work: Mapping[str, Any]) -> Iterator[RankGroup]:
        """Do a piece of work with all ranks in this block.

        Args:
            device: Device of this rank.
            work: Plain values that tell the other ranks what to do, see `bench_core.running.rank_follower`.

        Raises:
            TrainingError: Another rank has ended or failed; the message holds its reason.
        """
        group = self.group or self._open(device)
        try:
            group.tell(dict(work))
            yield group
        except BaseException as error:
            reason = self._reason(error)
            self.leave()
            if reason:
                raise TrainingError(reason) from error
            raise

    def _open(self, device: torch.device) -> RankGroup:
        """Open a meeting and wait until all ranks are there."""
        self.start()
        self._number = self.store.add(_NUMBER, 1)
        missing = {_place(self._number, rank): rank for rank in range(1, self.size)}
        deadline = time.monotonic() + START_S
        while missing := {key: rank for key, rank in missing.items() if not self.store.check([key])}:
            if reason := self.ended():
                raise TrainingError(reason)
            if time.monotonic() > deadline:
                ranks = ", ".join(map(str, missing.values()))
                raise TrainingError(f"of {self.size} ranks, {ranks} did not come within {START_S:g} s")
            time.sleep(POLL_S)
        self.store.set(_begin(self._number), "")
        self.group = RankGroup(PrefixStore(str(self._number), self.store), 0, self.size, device)
        return self.group

    def _reason(self, error: BaseException) -> str | None:
        """Return why another rank is gone, where this is the cause of an error here."""
        if not isinstance(error, RuntimeError):
            return None
        deadline = time.monotonic() + (REPORT_S if _is_of_connection(error) else 0.0)
        while True:
            for rank in range(1, self.size):
                if self.store.check([_failure(self._number, rank)]):
                    return f"rank {rank} failed: {self.store.get(_failure(self._number, rank)).decode()}"
            if reason := self.ended():
                return reason
            if time.monotonic() > deadline:
                return f"the connection to another rank was lost: {error}" if _is_of_connection(error) else None
            time.sleep(POLL_S)

    def leave(self) -> None:
        """Leave the meeting, so that the others do, too."""
        if self.group:
            group, self.group = self.group, None
            with suppress(RuntimeError):  # a connection that is broken already
                group.close()

    def end(self) -> None:
        """Tell all ranks that there is no more work."""
        with suppress(RuntimeError):
            self.store.set(_END, "")
            if self.group:
                self.group.tell(None)
        self.leave()


@contextmanager
def together(leader: RankLeader | None, device: torch.device, **work: Any) -> Iterator[RankGroup | None]:
    """Do a piece of work with all ranks in this block; without a leader, alone."""
    if leader is None:
        yield None
        return
    with leader.together(device, work) as group:
        yield group


def next_meeting(store: Store, rank: int, size: int, device: torch.device, last: int) -> tuple[int, RankGroup] | None:
    """Wait in another rank for a meeting after the last one, and join it.

    Returns:
        Its number and the ranks; None once there is no more work.
    """
    while not store.check([_END]):
        number = store.add(_NUMBER, 0)
        if number != last:
            store.set(_place(number, rank), "")
            if store.check([_begin(number)]):  # all are there; before that the meeting may come to nothing
                return number, RankGroup(PrefixStore(str(number), store), rank, size, device)
        time.sleep(POLL_S)
    return None


def report_failure(store: Store, number: int, rank: int, reason: str) -> None:
    """Leave the reason for which this rank leaves a meeting, for rank 0."""
    store.set(_failure(number, rank), reason)


def _place(number: int, rank: int) -> str:
    return f"meeting{number}/rank{rank}"


def _begin(number: int) -> str:
    return f"meeting{number}/begins"


def _failure(number: int, rank: int) -> str:
    return f"meeting{number}/failure{rank}"


def _is_of_connection(error: BaseException) -> bool:
    """Return whether an error is of the connection to another rank."""
    text = str(error)
    return isinstance(error, torch.distributed.DistError) or "gloo" in text or "onnection" in text or "NCCL" in text
