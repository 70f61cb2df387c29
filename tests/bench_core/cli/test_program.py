"""`bench` as a process of its own, with odd streams: real processes first, then its parts in this one."""

import errno
import io
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench_core.cli.program import _own_stdout, run_as_program
from bench_core.output import say

WORK = """
import logging, sys, warnings
from pathlib import Path
from bench_core.cli.program import run_as_program
from bench_core.output import say

def main():
    Path("record").write_text("begun")
    {body}
    Path("record").write_text("done")
    sys.exit({code})

sys.exit(run_as_program(main))
"""
FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


Ended = subprocess.CompletedProcess[bytes]


def call(folder: Path, program: Sequence[str], shell: str = "", **environment: str) -> Ended:
    """Run Python in a folder; `shell` redirects its streams."""
    command = ["bash", "-c", f'"$@" {shell}', "bash", sys.executable, *program]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, timeout=300)


def bench(folder: Path, *words: str, shell: str = "", **environment: str) -> Ended:
    """Run a command of `bench`."""
    return call(folder, ["-m", "bench_core", *words], shell, **environment)


def work(folder: Path, body: str, code: int = 0, shell: str = "") -> Ended:
    """Run a program that does some work and prints; its file `record` must say "done"."""
    ended = call(folder, ["-c", WORK.format(body=body, code=code)], shell)
    assert (folder / "record").read_text() == "done"
    return ended


PRINTS = "say('table ± 1'); say('log', err=True); print('plugin'); print('plugin', file=sys.stderr, flush=True)"


@pytest.mark.parametrize("code", [0, 1, 75])
@pytest.mark.parametrize("shell", ["", ">&-", "2>&-", "<&- >&- 2>&-", "| true; exit ${PIPESTATUS[0]}"])
def test_closed_streams_leave_the_exit_code_to_the_work(tmp_path: Path, code: int, shell: str) -> None:
    done = work(tmp_path, PRINTS, code, shell)
    assert done.returncode == code
    if "2>&-" not in shell:
        assert done.stderr.splitlines()[:1] == [b"log"]
    assert b"Error" not in done.stderr


@needs_full
@pytest.mark.parametrize(("code", "expected"), [(0, 1), (2, 2)])
def test_a_full_disk_below_stdout_is_told_when_the_work_is_done(tmp_path: Path, code: int, expected: int) -> None:
    done = work(tmp_path, PRINTS, code, ">/dev/full")
    assert done.returncode == expected
    told = b"Error: stdout: No space left on device. Output is missing; what was finished is kept.\n"
    assert done.stderr == b"log\nplugin\n" + (told if code == 0 else b"")


@needs_full
def test_a_full_disk_below_stderr_loses_nothing_that_was_asked_for(tmp_path: Path) -> None:
    done = work(tmp_path, PRINTS, shell="2>/dev/full")
    assert done.returncode == 0
    assert done.stdout.decode() == "table ± 1\nplugin\n"


def test_a_closed_descriptor_is_no_place_for_the_next_file(tmp_path: Path) -> None:
    """A library or another process that prints would write into a record."""
    body = "Path('file').touch(); file = open('file', 'w'); import os; os.system('echo noise; echo noise >&2')"
    work(tmp_path, body, shell="<&- >&- 2>&-")
    assert (tmp_path / "file").read_text() == ""


def test_a_stream_that_does_not_wait_takes_long_text_whole(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # as some terminals and build servers hand it on
    program = [sys.executable, "-c", WORK.format(body="say('x' * 300_000)", code=0)]
    with subprocess.Popen(program, cwd=tmp_path, stdout=writer) as process, open(reader, "rb") as out:
        os.close(writer)
        assert len(out.read()) == 300_001
        assert process.wait() == 0


def test_log_lines_warnings_and_tracebacks_cannot_steer_the_terminal(tmp_path: Path) -> None:
    odd = r"a\x1b[31m\x9b.png"
    body = (
        f"logging.getLogger('bench').warning('%s is damaged', '{odd}'); logging.getLogger('x').info('quiet'); "
        f"warnings.warn('{odd}')"
    )
    done = work(tmp_path, body)
    text = done.stderr.decode()
    assert text.startswith("a\\u001b[31m\\u009b.png is damaged\n")
    assert "UserWarning: a\\u001b[31m\\u009b.png" in text
    assert text.replace("\n", "").isprintable()
    crash = call(tmp_path, ["-c", WORK.format(body=f"raise ValueError('{odd}')", code=0)])
    assert crash.returncode == 1
    assert crash.stderr.decode().endswith("ValueError: a\\u001b[31m\\u009b.png\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_help_and_errors_are_printed_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    environment = {"PYTHONIOENCODING": encoding}
    assert b"Usage: " in bench(tmp_path, "--help", **environment).stdout
    refused = bench(tmp_path, "run", "--nö±貓", **environment)
    assert refused.returncode == 2
    assert "--nö±貓".encode(encoding, "replace") in refused.stderr


def test_without_docstrings_commands_work_and_check_says_why_it_cannot(tmp_path: Path) -> None:
    assert bench(tmp_path, "list", "methods", PYTHONOPTIMIZE="2").returncode == 0
    refused = bench(tmp_path, "check", "nac", PYTHONOPTIMIZE="2")
    assert (refused.returncode, refused.stderr.count(b"\n")) == (2, 1)
    assert b"run without -OO" in refused.stderr


def test_an_argument_with_escapes_is_refused_without_them(tmp_path: Path) -> None:
    for words in (["--\x1b[31m"], ["\x1b[31m"], ["table", "--format", "\x1b[31m"], ["why"], ["list", "\x9b"]):
        refused = bench(tmp_path, *words)
        assert refused.returncode == 2
        assert not {"\x1b", "\x9b"} & set(refused.stderr.decode())


@needs_full
@pytest.mark.parametrize(
    ("words", "code"), [(["--help"], 1), (["--version"], 1), (["completion", "bash"], 1), (["x"], 2)]
)
def test_help_that_finds_no_space_ends_in_one_line(tmp_path: Path, words: list[str], code: int) -> None:
    done = bench(tmp_path, *words, shell=">/dev/full")
    assert done.returncode == code
    assert done.stderr.count(b"Error: ") == 1
    assert b"Traceback" not in done.stderr
    assert bench(tmp_path, *words, shell=">&-").returncode == (0 if code == 1 else code)


@pytest.mark.slow
@needs_full
def test_a_run_without_any_stream_writes_its_records(tmp_path: Path) -> None:
    words = ["run", "--methods", "random", "--tasks", "knn", "--device", "cpu", "--jobs", "2"]
    assert bench(tmp_path, *words, shell="<&- >/dev/full 2>&-").returncode == 1
    assert len(list((tmp_path / "runs" / "cells").rglob("*.json"))) == 1


# ------------------------------------------------------------------------------------------------- in this process
class FullDisk(io.StringIO):
    """A stream on which every write fails."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@contextmanager
def own_process(stdout: io.StringIO) -> Iterator[io.StringIO]:
    """Yield what is printed on stderr; all that `run_as_program` changes of the process is put back.

    This cannot be a fixture: pytest sets streams and handlers anew between a fixture and its test.
    """
    stderr = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("stdout", stdout), ("stderr", stderr), ("excepthook", sys.excepthook)):
            patch.setattr(sys, name, value)
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)
        patch.setattr(logging.getLogger(), "handlers", [])
        yield stderr


def test_exit_code_is_that_of_the_work() -> None:
    done: list[int] = []
    with own_process(io.StringIO()) as stderr:
        assert run_as_program(lambda: done.append(1)) == 0
        assert run_as_program(lambda: sys.exit(75)) == 75
    assert done == [1]
    assert stderr.getvalue() == ""


@pytest.mark.parametrize(("code", "expected"), [(0, 1), (None, 1), (2, 2)])
def test_lost_output_is_told_unless_the_work_itself_has_failed(code: int | None, expected: int) -> None:
    def work() -> None:
        say("a table")
        sys.exit(code)

    with own_process(FullDisk()) as stderr:
        assert run_as_program(work) == expected
    told = "Error: stdout: No space left on device. Output is missing; what was finished is kept.\n"
    assert stderr.getvalue() == ("" if code else told)


def test_log_line_that_cannot_be_made_is_reported_and_a_traceback_is_printed() -> None:
    with own_process(io.StringIO()) as stderr:
        run_as_program(lambda: logging.getLogger("bench.test").warning("%s is damaged", "a\x1b[31m.png"))
        assert stderr.getvalue() == "a\\u001b[31m.png is damaged\n"
        logging.getLogger("bench.test").warning("%d images", "no")
        assert "--- Logging error ---" in stderr.getvalue()
        sys.excepthook(ValueError, ValueError("a\x1b[31m"), None)
    assert stderr.getvalue().endswith("ValueError: a\\u001b[31m\n")


def test_closed_descriptors_lead_nowhere_and_all_wait(in_child: Callable[[Callable[[], None]], None]) -> None:
    def work() -> None:
        _, writer = os.pipe()
        os.set_blocking(writer, False)
        os.dup2(writer, 2)
        os.close(0)
        os.close(1)
        run_as_program(lambda: None)
        assert os.get_blocking(2)
        for descriptor in (0, 1):
            assert os.fstat(descriptor).st_rdev == os.stat(os.devnull).st_rdev
            assert os.get_inheritable(descriptor)

    in_child(work)


def test_only_the_own_stream_leads_to_stdout(in_child: Callable[[Callable[[], None]], None], tmp_path: Path) -> None:
    def work() -> None:
        pipes = [os.pipe(), os.pipe()]
        for descriptor, (_, writer) in enumerate(pipes, 1):
            os.dup2(writer, descriptor)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # lives as long as the process
        own = _own_stdout()
        assert own is not None
        print("±", file=own, flush=True)
        os.write(1, b"noise")
        assert [os.read(reader, 100) for reader, _ in pipes] == ["±\n".encode(), b"noise"]
        with (tmp_path / "file").open("w") as file:
            sys.stdout = file
            assert _own_stdout() is file

    in_child(work)
