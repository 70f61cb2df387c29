"""Features of another model as they are."""

import torch

from bench_core import DataSpec
from bench_encoders.identity import Identity, IdentityConfig

SPEC = DataSpec(shape=(3,), splits={"train": 2}, mean=(9.0,) * 3, std=(2.0,) * 3)


def test_values_are_not_changed_and_not_standardised() -> None:
    vectors = torch.tensor([[1.0, -2.0, 3.5], [0.0, 1e6, -1e-6]])
    encoder = Identity(SPEC, IdentityConfig())
    assert encoder.dim == 3
    assert torch.equal(encoder(vectors), vectors)
    assert torch.equal(encoder.maps(vectors)["values"][:, :, 0], vectors)
    assert not list(encoder.parameters())


def test_the_description_names_weights_of_one_digest() -> None:
    weights = Identity.outside_weights(IdentityConfig())
    assert weights == Identity.outside_weights(IdentityConfig())
    assert weights.name == "identity"
    assert len(weights.digest) == 64


def test_a_name_is_that_of_the_row_and_changes_no_digest() -> None:
    named = Identity.outside_weights(IdentityConfig(name="mine"))
    assert named.name == "mine"
    assert named.digest == Identity.outside_weights(IdentityConfig()).digest
