"""Commit and changes of the code that made a record."""

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
