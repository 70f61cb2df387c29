"""Transfer: what features that were learned on one data set are worth on another, that was never seen.

Papers: Kornblith, Shlens, Le, CVPR 2019, https://arxiv.org/abs/1805.08974, and Chen et al. (SimCLR), ICML 2020,
        https://arxiv.org/abs/2002.05709, for linear probes on other data sets; protocol and probe are ours
        (`bench_core.evaluation.linear_probe`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench_core import (
    BenchError,
    Config,
    DataSpec,
    Embedded,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    Score,
    Split,
    hookimpl,
    param,
    stream,
)
from bench_core.data import take
from bench_core.evaluation.classification import class_scores, why_no_classes
from bench_core.evaluation.embeddings import labelled
from bench_core.evaluation.knn import knn_answers
from bench_core.evaluation.linear_probe import (
    PROBLEM,
    SOLVER,
    Chosen,
    convergence,
    fit_probe,
    standardise,
)
from bench_core.evaluation.other_datasets import embed_images, fitted

_PIXELS = "raw pixels"  # beside the method's embeddings; no method can call one so


@dataclass(frozen=True, kw_only=True)
class TransferConfig(Config):
    """Parameters of both probes. Defaults are those of `linear` and `knn`, on a dataset that needs no download."""

    dataset: str = param(
        "digits", "name of the other dataset, which is read with its defaults", "ours: bundled with scikit-learn"
    )
    embedding: str = param("features", "name of the embedding that is evaluated", "usual")
    k: int = param(200, "number of nearest training items that vote; at most all of them", "as knn", ge=1)
    temperature: float = param(0.1, "a neighbour's vote weighs exp(cosine / temperature)", "as knn", gt=0)
    train_items: int = param(
        5_000, "maximal number of the other dataset's training items, drawn at random", "ours: seconds on a CPU", ge=1
    )
    test_items: int = param(
        5_000, "maximal number of the other dataset's test items, drawn at random", "ours: seconds on a CPU", ge=1
    )


class Transfer(Evaluator):
    """Linear and kNN accuracy on another dataset.

    Images of a dataset on which the method was not trained are embedded; a linear probe and a vote of nearest
    neighbours learn from its train split. Scores are accuracies on its test split, and what they gain over the same
    probes on raw pixels, in points. Needs images.
    """

    Config = TransferConfig

    def __init__(self, config: TransferConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Images, and another data set than the method's."""
        if not data.is_image:
            return "needs images"
        return f"{data.name} is what the method was trained on" if data.name == self.config.dataset else None

    def datasets(self, data: DataSpec) -> Sequence[str]:
        """The other one."""
        return [self.config.dataset]

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Probes are fitted on the other train split and scored on the other test split."""
        config, other = self.config, frozen.others[self.config.dataset]
        if reason := why_no_classes(other.data):
            raise BenchError(f"transfer to {config.dataset}: {reason}.")
        there = replace(frozen, splits={split: self._part(frozen, split) for split in ("train", "test")})
        num_classes = other.data.num_classes or 0
        learned, chosen = self._probed(there, config.embedding, num_classes)
        floor, _ = self._probed(there, _PIXELS, num_classes)
        gains = [
            Score(
                metric=f"{score.metric}_over_pixels",
                value=100 * (score.value - raw.value),
                unit="points",
                embedding=config.embedding,
                n=score.n,
            )
            for score, raw in zip(learned, floor, strict=True)
            if score.metric.endswith("top1")
        ]
        n, m = (len(part.embeddings[_PIXELS]) for part in there.splits.values())
        return Evaluation(
            scores=[*learned, *gains],
            protocol=(
                f"{config.dataset}: {n:,} of {other.data.splits['train']:,} training and {m:,} of "
                f"{other.data.splits['test']:,} test items, drawn by seed, brought to "
                f"{'x'.join(map(str, frozen.data.shape))} (bilinear, antialiased); linear: features standardised on "
                f"these training items, {PROBLEM}; {chosen.protocol}; {SOLVER}; knn: k={min(config.k, n)}, cosine, "
                f"votes exp(cosine / {config.temperature:g}); chance: always the most frequent training class; "
                "over_pixels: less what the same probe makes of the pixels"
            ),
            notes=[
                f"pixels: {', '.join(f'{score.metric} {score.value:.4f}' for score in floor)}",
                chosen.note,
                convergence([chosen.fit]),
            ],
        )

    def _part(self, frozen: Frozen, split: str) -> Embedded:
        """Items of a split of the other data through the method's eyes, and their pixels as it sees them."""
        whole = frozen.others[self.config.dataset].load(split)
        most = self.config.train_items if split == "train" else self.config.test_items
        order = torch.randperm(len(whole), generator=stream(frozen.seed, "transfer", "items", split))
        chosen = take(whole, order[:most].sort().values)
        inputs = chosen.inputs if isinstance(chosen.inputs, Tensor) else chosen.inputs.read(torch.arange(len(chosen)))
        images = fitted(inputs, frozen.data.shape)
        found = embed_images(frozen, Split(images, chosen.labels))
        return replace(found, embeddings={**found.embeddings, _PIXELS: images.flatten(1) / 255})

    def _probed(self, there: Frozen, embedding: str, num_classes: int) -> tuple[list[Score], Chosen]:
        """`linear_top1`, `knn_top1`, and top5 of both where there are more than 10 classes; and the linear fit."""
        config, device = self.config, there.device
        (train, known), (test, labels) = (labelled(there, split, embedding) for split in ("train", "test"))
        scaled, asked = standardise(train, test)
        chosen = fit_probe(scaled, known, num_classes, stream(there.seed, "transfer", "validation"), device)
        k = min(config.k, len(train))
        votes = knn_answers(test, train, known, num_classes, k=k, temperature=config.temperature, device=device)
        scores = [
            replace(score, metric=f"{probe}_{score.metric}")
            for probe, answers in (("linear", chosen.fit.logits(asked)), ("knn", votes))
            for score in class_scores([answers], labels, known, num_classes, embedding)
        ]
        return scores, chosen


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"transfer": Transfer}
