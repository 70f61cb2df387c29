"""A module that another one uses but does not own, such as the teacher of a student that is trained."""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class Unsaved(nn.Module, Generic[M]):
    """Holds a module that is neither trained nor saved with its owner, but is on the owner's device.

        self.teacher = Unsaved(teacher)    # in the `__init__` of a method
        self.teacher.module.encoder(images)

    The held module is hidden from `parameters()`, `buffers()`, `modules()`, `state_dict()` and `load_state_dict()`. It
    stays in its own mode when the owner is put in another by `train()` or `eval()`, and keeps its `requires_grad`.
    Conversions of the owner, such as `.to(device)` or `.double()`, convert it too, and copies of the owner have a copy.
    """

    def __init__(self, module: M) -> None:
        """Hold a module as it is: mode, device and `requires_grad` do not change."""
        super().__init__()
        self._held = (module,)  # torch registers a module as a child, but not a tuple

    @property
    def module(self) -> M:
        """The held module."""
        return self._held[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Self:
        """Convert all tensors of the held module, as torch does for children."""
        self.module._apply(fn, *args, **kwargs)  # type: ignore[no-untyped-call]  # torch's own has no types
        return super()._apply(fn, *args, **kwargs)  # type: ignore[no-any-return, no-untyped-call]  # the same
