import math
from typing import Any

import pytest
import torch
from torch import nn

from bench_core import Recipe
from bench_core.training.optimizers import LARS, make_optimizer, rate_factor

RNG = torch.Generator().manual_seed(0)


def random() -> torch.Tensor:
    """Return another matrix at each call, in double precision so that small differences show."""
    RNG.manual_seed(RNG.initial_seed() + 1)
    return torch.randn(4, 3, generator=RNG, dtype=torch.float64)


def step(weight: torch.Tensor, grad: torch.Tensor, **options: Any) -> torch.Tensor:
    """Return the change of a weight in one LARS step."""
    parameter = nn.Parameter(weight.clone())
    parameter.grad = grad.clone()
    LARS([{"params": [parameter]}], lr=1.0, momentum=0.0, **options).step()
    return parameter.detach() - weight


def test_lars_moves_a_weight_by_trust_times_its_norm() -> None:
    weight, grad = random(), random()
    expected = -1e-3 * weight.norm() * grad / grad.norm()
    assert torch.allclose(step(weight, grad), expected, atol=1e-12)


def test_lars_adds_weight_decay_before_it_takes_the_norm() -> None:
    weight, grad = random(), random()
    update = grad + 0.1 * weight
    expected = -1e-3 * weight.norm() * update / update.norm()
    assert torch.allclose(step(weight, grad, weight_decay=0.1), expected, atol=1e-12)


def test_lars_step_is_proportional_to_its_weight() -> None:
    weight, grad = random(), random()
    assert torch.allclose(step(5 * weight, grad), 5 * step(weight, grad), atol=1e-12)


def test_capped_lars_does_not_depend_on_the_rate_and_never_exceeds_plain_sgd() -> None:
    weight, grad = random(), random()
    expected = -1e-3 * weight.norm() * grad / grad.norm()
    assert torch.allclose(step(weight, grad, cap=True), expected, atol=1e-12)
    parameter = nn.Parameter(weight.clone())
    parameter.grad = 1e-6 * grad
    LARS([{"params": [parameter]}], lr=0.5, momentum=0.0, trust=0.02, cap=True).step()
    assert torch.allclose(parameter.detach() - weight, -0.5 * 1e-6 * grad, atol=1e-14)


@pytest.mark.parametrize("cap", [False, True])
def test_lars_gives_the_same_with_its_rate_in_a_tensor(cap: bool) -> None:
    start, grads, ends = random(), [random(), random()], []
    for as_tensor in (False, True):
        weight = nn.Parameter(start.clone())
        optimizer = LARS([{"params": [weight]}], lr=0.0, trust=0.02, cap=cap, weight_decay=0.1)
        for rate, grad in zip((0.01, 0.3), grads, strict=True):
            optimizer.param_groups[0]["lr"] = torch.tensor(rate, dtype=torch.float64) if as_tensor else rate
            weight.grad = grad
            optimizer.step()
        ends.append(weight.detach())
    assert torch.allclose(ends[0], ends[1], atol=1e-12)
    assert not torch.allclose(ends[0], start, atol=1e-4)


def test_lars_moves_each_of_several_weights_as_if_it_were_the_only_one() -> None:
    weights, grads = [random() for _ in range(3)], [random() for _ in range(3)]
    parameters = [nn.Parameter(weight.clone()) for weight in (*weights, weights[0])]
    for parameter, grad in zip(parameters, grads, strict=False):
        parameter.grad = grad.clone()
    LARS([{"params": parameters}, {"params": [nn.Parameter(weights[0])]}], lr=1.0, momentum=0.0).step()
    for parameter, weight, grad in zip(parameters, weights, grads, strict=False):
        assert torch.equal(parameter.detach() - weight, step(weight, grad))
    assert torch.equal(parameters[3].detach(), weights[0])


def test_lars_moves_a_weight_of_zeros_and_gives_no_nan_for_a_gradient_of_zeros() -> None:
    zeros, ones = torch.zeros(3, 3), torch.ones(3, 3)
    assert torch.equal(step(zeros, ones), -ones)
    assert torch.equal(step(ones, zeros), zeros)


def test_lars_has_momentum() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = LARS([{"params": [parameter], "adapt": False}], lr=1.0, momentum=0.5)
    for _ in range(2):
        parameter.grad = torch.ones(2)
        optimizer.step()
    assert parameter.tolist() == [-2.5, -2.5]  # -1, then -(0.5 + 1)


def test_bias_and_norm_are_neither_decayed_nor_adapted() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = make_optimizer(list(net.parameters()), Recipe(optimizer="lars", weight_decay=0.1))
    weights, rest = optimizer.param_groups
    assert [p.ndim for p in weights["params"]] == [2]
    assert (weights["weight_decay"], weights["adapt"]) == (0.1, True)
    assert len(rest["params"]) == 3
    assert (rest["weight_decay"], rest["adapt"]) == (0.0, False)


@pytest.mark.parametrize(
    ("rule", "cls"),
    [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("lars", LARS)],
)
def test_each_name_in_a_recipe_gives_its_optimiser(rule: str, cls: type) -> None:
    assert type(make_optimizer([nn.Parameter(torch.ones(2, 2))], Recipe(optimizer=rule))) is cls  # type: ignore[arg-type]  # a Literal by parameter


def test_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    recipe = Recipe(warmup_epochs=2, schedule="cosine")
    rates = [rate_factor(recipe, step, 40, 4) for step in range(40)]
    assert rates[:8] == [(k + 1) / 8 for k in range(8)]
    assert rates[8] == 1.0
    assert rates[24] == pytest.approx(0.5)
    assert rates[39] == pytest.approx(0.5 * (1 + math.cos(math.pi * 31 / 32)))


def test_rate_falls_tenfold_at_the_milestones() -> None:
    recipe = Recipe(schedule="steps", milestones=(0.6, 0.8))
    rates = [rate_factor(recipe, step, 10, 1) for step in range(10)]
    assert rates == pytest.approx([1] * 6 + [0.1] * 2 + [0.01] * 2)


def test_constant_schedule_gives_a_constant_rate() -> None:
    assert {rate_factor(Recipe(schedule="constant"), step, 10, 1) for step in range(10)} == {1.0}


def test_recipe_passes_trust_and_cap_to_lars_and_leaves_defaults_out_of_its_key() -> None:
    from bench_core.config import plain

    (group, _) = make_optimizer(
        [nn.Parameter(torch.ones(2, 2))], Recipe(optimizer="lars", trust=0.02, trust_cap=True)
    ).param_groups
    assert (group["trust"], group["cap"]) == (0.02, True)
    assert {"trust", "trust_cap"}.isdisjoint(plain(Recipe()))
    with pytest.raises(ValueError, match="trust must be > 0, got 0"):
        Recipe(trust=0)


def test_rate_of_capped_lars_is_trust_times_the_norms_unless_that_is_more_than_the_rate() -> None:
    """|w| = 4, |g| = 2: with trust 0.1 the rate of the weight is 0.2."""
    for rate, used in ((0.5, 0.2), (0.1, 0.1)):
        weight = nn.Parameter(torch.full((2, 2), 2.0))
        weight.grad = torch.ones(2, 2)
        LARS([{"params": [weight]}], lr=rate, momentum=0.0, trust=0.1, cap=True).step()
        assert torch.allclose(weight.detach(), torch.full((2, 2), 2.0 - used))
