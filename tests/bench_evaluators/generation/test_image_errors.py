"""Errors of reconstructed images, against values by hand, plain loops and torchmetrics."""

import math

import pytest
import torch
from torch import Tensor

from bench_evaluators.generation.image_errors import (
    MOST_SIGNAL_TO_NOISE,
    peak_signal_to_noise,
    squared_error,
    structural_similarity,
)


def images(n: int = 4, side: int = 16, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_squared_error_is_a_mean_over_values() -> None:
    copies = images() + torch.tensor([0.0, 0.1, 0.2, 0.3])[:, None, None, None]
    assert torch.allclose(squared_error(images(), copies), torch.tensor([0.0, 0.01, 0.04, 0.09]), atol=1e-6)


def test_peak_ratio_is_in_decibels_and_limited_by_8_bits() -> None:
    ratio = peak_signal_to_noise(torch.tensor([1.0, 0.01, 0.0]))
    assert torch.allclose(ratio, torch.tensor([0.0, 20.0, 10 * math.log10(12 * 255**2)]))


def test_ssim_of_one_window_is_the_papers_formula() -> None:
    x, y = (torch.rand(1, 1, 7, 7, generator=torch.Generator().manual_seed(s)).double() for s in (0, 1))
    mx, my = float(x.mean()), float(y.mean())
    sx, sy = float(x.var(correction=0)), float(y.var(correction=0))
    both = float(((x - mx) * (y - my)).mean())
    slow = (2 * mx * my + 1e-4) * (2 * both + 9e-4) / ((mx**2 + my**2 + 1e-4) * (sx + sy + 9e-4))
    assert float(structural_similarity(x, y)) == pytest.approx(slow)


def test_ssim_equals_torchmetrics() -> None:
    reference = pytest.importorskip("torchmetrics.functional.image").structural_similarity_index_measure
    x, y = images(), (images() + 0.3 * images(seed=1)).clamp(0, 1)
    _, whole = reference(y, x, gaussian_kernel=False, kernel_size=7, data_range=1.0, return_full_image=True)
    within = whole[..., 3:-3, 3:-3]  # it mirrors borders, too
    assert torch.allclose(structural_similarity(x, y), within.flatten(1).mean(1).double(), atol=1e-5)


def test_copy_has_ssim_1_and_an_inverted_one_far_less() -> None:
    assert torch.allclose(structural_similarity(images(), images()), torch.ones(4, dtype=torch.float64))
    assert (structural_similarity(images(), 1 - images()) < 0).all()


def test_images_smaller_than_a_window_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sides of 7 pixels or more, got \(6, 6\)"):
        structural_similarity(images(side=6), images(side=6))


def test_the_most_that_8_bits_can_tell_is_58_9_decibels() -> None:
    assert pytest.approx(10 * math.log10(12 * 255**2)) == MOST_SIGNAL_TO_NOISE
    assert pytest.approx(58.9, abs=0.05) == MOST_SIGNAL_TO_NOISE
