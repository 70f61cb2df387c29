"""Starting and ending of child processes, with small Python scripts as commands."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from bench_core.engines.child_process import POLL_S, ChildProcess, Ended, leave_with_parent, restart_command
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
IGNORES_SIGTERM = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
print(worker.pid, flush=True)
time.sleep(60)
"""


def run(script: str, *words: str, limit: float | None = None, grace: float = 60) -> Ended:
    return end_of(ChildProcess([*PYTHON, script, *words], lambda line: None, limit, grace))


def end_of(child: ChildProcess) -> Ended:
    while (ended := child.poll(stop=False)) is None:
        time.sleep(POLL_S)
    return ended


def test_names_in_lines_come_whole_whatever_the_encoding_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    lines: list[str] = []
    child = ChildProcess([*PYTHON, "print('läufe ± 貓')"], lines.append)
    assert end_of(child).code == 0
    assert lines == ["läufe ± 貓"]


def test_lines_and_exit_code_of_a_command_are_reported() -> None:
    lines: list[str] = []
    script = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    ended = end_of(ChildProcess([*PYTHON, script], lines.append))
    assert (ended.code, ended.timed_out, ended.last_lines) == (3, False, ["out", "err"])
    assert 0 < ended.seconds < 60
    assert lines == ["out", "err"]


def test_error_in_on_line_does_not_stop_reading() -> None:
    def raise_disk_full(line: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    ended = end_of(ChildProcess([*PYTHON, "for i in range(10_000): print(i, flush=True)"], raise_disk_full))
    assert (ended.code, ended.last_lines[-1]) == (0, "9999")


def test_lines_that_are_still_read_when_a_command_ends_are_awaited() -> None:
    child = ChildProcess([*PYTHON, "for i in range(20): print(i)"], lambda line: time.sleep(0.02))
    assert end_of(child).last_lines == [str(number) for number in range(20)]


def test_only_the_last_lines_of_a_long_output_are_kept() -> None:
    ended = run("for i in range(100_000): print(i)")
    assert (len(ended.last_lines), ended.last_lines[-1]) == (120, "99999")


def test_process_at_its_time_limit_gets_sigterm_first_so_that_it_can_save(tmp_path: Path) -> None:
    ended = run(SAVES, str(tmp_path / "saved"), limit=2)
    assert (ended.code, ended.timed_out) == (CALL_AGAIN, True)
    assert (tmp_path / "saved").exists()


def test_process_that_ignores_sigterm_is_killed_with_its_children() -> None:
    ended = run(IGNORES_SIGTERM, limit=2, grace=0)
    assert (ended.code, ended.timed_out) == (-signal.SIGKILL, True)
    assert has_ended(int(ended.last_lines[0]))


def test_children_of_a_crashed_process_are_killed() -> None:
    script = IGNORES_SIGTERM.replace("time.sleep(60)\n", "import os; os.kill(os.getpid(), signal.SIGSEGV)\n")
    ended = run(script)
    assert ended.code == -signal.SIGSEGV
    assert has_ended(int(ended.last_lines[0]))


def has_ended(pid: int) -> bool:
    """Return True if a process has ended within 10 seconds; a zombie counts as ended."""
    for _ in range(200):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
        if state.strip() == "" or state.startswith("Z"):
            return True
        time.sleep(0.05)
    return False


def test_environment_of_a_child_replaces_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_ONE", "1")
    monkeypatch.setenv("BENCH_TWO", "1")
    script = "import os; print(os.environ['BENCH_ONE'], os.environ['BENCH_TWO'])"
    child = ChildProcess([*PYTHON, script], lambda line: None, environment={"BENCH_TWO": "2"})
    assert end_of(child).last_lines == ["1 2"]


def test_child_ends_when_its_parent_ends(tmp_path: Path) -> None:
    script = "from bench_core.engines.child_process import leave_with_parent; leave_with_parent();" + SAVES
    command = [sys.executable, "-c", script, str(tmp_path / "saved")]
    environment = {**os.environ, "BENCH_STARTED_BY": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.poll() is None
        # leaving the block closes its stdin, as the end of this process would
    assert process.returncode == CALL_AGAIN
    assert (tmp_path / "saved").exists()


@contextmanager
def as_stdin(descriptor: int) -> Iterator[None]:
    """Put a file in the place of this process's stdin."""
    before = os.dup(0)
    os.dup2(descriptor, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_process_sends_sigterm_to_itself_when_the_pipe_at_its_stdin_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: SimpleQueue[tuple[int, int]] = SimpleQueue()
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.put((pid, number)))
    monkeypatch.setenv("BENCH_STARTED_BY", "1")
    reader, writer = os.pipe()
    with as_stdin(reader):
        leave_with_parent()
        os.write(writer, b"1")
        assert sent.empty()
        os.close(writer)
        assert sent.get(timeout=60) == (os.getpid(), signal.SIGTERM)
    os.close(reader)


def test_process_that_a_scheduler_started_with_a_pipe_as_stdin_waits_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = list[object]()
    monkeypatch.setattr("bench_core.engines.child_process.Thread", lambda **options: started.append(options))
    monkeypatch.delenv("BENCH_STARTED_BY", raising=False)
    reader, writer = os.pipe()
    with as_stdin(reader):
        leave_with_parent()
    os.close(writer)
    os.close(reader)
    assert started == []


def test_process_without_a_pipe_as_stdin_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[object]()
    monkeypatch.setattr("bench_core.engines.child_process.Thread", lambda **options: started.append(options))
    monkeypatch.setenv("BENCH_STARTED_BY", "1")
    with open(os.devnull) as nothing, as_stdin(nothing.fileno()):
        leave_with_parent()
    assert started == []


def test_command_without_a_pipe_as_stdin_does_not_end_with_stdin() -> None:
    script = "from bench_core.engines.child_process import leave_with_parent; leave_with_parent();"
    ready = "import time; time.sleep(0.2); print('still running')"
    done = subprocess.run(
        [sys.executable, "-c", script + ready], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert done.stdout == "still running\n"


def test_restarted_program_looks_for_modules_where_this_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/usr/bin"])
    assert "-P" in restart_command()
    monkeypatch.setattr(sys, "path", [os.getcwd()])
    assert "-P" not in restart_command()
