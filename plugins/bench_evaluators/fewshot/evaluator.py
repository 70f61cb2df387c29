"""Task fewshot: linear probe and fine-tuning on 1 % and 10 % of the labels; episodes with 1 or 5 labels a class.

Each subset of the labels is balanced over classes and drawn several times; a seed draws the same subsets for all
methods, and a smaller subset lies within a larger one. Episodes take classes and items from test, on which no method
was trained.

Source: 1 % and 10 % of the labels: SimCLR, https://arxiv.org/abs/2002.05709, whose lists of images are balanced over
        classes. Fine-tuning: `bench_core.evaluation.fine_tuning`; episodes: `bench_evaluators.fewshot.episodes`.

Shapes: N items, D features, K classes.
"""

from dataclasses import dataclass
from statistics import fmean

import torch
import torch.nn.functional as F

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
from bench_core.data import take
from bench_core.evaluation.classification import classes_skip_reason, constant_accuracy, number_of_classes, top_accuracy
from bench_core.evaluation.embeddings import labelled_embedding
from bench_core.evaluation.fine_tuning import answers, describe, fine_tune
from bench_core.evaluation.intervals import t_halfwidth
from bench_core.evaluation.linear_probe import FIXED_PENALTY, scaled, shuffled_ranks
from bench_core.evaluation.logistic_regression import LogisticProblem
from bench_core.views import PRESET_NAMES

from .episodes import centroid_accuracy, draw_episodes

Measured = tuple[Score, list[float]]  # a mean, and the values of all draws or episodes


@dataclass(frozen=True, kw_only=True)
class FewshotConfig(Config):
    """Parameters of the few-label tests. All are fixed: a handful of labels leaves no part to choose them on."""

    percents: tuple[int, ...] = param(
        (1, 10), "percentages of the training labels that are used; at least one label a class", "SimCLR", ge=1, le=100
    )
    draws: int = param(
        5, "number of random subsets of each size, averaged", "ours: one draw moves by some per cent", ge=1
    )
    penalty: float = param(FIXED_PENALTY, "penalty of the linear probe, per item", "as linear with few labels", gt=0)
    steps: int = param(120, "optimiser steps of fine-tuning", "ours: seconds on a CPU; more raise it on MNIST", ge=1)
    batch_size: int = param(32, "images in a step of fine-tuning", "SwAV, on each of its devices", ge=2)
    learning_rate: float = param(
        0.03,
        "peak learning rate of fine-tuning",
        "ours: one label a class asks for less, a hundred for more",
        gt=0,
    )
    augmentation: str = param(
        "crop_flip",
        "augmentation preset of the images in fine-tuning",
        "SimCLR and SwAV, fine-tuning",
        choices=PRESET_NAMES,
    )
    test_items: int = param(
        2000, "maximal number of test items that a fine-tuned copy classifies, drawn at random", "ours: seconds", ge=1
    )
    ways: int = param(5, "classes in an episode; at most all classes", "Chen et al. 2019", ge=2)
    shots: tuple[int, ...] = param(
        (1, 5), "labelled items of each class in an episode", "Chen et al. 2019", ge=1, le=10**6
    )
    queries: int = param(
        15,
        "items of each class to classify in an episode; fewer where a class is small",
        "Chen et al. 2019, test.py",
        ge=1,
    )
    episodes: int = param(600, "number of episodes, drawn from test and averaged", "Chen et al. 2019, test.py", ge=1)

    def __post_init__(self) -> None:
        """Check ranges, and that `percents` and `shots` are one or more different numbers."""
        super().__post_init__()
        for name in ("percents", "shots"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must be one or more different numbers, got {values}")


class Fewshot(Evaluator):
    """Accuracy with few labels: 1 %, 10 %, episodes.

    A linear probe and a fine-tuned copy of the encoder learn from 1 % and 10 % of the training labels, averaged over
    random draws. In an episode, test items are classified by the nearest mean of one or five labelled items of each
    class. Scores are accuracies on the test split. Needs one class for each item, and a train and a test split.
    """

    Config = FewshotConfig
    family = "classification"

    def __init__(self, config: FewshotConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without one class for each item, or without a train or test split."""
        return classes_skip_reason(data)

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Train on few labels of train, then classify in episodes of test."""
        config = self.config
        subsets, sizes = self._subsets(frozen)
        episodes, episode_notes = self._episodes(frozen)
        notes = [f"{percent} %: {size}" for percent, size in sizes.items()] + episode_notes
        for metrics, count, unit in ((subsets, config.draws, "draws"), (episodes, config.episodes, "episodes")):
            for metric, (_, values) in metrics.items():
                if (half := t_halfwidth(values)) is not None:
                    notes.append(f"{metric}: ± {100 * half:.2f} points, 95 % t interval over {count} {unit}")
        tuned = min(config.test_items, len(frozen.splits["test"].labels))  # type: ignore[arg-type]  # see skip_reason
        return Evaluation(
            scores=[score for score, _ in (subsets | episodes).values()],
            protocol=(
                f"test split; labels of train balanced over classes, mean of {config.draws} seeded draws; linear: "
                f"features standardised on train, logistic regression (softmax), penalty {config.penalty:g} fixed; "
                f"finetuned: a copy of the encoder with a linear head, {config.steps:,} steps of at most "
                f"{config.batch_size} items, peak rate {config.learning_rate:g} fixed, "
                f"{describe(config.augmentation, frozen.data)}, on {tuned:,} test items by seed, the same for all "
                "methods; chance of these two: always the most frequent class; centroid: "
                f"{config.episodes:,} episodes, classes and items from test, at most {config.queries} queries a class, "
                "features centred on train and of length 1, nearest mean of the shots (Euclidean)"
            ),
            notes=notes,
            curves={"draws": {"draw": list(range(config.draws))} | {m: values for m, (_, values) in subsets.items()}},
        )

    def _subsets(self, frozen: Frozen) -> tuple[dict[str, Measured], dict[int, str]]:
        """Train a linear probe and a fine-tuned copy on each draw of each percentage of the labels.

        Returns:
            Metric -> score and accuracy of each draw; and percentage -> its number of labels, in words.
        """
        config = self.config
        train, train_labels = labelled_embedding(frozen, "train", "features")
        test, labels = labelled_embedding(frozen, "test", "features")
        scaled_train, scaled_test = scaled(train, test, frozen.memory)
        num_classes = number_of_classes(frozen.data)
        order = torch.randperm(len(labels), generator=stream(frozen.seed, "fewshot", "test"))
        tested = order[: config.test_items].sort()[0]  # items that the fine-tuned copies classify
        images, queries = frozen.inputs("train"), take(frozen.inputs("test"), tested)
        encoder = frozen.method().encoder
        measured: dict[str, Measured] = {}
        sizes = {}
        for percent in config.percents:
            count = max(1, round(len(train_labels) * percent / 100 / num_classes))
            linear, tuned = [], []
            for draw in map(str, range(config.draws)):
                drawn = shuffled_ranks(train_labels, stream(frozen.seed, "fewshot", "draw", draw)) < count
                problem = LogisticProblem(scaled_train[drawn], train_labels[drawn], num_classes)
                linear.append(top_accuracy(problem.solve(config.penalty).logits(scaled_test), labels))
                model = fine_tune(
                    encoder, take(images, drawn.nonzero().squeeze(1)), frozen.data, num_classes,
                    steps=config.steps, batch_size=config.batch_size, learning_rate=config.learning_rate,
                    augmentation=config.augmentation, device=frozen.device,
                    seed=stream_seed(frozen.seed, "fewshot", "finetuned", draw),
                )  # fmt: skip
                tuned.append(top_accuracy(answers(model, queries, frozen.device), labels[tested]))
            sizes[percent] = f"{count:,} of each class, {int(drawn.sum()):,} labels in all"
            for name, values, answered in (("linear", linear, labels), ("finetuned", tuned, labels[tested])):
                chance = constant_accuracy(train_labels[drawn], answered, num_classes)
                metric = f"{name}_{percent}_percent"
                score = Score(metric=metric, value=fmean(values), chance=chance, n=len(answered))
                measured[metric] = score, values
        return measured, sizes

    def _episodes(self, frozen: Frozen) -> tuple[dict[str, Measured], list[str]]:
        """Classify by nearest centroids, with the same classes and queries for each number of shots.

        Returns:
            Metric -> score and accuracy of each episode; and notes.
        """
        config = self.config
        train, _ = labelled_embedding(frozen, "train", "features")
        test, labels = labelled_embedding(frozen, "test", "features")
        largest = torch.bincount(labels).sort(descending=True).values
        ways = min(config.ways, int((largest > max(config.shots)).sum()))
        if ways < 2:
            return {}, [f"no episodes: they need two test classes of more than {max(config.shots)} items"]
        queries = min(config.queries, int(largest[ways - 1]) - max(config.shots))
        rng = stream(frozen.seed, "fewshot", "episodes")
        index = draw_episodes(labels, ways, max(config.shots) + queries, config.episodes, rng)
        features = F.normalize(test - train.mean(0), dim=1)
        measured: dict[str, Measured] = {}
        for shots in config.shots:
            # The queries are the last items of each class, the same for every number of shots.
            kept = torch.cat((index[..., :shots], index[..., -queries:]), -1)
            values = centroid_accuracy(features, kept, shots).tolist()
            metric = f"centroid_{ways}_way_{shots}_shot"
            measured[metric] = Score(metric=metric, value=fmean(values), chance=1 / ways, n=len(labels)), values
        return measured, [] if queries == config.queries else [f"{queries} queries a class: test classes are small"]


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"fewshot": Fewshot}
