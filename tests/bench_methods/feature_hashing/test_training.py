"""Both methods in the training loop: the encoder does not move, a stopped run goes on, codes find more than LSH's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from bench_core import DataSpec, Recipe
from bench_core.evaluation.hamming import hamming_histograms
from bench_core.evaluation.hash_codes import lsh
from bench_core.evaluation.ranking import expected_average_precision
from bench_methods.feature_hashing.cibhash import CIBHash
from bench_methods.feature_hashing.distillhash import DistillHash

METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "cibhash": (CIBHash, {}),
    "distillhash": (DistillHash, {}),
    "ssdh": (DistillHash, DistillHash.variants["ssdh"].config | {"alpha": 1.0, "beta": 1.0, "sample": 40}),
}


def spec(train_size: int) -> DataSpec:
    return DataSpec(shape=(1, 8, 8), splits={"train": train_size, "test": 16}, num_classes=10, views="glyph")


@pytest.mark.parametrize("name", METHODS)
def test_resumed_training_ends_with_the_bits_of_one_that_was_not_stopped(
    name: str, hasher: Callable[..., Any], train: Callable[..., Any], digits: Tensor, tmp_path: Path
) -> None:
    (cls, values), data = METHODS[name], spec(64)
    recipe = Recipe(optimizer="adam", learning_rate=1e-2, batch_size=16, epochs=2, schedule="constant")  # 8 steps
    (tmp_path / "whole").mkdir()
    straight = hasher(cls, data, **values)
    expected = train(straight, digits[:64], tmp_path / "whole", recipe)
    for steps in (1, 3, 2):  # stopped after the first step, at the end of an epoch, within the next
        assert train(hasher(cls, data, **values), digits[:64], tmp_path, recipe, steps) is None
    resumed = hasher(cls, data, **values)
    assert train(resumed, digits[:64], tmp_path, recipe) == expected
    weights = resumed.state_dict()
    assert [key for key, value in straight.state_dict().items() if not torch.equal(weights[key], value)] == []


@pytest.mark.parametrize("name", METHODS)
def test_training_moves_the_head_and_nothing_of_the_encoder(
    name: str, hasher: Callable[..., Any], train: Callable[..., Any], digits: Tensor, tmp_path: Path
) -> None:
    cls, values = METHODS[name]
    method = hasher(cls, spec(64), **values)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    train(method, digits[:64], tmp_path, Recipe(optimizer="sgd", learning_rate=0.1, batch_size=32, epochs=2))
    moved = {key for key, value in method.state_dict().items() if not torch.equal(before[key], value)}
    assert {key for key in before if key.startswith("head.")} <= moved
    assert any("running_mean" in key for key in before)
    assert not any(key.startswith("encoder.") for key in moved)


@pytest.mark.parametrize("name", ["cibhash", "distillhash"])
def test_learned_codes_find_more_items_of_a_class_than_random_projections_do(
    name: str, hasher: Callable[..., Any], train: Callable[..., Any], tmp_path: Path
) -> None:
    images = torch.from_numpy(load_digits().images).float()[:, None] / 16
    labels = torch.from_numpy(load_digits().target).long()
    cls, values = METHODS[name]
    recipe = Recipe(optimizer="adam", learning_rate=2e-3, batch_size=256, epochs=20, schedule="constant")
    method = hasher(cls, spec(1024), widths=(16, 32), hidden_dim=256, code_dim=16, **values)
    train(method, images[:1024], tmp_path, recipe)
    with torch.inference_mode():
        embedded = method.eval().embed(images)
    random = lsh(embedded["features"][:1024], 16, torch.Generator().manual_seed(0)).codes(embedded["features"])

    def mean_average_precision(code: Tensor) -> float:
        histograms = hamming_histograms(code[1024:], code[:1024], labels[1024:], labels[:1024])
        return float(expected_average_precision(*histograms).mean())

    assert mean_average_precision(embedded["code"]) > mean_average_precision(random) + 0.05
