"""Pages in a real headless Chromium: any request to elsewhere, console error or uncaught error of a page is a failure.

    def test_sorts(page: Page, address: Callable[..., str]) -> None:
        page.goto(address("index.html"))

browser             Chromium; tests skip with a reason where it or playwright is missing
site                folder of a small site: the board digits_dim and a store of a tiny run; built once for all workers
repository_site     folder of the site of this repository's records; built once for all workers, takes a while
address             "boards/digits_dim.html" -> its file:// address in `site`, or in the folder that is given
new_page            makes watched pages: new_page(color_scheme="dark", viewport=PHONE, origin="http://127.0.0.1:8000")
page, phone         a watched page of 1280 x 900, and one of 390 x 844
accessible          checks a page with axe: accessible(page)
"""

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

ROOT = Path(__file__).parents[2]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
BOARD = "digits_dim"  # of the small site


@pytest.fixture(scope="package")  # its event loop must not outlive these tests
def browser() -> "Iterator[Browser]":
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium on this machine; on Debian: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


def once(tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], object]) -> Path:
    """Make a folder once for all workers of a session: the first that asks builds it, the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / name
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "built").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            (folder / "built").touch()
    return folder


def build_small(folder: Path) -> None:
    """Build the small site: folder/site of folder/leaderboards and folder/runs."""
    from bench_core import run
    from bench_core.reports.site.build import build_site
    from bench_core.reports.site.content import read_content

    boards, store = folder / "leaderboards", folder / "runs"
    shutil.copytree(ROOT / "leaderboards" / BOARD, boards / BOARD)
    (boards / "claims").mkdir()
    for name in ("claims/dim.toml", "claims/nac.toml", "published.toml"):
        shutil.copy(ROOT / "leaderboards" / name, boards / name)
    run(["nac", "random"], ["knn"], seeds=[0, 1, 2], epochs=2, settings={"digits.train_size": 64}, store=store)
    add_failure(store)
    build_site(read_content(boards, store), folder / "site")


def add_failure(store: Path) -> None:
    """Note a failed attempt on a cell that the first record's chain lacks."""
    from bench_core.files import files_below, read_json
    from bench_core.store import Store

    record = read_json(files_below(store / "cells", ".json")[0])
    doc = {**record["doc"], "task": {"id": "bench-core/linear", "revision": 1, "config": {}}}
    error = {"kind": "error", "error": "RuntimeError: the probe did not converge", "seconds": 1.0}
    Store(store).add_attempt({"key": "0" * 64, "doc": doc, "names": {**record["names"], "task": "linear"}, **error})


def build_repository(folder: Path) -> None:
    """Build the site of this repository's records: folder/site."""
    from bench_core.reports.site.build import build_site
    from bench_core.reports.site.content import read_content

    build_site(read_content(ROOT / "leaderboards", None), folder / "site")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "small_site", build_small) / "site"


@pytest.fixture(scope="session")
def repository_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "repository_site", build_repository) / "site"


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Callable[..., str]:
    def call(of: str, folder: Path | None = None) -> str:
        path, mark, view = of.partition("#")
        return (folder or request.getfixturevalue("site")).joinpath(path).resolve().as_uri() + mark + view

    return call


class Watch:
    """Notes what a page must not do: ask for anything but its own files, or report an error.

    Attributes:
        origin: The served address whose files are the page's own; None where they are files below `folder`.
        folder: The folder of all sites of the session.
        faults: What was seen.
    """

    def __init__(self, origin: str | None, folder: Path) -> None:
        self.origin, self.folder = origin, folder
        self.faults: list[str] = []

    def watch(self, page: "Page") -> None:
        page.on("request", self._request)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"uncaught: {error}"))
        page.on("dialog", self._dialog)

    def is_own(self, url: str) -> bool:
        """Return whether an address is one of the page's own files, or made by the page itself."""
        parts = urlsplit(url)
        if parts.scheme in ("data", "blob", "about"):
            return True
        if self.origin is not None:
            return f"{parts.scheme}://{parts.netloc}" == self.origin
        return parts.scheme == "file" and Path(unquote(parts.path)).resolve().is_relative_to(self.folder)

    def _request(self, request: "Request") -> None:
        if not self.is_own(request.url):
            self.faults.append(f"request to {request.url}")

    def _dialog(self, dialog: "Dialog") -> None:
        self.faults.append(f"dialog: {dialog.message}")  # no page of ours opens one: a value was taken for a script
        dialog.dismiss()

    def _console(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self.faults.append(f"console: {message.text} ({message.location})")


@pytest.fixture
def new_page(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Callable[..., Page]]":
    """Function that makes a page in a context of its own; options are those of playwright's `new_context`.

    Args of the function:
        origin: The served address whose pages it shows; by default it shows files of sites of this session.
        faults: Errors that the test expects: texts that each have to be part of one, and of which each has one.
    """
    base, closing = tmp_path_factory.getbasetemp(), []
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base).resolve()

    def call(origin: str | None = None, faults: tuple[str, ...] = (), **options: Any) -> "Page":
        context = browser.new_context(**{"viewport": DESKTOP, **options})
        context.set_default_timeout(10_000)
        watch = Watch(origin, folder)
        away = re.compile(r"^(https?|wss?|ftp):")
        context.route(away, lambda route: route.continue_() if watch.is_own(route.request.url) else route.abort())
        context.on("page", watch.watch)
        closing.append((context, watch, faults))
        return context.new_page()

    yield call
    seen = []
    for context, watch, faults in closing:
        context.close()
        seen += [fault for fault in watch.faults if not any(text in fault for text in faults)]
        seen += [f"not seen: {text}" for text in faults if not any(text in fault for fault in watch.faults)]
    assert not seen, "\n".join(seen)


@pytest.fixture
def page(new_page: "Callable[..., Page]") -> "Page":
    return new_page()


@pytest.fixture
def phone(new_page: "Callable[..., Page]") -> "Page":
    return new_page(viewport=PHONE, has_touch=True)


@pytest.fixture(scope="session")
def until() -> "Callable[..., None]":
    """Return a function that waits until an expression is true in a page.

    Playwright's own one evaluates text in the page whenever it is not true at once, which the pages forbid.
    """

    def wait(page: "Page", expression: str, argument: object = None, *, seconds: float = 30) -> None:
        ends = time.monotonic() + seconds
        while not page.evaluate(expression, argument):
            assert time.monotonic() < ends, f"not true after {seconds:g} s: {expression}"
            page.wait_for_timeout(50)

    return wait


@pytest.fixture
def accessible() -> "Callable[[Page], None]":
    """Function that fails where axe finds a violation of WCAG 2.2 AA, or of its best practices, on a page as it is."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    source = (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")

    def check(page: "Page") -> None:
        if not page.evaluate("typeof axe === 'object'"):
            page.evaluate(source)  # by the debugger, which no Content-Security-Policy stops
        # Without preload: axe would read styles by requests, which a browser refuses to pages of files.
        found = page.evaluate("async () => (await axe.run({preload: false})).violations")
        lines = [
            f"{violation['id']} ({violation['impact']}): {violation['help']}\n    "
            + "\n    ".join(f"{node['html'][:160]}\n      {node['failureSummary']}" for node in violation["nodes"][:5])
            for violation in found
        ]
        assert not lines, f"{page.url}\n" + "\n".join(lines)

    return check
