"""Codes that are made of features without training a network, and how well codes use their bits.

All three hash functions are signs of linear projections of centred features; they differ in the projections.

Papers: Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002 (LSH by random hyperplanes);
        Gong, Lazebnik, "Iterative quantization: a Procrustean approach to learning binary codes", CVPR 2011
        (PCAH is its baseline of unrotated components, sections 2 and 3).
Note:   ITQ is written for at most as many bits as features have dimensions. Beyond that its rotation is here a frame of
        orthonormal rows, for which both of its steps remain what they are; PCAH's further bits are constant, and change
        no distance.

Shapes: N items, D features, B bits, R <= B principal components that vary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bench_core.evaluation.sign_patterns import on_rates

ITERATIONS = 50  # ITQ's, section 3.2
_FLAT = 1e-10  # components of less than this part of the largest variance are rounding


@dataclass(frozen=True)
class LinearHash:
    """Bits that say on which side of B hyperplanes an item lies: mean (D,), projections (D, B)."""

    mean: Tensor
    projections: Tensor

    def codes(self, features: Tensor) -> Tensor:
        """(N, D) float32 -> (N, B) bool; 0 counts as the lower side."""
        return (features - self.mean) @ self.projections > 0


def lsh(train: Tensor, bits: int, rng: torch.Generator) -> LinearHash:
    """Gaussian projections: two items differ in a bit with probability angle / pi, seen from the mean.

    Args:
        train: (N, D) float32, gives the mean.
        bits: B.
        rng: Of the projections.
    """
    mean = train.mean(0)
    return LinearHash(mean, torch.randn(len(mean), bits, generator=rng))


def pcah(train: Tensor, bits: int) -> LinearHash:
    """The first B principal components, each with its largest entry positive; those that do not vary are 0.

    Args:
        train: (N, D) float32.
        bits: B.
    """
    mean, components = _components(train, bits)
    missing = torch.zeros(len(components), bits - components.shape[1], dtype=components.dtype)
    return LinearHash(mean, torch.cat([components, missing], 1).to(train.dtype))


def itq(train: Tensor, bits: int, rng: torch.Generator) -> LinearHash:
    """The first B principal components, rotated so that their signs lose little (`itq_rotation`).

    Args:
        train: (N, D) float32.
        bits: B.
        rng: Of the rotation that it starts from.
    """
    mean, components = _components(train, bits)
    rotation, _ = itq_rotation((train - mean).double() @ components, bits, rng)
    return LinearHash(mean, (components @ rotation).to(train.dtype))


def itq_rotation(
    projected: Tensor, bits: int, rng: torch.Generator, iterations: int = ITERATIONS
) -> tuple[Tensor, list[float]]:
    """Minimise ||B - V R||^2 over codes B in {-1, 1} and rotations R in turn, from a random rotation.

    Args:
        projected: V (N, R) float64, centred; R <= B.
        bits: B.
        rng: Of the first rotation.
        iterations: Of both steps.

    Returns:
        R (R, B) float64 with orthonormal rows, and the mean loss of an item before the first step and after each.
    """
    start = torch.randn(bits, projected.shape[1], generator=rng, dtype=torch.float64)
    rotation, losses = torch.linalg.qr(start)[0].T, list[float]()
    for _ in range(iterations + 1):
        rotated = projected @ rotation
        signs = torch.where(rotated > 0, 1.0, -1.0).double()
        losses.append(float((signs - rotated).square().sum() / len(projected)))
        if len(losses) <= iterations:
            left, _, right = torch.linalg.svd(projected.T @ signs, full_matrices=False)  # orthogonal Procrustes
            rotation = left @ right
    return rotation, losses


def _components(train: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Mean (D,), and the first principal components that vary, (D, R) float64, R <= B."""
    mean = train.mean(0)
    centred = (train - mean).double()
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(train))  # ascending
    variances, vectors = variances.flip(0)[:bits], vectors.flip(1)[:, :bits]
    vectors = vectors[:, (variances > _FLAT * variances[0]) & (variances > 0)]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return mean, vectors * largest.sign()


def bit_entropy(bits: Tensor) -> float:
    """Mean entropy of a bit, in bits: (N, B) bool -> [0, 1]; 1 where each is on half the time."""
    on = on_rates(bits)
    entropy = torch.special.entr(on) + torch.special.entr(1 - on)
    return min(1.0, float(entropy.mean() / torch.tensor(2.0).double().log()))


def bit_imbalance(bits: Tensor) -> float:
    """Mean over bits of how far the part of items at which it is on lies from one half: (N, B) bool -> [0, 0.5]."""
    return float((on_rates(bits) - 0.5).abs().mean())


def bit_correlation(bits: Tensor) -> float:
    """Mean size of the correlation of two different bits: (N, B) bool -> [0, 1]; a constant bit has 0 with all."""
    count = bits.shape[1]
    if count < 2:
        return 0.0
    values = bits.double() - on_rates(bits)
    values = values / values.norm(dim=0).clamp(min=1e-12)
    sizes = (values.T @ values).abs()
    return min(1.0, float((sizes.sum() - sizes.diagonal().sum()) / (count * (count - 1))))
