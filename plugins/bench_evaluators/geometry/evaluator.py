"""Task geometry: measure how features are spread, and whether they have collapsed.

Measured are how near two views of an image are and how evenly images lie on the sphere (alignment, uniformity), how
many directions are used (RankMe, effective rank, participation ratio), how far classes are separated, and how similar
features are to the pixels and to the labels (linear CKA). None of these is a quality by itself: noise has the highest
rank, a constant the best alignment. The first score is alignment + uniformity, in which neither of these two is good.

Source: `bench_evaluators.geometry.measures`, `bench_core.evaluation.spectrum` and `bench_core.evaluation.cka` name the
        papers; the sum is what Wang and Isola minimise.

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
from bench_core.evaluation.spectrum import rankme, singular_values
from bench_core.views import PRESET_NAMES, augment, preset, used_preset

from .measures import (
    alignment,
    class_separation,
    effective_rank,
    mean_cosine,
    participation_ratio,
    uniformity,
    uniformity_floor,
    variance_fraction,
)

_BATCH = 256  # images at once; the random draws of views depend on it
_SIDE = 32  # pixels: larger images are averaged down to this side for the comparison with pixels
_POINTS = 256  # points of the curve of variances, at most
COLLAPSED = 1e-6  # if less than this part of the mean squared length is variance, all features count as equal
NARROW = 0.1  # if effective rank / number of directions is less, a note names a dimensional collapse
_COUNTS = ("rankme", "effective_rank", "participation_ratio")
_UNITS = dict.fromkeys(_COUNTS, "count") | dict.fromkeys(("class_separation", "code_flips"), "fraction")
# Metrics of which more is usually wanted; docs/tasks/geometry.md explains the reasons.
_HIGHER = {*_COUNTS, "class_separation", "cka_labels"}

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
        choices=PRESET_NAMES,
    )


class Geometry(Evaluator):
    """Spread of features: alignment, uniformity, ranks.

    The first score is alignment plus uniformity (lower is better): how near two views of an image are, and how evenly
    images lie on the sphere. Ranks (RankMe, effective rank, participation ratio), class separation, similarity to
    pixels and labels (CKA), and how often a code's bits flip between views follow. None is a quality by itself. Needs
    four test items or more; scores of views need images, scores of classes need labels.
    """

    Config = GeometryConfig
    ranks = False

    def __init__(self, config: GeometryConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data with fewer than 4 test items."""
        return None if data.splits.get("test", 0) >= 4 else "needs a test split of 4 items or more"

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Measure the test split."""
        test, name = frozen.splits["test"], self.config.embedding
        embedding = embedding_of(test, name)
        order = torch.randperm(len(embedding), generator=stream(frozen.seed, "geometry", "items"))
        drawn = order[: self.config.items]
        paired = drawn[: self.config.pairs]  # items of the measures that compare all pairs
        features = embedding[drawn].double()
        n, dim = features.shape
        raw, centred = singular_values(features, centred=False), singular_values(features, centred=True)
        measured = self._measure_images(features[: len(paired)], paired, frozen) | {
            "uniformity": (uniformity(features[: len(paired)]), 0.0, len(paired)),
            "mean_cosine": (mean_cosine(features), 1.0, n),
            "rankme": (rankme(raw), 1.0, n),
            "effective_rank": (effective_rank(centred), 0.0, n),
            "participation_ratio": (participation_ratio(centred), 0.0, n),
        }
        if test.labels is not None and test.labels.ndim == 1:
            measured |= _measure_classes(features, test.labels[drawn], len(paired), frozen.seed)
        return Evaluation(
            scores=[
                Score(
                    metric=metric,
                    value=value,
                    unit=_UNITS.get(metric, "index"),
                    higher_is_better=metric in _HIGHER,
                    chance=chance,
                    embedding="code" if metric == "code_flips" else name,
                    n=items,
                )
                for metric, (value, chance, items) in measured.items()
            ],
            protocol=(
                f"{n:,} items of test, seeded; {name} in float64; rankme: singular values as they are; effective_rank "
                "(of singular values) and participation_ratio (of variances): centred; on rows of length 1: mean "
                f"cosine of different items, class_separation (R^2 by cosine distance), and on {len(paired):,} of the "
                f"items {self._paired_measures(frozen, len(paired))} class_separation shuffled labels"
            ),
            notes=self._notes(raw, centred, n, dim),
            curves=_spectrum(centred),
        )

    def _paired_measures(self, frozen: Frozen, count: int) -> str:
        """Describe, for the protocol, the measures that compare pairs of `count` items, and the chance of all."""
        if not frozen.data.is_image:
            return (
                f"uniformity (t=2); CKA: linear, debiased, {count:,} items, with one-hot labels; chance: a constant "
                "embedding, but for"
            )
        views = used_preset(self.config.augmentation, frozen.data)
        return (
            f"uniformity (t=2), alignment (squared distance of two views of an image, preset {views} for all "
            "methods, not their own) and, where there is a code, code_flips (bits that differ in these views); CKA: "
            f"linear, debiased, {count:,} items, with pixels (at most {_SIDE} a side) and with one-hot labels; chance: "
            "a constant embedding, but for alignment and code_flips pairs of different images and for"
        )

    def _measure_images(self, features: Tensor, index: Tensor, frozen: Frozen) -> Measured:
        """Measure alignment, and CKA with the pixels, on test images; {} if inputs are no images.

        Args:
            features: (N, D) features of these images.
            index: (N,) positions of these images in the test split.
            frozen: The method and its data.
        """
        if not frozen.data.is_image:
            return {}
        images = take(frozen.inputs("test"), index)
        first, second = self._views(images, frozen)
        shuffled = torch.randperm(len(index), generator=stream(frozen.seed, "geometry", "pairs"))
        name = self.config.embedding
        aligned, chance = alignment(first[name], second[name]), alignment(first[name], second[name][shuffled])
        measured = {
            "alignment_plus_uniformity": (aligned + uniformity(features), 0.0, len(index)),
            "alignment": (aligned, chance, len(index)),
            "cka_pixels": (linear_cka(features, _pixels(images, frozen)), 0.0, len(index)),
        }
        if "code" in first:
            code, other = first["code"] > 0, second["code"] > 0
            flips = float((code != other).double().mean()), float((code != other[shuffled]).double().mean())
            measured["code_flips"] = (*flips, len(index))
        return measured

    @torch.inference_mode()
    def _views(self, images: Split, frozen: Frozen) -> list[dict[str, Tensor]]:
        """Embed two views of each image.

        Returns:
            For each view the embedding that is measured, and the code where there is one: name -> (N, D) on the CPU.
        """
        method, augmentation = frozen.method(), preset(self.config.augmentation, frozen.data)
        rng = stream(frozen.seed, "geometry", "views", device=frozen.device)
        views: list[dict[str, list[Tensor]]] = [{}, {}]
        for batch in open_split(images, frozen.device).batches(_BATCH):
            for view in views:
                embedded = method.embed(augment(batch.inputs, rng, augmentation))
                for name in {self.config.embedding, "code"} & embedded.keys():
                    view.setdefault(name, []).append(embedded[name].cpu())
        return [{name: torch.cat(parts) for name, parts in view.items()} for view in views]

    @staticmethod
    def _notes(raw: Tensor, centred: Tensor, n: int, dim: int) -> list[str]:
        """Note a collapse, the lowest possible uniformity, and too few items for the number of features.

        Args:
            raw: Singular values of the features as they are.
            centred: Singular values of the centred features.
            n: Number of items.
            dim: Number of features.
        """
        rank, part, most = effective_rank(centred), variance_fraction(raw, centred), min(n - 1, dim)
        notes = [f"the uniform law on the sphere of {dim:,} features has uniformity {uniformity_floor(dim):.4f}"]
        if part < COLLAPSED:
            notes.insert(0, f"collapsed: all features are equal (variance {part:.1g} of their mean square)")
        elif rank < NARROW * most:
            notes.insert(0, f"dimensional collapse: effective rank {rank:.1f} of {most}")
        if n < 10 * dim:
            notes.append(f"{n:,} items for {dim:,} features: ranks read low (10 a feature are advised)")
        return notes


def _measure_classes(features: Tensor, labels: Tensor, pairs: int, seed: int) -> Measured:
    """Measure class separation of all items (N, D), and CKA of the first `pairs` items with one-hot labels."""
    shuffled = labels[torch.randperm(len(labels), generator=stream(seed, "geometry", "labels"))]
    chance = class_separation(features, shuffled)
    return {
        "class_separation": (class_separation(features, labels), chance, len(labels)),
        "cka_labels": (linear_cka(features[:pairs], F.one_hot(labels[:pairs])), 0.0, pairs),
    }


def _pixels(images: Split, frozen: Frozen) -> Tensor:
    """Read images as rows of pixels (N, C h w) in [0, 1] on the CPU; large images are averaged down."""
    height, width = (min(length, _SIDE) for length in frozen.data.shape[1:])
    batches = open_split(images, frozen.device).batches(_BATCH)
    return torch.cat([F.adaptive_avg_pool2d(batch.inputs, (height, width)).flatten(1).cpu() for batch in batches])


def _spectrum(centred: Tensor) -> dict[str, dict[str, list[float]]]:
    """Return the curve of variances in the principal directions, as parts of all variance; {} if there is none."""
    variance = centred.square()
    if float(variance.sum()) == 0:
        return {}
    share = (variance / variance.sum())[:_POINTS].tolist()
    return {"spectrum": {"direction": [float(i + 1) for i in range(len(share))], "variance": share}}


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"geometry": Geometry}
