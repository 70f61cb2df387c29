"""Writes all parts of a site into a new folder, which then takes the place of an earlier site."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from bench_core.errors import RequestError, shown
from bench_core.files import new_folder
from bench_core.reports.site.board_page import write_boards
from bench_core.reports.site.cell_pages import write_cells
from bench_core.reports.site.claim_pages import write_claims
from bench_core.reports.site.comparisons import write_comparisons
from bench_core.reports.site.content import SiteContent
from bench_core.reports.site.dataset_pages import write_datasets
from bench_core.reports.site.index_page import write_index
from bench_core.reports.site.method_pages import write_methods
from bench_core.reports.site.task_pages import write_tasks
from bench_core.reports.site.writer import HERE, SiteWriter

MARKER = "site.json"  # lists all other files of a site; a folder without it is no site
MANUAL = "manual/manual.css"  # a file of the manual's site, which may lie in the folder above

Part = Callable[[SiteWriter, SiteContent], None]

# What is told while a part is written -> the part. All of them write through the same writer, in this order.
_PARTS: tuple[tuple[str, Part], ...] = (
    ("styles and scripts", lambda site, _: write_assets(site)),
    ("boards", write_boards),
    ("index", write_index),
    ("methods", write_methods),
    ("tasks", write_tasks),
    ("datasets", write_datasets),
    ("claims", write_claims),
    ("cells", write_cells),  # they link to the pages of components that are there
    ("comparisons", write_comparisons),  # the last: they show the plots and logs that are there
)


def build_site(
    content: SiteContent, out: Path, told: Callable[[str], None] = lambda _: None, *, served: bool = False
) -> SiteWriter:
    """Write a site.

    Args:
        content: What it shows.
        out: Its folder; an earlier site there is replaced once the new one is complete.
        told: Gets a word on what is done, before each part and each file.
        served: Also write the page "Live" of `bench serve`, and links to it.

    Returns:
        The writer, which knows all files.

    Raises:
        RequestError: The folder holds something that is not a site, or files that no site has made.
    """
    out = Path(os.path.realpath(out))
    check_out(out)
    with new_folder(out, MARKER, over=True) as temporary:
        site = SiteWriter(temporary, told, served=served, manual=(out.parent / MANUAL).is_file())
        for name, write in _PARTS:
            told(name)
            write(site, content)
        if served:
            site.page("live/index.html", "live.html", {})
        marker = {"made by": "bench site", "files": sorted(site.written)}
        site.file(MARKER, (json.dumps(marker, indent=0, ensure_ascii=False) + "\n").encode())
        told("all files onto the disk")
    site.out = out
    return site


def check_out(out: Path) -> None:
    """Refuse a folder that may not be replaced, as it is no site, or holds files of somebody else.

    Raises:
        RequestError: The same as of `build_site`.
    """
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise RequestError(f"{out} is a file; choose another --out, which becomes a folder.")
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir())
    if not files:
        return
    try:
        ours = set(json.loads((out / MARKER).read_bytes())["files"]) | {MARKER}
    except (OSError, ValueError, KeyError, TypeError):
        raise RequestError(
            f"{out} holds files that are no site of `bench site`, such as {shown(files[0])}, and nothing is deleted; "
            "choose another --out, or move them away."
        ) from None
    if others := [file for file in files if file not in ours]:
        raise RequestError(
            f"{out} is a site with files that `bench site` did not write, such as {shown(others[0])}; they would be "
            "lost. Move them away, or choose another --out."
        )


def write_assets(site: SiteWriter) -> None:
    """Copy styles, scripts and libraries."""
    for folder in ("static", "vendor"):
        for path in sorted((HERE / folder).glob("*")):
            if path.is_file():
                site.file(f"assets/{path.name}", path.read_bytes())
