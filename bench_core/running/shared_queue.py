"""The queue of a run whose store other processes may work on: each chain is claimed before it is trained.

What is claimed elsewhere is put off, and other chains are taken. What another process finishes or fails meanwhile
leaves the queue.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_core.planning.chains import Cell, Chain
from bench_core.running.failures import UnfinishedCell, unfinished_cell
from bench_core.running.pending import FailedTrainings, is_trained, to_train
from bench_core.store import Store
from bench_core.store.claim_holders import Holder
from bench_core.store.claims import Claim, Claims
from bench_core.store.done_cells import last_attempt_files
from bench_core.store.store import PREEMPTED


def waiting_line(label: str, holder: Holder) -> str:
    """Say for which chain this run waits, and who works on it."""
    return f"waiting for {label}, trained by {holder.words}"


@dataclass(eq=False)
class Waiting:
    """A chain that is left.

    Attributes:
        number: Its place in the queue, from 1.
        chain: The chain.
        cells: Its cells that have no record yet.
    """

    number: int
    chain: Chain
    cells: list[Cell]


@dataclass(frozen=True)
class Taken:
    """A chain of the queue that this process may work on now.

    Attributes:
        waiting: The chain and its cells.
        source: A chain to train now, because this one needs it; None where nothing of that kind is left.
        claim: The claim on the source, or on the chain itself.
    """

    waiting: Waiting
    source: Chain | None
    claim: Claim


class OthersWork:
    """Watches for what other processes on the same store finish or fail while this run goes on."""

    def __init__(self, cells: Iterable[Cell], store: Store, failed_trainings: FailedTrainings) -> None:
        """Note which failures are on record already.

        Args:
            cells: Cells of this run that have no record.
            store: Store of the run.
            failed_trainings: Trainings that failed in this run; those that fail elsewhere are added.
        """
        self._store, self._failed_trainings = store, failed_trainings
        self._known: dict[str, Path | None] = {}
        self.know(cells)

    def know(self, cells: Iterable[Cell]) -> None:
        """Note that all that is on record now of some cells is known, as this run has done it."""
        self._known |= last_attempt_files(self._store, (cell.key for cell in cells))

    def look(self, chain: Chain, cells: Iterable[Cell]) -> tuple[list[Cell], list[UnfinishedCell]]:
        """Look again at the cells of a chain that nobody in this run works on.

        Returns:
            Those that are left, and those on which another process has recorded a failure since the last look.
        """
        left, failed = [], []
        for cell in cells:
            if self._store.record_file(cell.key).is_file():
                continue
            if failure := self._failure(cell):
                self._failed_trainings.note(chain, failure.kind, failure.error)
                failed.append(failure)
            else:
                left.append(cell)
        return left, failed

    def _failure(self, cell: Cell) -> UnfinishedCell | None:
        """Return a failure that another process has recorded since; one that was only stopped has not failed."""
        path = self._store.last_attempt(cell.key)
        if path is None or path == self._known[cell.key]:
            return None
        self._known[cell.key] = path
        failure = unfinished_cell(cell, path)
        return None if failure.kind == PREEMPTED else failure


class SharedQueue:
    """The chains of a run that are left, of which other processes may do some.

    Attributes:
        left: The chains, in their order.
        blocked_by: Key of a chain that others work on -> its label and the process, as the last `take` saw them.
    """

    def __init__(
        self,
        queue: Sequence[tuple[Chain, Sequence[Cell]]],
        store: Store,
        claims: Claims,
        failed_trainings: FailedTrainings,
    ) -> None:
        """Begin with all chains, and note which failures are on record already.

        Args:
            queue: Chains with their missing cells, see `to_run`.
            store: Store of the run.
            claims: Claims of this process.
            failed_trainings: Trainings that failed in this run; those that fail elsewhere are added.
        """
        self.left = [Waiting(number, chain, list(cells)) for number, (chain, cells) in enumerate(queue, 1)]
        self.total = len(self.left)
        self._failed: list[UnfinishedCell] = []
        self.blocked_by: dict[str, tuple[str, Holder]] = {}
        self._store, self._claims, self._failed_trainings = store, claims, failed_trainings
        self._others = OthersWork((cell for _, cells in queue for cell in cells), store, failed_trainings)

    def take(self) -> Taken | None:
        """Claim the first chain that can be worked on now.

        Chains that are claimed already come last: a claim may be over, but to look at each takes time, and where many
        processes share a long queue, as many chains are claimed.

        Returns:
            The chain; None where all that are left are claimed by others, or where none is left.
        """
        self.blocked_by = {}
        claimed = self._claims.keys()
        for waiting in sorted(self.left, key=lambda waiting: waiting.chain.key in claimed):
            self.drop_what_others_did(waiting)
            if waiting.cells and (taken := self._try(waiting)):
                return taken
        return None

    def failures_elsewhere(self) -> list[UnfinishedCell]:
        """Return the cells on which another process has recorded a failure since this was asked last."""
        failed, self._failed = self._failed, []
        return failed

    def waiting_lines(self) -> list[str]:
        """Say for what this run waits, after a `take` that found nothing."""
        return [waiting_line(label, holder) for label, holder in self.blocked_by.values()]

    def drop_what_others_did(self, waiting: Waiting) -> None:
        """Take cells off that another process has finished or failed, and the chain if none is left."""
        waiting.cells, failed = self._others.look(waiting.chain, waiting.cells)
        self._failed += failed
        if not waiting.cells and waiting in self.left:
            self.left.remove(waiting)

    def _try(self, waiting: Waiting) -> Taken | None:
        """Claim the next training that a chain needs, or the chain itself, and look again at what is left of it."""
        chain = waiting.chain
        fails_anyway = self._failed_trainings.reason_to_skip(chain) is not None
        sources = [] if fails_anyway else [link for link in to_train(chain, self._store) if link.key != chain.key]
        wanted = next(iter(sources), chain)
        if wanted.key in self.blocked_by:
            return None
        claim = self._claims.try_claim(wanted.key)
        if claim is None:
            if holder := self._claims.holder(wanted.key):
                self.blocked_by[wanted.key] = wanted.label, holder
            return None
        # Between the look at the store and the claim, another process may have finished.
        if wanted is not chain and not is_trained(wanted, self._store):
            return Taken(waiting, wanted, claim)
        self.drop_what_others_did(waiting)
        if wanted is not chain or not waiting.cells:
            claim.release()
            return self._try(waiting) if waiting.cells else None
        return Taken(waiting, None, claim)
