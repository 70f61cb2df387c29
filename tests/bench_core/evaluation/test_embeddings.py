"""Embeddings are read by name."""

import pytest
import torch

from bench_core import BenchError, Embedded
from bench_core.evaluation.embeddings import embedding_of, loss_embedding_name


def embedded(*names: str) -> Embedded:
    return Embedded({name: torch.full((2, 3), float(number)) for number, name in enumerate(names)})


def test_embedding_of_returns_the_stored_tensor() -> None:
    bits = torch.tensor([[True, False]])
    assert embedding_of(Embedded({"features": torch.zeros(1, 2), "code": bits}), "code") is bits


def test_error_for_an_unknown_embedding_lists_the_known_ones() -> None:
    with pytest.raises(BenchError, match=r"no embedding named 'cod'. This method has: code, features."):
        embedding_of(embedded("features", "code"), "cod")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("features",), "features"),
        (("features", "code"), "features"),
        (("features", "latent"), "latent"),
        (("features", "latent", "embedding"), "embedding"),
    ],
)
def test_own_embedding_prefers_embedding_then_latent_then_features(names: tuple[str, ...], expected: str) -> None:
    assert loss_embedding_name(embedded(*names)) == expected
