"""The live page of `bench serve` during a real run, and that nobody without the token sees anything."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

BENCH = (sys.executable, "-m", "bench_core")
RUN = ("run", "--methods", "nac", "--tasks", "knn", "--seeds", "5", "--epochs", "600", "--set", "digits.train_size=256")


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a store and yield the address that is printed."""
    with subprocess.Popen(
        [*BENCH, "serve", "--store=runs"], cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "TMPDIR": str(folder)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
    assert process.returncode == 0


@pytest.mark.slow
def test_live_page_follows_a_real_run(
    site: Path,
    tmp_path: Path,
    new_page: "Callable[..., Page]",
    accessible: "Callable[[Page], None]",
    until: Callable[..., None],
) -> None:
    shutil.copytree(site.parent / "runs", tmp_path / "runs", symlinks=True)
    with serving(tmp_path) as address:
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(address))
        page = new_page(origin=origin)
        page.set_default_timeout(120_000)
        page.goto(address)
        page.wait_for_url(f"{origin}/")  # the token has left the address
        assert "token" not in page.evaluate("document.cookie")  # no script can read it
        page.get_by_role("link", name="Live").click()
        page.get_by_text("is over").wait_for()
        shown = page.locator(".live-pages").inner_text()
        with subprocess.Popen(
            [*BENCH, *RUN], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as run:
            page.locator(".live-curve polyline").first.wait_for()
            assert page.locator(".live-training h3").inner_text() == "nac on digits with convnet, seed 5"
            assert "of 600" in page.locator(".live-epoch").inner_text()
            assert page.locator(".live-running .live-state").inner_text() == "running"
            page.locator(".live-training summary").click()
            assert "loss" in page.locator(".live-training pre").inner_text()
            accessible(page)
            page.emulate_media(color_scheme="dark")
            accessible(page)
            assert run.wait(timeout=120) == 0
        page.get_by_text("1 of 1 cells done").wait_for()
        until(page, f"!document.querySelector('.live-pages').textContent.startsWith({shown!r})", seconds=120)
        page.goto(f"{origin}/boards/store.html")
        assert page.locator("table").first.is_visible()
    page.goto("about:blank")


def test_a_browser_without_the_token_sees_nothing(new_page: "Callable[..., Page]") -> None:
    """The application alone, without the pages of a site."""
    import threading

    import uvicorn

    from bench_core.serving.app import App
    from bench_core.serving.server import HOST, listening

    app = App("secret", "bench", lambda: Path("/none"), lambda: (b"{}", "tag"))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none", http="h11"))
    with listening(8321) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            origin = f"http://{HOST}:{listener.getsockname()[1]}"
            page = new_page(origin=origin, faults=("403",))
            page.goto(f"{origin}/live/")
            assert "bench serve" in page.locator("body").inner_text()
        finally:
            server.should_exit = True
            thread.join()
