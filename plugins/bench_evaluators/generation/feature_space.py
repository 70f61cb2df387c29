"""A feature space in which images are compared, and the measures in it.

Source: the measures are those of `bench_evaluators.generation.sample_quality`.

Shapes: N images, C channels, H x W pixels, D features, K classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from .sample_quality import (
    frechet_distance,
    inception_score,
    kernel_distance,
    neighbourhoods,
)


class Measure(NamedTuple):
    """Unit, direction and best value of a measure.

    Attributes:
        unit: Its unit.
        higher_is_better: Its direction.
        best: The best value possible; None where there is no such value.
    """

    unit: str
    higher_is_better: bool
    best: float | None = None


MEASURES = {
    "frechet": Measure("distance", False, 0.0),
    "kernel": Measure("distance", False),  # unbiased: a perfect method gets 0 in the mean, and may get less
    "inception_score": Measure("classes", True),
    "precision": Measure("fraction", True),
    "recall": Measure("fraction", True),
    "density": Measure("ratio", True),
    "coverage": Measure("fraction", True),
}
INCEPTION_NAMES = {"frechet": "fid", "kernel": "kid", "inception_score": "inception_score"}


@dataclass(frozen=True)
class FeatureSpace:
    """Feature space in which images are compared.

    Attributes:
        name: End of the metrics' names.
        features: Maps images (N, C, H, W) uint8 to features (N, D).
        logits: Maps features to a classifier's logits (N, K); None without a classifier.
        full: False measures only the Frechet distance.
        metrics: Measure -> its usual name in this space (`fid`), for measures that have one.
    """

    name: str
    features: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor], Tensor] | None = None
    full: bool = True
    metrics: Mapping[str, str] = field(default_factory=dict)

    def metric(self, measure: str) -> str:
        """Return the name of the metric for a measure in this space."""
        return self.metrics.get(measure, f"{measure}_{self.name}")

    def distances(self, real: Tensor, generated: Tensor) -> dict[str, float]:
        """Take the measures of features (N, D) that make sense even for constant images and copies of real ones."""
        values = {"frechet": frechet_distance(real, generated)}
        if self.full:
            values["kernel"] = kernel_distance(real, generated)
        if self.full and self.logits is not None:
            values["inception_score"] = inception_score(self.logits(generated))
        return values

    def measures(self, real: Tensor, generated: Tensor) -> dict[str, float]:
        """Take all measures of features (N, D): `distances`, and precision, recall, density and coverage."""
        return self.distances(real, generated) | (neighbourhoods(real, generated) if self.full else {})
