import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Embedded, Encoder, Evaluation, Frozen, NoConfig, Split
from bench_core.conformance.toys import Untrained
from bench_evaluators.mi.evaluator import MI, MIConfig

N = 400
QUICK = {"steps": 60, "candidates": 64}


def spec(classes: int | None = 4, shape: tuple[int, ...] = (1, 6, 6), items: int = N) -> DataSpec:
    return DataSpec(shape=shape, splits={"train": items, "test": items}, num_classes=classes, views="glyph")


class Map(Encoder):
    """Encoder: a linear map of the pixels, of any rank."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__(spec(), NoConfig())
        self.dim, self.weight = weight.shape[1], weight

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1) @ self.weight

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {}


def images(seed: int) -> tuple[Tensor, Tensor]:
    """Draw images with a bright quadrant, which is the class."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (N,), generator=rng)
    pixels = torch.rand(N, 1, 6, 6, generator=rng) * 120
    for k in range(4):
        pixels[labels == k, :, 3 * (k // 2) : 3 * (k // 2) + 3, 3 * (k % 2) : 3 * (k % 2) + 3] += 130
    return pixels.to(torch.uint8), labels


def frozen(weight: Tensor, *, labels: bool = True, data: DataSpec | None = None, seed: int = 0) -> Frozen:
    objective = Untrained(Map(weight), spec(), NoConfig()).eval()
    data_of = {"train": images(1), "test": images(2)}
    splits = {
        name: Embedded({"features": objective.encoder(pixels / 255)}, classes if labels else None)
        for name, (pixels, classes) in data_of.items()
    }
    data = data or spec(4 if labels else None)
    return Frozen(
        splits, data, seed, torch.device("cpu"), lambda: copy.deepcopy(objective), lambda name: Split(data_of[name][0])
    )


def evaluate(trained: Frozen, **config: Any) -> Evaluation:
    return MI(MIConfig(**(QUICK | config))).evaluate(trained)


def measure(trained: Frozen, **config: Any) -> dict[str, float]:
    return {score.metric: score.value for score in evaluate(trained, **config).scores}


@pytest.fixture(scope="module")
def all_pixels() -> dict[str, float]:
    """Return the scores of the pixels as embedding."""
    return measure(frozen(torch.eye(36)))


def test_pixels_that_show_the_class_carry_nearly_its_entropy(all_pixels: dict[str, float]) -> None:
    assert next(iter(all_pixels)) == "labels"
    for name in ("labels", "labels_ross"):
        assert 1.2 < all_pixels[name] <= math.log(4) + 0.01
    for name in ("views_infonce", "views_dv", "views_ksg", "input_infonce"):
        assert all_pixels[name] > 0.2
    assert all_pixels["views_infonce"] <= math.log(64)


def test_constant_embeddings_have_no_information() -> None:
    scores = measure(frozen(torch.zeros(36, 3)))
    assert set(scores) == {"labels", "labels_ross", "views_infonce", "views_dv", "views_ksg", "input_infonce"}
    assert all(-0.1 < value < 0.05 for value in scores.values())


def test_part_of_the_pixels_has_less_information(all_pixels: dict[str, float]) -> None:
    corner = torch.zeros(36, 1)
    corner[0] = 1.0
    scores = measure(frozen(corner))
    assert scores["labels"] < 0.7 * all_pixels["labels"]
    assert scores["views_infonce"] < all_pixels["views_infonce"]


def test_ceilings_and_sizes_are_in_notes_and_protocol() -> None:
    evaluation = evaluate(frozen(torch.eye(36)), train_items=100, test_items=50)
    assert {score.n for score in evaluation.scores} == {50}
    assert "at most 50 items of test, fitted on at most 100 of train" in evaluation.protocol
    assert "H(label), the ceiling of labels: 1.3" in evaluation.notes[0]
    assert "log K, the ceiling of infonce: 3.912 nats" in evaluation.notes[1]  # 50 candidates are left
    assert all((score.unit, score.chance, score.higher_is_better) == ("nats", 0, True) for score in evaluation.scores)


def test_the_same_seed_gives_the_same_numbers_and_no_global_draw() -> None:
    before = torch.random.get_rng_state()
    trained = frozen(torch.eye(36)[:, :8])
    assert evaluate(trained) == evaluate(trained)
    assert measure(frozen(torch.eye(36)[:, :8], seed=1))["views_infonce"] != measure(trained)["views_infonce"]
    assert torch.equal(before, torch.random.get_rng_state())


def test_without_labels_only_views_are_measured_and_without_images_only_labels() -> None:
    assert set(measure(frozen(torch.eye(36), labels=False))) == {
        "views_infonce", "views_dv", "views_ksg", "input_infonce"
    }  # fmt: skip
    rows = frozen(torch.eye(36), data=spec(shape=(36,)))
    assert set(measure(rows)) == {"labels", "labels_ross"}


def test_dims_may_exceed_the_number_of_features() -> None:
    scores = measure(frozen(torch.ones(36, 1)), dims=9)
    assert all(math.isfinite(value) for value in scores.values())


def test_neighbours_may_exceed_the_number_of_items() -> None:
    scores = measure(frozen(torch.eye(36)), test_items=20, neighbours=40)
    assert all(math.isfinite(value) for value in scores.values())


def test_skip_reasons() -> None:
    task = MI(MIConfig())
    assert task.skip_reason(spec(), Untrained) is None
    assert task.skip_reason(spec(None), Untrained) is None
    assert task.skip_reason(spec(None, shape=(36,)), Untrained) == "needs labels"
    assert task.skip_reason(spec(items=19), Untrained) == "needs a train split of 20 items or more"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_items": 9}, "train_items must be >= 10, got 9"),
        ({"candidates": 1}, "candidates must be >= 2, got 1"),
        ({"neighbours": 0}, "neighbours must be >= 1, got 0"),
        ({"steps": 0}, "steps must be >= 1, got 0"),
    ],
)
def test_parameters_out_of_range_are_refused(changes: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MIConfig(**changes)
    with pytest.raises(ValueError, match=r"augmentation must be one of .*, got 'simclear'"):
        MIConfig(augmentation="simclear")
