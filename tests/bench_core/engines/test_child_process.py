"""How a command is watched and ended, on commands that cost nothing."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench_core.engines.child_process import LOOK_S, Child, Ended, itself
from bench_core.training.stopping import CALL_AGAIN

PYTHON = [sys.executable, "-S", "-c"]
SAVES = """
import os, signal, sys, time
def save(*_):
    open(sys.argv[1], "w").close()
    os._exit(75)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""
DEAF = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
print(worker.pid, flush=True)
time.sleep(60)
"""


def run(script: str, *words: str, limit: float | None = None, grace: float = 60) -> Ended:
    return watched(Child([*PYTHON, script, *words], lambda line: None, limit, grace))


def watched(child: Child) -> Ended:
    while (ended := child.look(stop=False)) is None:
        time.sleep(LOOK_S)
    return ended


def test_what_a_command_says_is_passed_on_and_its_exit_code_known() -> None:
    heard: list[str] = []
    script = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    ended = watched(Child([*PYTHON, script], heard.append))
    assert (ended.code, ended.late, ended.said) == (3, False, ["out", "err"])
    assert heard == ["out", "err"]


def test_who_cannot_pass_on_what_was_said_reads_on() -> None:
    def full(line: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    ended = watched(Child([*PYTHON, "for i in range(10_000): print(i, flush=True)"], full))
    assert (ended.code, ended.said[-1]) == (0, "9999")


def test_of_much_that_was_said_the_end_is_kept() -> None:
    ended = run("for i in range(100_000): print(i)")
    assert (len(ended.said), ended.said[-1]) == (60, "99999")


def test_who_is_late_is_told_first_so_that_it_saves(tmp_path: Path) -> None:
    ended = run(SAVES, str(tmp_path / "saved"), limit=2)
    assert (ended.code, ended.late) == (CALL_AGAIN, True)
    assert (tmp_path / "saved").exists()


def test_who_does_not_listen_is_killed_with_all_that_it_started() -> None:
    ended = run(DEAF, limit=2, grace=0)
    assert (ended.code, ended.late) == (-signal.SIGKILL, True)
    assert gone(int(ended.said[0]))


def test_what_a_process_that_crashed_had_started_is_gone() -> None:
    script = DEAF.replace("time.sleep(60)\n", "import os; os.kill(os.getpid(), signal.SIGSEGV)\n")
    ended = run(script)
    assert ended.code == -signal.SIGSEGV
    assert gone(int(ended.said[0]))


def gone(pid: int) -> bool:
    """Whether a process is no more, or soon, or waits only for somebody to ask how it ended."""
    for _ in range(200):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
        if state.strip() == "" or state.startswith("Z"):
            return True
        time.sleep(0.05)
    return False


def test_what_an_environment_says_is_over_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_ONE", "1")
    monkeypatch.setenv("BENCH_TWO", "1")
    script = "import os; print(os.environ['BENCH_ONE'], os.environ['BENCH_TWO'])"
    child = Child([*PYTHON, script], lambda line: None, environment={"BENCH_TWO": "2"})
    assert watched(child).said == ["1 2"]


def test_a_command_leaves_with_the_process_that_watches_it(tmp_path: Path) -> None:
    script = "from bench_core.engines.child_process import leave_with_parent; leave_with_parent();" + SAVES
    command = [sys.executable, "-c", script, str(tmp_path / "saved")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.poll() is None
        # leaving the block closes its stdin, as the end of this process would
    assert process.returncode == CALL_AGAIN
    assert (tmp_path / "saved").exists()


def test_who_typed_the_command_is_not_waited_for() -> None:
    script = "from bench_core.engines.child_process import leave_with_parent; leave_with_parent();"
    ready = "import time; time.sleep(0.2); print('goes on')"
    done = subprocess.run(
        [sys.executable, "-c", script + ready], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert done.stdout == "goes on\n"


def test_what_starts_anew_finds_modules_where_this_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/usr/bin"])
    assert "-P" in itself()
    monkeypatch.setattr(sys, "path", [os.getcwd()])
    assert "-P" not in itself()
