"""Task mi: estimate the mutual information of an embedding with the label, and with another view of the same image.

Each number is an estimate with its own ceiling, and none is the true value. The bounds by a classifier and by critics
are lower bounds, measured on test items; the estimates by nearest neighbours read only a few principal coordinates.

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
from bench_core.evaluation.classification import classes_skip_reason, number_of_classes
from bench_core.evaluation.embeddings import labelled_embedding
from bench_core.evaluation.linear_probe import PROBLEM, convergence, fit_probe, standardise
from bench_core.evaluation.neighbour_information import class_information, pair_information
from bench_core.evaluation.pair_critics import (
    PairCritic,
    Pairs,
    fit_critic,
    held_out_donsker_varadhan,
    held_out_info_nce,
)
from bench_core.views import PRESET_NAMES, augment, preset

from .labels import classifier_information, entropy_of

SIDE = 32  # pixels: larger views are averaged down to this side for a critic


@dataclass(frozen=True, kw_only=True)
class MIConfig(Config):
    """Parameters of the estimators and the number of items that they read."""

    embedding: str = param("features", "name of the embedding that is evaluated", "usual")
    augmentation: str = param(
        "simclr", "augmentation preset of both views", "ours: the same for all methods", choices=PRESET_NAMES
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
    revision = 2  # 2: the penalty of the classifier is chosen from 1 to 1e-7
    family = "structure"

    def __init__(self, config: MIConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data with fewer than 20 train or test items, or with neither labels nor images."""
        if small := [name for name in ("train", "test") if data.splits.get(name, 0) < 20]:
            return f"needs a {small[0]} split of 20 items or more"
        return None if data.is_image else classes_skip_reason(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Fit on train, measure on test."""
        config = self.config
        parts = []
        if classes_skip_reason(frozen.data) is None:
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
        """Estimate the information on the label by a linear classifier and by nearest neighbours."""
        name = self.config.embedding
        train, train_labels = self._labelled(frozen, "train")
        test, labels = self._labelled(frozen, "test")
        scaled_train, scaled_test = standardise(train, test)
        num_classes = number_of_classes(frozen.data)
        rng = stream(frozen.seed, "mi", "validation")
        probe = fit_probe(scaled_train, train_labels, num_classes, rng, frozen.device)
        (coordinates,) = _principal(self.config.dims, train, test)
        estimates = {
            "labels": classifier_information(probe.fit.logits(scaled_test), labels),
            "labels_ross": class_information(coordinates, labels, self.config.neighbours),
        }
        return _Part(
            scores=[_score(metric, value, name, len(test)) for metric, value in estimates.items()],
            protocol=(
                f"labels: H(label) less the test loss of {PROBLEM}, features standardised, {probe.protocol}; "
                "labels_ross: by neighbours (Ross)"
            ),
            note=(
                f"H(label), the ceiling of labels: {entropy_of(labels):.3f} nats; {probe.note}; "
                f"{convergence([probe.fit])}"
            ),
        )

    def _labelled(self, frozen: Frozen, split: str) -> Pairs:
        """Return the embedding and the labels of the chosen items."""
        values, labels = labelled_embedding(frozen, split, self.config.embedding)
        chosen = self._chosen(frozen, split)
        return values[chosen], labels[chosen]

    def _chosen(self, frozen: Frozen, split: str) -> Tensor:
        """Draw positions of items in random order; a seed draws the same ones for all methods."""
        most = {"train": self.config.train_items, "test": self.config.test_items}[split]
        rng = stream(frozen.seed, "mi", split)
        return torch.randperm(frozen.data.splits[split], generator=rng)[:most]

    def _views(self, frozen: Frozen) -> "_Part":
        """Estimate the information between the embeddings of two views, and between one view and the other's pixels."""
        config = self.config
        train, test = (self._embedded_views(frozen, split) for split in ("train", "test"))
        first, second, pixels = (standardise(a, b) for a, b in zip(train, test, strict=True))
        K = min(config.candidates, len(train[0]), len(test[0]))
        critics, steps = [], []
        for target, partner in (("views", second), ("input", pixels)):
            other_dim = None if target == "views" else partner[0].shape[1]
            rng = stream(frozen.seed, "mi", target)
            with torch.random.fork_rng([]):
                torch.manual_seed(stream_seed(frozen.seed, "mi", "critic"))
                critic = PairCritic(first[0].shape[1], config.units, other_dim)
            steps.append(fit_critic(critic, (first[0], partner[0]), rng, batch_size=K, steps=config.steps))
            critics.append(critic)
        view_critic, pixel_critic = critics
        left, right = _principal(config.dims, torch.cat(train[:2]), *test[:2])
        estimates = {
            "views_infonce": held_out_info_nce(view_critic, (first[1], second[1]), K),
            "views_dv": held_out_donsker_varadhan(view_critic, (first[1], second[1])),
            "views_ksg": pair_information(left, right, min(config.neighbours, len(left) - 1)),
            "input_infonce": held_out_info_nce(pixel_critic, (first[1], pixels[1]), K),
        }
        return _Part(
            scores=[_score(metric, value, config.embedding, len(test[0])) for metric, value in estimates.items()],
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
        """Embed two views of each item; return both, (N, D), and the pixels of the second, (N, E), on the CPU."""
        method, augmentation = frozen.method(), preset(self.config.augmentation, frozen.data)
        rng = stream(frozen.seed, "mi", "augmentation", split, device=frozen.device)
        items = take(frozen.inputs(split), self._chosen(frozen, split))
        batches: list[tuple[Tensor, ...]] = []
        for batch in open_split(Split(items.inputs), frozen.device).batches(256):
            views = [augment(batch.inputs, rng, augmentation) for _ in range(2)]
            embedded = [method.embed(view)[self.config.embedding].float() for view in views]
            height, width = views[1].shape[2:]
            small = F.adaptive_avg_pool2d(views[1], (min(SIDE, height), min(SIDE, width)))
            batches.append(tuple(rows.flatten(1).cpu() for rows in (*embedded, small)))
        first, second, pixels = (torch.cat(rows) for rows in zip(*batches, strict=True))
        return first, second, pixels


@dataclass(frozen=True)
class _Part:
    """Scores on labels or on views, with their part of the protocol and a note on their ceiling."""

    scores: list[Score]
    protocol: str
    note: str


def _score(metric: str, value: float, embedding: str, n: int) -> Score:
    return Score(metric=metric, value=value, unit="nats", chance=0.0, embedding=embedding, n=n)


def _principal(dims: int, train: Tensor, *parts: Tensor) -> list[Tensor]:
    """Project features on the principal directions of the train features.

    Args:
        dims: P, at most N and D.
        train: (N, D).
        *parts: Features (M, D) to project.

    Returns:
        (M, P) for each part, scaled so that each coordinate has deviation 1 on train, or 0 if train does not vary.
    """
    from sklearn.utils.extmath import randomized_svd  # takes a second to load: only where it is used

    mean = train.double().mean(0)
    centred = (train.double() - mean).numpy()
    dims = min(dims, *centred.shape)
    _, values, directions = randomized_svd(centred, dims, random_state=0)
    deviation = values / math.sqrt(len(centred))
    scale = np.divide(1, deviation, out=np.zeros(dims), where=deviation > 1e-6 * deviation.max(initial=0))
    return [(rows.double() - mean) @ torch.from_numpy(directions.T * scale) for rows in parts]


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"mi": MI}
