"""Task clustering: compare clusters that are made without labels with the classes.

There are two kinds of clusters: k-means on the features, with as many clusters as there are classes; and the method's
own clusters, where it has some (SeLa's labels, SwAV's prototypes, U-CTRL's memberships). Where clusters outnumber
classes, a one-to-one match leaves most clusters wrong (100 perfect clusters of 10 classes: .10), so there each cluster
answers with the most frequent class of its train items instead.

Source: accuracy by the Hungarian method, NMI, AMI and ARI are what SeLa's authors report of its labels,
        https://github.com/yukimasano/self-label; k-means on the features is the usual protocol.

Shapes: N items, M train items, D features, T heads.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from bench_core import Clustering as ClusteringMethod
from bench_core import (
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    Score,
    hookimpl,
    param,
    stream,
    stream_seed,
)
from bench_core.data import open_split, take
from bench_core.evaluation.classification import classes_skip_reason, number_of_classes
from bench_core.evaluation.embeddings import labelled_embedding
from bench_core.evaluation.kmeans import kmeans, nearest_centres
from bench_core.evaluation.rows import as_features

from .partitions import agreement, balance, majority_accuracy, matched_accuracy

OWN_LABELS = "own_labels"  # "embedding" of the scores of the method's own clusters
_BATCH = 512  # images at once
_SHUFFLES = 10  # least number of random partitions, over all heads, whose mean is the chance level
_ITERATIONS = 100  # of k-means from one start, at most
_UNITS = {"ari": "index", "ami": "index", "clusters": "count", "perplexity": "count"}  # other scores are fractions
_BEST = {"ari": 1.0, "ami": 1.0}  # that of fractions is 1 without being said


@dataclass(frozen=True, kw_only=True)
class ClusteringConfig(Config):
    """Parameters of k-means; a method's own clusters need none."""

    clusters: int | None = param(None, "number of k-means clusters; none uses the number of classes", "usual", ge=2)
    embedding: str = param("features", "name of the embedding that k-means clusters", "usual")
    spherical: bool = param(
        True,
        "compare by cosine: rows and centres get length 1; false compares by Euclidean distance",
        "ours: as kNN and retrieval compare",
    )
    restarts: int = param(
        20, "random starts of k-means; the one with the best objective is kept", "ours: 10 still moved accuracy", ge=1
    )
    fit_items: int = param(
        50_000,
        "maximal number of training items, drawn at random, for k-means and for the class of each cluster",
        "ours: bounds the cost",
        ge=1,
    )


class Grouped(NamedTuple):
    """Classes of some items, and their clusters.

    Attributes:
        classes: (N,) int64.
        clusters: (T, N) int64, one partition for each head.
    """

    classes: Tensor
    clusters: Tensor


class Clustering(Evaluator):
    """Agreement of k-means clusters with the classes.

    k-means groups the train features without labels, and test items join the nearest centre. The first score is
    the accuracy under the best one-to-one match of clusters to classes; NMI, ARI, AMI, purity, and the accuracy by the
    most frequent train class of each cluster follow. Methods with clusters of their own (SeLa, SwAV, U-CTRL) get the
    same scores for these, with the prefix `own_`; where they outnumber the classes there is no one-to-one match. Needs
    one class for each item, and a train and a test split.
    """

    Config = ClusteringConfig
    revision = 2  # 2: clusters beyond the classes get majority_accuracy, with a chance level, in place of accuracy
    family = "structure"

    def __init__(self, config: ClusteringConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without one class for each item, or without a train or test split."""
        return classes_skip_reason(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Fit clusters to training items, assign test items to them, and score these."""
        config = self.config
        train, train_labels = labelled_embedding(frozen, "train", config.embedding)
        test, labels = labelled_embedding(frozen, "test", config.embedding)
        classes = number_of_classes(frozen.data)
        clusters = config.clusters or classes
        drawn = torch.randperm(len(train), generator=stream(frozen.seed, "clustering", "items"))[: config.fit_items]
        fitted_items = as_features(train, drawn)
        centres = kmeans(
            fitted_items,
            clusters,
            seed=stream_seed(frozen.seed, "clustering", "kmeans"),
            spherical=config.spherical,
            restarts=config.restarts,
            iterations=_ITERATIONS,
        )
        fitted, assigned = (
            nearest_centres(x, centres, spherical=config.spherical) for x in (fitted_items, as_features(test))
        )
        suffix = "" if clusters == classes else f"_{clusters}_clusters"
        scores = _scores(
            Grouped(train_labels[drawn], fitted[None]), Grouped(labels, assigned[None]), clusters <= classes,
            frozen.seed, "", suffix, config.embedding,
        )  # fmt: skip
        own = own_clusters(frozen, drawn)
        notes = []
        if own is not None:
            count = 1 + int(max(part.max() for part in own))
            fitted_own, assigned_own = Grouped(train_labels[drawn], own[0]), Grouped(labels, own[1])
            scores += _scores(fitted_own, assigned_own, count <= classes, frozen.seed, "own_", "", OWN_LABELS)
        if len(centres) < clusters:
            notes.append(f"only {len(centres)} distinct training items: as many clusters (wanted: {clusters})")
        return Evaluation(
            scores=scores,
            protocol=(
                f"k-means (faiss, {'spherical: rows and centres of length 1' if config.spherical else 'Euclidean'}) of "
                f"{config.embedding}, {clusters} clusters, {config.restarts} seeded random starts, at most "
                f"{_ITERATIONS} iterations, best objective; fitted to {len(drawn):,} items of train, scored on all of "
                "test; accuracy, where there are no more clusters than classes: best one-to-one match of clusters to "
                "classes on test (Hungarian), items of classes left over are wrong; majority_accuracy: each cluster "
                "answers with the most frequent class of these train items in it (ties: the first class; none: wrong); "
                "nmi: arithmetic mean of entropies; purity: each cluster answers with its most frequent class of test; "
                "perplexity: exp of the entropy of the sizes; own_: the method's own clusters, mean over its heads; "
                "chance: of both accuracies one cluster for all, of nmi and purity the same clusters with items "
                f"shuffled (mean of {_SHUFFLES} or more, seeded), of ari and ami 0 by definition"
            ),
            notes=notes,
        )


@torch.inference_mode()
def own_clusters(frozen: Frozen, drawn: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the method's own clusters of some train items and of all test items; None if it has none.

    Args:
        frozen: The trained method.
        drawn: (M,) int64 positions in the train split.

    Returns:
        (T, M) and (T, N) int64, on the CPU.
    """
    method = frozen.method()
    if not isinstance(method, ClusteringMethod):
        return None
    train, test = (
        torch.cat([method.assign(batch.inputs).cpu() for batch in open_split(split, frozen.device).batches(_BATCH)], 1)
        for split in (take(frozen.inputs("train"), drawn), frozen.inputs("test"))
    )
    return train, test


def _scores(
    train: Grouped, test: Grouped, one_to_one: bool, seed: int, prefix: str, suffix: str, embedding: str
) -> list[Score]:
    """Measure partitions, and average each number over heads; no head is chosen by its score.

    Args:
        train: Items that give each cluster its class.
        test: Items that are scored.
        one_to_one: Whether there are no more clusters than classes. If not, `majority_accuracy` comes first, and the
            accuracy of a one-to-one match is left out.
        seed: Seed of the shuffled partitions, whose scores are the chance level.
        prefix: Start of the metric names.
        suffix: End of the metric names.
        embedding: Name that the scores give as their embedding.
    """
    labels, rng = test.classes, stream(seed, "clustering", "chance")
    times = math.ceil(_SHUFFLES / len(test.clusters))
    repeated = [clusters for clusters in test.clusters for _ in range(times)]
    shuffled = [clusters[torch.randperm(len(labels), generator=rng)] for clusters in repeated]
    random = _mean([agreement(labels, clusters) for clusters in shuffled])
    one, one_of_train = torch.zeros_like(labels), torch.zeros_like(train.classes)
    chance = {
        "accuracy": matched_accuracy(labels, one),
        "majority_accuracy": majority_accuracy(train.classes, one_of_train, labels, one),
        "nmi": random["nmi"],
        "purity": random["purity"],
        "ari": 0.0,
        "ami": 0.0,
    }
    values = _mean(
        [
            agreement(labels, clusters)
            | {"majority_accuracy": majority_accuracy(train.classes, fitted, labels, clusters)}
            | balance(clusters)
            for fitted, clusters in zip(train.clusters, test.clusters, strict=True)
        ]
    )
    if not one_to_one:
        del values["accuracy"]
        values = {"majority_accuracy": values.pop("majority_accuracy"), **values}
    return [
        Score(
            metric=f"{prefix}{name}{suffix}",
            value=value,
            unit=_UNITS.get(name, "fraction"),
            chance=chance.get(name),
            best=_BEST.get(name),
            embedding=embedding,
            n=len(labels),
        )
        for name, value in values.items()
    ]


def _mean(measured: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Average each named number."""
    return {name: fmean(values[name] for values in measured) for name in measured[0]}


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"clustering": Clustering}
