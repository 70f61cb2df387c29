"""Task modes: count the modes of the data that a method's samples reach, and the samples that lie in one.

A mode is a class of the train items: their mean is its centre, and its deviation is the root of their variance, a mean
over coordinates. A sample is of high quality if it lies within three deviations of a centre, and a mode is covered if
one such sample lies in it, or as many as are asked for. Three deviations are meant in the plane. In D dimensions the
radius is the one that holds as many items of a Gaussian, 98.9 %.

Source: VEEGAN (Srivastava et al., NeurIPS 2017, https://arxiv.org/abs/1705.07761): 2,500 samples, covered modes, share
        of high quality. A sample belongs to the centre with the fewest deviations in between, as in the code of PacGAN,
        https://github.com/fjxmlzn/PacGAN/blob/b331f4f/synthetic_data_experiments/PacGAN/pacgan/extensions.py.
        Estimated centres, the divergence and the chance level are ours.

Shapes: N items, S samples, D values, K modes.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from bench_core import (
    BenchError,
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    Sampling,
    Score,
    hookimpl,
    param,
    stream,
)
from bench_core.evaluation.classification import classes_skip_reason
from bench_core.nn.latent_sampling import gaussian_like

_DEVIATIONS = 3.0  # radius of a mode in the plane
_BATCH = 500  # items that are made at once
_SIDE = 64  # pixels of a picture's side
_EDGE = 0.1  # part of the data's range that a picture shows beyond it


@dataclass(frozen=True, kw_only=True)
class ModesConfig(Config):
    """Parameters of the task: number of samples, and how many of them cover a mode."""

    samples: int = param(2_500, "number of samples that are drawn", "VEEGAN", ge=1)
    least: int = param(1, "samples of high quality that a mode must hold to count as covered", "VEEGAN", ge=1)


class Modes(NamedTuple):
    """Modes of the data, one for each class of the train split.

    Attributes:
        centres: (K, D) means.
        deviations: (K,) roots of the variances, which are means over coordinates.
        shares: (K,) parts of the items.
    """

    centres: Tensor
    deviations: Tensor
    shares: Tensor


class Coverage(NamedTuple):
    """Measures of how a set of samples covers the modes.

    Attributes:
        covered: Number of modes that hold enough samples of high quality.
        high_quality: Part of the samples of high quality.
        reverse_kl: Divergence KL(q || p) in nats of the modes' shares q among samples of high quality from their
            shares p in the data; without such samples the largest possible value, that of all in the rarest mode.
    """

    covered: int
    high_quality: float
    reverse_kl: float


class ModeCoverage(Evaluator):
    """Modes of the data that samples reach (VEEGAN).

    The first score is the number of modes that hold one of 2,500 samples; the share of samples that lie in a mode, and
    the divergence of the modes' shares, follow. Modes are the classes of the data. Needs labelled vectors, and a method
    that draws samples.
    """

    Config = ModesConfig
    family = "generation"

    def __init__(self, config: ModesConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data other than vectors with classes, and methods that draw no samples."""
        if data.kind != "vector":
            return "needs vectors"
        if not issubclass(objective, Sampling):
            return "draws no samples"
        return classes_skip_reason(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Draw samples and assign them to the modes."""
        train, test = (frozen.inputs(name) for name in ("train", "test"))
        assert train.labels is not None, "the data has classes"
        items, real = (split.read(torch.arange(len(split))).double() for split in (train, test))
        modes, n = fit_modes(items, train.labels), self.config.samples
        method, rng = cast(Sampling, frozen.method()), stream(frozen.seed, "modes", device=frozen.device)
        samples = _draw(method, n, rng)
        random_points = gaussian_like(items, n, stream(0, "modes", "chance"))
        found, chance, ceiling = (
            coverage(points, modes, self.config.least) for points in (samples, random_points, real)
        )

        def score(metric: str, unit: str, higher_is_better: bool, best: float | None) -> Score:
            value, level = (float(getattr(each, metric)) for each in (found, chance))
            return Score(
                metric=metric, value=value, chance=level, unit=unit, higher_is_better=higher_is_better, best=best,
                embedding="samples", n=n,
            )  # fmt: skip

        return Evaluation(
            scores=[
                score("covered", "count", True, float(len(modes.shares))),
                score("high_quality", "fraction", True, None),
                score("reverse_kl", "nats", False, 0.0),
            ],
            protocol=(
                f"{n:,} samples; {len(modes.shares)} modes, the classes of {len(items):,} train items; high quality: "
                f"within {radius(items.shape[1]):.3g} deviations of a centre, which hold 98.9% of a Gaussian in "
                f"{items.shape[1]} dimensions; covered: {self.config.least} or more such samples; reverse_kl: of the "
                "modes' shares among these samples from those in train; chance: samples of one Gaussian fitted to all "
                "train items"
            ),
            notes=[
                f"{len(real):,} test items as samples: covered {ceiling.covered}, high_quality "
                f"{ceiling.high_quality:.1%}, reverse_kl {ceiling.reverse_kl:.3g}"
            ],
            images=_pictures(real, samples, items),
        )


def fit_modes(items: Tensor, labels: Tensor) -> Modes:
    """Estimate the modes from train items (N, D) and labels (N,) int64; classes without items are none."""
    present = labels.bincount() > 0
    index = (present.cumsum(0) - 1)[labels]  # number of an item's class among those that are present
    counts = index.bincount().double()
    sums = items.new_zeros(len(counts), items.shape[1])
    centres = sums.index_add(0, index, items) / counts[:, None]
    squares = sums.index_add(0, index, (items - centres[index]).square())
    return Modes(centres, (squares.sum(1) / (counts * items.shape[1])).sqrt(), counts / counts.sum())


def radius(dimensions: int) -> float:
    """Return the radius of a mode in deviations: 3 in the plane, and as many items of a Gaussian in D dimensions."""
    from scipy.stats import chi2

    return math.sqrt(chi2.ppf(-math.expm1(-(_DEVIATIONS**2) / 2), dimensions))


def coverage(samples: Tensor, modes: Modes, least: int = 1) -> Coverage:
    """Assign samples to the modes.

    A mode of equal items has the deviation 0, and holds no sample but those very items.

    Args:
        samples: (S, D).
        modes: The modes of the data.
        least: Samples of high quality that a mode must hold to count as covered.
    """
    tiny = torch.finfo(samples.dtype).tiny
    distances = torch.cdist(samples, modes.centres, compute_mode="donot_use_mm_for_euclid_dist")
    nearest, mode = (distances / modes.deviations.clamp_min(tiny)).min(1)
    good = nearest <= radius(samples.shape[1])
    counts = mode[good].bincount(minlength=len(modes.shares)).double()
    if not counts.any():
        return Coverage(0, 0.0, -math.log(float(modes.shares.min())))
    q = counts / counts.sum()
    divergence = torch.special.xlogy(q, q / modes.shares).sum()
    return Coverage(int((counts >= least).sum()), float(good.double().mean()), max(0.0, float(divergence)))


@torch.inference_mode()
def _draw(method: Sampling, n: int, rng: torch.Generator) -> Tensor:
    """Draw samples (n, D) float64 on the CPU, in batches.

    Raises:
        BenchError: A value is not finite.
    """
    sizes = [min(_BATCH, n - start) for start in range(0, n, _BATCH)]
    samples = torch.cat([method.sample(size, rng).double().cpu() for size in sizes])
    if not samples.isfinite().all():
        raise BenchError("the method draws samples that are not finite; its training has diverged.")
    return samples


def _pictures(real: Tensor, samples: Tensor, items: Tensor) -> dict[str, Tensor]:
    """Return maps of test items and of samples in the plane, brighter where more of them lie; none in other spaces."""
    if items.shape[1] != 2:
        return {}
    low, high = items.amin(0), items.amax(0)
    margin = _EDGE * (high - low).clamp_min(torch.finfo(items.dtype).tiny)
    low, high = low - margin, high + margin
    return {"samples": torch.stack([_map(points, low, high) for points in (real, samples)])}


def _map(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Draw points (N, 2) between two corners as an image (1, 64, 64) uint8; the root of their number is the grey level.

    Args:
        points: (N, 2), the horizontal and the vertical coordinate; points outside are left out.
        low: (2,) the lower left corner.
        high: (2,) the upper right corner.
    """
    cells = ((points - low) / (high - low) * _SIDE).floor().long()
    cells = cells[((cells >= 0) & (cells < _SIDE)).all(1)]
    rows = _SIDE - 1 - cells[:, 1]  # images begin at the top
    counts = (rows * _SIDE + cells[:, 0]).bincount(minlength=_SIDE**2).double().sqrt()
    return (counts / counts.max().clamp_min(1) * 255).round().to(torch.uint8).view(1, _SIDE, _SIDE)


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"modes": ModeCoverage}
