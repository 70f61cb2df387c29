"""Encoder: the network under study, which turns inputs into features.

Shapes: N items, C channels, H x W pixels; h x w locations of a local map.
"""

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bench_core.config import NoConfig
from bench_core.contracts.dataset import DataSpec


@dataclass(frozen=True, kw_only=True)
class OutsideWeights:
    """Weights that were trained elsewhere and that an encoder brings with it.

    Attributes:
        name: The model as tables name it: "resnet18.a1_in1k".
        digest: SHA-256 of the weights, or of the file that holds them. It is in the key; the path is not.
        trained_on: The data of the training elsewhere: "ImageNet-1k"; empty where it is not known.
        revision: Version of the weights at their source, such as a commit of a hub; empty where there is none.
        source: Where they came from: "hub timm/resnet18.a1_in1k", or a file's name.
    """

    name: str
    digest: str
    trained_on: str = ""
    revision: str = ""
    source: str = ""


class Encoder(nn.Module, abc.ABC):
    """Interface of encoders. A method owns one, trains it and embeds with it.

    `bench check` tries an encoder on made data of each of its `kinds`; without `kinds`, of each kind for which its own
    `skip_reason` gives no reason, and on images where it has none. A class method `example()` that returns an
    `Example` gives other data.

    Attributes:
        Config: Dataclass of the parameters; `--set NAME.PARAMETER=` and boards change them.
        revision: Raised when the features of the same weights, or the initial weights, may change.
        dim: Number of features; `__init__` sets it.
        kinds: Kinds of data (`DataSpec.kind`) that it reads. None leaves that to `skip_reason`.
        shares_rows: False if the features of an item depend on the other items by more than batch norm. Where several
            processes train one chain (`--ranks`), such an encoder runs on the whole batch in each of them; of any other
            each process computes some rows.
    """

    Config: ClassVar[type] = NoConfig
    revision: ClassVar[int] = 1
    kinds: ClassVar[frozenset[str] | None] = None
    shares_rows: ClassVar[bool] = True
    dim: int

    def __init__(self, data: DataSpec, config: Any) -> None:
        """Build the network for inputs of `data.shape` and set `dim`.

        Called after the seed is set, so that one seed gives one set of initial weights.

        Args:
            data: The dataset that the encoder will read.
            config: An instance of `Config`.
        """
        super().__init__()

    @abc.abstractmethod
    def forward(self, inputs: Any) -> Tensor:
        """Return features (N, dim). Called by methods when they train, and to embed the splits.

        Args:
            inputs: Images (N, C, H, W) in [0, 1], not standardised: that is the encoder's first layer. For other
                kinds of data a tensor (N, ...), or what the dataset gives: Nodes, Graphs, Pair, ...
        """

    @abc.abstractmethod
    def maps(self, inputs: Any) -> dict[str, Any]:
        """Return named local maps, from shallow to deep.

        Called by methods and tasks that read single layers. `bench check` expects at least one map.

        Args:
            inputs: The same as for `forward`.

        Returns:
            Name -> tensor (N, channels, h, w) of images, tensor (N, channels, locations) of any kind of data, or
            `bench_core.data.NodeMap`, whose locations are the nodes of graphs.
        """

    def features_and_maps(self, inputs: Any) -> tuple[Tensor, dict[str, Any]]:
        """Return what `forward` and `maps` return, for methods that train on both.

        The default makes both calls. Encoders that compute the features from the maps do it in one pass.

        Args:
            inputs: The same as for `forward`.
        """
        return self(inputs), self.maps(inputs)

    @classmethod
    def outside_weights(cls, config: Any) -> OutsideWeights | None:
        """Describe the weights that `__init__` loads from elsewhere; None if the seed alone gives the initial weights.

        Called while a run is planned; the digest becomes part of the key. A text parameter of the Config that holds
        `{seed}` has the seed of the chain in its place. A path is declared with `in_key=False`.

        Raises:
            RequestError: There is no such file or model; the message says what to type.
        """
        return None

    @classmethod
    def skip_reason(cls, data: DataSpec, config: Any) -> str | None:
        """Return the reason why this encoder cannot read this dataset, or None if it can.

        Called while a run is planned. Rows with a reason are not trained; the table shows the reason instead.
        """
        return None


def features_fault(features: object, items: int, dim: int) -> str | None:
    """Say what is wrong with the features of some inputs, or return None: they must be float32 (items, dim).

    Args:
        features: What an encoder's `forward` returned in eval mode.
        items: Number of inputs.
        dim: The encoder's `dim`.
    """
    if not isinstance(features, Tensor):
        return f"features are a {type(features).__name__}, expected a tensor ({items}, {dim})"
    if tuple(features.shape) != (items, dim):
        return f"features have shape {tuple(features.shape)}, expected ({items}, {dim}): its dim is {dim}"
    if features.dtype != torch.float32:
        return f"features are {features.dtype}, not float32"
    return None
