"""The state of a run and of its chains: computed from the store, so that any process can ask at any time."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from textwrap import wrap
from typing import Any

from bench_core.errors import StoreError
from bench_core.files import paths_in
from bench_core.running.estimates import Costs, Seconds, about, all_left, begun, duration
from bench_core.running.planned import FILE, Planned, PlannedChain
from bench_core.store import Store
from bench_core.store.chain_files import is_finished, read_recipe
from bench_core.store.claims import STALE_S, Claims
from bench_core.store.slurm_jobs import SlurmError, cancel_lines, queued_elements
from bench_core.store.store import latest_attempts
from bench_core.store.under_way import UNDER_WAY, is_being_trained, is_held, under_way_folder

_MOST_LINES = 8  # of each state; the others are counted


@dataclass(frozen=True)
class Worker:
    """The process that trains or measures a chain.

    Attributes:
        host: Name of its machine.
        pid: Number of the process there.
        since: When it began with the chain, by the clock of its machine, in UTC.
        command: What was typed.
        quiet_s: Seconds since its last sign of life, by the clocks of this machine and of the file's.
    """

    host: str
    pid: int
    since: str
    command: str
    quiet_s: float

    @property
    def words(self) -> str:
        """Name the process for people: "by process 4711 on node3 since 2026-11-30 09:12"."""
        with suppress(ValueError):
            since = f"{datetime.fromisoformat(self.since).astimezone():%Y-%m-%d %H:%M}"
            quiet = f", no sign of life for {duration(self.quiet_s)}" if self.quiet_s > STALE_S else ""
            return f"by process {self.pid} on {self.host} since {since}{quiet}"
        return "by a process that its claim does not name"


@dataclass(frozen=True)
class ChainStatus:
    """One chain that is not finished.

    Attributes:
        label: Its name in messages.
        state: "running" while a process works on it, "stopped" with some epochs done, else "failed" or "left".
        cells: Cells that it lacks.
        failed: Cells among them whose last attempt failed.
        epoch: Epochs done.
        epochs: Epochs in all.
        note: Why it failed; else empty.
        seconds: Estimate of what is left.
        worker: The process that works on it; None where none does, or none says so.
        element: What its element in Slurm does: "pending in Slurm's queue (job 12_3, Priority)"; "" where it has none.
    """

    label: str
    state: str
    cells: int
    failed: int
    epoch: int
    epochs: int
    note: str
    seconds: Seconds
    worker: Worker | None = None
    element: str = ""


@dataclass(frozen=True)
class Status:
    """State of a run.

    Attributes:
        command: The command of the run; empty where no file says which.
        goes_on: Whether a process runs it now.
        jobs: Chains that it runs at the same time.
        done: Cells that have a record.
        chains: The chains that lack cells.
        cancel: Commands that cancel its elements in Slurm.
        slurm_error: Why it is not known what is in Slurm's queue; else empty.
    """

    command: str
    goes_on: bool
    jobs: int
    done: int
    chains: tuple[ChainStatus, ...]
    cancel: tuple[str, ...] = ()
    slurm_error: str = ""

    @property
    def seconds(self) -> Seconds:
        """Estimate of all that is left."""
        return sum((chain.seconds for chain in self.chains), Seconds())

    def cells(self, state: str) -> int:
        """Count the cells of a state: running, failed or left. A chain that was stopped is left."""
        if state == "failed":
            return sum(chain.failed for chain in self.chains if chain.state != "running")
        if state == "running":
            return sum(chain.cells for chain in self.chains if chain.state == "running")
        return sum(chain.cells - chain.failed for chain in self.chains if chain.state != "running")


def status(content: Planned, store: Store) -> Status:
    """Look up how far the chains of a run are."""
    records, attempts = store.records(), latest_attempts(store.attempts())
    costs, finished = Costs(records), {record.key for record in records}
    asked = {key for chain in content.chains for key in chain.tasks}
    working = workers(store)
    all_chains = list(all_left(content, store))
    try:  # where nothing is left, Slurm need not be asked
        elements, slurm_error = queued_elements(store) if all_chains else [], ""
    except SlurmError as error:
        elements, slurm_error = [], str(error)
    queued = {element.element.chain: element for element in elements}
    cancel = tuple(cancel_lines(element.name for element in elements))
    chains = []
    for left in all_chains:
        missing = [key for key in left.chain.tasks if key not in finished]
        failed = [attempts[key] for key in missing if key in attempts]
        worker = working.get(left.chain.key)
        chain = _chain_status(left.chain, len(missing), failed, costs.of(left), store, worker)
        chains.append(replace(chain, element=queued[left.chain.key].text) if left.chain.key in queued else chain)
    goes_on, done = is_held(store.path / FILE) or bool(queued), len(asked & finished)
    return Status(content.command, goes_on, content.jobs, done, tuple(chains), cancel, slurm_error)


def workers(store: Store) -> dict[str, Worker]:
    """Return key of a chain -> the process that works on it, without those that are known to have ended."""
    now = time.time()
    return {
        key: Worker(holder.host, holder.pid, holder.since, holder.command, max(0.0, now - holder.beat / 1e9))
        for key, holder in Claims(store.path).holders().items()
        if not holder.is_dead()
    }


def others_under_way(content: Planned, store: Store) -> list[str]:
    """Return a line for each chain that is trained or measured in the store and that the run did not ask for."""
    known, working = {chain.key for chain in content.chains}, workers(store)
    folders = {path.name.removesuffix(UNDER_WAY): path for path in paths_in(store.path / "chains", UNDER_WAY)}
    folders = {**{key: store.chain_folder(key) for key in working}, **folders}
    lines = []
    for key, folder in sorted(folders.items()):
        if key in known:
            continue
        try:
            label = str(read_recipe(folder).get("label") or folder.name)
        except StoreError:  # of older code, or damaged, or it has just begun
            label = folder.name
        state = "running" if key in working or is_being_trained(folder) else "stopped"
        lines.append("  ".join([state, label, *([working[key].words] if key in working else [])]))
    return lines


def _chain_status(
    chain: PlannedChain,
    cells: int,
    failed: list[Mapping[str, Any]],
    seconds: Seconds,
    store: Store,
    worker: Worker | None,
) -> ChainStatus:
    folder = store.chain_folder(chain.key)
    trained = is_finished(folder)
    epoch = chain.epochs if trained else begun(chain, store)[0]
    if worker or (not trained and is_being_trained(under_way_folder(folder))):
        state = "running"
    elif failed:
        state = "failed"
    else:
        state = "stopped" if epoch and not trained else "left"
    note = ""
    if state == "failed":
        tasks = ", ".join(dict.fromkeys(str(attempt["names"]["task"]) for attempt in failed))
        note = f"{tasks}: {failed[-1].get('kind')}: {failed[-1].get('error')}"
    return ChainStatus(chain.label, state, cells, len(failed), epoch, chain.epochs, note, seconds, worker)


def status_lines(content: Status, width: int) -> list[str]:
    """Write a status for people, in lines of a width."""
    lines = []
    if content.command:
        how = "goes on" if content.goes_on else "is over" if not content.chains else "does not run now"
        lines += wrap(f"`{content.command}` {how}", width, subsequent_indent="  ")
    total = content.done + sum(chain.cells for chain in content.chains)
    counts = [f"{n} {state}" for state in ("running", "failed", "left") if (n := content.cells(state))]
    summary = ", ".join([f"{content.done} of {total} cells done", *counts])
    if content.chains:
        jobs = max(1, min(content.jobs, len(content.chains)))
        summary += f"; {about(content.seconds, jobs)} left"
    lines += wrap(summary, width)
    lines += [f"  {line}" for line in source_lines(content.seconds)]
    for state in ("running", "stopped", "failed", "left"):
        chains = [chain for chain in content.chains if chain.state == state]
        for chain in chains[:_MOST_LINES]:
            lines += wrap(_chain_line(chain), width, subsequent_indent=" " * 9)
        if len(chains) > _MOST_LINES:
            lines.append(f"{state:<7}  and {len(chains) - _MOST_LINES} more chains")
    lines += wrap(content.slurm_error, width)
    lines += [f"to cancel: {line}" for line in content.cancel]
    return lines


def source_lines(seconds: Seconds) -> list[str]:
    """Say what an estimate rests on, where it is not all measured."""
    lines = []
    if seconds.guessed:
        lines.append(f"{seconds.guessed} parts are guessed from other methods on the same data")
    if seconds.unknown:
        lines.append(f"{seconds.unknown} parts are unknown: nothing like them has finished in this store")
    return lines


def _chain_line(chain: ChainStatus) -> str:
    line = f"{chain.state:<7}  {chain.label}"
    if chain.state in ("running", "stopped"):
        line += f"  epoch {chain.epoch} of {chain.epochs}"
        if chain.seconds.training:
            line += f"  {duration(chain.seconds.training)} of training left"
    if chain.worker:
        line += f"  {chain.worker.words}"
    if chain.element:
        line += f"  {chain.element}"
    return f"{line}  {chain.note}" if chain.note else line
