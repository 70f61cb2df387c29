"""Checkpoints of a running training: the moments at which the training loop resumes and saves."""

import abc

from bench_core.errors import StoreError
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.state import TrainingState


class Autosave(abc.ABC):
    """Resumes and saves a training at the moments at which the training loop calls it."""

    @abc.abstractmethod
    def resume(self) -> None:
        """Bring the training to where it was saved; called once, before the loop."""

    @abc.abstractmethod
    def after_step(self) -> None:
        """Save if it is time to; called after each step."""

    @abc.abstractmethod
    def after_epoch(self) -> None:
        """Save if it is time to; called after each epoch."""


class NoAutosave(Autosave):
    """Never saves, for a training without checkpoints; it starts from step 0."""

    def resume(self) -> None:
        """Start from step 0."""

    def after_step(self) -> None:
        """Save nothing."""

    def after_epoch(self) -> None:
        """Save nothing."""


class CheckpointAutosave(Autosave):
    """Resumes a training from its newest checkpoint and saves new ones when they are due."""

    def __init__(self, checkpoints: Checkpoints, training: TrainingState, steps_per_epoch: int) -> None:
        """Keep the training; nothing is read or written yet.

        Args:
            checkpoints: Where checkpoints are read and written, and how often.
            training: The training to resume and to save.
            steps_per_epoch: Batches of an epoch. After the last one `after_epoch` saves, not `after_step`.
        """
        self.checkpoints, self.training, self.steps_per_epoch = checkpoints, training, steps_per_epoch

    def resume(self) -> None:
        """Load the newest checkpoint into the training; without one the training starts from step 0.

        Raises:
            StoreError: The checkpoint does not fit this method, for example because its code changed.
        """
        state = self.checkpoints.load_latest()
        if state is None:
            return
        try:
            self.training.load_state_dict(state)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
            raise StoreError(
                f"the checkpoints in {self.checkpoints.folder} do not fit this method; was its code changed? Delete "
                "that folder and run again."
            ) from error

    def after_step(self) -> None:
        """Save within an epoch if a checkpoint is due.

        Raises:
            Stopped: A stop was requested; the training is saved.
            LostClaim: Another process has taken over the training; nothing is saved.
        """
        self.checkpoints.check()
        within_epoch = self.training.counters.batch < self.steps_per_epoch
        if within_epoch and self.checkpoints.is_due(epoch_ends=False):
            self._save()

    def after_epoch(self) -> None:
        """Save at the end of an epoch if a checkpoint is due.

        Raises:
            Stopped: A stop was requested; the training is saved.
        """
        if self.checkpoints.is_due(epoch_ends=True):
            self._save()

    def _save(self) -> None:
        self.checkpoints.save(self.training.counters.step, self.training.state_dict())


def make_autosave(checkpoints: Checkpoints | None, training: TrainingState, steps_per_epoch: int) -> Autosave:
    """Return the autosave of a training; without checkpoints it saves nothing."""
    return CheckpointAutosave(checkpoints, training, steps_per_epoch) if checkpoints else NoAutosave()
