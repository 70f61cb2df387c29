import os
import signal
from contextlib import nullcontext

import pytest

from bench_core.training.stopping import CALL_AGAIN, Stop, Stopped

reached: list[str] = []


def send(name: str, times: int = 1, *, held: bool = False) -> None:
    """Send a signal to this process, which listens, and note that it went on."""
    with Stop().listening() as stop, stop.held() if held else nullcontext():
        for _ in range(times):
            os.kill(os.getpid(), getattr(signal, name))
            reached.append(name)


@pytest.fixture(autouse=True)
def nothing_reached() -> None:
    reached.clear()


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", CALL_AGAIN), ("SIGUSR1", CALL_AGAIN)])
def test_a_signal_leaves_at_once_with_a_code_that_says_whether_to_call_again(name: str, code: int) -> None:
    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(Stopped, match=name) as stopped:
        send(name)
    assert stopped.value.code == code
    assert reached == []
    assert signal.getsignal(getattr(signal, name)) == before


def test_a_signal_waits_while_it_is_held_and_the_second_does_not() -> None:
    with pytest.raises(Stopped):
        send("SIGTERM", 3, held=True)
    assert reached == ["SIGTERM"]


def test_no_handler_of_errors_takes_it_for_one() -> None:
    def careless() -> None:
        try:
            raise Stopped(signal.SIGTERM)
        except Exception:
            reached.append("taken")

    with pytest.raises(Stopped):
        careless()
    assert reached == []


def test_who_was_not_told_goes_on() -> None:
    stop = Stop()
    with stop.held():
        pass
    stop.check()
    assert not stop.asked()
