"""One element of a Slurm job array: a process on a node that runs one chain, and goes on where it was stopped.

submitit pickles an `Element` when it is submitted, and calls it on the node. It holds words only, so that a later
version of this code reads it. Imports no torch: it watches another process, which does the work.

    --signal=USR2, sent some time before the limit   submitit calls `checkpoint`, then queues the element again
    SIGTERM of scancel, or of Slurm that requeues    the chain saves its state; Slurm has decided what comes next
    SIGTERM while the job goes on (a preemption      as with USR2: nobody else would queue it again
    with a time of grace)
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any, TextIO

from bench_core.engines.child_process import GRACE_S, POLL_S, ChildProcess, Ended
from bench_core.files import files_below, growing_file
from bench_core.output import say
from bench_core.store.under_way import UNDER_WAY
from bench_core.training.stopping import CALL_AGAIN

GIVE_UP = "--element-gives-up"  # option of `bench run` that records why an element ends for good
_GRACE_S = GRACE_S + 15  # the process below has GRACE_S for the process that trains
_EARLY_S = 75  # Slurm's signal comes up to a minute early; and the element began before its own clock
_STATE_S = 20.0  # for an answer of squeue
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


@dataclass(frozen=True)
class Element:
    """A chain, or a part of the work on it, as words.

    Attributes:
        command: The command that runs it, with all options.
        log: File that gets what the command prints.
        chain_folder: Folder of the chain's artifacts.
        records: Files of the records that the element makes.
        time: Time limit as it was typed, for messages.
        time_s: Time limit in seconds.
        signal_delay_s: Seconds before the limit at which Slurm sends its signal; it may do so a minute earlier.
    """

    command: tuple[str, ...]
    log: str
    chain_folder: str
    records: tuple[str, ...]
    time: str
    time_s: int
    signal_delay_s: int

    def __call__(self) -> None:
        """Run the command to its end.

        Raises:
            SystemExit: It failed or was stopped; the code is that of `bench run`.
        """
        global _running
        _running = _Running(self)
        with _running.log:
            ended = _running.wait()
        if ended.code:
            sys.exit(ended.code if ended.code > 0 else 128 - ended.code)

    def checkpoint(self) -> Any:
        """Stop the command, which saves its state, and return what submitit queues again; None where it ends for good.

        An element that has used its time and got no further would do so again: that is a failure, and is recorded.
        """
        from submitit.helpers import DelayedSubmission

        if _running is None:  # it has just begun
            return DelayedSubmission(replace(self))
        _running.stop()
        used_s = time.monotonic() - _running.began
        limit_is_near = used_s > min(self.time_s / 2, self.time_s - self.signal_delay_s - _EARLY_S)
        if limit_is_near and _running.progress() <= _running.progress_before:
            reason = f"got no further in time={self.time}; give its element more with --slurm time=HH:MM:SS"
            _running.note(f"timeout: {reason}")
            subprocess.run([*self.command, f"{GIVE_UP}={reason}"], stdin=subprocess.DEVNULL, check=False)
            return None
        _running.note("stopped; queued again")
        return DelayedSubmission(replace(self))


class _Running:
    """The process of an element, and the thread that watches it.

    Signal handlers run in the main thread between any two of its instructions, and wait here for the process to end.
    So the main thread holds no lock: another one calls the methods of the process.
    """

    def __init__(self, element: Element) -> None:
        self.element = element
        self.began = time.monotonic()
        self.progress_before = self.progress()
        self._stopping = False
        self._ended: Ended | None = None
        self.log = _open_log(Path(os.devnull if _rank() else element.log))
        node = os.environ.get("SLURMD_NODENAME", socket.gethostname())
        self.note(f"job {_job_id()} on {node}, start {1 + int(os.environ.get(_RESTARTS, '0'))}")
        self._process = ChildProcess(element.command, self._on_line, grace=_GRACE_S, environment=_environment())
        Thread(target=self._watch, daemon=True).start()
        signal.signal(signal.SIGTERM, self._on_sigterm)  # submitit's handler does nothing

    def wait(self) -> Ended:
        """Wait until the process has ended."""
        while self._ended is None:
            time.sleep(POLL_S)
        return self._ended

    def stop(self) -> None:
        """Send SIGTERM to the process, and wait until it has ended."""
        self._stopping = True
        self.wait()

    def progress(self) -> tuple[int, int]:
        """Return how far the chain is: records made, and steps of its training in a checkpoint."""
        folder = Path(self.element.chain_folder)
        steps = [
            int(path.name[:12])
            for path in files_below(folder.with_name(f"{folder.name}{UNDER_WAY}"), ".safetensors")
            if path.name[:12].isdecimal()
        ]
        trained = sys.maxsize if folder.is_dir() else 0
        return sum(Path(path).is_file() for path in self.element.records), max([trained, *steps])

    def note(self, text: str) -> None:
        """Write a line about the element itself."""
        self._on_line(f"== {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {text}")

    def _on_line(self, line: str) -> None:
        say(line)
        with suppress(OSError):  # a full disk
            self.log.write(f"{line}\n")
            self.log.flush()

    def _watch(self) -> None:
        while (ended := self._process.poll(self._stopping)) is None:
            time.sleep(POLL_S)
        self._ended = ended

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:  # Slurm repeats it
            return
        if _rank():  # rank 0 saves the state, with the help of all others, and then ends them
            self.wait()
        self.stop()
        if _job_state() == "RUNNING":  # a warning before a preemption: submitit's handler saves and requeues
            signal.raise_signal(getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"))
        self.note("stopped by Slurm")
        sys.exit(CALL_AGAIN)


_running: _Running | None = None  # one element is one process
_RESTARTS = "SLURM_RESTART_COUNT"


def _open_log(path: Path) -> TextIO:
    """Open the log to add lines; where the disk is full or gone, lines go to the element's output alone."""
    try:
        return growing_file(path)
    except OSError:
        return open(os.devnull, "w", encoding="utf-8")


def _environment() -> dict[str, str]:
    """Return the variables of the process: nothing is fetched on a node, and ranks find each other."""
    if int(os.environ.get("SLURM_NTASKS", "1")) == 1:
        return dict(_OFFLINE)
    from submitit.helpers import TorchDistributedEnvironment

    ranks = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    names = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    found = {name: str(getattr(ranks, name.lower())) for name in names}
    if os.environ.get("SLURM_JOB_NUM_NODES", "1") == "1":
        found["MASTER_ADDR"] = "127.0.0.1"  # a node's name in Slurm need not be that of a host
    return {**_OFFLINE, **found}


def _rank() -> int:
    """Return the number of this rank; 0 where the chain has one."""
    return int(os.environ.get("SLURM_PROCID", "0"))


def _job_id() -> str:
    """Return the element's id as squeue shows it."""
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{index}" if array else os.environ.get("SLURM_JOB_ID", "?")


def _job_state() -> str:
    """Ask Slurm for the state of this element; "" where it does not answer."""
    command: Sequence[str] = ["squeue", "--noheader", "--format=%T", f"--jobs={_job_id()}"]
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, text=True, timeout=_STATE_S, check=False).stdout.strip()
    return ""
