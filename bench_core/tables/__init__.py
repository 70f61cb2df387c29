"""Leaderboards out of records: records -> entries -> tables -> Markdown, CSV, LaTeX, JSON, plain text."""

from bench_core.tables.entries import Entry as Entry
from bench_core.tables.entries import entries_of as entries_of
from bench_core.tables.frame import tidy as tidy
from bench_core.tables.parts import Table as Table
from bench_core.tables.publish import page as page
from bench_core.tables.publish import placeholder as placeholder
from bench_core.tables.publish import splice as splice
from bench_core.tables.publish import stale_pages as stale_pages
from bench_core.tables.render import FORMATS as FORMATS
from bench_core.tables.render import render as render
from bench_core.tables.table import build as build

__all__ = [
    "FORMATS",
    "Entry",
    "Table",
    "build",
    "entries_of",
    "page",
    "placeholder",
    "render",
    "splice",
    "stale_pages",
    "tidy",
]
