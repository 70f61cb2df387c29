"""Variants and sweeps, and which of several values of a parameter wins."""

from collections.abc import Callable
from typing import Any

import pytest

from bench_core import Recipe, Variant
from bench_core.errors import ConfigError, RequestError, UnknownNameError
from bench_core.planning.chains import Plan
from bench_core.planning.settings import parse_settings, parse_sweeps
from bench_core.plugins import Registry

PlanOf = Callable[..., Plan]


@pytest.fixture
def _big_variant(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    big = Variant({"factor": 3.0, "recipe.learning_rate": 0.5, "recipe.epochs": 7}, "ours: a test", "larger")
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "variants", {"big": big})


@pytest.mark.usefixtures("_big_variant")
def test_a_variant_has_the_key_of_its_method_with_the_same_values(plan_of: PlanOf) -> None:
    (chain,) = plan_of(methods=["shrink:big"]).chains
    assert chain.method.name == "shrink:big"
    assert chain.method.config.factor == 3.0
    assert (chain.recipe.learning_rate, chain.recipe.epochs) == (0.5, 7)
    same = plan_of(settings={"shrink.factor": 3, "shrink.recipe.learning_rate": 0.5}, epochs=7)
    assert same.chains[0].key == chain.key  # a name is in no key


@pytest.mark.usefixtures("_big_variant")
def test_options_win_over_a_variant_and_set_wins_over_options(plan_of: PlanOf) -> None:
    (chain,) = plan_of(methods=["shrink:big"], epochs=4, settings={"shrink:big.factor": 5}).chains
    assert (chain.method.config.factor, chain.recipe.epochs, chain.recipe.learning_rate) == (5.0, 4, 0.5)
    (chain,) = plan_of(methods=["shrink:big"], epochs=4, settings={"shrink:big.recipe.epochs": 9}).chains
    assert chain.recipe.epochs == 9


@pytest.mark.usefixtures("_big_variant")
def test_an_unknown_variant_is_refused_with_those_that_exist(plan_of: PlanOf) -> None:
    with pytest.raises(UnknownNameError, match=r"no variant of shrink named 'bigg'; did you mean 'big'\? Known: big"):
        plan_of(methods=["shrink:bigg"])
    with pytest.raises(UnknownNameError, match="no method named 'shrunk'; did you mean 'shrink'"):
        plan_of(methods=["shrunk:big"])


def test_a_sweep_makes_a_row_for_each_value(plan_of: PlanOf) -> None:
    plan = plan_of(sweeps={"shrink.factor": [0, 0.5]}, settings={"shrink.recipe.learning_rate": 0.1}, seeds=[0, 1])
    assert [chain.method.name for chain in plan.chains] == [
        "shrink (factor=0)", "shrink (factor=0)", "shrink (factor=0.5)", "shrink (factor=0.5)",
    ]  # fmt: skip
    assert {chain.recipe.learning_rate for chain in plan.chains} == {0.1}
    assert (
        plan.chains[2].key == plan_of(settings={"shrink.factor": 0.5, "shrink.recipe.learning_rate": 0.1}).chains[0].key
    )


def test_several_sweeps_make_all_combinations_of_recipe_method_and_dataset(plan_of: PlanOf) -> None:
    sweeps: dict[str, Any] = {"shrink.recipe.epochs": [1, 2], "shrink.factor": [1.0, 2.0], "blobs.train_size": [32, 48]}
    plan = plan_of(sweeps=sweeps)
    assert len({chain.key for chain in plan.chains}) == len(plan.chains) == 8
    assert plan.chains[0].method.name == "shrink (recipe.epochs=1, factor=1.0)"


def test_a_sweep_is_refused_without_values_or_for_a_row_that_is_not_requested(plan_of: PlanOf) -> None:
    with pytest.raises(ConfigError, match="needs a list of values, got 3"):
        plan_of(sweeps={"shrink.factor": 3})
    with pytest.raises(ConfigError, match="needs a list of values"):
        plan_of(sweeps={"shrink.factor": []})
    with pytest.raises(ConfigError, match="has a value twice"):
        plan_of(sweeps={"shrink.factor": [1.0, 2.0, 1.0]})
    with pytest.raises(UnknownNameError, match="no dataset, encoder, method or task in this request named 'nac'"):
        plan_of(sweeps={"nac.flip": [0.1]})
    with pytest.raises(ConfigError, match=r"shrink \(factor=-1\): factor must be >= 0"):
        plan_of(sweeps={"shrink.factor": [-1]})


def test_an_init_that_is_no_text_is_refused(plan_of: PlanOf) -> None:
    with pytest.raises(RequestError, match=r"shrink\.init must be a row's name"):
        plan_of(settings={"shrink.init": 3})


def test_a_method_with_0_epochs_is_not_trained_whatever_the_budget(
    plan_of: PlanOf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "recipe", Recipe(epochs=0))
    assert plan_of(epochs=5).chains[0].recipe.epochs == 0


@pytest.mark.parametrize("option", ["settings", "sweeps"])
def test_a_parameter_given_in_two_spellings_is_refused(plan_of: PlanOf, option: str) -> None:
    value: Any = [1.0, 2.0] if option == "sweeps" else 1.0
    with pytest.raises(ConfigError, match=r"shrink\.factor is given twice, also as methods\.shrink\.factor"):
        plan_of(**{option: {"shrink.factor": value, "methods.shrink.factor": value}})


def test_typed_values_of_methods_recipes_datasets_and_tasks_have_the_keys_of_plain_ones(plan_of: PlanOf) -> None:
    plain = {
        "shrink.factor": 2,
        "shrink.recipe.learning_rate": 1e-3,
        "shrink.recipe.optimizer": "adamw",
        "blobs.train_size": 48,
    }
    typed = parse_settings(
        ["shrink.factor=2", "shrink.recipe.learning_rate=1e-3", "shrink.recipe.optimizer=adamw", "blobs.train_size=48"]
    )
    assert [cell.key for cell in plan_of(settings=typed).cells] == [cell.key for cell in plan_of(settings=plain).cells]


def test_rows_of_a_typed_sweep_are_named_as_those_of_a_plain_one(plan_of: PlanOf) -> None:
    typed = plan_of(sweeps=parse_sweeps(["shrink.factor=1e0,2", "shrink.recipe.optimizer=sgd,adamw"]))
    plain = plan_of(sweeps={"shrink.factor": [1.0, 2], "shrink.recipe.optimizer": ["sgd", "adamw"]})
    assert [(c.method.name, c.key) for c in typed.chains] == [(c.method.name, c.key) for c in plain.chains]


def test_values_that_are_equal_once_they_are_read_are_one_value_twice(plan_of: PlanOf) -> None:
    with pytest.raises(ConfigError, match="has a value twice"):
        plan_of(sweeps=parse_sweeps(["shrink.factor=1.0,1e0"]))


def test_an_init_that_looks_like_a_number_is_a_name(plan_of: PlanOf) -> None:
    with pytest.raises(RequestError, match="init = '2024' is no row of this request"):
        plan_of(settings=parse_settings(["shrink.init=2024"]))


def test_a_date_for_a_number_is_refused(plan_of: PlanOf) -> None:
    with pytest.raises(ConfigError, match=r'shrink \(factor="2020-01-01"\)\.factor must be float'):
        plan_of(sweeps=parse_sweeps(["shrink.factor=1.0,2020-01-01"]))
