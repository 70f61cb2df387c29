"""Serves the pages on 127.0.0.1 until Ctrl-C or SIGTERM."""

import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread

from bench_core.errors import RequestError
from bench_core.serving.live_state import LiveState
from bench_core.serving.pages import Pages

HOST = "127.0.0.1"


def check_installed() -> None:
    """Say what to install where the server's libraries are missing.

    Raises:
        RequestError: They are.
    """
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            raise RequestError(f"{name} is not installed; type: pip install 'bench-core[serve]'")


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """Listen on a port of this machine, or on another free one where it is taken.

    Raises:
        RequestError: This user may not listen on the port.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except PermissionError as error:
            raise RequestError(f"--port {port} needs more rights than yours; give one from 1024.") from error
        except OSError:
            listener.bind((HOST, 0))
        listener.listen()
        yield listener


def serve(listener: socket.socket, pages: Pages, store: Path, ready: Callable[[str], None]) -> None:
    """Serve pages that are built, and follow their records, until a signal asks to stop.

    Args:
        listener: The socket.
        pages: The pages.
        store: The store of what runs.
        ready: Gets the address with its token, once.
    """
    import uvicorn

    from bench_core.serving.app import App

    port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
    live = LiveState(store)
    app = App(token, f"bench-{port}", lambda: pages.folder, lambda: live.answer(pages.said))
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", ws="none", http="h11", server_header=False,
        date_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    stop = Event()
    follower = Thread(target=pages.follow, args=(stop,), name="pages")
    follower.start()
    try:
        ready(f"http://{HOST}:{port}/?token={token}")
        uvicorn.Server(config).run(sockets=[listener])
    finally:
        stop.set()
        follower.join()
