"""A task reads all that a trained method offers, and its scores, items and other datasets reach the record."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench_core import (
    Dataset,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    NoConfig,
    PerItem,
    Score,
    Split,
)


class Dark(Dataset):
    """Black images."""

    def __init__(self, root: Path, config: NoConfig) -> None:
        self.root = root

    def spec(self) -> DataSpec:
        """Describe eight images without labels."""
        return DataSpec(shape=(1, 8, 8), splits={"test": 8})

    def digest(self) -> str:
        """Return a fixed digest: code makes the images."""
        return "dark-1"

    def load(self, split: str) -> Split:
        """Return the images."""
        return Split(torch.zeros(8, 1, 8, 8, dtype=torch.uint8))


class DistanceToDark(Evaluator):
    """Distance of each test image from a black image of another dataset, in features."""

    def __init__(self, config: NoConfig) -> None:
        self.config = config

    def datasets(self, data: DataSpec) -> Sequence[str]:
        """Name the other dataset."""
        return ["dark"]

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Measure the distances with a copy of the method, which the saved embeddings must agree with."""
        method = frozen.method()
        assert method is not frozen.method()
        images = _as_float(frozen.inputs("test").inputs)
        black = _as_float(frozen.others["dark"].load("test").inputs)
        with torch.inference_mode():
            features, dark = method.embed(images)["features"], method.embed(black)["features"]
        torch.testing.assert_close(features, frozen.splits["test"].embeddings["features"])
        distances = (features - dark[0]).norm(dim=1)
        score = Score(metric="distance", value=float(distances.mean()), unit="l2", n=len(distances))
        return Evaluation(
            scores=[score], protocol="features against a black image", items={"distance": PerItem(distances)}
        )


def _as_float(images: Any) -> Tensor:
    values: Tensor = images.float() / 255
    return values


def test_task_reads_the_method_its_inputs_and_another_dataset(
    plan_of: Callable[..., Any], add: Callable[[str, str, type], None], train: Callable[..., Any]
) -> None:
    add("dataset", "dark", Dark)
    add("evaluator", "distance_to_dark", DistanceToDark)
    record = train(plan_of(tasks=["distance_to_dark"])).record
    (score,) = record.scores.values()
    assert score.metric == "distance"
    assert score.value > 0
    assert score.n == 16
