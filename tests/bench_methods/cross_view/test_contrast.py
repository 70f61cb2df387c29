import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_methods.cross_view.contrast import Embeddings, contrast, unit


def draw(rows: int, seed: int) -> Tensor:
    return unit(torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed)))


def test_contrast_is_the_cross_entropy_of_both_directions() -> None:
    u, v, t = draw(6, 0), draw(6, 1), 0.3
    losses = []
    for one, other in ((u, v), (v, u)):
        for i in range(6):
            scores = [float(one[i] @ other[j]) / t for j in range(6)]
            losses.append(-math.log(math.exp(scores[i]) / sum(math.exp(score) for score in scores)))
    assert contrast(u, v, t).item() == pytest.approx(sum(losses) / 12, abs=1e-6)


def test_contrast_of_equal_products_is_log_of_the_batch() -> None:
    assert contrast(draw(7, 0), draw(7, 1), 1e9).item() == pytest.approx(math.log(7), abs=1e-6)
    assert contrast(torch.ones(7, 1), torch.ones(7, 1), 0.07).item() == pytest.approx(math.log(7), abs=1e-6)


def test_contrast_of_two_orthogonal_images_by_hand() -> None:
    z, t = torch.eye(2), 0.5
    assert contrast(z, z, t).item() == pytest.approx(math.log(1 + math.exp(-1 / t)), abs=1e-6)


def test_contrast_is_symmetric_and_ignores_the_order_of_images() -> None:
    u, v = draw(8, 0), draw(8, 1)
    order = torch.tensor([3, 0, 5, 1, 4, 2, 7, 6])
    for same in (contrast(v, u, 0.1), contrast(u[order], v[order], 0.1)):
        assert torch.allclose(same, contrast(u, v, 0.1), atol=1e-6)
    assert contrast(u, v[order], 0.1) != contrast(u, v, 0.1)


def test_contrast_is_computed_in_float32_under_autocast() -> None:
    u, v = draw(8, 0), draw(8, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = contrast(u, v, 0.07)
    assert torch.equal(inside, contrast(u, v, 0.07))


def test_one_image_has_nothing_to_be_told_from() -> None:
    with pytest.raises(ValueError, match="K >= 2"):
        contrast(draw(1, 0), draw(1, 1), 0.07)


def test_embeddings_have_length_1_and_a_head_for_each_view() -> None:
    features = {"l": torch.randn(4, 3), "ab": torch.randn(4, 6)}
    heads = Embeddings({"l": 3, "ab": 6}, 5)
    z = heads(features)
    assert torch.allclose(z["ab"], F.normalize(heads.heads["ab"](features["ab"])), atol=1e-6)
    assert torch.allclose(z["l"].norm(dim=1), torch.ones(4), atol=1e-6)
