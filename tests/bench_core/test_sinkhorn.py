"""The formulas of SeLa's Section 3 by hand, exact assignment (SciPy) and another Sinkhorn (POT) beside ours."""

import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from bench_core import sinkhorn as module
from bench_core.sinkhorn import sinkhorn, transport_plan


def gaussian(n: int, k: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plan(logits: Tensor, strength: float, tolerance: float = 1e-10, max_iterations: int = 20000) -> Tensor:
    found = sinkhorn(logits, strength, tolerance=tolerance, max_iterations=max_iterations)
    assert found.converged
    return transport_plan(logits, found.log_prices, strength)


@pytest.mark.parametrize(("second", "expected"), [(0.2, 0.492308), (0.6, 0.406623)])
def test_two_items_and_two_clusters_are_the_closed_form(second: float, expected: float) -> None:
    logits = torch.tensor([[0.8, 0.2], [second, 1 - second]], dtype=torch.float64).log()
    odds = (0.8 / 0.2) / (second / (1 - second))
    t = odds ** (3 / 2)
    assert 0.5 * t / (1 + t) == pytest.approx(expected, abs=1e-6)
    q = plan(logits, 3.0)
    assert q[0, 0].item() == pytest.approx(expected, abs=1e-6)
    assert q[1, 1].item() == pytest.approx(expected, abs=1e-6)


def test_the_plan_has_the_marginals_of_items_and_clusters() -> None:
    q = plan(gaussian(60, 7), 5.0)
    assert torch.allclose(q.sum(1), torch.full((60,), 1 / 60, dtype=q.dtype), atol=1e-15)
    assert torch.allclose(q.sum(0), torch.full((7,), 1 / 7, dtype=q.dtype), atol=1e-10)
    assert (q >= 0).all()


def test_uniform_probabilities_are_converged_at_once_and_fill_all_clusters() -> None:
    found = sinkhorn(torch.zeros(24, 6), 25.0)
    assert (found.iterations, found.converged) == (0, True)
    assert found.mass_error < 1e-12
    assert torch.allclose(transport_plan(torch.zeros(24, 6), found.log_prices, 25.0), torch.tensor(1 / 144).double())
    assert found.labels.bincount().tolist() == [4] * 6


def test_a_constant_head_with_biases_still_fills_all_clusters() -> None:
    found = sinkhorn(torch.tensor([0.3, -1.7, 2.2]).expand(30, 3), 10.0)
    assert found.labels.bincount(minlength=3).tolist() == [10, 10, 10]


def test_the_plan_ignores_constants_of_items_and_of_clusters() -> None:
    logits = gaussian(40, 5)
    moved = logits + 30 * gaussian(40, 1, seed=1) + 30 * gaussian(1, 5, seed=2)
    assert torch.allclose(plan(moved, 5.0), plan(logits, 5.0), atol=1e-9)


def test_permuted_items_and_clusters_permute_the_plan() -> None:
    logits, rows, columns = gaussian(40, 5), gaussian(1, 40, seed=1)[0].argsort(), gaussian(1, 5, seed=2)[0].argsort()
    assert torch.allclose(plan(logits[rows][:, columns], 5.0), plan(logits, 5.0)[rows][:, columns], atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 30), k=st.integers(1, 8), seed=st.integers(0, 99), strength=st.floats(0.1, 30))
def test_labels_are_the_argmax_of_the_plan_and_of_priced_logits(n: int, k: int, seed: int, strength: float) -> None:
    logits = gaussian(n, k, seed)
    found = sinkhorn(logits, strength)
    for scores in (
        transport_plan(logits, found.log_prices, strength).log(),
        strength * logits + found.log_prices,
    ):
        chosen = scores.gather(1, found.labels[:, None])[:, 0]
        assert torch.allclose(chosen, scores.amax(1), atol=1e-7)  # equal but for ties


def test_a_growing_strength_approaches_the_exact_assignment() -> None:
    logits = gaussian(64, 8)
    cost = -torch.log_softmax(logits, 1)
    rows, columns = linear_sum_assignment(cost.repeat_interleave(8, dim=1).numpy())
    exact = float(cost[rows, columns // 8].mean())
    costs = [float((plan(logits, s, 1e-3) * cost).sum()) for s in (1.0, 5.0, 25.0, 100.0, 400.0)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == pytest.approx(exact, abs=1e-3)
    assert costs[-1] >= exact - 1e-3  # its cluster sums are right to 1e-3 only
    labels = sinkhorn(logits, 400.0, max_iterations=20000).labels
    assert (labels == torch.as_tensor(columns // 8)).float().mean() >= 0.96


def test_a_vanishing_strength_gives_the_uniform_plan() -> None:
    assert torch.allclose(plan(gaussian(20, 4), 1e-9), torch.tensor(1 / 80).double(), atol=1e-9)


@pytest.mark.parametrize("strength", [1.0, 5.0, 25.0])
def test_pot_finds_the_same_plan(strength: float) -> None:
    logits = gaussian(50, 6, seed=3)
    cost = -torch.log_softmax(logits, 1).numpy()
    theirs = ot.sinkhorn(np.full(50, 1 / 50), np.full(6, 1 / 6), cost, 1 / strength, stopThr=1e-13, numItermax=50000)
    assert np.allclose(plan(logits, strength).numpy(), theirs, atol=1e-9)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_the_linear_and_the_log_domain_agree(scale: float) -> None:
    scores = 25 * gaussian(200, 16, scale=scale)
    scores -= scores.amax(1, keepdim=True)
    a, steps, error = module._linear(scores, torch.zeros(16).double(), 1e-3, 2000)
    log_a, log_steps, log_error = module._log(scores, torch.zeros(16).double(), 1e-3, 2000)
    assert torch.allclose(a, log_a, atol=1e-6)
    assert steps == log_steps
    assert error == pytest.approx(log_error, abs=1e-9)


def hard_rows() -> dict[str, Tensor]:
    """The problems in which a plain power of probabilities breaks down (K=32)."""
    logits, item = gaussian(400, 32), torch.arange(400)
    far_10, far_40 = logits.clone(), logits.clone()
    far_10[:, 0] -= 10
    far_40[:, 0] -= 40
    balanced, crowded = 0.1 * logits, 0.1 * logits
    balanced[item, item % 32] += 12
    crowded[item, torch.where(item < 200, 0, item % 32)] += 12
    return {"far_10": far_10, "far_40": far_40, "confident": balanced, "crowded": crowded}


@pytest.mark.parametrize("name", ["far_10", "far_40", "confident", "crowded"])
def test_hard_problems_end_finite_and_nearly_balanced(name: str) -> None:
    found = sinkhorn(hard_rows()[name], 25.0)
    counts = found.labels.bincount(minlength=32)
    assert found.log_prices.isfinite().all()
    assert math.isfinite(found.mass_error)
    assert counts.min() >= 5
    assert counts.max() <= 20


def test_float32_logits_get_the_labels_of_float64() -> None:
    for logits in hard_rows().values():
        single, double = sinkhorn(logits.float(), 25.0), sinkhorn(logits.float().double(), 25.0)
        assert torch.equal(single.labels, double.labels)


def test_what_leaves_the_range_of_float64_is_solved_in_the_log_domain() -> None:
    logits = torch.full((8, 4), -1000.0)
    logits[torch.arange(8), torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])] = 1000.0
    logits[:, 3] = -torch.arange(8.0) * 100 - 2000  # nobody's choice
    found = sinkhorn(logits, 25.0)
    assert found.domain == "log"
    assert found.log_prices.isfinite().all()
    assert found.labels.bincount(minlength=4).min() >= 1


def test_confident_balanced_probabilities_keep_their_labels_at_equal_prices() -> None:
    labels = torch.arange(40) % 4
    found = sinkhorn(10.0 * torch.eye(4)[labels], 25.0)
    assert torch.equal(found.labels, labels)
    assert found.log_prices.abs().max() < 1e-9


def test_one_cluster_takes_all_and_as_many_clusters_as_items_take_one_each() -> None:
    assert sinkhorn(gaussian(9, 1), 10.0).labels.tolist() == [0] * 9
    alone = sinkhorn(gaussian(12, 12), 200.0, max_iterations=20000)
    assert alone.labels.sort().values.tolist() == list(range(12))


def test_the_cap_is_reported() -> None:
    found = sinkhorn(gaussian(100, 8), 25.0, max_iterations=3)
    assert (found.iterations, found.converged) == (3, False)
    assert found.mass_error >= 1e-3


def test_the_input_stays_as_it_was() -> None:
    logits = gaussian(20, 4)
    before = logits.clone()
    sinkhorn(logits, 5.0)
    assert torch.equal(logits, before)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused(value: float) -> None:
    logits = gaussian(4, 3)
    logits[1, 2] = value
    with pytest.raises(ValueError, match="must be finite, 1 of 12 are not"):
        sinkhorn(logits, 5.0)


def test_a_strength_that_is_not_positive_and_logits_that_are_no_matrix_are_refused() -> None:
    with pytest.raises(ValueError, match="strength must be > 0, got 0"):
        sinkhorn(gaussian(4, 3), 0.0)
    with pytest.raises(ValueError, match=r"got \(4,\)"):
        sinkhorn(torch.zeros(4), 5.0)


def test_a_start_at_the_prices_of_a_similar_problem_changes_the_way_and_not_the_labels() -> None:
    logits = torch.randn(400, 16, generator=torch.Generator().manual_seed(3))
    cold = sinkhorn(logits, 10.0, tolerance=1e-6)
    near = logits + 0.01 * torch.randn(400, 16, generator=torch.Generator().manual_seed(4))
    warm, again = sinkhorn(near, 10.0, tolerance=1e-6, start=cold.log_prices), sinkhorn(near, 10.0, tolerance=1e-6)
    assert warm.iterations < again.iterations
    assert torch.equal(warm.labels, again.labels)
    assert torch.allclose(warm.log_prices, again.log_prices, atol=1e-3)
