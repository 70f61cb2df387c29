"""`bench site`: pages of boards and cells for a browser, from records alone."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from bench_core.cli.options import BOARDS, SHOWN_BOARDS, STORE, Command, load, reads_a_store
from bench_core.output import say

if TYPE_CHECKING:
    from bench_core.plugins import Registry
    from bench_core.reports.site.content import SiteContent

_DEFAULT = ParameterSource.DEFAULT
_QUIET_S = 2.0  # before the first word on what is being done, and between two of them


@click.command(cls=Command)
@SHOWN_BOARDS
@BOARDS
@STORE
@click.option(
    "--out", default="site", show_default=True, type=click.Path(path_type=Path),
    help="Folder of the pages; an earlier site there is replaced, anything else is refused.",
)  # fmt: skip
@click.option("--served", is_flag=True, hidden=True)  # `bench serve` builds its pages so
@click.pass_context
@reads_a_store
def site(
    ctx: click.Context, boards: Sequence[str] | None, leaderboards: Path, store: Path, out: Path, served: bool
) -> None:
    """Make pages of all boards for a browser.

    Writes a folder of HTML: boards to sort and filter, comparisons, plots, and pages of methods, tasks, datasets,
    claims and single cells. It shows the published boards and the store, as far as they are there. Open its index.html
    in a browser, or copy the folder to any web server.
    """
    from bench_core.reports.site.build import build_site, check_out

    if served and hasattr(os, "nice"):
        os.nice(10)  # the run that it shows comes first
    begun, told = time.monotonic(), _Told()
    check_out(out)
    content = _content(ctx, boards, leaderboards, store, load(ctx), told)
    written = build_site(content, out, told, served=served).written
    if served:
        return
    megabytes, seconds = sum(written.values()) / 1e6, time.monotonic() - begun
    pages = sum(address.endswith(".html") for address in written)
    say(f"{pages} pages, {len(written)} files, {megabytes:.1f} MB, {seconds:.0f} s; open {out / 'index.html'}")


class _Told:
    """Says on stderr what is being done, at most every two seconds: "6 s: boards/mnist.html"."""

    def __init__(self) -> None:
        self._begun = self._last = time.monotonic()

    def __call__(self, text: str) -> None:
        """Take a word on what comes next."""
        now = time.monotonic()
        if now - self._last >= _QUIET_S:
            self._last = now
            say(f"{now - self._begun:.0f} s: {text}", err=True)


def _content(
    ctx: click.Context,
    boards: Sequence[str] | None,
    leaderboards: Path,
    store: Path,
    registry: "Registry",
    told: _Told,
) -> "SiteContent":
    """Read what the options name; by default all that is there.

    Raises:
        RequestError: Nothing is there, or something that was typed.
    """
    from bench_core.errors import RequestError
    from bench_core.reports.pages.published_board import published_folders
    from bench_core.reports.site.content import read_content
    from bench_core.store import Store

    given = {name for name in ("store", "leaderboards") if ctx.get_parameter_source(name) != _DEFAULT}
    has_boards = bool(published_folders(leaderboards))
    if not has_boards and ("leaderboards" in given or boards):
        raise RequestError(f"{leaderboards} holds no published board; `bench publish BOARD` makes one.")
    has_store = "store" in given or (not boards and Store(store).exists())
    if not has_boards and not has_store:
        raise RequestError(
            f"there is nothing to show: neither a published board in {leaderboards} nor a store at {store}; run "
            "`bench run --methods nac,sela` for a store, or name one with --leaderboards or --store."
        )
    return read_content(
        leaderboards if has_boards else None, store if has_store else None, boards or (), registry, told=told
    )
