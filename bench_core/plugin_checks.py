"""Checks a class when its plugin is loaded: all that other code reads from the class without asking again.

A class that passes can be listed, shown and planned, and its parameters can be part of a key. So a mistake in one
plugin is told with that plugin's name, and never ends a command that asks for another one.
"""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bench_core.config import build, check_ranges, plain
from bench_core.contracts import Recipe, Variant
from bench_core.contracts.keywords import named_only
from bench_core.errors import BenchError, PluginLoadError, shown
from bench_core.ranges import Range, SearchSpace

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")
# Words that mean something else where the name of a component is read: `--methods all`, `init = "none"`,
# `--set methods.nac.flip=0.2`.
_RESERVED = ("all", "none", "datasets", "encoders", "methods", "tasks")
# Keys of a board's row that are no parameters; all but the first are those of methods.
_KEYS_OF_A_ROW = ("use", "recipe", "init", "init_part", "init_partial", "encoder", "teacher", "teacher_encoder")
_NUMBERS = (int, float)
_ALLOWED_TYPES = "use numbers, text, tuples or Literal"


def check_class(word: str, interface: type, name: object, cls: Any) -> None:
    """Check the name and the class of one component.

    Args:
        word: Word that users read for its kind: "method".
        interface: The class that components of this kind derive from.
        name: The name under which a hook hands it over.
        cls: What the hook hands over.

    Raises:
        PluginLoadError: Something does not keep to the contract; the message names the component.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginLoadError(f"{word} name {shown(name)} must be lower-case letters, digits and _")
    if name in _RESERVED:
        raise PluginLoadError(f"{word} name {name!r} is taken by the command line; choose another one")
    try:
        _check_interface(interface, cls)
        _check_attributes(interface, cls)
        _check_config(cls.Config, _KEYS_OF_A_ROW if hasattr(interface, "recipe") else _KEYS_OF_A_ROW[:1])
        if hasattr(interface, "recipe"):
            _check_recipe_and_variants(cls)
    except PluginLoadError as error:
        raise PluginLoadError(f"{word} {name!r}: {error}") from error


def _check_interface(interface: type, cls: Any) -> None:
    """Check that a class derives from its interface and lacks nothing of it."""
    if not isinstance(cls, type) or not issubclass(cls, interface):
        raise PluginLoadError(f"must be a subclass of bench_core.{interface.__name__}, got {shown(cls)}")
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise PluginLoadError(f"{cls.__name__} lacks {', '.join(missing)}")
    if cls.__doc__ is not None and not isinstance(cls.__doc__, str):
        raise PluginLoadError(f"its docstring must be text, got {shown(cls.__doc__)}")


def _check_attributes(interface: type, cls: Any) -> None:
    """Check the attributes that the interface declares for classes, as far as the class has them."""
    for attribute, (fits, right) in _ATTRIBUTES.items():
        value = getattr(cls, attribute, None)
        if hasattr(interface, attribute) and not fits(value):
            raise PluginLoadError(f"{attribute} must be {right}, got {shown(value)}")
    for name in ("stages", "begin_stage", "features_and_maps"):
        if hasattr(interface, name) and not callable(getattr(cls, name)):
            raise PluginLoadError(f"{name} must be a method, got {shown(getattr(cls, name))}")
    if hasattr(cls, "example") and not inspect.ismethod(cls.example):  # in a class, only class methods are bound
        raise PluginLoadError("example must be a class method that takes nothing and returns an Example")
    if inspect.ismethod(getattr(interface, "skip_reason", None)):  # of a task it is called on an instance
        _check_skip_reason(cls, is_method=hasattr(interface, "recipe"))


def _check_skip_reason(cls: Any, *, is_method: bool) -> None:
    """Check that planning can call `skip_reason`; that of a method may name the encoder's class and parameters."""
    offered = dict.fromkeys(("encoder_class", "encoder_config", "teacher_class")) if is_method else {}
    try:
        inspect.signature(cls.skip_reason).bind("data", "config", **named_only(cls.skip_reason, **offered))
    except (TypeError, ValueError) as error:
        raise PluginLoadError(f"skip_reason must be a class method that takes data and config: {error}") from error


def _check_config(config_type: Any, taken: tuple[str, ...]) -> None:
    """Check the types of all parameters, and that the defaults make an instance which its own values make again.

    Args:
        config_type: A dataclass.
        taken: Names that no parameter can have, because a board's row has keys of these names.
    """
    try:
        hints = typing.get_type_hints(config_type)
    except Exception as error:  # whatever evaluating a stranger's annotation raises
        reason = f"the types of its Config cannot be found: {_spelled(error)}; {_ALLOWED_TYPES}"
        raise PluginLoadError(reason) from error
    for field in dataclasses.fields(config_type):
        if field.name in taken:
            raise PluginLoadError(f"its parameter {field.name} cannot be set: boards use this word; rename it")
        _check_parameter(field, hints[field.name])
    if lost := sorted(_undeclared(config_type)):
        raise PluginLoadError(f"its Config lacks the parameter {lost[0]}; decorate it with @dataclass(frozen=True)")
    try:
        default = config_type()
        values = plain(default)
        check_ranges(default)
    except Exception as error:
        raise PluginLoadError(f"its Config cannot be built from its defaults: {_spelled(error)}") from error
    try:
        again = plain(build(config_type, values, "Config"))
    except BenchError as error:
        raise PluginLoadError(f"its Config cannot be built from values: {error}") from error
    if again != values:
        changed = next(name for name, value in values.items() if again.get(name) != value)
        raise PluginLoadError(
            f"its Config does not keep its values: {changed} is {shown(values[changed])}, "
            f"and {shown(again.get(changed))} when it is built from that"
        )


def _undeclared(config_type: type) -> Iterator[str]:
    """Yield the annotated names that are no fields: those of a class that derives from a dataclass and is none."""
    if "__dataclass_fields__" not in vars(config_type):
        yield from inspect.get_annotations(config_type)


def _check_parameter(field: "dataclasses.Field[Any]", hint: Any) -> None:
    """Check the declaration of one parameter."""
    leaves = list(_leaves(hint))
    if None in leaves:
        raise PluginLoadError(
            f"its parameter {field.name} has a type that no Config may have ({_type_name(hint)}); {_ALLOWED_TYPES}"
        )
    span = field.metadata.get("range")
    counted = field.metadata.get("in_epochs", False) or (isinstance(span, Range) and span.has_bounds)
    others = [leaf for leaf in leaves if leaf not in (*_NUMBERS, types.NoneType)]
    if counted and others:
        raise PluginLoadError(
            f"its parameter {field.name} has bounds or counts epochs, so it must be a number, not {_type_name(hint)}"
        )
    tune = field.metadata.get("tune")
    if tune is not None and not isinstance(tune, SearchSpace):
        raise PluginLoadError(
            f"its parameter {field.name} has a tune that is no search space ({shown(tune)}); "
            "use log(...), uniform(...) or choice(...)"
        )
    for key in ("help", "source"):
        if not isinstance(field.metadata.get(key, ""), str):
            raise PluginLoadError(f"its parameter {field.name} has a {key} that is no text")


def _leaves(hint: Any) -> Iterator[type | None]:
    """Yield the plain types that a type is made of, and None for each part that no Config may have."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType) or (origin is tuple and parts):
        for part in parts:
            if part is not Ellipsis:
                yield from _leaves(part)
    elif origin is typing.Literal:
        for value in parts:
            yield from _leaves(type(value))
    else:
        yield next((plain_type for plain_type in (bool, *_NUMBERS, str, types.NoneType) if hint is plain_type), None)


def _check_recipe_and_variants(cls: Any) -> None:
    """Check a method's recipe and each of its variants against the parameters that there are."""
    try:
        plain(cls.recipe)
    except BenchError as error:
        raise PluginLoadError(f"recipe: {error}") from error
    try:
        for name, variant in cls.variants.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise PluginLoadError(f"variant {shown(name)} must be lower-case letters, digits and _")
            if not isinstance(variant.settings, Mapping) or not all(isinstance(key, str) for key in variant.settings):
                raise PluginLoadError(f"variant {name!r}: settings must be a dict of parameter -> value")
            if not isinstance(variant.help, str) or not isinstance(variant.source, str):
                raise PluginLoadError(f"variant {name!r}: help and source must be text")
            build(cls.Config, variant.config, f"variant {name!r}")
            build(Recipe, variant.recipe, f"variant {name!r}: recipe", base=cls.recipe)
    except BenchError as error:
        raise PluginLoadError(str(error)) from error


def _is_config(value: Any) -> bool:
    options = getattr(value, "__dataclass_params__", None)
    return isinstance(value, type) and dataclasses.is_dataclass(value) and bool(options and options.frozen)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


# Attribute -> whether a value is right, and what would be right.
_ATTRIBUTES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "Config": (_is_config, "a dataclass with @dataclass(frozen=True, kw_only=True)"),
    "revision": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    "recipe": (lambda value: isinstance(value, Recipe), "a Recipe"),
    "recipe_source": (_is_text, "text"),
    "variants": (
        lambda value: isinstance(value, Mapping) and all(isinstance(v, Variant) for v in value.values()),
        "a dict of name -> Variant",
    ),
    "uses_labels": (_is_bool, "True or False"),
    "uses_factors": (_is_bool, "True or False"),
    "keeps": (lambda value: value in ("last", "least_loss"), "'last' or 'least_loss'"),
    "patience": (lambda value: value is None or (type(value) is int and value > 0), "a number of epochs, or None"),
    "kinds": (
        lambda value: value is None or (isinstance(value, frozenset) and all(isinstance(v, str) for v in value)),
        'a frozenset of kinds of data, like frozenset({"image"}), or None',
    ),
    "ranks": (_is_bool, "True or False"),
    "family": (_is_text, "text"),
    "licence": (lambda value: _is_text(value) and "\n" not in value, 'text of one line, like "CC-BY-4.0, its source"'),
}


def _type_name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and typing.get_origin(hint) is None else str(hint)


def _spelled(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
