import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from bench_core.nn.joint_critic import JointCritic
from bench_core.nn.mutual_information import donsker_varadhan, nwj
from bench_methods.mine.information import EstimatorName, batch_information

FIRST = torch.tensor(-math.inf)
ESTIMATORS: list[EstimatorName] = ["dv", "f"]


class Table(JointCritic):
    """Critic that knows the score of each pair of items, whose number is their value."""

    def __init__(self, scores: Tensor) -> None:
        super().__init__(1, 1, 1)
        self.scores = scores

    def forward(self, x: Tensor, y: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        return self.scores[x[:, 0].long(), y[:, 0].long()]


def numbers(K: int) -> Tensor:
    return torch.arange(float(K))[:, None]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_with_two_items_the_estimate_is_the_bound_over_all_pairs(estimator: EstimatorName) -> None:
    scores = torch.randn(2, 2, generator=torch.Generator().manual_seed(0))
    value, _ = batch_information(Table(scores), numbers(2), numbers(2), FIRST, estimator)
    bound = donsker_varadhan if estimator == "dv" else lambda joint, product: nwj(joint + 1, product + 1)
    assert value.item() == pytest.approx(bound(scores.diagonal(), scores.flatten()).item(), abs=1e-6)


def test_the_estimate_equals_its_formula_pair_by_pair() -> None:
    K = 5
    scores = torch.randn(K, K, generator=torch.Generator().manual_seed(0))
    value, log_average = batch_information(Table(scores), numbers(K), numbers(K), FIRST, "dv")
    product = 0.0
    for i in range(K):
        own, other = math.exp(scores[i, i]), math.exp(scores[i, i - 1])
        product += (own / K + (K - 1) / K * other) / K
    assert value.item() == pytest.approx(scores.diagonal().mean().item() - math.log(product), abs=1e-5)
    assert log_average.item() == pytest.approx(math.log(product), abs=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_critic_that_recognises_every_pair_reaches_log_of_the_batch_and_no_more(estimator: EstimatorName) -> None:
    K = 8
    best = math.log(K) if estimator == "f" else 100.0
    scores = torch.full((K, K), -100.0).fill_diagonal_(best)
    value, _ = batch_information(Table(scores), numbers(K), numbers(K), FIRST, estimator)
    assert value.item() == pytest.approx(math.log(K), abs=1e-4)
    for seed in range(20):
        wild = 30 * torch.randn(K, K, generator=torch.Generator().manual_seed(seed))
        assert batch_information(Table(wild), numbers(K), numbers(K), FIRST, estimator)[0] <= math.log(K) + 1e-4


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_scores_tell_nothing(estimator: EstimatorName) -> None:
    value, _ = batch_information(Table(torch.zeros(6, 6)), numbers(6), numbers(6), FIRST, estimator)
    assert value.item() == pytest.approx(0, abs=1e-6)


def test_a_constant_added_to_all_scores_changes_nothing_for_dv() -> None:
    scores = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    plain, moved = (
        batch_information(Table(each), numbers(4), numbers(4), FIRST, "dv")[0] for each in (scores, scores + 7)
    )
    assert plain.item() == pytest.approx(moved.item(), abs=1e-5)


def test_the_f_form_is_never_above_dv() -> None:
    for seed in range(10):
        table = Table(torch.randn(6, 6, generator=torch.Generator().manual_seed(seed)))
        dv, f = (batch_information(table, numbers(6), numbers(6), FIRST, name)[0] for name in ESTIMATORS)
        assert f <= dv + 1e-6


def test_a_critic_of_correlated_gaussians_finds_their_information() -> None:
    rho, K, rng = 0.8, 256, torch.Generator().manual_seed(0)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        critic = JointCritic(1, 1, 64)
    optimizer, log_average, values = torch.optim.Adam(critic.parameters(), 3e-3), FIRST, list[float]()
    for _ in range(400):
        x, noise = torch.randn(2, K, 1, generator=rng)
        value, log_average = batch_information(critic, x, rho * x + math.sqrt(1 - rho**2) * noise, log_average, "dv")
        optimizer.zero_grad()
        torch.autograd.backward(-value)
        optimizer.step()
        values.append(value.item())
    assert sum(values[-100:]) / 100 == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.06)  # .511 nats


def test_a_batch_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 items in a batch, got 1"):
        batch_information(JointCritic(1, 1, 4), numbers(1), numbers(1), FIRST, "dv")
