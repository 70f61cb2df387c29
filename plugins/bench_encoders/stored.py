"""Features that another program has computed for each item of a dataset.

Source: ours. The file is npz with the arrays `train`, `test`, ... of shape (N, D), or parquet with the columns `split`
    and `feature`, in the order of the dataset's items.
Note: It encodes nothing, so tasks that run the network fail with that reason. Where the file has labels, they are
    compared with the dataset's, which finds items in another order.

Shapes: N items, D features.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bench_core import BenchError, Config, DataSpec, Encoder, OutsideWeights, Split, hookimpl, param
from bench_core.data import file_digest, read_arrays
from bench_core.errors import RequestError, shown


@dataclass(frozen=True, kw_only=True)
class StoredConfig(Config):
    """Parameters of the file."""

    path: str = param("", "npz or parquet file with features of each split", "ours: any place", in_key=False)
    name: str = param("stored", "name of the row under the method frozen", "ours", in_key=False)


class Stored(Encoder):
    """Features of a file, item by item (ours).

    The method `frozen` judges them as if their model had run here. Other methods cannot train them.
    """

    Config = StoredConfig

    def __init__(self, data: DataSpec, config: StoredConfig) -> None:
        """Read the file, and set `dim` to the number of features."""
        super().__init__(data, config)
        self.splits = read_arrays(Path(config.path).expanduser())
        features = self.splits["train"].inputs
        if not isinstance(features, Tensor) or features.ndim != 2:
            raise RequestError(f"stored.path = {shown(config.path)} holds images, not features (N, D).")
        self.dim = features.shape[1]

    def stored(self, split: str) -> Split:
        """Return the features (N, D) of a split as its inputs, with the labels of the file."""
        if split not in self.splits:
            raise RequestError(f"the file has no features of split {split!r}, only of {', '.join(self.splits)}.")
        return self.splits[split]

    def forward(self, inputs: Any) -> Tensor:
        """Refuse to encode anything: the model is not here."""
        raise BenchError("stored features are those of the dataset's items as they are; nothing else can be encoded")

    def maps(self, inputs: Any) -> dict[str, Tensor]:
        """Refuse to encode anything: the model is not here."""
        return {"features": self(inputs)}

    @classmethod
    def outside_weights(cls, config: StoredConfig) -> OutsideWeights:
        """Return the row's name and the digest of the file."""
        path = Path(config.path).expanduser()
        if not path.is_file():
            raise RequestError(
                f"stored.path = {shown(config.path)} is no file; name a npz or parquet file of features."
            )
        return OutsideWeights(name=config.name, digest=file_digest(path), source=path.name)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: StoredConfig) -> str | None:
        """Return a reason where no file is named."""
        return None if config.path else "needs a file of features: --set stored.path=FILE"


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"stored": Stored}
