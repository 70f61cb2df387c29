import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from bench_core.store.image_grid import image_grid


def pixels(png: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def test_grid_has_eight_images_in_a_row_in_their_order() -> None:
    images = torch.arange(10, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 3, 4)
    sheet = pixels(image_grid(images))
    assert sheet.shape == (2 * 4 - 1, 8 * 5 - 1)
    assert [int(sheet[0, 5 * k]) for k in range(8)] == list(range(8))
    assert (sheet[4:, 5:9] == 9).all()
    assert (sheet[4:, 10:] == 255).all()
    assert (sheet[3] == 255).all()


def test_grid_keeps_colours() -> None:
    image = torch.randint(0, 256, (1, 3, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(pixels(image_grid(image)), image[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 1, 4, 4),
        torch.zeros(65, 1, 4, 4, dtype=torch.uint8),
        torch.zeros(0, 1, 4, 4, dtype=torch.uint8),
        torch.zeros(1, 2, 4, 4, dtype=torch.uint8),
        torch.zeros(4, 4, dtype=torch.uint8),
    ],
)
def test_grid_refuses_anything_but_1_to_64_uint8_images(images: Tensor) -> None:
    with pytest.raises(ValueError, match="1 to 64 uint8 images"):
        image_grid(images)
