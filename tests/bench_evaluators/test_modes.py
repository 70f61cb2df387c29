"""Modes that samples cover: by hand, against slow formulas, and for collapsed, blurred and perfect samplers."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import BenchError, DataSpec, Embedded, Evaluation, Frozen, Split
from bench_core.conformance.toys import Untrained
from bench_evaluators.modes import ModeCoverage, Modes, ModesConfig, coverage, fit_modes, radius

CPU = torch.device("cpu")
CENTRES = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
SQUARE = Modes(CENTRES, torch.full((4,), 0.1, dtype=torch.float64), torch.full((4,), 0.25, dtype=torch.float64))
DATA = DataSpec(shape=(2,), splits={"train": 400, "test": 200}, num_classes=4)


def split(count: int, seed: int) -> Split:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    return Split((CENTRES[labels] + 0.02 * torch.randn(count, 2, generator=rng)).float(), labels)


class Draws(Untrained):
    """Method that draws from points that it kept, with noise."""

    def __init__(self, kept: Tensor, noise: float = 0.0) -> None:
        nn.Module.__init__(self)
        self.kept, self.noise = kept, noise

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        drawn = self.kept[torch.randint(len(self.kept), (n,), generator=rng)]
        return drawn + self.noise * torch.randn(drawn.shape, generator=rng)


def evaluate(method: Draws, seed: int = 0, **config: Any) -> Evaluation:
    splits = {"train": split(400, 0), "test": split(200, 1)}
    embedded = {name: Embedded({"features": torch.zeros(len(part), 1)}, part.labels) for name, part in splits.items()}
    frozen = Frozen(embedded, DATA, seed, CPU, lambda: method, lambda name: splits[name])
    return ModeCoverage(ModesConfig(**config)).evaluate(frozen)


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


def kept(*labels: int) -> Tensor:
    made = split(400, 2)
    assert isinstance(made.inputs, Tensor)
    assert made.labels is not None
    return made.inputs[torch.isin(made.labels, torch.tensor(labels))]


def test_modes_are_means_and_deviations_of_the_classes() -> None:
    rng = torch.Generator().manual_seed(0)
    items, labels = torch.randn(60, 3, generator=rng).double(), torch.arange(60) % 5 * 2  # odd classes are absent
    modes = fit_modes(items, labels)
    assert len(modes.shares) == 5
    for k in range(5):
        mine = items[labels == 2 * k]
        assert torch.allclose(modes.centres[k], mine.mean(0))
        assert float(modes.deviations[k]) == pytest.approx(float(mine.var(0, correction=0).mean().sqrt()))
    assert torch.allclose(modes.shares, torch.full((5,), 0.2).double())


def test_radius_is_3_in_the_plane_and_holds_as_many_items_in_other_dimensions() -> None:
    assert radius(2) == pytest.approx(3)
    for dimensions in (1, 10):
        rng = torch.Generator().manual_seed(dimensions)
        lengths = torch.randn(50_000, dimensions, generator=rng).norm(dim=1)
        assert float((lengths <= radius(dimensions)).double().mean()) == pytest.approx(1 - math.exp(-4.5), abs=0.002)


def test_coverage_by_hand() -> None:
    samples = torch.tensor([[0.0, 0.29], [0.0, 0.31], [1.0, 0.1], [1.1, 0.0], [0.5, 0.5]]).double()
    found = coverage(samples, SQUARE)
    assert found.covered == 2  # the first in (0, 0), the third and fourth in (1, 0)
    assert found.high_quality == pytest.approx(3 / 5)
    assert coverage(samples, SQUARE, least=2)._replace(covered=2) == found
    assert [coverage(samples, SQUARE, least).covered for least in (1, 2, 3)] == [2, 1, 0]
    q = (1 / 3, 2 / 3)
    assert found.reverse_kl == pytest.approx(sum(share * math.log(share / 0.25) for share in q))


def test_samples_of_one_mode_have_the_divergence_log_k() -> None:
    found = coverage(torch.zeros(7, 2).double(), SQUARE)
    assert (found.covered, found.high_quality) == (1, 1.0)
    assert found.reverse_kl == pytest.approx(math.log(4))


def test_samples_of_no_mode_have_the_largest_divergence() -> None:
    shares = torch.tensor([0.4, 0.3, 0.2, 0.1]).double()
    found = coverage(torch.full((7, 2), 9.0).double(), SQUARE._replace(shares=shares))
    assert (found.covered, found.high_quality) == (0, 0.0)
    assert found.reverse_kl == pytest.approx(math.log(10))


def test_a_wide_mode_takes_samples_that_are_nearer_to_a_narrow_one() -> None:
    deviations = torch.tensor([0.5, 0.1, 0.1, 0.1]).double()
    found = coverage(torch.tensor([[0.6, 0.0]]).double(), SQUARE._replace(deviations=deviations))
    assert (found.covered, found.high_quality) == (1, 1.0)


def test_coverage_ignores_scale_shift_and_order() -> None:
    rng = torch.Generator().manual_seed(0)
    samples = torch.rand(200, 2, generator=rng).double()
    before = coverage(samples, SQUARE)
    order = torch.tensor([2, 0, 3, 1])
    moved = Modes(10 * CENTRES[order] + 5, 10 * SQUARE.deviations[order], SQUARE.shares[order])
    after = coverage(10 * samples.flip(0) + 5, moved)
    assert after == pytest.approx(before)


def test_a_mode_of_equal_items_holds_these_alone() -> None:
    modes = SQUARE._replace(deviations=torch.tensor([0.0, 0.1, 0.1, 0.1]).double())
    assert coverage(torch.zeros(1, 2).double(), modes).covered == 1
    assert coverage(torch.full((1, 2), 1e-3).double(), modes).covered == 0


def test_good_collapsed_and_blurred_samplers_are_told_apart() -> None:
    good, collapsed, blurred = (
        values(evaluate(method))
        for method in (Draws(kept(0, 1, 2, 3)), Draws(kept(1, 2)), Draws(kept(0, 1, 2, 3), 0.3))
    )
    assert (good["covered"], collapsed["covered"], blurred["covered"]) == (4, 2, 4)
    assert good["high_quality"] > 0.95 < collapsed["high_quality"]
    assert blurred["high_quality"] < 0.1
    assert good["reverse_kl"] < 0.01
    assert collapsed["reverse_kl"] == pytest.approx(math.log(2), abs=0.01)


def test_scores_have_their_best_values_and_the_chance_level_of_one_gaussian() -> None:
    evaluation = evaluate(Draws(kept(0)), samples=300)
    covered, high_quality, reverse_kl = evaluation.scores
    assert (covered.metric, covered.unit, covered.best, covered.higher_is_better) == ("covered", "count", 4.0, True)
    assert (reverse_kl.best, reverse_kl.higher_is_better) == (0.0, False)
    assert {score.n for score in evaluation.scores} == {300}
    assert high_quality.chance is not None
    assert high_quality.chance < 0.1
    again = evaluate(Draws(kept(1)), seed=1, samples=300)
    assert [score.chance for score in again.scores] == [score.chance for score in evaluation.scores]
    assert "300 samples; 4 modes" in evaluation.protocol
    assert evaluation.notes[0].startswith("200 test items as samples: covered 4, high_quality ")


def test_scattered_samples_cover_no_mode_that_needs_more_of_them() -> None:
    blurred = Draws(kept(0, 1, 2, 3), 0.3)
    few, many = (evaluate(blurred, least=least) for least in (1, 100))
    assert (values(few)["covered"], values(many)["covered"]) == (4, 0)
    assert values(few)["reverse_kl"] == values(many)["reverse_kl"]
    assert "covered: 100 or more such samples" in many.protocol


def test_a_seed_gives_one_result() -> None:
    first, again, other = (values(evaluate(Draws(kept(0, 1, 2, 3), 0.05), seed)) for seed in (0, 0, 1))
    assert first == again != other


def test_picture_has_test_items_above_samples_and_the_vertical_axis_points_up() -> None:
    picture = evaluate(Draws(kept(3))).images["samples"]
    assert picture.shape == (2, 1, 64, 64)
    assert picture.dtype == torch.uint8
    bright = picture[1, 0].nonzero()
    assert int(bright[:, 0].max()) < 16, "the mode (1, 1) is at the top"
    assert int(bright[:, 1].min()) > 48, "and at the right"
    assert len(picture[0, 0].nonzero()) > len(bright)


def test_samples_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(BenchError, match="samples that are not finite"):
        evaluate(Draws(torch.tensor([[0.0, math.nan]])))


def test_skip_reasons() -> None:
    task = ModeCoverage(ModesConfig())
    assert task.skip_reason(DATA, Draws) is None
    assert task.skip_reason(DATA, Untrained) == "draws no samples"
    assert task.skip_reason(DataSpec(shape=(1, 8, 8), splits={"train": 9, "test": 9}), Draws) == "needs vectors"
    assert task.skip_reason(DataSpec(shape=(2,), splits={"train": 9, "test": 9}), Draws) == "needs labels"
