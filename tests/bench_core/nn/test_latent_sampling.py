import pytest
import torch
from torch import Tensor

from bench_core.nn.latent_sampling import draw_gaussian, fit_gaussian, gaussian_like, principal_like


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def skewed(rows: int = 500) -> Tensor:
    mixed = torch.randn(rows, 3, generator=rng(1)) @ torch.tensor([[2.0, 0.5, 0.0], [0.0, 1.0, -0.7], [0.0, 0.0, 0.1]])
    return mixed + torch.tensor([5.0, 0.0, -3.0])


def test_root_is_a_square_root_of_the_covariance() -> None:
    rows = skewed()
    mean, root = fit_gaussian(rows)
    assert torch.allclose(mean, rows.mean(0), atol=1e-5)
    assert torch.allclose(root.T @ root, torch.cov(rows.T), atol=1e-5)


def test_draws_have_the_mean_and_covariance_of_the_rows() -> None:
    rows = skewed()
    drawn = gaussian_like(rows, 50_000, rng())
    assert drawn.shape == (50_000, 3)
    assert drawn.dtype == rows.dtype
    assert torch.allclose(drawn.mean(0), rows.mean(0), atol=0.03)  # standard error .01
    assert torch.allclose(torch.cov(drawn.T), torch.cov(rows.T), atol=0.15)  # .03


def test_draws_from_fewer_rows_than_latents_stay_in_their_span() -> None:
    rows = torch.randn(4, 10, generator=rng(2), dtype=torch.float64)
    drawn = gaussian_like(rows, 20_000, rng())
    basis = torch.linalg.svd(rows - rows.mean(0), full_matrices=False).Vh[:3]
    centred = drawn - rows.mean(0)
    assert torch.allclose(centred @ basis.T @ basis, centred, atol=1e-9)
    assert torch.allclose(torch.cov(drawn.T), torch.cov(rows.T), atol=0.1)
    assert fit_gaussian(rows)[1].shape == (10, 10)


def test_single_row_is_repeated_and_no_rows_are_refused() -> None:
    row = torch.tensor([[1.0, -2.0]])
    assert torch.equal(gaussian_like(row, 3, rng()), row.expand(3, 2))
    with pytest.raises(ValueError, match=r"one or more rows \(M, P\), got shape \(0, 2\)"):
        gaussian_like(row[:0], 3, rng())
    with pytest.raises(ValueError, match=r"one or more rows \(M, P\), got shape \(0, 2\)"):
        principal_like(row[:0], 3, rng(), 2)
    with pytest.raises(ValueError, match="rank must be >= 1, got 0"):
        principal_like(row, 3, rng(), 0)


def test_large_mean_costs_no_precision() -> None:
    rows = skewed().double()
    shifted = fit_gaussian(rows + 1e6)[1]
    assert torch.allclose(shifted.T @ shifted, torch.cov(rows.T), atol=1e-6)


def test_draws_depend_on_the_generator_alone() -> None:
    rows = skewed()
    state = torch.get_rng_state()
    assert torch.equal(gaussian_like(rows, 5, rng(3)), gaussian_like(rows, 5, rng(3)))
    assert not torch.equal(gaussian_like(rows, 5, rng(3)), gaussian_like(rows, 5, rng(4)))
    assert torch.equal(principal_like(rows, 5, rng(3), 2), principal_like(rows, 5, rng(3), 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(draw_gaussian(*fit_gaussian(rows), 5, rng(3)), gaussian_like(rows, 5, rng(3)))


def test_rows_are_drawn_in_turn_along_each_uncentred_direction() -> None:
    generator = rng(5)
    first = torch.zeros(60, 4)
    first[:, 0] = 10 + torch.randn(60, generator=generator)
    second = torch.zeros(60, 4)
    second[:, 2] = 5 + 0.5 * torch.randn(60, generator=generator)
    drawn = principal_like(torch.cat([first, second]), 8001, rng(), 2)
    assert drawn.shape == (8001, 4)
    along_first, along_second = drawn[0::2], drawn[1::2]
    assert not along_first[:, 1:].any()
    assert not along_second[:, [0, 1, 3]].any()
    longest = first[:, 0].topk(40).values
    assert along_first[:, 0].mean().item() == pytest.approx(longest.mean().item(), abs=0.05)
    assert along_first[:, 0].std().item() == pytest.approx(longest.std().item(), rel=0.05)


def test_rank_above_the_number_of_directions_takes_all_of_them() -> None:
    rows = torch.randn(3, 7, generator=rng(6), dtype=torch.float64)
    drawn = principal_like(rows, 10, rng(), 12)
    assert torch.linalg.matrix_rank(torch.cat([rows, drawn])) == 3


def test_rank_1_draws_along_one_direction() -> None:
    rows = torch.tensor([[1.0, 2.0], [2.0, 4.0], [-3.0, -6.0]])
    x, y = principal_like(rows, 10, rng(), 1).unbind(1)
    torch.testing.assert_close(y, 2 * x)
