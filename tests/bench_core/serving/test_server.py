"""The socket of the server, and its libraries where they are missing."""

import socket
import sys

import pytest

from bench_core.errors import RequestError
from bench_core.serving.server import HOST, check_installed, listening


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def test_a_taken_port_leads_to_another_free_one() -> None:
    port = free_port()
    with listening(port) as first, listening(port) as second:
        assert first.getsockname() == (HOST, port)
        assert second.getsockname()[0] == HOST
        assert second.getsockname()[1] != port


def test_nobody_but_this_machine_can_reach_it() -> None:
    with listening(free_port()) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_a_missing_library_is_named_with_what_to_type(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(RequestError, match=rf"{missing} is not installed; type: pip install 'bench-core\[serve\]'"):
        check_installed()
