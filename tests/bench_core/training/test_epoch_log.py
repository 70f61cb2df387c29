import math
from collections.abc import Mapping

import pytest
import torch

from bench_core import Loss
from bench_core.errors import TrainingError
from bench_core.training.epoch_log import epoch_line, stack_losses, unstack_losses


def number(value: float) -> torch.Tensor:
    return torch.tensor(value)


def steps(*totals: float) -> list[Mapping[str, Loss]]:
    return [{"main": Loss(number(total), {"half": number(total / 2)})} for total in totals]


def line(*losses: Mapping[str, Loss]) -> dict[str, object]:
    return epoch_line(stack_losses(losses), step=10)


def test_line_holds_the_means_over_the_epoch() -> None:
    assert line(*steps(1.0, 2.0, 6.0)) == {"step": 10, "loss": 3.0, "half": 1.5}


def test_numbers_of_several_players_have_their_name_before_them() -> None:
    losses = {"a": Loss(number(1.0), {"x": number(2.0)}), "b": Loss(number(3.0))}
    assert line(losses) == {"step": 10, "loss": 4.0, "a.loss": 1.0, "a.x": 2.0, "b.loss": 3.0}


def test_loss_that_is_not_finite_is_refused_with_its_step_and_parts() -> None:
    with pytest.raises(TrainingError, match=r"the loss of main is inf at step 8; its parts: \{'half': inf\}"):
        line(*steps(1.0, math.inf, math.nan))


def test_part_beyond_its_bound_is_marked_and_warned_about() -> None:
    loss = Loss(
        number(0.0), {"high": number(1.5), "low": number(0.01), "fine": number(0.5)},
        ceilings={"high": 1.0, "fine": 1.0}, floors={"low": 0.1}, warnings=("mind the gap",), hints={"low": "do this"},
    )  # fmt: skip
    result = line({"main": loss})
    assert result["high_above_ceiling"] == 1.0
    assert result["low_below_floor"] == 0.1
    assert result["warnings"] == [
        "mind the gap",
        "high 1.5 is above its ceiling 1: a defect",
        "low 0.01 is below 0.1: collapsed, or not off its start yet; do this",
    ]
    assert not {"fine_above_ceiling", "fine_below_floor"} & result.keys()


def test_part_that_is_nan_is_beyond_every_bound() -> None:
    nan = number(math.nan)
    result = line({"main": Loss(number(1.0), {"a": nan, "b": nan}, {"a": 1.0}, {"b": 0.0})})
    assert {"a_above_ceiling", "b_below_floor"} <= result.keys()


def test_unstacked_losses_are_those_that_were_stacked() -> None:
    losses = steps(1.0, 2.0)
    assert unstack_losses(stack_losses(losses)) == losses
    assert unstack_losses({}) == []


@pytest.mark.parametrize(("high", "beyond"), [(10.0, False), (10.001, False), (10.002, True)])
def test_a_ceiling_may_be_passed_by_rounding_alone(high: float, beyond: bool) -> None:
    result = line({"main": Loss(number(0.0), {"high": number(high)}, ceilings={"high": 10.0})})
    assert ("high_above_ceiling" in result) == beyond


def test_a_floor_may_be_touched() -> None:
    assert "low_below_floor" not in line({"main": Loss(number(0.0), {"low": number(0.5)}, floors={"low": 0.5})})
