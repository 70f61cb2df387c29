"""Trials of a row: Sobol points and the values at them."""

import sys

import pytest
from scipy.stats import qmc

from bench_core.errors import RequestError
from bench_core.planning.boards import load_board
from bench_core.plugins import Registry
from bench_core.seeds import stream_seed
from bench_core.tuning.trials import sobol_points, trials_of
from tests.bench_core.tuning.conftest import Tuner


def test_points_are_the_first_of_a_scrambled_sobol_sequence() -> None:
    seed = stream_seed(0, "tuning", "bench-core/nac") % 2**32
    engine = qmc.Sobol(3, scramble=True, seed=seed)
    expected = engine.random(4)
    points = sobol_points("bench-core/nac", ["a", "b", "c"], 4)
    assert [[point[name] for name in "abc"] for point in points] == pytest.approx(expected)


def test_fewer_trials_are_the_first_of_more() -> None:
    assert sobol_points("toys/shrink", ["a", "b"], 3) == sobol_points("toys/shrink", ["a", "b"], 11)[:3]


def test_trial_0_is_the_row_as_it_is_and_others_have_values_of_the_space(tuner: Tuner, plugins: Registry) -> None:
    board = load_board(str(tuner.board_file))
    trials = trials_of(board.methods["tinted"], board, plugins, 12)
    assert trials.points[0] == {} == trials.values[0]
    assert trials.rows[0].values == {}
    assert len(trials.values) == 12
    for point, values in zip(trials.points[1:], trials.values[1:], strict=True):
        assert sorted(point) == ["recipe.learning_rate", "recipe.weight_decay", "steps", "tint"]
        assert 0.1 <= values["tint"] <= 10
        assert 0.02 / 30 <= values["recipe.learning_rate"] <= 0.02 * 30
        assert values.get("steps", 4) in (2, 4, 8)
        assert values["tint"] == float(f"{values['tint']:.3g}")
    assert {values.get("steps", 4) for values in trials.values} == {2, 4, 8}


def test_a_control_has_the_trials_of_its_method_where_the_spaces_are_equal(tuner: Tuner, plugins: Registry) -> None:
    board = load_board(str(tuner.board_file))
    method, control = (trials_of(board.methods[name], board, plugins, 5) for name in ("tinted", "tinted_control"))
    assert method.values == control.values
    assert [row.name for row in control.rows.values()] == [f"tinted_control-{i}" for i in range(5)]
    assert control.rows[3].values["kind"] == "control"


def test_trials_of_a_row_do_not_depend_on_other_rows(tuner: Tuner, plugins: Registry) -> None:
    few, all_rows = tuner.search(["shrink"]), tuner.search()
    assert few.rows["shrink"].values == all_rows.rows["shrink"].values
    assert few.text == all_rows.text


def test_values_that_the_method_refuses_are_a_failed_trial(tuner: Tuner, plugins: Registry) -> None:
    def refuse(self: object) -> None:
        if getattr(self, "tint") > 0.5:  # noqa: B009  # its type is known in the method only
            raise ValueError("tint above 0.5")

    cls = plugins.get("objective", "tinted").cls.Config
    board = load_board(str(tuner.board_file))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cls, "__post_init__", refuse)
        trials = trials_of(board.methods["tinted"], board, plugins, 6)
    refused = {number for number, values in enumerate(trials.values) if values.get("tint", 0.5) > 0.5}
    assert trials.refused.keys() == refused
    assert refused
    assert all("tint above 0.5" in reason for reason in trials.refused.values())
    assert trials.rows.keys() == set(range(6)) - refused


def test_without_optuna_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RequestError, match=r"pip install 'bench-core\[tune\]'"):
        sobol_points("toys/shrink", ["a"], 1)
