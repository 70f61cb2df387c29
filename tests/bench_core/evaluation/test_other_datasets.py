"""Images of split datasets are converted and embedded."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from bench_core import DataSpec, Frozen, Split
from bench_core.errors import BenchError
from bench_core.evaluation.other_datasets import as_bytes, colours_skip_reason, embed_images, fitted
from bench_core.planning.chains import Plan
from bench_core.running.chain import build_objective


def images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_images_of_the_right_shape_are_returned_unchanged() -> None:
    same_shape = images(3, 1, 8, 8)
    assert fitted(same_shape, (1, 8, 8)) is same_shape


def test_grey_is_repeated_and_colours_become_luma_as_in_pillow() -> None:
    grey = fitted(images(2, 1, 5, 5), (3, 5, 5))
    assert torch.equal(grey[:, 0], grey[:, 2])
    colour = images(1, 3, 6, 7)
    pillow = torch.from_numpy(
        np.array(Image.fromarray(colour[0].permute(1, 2, 0).numpy()).convert("L")).astype(int)
    ).flatten()
    assert (fitted(colour, (1, 6, 7)).flatten().int() - pillow).abs().max() <= 1


def test_constant_image_keeps_its_value_at_any_size() -> None:
    flat = torch.full((2, 1, 30, 28), 77, dtype=torch.uint8)
    for shape in ((1, 8, 8), (3, 64, 64)):
        assert (fitted(flat, shape) == 77).all()
        assert fitted(flat, shape).shape[1:] == shape


def test_halving_with_antialiasing_agrees_with_pillow() -> None:
    big = images(1, 1, 32, 32)
    pillow = Image.fromarray(big[0, 0].numpy()).resize((16, 16), Image.Resampling.BILINEAR)
    assert (
        fitted(big, (1, 16, 16)).flatten().int() - torch.from_numpy(np.array(pillow).astype(int)).flatten()
    ).abs().max() <= 1


def test_float_images_are_converted_without_rounding() -> None:
    colour = images(2, 3, 6, 7)
    floats = fitted(colour.float() / 255, (1, 12, 14))
    assert floats.dtype == torch.float32
    assert (floats * 255 - fitted(colour, (1, 12, 14))).abs().max() <= 0.501
    assert not torch.equal(floats * 255, (floats * 255).round())


@pytest.mark.parametrize(
    ("inputs", "shape", "words"),
    [
        (torch.zeros(2, 5), (1, 8, 8), "only images"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.int64), (1, 8, 8), "only images, uint8 or float"),
        (images(2, 3, 8, 8), (5, 8, 8), "images of 3 channels cannot become images of 5"),
        (images(2, 5, 8, 8), (3, 8, 8), "images of 5 channels cannot become images of 3"),
    ],
)
def test_inputs_that_cannot_be_converted_are_refused(inputs: torch.Tensor, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(BenchError, match=words):
        fitted(inputs, shape)


def test_images_of_any_number_of_bands_are_resized() -> None:
    assert fitted(images(2, 5, 8, 8), (5, 4, 4)).shape == (2, 5, 4, 4)


def test_float_images_become_the_nearest_of_256_levels() -> None:
    levels = images(2, 3, 4, 4)
    assert as_bytes(levels) is levels
    assert torch.equal(as_bytes(levels.float() / 255), levels)
    assert as_bytes(torch.tensor([0.0, 0.4999, 1.0, 1.7, -1.0]) / 1).tolist() == [0, 127, 255, 255, 0]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [((8,), "needs images"), ((5, 8, 8), "needs images of one or three channels"), ((1, 8, 8), None)],
)
def test_only_grey_and_coloured_datasets_take_images_of_others(shape: tuple[int, ...], reason: str | None) -> None:
    assert colours_skip_reason(DataSpec(shape=shape, splits={})) == reason


def test_images_of_another_dataset_are_embedded_by_the_method(plan_of: Callable[..., Plan]) -> None:
    objective = build_objective(plan_of().chains[0]).eval()
    data = DataSpec(shape=(1, 8, 8), splits={"train": 1})
    frozen = Frozen({}, data, 0, torch.device("cpu"), lambda: objective, lambda name: Split(images(1, 1, 8, 8)))
    split = Split(images(6, 3, 16, 16), torch.arange(6))
    embedded = embed_images(frozen, split, torch.tensor([4, 1]))
    assert embedded.labels is not None
    assert embedded.labels.tolist() == [4, 1]
    assert isinstance(split.inputs, torch.Tensor)
    expected = objective.embed(fitted(split.inputs[[4, 1]], (1, 8, 8)).float() / 255)["features"]
    torch.testing.assert_close(embedded.embeddings["features"], expected.detach())
