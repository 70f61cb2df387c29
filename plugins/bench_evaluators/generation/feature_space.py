"""A space in which images are compared, and what is measured in it.

Source: the measures are those of `bench_evaluators.generation.sample_quality`.

Shapes: N images, C channels, H x W pixels, D features, K classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from .sample_quality import (
    frechet_distance,
    inception_score,
    kernel_distance,
    neighbourhoods,
)

MEASURES = {  # the unit of each, and whether higher is better
    "frechet": ("distance", False),
    "kernel": ("distance", False),
    "inception_score": ("classes", True),
    "precision": ("fraction", True),
    "recall": ("fraction", True),
    "density": ("ratio", True),
    "coverage": ("fraction", True),
}
INCEPTION_NAMES = {"frechet": "fid", "kernel": "kid", "inception_score": "inception_score"}


@dataclass(frozen=True)
class Extractor:
    """A space in which images are compared.

    Attributes:
        name: Ends the names of metrics.
        features: (N, C, H, W) uint8 -> (N, D).
        logits: Features -> (N, K), of a classifier.
        full: Whether more than the Frechet distance is measured.
        metrics: Measures that have a name of their own here.
    """

    name: str
    features: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor], Tensor] | None = None
    full: bool = True
    metrics: Mapping[str, str] = field(default_factory=dict)

    def metric(self, measure: str) -> str:
        """The name of a metric."""
        return self.metrics.get(measure, f"{measure}_{self.name}")

    def distances(self, real: Tensor, made: Tensor) -> dict[str, float]:
        """Measures of features (N, D) that say something of any images, constant or paired with the real ones, too."""
        found = {"frechet": frechet_distance(real, made)}
        if self.full:
            found["kernel"] = kernel_distance(real, made)
        if self.full and self.logits is not None:
            found["inception_score"] = inception_score(self.logits(made))
        return found

    def measures(self, real: Tensor, made: Tensor) -> dict[str, float]:
        """All measures of features (N, D)."""
        return self.distances(real, made) | (neighbourhoods(real, made) if self.full else {})
