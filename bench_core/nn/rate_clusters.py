"""Clusters of frozen latents: the memberships that reduce their rate the most.

    max over h of  Delta R(Z | Pi),  Pi = Gumbel-softmax(h(Z))

Source: Buchanan, Pai, Wang, Ma et al., https://github.com/Ma-Lab-Berkeley/deep-representation-learning-book (229c64b,
        chapters/chapter5/consistent.tex), for the problem and the small network h; temperature 1 and the batch are
        those of https://github.com/zengyi-li/NMCE-release (b60a05e), whose h is linear and trained by SGD.
Note:   without the noise clusters die early and stay empty. One fit often ends at a local optimum; the best of a few
        is taken by the same criterion, which needs no labels.

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

_WIDTH = 256  # of the hidden layer; ours
_BATCH = 1024  # NMCE's
_PASSES = 100  # NMCE's
_RATE = 1e-2  # of Adam, falling linearly to 0; ours
_JUDGED = 4096  # items that the fits are compared on


class Memberships(nn.Module):
    """A network from unit latents to clusters; no player moves it, `fit` does. Until then its clusters mean nothing."""

    def __init__(self, latent_dim: int, clusters: int) -> None:
        """Random weights."""
        super().__init__()
        self.clusters = clusters
        self.layers = mlp(latent_dim, _WIDTH, clusters, norm=False).requires_grad_(False)

    def forward(self, latents: Tensor) -> Tensor:
        """Logits (N, K) of rows (N, P) of length 1, which are made as long as sqrt(P)."""
        logits: Tensor = self.layers(latents * math.sqrt(latents.shape[1]))
        return logits

    def assign(self, latents: Tensor) -> Tensor:
        """Clusters (N,) int64 of rows (N, P) of length 1."""
        return self.forward(latents).argmax(1)

    def fit(
        self, latents: Tensor, eps2: float, rng: torch.Generator, *, max_steps: int = 300, starts: int = 3
    ) -> dict[str, float]:
        """Fit to all latents from several random starts and keep the best.

        Args:
            latents: (N, P) rows of length 1.
            eps2: Of the rate, > 0.
            rng: On the latents' device; all that is random comes from it.
            max_steps: Of each fit, which takes 100 passes where these are fewer.
            starts: Fits.

        Returns:
            For the log: by how many nats the clusters reduce the rate of (at most 4096 of) the items, and the sizes of
            the smallest and the largest cluster.
        """
        judged = latents[torch.randperm(len(latents), generator=rng, device=latents.device)[:_JUDGED]]
        steps = min(max_steps, _PASSES * max(1, len(latents) // _BATCH))
        best, kept = -math.inf, self._copy()
        for _ in range(starts):
            self._fit_once(latents, eps2, rng, steps)
            reduction = float(rate_reduction(judged, F.one_hot(self.assign(judged), self.clusters), eps2))
            if reduction > best:
                best, kept = reduction, self._copy()
        self.load_state_dict(kept)
        sizes = torch.bincount(self.assign(latents), minlength=self.clusters)
        return {
            "cluster_reduction": best,
            "smallest_cluster": int(sizes.min()),
            "largest_cluster": int(sizes.max()),
        }

    def _fit_once(self, latents: Tensor, eps2: float, rng: torch.Generator, steps: int) -> None:
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=rng)
                nn.init.zeros_(layer.bias)
        self.requires_grad_(True)
        optimizer = torch.optim.Adam(self.parameters(), lr=_RATE)
        with torch.enable_grad():
            for step, rows in enumerate(itertools.islice(_batches(latents, rng), steps)):
                optimizer.param_groups[0]["lr"] = _RATE * (1 - step / steps)
                logits = self(rows)
                gumbel = -torch.empty_like(logits).exponential_(generator=rng).log()
                optimizer.zero_grad()
                torch.autograd.backward(-rate_reduction(rows, (logits + gumbel).softmax(1), eps2))
                optimizer.step()
        self.requires_grad_(False)

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.state_dict().items()}


def _batches(latents: Tensor, rng: torch.Generator) -> Iterator[Tensor]:
    """Rows in random order without end; all of them each time where they fill no more than one batch."""
    while True:
        order = torch.randperm(len(latents), generator=rng, device=latents.device)
        for start in range(0, max(1, len(latents) - _BATCH + 1), _BATCH):
            yield latents[order[start : start + _BATCH]]
