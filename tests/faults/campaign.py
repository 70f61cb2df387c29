"""A campaign of faults: its stores, the commands that are run on them, and a count of the outcomes."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.faults.faults import CHECKPOINTS
from tests.faults.io_tally import Tally
from tests.faults.outcomes import NOT_SURVIVED, Contents, SharedResult, contents
from tests.faults.runs import PhaseTracker, Run

COMMON = ["--device", "cpu", "--epochs", "2", "--checkpoint-every"]
METHODS = {  # one player; two; a queue and a moving average; labels made anew
    "simclr": [],
    "uctrl": ["--set", "uctrl.width=8", "--set", "uctrl.latent_dim=16"],
    "moco": ["--set", "moco.queue_size=512"],
    "sela": [],
}
ONE_CHAIN = ["--methods", "moco", "--tasks", "knn", *METHODS["moco"], *COMMON, "0.1"]
THREE_CHAINS = [  # with `--jobs 2` two run at once, and the third waits for the weights that it starts from
    "--methods", "simclr,moco", "--sweep", "moco.init=none,simclr", "--tasks", "knn,retrieval", *METHODS["moco"],
    *COMMON, "0.1",
]  # fmt: skip


class Campaign:
    """Stores and random numbers of a campaign, and how often each fault was tried with which outcome.

    Attributes:
        rng: Draws everything that is random.
        phases: Tells in which phase a forked run is.
        outcomes: Fault -> outcome -> number of tries.
        tallies: Command -> faults of single operations on files.
        shared: Plan and engine -> what became of the stores that runs shared.
        defects: One line for each fault that was not survived.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        """Start counting; nothing is run yet.

        Args:
            folder: All stores are made here; everybody must be able to read it.
            seed: Seed of everything that is random.
        """
        self.folder, self.rng, self.phases = folder, random.Random(seed), PhaseTracker()
        self.outcomes: dict[str, Counter[str]] = {}
        self.tallies: dict[str, Tally] = {}
        self.shared: dict[tuple[str, str], SharedResult] = {}
        self.defects: list[str] = []
        self._began = time.monotonic()
        self._number_of_stores = 0
        self._undisturbed: dict[tuple[str, ...], tuple[Path, Contents]] = {}

    def new_store(self, copy_of: Path | None = None) -> Path:
        """Return the path of a new store, not made yet or a copy of another."""
        self._number_of_stores += 1
        path = self.folder / f"store{self._number_of_stores}"
        if copy_of:
            shutil.copytree(copy_of, path)
        return path

    def undisturbed(self, arguments: Sequence[str]) -> tuple[Path, Contents]:
        """Return a store in which these arguments ran without a fault, and its contents; the store is read only."""
        key = tuple(arguments)
        if key not in self._undisturbed:
            store = self.new_store()
            code, text = Run(arguments, store).wait()
            assert code == 0, text
            self._undisturbed[key] = store, contents(store)
        return self._undisturbed[key]

    def killed_in_training(self) -> Path:
        """Return a store of a training that was killed once it had two checkpoints."""
        while True:
            store = self.new_store()
            run = Run(ONE_CHAIN, store)
            while run.exit_code() is None and len(list(store.glob(CHECKPOINTS))) < 2:
                time.sleep(0.001)
            if run.exit_code() is None:
                os.kill(run.pid, signal.SIGKILL)
            run.wait()
            if len(list(store.glob(CHECKPOINTS))) == 2:
                return store

    def log(self, text: str) -> None:
        """Print a line of progress after the minutes that have passed."""
        print(f"{(time.monotonic() - self._began) / 60:5.1f} min  {text}", flush=True)

    def count(self, fault: str, outcome: str, defect: str = "") -> None:
        """Count the outcome of one try; `defect` says what was wrong where the fault was not survived."""
        self.outcomes.setdefault(fault, Counter())[outcome] += 1
        if outcome == NOT_SURVIVED:
            self.defects.append(f"{fault}: {defect}")
            self.log(f"NOT SURVIVED {self.defects[-1]}")
