import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Embedded, Frozen, Loss, NoConfig, Objective, Split
from bench_core.conformance.toys import TinyEncoder, Untrained
from bench_core.contracts import PriorName
from bench_core.errors import BenchError
from bench_core.nn.priors import from_normal, to_normal
from bench_core.training.embed import embed_split
from bench_evaluators.distribution.evaluator import Distribution, DistributionConfig, histogram
from bench_evaluators.distribution.normality import pass_rates
from bench_methods.vae import VAE, VAEConfig


def data(items: int) -> DataSpec:
    return DataSpec(shape=(1, 8, 8), splits={"train": items, "test": items})


class Sending(Objective):
    """Method whose embedding is an image's mean pixel, and whose information is the number of images in a batch."""

    def __init__(self, prior: PriorName, bound: float) -> None:
        nn.Module.__init__(self)
        self.prior, self.bound = prior, bound

    def make_views(self, batch: Batch, rng: torch.Generator) -> Tensor:
        images: Tensor = batch.inputs
        return images + torch.rand((), generator=rng)

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        return Loss(torch.zeros(()))

    def matched_prior(self) -> PriorName:
        return self.prior

    def capacity(self) -> float:
        return self.bound

    def information(self, views: Tensor) -> Tensor:
        return torch.tensor(len(views) / 100)


def frozen(embeddings: Mapping[str, Tensor], *, train: Tensor | None = None, method: Any = None) -> Frozen:
    n = len(next(iter(embeddings.values())))
    spec, images = data(n), torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
    first = {} if train is None else {name: train for name in embeddings}
    splits = {"train": Embedded(first), "test": Embedded(embeddings)}
    untrained = Untrained(TinyEncoder(spec), spec, NoConfig())
    return Frozen(splits, spec, 0, torch.device("cpu"), lambda: method or untrained, lambda name: Split(images))


def normal(items: int = 2000, dims: int = 3) -> Tensor:
    return torch.randn(items, dims, generator=torch.Generator().manual_seed(0))


def measure(trained: Frozen, **config: Any) -> dict[str, float]:
    evaluation = Distribution(DistributionConfig(**config)).evaluate(trained)
    return {score.metric: score.value for score in evaluation.scores}


def test_samples_of_the_prior_are_near_it_by_every_measure() -> None:
    evaluation = Distribution(DistributionConfig()).evaluate(frozen({"features": normal()}))
    scores = {score.metric: score.value for score in evaluation.scores}
    assert evaluation.scores[0].metric == "sliced_ks"
    assert not evaluation.scores[0].higher_is_better
    assert scores["sliced_ks"] < 0.03
    assert scores["ks_mean"] < 0.03
    assert scores["max_correlation"] < 0.06
    assert scores["excess_kurtosis"] < 0.3
    assert min(v for k, v in scores.items() if k.endswith("pass_rate")) > 0.8
    assert "gap" not in scores
    for note, metric in zip(evaluation.notes, ("sliced_ks", "sliced_wasserstein"), strict=True):
        assert scores[metric] == pytest.approx(float(note.rsplit(" ", 1)[1]), abs=0.02)


@pytest.mark.parametrize("prior", ["uniform", "laplace", "exponential", "cauchy", "beta(2, 5)", "gamma(3)"])
def test_samples_of_any_prior_are_near_it_and_far_from_another(prior: Any) -> None:
    values = frozen({"features": from_normal(prior, normal())})
    matching, mismatched = measure(values, prior=prior), measure(values, prior="gaussian")
    assert matching["sliced_ks"] == pytest.approx(measure(frozen({"features": normal()}))["sliced_ks"], abs=1e-3)
    assert matching["ks_mean"] < 0.03
    assert matching["henze_zirkler_pass_rate"] > 0.8
    assert mismatched["sliced_ks"] > 3 * matching["sliced_ks"]


@pytest.mark.parametrize("prior", ["gaussian", "beta(2, 5)"])
def test_samples_of_a_prior_pass_the_tests_at_the_rate_of_their_level(prior: str) -> None:
    drawn = to_normal(prior, from_normal(prior, normal(500 * 200, 1).double())).view(500, 200, 1)
    # One call for each sample, as a sample has all of its 200 items.
    rates = [pass_rates(sample, torch.Generator().manual_seed(0), samples=1) for sample in drawn]
    for test in rates[0]:
        assert 0.93 <= sum(rate[test] for rate in rates) / 500 <= 0.97


def test_scores_equal_those_of_published_records() -> None:
    scores = measure(frozen({"features": normal(400, 5) ** 3}))
    assert list(scores) == [
        "sliced_ks", "ks_mean", "max_correlation", "excess_kurtosis", "sliced_wasserstein", "shapiro_wilk_pass_rate",
        "dagostino_pearson_pass_rate", "henze_zirkler_pass_rate",
    ]  # fmt: skip
    # Values of the version whose records are published.
    published = [0.17260320572493332, 0.17445766664402004, 0.08593052519949178, 37.3729544366706]
    assert [scores[name] for name in list(scores)[:4]] == pytest.approx(published, rel=1e-9)


@pytest.mark.parametrize("prior", ["gaussian", "uniform", "cauchy", "beta(2, 5)"])
def test_histogram_holds_the_density_and_that_of_the_prior(prior: str) -> None:
    evaluation = Distribution(DistributionConfig(prior=prior)).evaluate(
        frozen({"features": from_normal(prior, normal(20000, 2))})
    )
    curve = evaluation.curves["histogram"]
    assert list(curve) == ["centre", "density", "prior"]
    centre, density, expected = (torch.tensor(curve[name], dtype=torch.float64) for name in curve)
    width = float(centre[1] - centre[0])
    assert 0.97 < float(density.sum()) * width <= 1 + 1e-9
    assert 0.97 < float(expected.sum()) * width <= 1 + 1e-9
    assert float((density - expected).abs().sum()) * width < 0.05


def test_histogram_covers_values_far_from_the_prior_and_constants() -> None:
    curve = histogram("gaussian", torch.full((300, 2), 7.0, dtype=torch.float64))
    width = curve["centre"][1] - curve["centre"][0]
    full = [centre for centre, density in zip(curve["centre"], curve["density"], strict=True) if density > 0]
    assert full == pytest.approx([7.0], abs=width)
    assert sum(curve["density"]) * width == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("sliced_wasserstein", lambda x: x + 1),
        ("ks_mean", lambda x: x + 1),
        ("excess_kurtosis", lambda x: x**3),
        ("max_correlation", lambda x: torch.stack([x[:, 0], x[:, 0] + 0.5 * x[:, 1]], 1)),
    ],
)
def test_deviations_from_the_prior_raise_their_score(name: str, change: Callable[[Tensor], Tensor]) -> None:
    assert measure(frozen({"features": change(normal())}))[name] > 0.3


def test_default_embedding_is_the_first_of_embedding_latent_features() -> None:
    embeddings = {"features": normal() + 9, "latent": normal() + 5, "embedding": normal()}
    for remaining, expected in (
        (embeddings, "embedding"),
        ({k: embeddings[k] for k in ("features", "latent")}, "latent"),
    ):
        evaluation = Distribution(DistributionConfig()).evaluate(frozen(remaining))
        assert {score.embedding for score in evaluation.scores} == {expected}
    assert measure(frozen(embeddings), embedding="features")["ks_mean"] > 0.9
    with pytest.raises(BenchError, match=r"no embedding named 'code'\. This method has: embedding, features, latent"):
        measure(frozen(embeddings), embedding="code")


def collapsed_vae(spec: DataSpec, mean: float = 0.0, deviation: float = 1.0) -> VAE:
    """Make a VAE whose posterior is the same for every image."""
    model = VAE(TinyEncoder(spec), spec, VAEConfig(latent_dim=3, width=4)).eval().requires_grad_(False)
    for head, bias in ((model.model.mean, mean), (model.model.deviation, math.log(math.expm1(deviation - 1e-4)))):
        nn.init.zeros_(head.weight)
        nn.init.constant_(head.bias, bias)
    return model


def freeze_vae(method: Objective, items: int = 2000) -> Frozen:
    spec = data(items)
    splits = {
        name: Split(torch.randint(0, 256, (items, 1, 8, 8), generator=torch.Generator().manual_seed(i)).byte())
        for i, name in enumerate(("train", "test"))
    }
    cpu = torch.device("cpu")
    embedded = {name: Embedded(embed_split(method, split, cpu)) for name, split in splits.items()}
    return Frozen(embedded, spec, 0, cpu, lambda: method, splits.__getitem__)


def test_a_collapsed_vae_that_matches_its_prior_gets_the_score_of_a_match() -> None:
    evaluation = Distribution(DistributionConfig()).evaluate(freeze_vae(collapsed_vae(data(2000))))
    scores = {score.metric: score for score in evaluation.scores}
    assert evaluation.scores[0].metric == "sliced_ks"
    floor = float(evaluation.notes[0].rsplit(" ", 1)[1])
    assert scores["sliced_ks"].value == pytest.approx(floor, abs=0.01)
    assert min(s.value for name, s in scores.items() if name.endswith("pass_rate")) > 0.8
    assert scores["sliced_ks_means"].value == 0.5  # all means are 0
    assert {s.embedding for name, s in scores.items() if name.endswith("_means")} == {"latent"}
    assert {s.embedding for name, s in scores.items() if not name.endswith("_means")} == {"posterior_draws"}
    assert "one draw of each item's posterior" in evaluation.protocol
    assert sum(d > 0 for d in evaluation.curves["histogram"]["density"]) > 30  # of draws, which are not all equal


def test_draws_of_a_vae_far_from_its_prior_are_far() -> None:
    assert measure(freeze_vae(collapsed_vae(data(300), mean=3.0), 300))["sliced_ks"] > 0.4
    assert measure(freeze_vae(collapsed_vae(data(300), deviation=0.1), 300))["sliced_ks"] > 0.3
    standardised = measure(freeze_vae(collapsed_vae(data(300), mean=3.0, deviation=0.1), 300), standardize=True)
    assert standardised["sliced_ks"] < 0.08  # by mean and deviation of draws of train


def test_each_item_is_drawn_once_by_seed_and_not_at_all_where_an_embedding_is_named() -> None:
    class Counting(VAE):
        drawn = 0

        def sample_posterior(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
            self.drawn += len(inputs)
            return super().sample_posterior(inputs, rng)

    spec = data(300)
    torch.manual_seed(0)
    method = Counting(TinyEncoder(spec), spec, VAEConfig(latent_dim=3, width=4)).eval()
    trained = freeze_vae(method, 300)
    first = measure(trained)
    assert method.drawn == 300
    assert measure(trained) == first
    named = measure(trained, embedding="latent")
    assert method.drawn == 600
    assert named == {name.removesuffix("_means"): first[name] for name in first if name.endswith("_means")}


def test_a_posterior_without_width_is_drawn_at_its_means() -> None:
    class Sure(VAE):
        def sample_posterior(self, inputs: Tensor, rng: torch.Generator) -> Tensor:
            return self.embed(inputs)["latent"]

    spec = data(300)
    torch.manual_seed(0)
    scores = measure(freeze_vae(Sure(TinyEncoder(spec), spec, VAEConfig(latent_dim=3, width=4)).eval(), 300))
    for name in [name for name in scores if name.endswith("_means")]:
        assert scores[name.removesuffix("_means")] == pytest.approx(scores[name], abs=1e-6), name


def test_standardising_uses_the_train_split() -> None:
    trained = frozen({"features": 5 + 3 * normal()}, train=5 + 3 * normal())
    assert measure(trained, standardize=True)["sliced_ks"] == pytest.approx(
        measure(frozen({"features": normal()}))["sliced_ks"], abs=0.02
    )
    assert measure(trained)["sliced_ks"] > 0.4


def test_method_with_a_prior_and_a_channel_is_compared_with_both() -> None:
    method = Sending("uniform", bound=3.0)
    trained = frozen({"embedding": from_normal("uniform", normal(450))}, method=method)
    scores = measure(trained, batch_size=200)
    assert scores["ks_mean"] < 0.06
    assert scores["information"] == pytest.approx(2.0)  # batches of 200; the last 50 items are left out
    assert scores["gap"] == pytest.approx(1.0)
    assert measure(trained, prior="gaussian")["ks_mean"] > 0.3


def test_a_channel_without_noise_has_no_gap() -> None:
    scores = measure(frozen({"embedding": normal(300)}, method=Sending("gaussian", bound=math.inf)))
    assert "information" in scores
    assert "gap" not in scores


def test_pass_rates_of_wide_features_read_some_coordinates_drawn_by_seed() -> None:
    evaluation = Distribution(DistributionConfig(test_dims=4)).evaluate(frozen({"features": normal(400, 300)}))
    assert "4 of 300 coordinates" in evaluation.protocol
    assert evaluation == Distribution(DistributionConfig(test_dims=4)).evaluate(frozen({"features": normal(400, 300)}))
    assert "samples of 200 items" in evaluation.protocol
    small = Distribution(DistributionConfig(test_dims=100)).evaluate(frozen({"features": normal(100, 300)}))
    assert "samples of 50 items, 25 of 300 coordinates" in small.protocol


def test_constant_features_are_measured() -> None:
    scores = measure(frozen({"features": torch.zeros(300, 2)}))
    assert scores["sliced_ks"] == 0.5
    assert scores["henze_zirkler_pass_rate"] == scores["shapiro_wilk_pass_rate"] == 0


def test_a_small_test_split_is_skipped() -> None:
    reason = "needs a test split of 100 items or more"
    assert Distribution(DistributionConfig()).skip_reason(data(99), Untrained) == reason
    assert Distribution(DistributionConfig()).skip_reason(data(100), Untrained) is None


def test_an_unknown_prior_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prior must be gaussian, .* got 'normal'"):
        DistributionConfig(prior="normal")


@pytest.mark.parametrize("changes", [{"test_dims": 0}, {"batch_size": 1}])
def test_parameters_out_of_range_are_refused(changes: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(changes))} must be >= "):
        DistributionConfig(**changes)


def test_histogram_leaves_out_half_a_percent_at_each_end_and_not_one_value_more() -> None:
    values = torch.linspace(-100, 100, 200, dtype=torch.float64)[:, None]
    curve = histogram("gaussian", values)
    width = curve["centre"][1] - curve["centre"][0]
    assert curve["centre"][0] - width / 2 == pytest.approx(-100)  # of 200 values 0.5 % are less than one
    assert curve["centre"][-1] + width / 2 == pytest.approx(100)
