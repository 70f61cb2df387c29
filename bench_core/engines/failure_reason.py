"""The reason why a chain's process failed, where it could not record that: read off its exit code and last lines."""

import signal

from bench_core.engines.child_process import Ended
from bench_core.store.store import PREEMPTED
from bench_core.training.stopping import CALL_AGAIN, SIGNALS

STOP_CODES = (CALL_AGAIN, 130, *(-number for number in SIGNALS))  # exit codes of `bench run` after a stop signal
ERROR_CODES = (1, 2)  # its exit codes after an error; the last line that it printed then gives the reason
ERROR = "error"  # kind of an attempt
_KILLED, _TIMEOUT = "killed", "timeout"  # the other kinds


def failure_reason(ended: Ended, time_limit: float | None) -> tuple[str, str]:
    """Return kind and reason of the failure of a process that has recorded none."""
    if ended.timed_out:
        return _TIMEOUT, f"not done within {time_limit:g} s; run again to resume from its last checkpoint"
    if ended.code in STOP_CODES:
        return PREEMPTED, "its process got a stop signal; run again to resume from its last checkpoint"
    last = next((line for line in reversed(ended.last_lines) if line.strip()), " ")
    if ended.code in ERROR_CODES and not last.startswith(" "):  # an indented line is progress and no reason
        return ERROR, last.removeprefix("Error: ")
    if ended.code == -signal.SIGKILL:
        return _KILLED, "its process was killed by SIGKILL; if nobody did that, the machine's memory ran out"
    if ended.code < 0:
        return _KILLED, f"its process was killed by {signal.Signals(-ended.code).name}"
    return _KILLED, f"its process ended with exit code {ended.code} and printed no reason"
