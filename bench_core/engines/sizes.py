"""Cores and memory that chains take of a machine, and whether processes side by side are worth their start."""

import os
from collections.abc import Sequence
from dataclasses import replace

from bench_core.devices import find_device
from bench_core.engines.resources import GUESS_GIB, Alone, Machine, Needs, this_machine
from bench_core.planning.chains import Chain
from bench_core.running.estimates import Outlook
from bench_core.running.pending import is_trained
from bench_core.running.setting import RunSetting
from bench_core.running.threads import item_operations, step_items, step_operations, threads_here
from bench_core.store import Store

# A guess at the speed of one core, and of a GPU, on which it matters only whether work takes seconds or minutes.
_STEP_S = 0.005  # of a step, beside its products
_TRAINED_PER_S = 33e9  # operations of the encoder's pass forward, with all that a step does beside it
_EMBEDDED_PER_S = 100e9
_GPU = 20.0  # times as fast
_WORTH_S = 20.0  # of work; the start of a process takes about four seconds of a core

Likeness = tuple[str, str, str, int, str]


class Sizes:
    """Cores and memory that each chain takes, by records, by what processes report, or by a guess.

    Attributes:
        device_gib: Memory of each device, as far as a process has reported it.
    """

    def __init__(self, outlook: Outlook, setting: RunSetting, machine: Machine) -> None:
        """Begin with what the store's records tell.

        Args:
            outlook: Knows the records.
            setting: Gives the number of processes that read data.
            machine: Says which devices have memory of their own.
        """
        self._outlook, self._setting, self._machine = outlook, setting, machine
        self.device_gib: list[float | None] = [None] * len(machine.places)
        self._first_steps: dict[Likeness, float] = {}
        self._needs: dict[tuple[str, Alone], Needs] = {}

    def needs(self, chain: Chain, alone: Alone = Alone.NOTHING) -> Needs:
        """Return what a chain takes."""
        if (chain.key, alone) not in self._needs:
            self._needs[chain.key, alone] = self._find_needs(chain, alone)
        return self._needs[chain.key, alone]

    def note_first_step(self, chain: Chain, place: int, peak_gib: float, device_gib: float) -> None:
        """Take in what the process of a chain has reported after its first step."""
        self.device_gib[place] = device_gib
        self._first_steps[_likeness(chain)] = max(peak_gib, self._first_steps.get(_likeness(chain), 0.0))
        self._needs.clear()

    def _find_needs(self, chain: Chain, alone: Alone) -> Needs:
        if not any(place.has_own_memory for place in self._machine.places):
            cores = (threads_here(chain) + self._setting.workers) * _ranks(self._setting)
            return Needs(cores, self._outlook.memory(chain, "cpu") or GUESS_GIB, alone=alone)
        peak = self._first_steps.get(_likeness(chain)) or self._outlook.memory(chain, "cuda")
        return Needs(1 + self._setting.workers, GUESS_GIB, peak, alone)


def _likeness(chain: Chain) -> Likeness:
    """Return what chains have in common that take the same memory: all but the seed and what costs none."""
    names = chain.dataset.name, chain.encoder.name, chain.row_name
    return *names, chain.recipe.batch_size, chain.precision


def settle_jobs(setting: RunSetting, chains: Sequence[Chain], store: Store) -> RunSetting:
    """Return the setting of a run for the chains that are missing, where `jobs` is "auto".

    A single chain runs in this process, and so do chains that together take less than processes would gain. Several
    chains that take longer run side by side: `jobs` then stays "auto", and each has a process of its own.
    """
    if setting.jobs != "auto":
        return setting
    if setting.engine != "local":
        return replace(setting, jobs=1)
    if len(chains) > 1 and _seconds(chains, store, setting.device) >= _WORTH_S and _has_room(setting):
        return setting
    return replace(setting, jobs=1, isolate=setting.isolate or setting.time_limit is not None)


def expected_jobs(setting: RunSetting, chains: Sequence[Chain]) -> int:
    """Return about how many of some chains will run at the same time, for estimates."""
    if setting.jobs != "auto":
        return int(setting.jobs)
    machine = this_machine(setting.device, _ranks(setting))
    if any(place.has_own_memory for place in machine.places):
        return max(1, min(len(machine.places), len(chains)))
    threads = (max(map(threads_here, chains), default=1) + setting.workers) * _ranks(setting)
    return max(1, min(machine.cores // threads, len(chains)))


def _has_room(setting: RunSetting) -> bool:
    """Return whether more than one chain can run at all on this machine.

    The ranks of a chain have GPUs for themselves, MPS does not tell its memory, Windows has no groups of processes.
    """
    if not hasattr(os, "killpg") or find_device(setting.device).type == "mps":
        return False
    machine = this_machine(setting.device, _ranks(setting))
    if setting.ranks != 1 and any(place.has_own_memory for place in machine.places):
        return len(machine.places) > 1
    return machine.cores > 1 or len(machine.places) > 1


def _ranks(setting: RunSetting) -> int:
    """Return the number of processes that train a chain."""
    return 1 if setting.ranks == "auto" else setting.ranks


def _seconds(chains: Sequence[Chain], store: Store, device: str) -> float:
    """Guess how long chains take on one core, or on a GPU: their training, and the embedding of their data."""
    total = 0.0
    for chain in chains:
        items = sum(chain.data.splits.values())
        total += items * item_operations(chain) / _EMBEDDED_PER_S
        if not is_trained(chain, store):
            steps = chain.recipe.epochs * (chain.data.num_train // max(1, step_items(chain)))
            total += steps * (_STEP_S + step_operations(chain) / _TRAINED_PER_S)
    return total / (1.0 if find_device(device).type == "cpu" else _GPU)
