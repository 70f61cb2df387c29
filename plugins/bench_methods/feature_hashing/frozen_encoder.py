"""The base of both methods: the teacher's encoder, frozen, the hash head on it, and a number for the log.

Shapes: N items, D features, B bits.
"""

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from bench_core import ConfigError, DataSpec, Encoder, Objective, Player

_COMPARABLE = ("image", "vector")  # kinds of data of which random inputs can be made from the shape alone


def take_over(encoder: Encoder, teacher: Objective, data: DataSpec, name: str) -> None:
    """Copy the weights of the teacher's encoder into a row's own encoder, freeze it and put it in eval mode.

    Tasks that read the encoder of the row, such as `layers`, then see the network whose features are hashed. The
    teacher is not needed any more.

    Args:
        encoder: Encoder of the row, of the same architecture.
        teacher: The trained method.
        data: The data that both read.
        name: Name of the method, for the message.

    Raises:
        ConfigError: The two encoders are not built alike.
    """
    difference = _difference(encoder, teacher.encoder)
    if difference is None:
        encoder.load_state_dict(teacher.encoder.state_dict())
        encoder.eval().requires_grad_(False)
        if data.kind in _COMPARABLE and not _gives_the_same(encoder, teacher.encoder, data):
            difference = "same sizes, but other features from the same weights"
    if difference is not None:
        raise ConfigError(
            f"{name} hashes the features of its teacher, so its encoder must be built as the teacher's ({difference}). "
            f"Give {name}.encoder the name and the parameters of the teacher's encoder, or leave out both rows' own."
        )


def _difference(encoder: Encoder, other: Encoder) -> str | None:
    """Say how the encoder differs in class or in sizes from the teacher's; None if it does not."""
    if type(encoder) is not type(other):
        return f"{type(encoder).__name__}, not the teacher's {type(other).__name__}"
    shapes, wanted = ({key: tuple(value.shape) for key, value in e.state_dict().items()} for e in (encoder, other))
    for key in [*wanted, *shapes]:
        if shapes.get(key) != wanted.get(key):
            return f"{key}: {shapes.get(key, 'missing')}, not the teacher's {wanted.get(key, 'missing')}"
    return None


@torch.no_grad()
def _gives_the_same(encoder: Encoder, other: Encoder, data: DataSpec) -> bool:
    """Compare the features of two random inputs; the teacher is in eval mode, as the encoder is."""
    device = next((value.device for value in encoder.state_dict().values()), None)
    inputs = torch.rand(2, *data.shape, generator=torch.Generator().manual_seed(0)).to(device)
    return torch.allclose(encoder(inputs), other(inputs), rtol=1e-4, atol=1e-5)


class HashHead(nn.Module):
    """The head that both methods train: linear, ReLU, linear; a bit is on where its output is above 0.

    Features are centred first and divided by one number, which `fit` measures. Without that a head learns little from
    features that are small, or whose offset is large beside what tells items apart.

    Attributes:
        mean: Mean (D,) of the features, 0 before `fit`.
        deviation: Root mean square () of the centred features, over items and features; 1 before `fit`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int, hidden: int, bits: int) -> None:
        """Build both layers.

        Args:
            dim: Number of features D.
            hidden: Width of the hidden layer, in units.
            bits: Length of the code B.
        """
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, bits))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (N, B) of the bits of features (N, D)."""
        logits: Tensor = self.layers((features - self.mean) / self.deviation)
        return logits

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Measure mean and deviation of features that come in batches (N, D); features without variance keep 1."""
        count, total, squares = 0, torch.zeros(len(self.mean)).double(), torch.zeros(len(self.mean)).double()
        for features in batches:
            values = features.cpu().double()  # not every device has doubles
            count += len(values)
            total += values.sum(0)
            squares += values.square().sum(0)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp(min=0).mean().sqrt()
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > 0, deviation, 1.0))


class HeadOnFrozenEncoder(Objective):
    """Base of both methods: a hash head is trained on the features of the teacher's encoder, which stay as they are."""

    def __init__(self, encoder: Encoder, data: DataSpec, config: Any, name: str, teacher: Objective) -> None:
        """Take over the teacher's encoder, frozen, and add the head.

        Args:
            encoder: Encoder of the row.
            data: The data that row and teacher read.
            config: Parameters with `hidden_dim` and `code_dim`.
            name: Name of the method, for a message.
            teacher: The trained method.

        Raises:
            ConfigError: The encoder is not built as the teacher's.
        """
        super().__init__(encoder, data, config)
        take_over(encoder, teacher, data, name)
        self.head = HashHead(encoder.dim, config.hidden_dim, config.code_dim)

    def players(self) -> list[Player]:
        """Return one player, the head; the encoder belongs to nobody."""
        return [Player("main", list(self.head.parameters()))]

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the head; the encoder stays in eval mode, so that its batch norm does not move."""
        super().train(mode)
        self.encoder.eval()
        return self

    def embed(self, inputs: Any) -> dict[str, Tensor]:
        """Return `features` (N, D) of the teacher, and `code` (N, B) bool: where the head's output is above 0."""
        features = self.encoder(inputs)
        return {"features": features, "code": self.head(features) > 0}


def bit_imbalance(logits: Tensor) -> Tensor:
    """Return how far the on-rate of a bit is from 1/2, a mean over bits, for outputs (N, B) of the head.

    Returns:
        () in [0, 0.5]; 0 where each bit is on for half the items, 0.5 where all bits are constant.
    """
    return ((logits > 0).float().mean(0) - 0.5).abs().mean()
