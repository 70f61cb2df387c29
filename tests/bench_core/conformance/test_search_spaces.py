"""Search spaces: those of every built-in method hold the default and draw valid values, and mistakes are named."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from bench_core import Config, Recipe, choice, log, param, uniform
from bench_core.config import build
from bench_core.conformance.search_spaces import POINTS, check_search_spaces
from bench_core.errors import CheckError, ConfigError
from bench_core.plugins import load_plugins
from bench_core.ranges import SearchSpace

METHODS = [component for component in load_plugins().components if component.kind == "objective"]


def spaces(config: Any) -> dict[str, tuple[SearchSpace, Any]]:
    """Return the space and the default of each parameter that has a space."""
    tuned = [field for field in dataclasses.fields(config) if field.metadata["tune"] is not None]
    return {field.name: (field.metadata["tune"], field.default) for field in tuned}


def is_near(value: Any, space: SearchSpace) -> bool:
    """Say whether a value is one of a list, or within a factor of three of the ends."""
    if space.kind == "choice":
        return value in space.values
    low, high = space.values
    return bool(low / 3 <= value <= high * 3)


@pytest.mark.parametrize("component", METHODS, ids=lambda c: c.name)
def test_spaces_of_a_method_are_few_and_valid_and_hold_the_default(component: Any) -> None:
    check_search_spaces(component.cls)
    far = {name: value for name, (space, value) in spaces(component.cls.Config).items() if not is_near(value, space)}
    assert not far


@pytest.mark.parametrize("component", METHODS, ids=lambda c: c.name)
def test_spaces_of_the_recipe_are_valid_for_every_method(component: Any) -> None:
    recipe = component.cls.recipe
    assert set(spaces(Recipe)) == {"learning_rate", "weight_decay"}
    for u in POINTS:
        drawn = {name: space.at(u, getattr(recipe, name)) for name, (space, _) in spaces(Recipe).items()}
        build(Recipe, drawn, component.name, base=recipe)


def test_what_the_papers_call_decisive_is_tuned() -> None:
    tuned = {component.name: set(spaces(component.cls.Config)) for component in METHODS}
    assert tuned["nac"] == {"flip", "head_norm"}
    assert tuned["sela"] == {"strength"}
    assert tuned["noisy_dim"] == {"noise"}
    assert tuned["uctrl"] == {"lambda_aug", "lambda_cons", "eps2"}
    assert tuned["beta_vae"] == {"beta"}
    assert not tuned["random"]


def method(config: type) -> Any:
    """Return a class with this Config."""
    return type("Toy", (), {"Config": config})


def test_more_than_four_are_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Five(Config):
        a: float = param(0.5, "a", "ours", tune=uniform(0, 1))
        b: float = param(0.5, "b", "ours", tune=uniform(0, 1))
        c: float = param(0.5, "c", "ours", tune=uniform(0, 1))
        d: float = param(0.5, "d", "ours", tune=uniform(0, 1))
        e: float = param(0.5, "e", "ours", tune=uniform(0, 1))

    with pytest.raises(CheckError, match=r"5 parameters have tune=\.\.\., more than 4: a, b, c, d, e"):
        check_search_spaces(method(Five))


def test_a_space_that_leaves_the_range_is_named_with_the_value() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wide(Config):
        rate: float = param(0.5, "a rate", "ours", gt=0, lt=1, tune=log(0.1, 10.0))

    with pytest.raises(ConfigError, match=r"a value at 0.5 of a search space: Wide: rate must be in \(0, 1\), got 1.0"):
        check_search_spaces(method(Wide))


def test_spaces_that_are_invalid_only_together_are_found() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Pair(Config):
        first: float = param(0.1, "a share", "ours", tune=uniform(0.0, 0.5))
        second: float = param(0.3, "a share", "ours", tune=uniform(0.0, 0.5))

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.first + self.second > 0.9:
                raise ValueError(f"shares must sum to at most .9, got {self.first} and {self.second}")

    with pytest.raises(ConfigError, match=r"shares must sum to at most \.9, got 0\.499 and 0\.499"):
        check_search_spaces(method(Pair))


@pytest.mark.parametrize("name", ["dim", "output_dim", "units", "clusters", "heads", "augmentation", "queue_size"])
def test_sizes_are_the_boards(name: str) -> None:
    field = param(64, "a size", "ours", ge=1, tune=choice(64, 128))
    made = dataclasses.make_dataclass("Sized", [(name, int, field)], bases=(Config,), frozen=True, kw_only=True)
    with pytest.raises(CheckError, match=f"parameter {name} is the same for all rows of a board and never tuned"):
        check_search_spaces(method(made))


def test_a_parameter_outside_of_keys_has_no_trials() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Path(Config):
        speed: float = param(1.0, "a speed", "ours", in_key=False, tune=uniform(0, 1))

    with pytest.raises(CheckError, match="speed is not part of a key"):
        check_search_spaces(method(Path))
