"""Writes all parts of a site into a folder."""

import shutil
from pathlib import Path

from bench_core.reports.site.content import SiteContent
from bench_core.reports.site.writer import HERE, SiteWriter


def build_site(content: SiteContent, out: Path) -> SiteWriter:
    """Write a site.

    Args:
        content: What it shows.
        out: Its folder; files of an earlier site there are removed.

    Returns:
        The writer, which knows all files.
    """
    site = SiteWriter(out)
    if out.is_dir():
        shutil.rmtree(out)
    for folder in ("static", "vendor"):
        for path in sorted((HERE / folder).glob("*")):
            site.file(f"assets/{path.name}", path.read_bytes())
    return site
