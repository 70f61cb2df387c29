"""Estimates of the time that work takes, from what finished work has cost in the same store.

A training: the seconds of an epoch of the same method, dataset and encoder; else of other methods on this dataset with
this encoder, which is a guess. Embedding and tasks likewise. What nothing is known of is counted as unknown.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from bench_core.running.planned import Planned, PlannedChain, planned_chain
from bench_core.store import Store
from bench_core.store.chain_files import EMBEDDED, LOG, is_finished
from bench_core.store.record import Record
from bench_core.store.training_log import read_log
from bench_core.store.under_way import under_way_folder

if TYPE_CHECKING:  # `bench status` and `bench rm` read estimates, and do without torch
    from bench_core.planning.chains import Cell, Chain

_ASK_AGAIN_S = 5.0
_SAMPLE = 2000  # records that a run reads for its estimates: every process of it does so when it begins
_LOOKED_UP = 500  # chains of which the files are looked up for an estimate of many
_RECENT = 10  # epochs of a training that goes on, of which the speed is taken

Names = Mapping[str, str]


@dataclass(frozen=True)
class Left:
    """Work that is left of a chain.

    Attributes:
        chain: The chain.
        epochs: Epochs to train.
        epoch_s: Measured seconds of an epoch, of a training that was begun; None where it was not.
        embeds: Whether embeddings are missing.
        tasks: Names of the tasks to run.
    """

    chain: PlannedChain
    epochs: int
    epoch_s: float | None
    embeds: bool
    tasks: Sequence[str]

    @property
    def trains(self) -> bool:
        """True if there are epochs to train."""
        return self.epochs > 0


@dataclass(frozen=True)
class Seconds:
    """An estimate; estimates can be added.

    Attributes:
        training: Seconds of training.
        embedding: Seconds of embedding.
        tasks: Seconds of tasks.
        guessed: Parts that were taken from other methods.
        unknown: Parts of which nothing is known; they are not in the seconds.
    """

    training: float = 0.0
    embedding: float = 0.0
    tasks: float = 0.0
    guessed: int = 0
    unknown: int = 0

    def __add__(self, other: "Seconds") -> "Seconds":
        """Add two estimates."""
        return Seconds(
            self.training + other.training,
            self.embedding + other.embedding,
            self.tasks + other.tasks,
            self.guessed + other.guessed,
            self.unknown + other.unknown,
        )

    def times(self, factor: float) -> "Seconds":
        """Return the estimate of so many times as much work."""
        return Seconds(
            factor * self.training,
            factor * self.embedding,
            factor * self.tasks,
            round(factor * self.guessed),
            round(factor * self.unknown),
        )

    @property
    def total(self) -> float:
        """Seconds in all, as far as they are known."""
        return self.training + self.embedding + self.tasks


class Costs:
    """Costs of finished cells."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        """Take in the records of a store."""
        self._seconds: dict[tuple[str, ...], list[float]] = defaultdict(list)
        self._memory: dict[tuple[str, ...], float] = {}
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Take in one more record."""
        cost, names = record.cost, dict(record.names)
        names["encoder"] = names.get("own_encoder", names["encoder"])
        epochs = record.document.recipe.get("epochs")
        if cost.pretrain_s and isinstance(epochs, int) and epochs:
            self._note("epoch", names, cost.pretrain_s / epochs)
        if cost.embed_s is not None:
            self._note("embed", names, cost.embed_s)
        if cost.task_s is not None:
            self._note(f"task {names['task']}", names, cost.task_s)
        if cost.peak_memory_gib is not None and cost.pretrain_s:
            device = (record.provenance.device or "").partition(":")[0]
            for what in ("memory", f"memory {device}"):
                key = _exact(what, names)
                self._memory[key] = max(cost.peak_memory_gib, self._memory.get(key, 0.0))

    def memory(self, names: Names, device: str = "") -> float | None:
        """Return the most GiB that a training of these names took; None where none was measured.

        Args:
            names: Names of dataset, encoder and method.
            device: Type of the device, such as "cuda", whose memory is meant; "" is any.
        """
        return self._memory.get(_exact(f"memory {device}".strip(), names))

    def of(self, left: Left) -> Seconds:
        """Estimate what is left of a chain."""
        names, parts = left.chain.names, []
        if left.trains and left.epoch_s is not None:
            parts.append(Seconds(training=left.epoch_s * left.epochs))
        elif left.trains:
            parts.append(self._part("training", "epoch", names, left.epochs))
        if left.embeds:
            parts.append(self._part("embedding", "embed", names))
        parts += [self._part("tasks", f"task {task}", names) for task in left.tasks]
        return sum(parts, Seconds())

    def _note(self, what: str, names: Names, seconds: float) -> None:
        self._seconds[_exact(what, names)].append(seconds)
        self._seconds[_alike(what, names)].append(seconds)

    def _part(self, field: str, what: str, names: Names, times: int = 1) -> Seconds:
        exact, alike = self._seconds.get(_exact(what, names)), self._seconds.get(_alike(what, names))
        known = exact or alike
        if not known:
            return Seconds(unknown=1)
        seconds = {field: median(known) * times}
        return Seconds(guessed=0 if exact else 1, **seconds)  # type: ignore[arg-type]  # the field is one of seconds


def _exact(what: str, names: Names) -> tuple[str, ...]:
    return (what, names["dataset"], names["encoder"], names["method"])


def _alike(what: str, names: Names) -> tuple[str, ...]:
    return (what, names["dataset"], names["encoder"])


def left_of(chain: PlannedChain, store: Store) -> Left:
    """Look up in a store what is left to do of a chain; `trains` and `embeds` are False where no task is missing."""
    tasks = [task for key, task in chain.tasks.items() if not store.record_file(key).is_file()]
    folder = store.chain_folder(chain.key)
    if is_finished(folder) or (chain.tasks and not tasks):
        epochs, epoch_s = 0, None
    else:
        done, epoch_s = begun(chain, store)
        epochs = max(0, chain.epochs - done)
    embeds = bool(tasks) and not (folder / "embeddings" / chain.embed_key / EMBEDDED).is_file()
    return Left(chain, epochs, epoch_s, embeds, tasks)


def all_left(content: Planned, store: Store) -> list[Left]:
    """List what is left of each chain that is not finished, in their order; of none twice."""
    left = [left_of(chain, store) for chain in content.chains]
    trains = any(part.trains for part in left if part.chain.tasks)
    return [part for part in left if part.tasks or (trains and part.trains)]


def begun(chain: PlannedChain, store: Store) -> tuple[int, float | None]:
    """Return the epochs that a chain under way has done, and the seconds of its last ones; (0, None) of another."""
    log = under_way_folder(store.chain_folder(chain.key)) / LOG
    lines = [line for line in read_log(log) if isinstance(line.get("epoch"), int)] if log.is_file() else []
    if not lines:
        return 0, None
    seconds = [line["seconds"] for line in lines[-_RECENT:] if isinstance(line.get("seconds"), int | float)]
    return lines[-1]["epoch"], median(seconds) if seconds else None


class Outlook:
    """Estimates the rest of a run; what the run itself has finished counts, too."""

    def __init__(self, store: Store) -> None:
        """Open it for a store; the records are read when the first chain begins."""
        self._store = store
        self._costs: Costs | None = None
        self._asked: tuple[float, float | None] | None = None  # when `later` was computed last, and what it was

    def add(self, cell: "Cell") -> None:
        """Take in a cell that the run has finished."""
        record = self._store.record(cell.key)
        if record and self._costs:
            self._costs.add(record)

    def of_task(self, chain: "Chain", cell: "Cell") -> float | None:
        """Return the seconds that a task takes on a chain; None where that is not known."""
        seconds = self._known().of(Left(planned_chain(chain), 0, None, False, [cell.task.name]))
        return None if seconds.unknown else seconds.total

    def later(self, chains: "Sequence[Chain]") -> float | None:
        """Return the seconds of what comes after the training of the first of some chains; None if nothing is known.

        It is computed again only after some seconds, because long runs of short chains would do little else.
        """
        if self._asked and time.monotonic() - self._asked[0] < _ASK_AGAIN_S:
            return self._asked[1]
        first = self.rest(chains[:1])
        seconds = first.total - first.training + self.rest(chains[1:]).total
        self._asked = time.monotonic(), seconds or None
        return self._asked[1]

    def rest(self, chains: "Iterable[Chain]") -> Seconds:
        """Estimate all that is left of some chains; of very many, some are looked up and stand for the others."""
        every = list(chains)
        looked_up = every[:: max(1, len(every) // _LOOKED_UP)]
        known = (self._known().of(left_of(planned_chain(chain), self._store)) for chain in looked_up)
        return sum(known, Seconds()).times(len(every) / max(1, len(looked_up)))

    def memory(self, chain: "Chain", device: str) -> float | None:
        """Return the most GiB that such a chain took on a type of device; None where that is not known."""
        return self._known().memory(planned_chain(chain).names, device)

    def _known(self) -> Costs:
        if self._costs is None:
            self._costs = Costs(self._store.some_records(_SAMPLE))
        return self._costs


def duration(seconds: float) -> str:
    """Write seconds as people say them: 12 s, 3 min, 2 h 10 min, 3 d 4 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s" if seconds >= 0.5 else "under 1 s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def about(seconds: Seconds, jobs: int = 1) -> str:
    """Write an estimate in a few words: "about 3 min", "at least 3 min", or "unknown time"."""
    if seconds.unknown and not seconds.total:
        return "unknown time"
    text = duration(seconds.total / jobs)
    return f"at least {text}" if seconds.unknown else text if text.startswith("under") else f"about {text}"
