"""Random streams: each chain has one seed, and every use of randomness draws from a stream with a name.

The seed of a stream is a hash of names, never of positions. So adding a method changes the numbers of no other method.
With one seed all methods see the data in the same order, which makes their comparison a paired one.
"""

import hashlib

import torch


def stream_seed(seed: int, *names: str) -> int:
    """Return the seed of a stream, in [0, 2**63).

    Args:
        seed: Seed of the chain.
        *names: Name of the stream, in one or more words: `"shuffle"`, or `"init", "encoder"`.
    """
    text = "\x1f".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator for a stream, at its beginning."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, *names))
