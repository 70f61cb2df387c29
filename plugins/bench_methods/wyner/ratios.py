"""Networks that estimate log-ratios: how much likelier a sample is under one distribution than under another.

A log-ratio r that maximises E_p[log sigmoid(r)] + E_q[log sigmoid(-r)] is log p / q. Then E_p[r] is the divergence
KL(p || q), and E_p[r] - E_q[r] is KL(p || q) + KL(q || p).

Paper: Ryu et al., https://arxiv.org/abs/1905.10945
Code:  https://github.com/jongharyu/wyner-model/blob/6c5ecd8/src/models/adversarial/bimodal/model.py (Discriminator)

Shapes: N items, Z, P and Q coordinates of the common and the two private latents, U units.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench_core import DataSpec

from .networks import SLOPE, feature_network


class Sample(NamedTuple):
    """Pairs with their latents, drawn from one distribution; or the noise that is added to such pairs.

    Attributes:
        first: (N, ...) items of the first modality.
        second: (N, ...) items of the second modality.
        z: (N, Z) common latents.
        u: (N, P) private latents of the first modality.
        v: (N, Q) private latents of the second modality.
    """

    first: Tensor
    second: Tensor
    z: Tensor
    u: Tensor
    v: Tensor

    def plus(self, noise: "Sample", scale: float) -> "Sample":
        """Return the sample with noise of the same shapes, times `scale`."""
        return Sample(*(value + scale * part for value, part in zip(self, noise, strict=True)))


class RatioNetworks(nn.Module):
    """One log-ratio for each term; all share the features of a pair."""

    def __init__(
        self, first: DataSpec, second: DataSpec, latents: Mapping[str, tuple[str, ...]],
        dims: Mapping[str, int], width: int, units: int,
    ) -> None:  # fmt: skip
        """Build the networks.

        Args:
            first: The first modality.
            second: The second modality.
            latents: Name of a term -> names of the latents that it reads, of "z", "u" and "v".
            dims: Name of a latent -> its number of coordinates.
            width: Channels of the networks of features.
            units: U.
        """
        super().__init__()
        self.latents = dict(latents)
        self.first, self.second = (feature_network(data, width, units) for data in (first, second))
        self.latent, self.ratio = nn.ModuleDict(), nn.ModuleDict()
        for term, names in latents.items():
            self.latent[term] = nn.Sequential(nn.Linear(sum(dims[name] for name in names), units), nn.LeakyReLU(SLOPE))
            self.ratio[term] = nn.Sequential(nn.Linear(3 * units, units), nn.LeakyReLU(SLOPE), nn.Linear(units, 1))

    def features(self, sample: Sample) -> Tensor:
        """Return the features (N, 2 U) of the pairs of a sample."""
        return torch.cat([self.first(sample.first), self.second(sample.second)], 1)

    def forward(self, term: str, features: Tensor, sample: Sample) -> Tensor:
        """Return the log-ratio (N,) of a term.

        Args:
            term: Name of the term.
            features: (N, 2 U) of the pairs.
            sample: The latents; its pairs are not read.
        """
        latent = self.latent[term](torch.cat([getattr(sample, name) for name in self.latents[term]], 1))
        ratio: Tensor = self.ratio[term](torch.cat([features, latent], 1))
        return ratio.squeeze(1)
