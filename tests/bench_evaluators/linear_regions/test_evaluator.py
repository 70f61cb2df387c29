import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import DataSpec, Embedded, Encoder, Frozen, NoConfig, Objective, Split
from bench_core.conformance.toys import Untrained
from bench_evaluators.linear_regions.breakpoints import breakpoints
from bench_evaluators.linear_regions.evaluator import LinearRegions, LinearRegionsConfig, _bits, _size_note

SPEC = DataSpec(shape=(1, 4, 4), splits={"train": 60, "test": 60})


class Small(Encoder):
    """Encoder with two layers of ReLUs on 16 pixels."""

    def __init__(self, hidden: int = 24) -> None:
        super().__init__(SPEC, NoConfig())
        self.dim = 20
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.first, self.second = nn.Linear(16, hidden), nn.Linear(hidden, 20)
            self.relu = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.relu(self.second(self.relu(self.first(inputs.flatten(1)))))
        return outputs

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {}


class Linear(Small):
    """Encoder without ReLUs."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)


def images() -> Tensor:
    return torch.randint(256, (60, 1, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def frozen(encoder: Encoder, code: Tensor | None = None, seed: int = 0, inputs: Tensor | None = None) -> Frozen:
    objective: Objective = Untrained(encoder, SPEC, NoConfig()).eval()
    embeddings = {"features": torch.zeros(60, 20)} | ({} if code is None else {"code": code})
    splits = {name: Embedded(embeddings) for name in ("train", "test")}
    split = Split(images() if inputs is None else inputs)
    return Frozen(splits, SPEC, seed, torch.device("cpu"), lambda: copy.deepcopy(objective), lambda name: split)


def measure(trained: Frozen, **config: Any) -> dict[str, float]:
    evaluation = LinearRegions(LinearRegionsConfig(**config)).evaluate(trained)
    return {score.metric: score.value for score in evaluation.scores}


def test_first_score_is_the_mean_number_of_breakpoints_of_whole_segments() -> None:
    evaluation = LinearRegions(LinearRegionsConfig(segments=200, parts=1)).evaluate(frozen(Small()))
    first = evaluation.scores[0]
    assert (first.metric, first.unit, first.higher_is_better, first.chance, first.n) == (
        "breakpoints",
        "count",
        True,
        0,
        200,
    )
    encoder, inputs = Small().double(), images().double() / 255
    rng = torch.Generator().manual_seed(5)
    pairs = [torch.randperm(60, generator=rng)[:2] for _ in range(200)]
    expected = [len(breakpoints(encoder, *inputs[pair]).times) for pair in pairs]
    assert first.value == pytest.approx(sum(expected) / 200, rel=0.1)
    by_layer = evaluation.curves["switches_by_layer"]
    assert by_layer["layer"] == [1, 2]
    assert sum(by_layer["switches"]) == pytest.approx(first.value)


def test_a_random_part_of_each_segment_gives_the_same_mean() -> None:
    whole = measure(frozen(Small()), segments=200, parts=1)["breakpoints"]
    assert measure(frozen(Small()), segments=600, parts=5)["breakpoints"] == pytest.approx(whole, rel=0.1)


def test_wide_networks_are_examined_in_parts() -> None:
    evaluation = LinearRegions(LinearRegionsConfig()).evaluate(frozen(Small(hidden=300)))
    assert "320 ReLU units; segments in 3 parts" in evaluation.notes[0]
    assert "standard error" in evaluation.notes[0]


def test_patterns_of_items_by_hand() -> None:
    encoder = Small()
    inputs = torch.cat([images()[:3].repeat(10, 1, 1, 1), images()[30:]])
    scores = measure(frozen(encoder, inputs=inputs))
    pixels = inputs.flatten(1).double() / 255
    net = copy.deepcopy(encoder).double()
    first = net.first(pixels)
    bits = torch.cat([first > 0, net.second(first.relu()) > 0], 1)
    rows = {tuple(row) for row in bits.tolist()}
    assert scores["distinct_patterns"] == len(rows) == 33
    assert scores["distinct_ratio"] == pytest.approx(33 / 60)
    assert scores["pattern_entropy"] == pytest.approx(0.5 * math.log(60) + 0.5 * math.log(6))
    assert scores["on_rate"] == pytest.approx(float(bits.double().mean()))
    assert scores["switching_units"] == pytest.approx(float((bits.any(0) & ~bits.all(0)).double().mean()))
    assert 1 < scores["distinct_patterns_16_units"] <= 33


def test_units_that_are_always_on_or_off_leave_fewer_regions() -> None:
    still = Small()
    with torch.no_grad():
        still.first.bias.add_(torch.where(torch.arange(24) % 2 == 0, 5.0, -5.0))
    changed, usual = measure(frozen(still)), measure(frozen(Small()))
    for name in ("breakpoints", "distinct_patterns", "distinct_patterns_16_units", "hamming", "switching_units"):
        assert changed[name] < usual[name]


def test_positive_factors_of_weights_change_no_score() -> None:
    scaled = Small()
    with torch.no_grad():
        for parameter in (scaled.first.weight, scaled.first.bias, scaled.second.bias):
            parameter.mul_(4.0)
    assert measure(frozen(scaled)) == measure(frozen(Small()))


def test_without_relus_there_is_one_region() -> None:
    evaluation = LinearRegions(LinearRegionsConfig()).evaluate(frozen(Linear()))
    scores = {score.metric: score.value for score in evaluation.scores}
    assert scores == {"breakpoints": 0, "distinct_patterns": 1, "distinct_ratio": 1 / 60, "pattern_entropy": 0}
    assert evaluation.notes == ["has no ReLU units: one region, no breakpoints"]
    assert evaluation.curves == {}


def test_distinct_codes_are_counted_if_the_method_has_a_code() -> None:
    code = torch.tensor([[True, False], [True, True], [False, False]]).repeat(20, 1)
    assert measure(frozen(Small(), code))["distinct_codes"] == 3
    assert measure(frozen(Small(), code.to(torch.uint8)))["distinct_codes"] == 3
    assert "distinct_codes" not in measure(frozen(Small()))


def test_seeds_choose_items_and_segments_and_the_protocol_says_how_many() -> None:
    evaluate = LinearRegions(LinearRegionsConfig(items=40, segments=7)).evaluate
    first, same, third = evaluate(frozen(Small())), evaluate(frozen(Small())), evaluate(frozen(Small(), seed=1))
    assert first == same
    assert first.scores[0].value != third.scores[0].value
    assert "mean of 7 random pairs" in first.protocol
    assert "40 test items" in first.protocol
    assert {score.n for score in first.scores} == {7, 40}


def test_skip_reasons() -> None:
    task = LinearRegions(LinearRegionsConfig())
    assert task.skip_reason(SPEC, Untrained) is None
    assert task.skip_reason(DataSpec(shape=(3,), splits={"test": 9}), Untrained) == "needs images"
    reason = "needs a test split of 2 items or more"
    assert task.skip_reason(DataSpec(shape=(1, 4, 4), splits={"train": 9}), Untrained) == reason


@pytest.mark.parametrize("changes", [{"items": 1}, {"segments": 1}, {"parts": 0}, {"draws": 0}])
def test_parameters_out_of_range_are_refused(changes: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be >= "):
        LinearRegionsConfig(**changes)


def test_a_unit_at_0_is_off() -> None:
    """Images of 0 and a first layer without bias put its units at 0; the second layer's biases decide."""
    encoder = Small()
    nn.init.zeros_(encoder.first.bias)
    bits = _bits(encoder, torch.zeros(3, 1, 4, 4))
    assert not bits[:, :24].any()
    assert torch.equal(bits[0, 24:], encoder.second.bias > 0)


def test_standard_error_of_breakpoints_by_hand() -> None:
    assert _size_note(7, 1, [1.0, 3.0]).endswith("standard error 1.0 over segments")
    assert _size_note(7, 1, [1.0, 3.0, 5.0, 7.0]).endswith("standard error 1.3 over segments")  # 2.58 / 2


def test_two_test_images_are_enough() -> None:
    spec = DataSpec(shape=(1, 4, 4), splits={"test": 2})
    assert LinearRegions(LinearRegionsConfig()).skip_reason(spec, Untrained) is None
