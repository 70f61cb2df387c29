import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.nn import rate_clusters
from bench_core.nn.coding_rate import rate_reduction
from bench_core.nn.rate_clusters import Memberships


def cones(per_cluster: int = 60, clusters: int = 4, dim: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return unit rows around orthogonal axes, and the axis of each row."""
    labels = torch.arange(clusters).repeat(per_cluster)
    noise = 0.2 * torch.randn(len(labels), dim, generator=torch.Generator().manual_seed(seed))
    return F.normalize(torch.eye(dim)[labels] + noise, dim=1), labels


def planes(per_cluster: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return unit rows in three orthogonal planes of six dimensions, which no linear map can separate."""
    labels = torch.arange(3).repeat(per_cluster)
    draws = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(seed))
    z = torch.zeros(len(labels), 6)
    z[torch.arange(len(z)), 2 * labels], z[torch.arange(len(z)), 2 * labels + 1] = draws.unbind(1)
    return F.normalize(z, dim=1), labels


def fitted(z: Tensor, clusters: int, *, seed: int = 0, **options: int) -> tuple[Memberships, dict[str, float]]:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        memberships = Memberships(z.shape[1], clusters)
    return memberships, memberships.fit(z, 0.2, torch.Generator().manual_seed(1), **options)


def accuracy(labels: Tensor, assigned: Tensor, clusters: int) -> float:
    return max(
        float((torch.tensor(order)[assigned] == labels).float().mean())
        for order in itertools.permutations(range(clusters))
    )


def test_cones_and_planes_are_found_as_clusters() -> None:
    for z, labels, clusters in ((*cones(), 4), (*planes(), 3)):
        memberships, numbers = fitted(z, clusters, starts=5)
        assert accuracy(labels, memberships.assign(z), clusters) > 0.95
        assert numbers["cluster_reduction"] > 0.95 * float(rate_reduction(z, labels, 0.2))
        assert 0.8 * len(z) / clusters < numbers["smallest_cluster"] <= numbers["largest_cluster"]


def test_returned_numbers_describe_the_clusters() -> None:
    z, _ = cones()
    memberships, numbers = fitted(z, 4, starts=1)
    assigned = memberships.assign(z)
    reduction = float(rate_reduction(z, F.one_hot(assigned, 4), 0.2))
    assert numbers["cluster_reduction"] == pytest.approx(reduction, abs=1e-4)
    assert numbers["smallest_cluster"] == int(torch.bincount(assigned, minlength=4).min())
    assert numbers["largest_cluster"] == int(torch.bincount(assigned, minlength=4).max())


def test_more_starts_never_give_a_smaller_reduction() -> None:
    z, _ = planes()
    one, two = (fitted(z, 3, starts=starts, max_steps=20)[1]["cluster_reduction"] for starts in (1, 4))
    assert two >= one


def test_fit_depends_on_the_generator_alone() -> None:
    z, _ = cones()
    state = torch.get_rng_state()
    first, second = fitted(z, 4, seed=0, starts=1)[0], fitted(z, 4, seed=5, starts=1)[0]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    third = Memberships(8, 4)
    third.fit(z, 0.2, torch.Generator().manual_seed(2), starts=1)
    assert not torch.equal(next(first.parameters()), next(third.parameters()))


def test_fit_works_without_gradients_and_leaves_none() -> None:
    z, _ = cones()
    with torch.no_grad():  # as it is called after training
        memberships, _ = fitted(z, 4, starts=1)
    assert not any(p.requires_grad for p in memberships.parameters())
    assert not z.requires_grad


def test_fit_works_with_more_items_than_a_batch_and_fewer_items_than_clusters() -> None:
    z, labels = cones(per_cluster=600)
    memberships, _ = fitted(z, 4, starts=1, max_steps=150)
    assert accuracy(labels, memberships.assign(z), 4) > 0.95
    _, numbers = fitted(z[:3], 5, starts=1, max_steps=3)
    assert numbers["smallest_cluster"] == 0
    assert math.isfinite(numbers["cluster_reduction"])


def test_learning_rate_falls_to_0_on_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, step = list[float](), torch.optim.Adam.step

    def spied(self: torch.optim.Adam, closure: Any = None) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, closure)

    monkeypatch.setattr(torch.optim.Adam, "step", spied)
    fitted(cones()[0], 4, starts=1, max_steps=4)
    assert rates == pytest.approx([rates[0] * part for part in (1, 0.75, 0.5, 0.25)])


@pytest.mark.parametrize(("rows", "batches"), [(3, 1), (4, 1), (7, 1), (8, 2), (11, 2)])
def test_a_pass_has_whole_batches_of_different_rows(rows: int, batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_clusters, "_BATCH", 4)
    numbers = torch.arange(rows)
    drawn = list(itertools.islice(rate_clusters._batches(numbers, torch.Generator().manual_seed(0)), batches))
    assert {len(batch) for batch in drawn} == {min(rows, 4)}
    assert len(set(torch.cat(drawn).tolist())) == batches * min(rows, 4)
