"""Checks that components of all four kinds must pass. The docstring of each check is its line in `bench check`."""

import dataclasses
import inspect
import re
from typing import Any

from bench_core.config import parameters
from bench_core.conformance.toys import require


def _check_docstring(cls: type) -> None:
    """The docstring names a source: a paper, a link, or "ours"."""
    module = inspect.getmodule(cls)
    text = f"{cls.__dict__.get('__doc__') or ''}\n{(module.__doc__ or '') if module else ''}"
    require(bool(cls.__dict__.get("__doc__")), "the class has no docstring")
    source = re.search(r"https?://|Paper:|Source:|arXiv|doi|ours", text)
    require(
        source is not None,
        "the docstrings of class and module name no source; add a link, 'Paper:', 'Source:', or 'ours'",
    )


def _check_config(cls: Any) -> None:
    """Config is frozen and keyword-only; each parameter has a help text and a source."""
    config = cls.Config
    require(
        dataclasses.is_dataclass(config),
        "Config is not a dataclass; decorate it with @dataclass(frozen=True, kw_only=True)",
    )
    require(
        config.__dataclass_params__.frozen,
        "Config is not frozen; decorate it with @dataclass(frozen=True, kw_only=True)",
    )
    for field in dataclasses.fields(config):
        require(
            field.kw_only is True,
            f"parameter {field.name} is not keyword-only; use @dataclass(frozen=True, kw_only=True)",
        )
    config()
    for parameter in parameters(config):
        require(
            bool(parameter.help and parameter.source),
            f"parameter {parameter.name} has no help or no source; use param(...)",
        )
    require(
        isinstance(cls.revision, int) and cls.revision >= 1,
        f"revision must be a whole number >= 1, got {cls.revision!r}",
    )


CHECKS = (_check_docstring, _check_config)
