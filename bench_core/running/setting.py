"""Where and how a plan runs; none of it is in a key."""

from dataclasses import dataclass, field

import torch

from bench_core.training.stopping import Stop


@dataclass(frozen=True)
class Setting:
    """Where and how a plan runs; none of it is in a key.

    Attributes:
        device: Of training, embedding and heavy tasks.
        workers: Processes that read what is streamed.
        command: For the records.
        checkpoint_every: Seconds of training that may be lost.
        compiled: Train through `torch.compile`; records say so.
        stop: Whether the process was told to stop.
    """

    device: torch.device
    workers: int = 0
    command: str | None = None
    checkpoint_every: float = 120.0
    compiled: bool = False
    stop: Stop = field(default_factory=Stop)
