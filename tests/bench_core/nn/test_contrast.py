import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core.nn.contrast import nt_xent


def draw(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))


def test_nt_xent_equals_equation_1() -> None:
    z, t, n = draw(8), 0.3, 4
    losses = []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        s = [float(F.cosine_similarity(z[i], z[k], dim=0)) / t for k in range(2 * n)]
        candidates = sum(torch.tensor(s[k]).exp() for k in range(2 * n) if k != i)
        losses.append(-(torch.tensor(s[j]).exp() / candidates).log())
    assert torch.allclose(nt_xent(z, t), torch.stack(losses).mean(), atol=1e-6)


def test_nt_xent_of_identical_rows_is_log_of_the_number_of_others() -> None:
    assert nt_xent(torch.ones(16, 4), 0.5).item() == pytest.approx(torch.tensor(15.0).log().item())


def test_nt_xent_ignores_scale_and_the_order_of_views_and_images() -> None:
    z = draw(12)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    scales = torch.rand(12, 1, generator=torch.Generator().manual_seed(1)) + 0.1
    for same in (z * scales, z.roll(6, 0), z[torch.cat([order, order + 6])]):
        assert torch.allclose(nt_xent(same, 0.5), nt_xent(z, 0.5), atol=1e-6)


def test_nt_xent_is_computed_in_float32_under_autocast() -> None:
    z = draw(12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(nt_xent(z, 0.1), nt_xent(z, 0.1).float())
        inside = nt_xent(z, 0.1)
    assert torch.equal(inside, nt_xent(z, 0.1))


def test_nt_xent_of_opposite_pairs_by_hand() -> None:
    codes = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])  # both views agree, images are opposite
    assert nt_xent(codes, 0.5).item() == pytest.approx(math.log(1 + 2 * math.exp(-4)), rel=1e-5)
