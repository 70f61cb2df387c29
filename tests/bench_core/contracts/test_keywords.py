"""Only what a function names is passed to it."""

from typing import Any

from bench_core.contracts.keywords import named_only, needs


def old(data: int, config: int) -> None: ...


def new(data: int, config: int, *, teacher: int, new_encoder: int | None = None) -> None: ...


def anything(data: int, **others: Any) -> None: ...


def positional(teacher: int, /) -> None: ...


def test_only_named_arguments_are_passed() -> None:
    offered = {"teacher": 1, "new_encoder": 2}
    assert named_only(old, **offered) == {}
    assert named_only(new, **offered) == offered
    assert named_only(anything, **offered) == {}
    assert named_only(positional, **offered) == {}


def test_an_argument_without_default_is_needed() -> None:
    assert needs(new, "teacher")
    assert not needs(new, "new_encoder")
    assert not needs(old, "teacher")
    assert not needs(positional, "teacher")
