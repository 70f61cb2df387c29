import enum
from collections.abc import Callable
from dataclasses import KW_ONLY, InitVar, dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Final, Literal, NewType, Optional, TypeVar, Union

import pytest
import torch

from bench_core import Config, Dataset, Evaluator, NoConfig, Objective, Recipe, Variant, param
from bench_core.contracts import Encoder
from bench_core.errors import PluginLoadError
from bench_core.plugin_checks import check_class


class Task(Evaluator):
    """Measures nothing (a toy)."""

    def __init__(self, config: Any) -> None: ...

    def evaluate(self, frozen: Any) -> Any: ...


class Method(Objective):
    """Learns nothing (a toy)."""

    def make_views(self, batch: Any, rng: torch.Generator) -> Any: ...

    def forward(self, views: Any, player: str = "main") -> Any: ...


class Net(Encoder):
    """Computes nothing (a toy)."""

    def forward(self, inputs: Any) -> Any: ...

    def maps(self, inputs: Any) -> Any: ...


def check_task(**attributes: Any) -> None:
    check_class("task", Evaluator, "toy", type("Toy", (Task,), {"__doc__": "A toy.", **attributes}))


def check_method(**attributes: Any) -> None:
    check_class("method", Objective, "toy", type("Toy", (Method,), {"__doc__": "A toy.", **attributes}))


def check_encoder(**attributes: Any) -> None:
    check_class("encoder", Encoder, "toy", type("Toy", (Net,), {"__doc__": "A toy.", **attributes}))


def with_field(hint: Any, default: Any, **metadata: Any) -> type:
    """Return a Config whose only parameter `a` has this type and default."""
    return make_dataclass(
        "C", [("a", hint, field(default=default, metadata=metadata))], frozen=True, kw_only=True, bases=(NoConfig,)
    )


class Mode(enum.Enum):
    """An ordinary Enum."""

    FAST = "fast"


class TextMode(enum.StrEnum):
    """An Enum whose members are text."""

    FAST = "fast"


@dataclass(frozen=True)
class Inner:
    """A dataclass as a parameter's type."""

    width: int = 3


Width = NewType("Width", int)
T = TypeVar("T")
NOT_ALLOWED: tuple[tuple[Any, Any], ...] = (
    (Mode, Mode.FAST), (TextMode, TextMode.FAST), (enum.IntEnum("Level", "LOW HIGH"), 1), (Path, Path()),
    (Inner, Inner()), (Any, 1), (object, 1), (dict, None), (dict[str, int], None), (set, None),
    (frozenset, frozenset()), (list, None),
    (list[int], None), (bytes, b""), (complex, 1j), (Callable, len), (Callable[[int], int], abs),
    (type, int), (torch.dtype, torch.float32), (torch.Tensor, None), (Width, 1), (T, 1), (Final[int], 1),
    (tuple, ()), (tuple[()], ()), (tuple[Path, ...], ()), (tuple[int, Any], (1, 2)), (tuple[list[int], ...], ()),
    (int | Path, 1), (Path | None, None), (Optional[Mode], None), (Union[str, Inner], "a"),  # noqa: UP007, UP045
    (Literal[b"a"], b"a"), (Literal[Mode.FAST], Mode.FAST), (tuple[tuple[int | Mode, ...], ...], ()),
)  # fmt: skip


@pytest.mark.parametrize(("hint", "default"), NOT_ALLOWED, ids=lambda value: str(value)[:40])
def test_a_type_that_no_key_can_hold_is_refused_also_where_the_default_is_harmless(hint: Any, default: Any) -> None:
    with pytest.raises(
        PluginLoadError,
        match=r"task 'toy': its parameter a has a type that no Config may have .*use numbers, text, tuples or Literal",
    ):
        check_task(Config=with_field(hint, default))


@pytest.mark.parametrize(
    ("hint", "default"),
    [
        (bool, True), (int, 1), (float, 0.5), (float, 1), (str, "a"), (int | None, None), (Optional[str], "a"),  # noqa: UP045
        (Literal["a", 1, None], 1), (Literal["auto"] | int, 3), (tuple[int, ...], ()), (tuple[float, str], (1, "a")),
        (tuple[tuple[int, ...], ...] | None, ((1, 2), ())), (None, None), ("int | None", None),
    ],
)  # fmt: skip
def test_numbers_text_tuples_and_literals_are_types_of_parameters(hint: Any, default: Any) -> None:
    check_task(Config=with_field(hint, default))


@pytest.mark.parametrize("hint", ["Nothing", "int |", "list['Nothing']", "Path.gone"])
def test_a_type_that_cannot_be_found_is_refused(hint: str) -> None:
    with pytest.raises(PluginLoadError, match=r"task 'toy': the types of its Config cannot be found: .*use numbers"):
        check_task(Config=with_field(hint, 1))


@dataclass(frozen=True, kw_only=True)
class Fails(Config):
    a: int = 1

    def __post_init__(self) -> None:
        raise KeyError("a")


@dataclass(frozen=True, kw_only=True)
class Derived(Config):
    a: int = 1
    double: int = field(init=False, default=2)


@dataclass(frozen=True, kw_only=True)
class Rising(Config):
    a: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", self.a + 1)


@dataclass(frozen=True)
class AsksMore(Config):
    more: InitVar[int]
    _: KW_ONLY
    a: int = 1


@dataclass(frozen=True, kw_only=True)
class OutOfRange:
    a: int = field(default=1, metadata=param(5, "a count", "ours", ge=5).metadata)


class Undecorated(NoConfig):
    a: int = 1


@dataclass(kw_only=True)
class Changeable:
    a: int = 1


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (Fails, "cannot be built from its defaults: KeyError: 'a'"),
        (AsksMore, "cannot be built from its defaults: TypeError"),
        (OutOfRange, "cannot be built from its defaults: ValueError: a must be >= 5, got 1"),
        (with_field(int, "1"), "cannot be built from its defaults: ConfigError: a must be int, got '1'"),
        (with_field(int, 1.5), "a must be int, got 1.5"),
        (with_field(float, float("inf")), "a must be float, got inf"),
        (with_field(Literal["a", "b"], "c"), "a must be 'a' | 'b', got 'c'"),
        (with_field(tuple[int, ...], (1, "2")), "a must be int, got '2'"),
        (with_field(int, None), "a must be int, got None"),
        (Derived, "cannot be built from values: Config: Derived breaks: TypeError"),
        (Rising, "does not keep its values: a is 2, and 3 when it is built from that"),
        (Undecorated, "lacks the parameter a; decorate it"),
        (Changeable, r"must be a dataclass with @dataclass(frozen=True, kw_only=True), got <class"),
        (with_field(int, 1, help=3), "its parameter a has a help that is no text"),
        (with_field(int, 1, source=None), "its parameter a has a source that is no text"),
        (with_field(float, 1.0, tune=(0, 1)), "its parameter a has a tune that is no search space ((0, 1)); use log("),
        (make_dataclass("C", [("use", int, 1)], frozen=True), "its parameter use cannot be set"),
    ],
)
def test_a_config_that_cannot_be_built_or_set_is_refused(config: type, reason: str) -> None:
    with pytest.raises(PluginLoadError) as caught:
        check_task(Config=config)
    assert reason in str(caught.value)


@pytest.mark.parametrize("hint", [str, str | None, Literal["a"], tuple[str, ...], bool, int | Literal["auto"]])
@pytest.mark.parametrize("options", [{"ge": 0}, {"lt": 1}, {"ge": 0, "in_epochs": True}])
def test_only_a_number_has_bounds_and_counts_epochs(hint: Any, options: dict[str, Any]) -> None:
    declared = param(0, "a count", "ours", **options)
    default: Any = (
        None if hint == str | None else "a" if hint in (str, Literal["a"]) else () if hint == tuple[str, ...] else False
    )
    config = make_dataclass("C", [("a", hint, field(default=default, metadata=declared.metadata))], frozen=True)
    with pytest.raises(PluginLoadError, match="has bounds or counts epochs, so it must be a number, not"):
        check_task(Config=config)


@pytest.mark.parametrize("name", ["recipe", "init", "encoder", "teacher", "teacher_encoder"])
def test_a_method_has_no_parameter_that_boards_read_as_their_own_key_and_a_task_may(name: str) -> None:
    config = make_dataclass("C", [(name, int, 1)], frozen=True)
    with pytest.raises(PluginLoadError, match=f"method 'toy': its parameter {name} cannot be set: boards use"):
        check_method(Config=config)
    check_task(Config=config)


@dataclass(frozen=True, kw_only=True)
class Strong(Config):
    strength: float = param(0.5, "a strength", "ours", ge=0, le=1)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"strenght": 0.1}, "variant 'big'.strenght does not exist; did you mean 'strength'?"),
        ({"strength": "0.1"}, "variant 'big'.strength must be float, got '0.1'"),
        ({"strength": 2}, "variant 'big': strength must be in [0, 1], got 2"),
        ({"recipe.epoch": 3}, "variant 'big': recipe.epoch does not exist; did you mean 'epochs'?"),
        ({"recipe.epochs": "3"}, "variant 'big': recipe.epochs must be int, got '3'"),
        ({"recipe.epochs": -1}, "variant 'big': recipe: epochs must be >= 0, got -1"),
        ({"init": "nac"}, "variant 'big'.init does not exist"),
        ({3: 0.1}, "variant 'big': settings must be a dict of parameter -> value"),
        ([("strength", 0.1)], "variant 'big': settings must be a dict of parameter -> value"),
    ],
)
def test_a_variant_that_does_not_fit_its_method_is_refused(settings: Any, reason: str) -> None:
    with pytest.raises(PluginLoadError) as caught:
        check_method(Config=Strong, variants={"big": Variant(settings, source="ours", help="A big one.")})
    assert f"method 'toy': {reason}" in str(caught.value)


@pytest.mark.parametrize(
    ("variants", "reason"),
    [
        ({"Big": Variant({}, "ours", "A big one.")}, "variant 'Big' must be lower-case letters, digits and _"),
        ({3: Variant({}, "ours", "A big one.")}, "variant 3 must be lower-case"),
        ({"a:b": Variant({}, "ours", "A big one.")}, "variant 'a:b' must be lower-case"),
        ({"big": Variant({}, "ours", None)}, "variant 'big': help and source must be text"),  # type: ignore[arg-type]
        ({"big": Variant({}, 3, "A big one.")}, "variant 'big': help and source must be text"),  # type: ignore[arg-type]
        ({"big": {"strength": 0.1}}, "variants must be a dict of name -> Variant"),
        ([Variant({}, "ours", "A big one.")], "variants must be a dict of name -> Variant"),
    ],
)
def test_variants_without_a_usable_name_or_text_are_refused(variants: Any, reason: str) -> None:
    with pytest.raises(PluginLoadError) as caught:
        check_method(Config=Strong, variants=variants)
    assert f"method 'toy': {reason}" in str(caught.value)


def test_a_variant_that_fits_passes() -> None:
    variant = Variant({"strength": 1, "recipe.epochs": 3}, source="ours", help="A strong one.")
    check_method(Config=Strong, variants={"strong_3": variant})


def test_a_recipe_with_a_value_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(PluginLoadError, match=r"method 'toy': recipe: optimizer must be 'sgd' \| .*, got 'sgdd'"):
        check_method(recipe=Recipe(optimizer="sgdd"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"recipe": {"epochs": 3}}, "recipe must be a Recipe, got {'epochs': 3}"),
        ({"recipe": Recipe}, "recipe must be a Recipe, got <class"),
        ({"recipe_source": None}, "recipe_source must be text, got None"),
        ({"uses_labels": "no"}, "uses_labels must be True or False, got 'no'"),
        ({"revision": 1.0}, "revision must be a whole number, got 1.0"),
        ({"variants": None}, "variants must be a dict of name -> Variant, got None"),
        ({"skip_reason": lambda self, data, config: None}, "skip_reason must be a class method that takes data and"),
        ({"skip_reason": classmethod(lambda cls, data: None)}, "skip_reason must be a class method that takes data"),
        ({"skip_reason": None}, "skip_reason must be a class method that takes data and config"),
        (
            {"skip_reason": classmethod(lambda cls, data, config, *, encoder: None)},
            "skip_reason must be a class method that takes data and config: missing a required argument: 'encoder'",
        ),
        ({"uses_factors": None}, "uses_factors must be True or False, got None"),
        ({"keeps": "best"}, "keeps must be 'last' or 'least_loss', got 'best'"),
        ({"patience": 0}, "patience must be a number of epochs, or None, got 0"),
        ({"patience": True}, "patience must be a number of epochs, or None, got True"),
        ({"stages": []}, "stages must be a method, got []"),
        ({"begin_stage": None}, "begin_stage must be a method, got None"),
        ({"example": lambda self: None}, "example must be a class method that takes nothing and returns an Example"),
        ({"__doc__": b"text"}, "its docstring must be text, got b'text'"),
    ],
)
def test_attributes_of_a_method_that_other_code_reads_have_their_types(attributes: Any, reason: str) -> None:
    with pytest.raises(PluginLoadError) as caught:
        check_method(**attributes)
    assert f"method 'toy': {reason}" in str(caught.value)


def test_skip_reason_of_a_method_may_name_the_encoder_and_that_of_an_encoder_may_not() -> None:
    skip_reason = classmethod(lambda cls, data, config, *, encoder_class, encoder_config: None)
    check_method(skip_reason=skip_reason)
    with pytest.raises(PluginLoadError, match="missing a required argument: 'encoder_class'"):
        check_encoder(skip_reason=skip_reason)


def test_stages_and_an_example_are_methods() -> None:
    check_method(stages=lambda self: [], begin_stage=lambda self, context: None, example=classmethod(lambda cls: None))


@pytest.mark.parametrize("kinds", ["nodes", {"nodes"}, frozenset({1}), ["nodes"]])
def test_kinds_of_an_encoder_are_a_frozenset_of_text(kinds: Any) -> None:
    check_encoder(kinds=frozenset({"nodes", "sound"}))
    with pytest.raises(PluginLoadError, match="kinds must be a frozenset of kinds of data"):
        check_encoder(kinds=kinds)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"ranks": 1}, "ranks must be True or False, got 1"),
        ({"ranks": property(lambda self: True)}, "ranks must be True or False, got <property"),
        ({"family": None}, "family must be text, got None"),
        ({"family": ("structure",)}, r"family must be text, got ('structure',)"),
    ],
)
def test_attributes_of_a_task_that_other_code_reads_have_their_types(attributes: Any, reason: str) -> None:
    with pytest.raises(PluginLoadError) as caught:
        check_task(**attributes)
    assert f"task 'toy': {reason}" in str(caught.value)


@pytest.mark.parametrize("licence", [None, ("MIT",), "MIT\nours"])
def test_licence_of_a_dataset_is_text_of_one_line(licence: Any) -> None:
    parts = dict.fromkeys(("__init__", "spec", "digest", "load"), lambda self: None)
    check_class("dataset", Dataset, "toy", type("Toy", (Dataset,), {**parts, "licence": "MIT, ours"}))
    with pytest.raises(PluginLoadError, match="dataset 'toy': licence must be text of one line"):
        check_class("dataset", Dataset, "toy", type("Toy", (Dataset,), {**parts, "licence": licence}))


def test_skip_reason_of_a_task_is_an_ordinary_method() -> None:
    check_task(skip_reason=lambda self, data, objective: None)


def test_attributes_of_other_kinds_are_free() -> None:
    check_task(recipe="of a soup", variants=7, uses_labels="maybe")
    check_encoder(family=3, ranks=None)


@pytest.mark.parametrize("name", ["Toy", "to-y", "_toy", "a:b", "a/b", "", "toy\n", 3, None])
def test_a_name_that_cannot_be_typed_everywhere_is_refused(name: object) -> None:
    with pytest.raises(PluginLoadError, match=r"task name .* must be lower-case letters, digits and _"):
        check_class("task", Evaluator, name, Task)


@pytest.mark.parametrize("name", ["all", "none", "datasets", "encoders", "methods", "tasks"])
def test_a_name_that_means_something_else_on_the_command_line_is_refused(name: str) -> None:
    with pytest.raises(PluginLoadError, match=f"task name '{name}' is taken by the command line"):
        check_class("task", Evaluator, name, Task)


def test_a_config_that_adds_no_parameter_needs_no_decorator() -> None:
    check_task(Config=type("C", (NoConfig,), {"limit": 3}))
