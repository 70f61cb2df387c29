"""Task projection: draw some test items in a plane, and measure how far the picture can be trusted.

Papers: Pearson, 1901 (PCA); McInnes, Healy, Melville, 2018, https://arxiv.org/abs/1802.03426 (UMAP)
        Venna and Kaski, ICANN 2001, https://doi.org/10.1007/3-540-44668-0_68 (trustworthiness; scikit-learn's)

Shapes: N items, D features.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Config, DataSpec, Evaluation, Evaluator, Frozen, Objective, Score, hookimpl, param, stream_seed
from bench_core.data import draw_index
from bench_core.evaluation.embeddings import embedding_of

NEIGHBOURS = 5  # neighbours that trustworthiness and the vote in the plane read
LEAST_ITEMS = 20
Points = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ProjectionConfig(Config):
    """Parameters of the projection to two dimensions."""

    method: Literal["pca", "umap"] = param(
        "pca", "projection method; umap needs the extra bench-core[umap]", "ours: exact, and always there"
    )
    items: int = param(
        500, "maximal number of test items, drawn evenly from the classes", "ours: legible", ge=LEAST_ITEMS
    )
    embedding: str = param("features", "name of the embedding that is evaluated", "usual")
    neighbors: int = param(
        15, "umap: number of neighbours; few show detail, many show the whole", "umap-learn's default", ge=2
    )
    min_dist: float = param(
        0.1, "umap: smallest distance between points in the plane", "umap-learn's default", ge=0, le=1
    )


class Projection(Evaluator):
    """Picture of the embedding in two dimensions.

    PCA or UMAP puts some test items into a plane, which `bench plot` draws. The scores tell how far the picture can be
    trusted: accuracy of nearest neighbours in the plane, and whether neighbours in the plane are neighbours in the
    embedding (trustworthiness). Needs a test split of 20 items or more.
    """

    Config = ProjectionConfig
    ranks = False

    def __init__(self, config: ProjectionConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data with fewer than 20 test items; skip UMAP where its library is not installed."""
        if data.splits.get("test", 0) < LEAST_ITEMS:
            return f"needs a test split of {LEAST_ITEMS} items or more"
        if self.config.method == "umap" and find_spec("umap") is None:
            return "umap-learn is not installed: pip install 'bench-core[umap]'"
        return None

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Project a sample of the test split; a seed draws the same items for all methods."""
        config, test = self.config, frozen.splits["test"]
        embedding = embedding_of(test, config.embedding)
        seed = stream_seed(frozen.seed, "projection", "items") % 2**32
        index = draw_index(test.labels, len(embedding), min(config.items, len(embedding)), seed)
        values: Points = embedding[index].flatten(1).double().numpy()
        labels = test.labels[index] if test.labels is not None and test.labels.ndim == 1 else None
        if config.method == "pca":
            plane, explained = pca(values)
        else:
            plane, explained = _umap(values, config, stream_seed(frozen.seed, "projection", "umap") % 2**32), None
        return Evaluation(
            scores=_scores(values, plane, explained, labels, config.embedding),
            protocol=(
                f"{len(values):,} items of the test split, drawn evenly from the classes, the same for all methods at "
                f"a seed; {self._method()} of these items' {config.embedding}; "
                f"accuracy in the plane: votes of the {NEIGHBOURS} nearest "
                "others of the sample, equal votes go to the lower class, chance: its most frequent class; "
                f"trustworthiness: {NEIGHBOURS} neighbours, Euclidean, chance: points placed at random"
                f"{'; explained variance: of both components, chance: axes of equal length' * (explained is not None)}"
            ),
            curves={f"projection_{config.method}": _curve(plane, labels)},
        )

    def _method(self) -> str:
        """Describe the projection method for the protocol."""
        umap = f"UMAP ({self.config.neighbors} neighbours, minimal distance {self.config.min_dist:g}, seeded)"
        return umap if self.config.method == "umap" else "PCA"


def pca(values: Points) -> tuple[Points, float]:
    """Project onto the two directions of most variance.

    Args:
        values: (N, D).

    Returns:
        (N, 2) coordinates, each direction's sign such that its largest weight is positive; and the part of the
        variance that these two directions hold, 0 if all items are equal.
    """
    centred = values - values.mean(0)
    left, lengths, right = np.linalg.svd(centred, full_matrices=False)
    total = float((lengths**2).sum())
    if total <= 1e-20 * float((values**2).sum()):  # constant up to rounding
        return np.zeros((len(values), 2)), 0.0
    signs = np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])
    plane = np.zeros((len(values), 2))
    plane[:, : min(2, len(lengths))] = (left * lengths * signs)[:, :2]
    return plane, float((lengths[:2] ** 2).sum()) / total


def _umap(values: Points, config: ProjectionConfig, seed: int) -> Points:
    """Project (N, D) to (N, 2) by UMAP; on one thread, so that a seed gives one picture."""
    from umap import UMAP

    neighbors = min(config.neighbors, len(values) - 1)
    reducer = UMAP(n_neighbors=neighbors, min_dist=config.min_dist, random_state=seed, n_jobs=1)
    plane: Points = np.asarray(reducer.fit_transform(values), np.float64)
    return plane


def random_trustworthiness(n: int, k: int) -> float:
    """Return the expected trustworthiness of n points at random places: each of k neighbours has any rank below n."""
    return 1 - (n - 1 - k) * (n - k) / ((n - 1) * (2 * n - 3 * k - 1))


def _scores(values: Points, plane: Points, explained: float | None, labels: Tensor | None, name: str) -> list[Score]:
    """Return the scores; the first one ranks methods.

    Explained variance comes last and never ranks: an embedding that collapsed to a line has all of it.
    """
    from sklearn.manifold import trustworthiness

    n, k = len(values), NEIGHBOURS
    measured: dict[str, tuple[float, float]] = {}  # metric -> value, chance
    if labels is not None and len(labels.bincount().nonzero()) > 1:
        measured[f"plane_{k}nn_top1"] = plane_accuracy(plane, labels), float(labels.bincount().max()) / n
    trust = float(trustworthiness(values, plane, n_neighbors=k))
    measured[f"trustworthiness_{k}"] = trust, random_trustworthiness(n, k)
    if explained is not None:
        measured["explained_variance"] = explained, 2 / min(values.shape[1], n - 1)
    return [
        Score(metric=metric, value=min(1.0, max(0.0, value)), chance=min(1.0, chance), embedding=name, n=n)
        for metric, (value, chance) in measured.items()  # clipped, as rounding may exceed 1
    ]


def plane_accuracy(plane: Points, labels: Tensor, k: int = NEIGHBOURS) -> float:
    """Return the part of items whose class wins the vote of their k nearest other items.

    Args:
        plane: (N, 2) coordinates.
        labels: (N,) int64 classes; with equal votes the lower class wins.
        k: Neighbours that vote.
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=k).fit(plane).kneighbors(return_distance=False)
    votes = F.one_hot(labels)[torch.from_numpy(nearest)].sum(1)
    return float((votes.argmax(1) == labels).double().mean())


def _curve(plane: Points, labels: Tensor | None) -> dict[str, list[float]]:
    """Return the coordinates, rounded to 4 digits, for a picture; and the labels."""
    curve: dict[str, list[float]] = {axis: [float(f"{v:.4g}") for v in plane[:, k]] for k, axis in enumerate("xy")}
    return curve if labels is None else {**curve, "label": labels.tolist()}


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"projection": Projection}
