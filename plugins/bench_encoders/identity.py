"""Values as they are: the encoder of features that another model made.

Source: ours.
Note: It has no weights, so the method `frozen` measures it as it is. Which model made the values is known to the
    dataset alone, whose digest is in every key.

Shapes: N items, D values.
"""

import hashlib
from dataclasses import dataclass

from torch import Tensor

from bench_core import Config, DataSpec, Encoder, OutsideWeights, hookimpl, param


@dataclass(frozen=True, kw_only=True)
class IdentityConfig(Config):
    """Parameters that say whose values they are."""

    name: str = param("identity", "name of the row under the method frozen", "ours", in_key=False)


class Identity(Encoder):
    """Values of vectors, unchanged (ours).

    For features that another model made, such as those of the dataset `arrays`: the method `frozen` judges them.
    """

    Config = IdentityConfig
    kinds = frozenset({"vector"})

    def __init__(self, data: DataSpec, config: IdentityConfig) -> None:
        """Set `dim` to the number of values; there are no weights."""
        super().__init__(data, config)
        self.dim = data.shape[0]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the vectors (N, D) as they are."""
        return inputs.float()

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the vectors as one map (N, D, 1): `values`."""
        return {"values": inputs.float()[..., None]}

    @classmethod
    def outside_weights(cls, config: IdentityConfig) -> OutsideWeights:
        """Describe values that need no weights; the digest is the same for all data."""
        return OutsideWeights(name=config.name, digest=hashlib.sha256(b"identity").hexdigest(), source="the dataset")


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"identity": Identity}
