import pytest
import torch

from bench_core.contracts import DataSpec
from bench_core.nn.layers import Standardize, image_skip_reason


def spec(*shape: int, mean: tuple[float, ...] | None = None, std: tuple[float, ...] | None = None) -> DataSpec:
    return DataSpec(shape=shape, splits={"train": 1}, mean=mean, std=std)


def test_standardize_subtracts_the_mean_and_divides_by_std_by_channel() -> None:
    layer = Standardize(spec(2, 1, 1, mean=(0.5, 0.25), std=(0.1, 0.5)))
    out = layer(torch.tensor([0.7, 1.0]).view(1, 2, 1, 1))
    assert out.flatten().tolist() == pytest.approx([2.0, 1.5])


def test_standardized_images_have_mean_0_and_std_1() -> None:
    images = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    out = Standardize(spec(1, 8, 8, mean=(images.mean().item(),), std=(images.std().item(),)))(images)
    assert out.mean().item() == pytest.approx(0, abs=1e-5)
    assert out.std().item() == pytest.approx(1, abs=1e-5)


def test_data_without_mean_and_std_is_unchanged() -> None:
    images = torch.rand(2, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Standardize(spec(5, 3, 3))(images), images)


def test_mean_and_std_are_saved_and_not_trained() -> None:
    layer = Standardize(spec(1, 8, 8, mean=(0.3,), std=(0.4,)))
    assert set(layer.state_dict()) == {"mean", "std"}
    assert not list(layer.parameters())


def test_mean_without_std_is_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        Standardize(spec(1, 8, 8, mean=(0.3,)))


def test_std_must_be_positive() -> None:
    with pytest.raises(ValueError, match="std must be > 0"):
        Standardize(spec(1, 8, 8, mean=(0.3,), std=(0.0,)))


def test_only_images_that_are_large_enough_are_accepted() -> None:
    assert image_skip_reason(spec(3, 32, 32), smallest=32) is None
    assert image_skip_reason(spec(3, 32, 31), smallest=32) == (
        "needs images of at least 32 x 32 pixels, these have 32 x 31"
    )
    assert "one input here has shape (16,)" in str(image_skip_reason(spec(16)))
