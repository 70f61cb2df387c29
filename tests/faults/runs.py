"""Start `bench run` in a process, and see in which phase of its work that process is."""

import mmap
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench_core.cli import group
from bench_core.cli import run as cli_run
from bench_core.planning import plan
from bench_core.running import chain, runner
from bench_core.store import Store
from bench_core.training import checkpoints

Action = Callable[[], object]

PHASES = {  # name -> the function that is this phase, and how long at most a signal waits inside it, in seconds
    "planning": (plan, "make_plan", 0.1),
    "training": (chain, "pretrain", 1.0),
    "writing a checkpoint": (checkpoints, "write_bytes", 0.01),
    "writing weights": (chain, "save_tensors", 0.01),
    "embedding": (chain, "embed_all", 0.1),
    "tasks": (runner, "run_cell", 0.2),
    "writing a record": (Store, "add_record", 0.01),
    "table and page": (cli_run, "_print_outcome", 0.05),
}
BETWEEN_PHASES = "between these phases"
NEW_PROCESS = "new process, imports included"
HUNG_AFTER_S = 3600.0  # a run that takes longer counts as hung


class PhaseTracker:
    """Name of the phase in which the run is that was forked last, read through shared memory."""

    def __init__(self) -> None:
        """Wrap the functions that are the phases; forked runs inherit the wrappers."""
        self._byte = mmap.mmap(-1, 1)
        self._names = [BETWEEN_PHASES, *PHASES]
        for number, (owner, name, _) in enumerate(PHASES.values(), 1):
            setattr(owner, name, self._wrap(getattr(owner, name), number))

    def current(self) -> str:
        """Return the name of the phase."""
        return self._names[self._byte[0]]

    def reset(self) -> None:
        """Forget the phase in which the run before was stopped."""
        self._byte[0] = 0

    def _wrap(self, function: Callable[..., Any], number: int) -> Callable[..., Any]:
        def tracked(*args: Any, **kwargs: Any) -> Any:
            outer, self._byte[0] = self._byte[0], number
            try:
                return function(*args, **kwargs)
            finally:
                self._byte[0] = outer

        return tracked


class Run:
    """One `bench run`: a fork of this process, or a new process."""

    def __init__(
        self, arguments: Sequence[str], store: Path, *, new_process: bool = False, before: Action | None = None
    ) -> None:
        """Start it.

        Args:
            arguments: Arguments of `bench run` without `--store`.
            store: The store's path; what the run prints goes into a log file beside it.
            new_process: Start Python anew instead of forking.
            before: Called in a forked run before the command, for example to lower a limit.
        """
        self.log = store.with_suffix(f".{time.monotonic_ns()}.log")
        self._exit_code: int | None = None
        arguments = ["run", *arguments, "--store", str(store)]
        with self.log.open("wb") as log:
            if new_process:
                process = subprocess.Popen([sys.executable, "-m", "bench_core", *arguments], stdout=log, stderr=log)
                process.returncode = 0  # `exit_code` waits for the process, so Popen must not
                self.pid = process.pid
                return
            self.pid = os.fork()
            if self.pid == 0:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                run_command_and_exit(arguments, before)

    def exit_code(self) -> int | None:
        """Return the exit code, the negative number of the signal that ended the run, or None while it runs."""
        if self._exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._exit_code = os.waitstatus_to_exitcode(status) if pid else None
        return self._exit_code

    def wait(self) -> tuple[int, str]:
        """Wait for the end; return the exit code and everything that the run printed."""
        deadline = time.monotonic() + HUNG_AFTER_S
        while (code := self.exit_code()) is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"a run did not end in {HUNG_AFTER_S} s: {self.log.read_text()[-500:]}")
            time.sleep(0.005)
        return code, self.log.read_text(errors="replace")


def run_command_and_exit(arguments: Sequence[str], before: Action | None) -> None:
    """Run the command in this forked process and leave, without the cleanup of the process that forked it."""
    code = 70
    try:
        if before:
            before()
        group.main(list(arguments))
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait_for(pid: int) -> int:
    """Wait for a forked process; return its exit code, or the negative number of the signal that ended it."""
    deadline = time.monotonic() + HUNG_AFTER_S
    while not (found := os.waitpid(pid, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            raise TimeoutError(f"a command did not end in {HUNG_AFTER_S} s")
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(found[1])


def cpu_seconds(pid: int) -> float:
    """Return the seconds that a process has spent on a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def chain_processes(store: Path) -> list[int]:
    """Return the ids of processes that run a chain of this store, orphans included."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # the process has ended
            arguments = path.read_bytes().split(b"\0")
            if b"--only-chain" in arguments and str(store).encode() in arguments:
                pids.append(int(path.parent.name))
    return pids
