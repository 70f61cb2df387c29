import csv
import errno
import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Any, TextIO, cast

import click
import pytest

from bench_core.output import SteadyStream, cell, csv_text, own_stdout, printable, say, write


def stream(encoding: str, errors: str = "strict") -> io.TextIOWrapper:
    """A stream as Python makes one for stdout, over bytes in memory."""
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors, write_through=True)


class Failing(io.StringIO):
    """A stream without a file below it, on which every write fails."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.lost = error

    def write(self, text: str) -> int:
        raise self.lost


# ------------------------------------------------------------------------------------------------- terminal


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("utf-8", "2 ± 1 ↑ 貓"), ("latin-1", "2 ± 1 ? ?"), ("cp1252", "2 ± 1 ? ?"), ("ascii", "2 ? 1 ? ?")],
)
def test_what_an_encoding_lacks_is_replaced(encoding: str, shown: str) -> None:
    out = stream(encoding)
    assert write("2 ± 1 ↑ 貓", out) is None
    assert out.buffer.getvalue().decode(encoding) == shown  # type: ignore[attr-defined]  # a BytesIO


def test_half_a_character_is_replaced() -> None:
    out = stream("utf-8")
    write("runs-\udce9", out)
    assert out.buffer.getvalue() == b"runs-?"  # type: ignore[attr-defined]  # a BytesIO


def test_nothing_is_written_without_a_stream_or_to_a_closed_one() -> None:
    closed = io.StringIO()
    closed.close()
    assert write("x", None) is None
    assert write("x", closed) is None


def test_a_reader_that_went_away_is_no_error() -> None:
    for error in (BrokenPipeError(), ConnectionResetError(), OSError(errno.EINVAL, "Windows' word for it")):
        assert write("x", Failing(error)) is None


def test_a_full_disk_is_returned() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert write("x", Failing(full)) is full


def test_an_unreadable_disk_is_returned_and_a_terminal_that_is_gone_is_not(tmp_path: Path) -> None:
    broken = OSError(errno.EIO, "Input/output error")
    leader, terminal = os.openpty()
    for descriptor, lost in ((terminal, None), (os.open(tmp_path / "file", os.O_CREAT), broken)):
        out = Failing(broken)
        out.fileno = lambda: descriptor  # type: ignore[method-assign]  # noqa: B023  # used in this turn only
        assert write("x", out) is lost
        os.close(descriptor)
    os.close(leader)


def test_text_reaches_its_file_at_once_and_no_file_stays_open(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w", encoding="utf-8") as out:
        write("now", out)
        assert (tmp_path / "out").read_text() == "now"
    before = os.listdir("/proc/self/fd")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as out:
        write("lost", out)
    assert os.listdir("/proc/self/fd") == before


def test_after_a_broken_pipe_later_text_and_the_last_flush_go_nowhere() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as out:  # is flushed at its end
        assert write("first", out) is None
        assert write("second", out) is None


def test_a_steady_stream_remembers_the_first_error_and_goes_on() -> None:
    first = OSError(errno.ENOSPC, "No space left on device")
    below = Failing(first)
    steady = SteadyStream(below)
    print("x", file=steady, flush=True)
    below.lost = OSError(errno.EDQUOT, "Disk quota exceeded")
    print("x", file=steady)
    assert steady.error is first
    gone = SteadyStream(Failing(BrokenPipeError()))
    print("x", file=gone)
    assert gone.error is None


def test_a_steady_stream_is_like_the_stream_below_it() -> None:
    below = stream("latin-1")
    steady = SteadyStream(below)
    assert (steady.encoding, steady.errors, steady.isatty(), steady.writable()) == ("latin-1", "replace", False, True)
    assert steady.write("a 貓") == 3
    assert below.buffer.getvalue() == b"a ?"  # type: ignore[attr-defined]  # a BytesIO
    leader, follower = os.openpty()
    with open(follower, "w", encoding="utf-8") as terminal:
        assert SteadyStream(terminal).isatty()
        assert SteadyStream(terminal).fileno() == follower
    assert not SteadyStream(terminal).isatty()  # it is closed
    os.close(leader)


def test_a_steady_stream_over_nothing_takes_everything() -> None:
    steady = SteadyStream(None)
    assert (steady.encoding, steady.isatty(), steady.write("x")) == ("utf-8", False, 1)
    with pytest.raises(io.UnsupportedOperation):
        steady.fileno()


def test_control_characters_are_spelled_out_and_blanks_stay() -> None:
    assert printable("a\x1b[31mb\x07\x9b\x7f\r") == r"a\u001b[31mb\u0007\u009b\u007f\r"
    assert printable("\u202egnp.exe") == r"\u202egnp.exe"  # turns the reading direction
    plain = "two\nlines\tand\N{NO-BREAK SPACE}wide\N{IDEOGRAPHIC SPACE}blanks ± 貓"
    assert printable(plain) == plain


@pytest.mark.parametrize("ascii_only", [True, False])
def test_printable_json_holds_the_same_values(ascii_only: bool) -> None:
    value = {"reason\x1b": "".join(map(chr, [*range(256), 0x202E, 0x2028, 0xFEFF, 0xE0001, 0x10FFFF]))}
    text = printable(json.dumps(value, ensure_ascii=ascii_only))
    assert json.loads(text) == value
    assert text.isprintable() or "\N{NO-BREAK SPACE}" in text


def test_say_spells_control_characters_on_both_streams(capsys: pytest.CaptureFixture[str]) -> None:
    say("\x1b[2J")
    say("\x1b[2J", err=True, nl=False)
    assert capsys.readouterr() == ("\\u001b[2J\n", "\\u001b[2J")


def test_only_say_reaches_stdout_while_it_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with own_stdout():
        print("from a plugin")
        say("[1]")
        with own_stdout():
            say("[2]")
    print("later")
    assert capsys.readouterr() == ("[1]\n[2]\nlater\n", "from a plugin\n")


def test_a_closed_stderr_takes_what_plugins_print(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        with own_stdout():
            print("from a plugin")
            say("lost", err=True)
            say("shown")
    assert capsys.readouterr() == ("shown\n", "")


# --------------------------------------------------------------------------------- comma-separated values


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\0=1", "＝1", "＋1", "－1", "＠a",  # noqa: RUF001  # wide
     "-", "+", "--1", "-1 ± 2; =1", "-3.2 ± 0.4\n", "-1+cmd|' /C calc'!A0", "-3.2 (2 of 5 seeds)=1", "-inf()", "+a"],
)  # fmt: skip
def test_text_that_a_spreadsheet_calculates_gets_an_apostrophe(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "value",
    ["-3", "-3.2", "+0.5", "-.5", "-1e-07", "-1,234.5", "-3.2 ± 0.4", "-3.2 ± 0.4 †", "-3.2 [-3.9, -2.5]",
     "-3.2 [-3.9, 2.5] (2 of 5 seeds) †", "-3.2 (stale)", "-1.23e-05 ± 1e-06", "90.9 [88.2, 93.1]", "a-b", "'=1", "",
     "–", -3.2, -math.inf, None, True, 0],  # noqa: RUF001  # an en dash is what tables show
)  # fmt: skip
def test_numbers_scores_and_plain_text_stay_as_they_are(value: Any) -> None:
    assert cell(value) is value


ROWS: list[tuple[str, Any]] = [
    ("=name", "value"),
    ("a,b", -0.1),
    ('say "=1"', 1e-310),
    ("-x\r\ny", 2**60),
    ("c\rd", math.pi),
    (" padded ", -math.inf),
    ("", None),
]


def test_rows_come_back_from_csv_as_they_were() -> None:
    back = list(csv.reader(io.StringIO(csv_text(ROWS, raw_cells=True), newline="")))
    assert back == [[name, "" if value is None else str(value)] for name, value in ROWS]


def test_only_formulas_differ_between_raw_cells_and_others() -> None:
    raw, safe = (list(csv.reader(io.StringIO(csv_text(ROWS, raw_cells=raw), newline=""))) for raw in (True, False))
    changed = {line: name for line, ((name, _), (ours, _)) in enumerate(zip(raw, safe, strict=True)) if name != ours}
    assert changed == {0: "=name", 3: "-x\r\ny"}
    assert [value for _, value in raw] == [value for _, value in safe]


def test_bytes_go_to_the_stream_below_as_click_writes_completions() -> None:
    below = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    steady = SteadyStream(below)
    click.echo(b"--methods", file=cast(TextIO, steady))
    below.flush()
    assert below.buffer.getvalue() == b"--methods\n"
    SteadyStream(None).buffer.write(b"to nobody")
