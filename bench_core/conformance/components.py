"""Checks of every kind of component."""

import dataclasses
import inspect
import re
from typing import Any

from bench_core.config import parameters
from bench_core.conformance.toys import need


def _documented(cls: type) -> None:
    """Docstring says what it is and where it comes from."""
    module = inspect.getmodule(cls)
    text = f"{cls.__dict__.get('__doc__') or ''}\n{(module.__doc__ or '') if module else ''}"
    need(bool(cls.__dict__.get("__doc__")), "the class has no docstring")
    source = re.search(r"https?://|Paper:|Source:|arXiv|doi|ours", text)
    need(source is not None, "neither class nor module names a source: a link, 'Paper:', 'Source:', or 'ours'")


def _configured(cls: Any) -> None:
    """Config is frozen, keyword-only, and each default says what it is and where it is from."""
    config = cls.Config
    need(dataclasses.is_dataclass(config), "Config is no dataclass")
    need(config.__dataclass_params__.frozen, "Config is not frozen")
    for field in dataclasses.fields(config):
        need(field.kw_only is True, f"{field.name} is not keyword-only")
    config()
    for parameter in parameters(config):
        need(bool(parameter.help and parameter.source), f"{parameter.name} lacks help or source; use param(...)")
    need(isinstance(cls.revision, int) and cls.revision >= 1, "revision must be a whole number >= 1")


CHECKS = (_documented, _configured)
