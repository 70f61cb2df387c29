"""Geometry: the shape of the cloud of features, and whether it has collapsed.

How near two views of an image are and how evenly images lie on the sphere (alignment, uniformity), how many directions
are filled (RankMe, effective rank, participation ratio), how far classes are apart, and what features have in common
with the pixels and with the labels (linear CKA). None of these is a quality by itself: noise has the highest rank, a
constant the best alignment. The first score is alignment + uniformity, which neither of these two meets.

Source: `bench_evaluators.geometry.measures` and `bench_core.evaluation.cka` name the papers; the sum is what Wang
and Isola minimise.

Shapes: N items, D features, C classes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Config, DataSpec, Evaluation, Evaluator, Frozen, Objective, Score, Split, hookimpl, param, stream
from bench_core.data import open_split, take
from bench_core.evaluation.cka import linear_cka
from bench_core.evaluation.embeddings import embedding_of
from bench_core.views import PRESETS, augment, preset

from . import measures as shape

_BATCH = 256  # of images at once; the draws of views depend on it
_SIDE = 32  # larger images are averaged down to this for the comparison with pixels
_POINTS = 256  # of the curve
COLLAPSED = 1e-6  # part of the mean squared length that is variance, below which all features count as equal
NARROW = 0.1  # effective rank over the directions there are, below which a collapse of dimensions is named
_UNITS = {"rankme": "count", "effective_rank": "count", "participation_ratio": "count", "class_separation": "fraction"}
_HIGHER = {*_UNITS, "cka_labels"}  # the directions that are usually wished; the page of this task says why

Measured = dict[str, tuple[float, float, int]]  # name -> value, chance, items


@dataclass(frozen=True, kw_only=True)
class GeometryConfig(Config):
    """Parameters of the measures: embedding, number of items, views."""

    embedding: str = param("features", "name of the embedding that is evaluated", "usual")
    items: int = param(
        10_000,
        "maximal number of test items for spectra, cosines and classes, drawn at random",
        "ours: bounds the cost",
        ge=4,
    )
    pairs: int = param(
        2048,
        "maximal number of these items for alignment, uniformity and CKA, whose cost grows with its square",
        "ours: seconds on a CPU",
        ge=4,
    )
    augmentation: str = param(
        "simclr",
        "augmentation preset of the two views of alignment, where the data allows it",
        "ours: one for all",
        choices=tuple(PRESETS),
    )


class Geometry(Evaluator):
    """Spread of features: alignment, uniformity, ranks.

    The first score is alignment plus uniformity (lower is better): how near two views of an image are, and how evenly
    images lie on the sphere. Ranks (RankMe, effective rank, participation ratio), class separation, and similarity to
    pixels and labels (CKA) follow. None is a quality by itself. Needs four test items or more; scores of views need
    images, scores of classes need labels.
    """

    Config = GeometryConfig

    def __init__(self, config: GeometryConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Items that were not trained on."""
        return None if data.splits.get("test", 0) >= 4 else "needs a test split of 4 items or more"

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Measure the test split."""
        part, name = frozen.splits["test"], self.config.embedding
        values = embedding_of(part, name)
        order = torch.randperm(len(values), generator=stream(frozen.seed, "geometry", "items"))
        drawn = order[: self.config.items]
        few = drawn[: self.config.pairs]
        features = values[drawn].double()
        n, dim = features.shape
        raw, centred = (shape.singular_values(features, centred=c) for c in (False, True))
        found = self._of_images(features[: len(few)], few, frozen) | {
            "uniformity": (shape.uniformity(features[: len(few)]), 0.0, len(few)),
            "mean_cosine": (shape.mean_cosine(features), 1.0, n),
            "rankme": (shape.rankme(raw), 1.0, n),
            "effective_rank": (shape.effective_rank(centred), 0.0, n),
            "participation_ratio": (shape.participation_ratio(centred), 0.0, n),
        }
        if part.labels is not None and part.labels.ndim == 1:
            found |= _of_classes(features, part.labels[drawn], len(few), frozen.seed)
        return Evaluation(
            scores=[
                Score(
                    metric=metric,
                    value=value,
                    unit=_UNITS.get(metric, "index"),
                    higher_is_better=metric in _HIGHER,
                    chance=chance,
                    embedding=name,
                    n=items,
                )
                for metric, (value, chance, items) in found.items()
            ],
            protocol=(
                f"{n:,} items of test, seeded; {name} in float64; rankme: singular values as they are; effective_rank "
                "(of singular values) and participation_ratio (of variances): centred; on rows of length 1: mean "
                f"cosine of different items, class_separation (R^2 by cosine distance), and on {len(few):,} of the "
                "items uniformity (t=2) and alignment (squared distance of two views of an image, preset "
                f"{self._preset(frozen)} for all methods, not their own); CKA: linear, debiased, {len(few):,} items, "
                f"with pixels (at most {_SIDE} a side) and with one-hot labels; chance: a constant embedding, but for "
                "alignment pairs of different images and for class_separation shuffled labels"
            ),
            notes=self._notes(raw, centred, n, dim),
            curves=_spectrum(centred),
        )

    def _preset(self, frozen: Frozen) -> str:
        """The name of the preset, as the data allows."""
        asked = self.config.augmentation
        return asked if preset(asked, frozen.data) is PRESETS[asked] else "glyph"

    def _of_images(self, features: Tensor, index: Tensor, frozen: Frozen) -> Measured:
        """Alignment, and CKA with the pixels, of the test images at index; {} where inputs are no images."""
        if not frozen.data.is_image:
            return {}
        images = take(frozen.inputs("test"), index)
        first, second = self._views(images, frozen)
        others = torch.randperm(len(index), generator=stream(frozen.seed, "geometry", "pairs"))
        aligned, apart = shape.alignment(first, second), shape.alignment(first, second[others])
        return {
            "alignment_plus_uniformity": (aligned + shape.uniformity(features), 0.0, len(index)),
            "alignment": (aligned, apart, len(index)),
            "cka_pixels": (linear_cka(features, _pixels(images, frozen)), 0.0, len(index)),
        }

    @torch.inference_mode()
    def _views(self, images: Split, frozen: Frozen) -> tuple[Tensor, Tensor]:
        """The embedding of two views of each image, each (N, D) on the CPU."""
        method, augmentation = frozen.method(), preset(self.config.augmentation, frozen.data)
        rng = stream(frozen.seed, "geometry", "views", device=frozen.device)
        found: list[tuple[Tensor, ...]] = []
        for batch in open_split(images, frozen.device).batches(_BATCH):
            views = (augment(batch.inputs, rng, augmentation) for _ in range(2))
            found.append(tuple(method.embed(view)[self.config.embedding].cpu() for view in views))
        first, second = (torch.cat(parts) for parts in zip(*found, strict=True))
        return first, second

    @staticmethod
    def _notes(raw: Tensor, centred: Tensor, n: int, dim: int) -> list[str]:
        """What has collapsed, by name; the least uniformity there is; and whether the items are too few."""
        rank, part, most = shape.effective_rank(centred), shape.spread(raw, centred), min(n - 1, dim)
        notes = [f"the uniform law on the sphere of {dim:,} features has uniformity {shape.uniformity_floor(dim):.4f}"]
        if part < COLLAPSED:
            notes.insert(0, f"collapsed: all features are equal (variance {part:.1g} of their mean square)")
        elif rank < NARROW * most:
            notes.insert(0, f"dimensional collapse: effective rank {rank:.1f} of {most}")
        if n < 10 * dim:
            notes.append(f"{n:,} items for {dim:,} features: ranks read low (10 a feature are advised)")
        return notes


def _of_classes(features: Tensor, labels: Tensor, pairs: int, seed: int) -> Measured:
    """Class separation of all items (N, D), and CKA of the first with one-hot labels."""
    shuffled = labels[torch.randperm(len(labels), generator=stream(seed, "geometry", "labels"))]
    chance = shape.class_separation(features, shuffled)
    return {
        "class_separation": (shape.class_separation(features, labels), chance, len(labels)),
        "cka_labels": (linear_cka(features[:pairs], F.one_hot(labels[:pairs])), 0.0, pairs),
    }


def _pixels(images: Split, frozen: Frozen) -> Tensor:
    """(N, pixels) in [0, 1] on the CPU; large images are averaged down."""
    height, width = (min(length, _SIDE) for length in frozen.data.shape[1:])
    batches = open_split(images, frozen.device).batches(_BATCH)
    return torch.cat([F.adaptive_avg_pool2d(batch.inputs, (height, width)).flatten(1).cpu() for batch in batches])


def _spectrum(centred: Tensor) -> dict[str, dict[str, list[float]]]:
    """Variance in each principal direction, as a part of all variance; {} where there is none."""
    variance = centred.square()
    if float(variance.sum()) == 0:
        return {}
    share = (variance / variance.sum())[:_POINTS].tolist()
    return {"spectrum": {"direction": [float(i + 1) for i in range(len(share))], "variance": share}}


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"geometry": Geometry}
