"""Three ways to corrupt the inputs of a layer, of which the layer learns to undo one.

Shapes: N items, D inputs of the layer.
"""

import torch
from torch import Tensor


def corrupt(inputs: Tensor, corruption: str, level: float, bounded: bool, rng: torch.Generator) -> Tensor:
    """Return corrupted inputs (N, D); at level 0 they have the values of the clean ones.

    Args:
        inputs: Clean inputs (N, D); they stay as they are.
        corruption: "masking" sets some inputs to 0, "gaussian" adds normal noise, "salt_pepper" sets some inputs to
            their least or largest value, by a fair coin.
        level: Chance that an input is set, or the standard deviation of the noise.
        bounded: True if the least and largest value are 0 and 1, False if they are those of the batch.
        rng: Generator on the device of the inputs.
    """
    if corruption == "gaussian":
        return inputs + level * torch.randn(inputs.shape, generator=rng, device=inputs.device)
    hit = torch.rand(inputs.shape, generator=rng, device=inputs.device) < level
    if corruption == "masking":
        return inputs.masked_fill(hit, 0.0)
    least, largest = (0.0, 1.0) if bounded else (inputs.min(), inputs.max())
    coin = torch.rand(inputs.shape, generator=rng, device=inputs.device) < 0.5
    return inputs.masked_fill(hit & coin, least).masked_fill(hit & ~coin, largest)
