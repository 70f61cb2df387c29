"""Puts back what a plugin changes of the whole process: every other plugin computes in the same one.

    with restored() as changed:
        import a_plugin
    changed                     # ["torch's default dtype to torch.float64"]

So it is done around the import of each plugin, each training and each task. Three groups of settings:

- Refused: torch's default dtype, default device and gradient mode. They change what all others compute, and code that
  sets them counts on them. They are put back, and named to the caller.
- Put back without a word. Of numbers: torch's threads, precision of matrix products and deterministic algorithms,
  numpy's treatment of floating-point errors, and the global random streams. Of behaviour: the working folder, to which
  the paths of a command are relative; sys.stdout and sys.stderr; the locale; the handlers of stop signals.
- Left: filters of warnings, loggers, environment variables and sys.path. Libraries set them for their own later use,
  and no number depends on them.
"""

import locale
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

_STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)


@dataclass(frozen=True)
class _Setting:
    """One setting of the process.

    Attributes:
        name: Words for messages.
        read: Returns the value.
        write: Sets it to a value that `read` has returned.
        refused: Whether the caller is told of a change.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    refused: bool = False


@contextmanager
def restored() -> Iterator[list[str]]:
    """Put back the settings of the process at the end of a block, also after an error.

    Yields:
        A list that is filled at the end: the refused settings that the block has changed, each with its new value.
    """
    changed: list[str] = []
    before = [(setting, setting.read()) for setting in _SETTINGS]
    random_streams = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield changed
    finally:
        for setting, value in before:
            now = setting.read()
            if now != value:
                setting.write(value)
                if setting.refused:
                    changed.append(f"{setting.name} to {now}")
        random.setstate(random_streams[0])
        np.random.set_state(random_streams[1])
        torch.set_rng_state(random_streams[2])


def _default_device() -> torch.device:
    """Return torch's default device; torch 2.6 cannot tell it once None was set."""
    try:
        return torch.get_default_device()
    except AttributeError:
        return torch.device("cpu")


def _set_default_device(device: torch.device) -> None:
    """Set torch's default device; the CPU is what holds where none is set, and costs nothing then."""
    torch.set_default_device(None if device.type == "cpu" else device)


def _precision() -> str | None:
    """Return the precision of matrix products in torch's older words; None where newer ones were used beside them."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def _set_precision(value: str | None) -> None:
    if value is not None:
        torch.set_float32_matmul_precision(value)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted
        return None


def _set_folder(path: str | None) -> None:
    if path is not None:
        os.chdir(path)


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in _STOP_SIGNALS}


def _set_handlers(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None and threading.current_thread() is threading.main_thread():  # Python allows no other
            signal.signal(number, handler)


def _streams() -> tuple[Any, Any]:
    return sys.stdout, sys.stderr


def _set_streams(streams: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = streams


_SETTINGS = (
    _Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype, refused=True),
    _Setting("torch's default device", _default_device, _set_default_device, refused=True),
    _Setting("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled, refused=True),
    _Setting("torch's threads", torch.get_num_threads, torch.set_num_threads),
    _Setting("torch's precision of matrix products", _precision, _set_precision),
    _Setting("torch's deterministic algorithms", _deterministic, _set_deterministic),
    _Setting("numpy's floating-point errors", np.geterr, lambda value: np.seterr(**value)),
    _Setting("the working folder", _folder, _set_folder),
    _Setting("the standard streams", _streams, _set_streams),
    _Setting(
        "the locale", lambda: locale.setlocale(locale.LC_ALL), lambda value: locale.setlocale(locale.LC_ALL, value)
    ),
    _Setting("the handlers of stop signals", _handlers, _set_handlers),
)
