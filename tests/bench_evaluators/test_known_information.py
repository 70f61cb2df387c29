import math
from collections.abc import Mapping
from typing import Any, NoReturn

import pytest
import torch

from bench_core import DataSpec, Evaluation, Frozen, Split
from bench_core.conformance.toys import Untrained
from bench_core.data import Pair
from bench_core.evaluation.neighbour_information import pair_information
from bench_evaluators.known_information import KnownInformation, KnownInformationConfig

QUICK = {"units": 32, "batch_size": 128, "epochs": 40}


def spec(dim: int = 1, rho: float | None = 0.8, train: int = 2000, test: int = 1000, **values: Any) -> DataSpec:
    splits = {"train": train, "test": test}
    vector = DataSpec(shape=(dim,), splits=splits)
    information = None if rho is None else -dim / 2 * math.log(1 - rho**2)
    sides = {"first": vector, "second": vector}
    return DataSpec(**{
        "shape": (), "splits": splits, "kind": "pairs", "modalities": sides, "information": information, **values,
    })  # fmt: skip


def frozen_of(
    dim: int = 1, rho: float = 0.8, seed: int = 0, scale: float = 1.0, train: int = 2000, test: int = 1000
) -> Frozen:
    data, rng = spec(dim, rho, train, test), torch.Generator().manual_seed(0)
    splits = dict[str, Split]()
    for name, size in data.splits.items():
        x, noise = torch.randn(2, size, dim, generator=rng)
        splits[name] = Split(Pair(x, scale * (rho * x + math.sqrt(1 - rho**2) * noise) + 3 * (scale - 1)))

    def unused() -> NoReturn:
        raise AssertionError("the task reads pairs only")

    return Frozen({}, data, seed, torch.device("cpu"), unused, lambda name: splits[name])


def evaluate(frozen: Frozen, **config: Any) -> Evaluation:
    return KnownInformation(KnownInformationConfig(**{**QUICK, **config})).evaluate(frozen)


def values(evaluation: Evaluation) -> Mapping[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


@pytest.fixture(scope="module")
def measured() -> Evaluation:
    return evaluate(frozen_of())


def test_each_estimate_of_correlated_gaussians_is_near_the_truth(measured: Evaluation) -> None:
    truth = -0.5 * math.log(1 - 0.8**2)  # .511 nats
    for name in ("mine", "f_form", "infonce", "neighbours"):
        assert values(measured)[name] == pytest.approx(truth, abs=0.1), name


def test_the_first_score_is_the_error_of_mine(measured: Evaluation) -> None:
    first, *estimates = measured.scores
    truth = -0.5 * math.log(1 - 0.8**2)
    assert first.metric == "mine_error"
    assert first.value == pytest.approx(abs(values(measured)["mine"] - truth))
    assert not first.higher_is_better
    assert first.best == 0
    assert [score.best for score in estimates] == [pytest.approx(truth)] * 4
    assert not KnownInformation.ranks


def test_independent_pairs_have_no_information() -> None:
    scores = values(evaluate(frozen_of(dim=2, rho=0.0)))
    deviation = 3 / math.sqrt(1000)
    for name in ("mine", "f_form", "infonce", "neighbours"):
        assert -deviation < scores[name] < deviation, name


def test_infonce_ends_at_the_logarithm_of_its_candidates() -> None:
    evaluation = evaluate(frozen_of(dim=4, rho=0.999, test=200), batch_size=16, epochs=10)
    assert 2 < values(evaluation)["infonce"] <= math.log(16) < 12
    assert "log K, the ceiling of infonce: 2.77" in evaluation.notes[0]
    assert "truth: 12.430 nats" in evaluation.notes[0]


def test_shift_and_scale_of_a_side_change_nothing(measured: Evaluation) -> None:
    moved = values(evaluate(frozen_of(scale=50.0)))
    for name, value in values(measured).items():
        assert moved[name] == pytest.approx(value, abs=0.02), name


def test_neighbours_are_those_of_the_first_test_pairs() -> None:
    frozen = frozen_of(test=300)
    pair = frozen.inputs("test").inputs
    assert isinstance(pair, Pair)
    train = frozen.inputs("train").inputs
    assert isinstance(train, Pair)
    first, second = (
        (rows[:100] - seen.mean(0)) / seen.std(0, correction=0)
        for rows, seen in zip((pair.first, pair.second), (train.first, train.second), strict=True)
    )
    evaluation = evaluate(frozen, neighbour_items=100, neighbours=5, epochs=1)
    assert values(evaluation)["neighbours"] == pytest.approx(pair_information(first, second, 5), abs=1e-3)
    assert evaluation.scores[-1].n == 100


def test_a_seed_repeats_its_scores_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    scores = [values(evaluate(frozen_of(train=300, test=100, seed=seed), epochs=5)) for seed in (0, 0, 1)]
    assert scores[0] == scores[1] != scores[2]
    assert torch.equal(before, torch.random.get_rng_state())


def test_data_without_known_information_are_skipped_with_a_reason() -> None:
    def reason(data: DataSpec) -> str | None:
        return KnownInformation(KnownInformationConfig()).skip_reason(data, Untrained)

    assert reason(spec()) is None
    assert reason(spec(rho=None)) == "needs pairs whose information is known (gaussian_pairs)"
    assert reason(spec(test=39)) == "needs a test split of 40 pairs or more"
    graphs = DataSpec(shape=(3,), splits={}, kind="graphs")
    assert reason(spec(modalities={"first": graphs, "second": graphs})) == "needs pairs of images or vectors"


def test_as_many_neighbours_as_items_are_refused() -> None:
    with pytest.raises(ValueError, match="neighbour_items must be > neighbours = 3, got 3"):
        KnownInformationConfig(neighbour_items=3)
