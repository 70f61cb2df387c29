"""Threads of a chain: as many as its training step can use, whatever else runs, so that its bits stay the same.

The size of a step is that of the encoder's pass over one batch, counted on two made items. Bits depend on the number of
threads, so it follows from the chain alone, never from how many chains run; a machine with fewer cores uses what it
has. `docs/decisions.md` says where the bounds come from.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from joblib import cpu_count
from threadpoolctl import ThreadpoolController
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench_core.data import open_split
from bench_core.data.made import made_split
from bench_core.planning.chains import Chain
from bench_core.planning.components import ConfiguredComponent

VARIABLE = "OMP_NUM_THREADS"  # where the user has set it, it wins
_ITEMS = 2  # of the pass that is counted
_BOUNDS = ((64e9, 8), (8e9, 4), (1e9, 2))  # operations of the encoder on one batch -> threads that they can use

_counted: dict[tuple[object, ...], float] = {}  # what an encoder was made of -> operations for one item
_set_here: list[int] = []  # the blocks of `running_threads` that are open


def threads_for(chain: Chain) -> int:
    """Return the number of threads that a step of a chain can use: 1, 2, 4 or 8. It follows from the chain alone."""
    operations = step_operations(chain)
    return next((threads for bound, threads in _BOUNDS if operations >= bound), 1)


def threads_here(chain: Chain, given: int | None = None) -> int:
    """Return the number of threads that a chain gets on this machine.

    Args:
        chain: The chain.
        given: The number of a record, for a repetition with the same bits; None takes that of the chain's step, and
            on a machine with fewer cores all of these.
    """
    if VARIABLE in os.environ and not _set_here:
        return torch.get_num_threads()
    return given or min(threads_for(chain), int(cpu_count()))


def fewer_threads(chains: Iterable[Chain]) -> list[str]:
    """Return a line that says that this machine has fewer cores than the steps of some chains can use, or none."""
    if VARIABLE in os.environ:
        return []
    most, cores = max(map(threads_for, chains), default=1), int(cpu_count())
    if most <= cores:
        return []
    return [f"steps that can use {most} threads get {cores}: this machine has no more cores; last digits may differ"]


def step_operations(chain: Chain) -> float:
    """Count the operations of the encoder, and of a teacher's, on the items of one step: products and convolutions."""
    encoders = [chain.encoder, *([chain.teacher.encoder] if chain.teacher else [])]
    return sum(item_operations(chain, encoder) for encoder in encoders) * step_items(chain)


def step_items(chain: Chain) -> int:
    """Return the number of items in a step of a chain's training: all nodes of a graph, else a batch."""
    items = chain.data.splits.get("train", 0)
    return items if chain.data.kind == "nodes" else min(chain.recipe.batch_size, items)


def item_operations(chain: Chain, encoder: ConfiguredComponent | None = None) -> float:
    """Count the operations of an encoder on one item; 0 where it cannot be tried, which its training will report.

    Args:
        chain: Gives the shape of the data.
        encoder: The encoder; None is the chain's.
    """
    encoder = encoder or chain.encoder
    known_by = (encoder.plugin.cls, repr(encoder.config), chain.data.kind, chain.data.shape, str(chain.data.modalities))
    if known_by not in _counted:
        _counted[known_by] = _operations(chain, encoder) / _ITEMS
    return _counted[known_by]


def _operations(chain: Chain, encoder: ConfiguredComponent) -> float:
    """Count the operations of an encoder on a few made items."""
    try:
        with torch.random.fork_rng([]), torch.no_grad():
            module = encoder.plugin.cls(chain.data, encoder.config).eval()
            inputs = next(open_split(made_split(chain.data, _ITEMS), torch.device("cpu")).batches(_ITEMS)).inputs
            with _Operations() as counter:
                module(inputs)
    except Exception:  # of whatever library; the training will report it
        return 0.0
    return float(counter.total)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch gives no types
    """Sums the operations of products and convolutions, by torch's formulas."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch gives no types
        self.total = 0.0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Answer torch that this needs nothing of its compiler, the import of which takes a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


@contextmanager
def running_threads(chain: Chain, given: int | None = None) -> Iterator[int]:
    """Compute with the number of threads of a chain in this block; torch, NumPy, SciPy, faiss and scikit-learn do.

    Args:
        chain: The chain that is trained or evaluated in the block.
        given: As for `threads_here`.
    """
    threads, before = threads_here(chain, given), torch.get_num_threads()
    if VARIABLE in os.environ and not _set_here:
        yield threads
        return
    variable = os.environ.get(VARIABLE)
    libraries = ThreadpoolController()
    known = {library.filepath for library in libraries.lib_controllers}
    os.environ[VARIABLE] = str(threads)  # of libraries that are loaded in the block
    _set_here.append(threads)
    try:
        with libraries.limit(limits=threads):
            torch.set_num_threads(threads)
            yield threads
    finally:
        _set_here.pop()
        torch.set_num_threads(before)
        for library in ThreadpoolController().lib_controllers:
            if library.filepath not in known:
                library.set_num_threads(before)
        if variable is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = variable
