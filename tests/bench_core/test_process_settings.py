import locale
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench_core.process_settings import restored


def other_handler(number: int, frame: Any) -> None: ...


@pytest.fixture(autouse=True)
def _settings_stay() -> Iterator[None]:
    """Undo what a failing test would leave behind."""
    dtype, threads, folder = torch.get_default_dtype(), torch.get_num_threads(), Path.cwd()
    handler, streams = signal.getsignal(signal.SIGINT), (sys.stdout, sys.stderr)
    yield
    torch.set_default_dtype(dtype)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    torch.set_num_threads(threads)
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")
    os.chdir(folder)
    signal.signal(signal.SIGINT, handler)
    sys.stdout, sys.stderr = streams


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda: torch.set_default_dtype(torch.float64), "torch's default dtype to torch.float64"),
        (lambda: torch.set_default_device("meta"), "torch's default device to meta"),
        (lambda: torch.set_grad_enabled(False), "torch's gradient mode to False"),
    ],
)
def test_a_change_of_what_all_compute_with_is_put_back_and_told(change: Callable[[], Any], told: str) -> None:
    with restored() as changed:
        change()
        assert changed == []
    assert changed == [told]
    made = torch.ones(2, requires_grad=True).sum()
    assert (made.dtype, made.device.type, made.requires_grad) == (torch.float32, "cpu", True)


def test_all_changes_are_put_back_and_told_also_after_an_error() -> None:
    def fail() -> None:
        torch.set_default_dtype(torch.bfloat16)
        torch.set_grad_enabled(False)
        raise KeyError

    with pytest.raises(KeyError), restored() as changed:
        fail()
    assert changed == ["torch's default dtype to torch.bfloat16", "torch's gradient mode to False"]
    assert torch.get_default_dtype() == torch.float32


def test_a_default_device_that_was_set_before_is_set_again() -> None:
    torch.set_default_device("meta")
    with restored() as changed:
        torch.set_default_device("cpu")
    assert changed == ["torch's default device to cpu"]
    assert torch.ones(1).device.type == "meta"


@pytest.mark.parametrize(
    ("change", "read"),
    [
        (lambda: torch.set_num_threads(torch.get_num_threads() + 1), torch.get_num_threads),
        (lambda: torch.set_float32_matmul_precision("medium"), torch.get_float32_matmul_precision),
        (lambda: torch.use_deterministic_algorithms(True), torch.are_deterministic_algorithms_enabled),
        (
            lambda: torch.use_deterministic_algorithms(True, warn_only=True),
            torch.is_deterministic_algorithms_warn_only_enabled,
        ),
        (lambda: np.seterr(all="raise"), np.geterr),
        (lambda: torch.manual_seed(0), lambda: torch.get_rng_state().tolist()),
        (lambda: np.random.seed(0), lambda: np.random.get_state()[1].tolist()),  # type: ignore[index]
        (lambda: random.seed(0), random.getstate),
        (lambda: os.chdir("/"), os.getcwd),
        (lambda: setattr(sys, "stdout", StringIO()), lambda: sys.stdout),
        (lambda: setattr(sys, "stderr", None), lambda: sys.stderr),
        (lambda: signal.signal(signal.SIGINT, other_handler), lambda: signal.getsignal(signal.SIGINT)),
        (lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN), lambda: signal.getsignal(signal.SIGTERM)),
    ],
)  # fmt: skip
def test_other_settings_are_put_back_without_a_word(change: Callable[[], Any], read: Callable[[], Any]) -> None:
    before = read()
    with restored() as changed:
        change()
        assert read() != before
    assert read() == before
    assert changed == []


def test_the_locale_is_put_back() -> None:
    before = locale.setlocale(locale.LC_ALL)
    with restored():
        locale.setlocale(locale.LC_ALL, "C.UTF-8" if before == "C" else "C")
    assert locale.setlocale(locale.LC_ALL) == before


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch below 2.9 has one API")
def test_a_precision_that_torch_cannot_tell_any_more_is_put_back() -> None:
    with restored():
        torch.backends.cuda.matmul.fp32_precision = "tf32"
        with pytest.raises(RuntimeError, match="mix of the legacy and new APIs"):
            torch.get_float32_matmul_precision()
    assert torch.get_float32_matmul_precision() == "highest"
    with restored():
        pass


def test_a_working_folder_that_is_gone_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with restored():
        os.chdir(tmp_path)
    assert Path.cwd() == tmp_path


def test_in_a_thread_where_signals_cannot_be_set_the_rest_is_put_back() -> None:
    told: list[str] = []

    def work() -> None:
        with restored() as changed:
            torch.set_default_dtype(torch.float64)
            random.seed(0)
        told.extend(changed)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == ["torch's default dtype to torch.float64"]


def test_nothing_is_set_where_nothing_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(os, "chdir", calls.append)
    monkeypatch.setattr(signal, "signal", lambda *arguments: calls.append(arguments))
    with restored() as changed:
        pass
    assert (calls, changed) == ([], [])
