"""Cores, memory and devices of a machine, and which chains fit beside one another.

All that is decided here follows from numbers that are given, so that tests need no GPU: `this_machine` reads them.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import torch
from joblib import cpu_count

from bench_core.devices import find_device, free_memory_gib, split_devices

GUESS_GIB = 2.0  # memory of a chain of which nothing is known
_PROCESS_GIB = 0.5  # memory of a GPU that a process takes beside its tensors
_SHARE = 0.9  # of the memory, so that a chain may grow a little after its first step


@dataclass(frozen=True)
class Place:
    """A device on which chains run.

    Attributes:
        device: What `--device` of a process there is; None leaves it as it was typed.
        environment: Variables of a process there.
        has_own_memory: Whether it is a GPU, on which a chain is alone unless the memory of both is known to fit.
    """

    device: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    has_own_memory: bool = False


@dataclass(frozen=True)
class Machine:
    """Cores, memory and devices that chains share.

    Attributes:
        cores: Cores that chains may use.
        memory_gib: Memory that is free; None where the system does not tell it.
        places: The devices.
    """

    cores: int
    memory_gib: float | None
    places: Sequence[Place]

    def line(self) -> str:
        """Return a line that says what chains share."""
        gpus = sum(place.has_own_memory for place in self.places)
        parts = [f"{self.cores} core{'' if self.cores == 1 else 's'}"]
        parts += [] if self.memory_gib is None else [f"{self.memory_gib:.0f} GiB of memory"]
        parts += [f"{gpus} GPU{'' if gpus == 1 else 's'}"] if gpus else []
        return f"chains run side by side as they fit into {', '.join(parts)}; --jobs 1 runs them one by one"


class Alone(IntEnum):
    """Part of the machine that a chain has for itself."""

    NOTHING = 0
    DEVICE = 1
    MACHINE = 2


@dataclass(frozen=True)
class Needs:
    """Cores and memory that a chain takes.

    Attributes:
        cores: Its threads, and the processes that read its data; on a GPU the threads wait for it, and count as one.
        memory_gib: Its peak in memory, as measured or guessed.
        device_gib: Its peak in the memory of a GPU; None where nothing is known.
        alone: What it has for itself, after it ran out of memory beside another.
    """

    cores: int
    memory_gib: float
    device_gib: float | None = None
    alone: Alone = Alone.NOTHING


def find_place(
    needs: Needs,
    running: Sequence[tuple[Needs, int]],
    machine: Machine,
    device_gib: Sequence[float | None],
    most: int | None = None,
) -> int | None:
    """Find the device of the next chain.

    Args:
        needs: What the chain takes.
        running: What each running chain takes, and the number of its device.
        machine: What they share.
        device_gib: The memory of each device, as far as it is known.
        most: Number of chains that run at once, where it was typed: then cores and memory are its affair. With None a
            chain is added only where it fits; the first one always does.

    Returns:
        The number of the device with the fewest chains that the chain may run on; None if it has to wait.
    """
    if running and (needs.alone is Alone.MACHINE or any(other.alone is Alone.MACHINE for other, _ in running)):
        return None
    if most is not None and len(running) >= most:
        return None
    if most is None and running and not _fits(needs, [other for other, _ in running], machine):
        return None
    on_device = [[other for other, at in running if at == number] for number in range(len(machine.places))]
    for number in sorted(range(len(on_device)), key=lambda number: len(on_device[number])):
        others = on_device[number]
        if others and (needs.alone or any(other.alone for other in others)):
            continue
        own_memory = machine.places[number].has_own_memory
        if not others or most is not None or not own_memory or _fits_device(needs, others, device_gib[number]):
            return number
    return None


def _fits(needs: Needs, others: Sequence[Needs], machine: Machine) -> bool:
    """Return whether a chain fits into the cores and the memory that others leave."""
    if needs.cores + sum(other.cores for other in others) > machine.cores:
        return False
    memory = needs.memory_gib + sum(other.memory_gib for other in others)
    return machine.memory_gib is None or memory <= _SHARE * machine.memory_gib


def _fits_device(needs: Needs, others: Sequence[Needs], device_gib: float | None) -> bool:
    """Return whether the peaks of all chains are known, and fit into a share of the memory of their GPU."""
    peaks = [each.device_gib for each in (needs, *others)]
    if device_gib is None or None in peaks:
        return False
    return sum(peak + _PROCESS_GIB for peak in peaks if peak is not None) <= _SHARE * device_gib


def memory_kills(vmstat: Path = Path("/proc/vmstat")) -> int | None:
    """Return how many processes this system has ended to take back memory; None where it does not count them."""
    with suppress(OSError, ValueError):
        for line in vmstat.read_text(encoding="ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return None


def killed_for_memory(before: int | None) -> bool:
    """Return False if the system has ended no process for its memory since it had ended so many.

    Then SIGKILL came from a person. Where the system does not count, it is taken for the system's.
    """
    now = memory_kills()
    return before is None or now is None or now > before


def this_machine(device: str, ranks: int = 1) -> Machine:
    """Return what the chains of a run share on this machine; it touches no GPU.

    Of more than two cores (by affinity and cgroup) one stays free, for whoever sits there.

    Args:
        device: As for `--device`: each of several named GPUs is a place, with `auto` and `cuda` each visible one.
        ranks: Number of GPUs that make a place, for chains of several ranks.
    """
    cores = int(cpu_count())
    return Machine(cores - 1 if cores > 2 else cores, free_memory_gib(), places_of(device, ranks))


def places_of(device: str, ranks: int = 1) -> list[Place]:
    """Return the devices of a run, so many GPUs at a time as a chain has ranks."""
    names = split_devices(device)
    if len(names) > 1:
        return [Place(device=group, has_own_memory=True) for group in _groups(names, ranks)]
    found = find_device(device)
    if found == torch.device("cuda") and (gpus := visible_gpus()):
        groups = _groups(gpus, ranks)
        return [Place(environment={"CUDA_VISIBLE_DEVICES": group}, has_own_memory=True) for group in groups]
    return [Place(has_own_memory=found.type != "cpu")]


def _groups(names: Sequence[str], size: int) -> list[str]:
    """Join so many names at a time: `a,b` and `c,d`; a rest is left out, unless all are fewer."""
    return [",".join(names[start : start + size]) for start in range(0, max(1, len(names) - size + 1), size)]


def visible_gpus() -> list[str]:
    """List the visible GPUs by the names that CUDA_VISIBLE_DEVICES uses."""
    count = torch.cuda.device_count()
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (variable.split(",") if variable else list(map(str, range(count))))[:count]
