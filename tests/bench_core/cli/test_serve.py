"""`bench serve` as a program: what it prints, who may ask, and how it ends."""

import http.client
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import Result

ROOT = Path(__file__).parents[3]
Bench = Callable[..., Result]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of one small board, and the address that it has printed."""
    shutil.copytree(ROOT / "leaderboards" / "gaussian_ring", tmp_path / "leaderboards" / "gaussian_ring")
    command = [sys.executable, "-m", "bench_core", "serve", f"--leaderboards={tmp_path / 'leaderboards'}"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        try:
            assert address, process.stderr.read()
            yield process, address
        finally:
            process.kill()


def ask(address: str, path: str, **headers: str) -> tuple[int, str, str]:
    """Return status, cookie and body of one request, whose path is sent as it is."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.getheader("Set-Cookie", "").partition(";")[0], answer.read().decode()
    connection.close()
    return found


@pytest.mark.slow
def test_the_server_answers_with_its_token_alone_and_stops_cleanly(
    server: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, address = server
    assert address.startswith("http://127.0.0.1:")
    query = f"/?{urlsplit(address).query}"
    assert ask(address, "/")[0] == 403
    status, cookie, _ = ask(address, query)
    assert status == 200
    assert "gaussian_ring" in ask(address, "/index.html", Cookie=cookie)[2]
    assert ">Live</a>" in ask(address, "/", Cookie=cookie)[2]
    assert ask(address, "/live/", Cookie=cookie)[0] == 200
    assert "no store" in ask(address, "/live/state.json", Cookie=cookie)[2]
    for path in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/boards/%00"):
        assert ask(address, path, Cookie=cookie)[0] == 404
    assert ask(address, query, Host="evil.example")[0] == 403
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("bench-serve-*"))  # its temporary folder


def test_nothing_to_show_is_refused_as_by_bench_site(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = bench("serve", code=2)
    assert "there is nothing to show" in outcome.stderr
