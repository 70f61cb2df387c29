"""Clusters of frozen latents: the memberships that reduce their rate the most.

    max over h of  Delta R(Z | softmax(h(Z)))

Source: Buchanan, Pai, Wang, Ma et al., https://github.com/Ma-Lab-Berkeley/deep-representation-learning-book (229c64b,
        chapters/chapter5/consistent.tex), for the problem and the small network h;
        https://github.com/zengyi-li/NMCE-release (b60a05e) solves it with a linear h and Gumbel noise.
Note:   the mean rate of the classes is concave in the memberships, so that the best ones are hard without any noise:
        here a plain softmax. A single fit stays at a local optimum more often than not; the best of a few is taken by
        the same criterion, which needs no labels.

Shapes: N items, P latents, K clusters.
"""

import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.coding_rate import rate_reduction
from bench_core.heads import mlp

_WIDTH = 256  # of the hidden layer; ours
_BATCH = 1024  # NMCE's
_RATE = 1e-2  # of Adam, falling to 0; ours: of .003, .01, .03 none was clearly better on made subspaces
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

    def fit(self, latents: Tensor, eps2: float, rng: torch.Generator, *, steps: int = 100, starts: int = 3) -> float:
        """Fit to all latents from several random starts and keep the best.

        Args:
            latents: (N, P) rows of length 1.
            eps2: Of the rate, > 0.
            rng: On the latents' device; all that is random comes from it.
            steps: Of each fit.
            starts: Fits.

        Returns:
            The reduction by the hard clusters, in nats, on at most 4096 items.
        """
        judged = latents[torch.randperm(len(latents), generator=rng, device=latents.device)[:_JUDGED]]
        found = [(self._fit_once(latents, judged, eps2, rng, steps), self._copy()) for _ in range(starts)]
        best, weights = max(found, key=lambda pair: pair[0])
        self.load_state_dict(weights)
        return best

    def _fit_once(self, latents: Tensor, judged: Tensor, eps2: float, rng: torch.Generator, steps: int) -> float:
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=rng)
                nn.init.zeros_(layer.bias)
        self.requires_grad_(True)
        optimizer = torch.optim.Adam(self.parameters(), lr=_RATE)
        with torch.enable_grad():
            for step, rows in enumerate(itertools.islice(_batches(latents, rng), steps)):
                optimizer.param_groups[0]["lr"] = _RATE * (1 - step / steps)
                optimizer.zero_grad()
                torch.autograd.backward(-rate_reduction(rows, self(rows).softmax(1), eps2))
                optimizer.step()
        self.requires_grad_(False)
        logits = self(judged)
        return float(rate_reduction(judged, F.one_hot(logits.argmax(1), logits.shape[1]), eps2))

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.state_dict().items()}


def _batches(latents: Tensor, rng: torch.Generator) -> Iterator[Tensor]:
    """Rows in random order without end; all of them each time where they fill no more than one batch."""
    while True:
        order = torch.randperm(len(latents), generator=rng, device=latents.device)
        for start in range(0, max(1, len(latents) - _BATCH + 1), _BATCH):
            yield latents[order[start : start + _BATCH]]
