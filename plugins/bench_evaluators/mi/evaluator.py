"""Mutual information: how many nats an embedding keeps of the label, and of another view of the same image.

Each number is an estimate with its own ceiling, and no number is the truth: bounds by a classifier and by critics are
measured on test items and are from below; estimates by nearest neighbours read a few principal coordinates.

Papers: Barber and Agakov, NeurIPS 2003 (a classifier's bound); van den Oord, Li, Vinyals, 2018,
        https://arxiv.org/abs/1807.03748 (InfoNCE); Belghazi et al., ICML 2018, https://arxiv.org/abs/1801.04062 (MINE);
        Ross, PLoS ONE 9(2), 2014; Kraskov et al., Phys. Rev. E 69, 2004 (neighbours)
Shapes: N items of train, M of test, D features, P principal coordinates.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import (
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    Score,
    Split,
    hookimpl,
    param,
    stream,
    stream_seed,
)
from bench_core.data import open_split, take
from bench_core.evaluation.classification import why_no_classes
from bench_core.evaluation.embeddings import labelled
from bench_core.evaluation.linear_probe import PROBLEM, fit_probe, standardise
from bench_core.views import PRESETS, augment, preset

from .critics import (
    PairCritic,
    Pairs,
    classifier_information,
    entropy_of,
    fit_critic,
    held_out_donsker_varadhan,
    held_out_info_nce,
)
from .neighbours import class_information, pair_information

SIDE = 32  # pixels of a view that a critic reads, at most


@dataclass(frozen=True, kw_only=True)
class MIConfig(Config):
    """Parameters of the estimators and the number of items that they read."""

    embedding: str = param("features", "name of the embedding that is evaluated", "usual")
    augmentation: str = param(
        "simclr", "augmentation preset of both views", "ours: the same for all methods", choices=tuple(PRESETS)
    )
    train_items: int = param(
        4000,
        "maximal number of train items on which classifier and critics are fitted",
        "ours: seconds",
        ge=10,
    )
    test_items: int = param(
        1024, "maximal number of test items on which all numbers are measured", "ours: seconds", ge=10
    )
    candidates: int = param(
        256,
        "candidates K of InfoNCE, which cannot exceed log K nats; also a critic's batch size",
        "ours: seconds",
        ge=2,
    )
    steps: int = param(150, "Adam steps for each of the two critics", "ours: seconds; longer overfits small data", ge=1)
    units: int = param(64, "number of units in each layer of a critic's maps", "ours: seconds", ge=1)
    neighbours: int = param(
        3, "number of neighbours k of the nearest-neighbour estimates", "Kraskov et al.: 2 to 4; Ross: 3", ge=1
    )
    dims: int = param(
        4,
        "number of principal coordinates in which neighbours are searched",
        "ours: more need many more items",
        ge=1,
    )


class MI(Evaluator):
    """Mutual information with labels and other views.

    Estimates, in nats, of the information between an embedding and the label (`labels`), the embedding of another
    view of the same image (`views`), and that view's pixels (`input`). Each estimate has a ceiling, which the notes
    name. Needs 20 train and test items or more, and labels or images.
    """

    Config = MIConfig

    def __init__(self, config: MIConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Train and test, and labels or images."""
        if small := [name for name in ("train", "test") if data.splits.get(name, 0) < 20]:
            return f"needs a {small[0]} split of 20 items or more"
        return None if data.is_image else why_no_classes(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Fit on train, measure on test."""
        config = self.config
        parts = []
        if why_no_classes(frozen.data) is None:
            parts.append(self._labels(frozen))
        if frozen.data.is_image:
            parts.append(self._views(frozen))
        return Evaluation(
            scores=[score for part in parts for score in part.scores],
            protocol=(
                f"nats, measured on at most {config.test_items:,} items of test, fitted on at most "
                f"{config.train_items:,} of train, seeded; {'; '.join(part.protocol for part in parts)}; by "
                f"neighbours: k={config.neighbours}, {config.dims} principal coordinates of train, each of deviation 1"
            ),
            notes=[part.note for part in parts],
        )

    def _labels(self, frozen: Frozen) -> "_Part":
        """What a linear classifier and neighbours know of the label."""
        name = self.config.embedding
        (train, seen), (test, labels) = (self._labelled(frozen, split) for split in ("train", "test"))
        rows = standardise(train, test)
        num_classes = frozen.data.num_classes or 1 + int(max(seen.max(), labels.max()))
        probe = fit_probe(rows[0], seen, num_classes, stream(frozen.seed, "mi", "validation"), frozen.device)
        (near,) = _principal(self.config.dims, train, test)
        found = {
            "labels": classifier_information(probe.fit.logits(rows[1]), labels),
            "labels_ross": class_information(near, labels, self.config.neighbours),
        }
        return _Part(
            scores=[_score(metric, value, name, len(test)) for metric, value in found.items()],
            protocol=(
                f"labels: H(label) less the test loss of {PROBLEM}, features standardised, {probe.protocol}; "
                "labels_ross: by neighbours (Ross)"
            ),
            note=f"H(label), the ceiling of labels: {entropy_of(labels):.3f} nats; {probe.note}",
        )

    def _labelled(self, frozen: Frozen, split: str) -> Pairs:
        values, labels = labelled(frozen, split, self.config.embedding)
        chosen = self._chosen(frozen, split)
        return values[chosen], labels[chosen]

    def _chosen(self, frozen: Frozen, split: str) -> Tensor:
        """Items of a split, the same for all methods at a seed, in random order."""
        most = {"train": self.config.train_items, "test": self.config.test_items}[split]
        rng = stream(frozen.seed, "mi", split)
        return torch.randperm(frozen.data.splits[split], generator=rng)[:most]

    def _views(self, frozen: Frozen) -> "_Part":
        """What the embedding of one view knows of the other's, and of its pixels."""
        config = self.config
        train, test = (self._embedded_views(frozen, split) for split in ("train", "test"))
        first, second, pixels = (standardise(a, b) for a, b in zip(train, test, strict=True))
        K = min(config.candidates, len(train[0]), len(test[0]))
        critics, steps = [], []
        for what, partner in (("views", second), ("input", pixels)):
            other_dim = None if what == "views" else partner[0].shape[1]
            rng = stream(frozen.seed, "mi", what)
            with torch.random.fork_rng([]):
                torch.manual_seed(stream_seed(frozen.seed, "mi", "critic"))
                critic = PairCritic(first[0].shape[1], config.units, other_dim)
            steps.append(fit_critic(critic, (first[0], partner[0]), rng, batch_size=K, steps=config.steps))
            critics.append(critic)
        both, other = critics
        left, right = _principal(config.dims, torch.cat(train[:2]), *test[:2])
        found = {
            "views_infonce": held_out_info_nce(both, (first[1], second[1]), K),
            "views_dv": held_out_donsker_varadhan(both, (first[1], second[1])),
            "views_ksg": pair_information(left, right, min(config.neighbours, len(left) - 1)),
            "input_infonce": held_out_info_nce(other, (first[1], pixels[1]), K),
        }
        return _Part(
            scores=[_score(metric, value, config.embedding, len(test[0])) for metric, value in found.items()],
            protocol=(
                f"views: the embeddings of two augmented views ({config.augmentation}, or what keeps the meaning of "
                f"this data); critic: distance of maps of {config.units} units, {config.steps} steps of Adam on "
                "InfoNCE and MINE's bound at once, kept where it is best on a fifth of its train items, 0 where never "
                f"above 0; infonce: at most {config.candidates} candidates; dv: all products of test pairs, of large "
                "deviation far from 0; ksg: by neighbours (Kraskov); input: the embedding of a view against the "
                f"other's pixels (averaged to {SIDE} x {SIDE} at most)"
            ),
            note=f"log K, the ceiling of infonce: {math.log(K):.3f} nats; critics of step {steps[0]} and {steps[1]}",
        )

    @torch.no_grad()
    def _embedded_views(self, frozen: Frozen, split: str) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of both views of each item and pixels of the second, (N, D), (N, D) and (N, E) on the CPU."""
        method, augmentation = frozen.method(), preset(self.config.augmentation, frozen.data)
        rng = stream(frozen.seed, "mi", "augmentation", split, device=frozen.device)
        items = take(frozen.inputs(split), self._chosen(frozen, split))
        found: list[tuple[Tensor, ...]] = []
        for batch in open_split(Split(items.inputs), frozen.device).batches(256):
            views = [augment(batch.inputs, rng, augmentation) for _ in range(2)]
            embedded = [method.embed(view)[self.config.embedding].float() for view in views]
            height, width = views[1].shape[2:]
            small = F.adaptive_avg_pool2d(views[1], (min(SIDE, height), min(SIDE, width)))
            found.append(tuple(rows.flatten(1).cpu() for rows in (*embedded, small)))
        first, second, pixels = (torch.cat(rows) for rows in zip(*found, strict=True))
        return first, second, pixels


@dataclass(frozen=True)
class _Part:
    """Scores of one question, how they were measured, and their ceiling."""

    scores: list[Score]
    protocol: str
    note: str


def _score(metric: str, value: float, embedding: str, n: int) -> Score:
    return Score(metric=metric, value=value, unit="nats", chance=0.0, embedding=embedding, n=n)


def _principal(dims: int, train: Tensor, *others: Tensor) -> list[Tensor]:
    """Principal coordinates (M, P) of others (M, D), each of deviation 1 on train (N, D); 0 where train has none."""
    from sklearn.utils.extmath import randomized_svd  # costs a second: only where it is used

    mean = train.double().mean(0)
    centred = (train.double() - mean).numpy()
    dims = min(dims, *centred.shape)
    _, values, directions = randomized_svd(centred, dims, random_state=0)
    deviation = values / math.sqrt(len(centred))
    scale = np.divide(1, deviation, out=np.zeros(dims), where=deviation > 1e-6 * deviation.max(initial=0))
    return [(rows.double() - mean) @ torch.from_numpy(directions.T * scale) for rows in others]


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"mi": MI}
