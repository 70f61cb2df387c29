"""Clusters of frozen latents: the memberships with the largest rate reduction.

    max over h of  Delta R(Z | Pi),  Pi = Gumbel-softmax(h(Z))

Source: Buchanan, Pai, Wang, Ma et al., https://github.com/Ma-Lab-Berkeley/deep-representation-learning-book (229c64b,
        chapters/chapter5/consistent.tex), for the problem and the small network h; temperature 1 and the batch are
        those of https://github.com/zengyi-li/NMCE-release (b60a05e), whose h is linear and trained by SGD.
Note:   without the Gumbel noise some clusters become empty early and stay so. One fit often ends at a local optimum,
        so the best of a few is taken, by the same criterion, which needs no labels.

Shapes: N items, P latents, K clusters.
"""

import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.nn.coding_rate import rate_reduction
from bench_core.nn.heads import mlp

_WIDTH = 256  # units of the hidden layer; ours
_BATCH = 1024  # items, as NMCE
_PASSES = 100  # over the latents, as NMCE
_LEARNING_RATE = 1e-2  # Adam's, falling linearly to 0; ours
_COMPARED = 4096  # items on which fits are compared


class Memberships(nn.Module):
    """A network that assigns unit latents to clusters.

    It belongs to no player, so training does not move it; `fit` does. Before `fit` its clusters are random.
    """

    def __init__(self, latent_dim: int, clusters: int) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.clusters = clusters
        self.layers = mlp(latent_dim, _WIDTH, clusters, norm=False).requires_grad_(False)

    def forward(self, latents: Tensor) -> Tensor:
        """Return logits (N, K) of rows (N, P) of length 1, which are scaled to length sqrt(P) first."""
        logits: Tensor = self.layers(latents * math.sqrt(latents.shape[1]))
        return logits

    def assign(self, latents: Tensor) -> Tensor:
        """Return clusters (N,) int64 of rows (N, P) of length 1."""
        return self.forward(latents).argmax(1)

    def fit(
        self, latents: Tensor, eps2: float, rng: torch.Generator, *, max_steps: int = 300, starts: int = 3
    ) -> dict[str, float]:
        """Fit to all latents from several random starts and keep the best.

        Args:
            latents: (N, P) rows of length 1.
            eps2: Squared error of the rate, > 0.
            rng: Generator on the latents' device; all random numbers come from it.
            max_steps: Optimiser steps of each fit; 100 passes over the latents if that is less.
            starts: Number of fits.

        Returns:
            Numbers for the log: the rate reduction in nats (on at most 4096 items), and the sizes of the smallest and
            the largest cluster.
        """
        compared = latents[torch.randperm(len(latents), generator=rng, device=latents.device)[:_COMPARED]]
        steps = min(max_steps, _PASSES * max(1, len(latents) // _BATCH))
        best, best_weights = -math.inf, self._copy_of_weights()
        for _ in range(starts):
            self._fit_once(latents, eps2, rng, steps)
            reduction = float(rate_reduction(compared, F.one_hot(self.assign(compared), self.clusters), eps2))
            if reduction > best:
                best, best_weights = reduction, self._copy_of_weights()
        self.load_state_dict(best_weights)
        sizes = torch.bincount(self.assign(latents), minlength=self.clusters)
        return {
            "cluster_reduction": best,
            "smallest_cluster": int(sizes.min()),
            "largest_cluster": int(sizes.max()),
        }

    def _fit_once(self, latents: Tensor, eps2: float, rng: torch.Generator, steps: int) -> None:
        """Fit from new random weights."""
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=rng)
                nn.init.zeros_(layer.bias)
        self.requires_grad_(True)
        optimizer = torch.optim.Adam(self.parameters(), lr=_LEARNING_RATE)
        with torch.enable_grad():
            for step, rows in enumerate(itertools.islice(_batches(latents, rng), steps)):
                optimizer.param_groups[0]["lr"] = _LEARNING_RATE * (1 - step / steps)
                logits = self(rows)
                gumbel = -torch.empty_like(logits).exponential_(generator=rng).log()
                optimizer.zero_grad()
                torch.autograd.backward(-rate_reduction(rows, (logits + gumbel).softmax(1), eps2))
                optimizer.step()
        self.requires_grad_(False)

    def _copy_of_weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.state_dict().items()}


def _batches(latents: Tensor, rng: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of 1024 rows in random order, without end; all rows each time where there are fewer."""
    while True:
        order = torch.randperm(len(latents), generator=rng, device=latents.device)
        for start in range(0, max(1, len(latents) - _BATCH + 1), _BATCH):
            yield latents[order[start : start + _BATCH]]
