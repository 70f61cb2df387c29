"""Passes new keyword arguments only to functions that name them, so that older plugins go on to work."""

import inspect
from collections.abc import Callable
from typing import Any


def named_only(function: Callable[..., Any], **offered: Any) -> dict[str, Any]:
    """Return those of the offered arguments that a function names in its signature.

        cls.skip_reason(data, config, **named_only(cls.skip_reason, encoder_class=ConvNet))

    Args:
        function: A function or class of a plugin.
        offered: Arguments by name. `**kwargs` of the function names none.
    """
    named = inspect.signature(function).parameters
    return {name: value for name, value in offered.items() if name in named and _takes_keyword(named[name])}


def needs(function: Callable[..., Any], name: str) -> bool:
    """Return True if a function names an argument and gives it no default: it cannot be called without it."""
    parameter = inspect.signature(function).parameters.get(name)
    return parameter is not None and _takes_keyword(parameter) and parameter.default is inspect.Parameter.empty


def _takes_keyword(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
