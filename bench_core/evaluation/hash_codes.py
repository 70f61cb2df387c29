"""Binary codes computed from features without training a network, and measures of how well codes use their bits.

All three hash functions (LSH, PCAH, ITQ) take signs of linear projections of centred features; they differ in the
projections.

Papers: Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002 (LSH by random hyperplanes);
        Gong, Lazebnik, "Iterative quantization: a Procrustean approach to learning binary codes", CVPR 2011
        (PCAH is its baseline of unrotated components, sections 2 and 3).
Note:   ITQ is defined for at most as many bits as features have dimensions. For more bits its rotation is replaced
        here by a frame of orthonormal rows, for which both of its steps stay the same. PCAH's additional bits are
        constant and change no distance.

Shapes: N items, D features, B bits, R <= B principal components that vary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench_core.evaluation.rows import Features, Rows, blocks_of, keeps
from bench_core.evaluation.sign_patterns import on_rates

ITERATIONS = 50  # of ITQ, section 3.2
_ROWS = 4096  # codes that are held as floats at once: 32 MiB for 2,048 bits
_FLAT = 1e-10  # components with less than this fraction of the largest variance are rounding errors


@dataclass(frozen=True)
class LinearHash:
    """Hash function whose bits say on which side of B hyperplanes an item lies.

    Attributes:
        mean: Mean (D,) of the features.
        projections: Normals (D, B) of the hyperplanes.
    """

    mean: Tensor
    projections: Tensor

    def codes(self, features: Features) -> Tensor:
        """Return the codes (N, B) bool of features (N, D) float32; an item on a hyperplane gets 0."""
        return torch.cat([(block - self.mean) @ self.projections > 0 for _, _, block in blocks_of(features)])


def lsh(train: Features, bits: int, rng: torch.Generator) -> LinearHash:
    """Make a hash of Gaussian projections (LSH): items differ in a bit with probability angle / pi.

    The angle between two items is measured at the mean of the training features.

    Args:
        train: Training features (N, D) float32, for the mean; `Rows` are read in blocks.
        bits: Number of bits B.
        rng: Generator of the projections.
    """
    mean = _mean(train)
    return LinearHash(mean, torch.randn(len(mean), bits, generator=rng))


def pcah(train: Features, bits: int) -> LinearHash:
    """Make a hash of the first B principal components, each with its largest entry positive.

    Components without variance are replaced by 0.

    Args:
        train: Training features (N, D) float32.
        bits: Number of bits B.
    """
    mean, components = _components(train, bits)
    missing = torch.zeros(len(components), bits - components.shape[1], dtype=components.dtype)
    return LinearHash(mean, torch.cat([components, missing], 1).to(mean.dtype))


def itq(train: Features, bits: int, rng: torch.Generator) -> LinearHash:
    """Make a hash of the first B principal components, rotated so that taking signs loses little (`itq_rotation`).

    Args:
        train: Training features (N, D) float32.
        bits: Number of bits B.
        rng: Generator of the first rotation.
    """
    mean, components = _components(train, bits)
    projected = _Projected(train, mean, components) if isinstance(train, Rows) else (train - mean).double() @ components
    rotation, _ = itq_rotation(projected, bits, rng)
    return LinearHash(mean, (components @ rotation).to(mean.dtype))


class _Projected:
    """Centred components (N, R) float64 of features in blocks; kept where memory allows it, else computed each time."""

    def __init__(self, features: Rows, mean: Tensor, components: Tensor) -> None:
        """Keep what the components are computed from."""
        self.features, self.mean, self.components = features, mean, components
        self.shape = len(features), components.shape[1]
        self.keeps, self.kept = keeps(8 * self.shape[0] * self.shape[1], features.memory), list[Tensor]()

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the components (n, R) of each block."""
        if self.kept:
            yield from self.kept
            return
        for block in self.features.blocks():
            projected = (block - self.mean).double() @ self.components
            if self.keeps:
                self.kept.append(projected)
            yield projected


def itq_rotation(
    projected: "Tensor | _Projected", bits: int, rng: torch.Generator, iterations: int = ITERATIONS
) -> tuple[Tensor, list[float]]:
    """Minimise ||B - V R||^2 alternately over codes B in {-1, 1} and rotations R, from a random rotation.

    Args:
        projected: Centred components V (N, R) float64, whole or in blocks; R <= B.
        bits: Number of bits B.
        rng: Generator of the first rotation.
        iterations: Number of updates of codes and rotation.

    Returns:
        The rotation (R, B) float64 with orthonormal rows, and the mean loss of an item before the first update and
        after each.
    """
    start = torch.randn(bits, projected.shape[1], generator=rng, dtype=torch.float64)
    rotation, losses = torch.linalg.qr(start)[0].T, list[float]()
    for _ in range(iterations + 1):
        loss, product = 0.0, torch.zeros(projected.shape[1], bits, dtype=torch.float64)
        for part in [projected] if isinstance(projected, Tensor) else projected:
            rotated = part @ rotation
            signs = torch.where(rotated > 0, 1.0, -1.0).double()
            loss += float((signs - rotated).square().sum())
            product += part.T @ signs
        losses.append(loss / projected.shape[0])
        if len(losses) <= iterations:
            left, _, right = torch.linalg.svd(product, full_matrices=False)  # orthogonal Procrustes
            rotation = left @ right
    return rotation, losses


def _mean(train: Features) -> Tensor:
    """Return the mean (D,) float32 of features."""
    return train.average().float() if isinstance(train, Rows) else train.mean(0)


def _components(train: Features, bits: int) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and the first principal components with variance, (D, R) float64, R <= B."""
    mean = _mean(train)
    gram = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for _, _, block in blocks_of(train):
        centred = (block - mean).double()
        gram += centred.T @ centred
    variances, vectors = torch.linalg.eigh(gram / len(train))  # ascending
    variances, vectors = variances.flip(0)[:bits], vectors.flip(1)[:, :bits]
    vectors = vectors[:, (variances > _FLAT * variances[0]) & (variances > 0)]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return mean, vectors * largest.sign()


def bit_entropy(bits: Tensor) -> float:
    """Return the mean entropy of a bit of codes (N, B), in bits, in [0, 1]; 1 if each bit is on half the time."""
    on = on_rates(bits)
    entropy = torch.special.entr(on) + torch.special.entr(1 - on)
    return min(1.0, float(entropy.mean() / torch.tensor(2.0).double().log()))


def bit_imbalance(bits: Tensor) -> float:
    """Return the mean distance of the on-rate of a bit from 1/2, for codes (N, B) bool, in [0, 0.5]."""
    return float((on_rates(bits) - 0.5).abs().mean())


def bit_correlation(bits: Tensor) -> float:
    """Return the mean absolute correlation of two different bits of codes (N, B), in [0, 1]; 0 for constant bits."""
    count = bits.shape[1]
    if count < 2:
        return 0.0
    together = torch.zeros(count, count, dtype=torch.float64)  # number of items at which two bits are on
    for part in torch.split(bits, _ROWS):
        together += part.float().T @ part.float()
    on = together.diagonal().clone()
    sizes = (len(bits) * together).sub_(torch.outer(on, on)).abs_()  # exact: all numbers are integers
    deviations = sizes.diagonal().clamp(min=1).sqrt()
    sizes.div_(deviations).div_(deviations[:, None])
    return min(1.0, float((sizes.sum() - sizes.diagonal().sum()) / (count * (count - 1))))
