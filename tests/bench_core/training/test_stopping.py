import os
import signal
from contextlib import nullcontext

import pytest

from bench_core.training.stopping import CALL_AGAIN, Stop, Stopped

reached: list[str] = []


def send(name: str, times: int = 1, *, deferred: bool = False) -> None:
    """Send a signal to this process, which listens, and note each time that the code after it is reached."""
    with Stop().listening() as stop, stop.deferred() if deferred else nullcontext():
        for _ in range(times):
            os.kill(os.getpid(), getattr(signal, name))
            reached.append(name)


@pytest.fixture(autouse=True)
def nothing_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    reached.clear()
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", CALL_AGAIN), ("SIGUSR1", CALL_AGAIN), ("SIGUSR2", CALL_AGAIN)]
)
def test_signal_raises_stopped_at_once_with_the_exit_code(name: str, code: int) -> None:
    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(Stopped, match=name) as stopped:
        send(name)
    assert stopped.value.code == code
    assert reached == []
    assert signal.getsignal(getattr(signal, name)) == before


def test_first_signal_is_deferred_and_the_second_is_not() -> None:
    with pytest.raises(Stopped):
        send("SIGTERM", 3, deferred=True)
    assert reached == ["SIGTERM"]


def test_in_a_job_of_slurm_signals_are_repeated_and_only_a_second_ctrl_c_is_meant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with pytest.raises(Stopped):
        send("SIGTERM", 3, deferred=True)
    assert reached == ["SIGTERM"] * 3
    reached.clear()
    with pytest.raises(Stopped):
        send("SIGINT", 3, deferred=True)
    assert reached == ["SIGINT"]


def test_except_exception_does_not_catch_stopped() -> None:
    def careless() -> None:
        try:
            raise Stopped(signal.SIGTERM)
        except Exception:
            reached.append("caught")

    with pytest.raises(Stopped):
        careless()
    assert reached == []


def test_without_a_signal_nothing_is_raised() -> None:
    stop = Stop()
    with stop.deferred():
        pass
    stop.raise_if_requested()
    assert not stop.is_requested()


def test_a_deferred_signal_is_raised_at_the_end_of_the_block() -> None:
    def work() -> None:
        with Stop().listening() as stop:
            with stop.deferred():
                os.kill(os.getpid(), signal.SIGTERM)
                reached.append("in the block")
            reached.append("after the block")

    with pytest.raises(Stopped, match="SIGTERM"):
        work()
    assert reached == ["in the block"]
