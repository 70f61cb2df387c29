"""`bench serve`: the pages of `bench site` in a browser, live while a run goes on."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from types import FrameType

import click
from click.core import ParameterSource

from bench_core.cli.options import BOARDS, SHOWN_BOARDS, STORE, Command
from bench_core.output import say


@click.command(cls=Command)
@click.option(
    "--port", default=8321, show_default=True, type=click.IntRange(1, 65535),
    help="Port on 127.0.0.1; another free one where it is taken.",
)  # fmt: skip
@SHOWN_BOARDS
@BOARDS
@STORE
@click.pass_context
def serve(ctx: click.Context, port: int, boards: Sequence[str] | None, leaderboards: Path, store: Path) -> None:
    """Show the pages of `bench site`, live.

    Prints an address for a browser on this machine, with a token that nobody else has. The pages are made again as
    records come, and the page "Live" shows what runs in the store: progress, time left, losses, logs. Of another
    machine: ssh -L 8321:127.0.0.1:8321 MACHINE. Ctrl-C ends it.
    """
    from bench_core.serving.pages import Pages
    from bench_core.serving.server import check_installed, listening
    from bench_core.serving.server import serve as serve_pages

    check_installed()
    given = [name for name in ("leaderboards", "store") if ctx.get_parameter_source(name) != ParameterSource.DEFAULT]
    folders = {"leaderboards": leaderboards, "store": store}
    words = [f"-p=no:{name}" for name in ctx.obj or []] + ["site", "--served"]
    words += [f"--{name}={folders[name]}" for name in given] + [f"--board={name}" for name in boards or ()]
    stop = Event()
    with TemporaryDirectory(prefix="bench-serve-") as temporary, _stopped_by_signals(stop), listening(port) as listener:
        pages = Pages(words, Path(temporary), store, leaderboards)
        pages.build(stop, lambda line: say(line, err=True))
        if stop.is_set():
            return
        if (found := listener.getsockname()[1]) != port:
            say(f"port {port} is taken; this is on {found}", err=True)
        serve_pages(listener, pages, store, lambda address: say(f"{address}\nCtrl-C ends it."))


@contextmanager
def _stopped_by_signals(stop: Event) -> Iterator[None]:
    """Set an event at Ctrl-C and SIGTERM, which end a server in order, so its exit code is 0.

    The server sets handlers of its own, and calls these again when it has ended.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
