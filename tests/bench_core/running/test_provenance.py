"""Commit and changes of the code that made a record."""

import os
import sys
from pathlib import Path

import pytest
import torch

from bench_core.running import provenance


def test_wheel_has_neither_commit_nor_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "checkout", lambda: None)
    assert provenance._commit.__wrapped__() == (None, None)


def test_checkout_without_a_commit_counts_as_changed_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provenance, "_git", lambda *_: None)
    monkeypatch.setattr(provenance, "checkout", lambda: tmp_path)
    assert provenance._commit.__wrapped__() == (None, True)


def test_versions_of_cuda_are_kept_for_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr(provenance, "device_name", str)
    for device, versions in (("cpu", (None, None)), ("cuda", ("12.8", 91002))):
        kept = provenance.provenance(torch.device(device))
        assert (kept["device"], kept["cuda"], kept["cudnn"]) == (device, *versions)


def test_command_of_this_process_is_kept_unless_another_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/lib/bench_core/__main__.py", "run"])
    for command, kept in ((None, "python -m bench_core run"), ("bench run --jobs 2", "bench run --jobs 2")):
        assert provenance.provenance(torch.device("cpu"), command)["command"] == kept


def test_answer_of_git_counts_only_if_git_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text('#!/bin/sh\necho " $1 $2 $3 "\n[ $3 = status ]\n')
    (tmp_path / "git").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert provenance._git(Path("here"), "status") == "-C here status"
    assert provenance._git(Path("here"), "rev-parse", "HEAD") is None


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
