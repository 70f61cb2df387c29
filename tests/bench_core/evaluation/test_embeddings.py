import pytest
import torch

from bench_core import BenchError, Embedded
from bench_core.evaluation.embeddings import embedding_of, own_embedding


def part(*names: str) -> Embedded:
    return Embedded({name: torch.full((2, 3), float(at)) for at, name in enumerate(names)})


def test_an_embedding_is_read_by_its_name_as_it_is() -> None:
    bits = torch.tensor([[True, False]])
    assert embedding_of(Embedded({"features": torch.zeros(1, 2), "code": bits}), "code") is bits


def test_another_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BenchError, match=r"no embedding named 'cod'. This method has: code, features."):
        embedding_of(part("features", "code"), "cod")


@pytest.mark.parametrize(
    ("names", "own"),
    [
        (("features",), "features"),
        (("features", "code"), "features"),
        (("features", "latent"), "latent"),
        (("features", "latent", "embedding"), "embedding"),
    ],
)
def test_what_a_method_shapes_is_its_embedding_else_its_latents_else_its_features(
    names: tuple[str, ...], own: str
) -> None:
    assert own_embedding(part(*names)) == own
