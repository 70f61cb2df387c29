"""Requests for fewer epochs: what is counted in epochs gets shorter by the same ratio, and the rest stays."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bench_core import Config, Recipe, Variant, param
from bench_core.config import parameters
from bench_core.planning.chains import Chain, Plan
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import Registry, load_plugins
from bench_core.training.optimizers import rate_factor

PlanOf = Callable[..., Plan]


@dataclass(frozen=True, kw_only=True)
class _WarmConfig(Config):
    """Parameters that are counted in epochs, and one that is not."""

    frozen_epochs: int = param(7, "epochs without a step", "ours: tiny", ge=0, in_epochs=True)
    fade_epochs: float = param(5.0, "epochs of a weight that rises", "ours: tiny", ge=0, in_epochs=True)
    period: int = param(4, "epochs from one update to the next", "ours: tiny", ge=1, in_epochs=True)
    ends: tuple[int, ...] = param((10, 40), "epochs in which something ends", "ours: tiny", ge=0, in_epochs=True)
    limit: float | None = param(None, "epochs after which it stops", "ours: tiny", ge=0, in_epochs=True)
    updates: int = param(80, "updates in the whole run", "ours: tiny", ge=0)


@pytest.fixture
def _warm(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the method `shrink` 100 epochs, a warm-up of 10 of them, and parameters that are counted in epochs."""
    cls: Any = registry.get("objective", "shrink").cls
    monkeypatch.setattr(cls, "Config", _WarmConfig)
    monkeypatch.setattr(cls, "recipe", Recipe(epochs=100, warmup_epochs=10, batch_size=16))
    monkeypatch.setattr(cls, "variants", {"long": Variant({"recipe.epochs": 200, "fade_epochs": 50.0}, "ours", "long")})


def of(chain: Chain) -> tuple[float, ...]:
    """Epochs, warm-up and the two lengths of a chain."""
    return (
        chain.recipe.epochs,
        chain.recipe.warmup_epochs,
        chain.method.config.frozen_epochs,
        chain.method.config.fade_epochs,
    )


REQUESTS = [
    {"epochs": 10},
    {"settings": {"shrink.recipe.epochs": 10}},
    {"sweeps": {"shrink.recipe.epochs": [10]}},
    {"epochs": 70, "settings": {"shrink.recipe.epochs": 10}},
]


@pytest.mark.usefixtures("_warm")
@pytest.mark.parametrize("request_", REQUESTS)
def test_each_way_to_ask_for_fewer_epochs_shortens_by_the_ratio(plan_of: PlanOf, request_: dict[str, Any]) -> None:
    (chain,) = plan_of(**request_).chains
    config = chain.method.config
    assert of(chain) == (10, 1.0, 0, 0.5)  # 7 of 100 epochs are .7 of 10: rounded down
    assert (config.period, config.ends, config.limit, config.updates) == (1, (1, 4), None, 80)
    assert chain.origin.shortened == (
        "frozen_epochs 7 -> 0, fade_epochs 5 -> 0.5, period 4 -> 1, ends (10, 40) -> (1, 4), "
        "warmup_epochs 10 -> 1, as 10 of 100 epochs were asked for"
    )


@pytest.mark.usefixtures("_warm")
@pytest.mark.parametrize("epochs", [100, 101, 1000])
def test_as_many_epochs_or_more_change_nothing(plan_of: PlanOf, epochs: int) -> None:
    (chain,) = plan_of(epochs=epochs).chains
    assert of(chain) == (epochs, 10.0, 7, 5.0)
    assert chain.origin.shortened == ""


@pytest.mark.usefixtures("_warm")
def test_request_without_epochs_keeps_its_key_and_one_for_the_usual_number_has_the_same(plan_of: PlanOf) -> None:
    assert plan_of().chains[0].key == plan_of(epochs=100).chains[0].key
    asked = {"shrink.recipe.warmup_epochs": 1, "shrink.frozen_epochs": 0, "shrink.fade_epochs": 0.5,
             "shrink.period": 1, "shrink.ends": [1, 4]}  # fmt: skip
    assert plan_of(epochs=10).chains[0].key == plan_of(epochs=10, settings=asked).chains[0].key


@pytest.mark.usefixtures("_warm")
def test_what_the_request_sets_itself_stays_as_it_is(plan_of: PlanOf) -> None:
    settings = {"shrink.recipe.warmup_epochs": 8, "shrink.fade_epochs": 5}
    (chain,) = plan_of(epochs=10, settings=settings).chains
    assert of(chain) == (10, 8.0, 0, 5.0)
    short, long = plan_of(epochs=10, sweeps={"shrink.recipe.warmup_epochs": [0, 9]}).chains
    assert (of(short), of(long)) == ((10, 0.0, 0, 0.5), (10, 9.0, 0, 0.5))


@pytest.mark.usefixtures("_warm")
def test_each_row_of_a_sweep_over_epochs_is_shortened_by_its_own_ratio(plan_of: PlanOf) -> None:
    chains = plan_of(sweeps={"shrink.recipe.epochs": [20, 50, 200]}).chains
    assert [of(chain) for chain in chains] == [(20, 2.0, 1, 1.0), (50, 5.0, 3, 2.5), (200, 10.0, 7, 5.0)]


@pytest.mark.usefixtures("_warm")
def test_epochs_of_variant_board_and_row_are_those_that_are_replaced(plan_of: PlanOf, tmp_path: Path) -> None:
    assert of(plan_of(methods=["shrink:long"], epochs=20).chains[0]) == (20, 1.0, 0, 5.0)
    (tmp_path / "b.toml").write_text(
        "[recipe]\nepochs = 50\n[methods.shrink]\n"
        '[methods.row]\nuse = "shrink"\nfade_epochs = 10.0\nrecipe.epochs = 40\nrecipe.warmup_epochs = 20\n'
        '[methods.next]\nuse = "shrink"\ninit = "row"\n'
    )
    board = str(tmp_path / "b.toml")
    on_board = plan_of(board=board, methods=["shrink", "row"]).chains
    assert [of(chain) for chain in on_board] == [(50, 10.0, 7, 5.0), (40, 20.0, 7, 10.0)]  # a board changes nothing
    shorter = plan_of(board=board, methods=["shrink", "row"], epochs=10).chains
    assert [of(chain) for chain in shorter] == [(10, 2.0, 1, 1.0), (10, 5.0, 1, 2.5)]
    start, last = plan_of(board=board, methods=["next"], epochs=10).chains[0].lineage
    assert (start.method.name, of(start), of(last)) == ("row", (10, 5.0, 1, 2.5), (10, 2.0, 1, 1.0))
    assert start.origin.shortened.endswith("warmup_epochs 20 -> 5, as 10 of 40 epochs were asked for")


@pytest.mark.usefixtures("_warm")
def test_a_row_without_epochs_is_not_shortened(plan_of: PlanOf) -> None:
    (chain,) = plan_of(settings={"shrink.recipe.epochs": 0}).chains
    assert of(chain) == (0, 10.0, 7, 5.0)
    assert chain.origin.recipe_from == chain.origin.shortened == ""


@pytest.fixture(scope="module")
def plugins() -> Registry:
    return load_plugins()


def trained(plugins: Registry) -> list[str]:
    return [component.name for component in plugins.of_kind("objective") if component.cls.recipe.epochs]


def test_simclr_with_10_epochs_reaches_its_peak_rate_and_falls(plugins: Registry, tmp_path: Path) -> None:
    request = Request(methods=["simclr"], datasets=["sprites"], tasks=["knn"], epochs=10, data_root=tmp_path)
    recipe = make_plan(request, plugins).chains[0].recipe
    steps_per_epoch = 40
    rates = [rate_factor(recipe, step, 10 * steps_per_epoch, steps_per_epoch) for step in range(10 * steps_per_epoch)]
    assert max(rates) == rates[3] == 1.0  # a tenth of an epoch is 4 steps
    assert rates[-1] < 0.001


def test_warm_up_of_every_method_takes_the_same_part_of_a_short_run(plugins: Registry, tmp_path: Path) -> None:
    usual = Request(methods=trained(plugins), datasets=["sprites"], tasks=["knn"], data_root=tmp_path)
    short = Request(methods=trained(plugins), datasets=["sprites"], tasks=["knn"], data_root=tmp_path, epochs=5)
    pairs = list(zip(make_plan(usual, plugins).chains, make_plan(short, plugins).chains, strict=True))
    assert len(pairs) > 15
    for before, after in pairs:
        part = Fraction(before.recipe.warmup_epochs) / before.recipe.epochs
        assert after.recipe.warmup_epochs == pytest.approx(float(5 * part))


def test_every_parameter_of_a_method_that_is_called_epochs_is_counted_in_epochs(plugins: Registry) -> None:
    for component in plugins.of_kind("objective"):
        for parameter in (*parameters(component.cls.Config), *parameters(Recipe)):
            if parameter.name.endswith("_epochs"):
                assert parameter.in_epochs, f"{component.name}.{parameter.name}"
