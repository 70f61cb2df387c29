"""Labels and prices against closed forms, the exact assignment (SciPy) and another Sinkhorn (POT)."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from bench_core.nn import sinkhorn as module
from bench_core.nn.sinkhorn import halved, planned_bytes, sinkhorn


def transport_plan(logits: Tensor, log_prices: Tensor, strength: float) -> Tensor:
    """Return the soft assignment Q (N, K) that belongs to prices, in float64; each item's sum is exactly 1/N."""
    return torch.softmax(strength * logits.double() + log_prices, dim=1) / len(logits)


def gaussian(n: int, k: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plan(logits: Tensor, strength: float, tolerance: float = 1e-10, max_iterations: int = 20000) -> Tensor:
    assignment = sinkhorn(logits, strength, tolerance=tolerance, max_iterations=max_iterations)
    assert assignment.converged
    return transport_plan(logits, assignment.log_prices, strength)


@pytest.mark.parametrize(("second", "expected"), [(0.2, 0.492308), (0.6, 0.406623)])
def test_plan_of_two_items_and_two_clusters_equals_the_closed_form(second: float, expected: float) -> None:
    logits = torch.tensor([[0.8, 0.2], [second, 1 - second]], dtype=torch.float64).log()
    odds = (0.8 / 0.2) / (second / (1 - second))
    t = odds ** (3 / 2)
    assert 0.5 * t / (1 + t) == pytest.approx(expected, abs=1e-6)
    q = plan(logits, 3.0)
    assert q[0, 0].item() == pytest.approx(expected, abs=1e-6)
    assert q[1, 1].item() == pytest.approx(expected, abs=1e-6)


def test_plan_has_the_required_sums_of_items_and_clusters() -> None:
    q = plan(gaussian(60, 7), 5.0)
    assert torch.allclose(q.sum(1), torch.full((60,), 1 / 60, dtype=q.dtype), atol=1e-15)
    assert torch.allclose(q.sum(0), torch.full((7,), 1 / 7, dtype=q.dtype), atol=1e-10)
    assert (q >= 0).all()


def test_uniform_probabilities_need_no_iteration_and_fill_all_clusters() -> None:
    assignment = sinkhorn(torch.zeros(24, 6), 25.0)
    assert (assignment.iterations, assignment.converged) == (0, True)
    assert assignment.mass_error < 1e-12
    uniform_plan = transport_plan(torch.zeros(24, 6), assignment.log_prices, 25.0)
    assert torch.allclose(uniform_plan, torch.tensor(1 / 144).double())
    assert assignment.labels.bincount().tolist() == [4] * 6


def test_constant_logits_with_biases_still_fill_all_clusters() -> None:
    assignment = sinkhorn(torch.tensor([0.3, -1.7, 2.2]).expand(30, 3), 10.0)
    assert assignment.labels.bincount(minlength=3).tolist() == [10, 10, 10]


def test_plan_does_not_depend_on_constants_of_items_or_clusters() -> None:
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
    assignment = sinkhorn(logits, strength)
    for scores in (
        transport_plan(logits, assignment.log_prices, strength).log(),
        strength * logits + assignment.log_prices,
    ):
        chosen = scores.gather(1, assignment.labels[:, None])[:, 0]
        assert torch.allclose(chosen, scores.amax(1), atol=1e-7)  # not equal where clusters tie


def test_growing_strength_approaches_the_exact_assignment() -> None:
    logits = gaussian(64, 8)
    cost = -torch.log_softmax(logits, 1)
    rows, columns = linear_sum_assignment(cost.repeat_interleave(8, dim=1).numpy())
    exact = float(cost[rows, columns // 8].mean())
    costs = [float((plan(logits, s, 1e-3) * cost).sum()) for s in (1.0, 5.0, 25.0, 100.0, 400.0)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == pytest.approx(exact, abs=1e-3)
    assert costs[-1] >= exact - 1e-3  # because cluster sums are exact to 1e-3 only
    labels = sinkhorn(logits, 400.0, max_iterations=20000).labels
    assert (labels == torch.as_tensor(columns // 8)).float().mean() >= 0.96


def test_vanishing_strength_gives_the_uniform_plan() -> None:
    assert torch.allclose(plan(gaussian(20, 4), 1e-9), torch.tensor(1 / 80).double(), atol=1e-9)


@pytest.mark.parametrize("strength", [1.0, 5.0, 25.0])
def test_pot_finds_the_same_plan(strength: float) -> None:
    logits = gaussian(50, 6, seed=3)
    cost = -torch.log_softmax(logits, 1).numpy()
    expected = ot.sinkhorn(np.full(50, 1 / 50), np.full(6, 1 / 6), cost, 1 / strength, stopThr=1e-13, numItermax=50000)
    assert np.allclose(plan(logits, strength).numpy(), expected, atol=1e-9)


def in_log_domain(logits: Tensor, max_iterations: int = 2000) -> tuple[Tensor, int, float]:
    scores = module._Scores([logits], 25.0)
    start, plain = torch.zeros_like(scores.shift), module._Mixing(0)
    log_a, iterations, error = module._log(scores, start, 1e-3, max_iterations, plain)
    return log_a - scores.shift, iterations, error


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_linear_and_log_domain_agree(scale: float) -> None:
    logits = gaussian(200, 16, scale=scale)
    assignment, (log_prices, steps, error) = sinkhorn(logits, 25.0), in_log_domain(logits)
    assert torch.allclose(assignment.log_prices, log_prices - log_prices.mean(), atol=1e-6)
    assert torch.equal(assignment.labels, (25 * logits + log_prices).argmax(1))
    assert assignment.iterations == steps
    assert assignment.mass_error == pytest.approx(error, abs=1e-9)


def hard_rows() -> dict[str, Tensor]:
    """Return problems in which iterating on plain powers of probabilities fails (K=32)."""
    logits, item = gaussian(400, 32), torch.arange(400)
    far_10, far_40 = logits.clone(), logits.clone()
    far_10[:, 0] -= 10
    far_40[:, 0] -= 40
    balanced, crowded = 0.1 * logits, 0.1 * logits
    balanced[item, item % 32] += 12
    crowded[item, torch.where(item < 200, 0, item % 32)] += 12
    return {"far_10": far_10, "far_40": far_40, "confident": balanced, "crowded": crowded}


@pytest.mark.parametrize("name", ["far_10", "far_40", "confident", "crowded"])
def test_labels_of_hard_problems_are_nearly_balanced(name: str) -> None:
    assignment = sinkhorn(hard_rows()[name], 25.0)
    counts = assignment.labels.bincount(minlength=32)
    assert assignment.log_prices.isfinite().all()
    assert math.isfinite(assignment.mass_error)
    assert counts.min() >= 5
    assert counts.max() <= 20


@pytest.mark.parametrize("name", ["far_10", "far_40", "confident", "crowded"])
def test_hard_problems_get_the_labels_of_the_log_domain(name: str) -> None:
    logits = hard_rows()[name]
    log_prices, _, _ = in_log_domain(logits, 500)
    assignment = sinkhorn(logits, 25.0, max_iterations=500)
    assert assignment.domain == "linear"
    assert torch.equal(assignment.labels, (25 * logits + log_prices).argmax(1))


@pytest.mark.parametrize(
    ("name", "dtype", "columns"),
    [
        ("far_10", torch.float32, False),
        ("far_40", torch.float32, False),
        ("crowded", torch.float32, False),
        ("crowded", torch.float32, True),
        ("far_40", torch.float64, False),
    ],
)
def test_hard_problems_fail_in_float32_or_without_both_shifts(name: str, dtype: torch.dtype, columns: bool) -> None:
    scores = (25 * hard_rows()[name]).to(dtype)
    scores -= scores.amax(1, keepdim=True)
    kernel, a = (scores - scores.amax(0) if columns else scores).exp(), torch.ones(32, dtype=dtype)
    for _ in range(2000):
        a = 1 / (32 * (kernel.T @ (1 / (400 * (kernel @ a)))))
    assert not a.isfinite().all()


def test_iteration_on_plain_powers_in_float32_gives_nan() -> None:
    kernel = torch.softmax(gaussian(2000, 128, scale=0.1), 1).float() ** 25
    assert kernel.max() == 0
    a = 1 / (128 * (kernel.T @ torch.full((2000,), 1 / 2000)))
    b = 1 / (2000 * (kernel @ a))
    assert b.isnan().all()
    assert float((b / b - 1).abs().nansum()) == 0  # the reference's stopping sum, which skips NaN


def test_float32_logits_get_the_labels_of_float64() -> None:
    for logits in hard_rows().values():
        single, double = sinkhorn(logits.float(), 25.0), sinkhorn(logits.float().double(), 25.0)
        assert torch.equal(single.labels, double.labels)


def test_problem_outside_the_range_of_float64_is_solved_in_the_log_domain() -> None:
    logits = torch.full((8, 4), -1000.0)
    logits[torch.arange(8), torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])] = 1000.0
    logits[:, 3] = -torch.arange(8.0) * 100 - 2000  # no item's best cluster
    assignment = sinkhorn(logits, 25.0)
    assert assignment.domain == "log"
    assert assignment.log_prices.isfinite().all()
    assert assignment.labels.bincount(minlength=4).min() >= 1


def test_confident_balanced_items_keep_their_labels() -> None:
    labels = torch.arange(40) % 4
    assignment = sinkhorn(10.0 * torch.eye(4)[labels], 25.0)
    assert torch.equal(assignment.labels, labels)
    assert assignment.log_prices.abs().max() < 1e-9


def test_confident_items_of_a_crowded_cluster_move_at_the_least_cost() -> None:
    logits = gaussian(40, 4, scale=0.5)
    logits[torch.arange(40), torch.where(torch.arange(40) < 25, 0, torch.arange(40) % 4)] += 12
    cost = -torch.log_softmax(logits, 1)
    _, columns = linear_sum_assignment(cost.repeat_interleave(10, dim=1).numpy())
    assignment = sinkhorn(logits, 100.0, max_iterations=20000)
    assert assignment.labels.bincount().tolist() == [10] * 4
    assert torch.equal(assignment.labels, torch.as_tensor(columns // 10))


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_new_labels_cost_at_most_the_previous_balanced_ones_plus_the_entropy_term(scale: float) -> None:
    logits, before = (
        gaussian(640, 32, scale=scale),
        torch.randperm(640, generator=torch.Generator().manual_seed(1)) % 32,
    )
    cost = -torch.log_softmax(logits, 1)
    assert float((plan(logits, 25.0, 1e-6) * cost).sum()) <= cost[torch.arange(640), before].mean() + math.log(32) / 25


def test_one_cluster_takes_all_items_and_as_many_clusters_as_items_take_one_each() -> None:
    assert sinkhorn(gaussian(9, 1), 10.0).labels.tolist() == [0] * 9
    one_each = sinkhorn(gaussian(12, 12), 200.0, max_iterations=20000)
    assert one_each.labels.sort().values.tolist() == list(range(12))


def test_reaching_the_maximum_of_iterations_is_reported() -> None:
    assignment = sinkhorn(gaussian(100, 8), 25.0, max_iterations=3)
    assert (assignment.iterations, assignment.converged) == (3, False)
    assert assignment.mass_error >= 1e-3


def test_logits_are_not_changed() -> None:
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


def test_strength_of_zero_and_logits_that_are_no_matrix_are_refused() -> None:
    with pytest.raises(ValueError, match="strength must be > 0, got 0"):
        sinkhorn(gaussian(4, 3), 0.0)
    with pytest.raises(ValueError, match=r"got \(4,\)"):
        sinkhorn(torch.zeros(4), 5.0)


def test_start_at_prices_of_a_similar_problem_saves_iterations_and_keeps_the_labels() -> None:
    logits = torch.randn(400, 16, generator=torch.Generator().manual_seed(3))
    cold = sinkhorn(logits, 10.0, tolerance=1e-6)
    near = logits + 0.01 * torch.randn(400, 16, generator=torch.Generator().manual_seed(4))
    warm, again = sinkhorn(near, 10.0, tolerance=1e-6, start=cold.log_prices), sinkhorn(near, 10.0, tolerance=1e-6)
    assert warm.iterations < again.iterations
    assert torch.equal(warm.labels, again.labels)
    assert torch.allclose(warm.log_prices, again.log_prices, atol=1e-3)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("memory", [1, 5, 50])
def test_mixing_finds_the_same_prices_in_fewer_iterations(scale: float, memory: int) -> None:
    logits = gaussian(400, 16, scale=scale)
    plain = sinkhorn(logits, 25.0, tolerance=1e-9, max_iterations=20_000)
    mixed = sinkhorn(logits, 25.0, tolerance=1e-9, max_iterations=20_000, mixing=memory)
    assert mixed.converged
    assert mixed.iterations < plain.iterations / 1.5
    assert torch.allclose(mixed.log_prices, plain.log_prices, atol=1e-5)
    assert torch.equal(mixed.labels, plain.labels)


@pytest.mark.parametrize("name", ["far_10", "far_40", "confident", "crowded"])
def test_mixing_needs_no_more_iterations_on_hard_problems(name: str) -> None:
    logits = hard_rows()[name]
    plain, mixed = (sinkhorn(logits, 25.0, max_iterations=5000, mixing=memory) for memory in (0, 5))
    assert (mixed.converged, mixed.domain) == (True, "linear")
    assert mixed.iterations <= plain.iterations + 20


def test_mixing_works_in_the_log_domain() -> None:
    logits = torch.full((8, 4), -1000.0)
    logits[torch.arange(8), torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])] = 1000.0
    logits[:, 3] = -torch.arange(8.0) * 100 - 2000
    assignment = sinkhorn(logits, 25.0, mixing=5)
    assert assignment.domain == "log"
    assert assignment.labels.bincount(minlength=4).min() >= 1


def test_mixing_of_two_points_is_the_secant_step() -> None:
    mixing = module._Mixing(3)
    mixing.next(torch.zeros(1), torch.zeros(1))  # the first step is plain
    first = mixing.next(torch.tensor([0.0, 0.0]), torch.tensor([1.0, -1.0]))
    assert first.tolist() == [1.0, -1.0]
    second = mixing.next(first, first + torch.tensor([0.5, -0.5]))
    assert torch.allclose(second, torch.tensor([2.0, -2.0]))  # steps halve: 1 + 1/2 + 1/4 + ... = 2


def test_single_block_equals_the_plain_iteration_up_to_rounding() -> None:
    logits = gaussian(300, 12, seed=5).float()
    scores = 25.0 * logits.double()
    scores -= scores.amax(1, keepdim=True)
    shift = scores.amax(0)
    kernel = (scores - shift).exp()
    a = torch.ones(12, dtype=torch.float64)
    assignment = sinkhorn(logits, 25.0)
    for _ in range(assignment.iterations):
        a = 1 / (12 * (kernel.T @ (1 / (300 * (kernel @ a)))))
    assert assignment.iterations > 50
    prices = a.log() - shift
    assert torch.allclose(assignment.log_prices, prices - prices.mean(), rtol=0, atol=1e-12)
    assert torch.equal(assignment.labels, (scores - shift + a.log()).argmax(1))
    (one,) = [sinkhorn([logits], 25.0)]
    assert torch.equal(one.log_prices, assignment.log_prices)


@pytest.mark.parametrize(
    ("n", "k", "scale", "rows"), [(20_000, 100, 0.1, 3000), (2000, 20, 1.0, 299), (300, 9, 3.0, 7)]
)
def test_blocks_give_the_labels_of_a_single_matrix(n: int, k: int, scale: float, rows: int) -> None:
    logits = gaussian(n, k, scale=scale).float()
    whole, blocks = (
        sinkhorn(logits, 25.0, max_iterations=200),
        sinkhorn(torch.split(logits, rows), 25.0, max_iterations=200),
    )
    assert torch.equal(blocks.labels, whole.labels)
    assert torch.allclose(blocks.log_prices, whole.log_prices, atol=1e-9)
    assert blocks.iterations == whole.iterations


def test_hard_problems_in_blocks_get_the_labels_of_a_single_matrix() -> None:
    for logits in hard_rows().values():
        whole, blocks = (
            sinkhorn(logits, 25.0, max_iterations=300),
            sinkhorn(torch.split(logits, 64), 25.0, max_iterations=300),
        )
        assert torch.equal(blocks.labels, whole.labels)


def test_blocks_are_solved_in_the_log_domain_where_a_single_matrix_is() -> None:
    logits = torch.full((8, 4), -1000.0)
    logits[torch.arange(8), torch.tensor([0, 0, 0, 0, 0, 0, 1, 2])] = 1000.0
    logits[:, 3] = -torch.arange(8.0) * 100 - 2000
    whole, blocks = sinkhorn(logits, 25.0), sinkhorn(torch.split(logits, 3), 25.0)
    assert blocks.domain == "log"
    assert torch.equal(blocks.labels, whole.labels)


def test_tied_items_take_clusters_in_turn_across_blocks() -> None:
    assert sinkhorn([torch.zeros(1, 3)] * 9, 25.0).labels.tolist() == [0, 1, 2] * 3


@pytest.mark.parametrize("entries", [1, 40, 2**17])
def test_size_of_the_parts_of_a_block_changes_no_label(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = gaussian(60, 12, seed=5)
    logits[20:40, :5] = 4.0  # these five clusters tie
    whole = sinkhorn(logits, 25.0)
    monkeypatch.setattr(module, "_PART_ENTRIES", entries)
    assignment = sinkhorn(logits, 25.0)
    assert torch.equal(assignment.labels, whole.labels)
    assert (assignment.iterations, assignment.domain) == (whole.iterations, whole.domain)
    assert torch.allclose(assignment.log_prices, whole.log_prices, atol=1e-10)
    log_prices, steps, _ = in_log_domain(logits)
    assert torch.allclose(assignment.log_prices, log_prices - log_prices.mean(), atol=1e-9)
    assert steps == assignment.iterations


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_half_precision_changes_few_labels(scale: float) -> None:
    logits = gaussian(2000, 32, scale=scale).float() + 100
    assignment = sinkhorn([halved(block) for block in torch.split(logits, 500)], 25.0, max_iterations=300)
    assert (assignment.labels == sinkhorn(logits, 25.0, max_iterations=300).labels).float().mean() > 0.99


def test_half_precision_subtracts_the_row_maximum_and_clamps_to_its_range() -> None:
    kept = halved(torch.tensor([[1e6, 1e6 - 1, -1e6], [3.0, 3.0, 5.0]]))
    assert kept.dtype == torch.float16
    assert kept.tolist() == [[0.0, -1.0, -65504.0], [-2.0, -2.0, 0.0]]


def test_a_million_items_in_a_thousand_clusters_fit_into_a_few_gib() -> None:
    gib = 2**30
    assert 11 < planned_bytes(1_000_000, 1000) / gib < 12  # one block, whose exponentials are kept
    assert 3.7 < planned_bytes(1_000_000, 1000, 8192) / gib < 3.9
    assert 1.8 < planned_bytes(1_000_000, 1000, 8192, half=True) / gib < 2.0
    assert planned_bytes(10, 4, 8192) == planned_bytes(10, 4)


MEASURE = """
import torch
from bench_core.devices import peak_memory_gib, reset_peak_memory
from bench_core.nn.sinkhorn import halved, planned_bytes, sinkhorn
cpu = torch.device("cpu")
sinkhorn([torch.randn(1000, 500)] * 2, 25.0, max_iterations=2)  # the first call loads libraries
reset_peak_memory(cpu)
before = peak_memory_gib(cpu)
sinkhorn([halved(0.02 * torch.randn(1000, 500)) for _ in range(20)], 25.0)
print(peak_memory_gib(cpu) - before, planned_bytes(20_000, 500, 1000, half=True) / 2**30)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is measured through /proc")
def test_measured_peak_memory_is_within_the_planned_bytes() -> None:
    # With this threshold freed memory is returned to the system at once, so that gaps are not counted.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    measured, planned = map(float, ran.stdout.split())
    assert 20_000 * 500 * 2 / 2**30 < measured < planned < 20_000 * 500 * 4 / 2**30


@pytest.mark.parametrize("blocks", [[], [torch.zeros(2, 3), torch.zeros(2, 4)], [torch.zeros(2, 3), torch.zeros(0, 3)]])
def test_blocks_of_different_widths_or_without_items_are_refused(blocks: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="logits must be"):
        sinkhorn(blocks, 5.0)


def test_planned_bytes_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """9 items and 3 clusters in parts of 4 items: the last part is shorter, and counts as a part."""
    monkeypatch.setattr(module, "_PART_ENTRIES", 12)
    vectors = 8 * (4 * 9 + (3 + 8) * 3)
    blocks, exponentials, part = 9 * 3 * 4, 9 * 3 * 8, 4 * 3 * module._WORK_BYTES
    assert planned_bytes(9, 3) == blocks + exponentials + part + vectors
