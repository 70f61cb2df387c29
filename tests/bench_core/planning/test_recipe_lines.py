"""Lines that say how each row is trained, and where its recipe comes from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench_core import Recipe, Variant
from bench_core.planning.chains import Plan
from bench_core.planning.origins import recipe_origin_text
from bench_core.planning.recipe_lines import recipe_lines, recipe_text
from bench_core.plugins import Registry

PlanOf = Callable[..., Plan]


@pytest.fixture(autouse=True)
def _big_variant(monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    big = Variant({"factor": 3.0, "recipe.learning_rate": 0.5, "recipe.epochs": 7}, "ours: a test", "larger")
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "variants", {"big": big})


def test_a_line_names_optimiser_rate_epochs_batch_and_where_they_come_from(plan_of: PlanOf) -> None:
    assert list(recipe_lines(plan_of())) == ["shrink: sgd, rate 0.01, 2 epochs, batch 16 (the method)"]
    assert list(recipe_lines(plan_of(epochs=1, batch_size=8))) == [
        "shrink: sgd, rate 0.01, 1 epoch, batch 8 (the method; --epochs; --batch-size)"
    ]
    assert list(recipe_lines(plan_of(methods=["shrink:big"]))) == [
        "shrink:big: sgd, rate 0.5, 7 epochs, batch 16 (the method; learning_rate, epochs from variant shrink:big)"
    ]


def test_options_are_named_only_where_they_decide(plan_of: PlanOf) -> None:
    settings = {"shrink.recipe.epochs": 3, "shrink.recipe.momentum": 0.5, "shrink.factor": 2.0}
    (line,) = recipe_lines(plan_of(epochs=1, settings=settings))
    assert line == "shrink: sgd, rate 0.01, 3 epochs, batch 16 (the method; epochs, momentum from --set)"
    (line,) = recipe_lines(plan_of(settings=settings, sweeps={"shrink.recipe.epochs": [4]}))
    assert line.endswith("(the method; momentum from --set; epochs from --sweep)")


def test_a_boards_recipe_and_its_rows_are_from_the_board(plan_of: PlanOf, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(
        '[recipe]\nepochs = 5\nbatch_size = 8\noptimizer = "adam"\n[methods.shrink]\nrecipe.learning_rate = 0.1\n'
        '[methods.next]\nuse = "shrink"\ninit = "shrink"\n'
    )
    board = str(tmp_path / "small.toml")
    assert list(recipe_lines(plan_of(board=board, methods=["next"]))) == [
        "shrink: adam, rate 0.1, 5 epochs, batch 8 (board small)",  # trained first, as `next` starts from it
        "next: adam, rate 0.01, 5 epochs, batch 8 (board small; learning_rate from the method)",
    ]


def test_a_row_has_one_line_for_all_seeds_and_a_second_for_what_is_shortened(
    plan_of: PlanOf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "recipe", Recipe(epochs=1000, warmup_epochs=10))
    assert list(recipe_lines(plan_of(epochs=10, seeds=[0, 1]))) == [
        "shrink: adamw, rate 0.001, 10 epochs, batch 256 (the method; --epochs)",
        "shrink: warmup_epochs 10 -> 0.1, as 10 of 1000 epochs were asked for",
    ]


def test_a_row_without_epochs_is_not_trained(
    plan_of: PlanOf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "recipe", Recipe(epochs=0))
    assert list(recipe_lines(plan_of(epochs=5))) == ["shrink: not trained"]


def test_a_recipe_of_older_code_shows_what_is_there() -> None:
    assert recipe_text({"epochs": 20, "batch_size": 128}) == "20 epochs, batch 128"
    assert recipe_text({"epochs": None}) == recipe_text({}) == "not on record"
    assert recipe_text({"epochs": 0, "batch_size": 128}) == "not trained"


def test_the_place_of_most_values_comes_first_and_the_first_of_equals() -> None:
    shown = ["optimizer", "learning_rate", "epochs", "batch_size"]
    assert recipe_origin_text({"the method": shown, "board x": []}) == "the method"
    assert recipe_origin_text({"the method": shown, "board x": shown[2:]}) == (
        "the method; epochs, batch_size from board x"
    )
    assert recipe_origin_text({"the method": shown, "board x": shown[1:], "--set": shown}) == "--set"
