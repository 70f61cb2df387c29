"""Task translation: make each modality of the test pairs from the other one, and judge what was made.

Example: the lower half of each digit, made from its upper half. It may differ from the true lower half and still be a
right one. So two things are measured: the squared error, and whether a classifier that was trained on true lower halves
gives it the class of the pair.

Source: ours; a classifier as judge, and the coherence of sampled pairs, as in Shi, Siddharth, Paige, Torr, NeurIPS
        2019, https://arxiv.org/abs/1911.03393 (cross and joint coherence).

Shapes: N pairs of the test split, M of train, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple, cast

import torch
from torch import Tensor

from bench_core import (
    MOST_IMAGES,
    BenchError,
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    PairGenerative,
    PerItem,
    Score,
    Split,
    Translating,
    hookimpl,
    param,
    stream,
)
from bench_core.data import Pair, draw_index
from bench_core.evaluation.classification import classes_skip_reason, constant_accuracy, top_hits
from bench_core.evaluation.logistic_regression import LogisticFit, LogisticProblem

PENALTY = 1e-3  # of the classifiers' squared weights
ITERATIONS = 200  # of their solver
BATCH = 500  # items that are made at once
ROW = 8  # images in a row of a picture


@dataclass(frozen=True, kw_only=True)
class TranslationConfig(Config):
    """Parameters of the task: how many items are read."""

    items: int = param(2000, "maximal number of test items, drawn evenly from the classes", "ours", ge=1)
    classifier_items: int = param(
        10_000, "maximal number of train items that the classifiers are trained on, drawn evenly", "ours", ge=2
    )


class Translation(Evaluator):
    """One modality made from the other (error, class).

    Each modality of the test pairs is made from the other one. The first score is the part of what was made that a
    classifier, trained on true items of that modality, gives the pair's class, a mean over both directions; without
    classes it is the mean squared error. Needs pairs of images or vectors, and a method that translates.
    """

    Config = TranslationConfig
    family = "generation"

    def __init__(self, config: TranslationConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip methods that do not translate, and data that are no pairs of tensors or have no test split."""
        if data.kind != "pairs" or data.modalities is None:
            return "needs pairs"
        if not issubclass(objective, Translating):
            return "does not make one modality from the other"
        if any(spec.kind not in ("image", "vector") for spec in data.modalities.values()):
            return "needs pairs of images or vectors"
        return None if "test" in data.splits else "needs a test split"

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Translate test items in both directions."""
        train, _ = _read(frozen, "train", self.config.classifier_items)
        test, index = _read(frozen, "test", self.config.items)
        method, rng = cast(Translating, frozen.method()), stream(frozen.seed, "translation", device=frozen.device)
        known, true = cast(Pair, train.inputs), cast(Pair, test.inputs)
        directions = [
            Direction("to_second", _made(method.to_second, true.first, rng, frozen.device), true.second, known.second),
            Direction("to_first", _made(method.to_first, true.second, rng, frozen.device), true.first, known.first),
        ]
        errors = [_squared_error(each.made, each.true) for each in directions]
        floors = [float(_squared_error(each.known.mean(0, keepdim=True), each.true).mean()) for each in directions]
        scores = _scores("mse", directions, errors, floors, higher_is_better=False)
        items = {"mse": PerItem(torch.stack(errors).mean(0), "test", index)}
        notes = list[str]()
        num_classes = frozen.data.num_classes
        if num_classes is not None and classes_skip_reason(frozen.data) is None:
            assert train.labels is not None, "the data has classes"
            assert test.labels is not None, "the data has classes"
            judges = [_classifier(each.known, train.labels, num_classes, frozen.device) for each in directions]
            hits = [
                top_hits(_judged(judge, each.made), test.labels) for judge, each in zip(judges, directions, strict=True)
            ]
            level = constant_accuracy(train.labels, test.labels, num_classes, 1)
            scores = _scores("accuracy", directions, hits, [level, level], higher_is_better=True) + scores
            items["accuracy"] = PerItem(torch.stack(hits).mean(0), "test", index)
            for judge, each in zip(judges, directions, strict=True):
                right = float(top_hits(_judged(judge, each.true), test.labels).mean())
                notes.append(f"{each.name}: the classifier is right on {right:.1%} of the true test items")
            if isinstance(method, PairGenerative):
                scores.append(_coherence(method, judges, len(index), rng))
        assert frozen.data.modalities is not None, "pairs have modalities"
        first, second = frozen.data.modalities
        return Evaluation(
            scores=scores,
            protocol=(
                f"{len(index):,} pairs of test (first: {first}, second: {second}), each modality made from the other "
                "with random private parts; values of images in [0, 1]; mse: mean over values and pairs, chance: the "
                f"mean train item; accuracy: by logistic regression on the values of {len(known):,} true train items "
                f"(penalty {PENALTY:g}, at most {ITERATIONS} iterations), chance: the most frequent class; without a "
                f"direction: mean over both; coherence: part of {len(index):,} sampled pairs whose halves get one "
                "class by these classifiers"
            ),
            notes=notes,
            images={each.name: _picture(each) for each in directions if each.true.ndim == 4},
            items=items,
        )


class Direction(NamedTuple):
    """One direction of translation, and what its results are compared with.

    Attributes:
        name: End of the metrics' names.
        made: (N, ...) items that the method made.
        true: (N, ...) the true items of the same pairs.
        known: (M, ...) train items of the same modality.
    """

    name: str
    made: Tensor
    true: Tensor
    known: Tensor


def _read(frozen: Frozen, name: str, most: int) -> tuple[Split, Tensor]:
    """Read at most this many items of a split, balanced over classes, as float32; and their positions (N,)."""
    split = frozen.inputs(name)
    index = draw_index(split.labels, len(split), min(most, len(split)))
    labels = None if split.labels is None else split.labels[index]
    pairs = split.read(index)
    return Split(Pair(_float(pairs.first), _float(pairs.second)), labels), index


def _float(values: Tensor) -> Tensor:
    return values.float() / 255 if values.dtype == torch.uint8 else values.float()


@torch.inference_mode()
def _made(
    translate: Callable[[Tensor, torch.Generator], Tensor], source: Tensor, rng: torch.Generator, device: torch.device
) -> Tensor:
    """Translate items (N, ...) in batches.

    Raises:
        BenchError: A value is not finite.
    """
    made = torch.cat([translate(part.to(device), rng).float().cpu() for part in torch.split(source, BATCH)])
    if not made.isfinite().all():
        raise BenchError("the method makes items that are not finite; its training has diverged.")
    return made


def _squared_error(made: Tensor, true: Tensor) -> Tensor:
    """Return the mean squared error (N,) of each item."""
    return (made - true).square().flatten(1).mean(1)


def _scores(
    metric: str, directions: Sequence[Direction], values: Sequence[Tensor], chances: Sequence[float], *,
    higher_is_better: bool,
) -> list[Score]:  # fmt: skip
    """Return the mean over both directions, and a score for each of them.

    Args:
        metric: "accuracy" or "mse".
        directions: Both directions.
        values: Values (N,) of the items, by direction.
        chances: Chance level of each direction.
        higher_is_better: True for an accuracy.
    """
    names = [metric, *(f"{metric}_{each.name}" for each in directions)]
    means = [float(each.mean()) for each in values]
    return [
        Score(
            metric=name, value=value, chance=level, n=len(values[0]), embedding="first, second",
            unit="fraction" if higher_is_better else "squared error", higher_is_better=higher_is_better,
            best=None if higher_is_better else 0.0,
        )
        for name, value, level in zip(names, [fmean(means), *means], [fmean(chances), *chances], strict=True)
    ]  # fmt: skip


def _classifier(items: Tensor, labels: Tensor, num_classes: int, device: torch.device) -> LogisticFit:
    return LogisticProblem(items.flatten(1), labels, num_classes, device).solve(PENALTY, ITERATIONS)


def _judged(classifier: LogisticFit, items: Tensor) -> Tensor:
    """Return class scores (N, K) of items (N, ...)."""
    return classifier.logits(items.flatten(1))


@torch.inference_mode()
def _coherence(method: PairGenerative, judges: Sequence[LogisticFit], n: int, rng: torch.Generator) -> Score:
    """Return the part of sampled pairs whose two modalities get one class.

    Chance is what partners of other pairs would get.
    """
    sizes = [min(BATCH, n - start) for start in range(0, n, BATCH)]
    second, first = (
        torch.cat(parts).cpu() for parts in zip(*(method.sample_pairs(k, rng)[::-1] for k in sizes), strict=True)
    )
    classes = [_judged(judge, items).argmax(1) for judge, items in zip(judges, (second, first), strict=True)]
    shares = [each.bincount(minlength=judges[0].bias.numel()).double() / n for each in classes]
    same = (classes[0] == classes[1]).double().mean()
    return Score(metric="coherence", value=float(same), chance=float(shares[0] @ shares[1]), n=n, embedding="latent")


def _picture(direction: Direction) -> Tensor:
    """Return rows of true items, each above what was made for the same pairs; (64, C, H, W) uint8 at most."""
    count = min(MOST_IMAGES // 2, len(direction.true)) // ROW * ROW or len(direction.true)
    true, made = (torch.split(items[:count], ROW) for items in (direction.true, direction.made))
    rows = [part for pair in zip(true, made, strict=True) for part in pair]
    return (torch.cat(rows).clamp(0, 1) * 255).round().to(torch.uint8)


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"translation": Translation}
