"""k-means against scikit-learn's, on separated groups and on degenerate rows."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info, threadpool_limits
from torch import Tensor

from bench_core.evaluation.kmeans import kmeans, nearest_centres
from bench_core.evaluation.nearest_neighbours import import_faiss

ROOT = Path(__file__).parents[3]


def blobs(n: int = 300, k: int = 5, noise: float = 0.15, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw rows of any length around k orthogonal directions."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % k
    rows = F.one_hot(labels, 8) + noise * torch.randn(n, 8, generator=rng)
    return rows * (0.5 + torch.rand(n, 1, generator=rng)), labels


def same_partition(labels: Tensor, clusters: Tensor) -> bool:
    """Tell whether the groups are the same but for their numbers."""
    return torch.equal(labels[:, None] == labels, clusters[:, None] == clusters)


def test_kmeans_finds_directions_whatever_the_lengths() -> None:
    train, _ = blobs()
    test, labels = blobs(seed=1)
    centres = kmeans(train, 5, seed=0)
    torch.testing.assert_close(centres.norm(dim=1), torch.ones(5))
    assert same_partition(labels, nearest_centres(test, centres))
    scaled = nearest_centres(test * torch.arange(1, 301)[:, None], centres)
    assert torch.equal(scaled, nearest_centres(test, centres))


def test_euclidean_kmeans_finds_what_differs_in_length_alone() -> None:
    labels = torch.arange(200) % 2
    rows = (1 + 9 * labels[:, None]) * torch.tensor([1.0, 2.0]) + 0.1 * blobs(200)[0][:, :2]
    centres = kmeans(rows, 2, seed=0, spherical=False)
    assert same_partition(labels, nearest_centres(rows, centres, spherical=False))
    assert not same_partition(labels, nearest_centres(rows, kmeans(rows, 2, seed=0)))


def test_kmeans_is_as_good_as_scikit_learns() -> None:
    rows = torch.randn(400, 6, generator=torch.Generator().manual_seed(0))
    centres = kmeans(rows, 8, seed=0, spherical=False, restarts=20)
    inertia = float((rows - centres[nearest_centres(rows, centres, spherical=False)]).square().sum())
    assert inertia < 1.01 * KMeans(8, n_init=20, random_state=0).fit(rows.numpy()).inertia_


def test_a_seed_gives_one_result_and_restarts_keep_the_best() -> None:
    rows = F.normalize(torch.randn(300, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    first, second = (kmeans(rows, 8, seed=2**62 + 3) for _ in range(2))
    assert torch.equal(first, second)
    many, single = (float((rows @ kmeans(rows, 8, seed=5, restarts=r).T).amax(1).mean()) for r in (20, 1))
    assert many > single


def test_fewer_distinct_rows_than_clusters_are_the_centres() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 0.0], [1.0, 0.0]])
    centres = kmeans(rows, 3, seed=0)
    assert centres.tolist() == [[1, 0], [0, 1]]
    assert nearest_centres(rows, centres).tolist() == [0, 1, 0, 0]
    assert kmeans(torch.zeros(20, 4), 3, seed=0).tolist() == [[0, 0, 0, 0]]
    assert nearest_centres(torch.ones(2, 4), torch.zeros(1, 4)).tolist() == [0, 0]


def test_nothing_to_cluster_is_refused() -> None:
    with pytest.raises(ValueError, match="needs items and clusters, got 0 and 3"):
        kmeans(torch.zeros(0, 4), 3, seed=0)
    with pytest.raises(ValueError, match="needs items and clusters, got 5 and 0"):
        kmeans(torch.zeros(5, 4), 0, seed=0)


def test_it_runs_on_one_thread_so_that_a_seed_gives_one_result(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, faiss = set[int](), import_faiss()

    class Spied(faiss.Kmeans):  # type: ignore[misc, name-defined]  # faiss has no types
        def train(self, rows: object) -> object:
            seen.update(pool["num_threads"] for pool in threadpool_info())
            return super().train(rows)

    monkeypatch.setattr(faiss, "Kmeans", Spied)
    with threadpool_limits(2):
        kmeans(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), 3, seed=0)
    assert seen == {1}


def test_no_task_has_a_k_means_of_its_own() -> None:
    """Two solvers with other starts and stops would make numbers of two tasks differ for no reason."""
    texts = {
        file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
        for folder in ("plugins", "bench_core")
        for file in (ROOT / folder).rglob("*.py")
    }
    assert [name for name, text in texts.items() if "sklearn.cluster" in text or "Kmeans(" in text] == [
        "bench_core/evaluation/kmeans.py"
    ]


def test_one_cluster_is_the_mean_and_one_item_is_its_own_centre() -> None:
    rows = torch.tensor([[0.0, 1.0], [4.0, 3.0]])
    assert kmeans(rows, 1, seed=0, spherical=False).tolist() == [[2, 2]]
    assert kmeans(rows[:1], 1, seed=0, spherical=False).tolist() == [[0, 1]]
