"""bench_core/contracts/encoder.py."""

import abc
from typing import Any, ClassVar

from torch import Tensor, nn

from bench_core.config import NoConfig
from bench_core.contracts.dataset import DataSpec


class Encoder(nn.Module, abc.ABC):
    """The network under study: inputs -> features."""

    Config: ClassVar[type] = NoConfig
    revision: ClassVar[int] = 1
    dim: int

    def __init__(self, data: DataSpec, config: Any) -> None:
        """Build for inputs of `data.shape` and set `dim`.

        Args:
            data: What it will read.
            config: An instance of `Config`.
        """
        super().__init__()

    @abc.abstractmethod
    def forward(self, inputs: Any) -> Tensor:
        """Features (N, dim) of inputs in [0, 1], (N, C, H, W); standardising is the encoder's first layer."""

    @abc.abstractmethod
    def maps(self, inputs: Any) -> dict[str, Tensor]:
        """Named local maps (N, channels, h, w), shallow to deep."""

    @classmethod
    def skip_reason(cls, data: DataSpec, config: Any) -> str | None:
        """Why this encoder cannot read this data, or None; shown in the table."""
        return None
