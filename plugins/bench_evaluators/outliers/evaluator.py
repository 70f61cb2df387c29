"""Outliers: whether images of another kind lie where no training image lies.

Papers: those of `bench_evaluators.outliers.detectors`; near and far sets are those of OpenOOD (Zhang et al., 2023,
        https://arxiv.org/abs/2306.09301) and, for MNIST, of its first version.
Code:   https://github.com/Jingkang50/OpenOOD (configs/datasets at 0d3b20bc and 0e99b9d6)

Shapes: N items, D features.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    Score,
    Split,
    hookimpl,
    param,
    stream,
    stream_seed,
)
from bench_core.data import take
from bench_core.evaluation.embeddings import embedding_of
from bench_core.evaluation.other_datasets import embed_images

from . import detectors as fit
from .rates import Rate, mean_rate, rates

_FAR = ("mnist", "svhn", "textures", "places365")
_CIFAR10 = {"near": ("cifar100", "tiny_imagenet"), "far": _FAR}
GROUPS: Mapping[str, Mapping[str, Sequence[str]]] = {  # by what the method was trained on
    "cifar10": _CIFAR10,
    "cifar10_jpeg": _CIFAR10,
    "cifar100": {"near": ("cifar10", "tiny_imagenet"), "far": _FAR},
    "mnist": {"near": ("fashion_mnist", "notmnist"), "far": ("textures", "cifar10", "tiny_imagenet", "places365")},
}
RANKING = "knn"
_PICTURES = 32

Found = Mapping[str, Mapping[str, Rate]]  # detector -> measure -> what was found


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
    should get lower values than outliers, which are noise, held-out classes or other datasets. The first score is the
    AUROC of the nearest-neighbour detector, averaged over the sets: .5 is chance, 1 is perfect. Needs a train and a
    test split.
    """

    Config = OutliersConfig

    def __init__(self, config: OutliersConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """A test split, and at least one set of outliers."""
        if missing := [split for split in ("train", "test") if split not in data.splits]:
            return f"needs a {missing[0]} split"
        return None if self._sets(data) else "; ".join(self._left_out(data))

    def datasets(self, data: DataSpec) -> Sequence[str]:
        """Those among the sets."""
        return [name for name in self._sets(data) if name not in ("noise", "held_out")]

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Test items are inside; detectors are fitted on train alone."""
        data, method = frozen.data, frozen.method()
        train, test = self._part(frozen, "train"), self._part(frozen, "test")
        detectors = self._detectors(train, frozen, method)
        inside = self._distances(detectors, test.embeddings)
        found: dict[str, Found] = {}
        sizes: dict[str, int] = {}
        for name in self._sets(data):
            if name == "held_out":
                found[name], sizes[name] = self._held_out(train, test, frozen, method), len(test.index)
            else:
                others = self._elsewhere(name, frozen, len(test.index))
                outside = self._distances(detectors, others)
                found[name] = {detector: rates(values, outside[detector]) for detector, values in inside.items()}
                sizes[name] = len(test.index) + len(others["features"])
        notes = [f"not measured: {reason}" for reason in self._left_out(data)]
        if "held_out" in found and method.uses_labels:
            notes.append("the method was trained with labels, those of the held-out classes too")
        furthest = inside[RANKING].sort(descending=True, stable=True).indices[:_PICTURES]
        return Evaluation(
            scores=self._scores(found, sizes, GROUPS.get(data.name or "", {})),
            protocol=self._protocol(len(train.index), len(test.index), list(found), list(detectors), data),
            notes=notes,
            images=_pictures(frozen, test.index[furthest]),
        )

    def _sets(self, data: DataSpec) -> list[str]:
        """Those sets that can be measured."""
        return [name for name in self.config.sets if self._why_not(name, data) is None]

    def _left_out(self, data: DataSpec) -> list[str]:
        """The others, each with the reason."""
        return [f"{name}: {reason}" for name in self.config.sets if (reason := self._why_not(name, data))]

    def _why_not(self, name: str, data: DataSpec) -> str | None:
        if name == "held_out":
            return None if (data.num_classes or 0) > 1 else "needs at least two classes"
        if not data.is_image:
            return "needs images"
        return "it is what the method was trained on" if name == data.name else None

    def _part(self, frozen: Frozen, split: str) -> "_Part":
        """The items of a split that are read."""
        config, whole = self.config, frozen.splits[split]
        most = config.train_items if split == "train" else config.test_items
        index = _drawn(len(embedding_of(whole, config.embedding)), most, frozen.seed, split)
        single = frozen.data.num_classes is not None and whole.labels is not None
        labels = whole.labels[index] if single and whole.labels is not None else None
        return _Part({name: values[index] for name, values in whole.embeddings.items()}, labels, index)

    def _detectors(self, train: "_Part", frozen: Frozen, method: Objective) -> dict[str, fit.Detector]:
        """All that this method and this data have; the ranking one first."""
        config, points = self.config, train.embeddings[self.config.embedding].float()
        seed = stream_seed(frozen.seed, "outliers", "clusters") % 2**32  # what scikit-learn takes
        found = {
            RANKING: fit.nearest(points, config.k, frozen.device),
            "gaussian": fit.gaussian(points),
            "clusters": fit.clusters(points, config.components, seed),
            "mixture": fit.mixture(points, config.components, config.mixture_dims, seed),
        }
        if isinstance(method, Matching):
            found["prior"] = fit.prior_density(method.matched_prior())
        if train.labels is not None:
            found["mahalanobis"] = fit.mahalanobis(points, train.labels)
            found["relative_mahalanobis"] = fit.relative_mahalanobis(points, train.labels)
        return found

    def _distances(self, detectors: Mapping[str, fit.Detector], embeddings: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """How far out each item is, by each detector."""
        return {name: detector(embeddings[self._reads(name)].float()) for name, detector in detectors.items()}

    def _reads(self, detector: str) -> str:
        return "embedding" if detector == "prior" else self.config.embedding

    def _elsewhere(self, name: str, frozen: Frozen, count: int) -> Mapping[str, Tensor]:
        """Embeddings of noise (as many images as this), or of the test split of another data set."""
        if name == "noise":
            rng = stream(frozen.seed, "outliers", "noise")
            split = Split(torch.randint(0, 256, (count, *frozen.data.shape), dtype=torch.uint8, generator=rng))
        elif "test" in frozen.others[name].data.splits:
            split = frozen.others[name].load("test")
        else:
            raise BenchError(f"outliers needs a test split of {name}, which has none.")
        return embed_images(frozen, split, _drawn(len(split), self.config.test_items, frozen.seed, name)).embeddings

    def _held_out(self, train: "_Part", test: "_Part", frozen: Frozen, method: Objective) -> Found:
        """Detectors of some classes against test items of the others; means over draws of classes."""
        if train.labels is None or test.labels is None:
            raise BenchError("held_out needs labels of train and test.")
        classes = torch.from_numpy(np.intersect1d(train.labels, test.labels))
        if len(classes) < 2:
            raise BenchError("held_out needs two classes that are in train and in test.")
        count = min(max(round(self.config.held_out * len(classes)), 1), len(classes) - 1)
        rounds: list[Found] = []
        for draw in range(self.config.draws):
            rng = stream(frozen.seed, "outliers", "held_out", str(draw))
            unseen = classes[torch.randperm(len(classes), generator=rng)[:count]]
            out = torch.isin(test.labels, unseen)
            inside = torch.isin(test.labels, classes) & ~out  # a class that is in test alone is on neither side
            detectors = self._detectors(train.where(~torch.isin(train.labels, unseen)), frozen, method)
            distances = self._distances(detectors, test.embeddings)
            rounds.append({name: rates(values[inside], values[out]) for name, values in distances.items()})
        return {
            detector: {measure: mean_rate([found[detector][measure] for found in rounds]) for measure in measured}
            for detector, measured in rounds[0].items()
        }

    def _scores(
        self, found: Mapping[str, Found], sizes: Mapping[str, int], groups: Mapping[str, Sequence[str]]
    ) -> list[Score]:
        """AUROC over all sets, over near and over far ones, then set by set; all rates for the ranking detector."""
        scores = []
        for group, members in {"mean": list(found), **groups}.items():
            names = [name for name in found if name in members]
            if not names:
                continue
            n = sum(sizes[name] for name in names)
            for detector in found[names[0]]:
                rate = mean_rate([found[name][detector]["auroc"] for name in names])
                scores.append(self._score("auroc", detector, group, rate, n))
        for name, by_detector in found.items():
            for detector, measured in by_detector.items():
                kept = measured if detector == RANKING else {"auroc": measured["auroc"]}
                scores += [self._score(measure, detector, name, rate, sizes[name]) for measure, rate in kept.items()]
        return scores

    def _score(self, measure: str, detector: str, outliers: str, rate: Rate, n: int) -> Score:
        return Score(
            metric=f"{measure}_{detector}_{re.sub('[^a-z0-9]+', '_', outliers.lower())}",
            value=rate.value,
            higher_is_better=rate.higher_is_better,
            chance=rate.chance,
            embedding=self._reads(detector),
            n=n,
        )

    def _protocol(self, fitted: int, asked: int, sets: list[str], detectors: list[str], data: DataSpec) -> str:
        config = self.config
        k, count, dims = min(config.k, fitted), config.components, config.mixture_dims
        outliers = {
            "noise": "noise: as many images of independent uniform pixels",
            "held_out": (
                f"held_out: {config.held_out:.0%} of the classes, mean of {config.draws} seeded draws, detectors fitted"
                " on the other classes alone, while the encoder was trained on images of all classes"
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
        }
        shape = "x".join(map(str, data.shape))
        elsewhere = f"at most {config.test_items:,} test items, brought to {shape}"
        return "; ".join(
            [
                f"{asked:,} test items are inside, detectors fitted on {fitted:,} of train, both drawn by seed",
                *(outliers.get(name, f"{name}: {elsewhere}") for name in sets),
                *(means[name] for name in detectors),
                "auroc: ties count half; fpr95_id_pos: outliers that pass where 95% of insiders do; fpr95_ood_pos: "
                "insiders flagged where 95% of outliers are; nothing is tuned on outliers",
            ]
        )


@dataclass(frozen=True)
class _Part:
    """Some items of a split: embeddings by name, classes where there are any, and which items they are."""

    embeddings: Mapping[str, Tensor]
    labels: Tensor | None
    index: Tensor

    def where(self, kept: Tensor) -> "_Part":
        """Those for which (N,) bool is true."""
        labels = None if self.labels is None else self.labels[kept]
        return _Part({name: values[kept] for name, values in self.embeddings.items()}, labels, self.index[kept])


def _drawn(total: int, most: int, seed: int, name: str) -> Tensor:
    """Which items are read, in index order; the same for all methods at a seed."""
    return torch.randperm(total, generator=stream(seed, "outliers", "items", name))[:most].sort().values


def _pictures(frozen: Frozen, furthest: Tensor) -> dict[str, Tensor]:
    """The test items that the ranking detector takes for outliers first, where they are images."""
    if not frozen.data.is_image or frozen.data.shape[0] not in (1, 3):
        return {}
    inputs = take(frozen.inputs("test"), furthest).inputs
    return {"furthest_test_items": inputs if isinstance(inputs, Tensor) else inputs.read(torch.arange(len(inputs)))}


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"outliers": Outliers}
