"""Sum of two terms with gradients of limited length, by hand."""

import pytest
import torch
from torch import nn

from bench_methods.gan.balance import limited_sum


@pytest.mark.parametrize(("main", "other", "share"), [(3.0, 4.0, 0.75), (3.0, 2.0, 1.0), (0.0, 2.0, 0.0), (3.0, 0, 1)])
def test_share_is_the_ratio_of_lengths_and_at_most_1(main: float, other: float, share: float) -> None:
    w = nn.Parameter(torch.ones(2))
    total, found = limited_sum(main * w[0], other * w[1], [w])
    assert float(found) == pytest.approx(share)
    assert float(total.detach()) == pytest.approx(main + share * other)
    (gradient,) = torch.autograd.grad(total, [w])
    assert gradient.tolist() == pytest.approx([main, share * other])


def test_lengths_are_those_of_all_parameters_together() -> None:
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3, 1))
    main, other = 3 * a[0] + 4 * b[0, 0], 6 * a[1] + 8 * b[2, 0]  # lengths 5 and 10
    assert float(limited_sum(main, other, [a, b])[1]) == pytest.approx(0.5)


def test_sum_has_the_papers_gradient() -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layer, x = nn.Linear(4, 3), torch.randn(5, 4)
    main, other = layer(x).square().mean(), layer(x).exp().sum()
    parameters = list(layer.parameters())
    g_main, g_other = (
        torch.cat([g.flatten() for g in torch.autograd.grad(term, parameters, retain_graph=True)])
        for term in (main, other)
    )
    assert g_other.norm() > g_main.norm()
    total, _ = limited_sum(main, other, parameters)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(total, parameters)])
    assert torch.allclose(gradient, g_main + g_main.norm() * g_other / g_other.norm(), atol=1e-5)
