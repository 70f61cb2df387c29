"""Commit and changes of the code that made a record."""

import os
import sys
from pathlib import Path

import pytest

from bench_core.running import provenance


def test_wheel_has_neither_commit_nor_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "checkout", lambda: None)
    assert provenance._commit.__wrapped__() == (None, None)


def test_checkout_without_a_commit_counts_as_changed_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provenance, "_git", lambda *_: None)
    monkeypatch.setattr(provenance, "checkout", lambda: tmp_path)
    assert provenance._commit.__wrapped__() == (None, True)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [(b"runs", "runs"), ("läufe".encode(), "'läufe'"), (b"l\xe4ufe", r"'l\xe4ufe'"), (b"a b", "'a b'")],
)
def test_command_line_fits_into_a_record_whatever_was_typed(
    monkeypatch: pytest.MonkeyPatch, typed: bytes, kept: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/bench", "run", "--store", os.fsdecode(typed)])
    assert provenance.command_line() == f"bench run --store {kept}"
    provenance.command_line().encode()
