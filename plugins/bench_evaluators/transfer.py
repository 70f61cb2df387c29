"""Task transfer: probe the features on a dataset on which the method was not trained.

Papers: Kornblith, Shlens, Le, CVPR 2019, https://arxiv.org/abs/1805.08974, and Chen et al. (SimCLR), ICML 2020,
        https://arxiv.org/abs/2002.05709, for linear probes on other datasets; protocol and probe are ours
        (`bench_core.evaluation.linear_probe`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

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
from bench_core.evaluation.classification import class_scores, classes_skip_reason
from bench_core.evaluation.embeddings import labelled_embedding
from bench_core.evaluation.knn import choose_k, knn_answers
from bench_core.evaluation.linear_probe import (
    PROBLEM,
    SOLVER,
    ChosenFit,
    convergence,
    fit_probe,
    standardise,
)
from bench_core.evaluation.other_datasets import colours_skip_reason, embed_images, fitted

_PIXELS = "raw pixels"  # name of an embedding beside those of the method, none of which has a space


@dataclass(frozen=True, kw_only=True)
class TransferConfig(Config):
    """Parameters of both probes. Defaults are those of `linear` and `knn`, on a dataset that needs no download."""

    dataset: str = param(
        "digits", "name of the other dataset, which is read with its defaults", "ours: bundled with scikit-learn"
    )
    embedding: str = param("features", "name of the embedding that is evaluated", "usual")
    k: int | None = param(
        None,
        "number of nearest training items that vote; at most all of them; none takes 200, or as many as the smallest "
        "class has if that is less",
        "as knn",
        ge=1,
    )
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
    revision = 2  # 2: the grid of penalties goes from 1 to 1e-7; k is at most the smallest class unless set
    family = "classification"

    def __init__(self, config: TransferConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without images of one or three channels, and the dataset on which the method was trained."""
        if reason := colours_skip_reason(data):
            return reason
        return f"{data.name} is what the method was trained on" if data.name == self.config.dataset else None

    def datasets(self, data: DataSpec) -> Sequence[str]:
        """Return the name of the other dataset."""
        return [self.config.dataset]

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Fit probes on the other dataset's train split and score them on its test split."""
        config, other_data = self.config, frozen.others[self.config.dataset]
        if reason := classes_skip_reason(other_data.data):
            raise BenchError(f"transfer to {config.dataset}: {reason}.")
        target = replace(frozen, splits={split: self._embed(frozen, split) for split in ("train", "test")})
        num_classes = other_data.data.num_classes or 0
        train_labels = target.splits["train"].labels
        assert train_labels is not None, "the other dataset has classes"
        k, k_notes = choose_k(config.k, train_labels)
        learned, probe = self._probe(target, config.embedding, num_classes, k)
        floor, pixel_probe = self._probe(target, _PIXELS, num_classes, k)
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
        n, m = (len(part.embeddings[_PIXELS]) for part in target.splits.values())
        return Evaluation(
            scores=[*learned, *gains],
            protocol=(
                f"{config.dataset}: {n:,} of {other_data.data.splits['train']:,} training and {m:,} of "
                f"{other_data.data.splits['test']:,} test items, drawn by seed, brought to "
                f"{'x'.join(map(str, frozen.data.shape))} (bilinear, antialiased); linear: features standardised on "
                f"these training items, {PROBLEM}; {probe.protocol}; {SOLVER}; knn: k={k}, cosine, "
                f"votes exp(cosine / {config.temperature:g}), equal votes and none as in the task knn; chance: always "
                "the most frequent training class; over_pixels: less what the same probe makes of the pixels"
            ),
            notes=[
                f"pixels: {', '.join(f'{score.metric} {score.value:.4f}' for score in floor)}",
                f"{config.embedding}: {probe.note}; {convergence([probe.fit])}",
                f"pixels: {pixel_probe.note}; {convergence([pixel_probe.fit])}",
                *k_notes,
            ],
        )

    def _embed(self, frozen: Frozen, split: str) -> Embedded:
        """Embed random items of a split of the other dataset, and add their pixels in the method's image size."""
        source = frozen.others[self.config.dataset].load(split)
        most = self.config.train_items if split == "train" else self.config.test_items
        order = torch.randperm(len(source), generator=stream(frozen.seed, "transfer", "items", split))
        chosen = take(source, order[:most].sort().values)
        images = fitted(chosen.read(torch.arange(len(chosen))), frozen.data.shape)
        embedded = embed_images(frozen, Split(images, chosen.labels))
        pixels = images.flatten(1) / 255 if images.dtype == torch.uint8 else images.flatten(1)
        return replace(embedded, embeddings={**embedded.embeddings, _PIXELS: pixels})

    def _probe(self, target: Frozen, embedding: str, num_classes: int, k: int) -> tuple[list[Score], ChosenFit]:
        """Fit the linear probe and the vote, and score both on test.

        Args:
            target: The other dataset, embedded.
            embedding: Name of the embedding.
            num_classes: Classes of the other dataset.
            k: Number of neighbours that vote.

        Returns:
            `linear_top1` and `knn_top1` (top5, too, with more than 10 classes); and the linear fit.
        """
        config, device = self.config, target.device
        train, train_labels = labelled_embedding(target, "train", embedding)
        test, labels = labelled_embedding(target, "test", embedding)
        scaled_train, scaled_test = standardise(train, test)
        rng = stream(target.seed, "transfer", "validation")
        linear = fit_probe(scaled_train, train_labels, num_classes, rng, device)
        votes = knn_answers(test, train, train_labels, num_classes, k=k, temperature=config.temperature, device=device)
        scores = []
        for probe, answers in (("linear", linear.fit.logits(scaled_test)), ("knn", votes)):
            for score in class_scores([answers], labels, train_labels, num_classes, embedding):
                scores.append(replace(score, metric=f"{probe}_{score.metric}"))
        return scores, linear


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"transfer": Transfer}
