import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, DataSpec
from bench_core.config import build
from bench_core.nn.priors import from_normal
from bench_methods.noisy_dim.objective import NoisyDIM, NoisyDIMConfig, NoisyDIMViews


def train(method: NoisyDIM, images: Tensor, steps: int, *, roll: int = 0, size: int = 128) -> list[float]:
    """Train, and return the information at each step; with `roll` each noisy row is paired with another image."""
    optimizer = torch.optim.Adam(method.train().parameters(), lr=3e-3)
    rng, values = torch.Generator().manual_seed(0), []
    for _ in range(steps):
        index = torch.randperm(len(images), generator=rng)[:size]
        views = method.make_views(Batch(images[index], index), rng)
        loss = method(views._replace(images=views.images.roll(roll, 0)))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        values.append(float(loss.parts["information"]))
    return values


def test_the_loss_is_the_cross_entropy_of_each_noisy_row_over_all_clean_ones(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(NoisyDIM, data, dim=2, noise=0.5)
    views = method.make_views(batch, rng)
    branches = []
    for images in (views.anchors, views.images):
        out = method.head.body(method.encoder(images))
        branches.append((out - out.mean(0)) / (out.var(0, correction=0) + 1e-5).sqrt())
    y, u = branches[0] + views.noise, branches[1]
    scores = torch.stack([-(y[i] - u).square().sum(1) / (2 * 0.5**2) for i in range(12)])
    expected = F.cross_entropy(scores, torch.arange(12)) - math.log(12)
    assert torch.allclose(method(views).total, expected, atol=1e-5)


def test_the_noise_is_added_to_one_branch_after_the_normalisation(
    make: Any, data: DataSpec, images: Tensor, rng: Any
) -> None:
    method, heard = make(NoisyDIM, data, dim=3, noise=2.0), []
    method.critic.register_forward_pre_hook(lambda _, inputs: heard.extend(inputs))
    views = method.make_views(Batch(images, torch.arange(96)), rng)
    method(views)
    received, sent = heard
    assert torch.allclose(sent.mean(0), torch.zeros(3), atol=1e-4)
    assert torch.allclose(sent.var(0, correction=0), torch.ones(3), atol=1e-2)
    assert torch.allclose((received - views.noise).var(0, correction=0), torch.ones(3), atol=1e-2)
    assert received.var(0).mean().item() == pytest.approx(1 + 2.0**2, rel=0.3)
    assert not views.noise.requires_grad


@pytest.mark.parametrize(("prior", "width"), [("gaussian", 0.5), ("uniform", 0.5 / math.sqrt(3))])
def test_noise_has_the_configured_scale_and_the_same_draw_for_each_scale(
    make: Any, data: DataSpec, images: Tensor, prior: str, width: float
) -> None:
    def views(noise: float) -> NoisyDIMViews:
        method = make(NoisyDIM, data, dim=50, noise=noise, prior=prior)
        views: NoisyDIMViews = method.make_views(Batch(images, torch.arange(96)), torch.Generator().manual_seed(0))
        return views

    one, twice, none = views(0.5), views(1.0), views(0.0)
    assert one.noise.std().item() == pytest.approx(width, rel=0.05)
    assert torch.allclose(twice.noise, 2 * one.noise)
    assert torch.equal(none.noise, torch.zeros(96, 50))
    assert torch.equal(none.images, one.images)
    assert prior == "gaussian" or one.noise.abs().max() <= 0.5


def test_the_noisy_branch_reads_the_plain_image_or_a_second_view(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    views = make(NoisyDIM, data).make_views(batch, rng)
    assert torch.equal(views.anchors, batch.inputs)
    assert not torch.equal(views.images, batch.inputs)
    second = make(NoisyDIM, data, clean=False).make_views(batch, rng)
    assert not torch.equal(second.anchors, batch.inputs)
    assert not torch.equal(second.anchors, second.images)


def test_pixel_noise_is_kept_for_glyphs(make: Any, data: DataSpec) -> None:
    assert make(NoisyDIM, data, augmentation="noise").augmentation.noise == 0.2
    assert make(NoisyDIM, data, augmentation="noise").augmentation.affine_prob == 0


@pytest.mark.parametrize("critic", ["quadratic", "mlp"])
@pytest.mark.parametrize("estimator", ["infonce", "dv", "nwj"])
@pytest.mark.parametrize("prior", ["gaussian", "uniform"])
def test_gradients_reach_every_parameter(
    make: Any, data: DataSpec, batch: Batch, rng: Any, critic: str, estimator: str, prior: str
) -> None:
    method = make(NoisyDIM, data, critic=critic, estimator=estimator, prior=prior)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    assert method.encoder.layers[1].weight.grad.abs().sum() > 0


def test_the_average_of_dv_moves_in_training_only_and_is_saved(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(NoisyDIM, data, estimator="dv")
    views = method.make_views(batch, rng)
    method.eval()(views)
    assert method.log_average == -torch.inf
    method.train()(views)
    assert method.log_average.isfinite()
    loaded = make(NoisyDIM, data, seed=1, estimator="dv")
    loaded.load_state_dict(method.state_dict())
    assert torch.equal(loaded.log_average, method.log_average)


def test_the_ceiling_is_the_bound_or_the_logarithm_of_the_batch(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    def loss(**values: Any) -> Any:
        method = make(NoisyDIM, data, **values)
        return method(method.make_views(batch, rng))

    loose = loss(dim=1, noise=1.0)
    assert loose.ceilings["information"] == pytest.approx(math.log(2) / 2 + 3 / math.sqrt(96))
    assert loose.parts["gap"] == pytest.approx(math.log(2) / 2 - float(loose.parts["information"]), abs=1e-6)
    assert loose.warnings == []
    tight = loss(dim=64, noise=0.1)
    assert tight.ceilings["information"] == pytest.approx(math.log(12))
    assert tight.warnings == ["the bound, 148 nats, binds little or not: InfoNCE ends at 2.48, log batch"]
    without = loss(noise=0.0)
    assert without.ceilings["information"] == pytest.approx(math.log(12))
    assert "gap" not in without.parts
    assert without.warnings == []
    assert loss(noise=0.0, estimator="dv").ceilings["information"] == math.inf
    assert loss(dim=64, noise=0.1, estimator="dv").warnings == []
    assert loss(dim=1, prior="uniform").warnings == ["the quadratic critic does not fit uniform noise: take critic=mlp"]


def test_information_rises_towards_the_bound_and_never_above_its_ceiling(
    make: Any, data: DataSpec, digits: Tensor
) -> None:
    method = make(NoisyDIM, replace(data, splits={"train": 640, "test": 10}), dim=2, noise=0.5)
    values = train(method, digits, 160)
    last = sum(values[-20:]) / 20
    assert values[0] < 0.3
    assert 0.9 < last < method.capacity() + 0.05
    assert method.capacity() == pytest.approx(math.log(5))


def test_only_pairs_of_different_images_fall_below_the_floor(make: Any, data: DataSpec, digits: Tensor) -> None:
    values = []
    for roll in (0, 1):
        method = make(NoisyDIM, data, dim=2)
        values.append(sum(train(method, digits, 80, roll=roll)[-10:]) / 10)
    floor = method(method.make_views(Batch(digits[:9], torch.arange(9)), torch.Generator())).floors["information"]
    assert floor == pytest.approx(0.1)
    assert values[1] < floor < values[0]


@pytest.mark.parametrize("prior", ["gaussian", "uniform"])
def test_after_training_the_embedding_of_eval_mode_has_the_moments_of_train_mode(
    make: Any, data: DataSpec, digits: Tensor, make_context: Any, prior: Any
) -> None:
    method = make(NoisyDIM, data, dim=3, prior=prior)
    train(method, digits, 30)  # too few for the running statistics
    method.eval()
    lagging = method.head(method.encoder(digits))
    numbers = method.after_training(make_context(digits, batch_size=128))
    standard = method.head(method.encoder(digits))
    assert standard.mean(0).abs().max() < 1e-4
    assert (standard.std(0, correction=0) - 1).abs().max() < 1e-3
    assert max(lagging.mean(0).abs().max().item(), (lagging.std(0) - 1).abs().max().item()) > 0.05
    assert numbers["norm_shift"] > 0
    assert torch.allclose(method.embed(digits)["embedding"], from_normal(prior, standard))
    in_train_mode = method.train().head(method.encoder(digits))
    assert (in_train_mode - standard).mean(0).abs().max() < 0.05
    assert (in_train_mode.std(0) / standard.std(0) - 1).abs().max() < 0.1


def test_only_embed_maps_the_gaussian_embedding_to_other_priors(
    make: Any, data: DataSpec, batch: Batch, images: Tensor
) -> None:
    gaussian, laplace = (make(NoisyDIM, data, prior=prior).eval() for prior in ("gaussian", "laplace"))
    views = gaussian.make_views(batch, torch.Generator().manual_seed(0))
    assert torch.equal(gaussian(views).total, laplace(views).total)
    base = gaussian.embed(images)["embedding"]
    assert torch.allclose(laplace.embed(images)["embedding"], from_normal("laplace", base))
    assert laplace.matched_prior() == "laplace"
    gaussian.transport = torch.sinh  # a bijection of one's own
    assert torch.equal(gaussian.embed(images)["embedding"], base.sinh())


def test_a_uniform_prior_sends_and_embeds_numbers_between_0_and_1(make: Any, data: DataSpec, images: Tensor) -> None:
    method, heard = make(NoisyDIM, data, prior="uniform", noise=0.0), []
    method.critic.register_forward_pre_hook(lambda _, inputs: heard.extend(inputs))
    method(method.make_views(Batch(images, torch.arange(96)), torch.Generator()))
    for values in (*heard, method.embed(images)["embedding"]):
        assert 0 <= values.min() < 0.2
        assert 0.8 < values.max() <= 1


def test_the_estimate_is_computed_in_float32_under_autocast(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(NoisyDIM, data)
    views = method.make_views(batch, rng)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert method(views).total.dtype == torch.float32
        assert method.embed(batch.inputs)["embedding"].dtype == torch.float32


def test_the_variant_mnist_has_two_coordinates_and_views_by_pixel_noise() -> None:
    config = build(NoisyDIMConfig, NoisyDIM.variants["mnist"].config, "noisy_dim")
    assert (config.dim, config.critic, config.augmentation) == (2, "mlp", "noise")


@pytest.mark.parametrize("values", [{"dim": 0}, {"hidden_dim": 0}, {"noise": -0.1}, {"noise": math.nan}])
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        NoisyDIMConfig(**values)


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"augmentation must be one of 'simclr', .*, got 'zz'"):
        NoisyDIMConfig(augmentation="zz")


def test_other_data_than_images_are_skipped() -> None:
    assert NoisyDIM.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), NoisyDIMConfig()) == "needs images"


def test_donsker_varadhan_has_no_ceiling_in_training_and_is_a_bound_after_it(
    make: Any, data: DataSpec, images: Tensor, rng: Any
) -> None:
    method = make(NoisyDIM, data, dim=2, noise=0.5, estimator="dv").train()
    views = method.make_views(Batch(images, torch.arange(96)), rng)
    assert method(views).ceilings["information"] == math.inf
    constant = method.log_average.clone()
    method.eval()
    with torch.no_grad():
        scores = method.critic(method._sent(views.anchors) + views.noise, method._sent(views.images))
        negatives = scores[~torch.eye(96, dtype=torch.bool)]
        expected = scores.diagonal().mean() - constant - (negatives - constant).exp().mean() + 1
        assert torch.allclose(method.information(views), expected, atol=1e-4)
        assert torch.equal(method.log_average, constant)
