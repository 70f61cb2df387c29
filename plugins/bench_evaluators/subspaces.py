"""Task subspaces: measure how far classes lie in subspaces of their own, and classify by the nearest subspace.

Source: Dai et al., "CTRL", Entropy 2022, https://www.mdpi.com/1099-4300/24/4/456, whose authors classify by the nearest
        subspace and show that classes are orthogonal. The overlap as one number is ours.
Code:   https://github.com/Delay-Xili/LDR/blob/4c6098a/test_acc.py (principal directions of each class, residuals)

Shapes: N items, D features, K classes, r directions.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Config, DataSpec, Evaluation, Evaluator, Frozen, Objective, Score, hookimpl, param, stream
from bench_core.evaluation.classification import class_items, class_scores, classes_skip_reason, number_of_classes
from bench_core.evaluation.embeddings import labelled_embedding, loss_embedding_name


@dataclass(frozen=True, kw_only=True)
class SubspacesConfig(Config):
    """Parameters of the task: embedding, and number of directions of a class."""

    embedding: str | None = param(
        None, "name of the embedding that is evaluated; none: `embedding`, else `latent`, else `features`", "ours"
    )
    directions: int = param(
        10,
        "principal directions of a class that the classifier keeps; at most half of the dimensions",
        "CTRL's code; the limit is ours",
        ge=1,
    )


class Subspaces(Evaluator):
    """Overlap of the classes' subspaces (CTRL).

    The first score is 0 where different classes are orthogonal, and 1 where they have the same directions. The accuracy
    of a classifier that picks the class whose principal directions leave the least of an item follows. Items are scaled
    to length 1. Needs one class for each item, and a train and a test split.
    """

    Config = SubspacesConfig
    ranks = False

    def __init__(self, config: SubspacesConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without one class for each item, or without a train or test split."""
        return classes_skip_reason(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Measure the overlap on test items, and classify them by directions of train items."""
        name = self.config.embedding or loss_embedding_name(frozen.splits["test"])
        train, train_labels = labelled_embedding(frozen, "train", name)
        test, labels = labelled_embedding(frozen, "test", name)
        items, count = F.normalize(test.double(), dim=1), number_of_classes(frozen.data)
        order = torch.randperm(len(labels), generator=stream(frozen.seed, "subspaces", "chance"))
        kept = min(self.config.directions, max(1, train.shape[1] // 2))
        left = residuals(items, F.normalize(train.double(), dim=1), train_labels, count, kept)
        accuracy = class_scores([-left], labels, train_labels, count, name)
        return Evaluation(
            scores=[
                Score(
                    metric="overlap", value=overlap(items, labels), unit="index", higher_is_better=False,
                    chance=overlap(items, labels[order]), best=0.0, embedding=name, n=len(items),
                ),
                *accuracy,
            ],
            protocol=(
                f"{name} in float64, rows of length 1, not centred; overlap: of test items, mean squared cosine of two "
                "classes over the geometric mean of those inside each, mean over pairs of classes, chance: shuffled "
                f"labels; top1: the class whose {kept} first principal directions of train items leave the least of "
                "a test item, chance: always the most frequent training class"
            ),
            items=class_items([-left], labels),
        )  # fmt: skip


def overlap(items: Tensor, labels: Tensor) -> float:
    """Return the overlap of classes: 0 if all are orthogonal, 1 if all have the same second moments.

    The mean squared cosine between the items of two classes is the inner product of their second moments; divided by
    the lengths of both it is the cosine of the two matrices. The mean is over pairs of classes that have items; with
    one class it is 1.

    Args:
        items: (N, D) float64 of length 1.
        labels: Classes (N,) int64.
    """
    classes = range(int(labels.max()) + 1)
    moments = [rows.T @ rows / len(rows) for c in classes if len(rows := items[labels == c])]
    flat = F.normalize(torch.stack(moments).flatten(1), dim=1)
    first, second = torch.triu_indices(len(flat), len(flat), 1)
    return float((flat @ flat.T)[first, second].mean()) if len(first) else 1.0


def residuals(items: Tensor, train: Tensor, labels: Tensor, num_classes: int, directions: int) -> Tensor:
    """Return what the principal directions of each class leave of items, squared lengths (N, K); inf without items.

    Args:
        items: (N, D) float64.
        train: (M, D) float64.
        labels: Classes (M,) int64 of the train items.
        num_classes: Number of classes K.
        directions: Number r of directions, at most D; a class of fewer items has as many as items.
    """
    left = items.new_full((len(items), num_classes), torch.inf)
    for c in range(num_classes):
        if len(rows := train[labels == c]):
            _, vectors = torch.linalg.eigh(rows.T @ rows)
            basis = vectors[:, -min(directions, len(rows)) :]
            left[:, c] = (items - items @ basis @ basis.T).square().sum(1)
    return left


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"subspaces": Subspaces}
