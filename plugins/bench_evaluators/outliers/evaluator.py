"""Task outliers: detect images of an unknown kind, as their features lie where no training features lie.

What ranks is the set that is hard: near outliers where there are any, else classes that are held out. Noise is found by
nearly every detector, so it only shows that something works, and is averaged with nothing.

Papers: those of `bench_evaluators.outliers.detectors`; near and far sets are those of OpenOOD (Zhang et al., 2023,
        https://arxiv.org/abs/2306.09301) and, for MNIST, of its first version.
Code:   https://github.com/Jingkang50/OpenOOD (configs/datasets at 0d3b20bc and 0e99b9d6)

Shapes: N items, D features.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bench_core import (
    BenchError,
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Matching,
    Objective,
    OutlierScoring,
    Score,
    Split,
    hookimpl,
    param,
    stream,
    stream_seed,
)
from bench_core.data import take
from bench_core.evaluation.embeddings import embedding_of
from bench_core.evaluation.other_datasets import as_bytes, colours_skip_reason, embed_images, fitted

from .detectors import (
    Detector,
    gaussian,
    gaussian_mixture,
    mahalanobis,
    nearest_cluster,
    nearest_neighbour,
    prior_density,
    relative_mahalanobis,
)
from .own_scores import own_scores
from .rates import Rate, mean_rate, rates

_FAR = ("mnist", "svhn", "textures", "places365")
_CIFAR10 = {"near": ("cifar100", "tiny_imagenet"), "far": _FAR}
GROUPS: Mapping[str, Mapping[str, Sequence[str]]] = {  # training dataset -> its near and far outliers
    "cifar10": _CIFAR10,
    "cifar10_jpeg": _CIFAR10,
    "cifar100": {"near": ("cifar10", "tiny_imagenet"), "far": _FAR},
    "mnist": {"near": ("fashion_mnist", "notmnist"), "far": ("textures", "cifar10", "tiny_imagenet", "places365")},
}
RANKING = "knn"  # the detector whose AUROC ranks the methods
OWN = "own"  # the score that some methods have of their own; it reads images and is not fitted here
_PICTURES = 32  # images in the picture of the test items that are furthest out

DetectorRates = Mapping[str, Mapping[str, Rate]]
"""Rates of one set of outliers: detector -> measure -> rate."""


@dataclass(frozen=True, kw_only=True)
class OutliersConfig(Config):
    """Parameters of the detectors. None is tuned on outliers: the defaults hold for all data and methods."""

    sets: tuple[str, ...] = param(
        ("noise", "held_out"),
        "sets of outliers: noise (random images), held_out (classes left out), or names of datasets",
        "ours: what is always there",
    )
    embedding: str = param(
        "features",
        "name of the embedding that is evaluated; the detector `prior` always reads `embedding`",
        "usual",
    )
    k: int = param(
        50,
        "knn: the distance to the k-th nearest training item counts; at most all items",
        "Sun et al., for CIFAR-10",
        ge=1,
    )
    components: int = param(10, "number of clusters, and of Gaussians of the mixture", "ours", ge=1)
    mixture_dims: int = param(
        32, "number of principal components on which the mixture is fitted", "ours: seconds on a CPU", ge=1
    )
    held_out: float = param(
        0.4, "part of the classes that is held out", "open-set recognition: 6 of 10 are known", gt=0, lt=1
    )
    draws: int = param(
        5,
        "number of random choices of classes to hold out, averaged",
        "open-set recognition: five; which ones is ours",
        ge=1,
    )
    train_items: int = param(
        20_000, "maximal number of training items on which detectors are fitted", "ours: seconds on a CPU", ge=1
    )
    test_items: int = param(
        5_000, "maximal number of test items, and of outliers of each set", "ours: seconds on a CPU", ge=1
    )

    def __post_init__(self) -> None:
        """Check ranges, and that there are sets and none is given twice."""
        super().__post_init__()
        if not self.sets or len(set(self.sets)) < len(self.sets):
            raise ValueError(f"sets must be one or more different names, got {self.sets}")


class Outliers(Evaluator):
    """Detection of images of unknown kinds (AUROC).

    Detectors are fitted on train features: distances to neighbours, means and clusters, and densities. Test items
    should get lower values than outliers, which are held-out classes, other datasets or noise. The first score is the
    AUROC of the nearest-neighbour detector for near datasets if there are any, else for held-out classes: .5 is
    chance, 1 is perfect. Needs a train and a test split; without classes and other datasets only noise is left, and
    the score does not rank. Methods that score outliers themselves get columns of that score, too (`own`).
    """

    Config = OutliersConfig
    revision = 2  # 2: noise is in no mean and does not rank; clusters and mixtures start from the k-means of all tasks
    family = "outliers"

    def __init__(self, config: OutliersConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without a train or test split, or for which none of the sets can be measured."""
        if missing := [split for split in ("train", "test") if split not in data.splits]:
            return f"needs a {missing[0]} split"
        return None if self._sets(data) else "; ".join(self._left_out(data))

    def datasets(self, data: DataSpec) -> Sequence[str]:
        """Return the sets that are datasets."""
        return [name for name in self._sets(data) if name not in ("noise", "held_out")]

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Fit detectors on train, and compare their scores of test items, the inliers, with those of outliers."""
        data, method = frozen.data, frozen.method()
        train, test = self._part(frozen, "train"), self._part(frozen, "test")
        detectors = self._detectors(train, frozen, method)
        inside = self._distances(detectors, test.embeddings)
        own = method if isinstance(method, OutlierScoring) and self._sets(data) != ["held_out"] else None
        if own:
            inside[OWN] = own_scores(own, take(frozen.inputs("test"), test.index), frozen.device)
        rates_of: dict[str, DetectorRates] = {}  # set -> rates
        sizes: dict[str, int] = {}  # set -> number of items, inliers and outliers
        for name in self._sets(data):
            if name == "held_out":
                rates_of[name], sizes[name] = self._held_out(train, test, frozen, method), len(test.index)
            else:
                outliers = self._outliers(name, frozen, len(test.index))
                outside = self._distances(detectors, embed_images(frozen, outliers).embeddings)
                if own:
                    outside[OWN] = own_scores(own, outliers, frozen.device)
                rates_of[name] = {detector: rates(values, outside[detector]) for detector, values in inside.items()}
                sizes[name] = len(test.index) + len(outliers)
        notes = [f"not measured: {reason}" for reason in self._left_out(data)]
        if "held_out" in rates_of and method.uses_labels:
            notes.append("the method was trained with labels, those of the held-out classes too")
        furthest = inside[RANKING].sort(descending=True, stable=True).indices[:_PICTURES]
        return Evaluation(
            scores=self._scores(rates_of, sizes, GROUPS.get(data.name or "", {})),
            protocol=self._protocol(len(train.index), len(test.index), list(rates_of), list(inside), data),
            notes=notes,
            images=_pictures(frozen, test.index[furthest]),
        )

    def _sets(self, data: DataSpec) -> list[str]:
        """Return the sets that can be measured."""
        return [name for name in self.config.sets if self._set_skip_reason(name, data) is None]

    def _left_out(self, data: DataSpec) -> list[str]:
        """Return the sets that cannot be measured, each with the reason."""
        return [f"{name}: {reason}" for name in self.config.sets if (reason := self._set_skip_reason(name, data))]

    def _set_skip_reason(self, name: str, data: DataSpec) -> str | None:
        """Return the reason why a set cannot be measured, or None."""
        if name == "held_out":
            return None if (data.num_classes or 0) > 1 else "needs at least two classes"
        if not data.is_image:
            return "needs images"
        if name != "noise" and (reason := colours_skip_reason(data)):
            return reason
        return "it is what the method was trained on" if name == data.name else None

    def _part(self, frozen: Frozen, split: str) -> "_Part":
        """Draw items of a split, as many as the config allows."""
        config, embedded = self.config, frozen.splits[split]
        most = config.train_items if split == "train" else config.test_items
        index = _draw_items(len(embedding_of(embedded, config.embedding)), most, frozen.seed, split)
        labels = None
        if frozen.data.num_classes is not None and embedded.labels is not None:
            labels = embedded.labels[index]
        return _Part({name: values[index] for name, values in embedded.embeddings.items()}, labels, index)

    def _detectors(self, train: "_Part", frozen: Frozen, method: Objective) -> dict[str, Detector]:
        """Fit all detectors that this method and this data allow."""
        config, points = self.config, train.embeddings[self.config.embedding].float()
        seed = stream_seed(frozen.seed, "outliers", "clusters")
        detectors = {
            RANKING: nearest_neighbour(points, config.k, frozen.device),
            "gaussian": gaussian(points),
            "clusters": nearest_cluster(points, config.components, seed),
            "mixture": gaussian_mixture(points, config.components, config.mixture_dims, seed),
        }
        if isinstance(method, Matching):
            detectors["prior"] = prior_density(method.matched_prior())
        if train.labels is not None:
            detectors["mahalanobis"] = mahalanobis(points, train.labels)
            detectors["relative_mahalanobis"] = relative_mahalanobis(points, train.labels)
        return detectors

    def _distances(self, detectors: Mapping[str, Detector], embeddings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return detector -> score of each item; higher is further out."""
        return {name: detector(embeddings[self._embedding_for(name)].float()) for name, detector in detectors.items()}

    def _embedding_for(self, detector: str) -> str:
        """Return the name of the embedding that a detector reads."""
        return {"prior": "embedding", OWN: "images"}.get(detector, self.config.embedding)

    def _outliers(self, name: str, frozen: Frozen, count: int) -> Split:
        """Return `count` images of noise, or items of another dataset's test split, in the method's shape."""
        if name == "noise":
            rng = stream(frozen.seed, "outliers", "noise")
            split = Split(torch.randint(0, 256, (count, *frozen.data.shape), dtype=torch.uint8, generator=rng))
        elif "test" in frozen.others[name].data.splits:
            split = frozen.others[name].load("test")
        else:
            raise BenchError(f"outliers needs a test split of {name}, which has none; leave it out of `sets`.")
        index = _draw_items(len(split), self.config.test_items, frozen.seed, name)
        part = take(split, index)
        return Split(fitted(part.read(torch.arange(len(part))), frozen.data.shape))

    def _held_out(self, train: "_Part", test: "_Part", frozen: Frozen, method: Objective) -> DetectorRates:
        """Fit detectors without some classes, whose test items are the outliers; average over draws of classes."""
        if train.labels is None or test.labels is None:
            raise BenchError("held_out needs labels of train and test.")
        classes = torch.from_numpy(np.intersect1d(train.labels, test.labels))
        if len(classes) < 2:
            raise BenchError("held_out needs two classes that are in train and in test.")
        count = min(max(round(self.config.held_out * len(classes)), 1), len(classes) - 1)
        draws: list[DetectorRates] = []
        for draw in range(self.config.draws):
            rng = stream(frozen.seed, "outliers", "held_out", str(draw))
            held_out = classes[torch.randperm(len(classes), generator=rng)[:count]]
            outside = torch.isin(test.labels, held_out)
            inside = torch.isin(test.labels, classes) & ~outside  # items of a class without train items are on no side
            detectors = self._detectors(train.where(~torch.isin(train.labels, held_out)), frozen, method)
            distances = self._distances(detectors, test.embeddings)
            draws.append({name: rates(values[inside], values[outside]) for name, values in distances.items()})
        return {
            detector: {measure: mean_rate([draw[detector][measure] for draw in draws]) for measure in measured}
            for detector, measured in draws[0].items()
        }

    def _scores(
        self, rates_of: Mapping[str, DetectorRates], sizes: Mapping[str, int], groups: Mapping[str, Sequence[str]]
    ) -> list[Score]:
        """Return the AUROC of groups of sets, then the rates of each set; that of the group or set that ranks is first.

        Args:
            rates_of: Set -> rates.
            sizes: Set -> number of its items.
            groups: Group (near, far) -> its sets.

        Returns:
            Scores; of a single set, all rates of the ranking detector and the AUROC of the others.
        """
        first = _ranking_sets(list(rates_of), groups)
        real = [name for name in rates_of if name != "noise"]
        scores = []
        for group, members in {"mean": real if len(real) > 1 else [], **groups}.items():
            if names := [name for name in rates_of if name in members]:
                n = sum(sizes[name] for name in names)
                for detector in rates_of[names[0]]:
                    if any(detector not in rates_of[name] for name in names):
                        continue  # `own` is not measured on held-out classes
                    rate = mean_rate([rates_of[name][detector]["auroc"] for name in names])
                    scores.append(self._score("auroc", detector, group, rate, n))
        for name, by_detector in rates_of.items():
            for detector, measured in by_detector.items():
                kept = measured if detector == RANKING else {"auroc": measured["auroc"]}
                scores += [self._score(measure, detector, name, rate, sizes[name]) for measure, rate in kept.items()]
        scores.sort(key=lambda score: score.metric != _metric("auroc", RANKING, first))
        if first == "noise":
            scores[0] = replace(scores[0], ranks=False, caveat="only noise to tell from")
        return scores

    def _score(self, measure: str, detector: str, outliers: str, rate: Rate, n: int) -> Score:
        """Make the score of one measure of one detector on a set or group of outliers."""
        own = detector == OWN
        return Score(
            metric=_metric(measure, detector, outliers),
            value=rate.value,
            higher_is_better=rate.higher_is_better,
            chance=rate.chance,
            best=1.0 if rate.higher_is_better else 0.0,
            embedding=self._embedding_for(detector),
            n=n,
            ranks=not own,
            caveat="a score of the method's own, which other rows do not have" if own else "",
        )

    def _protocol(self, num_fitted: int, tested: int, sets: list[str], detectors: list[str], data: DataSpec) -> str:
        """Write the protocol in one line.

        Args:
            num_fitted: Number of train items on which detectors are fitted.
            tested: Number of test items.
            sets: Sets that were measured.
            detectors: Detectors that were used.
            data: The training dataset.
        """
        config = self.config
        k, count, dims = min(config.k, num_fitted), config.components, config.mixture_dims
        outliers = {
            "noise": "noise: as many images of independent uniform pixels",
            "held_out": (
                f"held_out: {config.held_out:.0%} of the classes, mean of {config.draws} seeded draws, detectors fitted"
                " on the other classes alone, while the encoder was trained on "
                f"{'images' if data.is_image else 'items'} of all classes"
            ),
        }
        means = {
            "knn": f"knn: distance to the {k}th training item at unit length",
            "gaussian": "gaussian: Mahalanobis distance to the mean of train",
            "clusters": f"clusters: to the nearest of {count} k-means clusters at unit length, one covariance",
            "mixture": f"mixture: density of {count} Gaussians in {dims} whitened principal components",
            "prior": "prior: density of the normal scores of `embedding` under the method's prior",
            "mahalanobis": "mahalanobis: to the nearest class, one covariance (reads labels)",
            "relative_mahalanobis": "relative_mahalanobis: that less gaussian (reads labels)",
            OWN: "own: the method's own score of images, trained on all classes and so not measured on held_out",
        }
        shape = "x".join(map(str, data.shape))
        other_dataset = f"at most {config.test_items:,} test items, brought to {shape}"
        return "; ".join(
            [
                f"{tested:,} test items are inside, detectors fitted on {num_fitted:,} of train, both drawn by seed",
                *(outliers.get(name, f"{name}: {other_dataset}") for name in sets),
                *(means[name] for name in detectors),
                "auroc: ties count half; fpr95_id_pos: outliers that pass where 95% of insiders do; fpr95_ood_pos: "
                "insiders flagged where 95% of outliers are; nothing is tuned on outliers",
                f"first score: {_ranking_sets(sets, GROUPS.get(data.name or '', {}))}; noise is in no mean",
            ]
        )


@dataclass(frozen=True)
class _Part:
    """Some items of a split.

    Attributes:
        embeddings: Name -> (N, D).
        labels: (N,) int64, or None where items have no single class.
        index: (N,) int64 positions in the split.
    """

    embeddings: Mapping[str, Tensor]
    labels: Tensor | None
    index: Tensor

    def where(self, kept: Tensor) -> "_Part":
        """Return the items for which `kept` (N,) bool is true."""
        labels = None if self.labels is None else self.labels[kept]
        return _Part({name: values[kept] for name, values in self.embeddings.items()}, labels, self.index[kept])


def _ranking_sets(sets: Sequence[str], groups: Mapping[str, Sequence[str]]) -> str:
    """Return the name of the group or set whose AUROC ranks: near, else held_out, else other datasets, else noise."""
    if any(name in groups.get("near", ()) for name in sets):
        return "near"
    real = [name for name in sets if name != "noise"]
    if "held_out" in real:
        return "held_out"
    return "mean" if len(real) > 1 else (real or sets)[0]


def _metric(measure: str, detector: str, outliers: str) -> str:
    """Return the name of a metric: `auroc_knn_held_out`."""
    return f"{measure}_{detector}_{re.sub('[^a-z0-9]+', '_', outliers.lower())}"


def _draw_items(total: int, most: int, seed: int, name: str) -> Tensor:
    """Draw positions of items, in ascending order; a seed draws the same ones for all methods."""
    return torch.randperm(total, generator=stream(seed, "outliers", "items", name))[:most].sort().values


def _pictures(frozen: Frozen, furthest: Tensor) -> dict[str, Tensor]:
    """Return a picture of the test items that are furthest out for the ranking detector; {} if it cannot be drawn."""
    if colours_skip_reason(frozen.data):
        return {}
    return {"furthest_test_items": as_bytes(frozen.inputs("test").read(furthest))}


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"outliers": Outliers}
