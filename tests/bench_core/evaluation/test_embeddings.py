"""Embeddings are read by name."""

from types import SimpleNamespace
from typing import cast

import pytest
import torch

from bench_core import BenchError, Embedded, Frozen
from bench_core.evaluation.embeddings import embedding_of, labelled_embedding, loss_embedding_name


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


def test_a_labelled_embedding_is_float_and_has_the_labels_of_its_split() -> None:
    labels = torch.tensor([1, 0])
    part = Embedded({"code": torch.tensor([[True, False], [False, False]])}, labels=labels)
    frozen = cast(Frozen, SimpleNamespace(splits={"test": part}))
    values, own = labelled_embedding(frozen, "test", "code")
    assert (values.dtype, values.tolist()) == (torch.float32, [[1, 0], [0, 0]])
    assert own is labels


def test_a_split_without_labels_is_named() -> None:
    frozen = cast(Frozen, SimpleNamespace(splits={"test": embedded("features")}))
    with pytest.raises(BenchError, match="the test split has no labels"):
        labelled_embedding(frozen, "test", "features")
