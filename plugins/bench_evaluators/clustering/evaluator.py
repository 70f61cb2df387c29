"""Clustering: do groups that are found without labels agree with the classes?

k-means on the features, with as many clusters as there are classes; and the method's own clusters, where it has some
(SeLa's labels, SwAV's prototypes, U-CTRL's memberships).

Source: accuracy by the Hungarian method, NMI, AMI and ARI are what SeLa's authors report of its labels,
        https://github.com/yukimasano/self-label; k-means on the features is the field's usual way.

Shapes: N items, D features, T heads.
"""

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
from bench_core.evaluation.classification import why_no_classes
from bench_core.evaluation.embeddings import embedding_of, labelled

from .partitions import (
    agreement,
    balance,
    kmeans,
    matched_accuracy,
    nearest_centres,
)

OWN = "own_labels"  # what scores name as embedding where the method's own clusters are read
_BATCH = 512
_SHUFFLES = 10  # random partitions at least, over all heads, that the chance level is a mean over
_ITERATIONS = 100
_UNITS = {"ari": "index", "ami": "index", "clusters": "count", "perplexity": "count"}  # the rest are fractions


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

    def __init__(self, config: ClusteringConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Single labels, train and test."""
        return why_no_classes(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Clusters are fitted to training items; test items are put into them and scored."""
        config = self.config
        train = embedding_of(frozen.splits["train"], config.embedding).float()
        test, labels = labelled(frozen, "test", config.embedding)
        classes = frozen.data.num_classes or int(labels.max()) + 1
        wanted = config.clusters or classes
        drawn = torch.randperm(len(train), generator=stream(frozen.seed, "clustering", "items"))[: config.fit_items]
        centres = kmeans(
            train[drawn],
            wanted,
            seed=stream_seed(frozen.seed, "clustering", "kmeans"),
            spherical=config.spherical,
            restarts=config.restarts,
            iterations=_ITERATIONS,
        )
        found = nearest_centres(test, centres, spherical=config.spherical)
        suffix = "" if wanted == classes else f"_{wanted}_clusters"
        scores = _scores(found[None], labels, frozen.seed, "", suffix, config.embedding)
        own = own_clusters(frozen)
        if own is not None:
            scores += _scores(own, labels, frozen.seed, "own_", "", OWN)
        notes = []
        if len(centres) < wanted:
            notes.append(f"only {len(centres)} distinct training items: as many clusters (wanted: {wanted})")
        return Evaluation(
            scores=scores,
            protocol=(
                f"k-means (faiss, {'spherical: rows and centres of length 1' if config.spherical else 'Euclidean'}) of "
                f"{config.embedding}, {wanted} clusters, {config.restarts} seeded random starts, at most "
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
    """The method's own clusters of the test split, (T, N) int64 on the CPU; None where it has none."""
    method = frozen.method()
    if not isinstance(method, ClusteringMethod):
        return None
    batches = open_split(frozen.inputs("test"), frozen.device).batches(_BATCH)
    return torch.cat([method.assign(batch.inputs).cpu() for batch in batches], 1)


def _scores(heads: Tensor, labels: Tensor, seed: int, prefix: str, suffix: str, embedding: str) -> list[Score]:
    """All that is measured of partitions (T, N), each number a mean over heads; none is chosen by the labels."""
    rng, times = stream(seed, "clustering", "chance"), -(-_SHUFFLES // len(heads))
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
    return {name: fmean(values[name] for values in measured) for name in measured[0]}


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"clustering": Clustering}
