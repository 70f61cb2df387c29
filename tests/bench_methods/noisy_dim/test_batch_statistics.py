from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from bench_core import Batch
from bench_methods.noisy_dim.batch_statistics import renew_statistics


def network(seed: int = 0) -> tuple[nn.Sequential, nn.BatchNorm1d]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), nn.BatchNorm1d(3)


def items(n: int) -> Tensor:
    return 3 + 2 * torch.randn(n, 4, generator=torch.Generator().manual_seed(1))


def passes(x: Tensor, size: int) -> Iterator[Batch]:
    return (Batch(part, torch.arange(len(part))) for part in torch.split(x, size))


def test_outputs_have_mean_0_and_deviation_1_over_the_pass_in_eval_mode() -> None:
    x, (body, last) = items(101), network()
    moved = renew_statistics(body, last, lambda: passes(x, 20))  # a last batch of one
    outputs = last(body(x))
    assert not last.training
    assert torch.allclose(outputs.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(outputs.std(0, correction=0), torch.ones(3), atol=1e-3)
    assert moved > 0


def test_inner_statistics_are_averages_of_whole_batches() -> None:
    x, (body, last) = items(50), network()
    renew_statistics(body, last, lambda: passes(x, 20))
    inner, state = body[0](x[:40]).view(2, 20, 8), body.state_dict()
    assert torch.allclose(state["1.running_mean"], inner.mean(1).mean(0), atol=1e-5)
    assert torch.allclose(state["1.running_var"], inner.var(1).mean(0), atol=1e-5)


def test_a_second_renewal_moves_nothing_and_momentum_is_kept() -> None:
    x, (body, last) = items(60), network()
    renew_statistics(body, last, lambda: passes(x, 20))
    assert renew_statistics(body, last, lambda: passes(x, 20)) < 1e-6
    assert last.momentum == 0.1


def test_the_largest_move_is_in_deviations_of_the_new_outputs() -> None:
    x, (body, last) = items(60), network()
    assert last.running_mean is not None
    before = last.running_mean.clone()
    moved = renew_statistics(body, last, lambda: passes(x, 20))
    outputs = body(x).detach().double()
    expected = (before - outputs.mean(0)).abs() / (outputs.var(0, correction=0) + last.eps).sqrt()
    assert moved == pytest.approx(float(expected.max()), rel=1e-5)
