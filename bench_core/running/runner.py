"""Walks a plan: what is missing, one chain at a time, one failure at a time.

(The module is not called `run`: `bench_core.run` is the function.)
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench_core.contracts import Split
from bench_core.devices import exact, find_device
from bench_core.planning.plan import Cell, Chain, Plan
from bench_core.running.chain import freeze, load_splits
from bench_core.running.evaluate import run_cell
from bench_core.running.failures import FAILURES, Failure, attempt, attempt_of, failure
from bench_core.running.pending import Broken, to_run
from bench_core.running.progress import Progress, Silent, begins
from bench_core.running.provenance import provenance
from bench_core.running.setting import Setting
from bench_core.store import Store
from bench_core.training.stopping import Stop

if TYPE_CHECKING:
    pass


def run_plan(plan: Plan, store: Store, setting: Setting, progress: Progress | None = None) -> list[Failure]:
    """Run what is missing; each finished cell is on disk before the next begins.

    Returns:
        The cells that failed; they and the reason are in the store's attempts, too.

    Raises:
        RequestError: Data is missing, or the store cannot be written; nothing was run.
    """
    progress = progress or Silent()
    todo = to_run(plan, store)
    if todo:
        store.create()
    splits: dict[str, Mapping[str, Split]] = {}
    for chain in {chain.dataset.name: chain for chain, _ in reversed(todo)}.values():
        splits = {chain.dataset.name: load_splits(chain)}  # what is missing is said before anything is trained
    failures: list[Failure] = []
    broken = Broken(store)
    for number, (chain, cells) in enumerate(todo, 1):
        setting.stop.check()  # a signal that some library's clean-up swallowed
        progress.chain(number, len(todo), chain.label)
        if why := broken.why(chain):
            here = provenance(setting.device, setting.command)
            failures += [failure(cell, store.add_attempt(attempt(cell, *why, [], 0.0, here))) for cell in cells]
            progress.say(f"  failed: {failures[-1].error}")
            continue
        began = time.perf_counter()
        try:
            if chain.dataset.name not in splits:
                splits = {chain.dataset.name: load_splits(chain)}  # one dataset in memory at a time
            with exact(setting.device):
                frozen, facts = freeze(chain, store, setting, splits[chain.dataset.name], progress)
        except FAILURES as error:
            failures += [_fail(chain, cell, store, setting, error, began, broken) for cell in cells]
            progress.say(f"  failed: {failures[-1].error}")
            continue
        for cell in cells:
            setting.stop.check()
            began = time.perf_counter()
            try:
                progress.say(begins(cell.task.name))
                with exact(setting.device):
                    run_cell(chain, cell, frozen, facts, store, setting)
            except FAILURES as error:
                failures.append(_fail(chain, cell, store, setting, error, began, broken))
                progress.say(f"  {cell.task.name} failed: {failures[-1].error}")
    return failures


def _fail(
    chain: Chain, cell: Cell, store: Store, setting: Setting, error: BaseException, began: float, broken: Broken
) -> Failure:
    seconds, here = time.perf_counter() - began, provenance(setting.device, setting.command)
    tried = attempt_of(error, chain, cell, seconds, here)
    return failure(cell, store.add_attempt({**tried, "error": broken.note(chain, tried["kind"], tried["error"])}))


def execute(
    plan: Plan,
    store: Store,
    device: str = "auto",
    progress: Progress | None = None,
    command: str | None = None,
    workers: int = 0,
    checkpoint_every: float = 120.0,
    compiled: bool = False,
    stop: Stop | None = None,
) -> list[Failure]:
    """Run what is missing of a plan and take the progress display away, whatever happens."""
    progress = progress or Silent()
    try:
        setting = Setting(find_device(device), workers, command, checkpoint_every, compiled, stop or Stop())
        return run_plan(plan, store, setting, progress)
    finally:
        progress.close()
