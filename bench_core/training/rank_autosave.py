"""Checkpoints of a training by several ranks: rank 0 reads and writes, and all go on, or stop, after the same step."""

from collections.abc import Callable

import torch
from torch import nn

from bench_core.errors import TrainingError
from bench_core.training.autosave import Autosave
from bench_core.training.checkpoints import pack, unpack
from bench_core.training.rank_group import RankGroup
from bench_core.training.state import TrainingState


class LeaderStoppedError(Exception):
    """Rank 0 has ended the training, and has said so to the others."""


class RankAutosave(Autosave):
    """Resumes and saves a training of several ranks: rank 0 reads and writes, and the others wait for its word."""

    def __init__(self, autosave: Autosave, training: TrainingState, group: RankGroup) -> None:
        """Keep the arguments.

        Args:
            autosave: Saves the training in rank 0.
            training: The training of this rank.
            group: The ranks.
        """
        self.autosave, self.training, self.group = autosave, training, group

    def resume(self) -> None:
        """Resume rank 0, and bring all others to the same state."""
        if self.group.leads:
            self.autosave.resume()
            content = pack(self.training.state_dict())
            self.group.tell_bytes(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        else:
            self.training.load_state_dict(unpack(self.group.hear_bytes().numpy().tobytes()))

    def after_step(self) -> None:
        """Save in rank 0 if it is time to.

        Raises:
            LeaderStoppedError: In other ranks, where rank 0 stops.
        """
        self._together(self.autosave.after_step)

    def after_epoch(self) -> None:
        """Save in rank 0 if it is time to, and make sure that the ranks have the same weights.

        Raises:
            LeaderStoppedError: In other ranks, where rank 0 stops.
            TrainingError: The weights of the ranks differ.
        """
        refuse_different_weights(self.training.objective, self.group)
        self._together(self.autosave.after_epoch)

    def _together(self, save: Callable[[], None]) -> None:
        if not self.group.leads:
            if not self.group.hear():
                raise LeaderStoppedError
            return
        try:
            save()
        except BaseException:
            self.group.tell(False)
            raise
        self.group.tell(True)


def refuse_different_weights(objective: nn.Module, group: RankGroup) -> None:
    """Refuse ranks whose weights differ in a bit; on GPUs, which may round differently, nothing is compared.

    Raises:
        TrainingError: A rank has other weights; every rank raises it.
    """
    if group.device.type == "cuda":
        return
    total = 0
    for value in objective.state_dict().values():
        bits = value.detach().contiguous().view(-1).view(torch.uint8)
        total = (31 * total + int(bits.sum(dtype=torch.int64))) % 2**61
    if len(set(group.counts(total))) > 1:
        raise TrainingError(
            "the ranks have come to different weights: something outside the encoder is not the same on each of them; "
            "train with --ranks 1."
        )
