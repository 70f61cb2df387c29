import pytest
import torch
from torch._subclasses import FakeTensorMode

from bench_core.metrics import average_precision
from bench_core.rankings import average_precisions

RNG = torch.Generator().manual_seed(0)


def rows(levels: int, count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of so many values, and what is relevant: nothing in the first row, everything in the second."""
    scores = torch.randint(levels, (5, count), generator=RNG).float()
    relevant = torch.rand(5, count, generator=RNG) < 0.3
    relevant[0], relevant[1] = False, True
    return scores, relevant


@pytest.mark.parametrize("levels", [1, 3, 10**6])
def test_many_rankings_are_each_the_one(levels: int) -> None:
    scores, relevant = rows(levels)
    each = [average_precision(score, hits) for score, hits in zip(scores, relevant, strict=True)]
    assert average_precisions(scores, relevant).tolist() == pytest.approx(each, abs=1e-12)


def test_a_value_by_hand() -> None:
    scores, relevant = torch.tensor([[3.0, 2.0, 1.0]]), torch.tensor([[True, False, True]])
    assert average_precisions(scores, relevant).tolist() == pytest.approx([(1 / 1 + 2 / 3) / 2])


def test_it_needs_nothing_of_the_host() -> None:
    with FakeTensorMode():
        scores = torch.rand(5, 60, device="cuda")
        assert average_precisions(scores, scores > 0.5).device.type == "cuda"
