"""Sites of records that are made by hand."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench_core.plugins import Registry, load_plugins
from bench_core.reports.site.content import SiteBoard, SiteContent
from bench_core.reports.tables.entries import entries_of
from bench_core.store.record import record_from_json


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_plugins()


@pytest.fixture
def board_of() -> Callable[..., SiteBoard]:
    """Return a function that makes a board of records, without a board.toml."""

    def make(records: Iterable[Mapping[str, Any]], name: str = "made", **parts: Any) -> SiteBoard:
        given = {"title": "Made by hand", "description": "", "command": "", **parts}
        return SiteBoard(name=name, entries=entries_of(map(record_from_json, records)), **given)

    return make


@pytest.fixture
def content_of(board_of: Callable[..., SiteBoard], registry: Registry) -> Callable[..., SiteContent]:
    """Return a function that makes a site of one board of records."""

    def make(records: Iterable[Mapping[str, Any]], docs: Path | None = None, **parts: Any) -> SiteContent:
        return SiteContent([board_of(records, **parts)], [], registry, docs)

    return make
