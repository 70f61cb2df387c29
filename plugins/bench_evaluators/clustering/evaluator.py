"""Task clustering: compare clusters that are made without labels with the classes.

There are two kinds of clusters: k-means on the features, with as many clusters as there are classes; and the method's
own clusters, where it has some (SeLa's labels, SwAV's prototypes, U-CTRL's memberships).

Source: accuracy by the Hungarian method, NMI, AMI and ARI are what SeLa's authors report of its labels,
        https://github.com/yukimasano/self-label; k-means on the features is the usual protocol.

Shapes: N items, D features, T heads.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

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
from bench_core.data import open_split
from bench_core.evaluation.classification import classes_skip_reason
from bench_core.evaluation.embeddings import embedding_of, labelled_embedding

from .partitions import (
    agreement,
    balance,
    kmeans,
    matched_accuracy,
    nearest_centres,
)

OWN_LABELS = "own_labels"  # "embedding" of the scores of the method's own clusters
_BATCH = 512  # images at once
_SHUFFLES = 10  # least number of random partitions, over all heads, whose mean is the chance level
_ITERATIONS = 100  # of k-means from one start, at most
_UNITS = {"ari": "index", "ami": "index", "clusters": "count", "perplexity": "count"}  # other scores are fractions


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
        50_000, "maximal number of training items for k-means, drawn at random", "ours: bounds the cost", ge=1
    )


class Clustering(Evaluator):
    """Agreement of k-means clusters with the classes.

    k-means groups the train features without labels, and test items join the nearest centre. The first score is
    the accuracy under the best one-to-one match of clusters to classes; NMI, ARI, AMI and purity follow. Methods
    with clusters of their own (SeLa, SwAV, U-CTRL) get the same scores for these, with the prefix `own_`. Needs one
    class for each item, and a train and a test split.
    """

    Config = ClusteringConfig
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
        train = embedding_of(frozen.splits["train"], config.embedding).float()
        test, labels = labelled_embedding(frozen, "test", config.embedding)
        classes = frozen.data.num_classes or int(labels.max()) + 1
        clusters = config.clusters or classes
        drawn = torch.randperm(len(train), generator=stream(frozen.seed, "clustering", "items"))[: config.fit_items]
        centres = kmeans(
            train[drawn],
            clusters,
            seed=stream_seed(frozen.seed, "clustering", "kmeans"),
            spherical=config.spherical,
            restarts=config.restarts,
            iterations=_ITERATIONS,
        )
        assigned = nearest_centres(test, centres, spherical=config.spherical)
        suffix = "" if clusters == classes else f"_{clusters}_clusters"
        scores = _scores(assigned[None], labels, frozen.seed, "", suffix, config.embedding)
        method_clusters = own_clusters(frozen)
        if method_clusters is not None:
            scores += _scores(method_clusters, labels, frozen.seed, "own_", "", OWN_LABELS)
        notes = []
        if len(centres) < clusters:
            notes.append(f"only {len(centres)} distinct training items: as many clusters (wanted: {clusters})")
        return Evaluation(
            scores=scores,
            protocol=(
                f"k-means (faiss, {'spherical: rows and centres of length 1' if config.spherical else 'Euclidean'}) of "
                f"{config.embedding}, {clusters} clusters, {config.restarts} seeded random starts, at most "
                f"{_ITERATIONS} iterations, best objective; fitted to {len(drawn):,} items of train, scored on all of "
                "test; accuracy: best one-to-one match of clusters to classes on test (Hungarian), items of clusters "
                "left over are wrong; nmi: arithmetic mean of entropies; purity: each cluster answers with its most "
                "frequent class; perplexity: exp of the entropy of the sizes; own_: the method's own clusters of test "
                "items, mean over its heads; chance: of accuracy one cluster for all, of nmi and purity the same "
                f"clusters with items shuffled (mean of {_SHUFFLES} or more, seeded), of ari and ami 0 by definition"
            ),
            notes=notes,
        )


@torch.inference_mode()
def own_clusters(frozen: Frozen) -> Tensor | None:
    """Return the method's own clusters of the test split, (T, N) int64 on the CPU; None if it has none."""
    method = frozen.method()
    if not isinstance(method, ClusteringMethod):
        return None
    batches = open_split(frozen.inputs("test"), frozen.device).batches(_BATCH)
    return torch.cat([method.assign(batch.inputs).cpu() for batch in batches], 1)


def _scores(heads: Tensor, labels: Tensor, seed: int, prefix: str, suffix: str, embedding: str) -> list[Score]:
    """Measure partitions, and average each number over heads; no head is chosen by its score.

    Args:
        heads: (T, N) int64, one partition a head.
        labels: (N,) int64 classes.
        seed: Seed of the shuffled partitions, whose scores are the chance level.
        prefix: Start of the metric names.
        suffix: End of the metric names.
        embedding: Name that the scores give as their embedding.
    """
    rng = stream(seed, "clustering", "chance")
    times = math.ceil(_SHUFFLES / len(heads))
    shuffled = [clusters[torch.randperm(len(labels), generator=rng)] for clusters in heads for _ in range(times)]
    random = _mean([agreement(labels, clusters) for clusters in shuffled])
    constant = matched_accuracy(labels, torch.zeros_like(labels))
    chance = {"accuracy": constant, "nmi": random["nmi"], "purity": random["purity"], "ari": 0.0, "ami": 0.0}
    values = _mean([agreement(labels, clusters) | balance(clusters) for clusters in heads])
    return [
        Score(
            metric=f"{prefix}{name}{suffix}",
            value=value,
            unit=_UNITS.get(name, "fraction"),
            chance=chance.get(name),
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
