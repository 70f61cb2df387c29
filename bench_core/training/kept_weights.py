"""The weights of the least training loss, for methods that end with them instead of their last weights.

With one step an epoch, as on one graph, this is the rule of DGI's code: the loss of an epoch is computed, the weights
that gave it are kept if it is the least so far, then the step is taken. After `patience` epochs without a lesser loss
the training ends, and the kept weights are loaded. Labels have no part in it.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from bench_core.contracts import Objective
from bench_core.errors import CheckError, shown
from bench_core.store.fields import field_errors, is_count, is_mapping, is_number


@dataclass
class KeptWeights:
    """The weights that gave the least loss of an epoch, within one stage.

    Attributes:
        patience: Number of epochs without a lesser loss after which the stage ends; None never ends it.
        epoch: The epoch of the whole training that had this loss, counted from 1; 0 before the stage's first has ended.
        loss: Mean loss of that epoch; infinite before.
        weights: State of the method before the last step of that epoch; empty before.
    """

    patience: int | None = None
    epoch: int = 0
    loss: float = math.inf
    weights: Mapping[str, Any] = field(default_factory=dict)
    _candidate: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def before_last_step(self, objective: nn.Module) -> None:
        """Copy the state that the method has before the last step of an epoch."""
        self._candidate = copy.deepcopy(objective.state_dict())

    def end_epoch(self, epoch: int, loss: float) -> None:
        """Keep the copied state if the epoch, counted from 1, has a lesser loss than all before it."""
        if loss < self.loss:
            self.epoch, self.loss, self.weights = epoch, loss, self._candidate
        self._candidate = {}

    def is_out_of_patience(self, epoch: int) -> bool:
        """Return True if so many epochs had no lesser loss that the stage ends after this epoch, counted from 1."""
        return self.patience is not None and self.epoch > 0 and epoch - self.epoch >= self.patience

    def anew(self) -> "KeptWeights":
        """Return the same without weights, for the next stage."""
        return KeptWeights(self.patience)

    def restore(self, objective: nn.Module) -> None:
        """Load the kept weights into the method; without an epoch that has ended it stays as it is."""
        if self.weights:
            objective.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the content for a checkpoint."""
        return {"epoch": self.epoch, "loss": self.loss, "weights": dict(self.weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the content over from a checkpoint for which `is_kept` holds."""
        self.epoch, self.loss, self.weights = state["epoch"], state["loss"], state["weights"]


def is_kept(value: Any) -> bool:
    """Return whether this may be the `state_dict` of kept weights."""
    return not list(field_errors(value, "", {"epoch": is_count, "loss": is_number, "weights": is_mapping}))


def make_kept_weights(objective: Objective) -> KeptWeights | None:
    """Return kept weights for a method that keeps those of the least loss, None for one that keeps its last.

    Raises:
        CheckError: `keeps` or `patience` of the method has a value that does not exist.
    """
    name, patience = type(objective).__name__, objective.patience
    if objective.keeps == "last":
        return None
    if objective.keeps != "least_loss":
        raise CheckError(f'keeps of {name} must be "last" or "least_loss", got {shown(objective.keeps)}')
    if patience is not None and not (isinstance(patience, int) and patience >= 1):
        raise CheckError(f"patience of {name} must be a number of epochs >= 1 or None, got {shown(patience)}")
    return KeptWeights(patience)
