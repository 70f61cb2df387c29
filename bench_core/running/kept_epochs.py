"""Weights along the way: those of `--keep-every N`, which `--at epochs=A,B` measures.

chains/<key>.under-way/epochs/0010.safetensors    while the chain is trained; a training that goes on keeps them
chains/<key>/epochs/0010.safetensors              when it is trained; chain.json has their digests
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from bench_core.errors import RequestError, StoreError
from bench_core.files import file_digest, write_bytes
from bench_core.planning.chains import Cell, Chain
from bench_core.running.pending import is_trained
from bench_core.store import Store
from bench_core.store.chain_files import EPOCHS, epoch_weights, read_finished_log, read_summary
from bench_core.store.tensors import save_tensors


@dataclass
class KeptEpochs:
    """Keeps the weights of a training after every so many epochs.

    Attributes:
        every: Number of epochs from one to the next; 0 keeps none.
        folder: Folder of the training that is under way.
        warn: Called with a line of text where weights cannot be kept; the training goes on.
    """

    every: int
    folder: Path
    warn: Callable[[str], None]
    _began: bool = field(default=False, repr=False)

    def keep(self, objective: nn.Module, epoch: int) -> None:
        """Write the weights after an epoch, counted from 1, if they are to be kept."""
        if not self._began:
            self._began = True
            for path, kept in _files(self.folder):
                if kept >= epoch:  # of a training that is done again from here, with other code maybe
                    with suppress(OSError):
                        path.unlink()
        if self.every and epoch % self.every == 0:
            try:
                save_tensors(epoch_weights(self.folder, epoch), objective.state_dict())
            except (OSError, StoreError) as error:
                self.warn(f"the weights after epoch {epoch} cannot be kept, the training goes on: {error}")

    def hand_over(self, folder: Path, epochs: int) -> dict[str, str]:
        """Copy the weights to the folder of the trained chain, and return epoch -> digest, for its summary."""
        digests = {}
        for path, epoch in _files(self.folder):
            if epoch <= epochs:
                target = epoch_weights(folder, epoch)
                write_bytes(target, path.read_bytes())
                digests[str(epoch)] = file_digest(target)
        return digests


def _files(folder: Path) -> list[tuple[Path, int]]:
    """List the kept weights of a folder with their epochs, in order."""
    paths = sorted((folder / EPOCHS).glob("*.safetensors"))
    return [(path, int(path.stem)) for path in paths if path.stem.isdecimal()]


def check_kept_epochs(chain: Chain, cells: Sequence[Cell], store: Store, keep_every: int) -> None:
    """Check before anything runs that the weights of all epochs to measure are there, or will be.

    Args:
        chain: The chain.
        cells: Its cells that are to run.
        store: The store.
        keep_every: Number of epochs from one copy of the weights to the next in this run; 0 keeps none.

    Raises:
        RequestError: Some are not; says what to type.
    """
    asked = sorted({cell.epoch for cell in cells if cell.epoch is not None})
    if asked and is_trained(chain, store):
        weights_after(chain, store.chain_folder(chain.key), asked)
    elif lacking := [epoch for epoch in asked if not keep_every or epoch % keep_every]:
        step = math.gcd(*asked)
        raise RequestError(
            f"the weights of {chain.method.name} after {_epochs(lacking)} would not be kept; add --keep-every {step} "
            f"(keep_every={step} in Python)."
        )


def weights_after(chain: Chain, folder: Path, epochs: Sequence[int]) -> list[tuple[Path, str]]:
    """Return file and digest of the weights of a trained chain after each of these epochs.

    Raises:
        RequestError: Some were not kept; says which were, and what to type.
    """
    digests = read_summary(folder).get("epochs", {})
    if lacking := [epoch for epoch in epochs if str(epoch) not in digests]:
        kept = f"only those after {_epochs(sorted(map(int, digests)))}" if digests else "none along the way"
        raise RequestError(
            f"{chain.label} did not keep the weights after {_epochs(lacking)}, but {kept}. Ask for fewer with --at, or "
            f"train it again: --keep-every {math.gcd(*epochs)} --rerun {chain.method.plugin.name}"
        )
    return [(epoch_weights(folder, epoch), digests[str(epoch)]) for epoch in epochs]


def cost_until(folder: Path, epoch: int) -> dict[str, Any]:
    """Return steps and seconds of a training up to an epoch, from its log; empty where the log has no such epoch."""
    seconds = 0.0
    with suppress(OSError, StoreError, KeyError, TypeError):
        for line in read_finished_log(folder):
            seconds += line["seconds"]
            if line["epoch"] == epoch:
                return {"steps": line["step"], "pretrain_s": seconds}
    return {}


def _epochs(epochs: Sequence[int]) -> str:
    return f"epoch{'s' if len(epochs) > 1 else ''} {', '.join(map(str, epochs))}"
