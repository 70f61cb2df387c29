"""One seed a chain, named streams drawn from it.

A stream's seed is a hash of names, never of positions: adding a method changes nobody's numbers, and all methods
see the same order of the data at a seed, so that comparisons are paired.
"""

import hashlib

import torch


def stream_seed(seed: int, *names: str) -> int:
    """Seed of a stream, in [0, 2**63), from the chain's seed and the stream's names ("shuffle", "init", "nac")."""
    text = "\x1f".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own for each stream."""
    return torch.Generator(device=device).manual_seed(stream_seed(seed, *names))
