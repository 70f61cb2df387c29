"""Loggers of trainings beside the store's own log: CSV, TensorBoard, Weights & Biases.

    csv          chains/<key>/log.csv, a line for each epoch, written when the training has ended
    tensorboard  STORE/tensorboard/<row>/, for `tensorboard --logdir STORE/tensorboard`, epoch by epoch
    wandb        a run of project "bench" (or WANDB_PROJECT), epoch by epoch; its files are under STORE/wandb

None of them is in a key, and none can end a training: one that fails is named once and left out from then on.
"""

import csv
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_core.errors import RequestError, UnknownNameError
from bench_core.files import new_file
from bench_core.store import Store
from bench_core.store.chain_files import LOG
from bench_core.store.log_numbers import log_numbers
from bench_core.store.training_log import read_log

NAMES = ("csv", "tensorboard", "wandb")
_NEEDS = {"tensorboard": "tensorboard", "wandb": "wandb"}  # logger -> the package and the extra of bench-core


def check_loggers(names: Sequence[str]) -> None:
    """Check that loggers exist and that their packages are installed; they are not imported.

    Raises:
        RequestError: One does not exist, or its package is missing.
    """
    for name in names:
        if name not in NAMES:
            raise UnknownNameError("logger", name, NAMES)
        if name in _NEEDS and importlib.util.find_spec(_NEEDS[name]) is None:
            raise RequestError(f"{_NEEDS[name]} is not installed; type: pip install 'bench-core[{_NEEDS[name]}]'")


class Logger:
    """Receives the epochs of one training; every method may be left as it is."""

    def write(self, line: Mapping[str, Any]) -> None:
        """Take the line of an epoch that has ended."""

    def finish(self, folder: Path) -> None:
        """Take the folder of the trained chain, before it gets its name; it holds the whole log file."""

    def close(self) -> None:
        """End, also after an error."""


class CsvLogger(Logger):
    """Writes the log as a table beside it."""

    def finish(self, folder: Path) -> None:
        """Write `log.csv`, a column for each number that any epoch has, in the order in which they appear."""
        rows = [dict(log_numbers(line)) for line in read_log(folder / LOG) if "epoch" in line]
        columns = list(dict.fromkeys(["epoch", *(name for row in rows for name in row)]))
        with new_file(folder / "log.csv") as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


class TensorBoardLogger(Logger):
    """Writes scalars over epochs as event files."""

    def __init__(self, folder: Path) -> None:
        """Name the folder of the event files; nothing is written before the first epoch."""
        self.folder = folder
        self._writer: Any = None

    def write(self, line: Mapping[str, Any]) -> None:
        """Write the numbers of an epoch; those of a training that goes on replace the epochs after its checkpoint."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=line["epoch"])
        for name, value in log_numbers(line):
            self._writer.add_scalar(name.replace(".", "/"), value, line["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


class WandbLogger(Logger):
    """Writes the numbers of each epoch to a run of Weights & Biases; WANDB_MODE=offline needs no account."""

    def __init__(self, folder: Path, name: str, key: str, config: Mapping[str, Any]) -> None:
        """Name the run; it begins with the first epoch, and a training that goes on continues it.

        Args:
            folder: Where its files are.
            name: Name of the run.
            key: Key of the chain; the run's id begins it.
            config: What is trained.
        """
        self.folder, self.name, self.key, self.config = folder, name, key, config
        self._run: Any = None

    def write(self, line: Mapping[str, Any]) -> None:
        """Log the numbers of an epoch at its step."""
        if self._run is None:
            self._run = self._begin()
        self._run.log(dict(log_numbers(line)), step=line["epoch"])

    def _begin(self) -> Any:
        import os

        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        return wandb.init(
            project=os.environ.get("WANDB_PROJECT", "bench"),
            dir=str(self.folder),
            name=self.name,
            id=self.key[:16],
            resume="allow",
            config=dict(self.config),
            settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
        )

    def close(self) -> None:
        """End the run."""
        if self._run is not None:
            self._run.finish()


class Loggers:
    """The loggers of one training; one that fails is named to the user and left out."""

    def __init__(self, loggers: Mapping[str, Logger], warn: Callable[[str], None]) -> None:
        """Keep the loggers by name; `warn` is called with a line of text."""
        self.loggers, self.warn = dict(loggers), warn

    def write(self, line: Mapping[str, Any]) -> None:
        """Pass on the line of an epoch."""
        self._each(lambda logger: logger.write(line))

    def finish(self, folder: Path) -> None:
        """Pass on the folder of the trained chain."""
        self._each(lambda logger: logger.finish(folder))

    def close(self) -> None:
        """End all."""
        self._each(lambda logger: logger.close())

    def _each(self, call: Callable[[Logger], None]) -> None:
        for name, logger in list(self.loggers.items()):
            try:
                call(logger)
            except Exception as error:
                del self.loggers[name]
                self.warn(f"--log {name} stops, the training goes on: {type(error).__name__}: {error}")


@contextmanager
def open_loggers(
    names: Sequence[str], store: Store, key: str, description: Mapping[str, Any], warn: Callable[[str], None]
) -> Iterator[Loggers]:
    """Yield the loggers of one training, and end them with the block.

    Args:
        names: Names for which `check_loggers` holds.
        store: The store of the chain.
        key: Key of the chain.
        description: What is trained, as `bench_core.store.chain_files` has it; it has `label` and `doc`.
        warn: Called with a line of text where a logger fails.
    """
    label = str(description["label"])
    makers: dict[str, Callable[[], Logger]] = {
        "csv": CsvLogger,
        "tensorboard": lambda: TensorBoardLogger(store.path / "tensorboard" / _folder_name(label, key)),
        "wandb": lambda: WandbLogger(store.path / "wandb", label, key, description["doc"]),
    }
    loggers = Loggers({name: makers[name]() for name in names}, warn)
    try:
        yield loggers
    finally:
        loggers.close()


def _folder_name(label: str, key: str) -> str:
    """Return a folder's name that says what is trained and is of one chain only."""
    return f"{re.sub(r'[^A-Za-z0-9_.=-]+', '-', label).strip('-')[:120]}~{key[:8]}"
