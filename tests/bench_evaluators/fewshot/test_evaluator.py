import math
from collections.abc import Callable
from statistics import fmean
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from bench_core import DataSpec, Encoder, Evaluation, Frozen, NoConfig, Objective, Split
from bench_core.conformance.toys import TinyEncoder
from bench_evaluators.fewshot import evaluator as fewshot
from bench_evaluators.fewshot.evaluator import Fewshot, FewshotConfig
from bench_methods.references import Flat

FreezeEncoder = Callable[..., Frozen]
CLASSES = 6
DATA = DataSpec(shape=(1, 8, 8), splits={"train": 240, "test": 150}, num_classes=CLASSES, views="glyph")
SHORT: dict[str, Any] = {"draws": 3, "steps": 4, "episodes": 60, "test_items": 40}


def spots(count: int, seed: int, noise: int = 120) -> Split:
    """Draw a bright patch on noise; its place is the class."""
    labels = torch.arange(count) % CLASSES
    images = torch.randint(0, noise, (count, 1, 8, 8), generator=torch.Generator().manual_seed(seed))
    for k in range(CLASSES):
        images[labels == k, :, 4 * (k // 3) : 4 * (k // 3) + 3, 2 * (k % 3) : 2 * (k % 3) + 3] += 100
    return Split(images.to(torch.uint8), labels)


def splits() -> dict[str, Split]:
    return {"train": spots(240, 0), "test": spots(150, 1)}


def encoder(seed: int = 0) -> Encoder:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return TinyEncoder(DATA)


def few(frozen: Frozen, **changes: Any) -> Evaluation:
    return Fewshot(FewshotConfig(**SHORT | changes)).evaluate(frozen)


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


def test_order_and_chances_of_scores(freeze_encoder: FreezeEncoder) -> None:
    scores = few(freeze_encoder(encoder(), splits(), CLASSES)).scores
    assert [(s.metric, s.n, round(s.chance or 0, 3)) for s in scores] == [
        ("linear_1_percent", 150, 0.167),
        ("finetuned_1_percent", 40, pytest.approx(1 / 6, abs=0.1)),
        ("linear_10_percent", 150, 0.167),
        ("finetuned_10_percent", 40, pytest.approx(1 / 6, abs=0.1)),
        ("centroid_5_way_1_shot", 150, 0.2),
        ("centroid_5_way_5_shot", 150, 0.2),
    ]


def test_more_labels_help_and_pixels_are_above_chance(freeze_encoder: FreezeEncoder) -> None:
    scores = values(few(freeze_encoder(Flat(DATA, NoConfig()), splits(), CLASSES), steps=40))
    assert 0.3 < scores["linear_1_percent"] < scores["linear_10_percent"]
    assert 0.3 < scores["finetuned_1_percent"] <= scores["finetuned_10_percent"]
    assert 0.3 < scores["centroid_5_way_1_shot"] < scores["centroid_5_way_5_shot"]


def test_images_without_classes_are_at_chance(freeze_encoder: FreezeEncoder) -> None:
    noise = {
        name: Split(spots(len(split), seed=5 + len(split)).inputs, split.labels[torch.randperm(len(split))])  # type: ignore[index]  # they have labels
        for name, split in splits().items()
    }
    scores = values(few(freeze_encoder(encoder(), noise, CLASSES)))
    assert all(value < 0.33 for value in scores.values())


def test_subsets_are_balanced_nested_and_equal_for_all_methods(
    freeze_encoder: FreezeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tensor] = []
    known = {bytes(image.numpy().tobytes()): k for k, image in enumerate(splits()["train"].inputs)}  # type: ignore[arg-type]  # in memory

    def watched(encoder: Encoder, split: Split, *rest: Any, **named: Any) -> nn.Module:
        assert isinstance(split.inputs, Tensor)
        seen.append(torch.tensor([known[image.numpy().tobytes()] for image in split.inputs]))
        return nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))

    monkeypatch.setattr(fewshot, "fine_tune", watched)
    for method in (encoder(0), Flat(DATA, NoConfig())):
        few(freeze_encoder(method, splits(), CLASSES), draws=2)
    labels = splits()["train"].labels
    assert labels is not None
    assert [torch.bincount(labels[part]).tolist() for part in seen[:4]] == [[1] * 6, [1] * 6, [4] * 6, [4] * 6]
    for small, large in ((seen[0], seen[2]), (seen[1], seen[3])):
        assert set(small.tolist()) < set(large.tolist())
    assert not torch.equal(seen[2], seen[3])
    assert all(torch.equal(first, second) for first, second in zip(seen[:4], seen[4:], strict=True))
    seen.clear()
    few(freeze_encoder(encoder(), splits(), CLASSES, seed=1), draws=1, percents=(10,))
    assert len(seen) == 1


def test_linear_probe_equals_the_task_linear_with_as_many_labels(freeze_encoder: FreezeEncoder) -> None:
    scores = values(few(freeze_encoder(Flat(DATA, NoConfig()), splits(), CLASSES), percents=(100,), draws=1))
    from sklearn.linear_model import LogisticRegression

    frozen = freeze_encoder(Flat(DATA, NoConfig()), splits(), CLASSES)
    train, test = (frozen.splits[name].embeddings["features"].double() for name in ("train", "test"))
    mean, std = train.mean(0), train.std(0, correction=0)
    model = LogisticRegression(C=1 / (0.01 * 240), tol=1e-8, max_iter=10_000)
    model.fit(((train - mean) / std).numpy(), frozen.splits["train"].labels.numpy())  # type: ignore[union-attr]  # they have labels
    right = model.score(((test - mean) / std).numpy(), frozen.splits["test"].labels.numpy())  # type: ignore[union-attr]  # they have labels
    assert scores["linear_100_percent"] == pytest.approx(right, abs=1 / 150)


def test_intervals_are_t_intervals_over_draws(freeze_encoder: FreezeEncoder) -> None:
    evaluation = few(freeze_encoder(encoder(), splits(), CLASSES))
    curve = evaluation.curves["draws"]
    assert curve["draw"] == [0, 1, 2]
    first = list(curve["linear_10_percent"])
    assert values(evaluation)["linear_10_percent"] == pytest.approx(fmean(first))
    deviation = math.sqrt(sum((value - fmean(first)) ** 2 for value in first) / 2)
    half = 100 * float(stats.t.ppf(0.975, 2)) * deviation / math.sqrt(3)
    assert f"linear_10_percent: ± {half:.2f} points, 95 % t interval over 3 draws" in evaluation.notes
    assert any(note.endswith("95 % t interval over 60 episodes") for note in evaluation.notes)
    assert "10 %: 4 of each class, 24 labels in all" in evaluation.notes


def test_a_seed_gives_one_result_and_another_seed_another(freeze_encoder: FreezeEncoder) -> None:
    frozen = freeze_encoder(encoder(), splits(), CLASSES)
    assert few(frozen) == few(frozen)
    assert values(few(freeze_encoder(encoder(), splits(), CLASSES, seed=1))) != values(few(frozen))


def test_fewer_classes_make_fewer_ways_and_small_ones_fewer_queries(freeze_encoder: FreezeEncoder) -> None:
    three = {}
    for name, split in splits().items():
        assert isinstance(split.inputs, Tensor)
        assert split.labels is not None
        kept = (split.labels < 3).nonzero().squeeze(1)[: 27 if name == "test" else None]
        three[name] = Split(split.inputs[kept], split.labels[kept])
    evaluation = few(freeze_encoder(encoder(), three, 3))
    assert [s.metric for s in evaluation.scores[-2:]] == ["centroid_3_way_1_shot", "centroid_3_way_5_shot"]
    assert evaluation.scores[-1].chance == pytest.approx(1 / 3)
    assert "4 queries a class: test classes are small" in evaluation.notes  # 9 items, 5 shots


def test_classes_too_small_for_episodes_leave_the_other_scores(freeze_encoder: FreezeEncoder) -> None:
    frozen = freeze_encoder(encoder(), splits() | {"test": spots(18, 1)}, CLASSES)
    evaluation = few(frozen)
    assert len(evaluation.scores) == 4
    assert "no episodes: they need two test classes of more than 5 items" in evaluation.notes


def test_features_that_are_constant_are_at_chance_and_finite(freeze_encoder: FreezeEncoder) -> None:
    grey = {
        name: Split(torch.full((len(split), 1, 8, 8), 7, dtype=torch.uint8), split.labels)
        for name, split in splits().items()
    }
    scores = values(few(freeze_encoder(Flat(DATA, NoConfig()), grey, CLASSES), augmentation="none"))
    assert scores["linear_1_percent"] == pytest.approx(1 / 6)
    assert scores["centroid_5_way_1_shot"] == pytest.approx(0.2)


def test_data_without_classes_are_skipped() -> None:
    data = DataSpec(shape=(1, 8, 8), splits={"train": 5, "test": 5})
    assert Fewshot(FewshotConfig()).skip_reason(data, Objective) == "needs labels"  # type: ignore[type-abstract]  # not read


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"percents": (0, 1)}, r"percents must each be in \[1, 100\], got \(0, 1\)"),
        ({"percents": ()}, "percents must be one or more different numbers"),
        ({"shots": (1, 1)}, "shots must be one or more different numbers"),
        ({"ways": 1}, "ways must be >= 2, got 1"),
        ({"draws": 0}, "draws must be >= 1, got 0"),
        ({"penalty": 0.0}, "penalty must be > 0, got 0.0"),
    ],
)
def test_parameters_out_of_range_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FewshotConfig(**changes)  # type: ignore[arg-type]  # changes of any kind


def test_classes_with_as_many_items_as_shots_leave_no_query_and_make_no_episode(freeze_encoder: FreezeEncoder) -> None:
    frozen = freeze_encoder(encoder(), splits() | {"test": spots(5 * CLASSES, 1)}, CLASSES)
    assert "no episodes: they need two test classes of more than 5 items" in few(frozen).notes
