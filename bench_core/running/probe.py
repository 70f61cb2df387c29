"""The probe of `--probe-every`: how good features are while they are trained, on two parts of the train split.

    knn      share of the queries that their nearest neighbours in the bank classify; where items have one label each
    rankme   RankMe of the bank: how many directions its features use

Bank and queries are drawn from the train split by the chain's seed, and the training goes on over all of it. So the
numbers are no test scores: the method has seen these images. They are logged and drawn, and never choose anything.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from bench_core.contracts import DataSpec, Objective, Split
from bench_core.data import take
from bench_core.evaluation.knn import choose_k, knn_answers
from bench_core.evaluation.spectrum import rankme, singular_values
from bench_core.process_settings import restored
from bench_core.seeds import stream
from bench_core.training.embed import embed_splits, joined

MOST_QUERIES, MOST_IN_BANK = 2_000, 10_000
QUERY_SHARE = 0.2  # of a small train split
TEMPERATURE = 0.1  # of the votes, as in task knn
FEWEST = 10  # items of a train split that can be divided


@dataclass(frozen=True)
class Probe:
    """Measures a method at the end of some epochs, and leaves it and all random streams as they were.

    Attributes:
        every: Number of epochs from one probe to the next.
        parts: The `bank` and the `queries`.
        data: The dataset.
        device: Device of the method.
        workers: Processes that read image files.
        warn: Called with a line of text where a probe fails; the training goes on.
    """

    every: int
    parts: Mapping[str, Split]
    data: DataSpec
    device: torch.device
    workers: int = 0
    warn: Callable[[str], None] = field(default=lambda text: None)

    def measure(self, objective: Objective, epoch: int) -> dict[str, dict[str, float]]:
        """Return `{"probe": {"knn": ..., "rankme": ...}}`, or {} where none is due after this epoch, from 1."""
        if epoch % self.every:
            return {}
        try:
            with as_it_was(objective, self.device):
                return {"probe": self._measure(objective)}
        except Exception as error:
            self.warn(f"the probe after epoch {epoch} failed, the training goes on: {type(error).__name__}: {error}")
            return {}

    def _measure(self, objective: Objective) -> dict[str, float]:
        embedded = {
            name: joined(pieces) for name, pieces in embed_splits(objective, self.parts, self.device, self.workers)
        }
        bank, queries = (embedded[name]["features"].flatten(1).float() for name in ("bank", "queries"))
        found = {"rankme": rankme(singular_values(bank, centred=False))}
        labels, answers = self.parts["bank"].labels, self.parts["queries"].labels
        if labels is not None and answers is not None and labels.ndim == 1 and self.data.num_classes:
            k, _ = choose_k(None, labels)
            votes = knn_answers(
                queries, bank, labels, self.data.num_classes, k=k, temperature=TEMPERATURE, device=self.device
            )
            found = {"knn": float((votes.argmax(1) == answers).double().mean()), **found}
        return found


@contextmanager
def as_it_was(objective: nn.Module, device: torch.device) -> Iterator[None]:
    """Put back modes, parameters and buffers of a method, and the global random streams, at the end of a block."""
    modes = {module: module.training for module in objective.modules()}
    tensors = [(tensor, tensor.detach().clone()) for tensor in (*objective.parameters(), *objective.buffers())]
    try:
        with restored(), torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for tensor, before in tensors:
                if not torch.equal(tensor, before):
                    tensor.copy_(before)


def make_probe(
    every: int, train: Split, data: DataSpec, seed: int, device: torch.device, workers: int, warn: Callable[[str], None]
) -> Probe | None:
    """Return the probe of a chain; None where it asks for none, or its train split is too small to be divided.

    Args:
        every: Number of epochs from one probe to the next; 0 for none.
        train: The train split.
        data: The dataset.
        seed: Seed of the chain.
        device: Device of the method.
        workers: Processes that read image files.
        warn: Called with a line of text where a probe cannot be made.
    """
    if not every:
        return None
    if len(train) < FEWEST:
        warn(f"no probe: it divides the train split, which has {len(train)} items of the {FEWEST} that it needs")
        return None
    order = torch.randperm(len(train), generator=stream(seed, "probe"))
    queries = min(MOST_QUERIES, int(QUERY_SHARE * len(train)))
    parts = {
        "bank": take(train, order[queries : queries + MOST_IN_BANK].sort().values),
        "queries": take(train, order[:queries].sort().values),
    }
    return Probe(every, parts, data, device, workers, warn)
