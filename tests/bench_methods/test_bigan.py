import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Generative, OutlierScoring
from bench_methods.bigan import BiGAN, BiGANConfig, BiGANViews, Discriminator, cross_entropy_losses, hinge_losses

SIZES: dict[str, Any] = {"latent_dim": 6, "width": 4, "units": 8}
Make = Callable[..., Any]


@pytest.fixture
def views(batch: Batch) -> BiGANViews:
    return BiGANViews(batch.inputs, torch.randn(12, 6, generator=torch.Generator().manual_seed(3)), None)


def optimizers(method: Any, rate: float) -> dict[str, Any]:
    return {
        player.name: (player, torch.optim.Adam(player.parameters, rate, betas=(0.5, 0.999)))
        for player in method.players()
    }


def step(method: Any, views: BiGANViews, player: Any, optimizer: torch.optim.Optimizer) -> float:
    loss = method(views, player.name)
    optimizer.zero_grad()
    loss.total.backward(inputs=list(player.parameters))
    optimizer.step()
    return float(loss.parts["told_apart"])


def test_cross_entropies_are_the_formula_with_labels_swapped_between_the_players() -> None:
    encoder, generator = [0.5, -2.0], [1.0, 3.0]
    chances = [[1 / (1 + math.exp(-s)) for s in scores] for scores in (encoder, generator)]
    discriminator = -sum(math.log(p) for p in chances[0]) / 2 - sum(math.log(1 - p) for p in chances[1]) / 2
    model = -sum(math.log(1 - p) for p in chances[0]) / 2 - sum(math.log(p) for p in chances[1]) / 2
    losses = cross_entropy_losses(torch.tensor(encoder)[:, None], torch.tensor(generator)[:, None])
    assert [loss.item() for loss in losses] == pytest.approx([discriminator, model], rel=1e-5)


def test_hinge_losses_by_hand() -> None:
    encoder = torch.tensor([[2.0, 0.5, -1.0]])  # pair, image, latent: hinges 0, .5 and 2
    generator = torch.tensor([[-3.0, 0.0, 1.0]])  # hinges 0, 1 and 2
    discriminator, model = hinge_losses(encoder, generator)
    assert discriminator.item() == 2.5 + 3.0
    assert model.item() == 1.5 - (-2.0)


def test_scores_of_zero_give_twice_log_two_and_a_hinge_of_one_for_each_score() -> None:
    one, three = torch.zeros(5, 1), torch.zeros(5, 3)
    assert [loss.item() for loss in cross_entropy_losses(one, one)] == pytest.approx([2 * math.log(2)] * 2)
    assert [loss.item() for loss in hinge_losses(three, three)] == [6.0, 0.0]


def test_the_model_gains_where_the_discriminator_loses() -> None:
    for losses in (cross_entropy_losses, hinge_losses):
        high, low = torch.ones(4, 1), -torch.ones(4, 1)
        assert losses(high, low)[0] < losses(low, high)[0]
        assert losses(high, low)[1] > losses(low, high)[1]


@pytest.mark.parametrize("unary", [False, True])
def test_the_losses_are_those_of_both_kinds_of_pairs_one_by_one(
    make: Make, data: DataSpec, batch: Batch, unary: bool
) -> None:
    method = make(BiGAN, data, unary=unary, noise=0.3, **SIZES)
    views = method.make_views(batch, torch.Generator().manual_seed(1))
    assert views.images is batch.inputs
    latents, made = method.head(method.encoder(views.images)), method.generator(views.latents)
    encoder_scores, generator_scores = [], []
    for i in range(12):  # the discriminator reads one pair at a time; batch norm of the others needs all
        noisy = views.images[i] + 0.3 * views.noise[0, i], made[i] + 0.3 * views.noise[1, i]
        encoder_scores.append(method.discriminator(noisy[0][None], latents[i][None])[0])
        generator_scores.append(method.discriminator(noisy[1][None], views.latents[i][None])[0])
    formula = hinge_losses if unary else cross_entropy_losses
    losses = formula(torch.stack(encoder_scores), torch.stack(generator_scores))
    for expected, player in zip(losses, ("discriminator", "model"), strict=True):
        assert method(views, player).total.item() == pytest.approx(expected.item(), rel=1e-4)
    right = sum((s > 0).sum() for s in encoder_scores) + sum((s < 0).sum() for s in generator_scores)
    expected_right = int(right) / (24 * (3 if unary else 1))
    assert method(views, "model").parts["told_apart"].item() == pytest.approx(expected_right)


def test_a_pair_of_the_discriminator_has_one_score_or_three_of_which_two_read_one_side_only(data: DataSpec) -> None:
    images, latents = torch.rand(5, 1, 8, 8), torch.randn(5, 6)
    assert Discriminator(data, 6, 4, 8, unary=False)(images, latents).shape == (5, 1)
    discriminator = Discriminator(data, 6, 4, 8, unary=True)
    before = discriminator(images, latents)
    other_image, other_latent = discriminator(1 - images, latents), discriminator(images, -latents)
    assert before.shape == (5, 3)
    assert (before != other_image).any(0).tolist() == [True, True, False]
    assert (before != other_latent).any(0).tolist() == [True, False, True]


def test_each_player_moves_its_own_networks_and_the_model_gets_a_gradient_in_all_of_them(
    make: Make, data: DataSpec, views: BiGANViews
) -> None:
    method = make(BiGAN, data, **SIZES)
    discriminator, model = method.players()
    owned = {id(p) for player in (discriminator, model) for p in player.parameters}
    assert owned == {id(p) for p in method.parameters()}
    method(views, "discriminator").total.backward()
    assert all(p.grad is not None for p in discriminator.parameters)
    assert all(p.grad is None for p in model.parameters)
    before = copy.deepcopy(method.discriminator.state_dict())
    step(method, views, model, torch.optim.SGD(model.parameters, 0.1))
    for network in (method.encoder, method.head, method.generator):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters() if p.ndim > 1)
    assert all(torch.equal(value, method.discriminator.state_dict()[name]) for name, value in before.items())


def test_pairs_in_another_order_have_the_same_losses(make: Make, data: DataSpec, views: BiGANViews) -> None:
    method, order = make(BiGAN, data, **SIZES), torch.randperm(12, generator=torch.Generator().manual_seed(4))
    shuffled = BiGANViews(views.images[order], views.latents[order.flip(0)], None)
    for player in ("discriminator", "model"):
        assert method(shuffled, player).total.item() == pytest.approx(method(views, player).total.item(), rel=1e-4)


@pytest.mark.parametrize("unary", [False, True])
def test_a_discriminator_of_frozen_networks_learns_to_tell_the_pairs_apart(
    make: Make, data: DataSpec, digits: Tensor, unary: bool
) -> None:
    method = make(BiGAN, data, unary=unary, **SIZES).eval()
    player, optimizer = optimizers(method, 3e-3)["discriminator"]
    rng = torch.Generator().manual_seed(0)
    told = [
        step(method, method.make_views(Batch(digits[k : k + 64], torch.arange(64)), rng), player, optimizer)
        for _ in range(6)
        for k in range(0, 640, 64)
    ]
    assert told[0] < 0.8
    assert told[-1] > 0.95


@pytest.mark.parametrize(("unary", "rate"), [(False, 5e-3), (True, 2e-3)])
def test_encoder_and_generator_become_inverse_to_each_other(
    make: Make, data: DataSpec, unary: bool, rate: float
) -> None:
    """Images are plain, of any brightness: one latent is enough to tell it, and the game says no word of an error."""
    method = make(BiGAN, data, latent_dim=1, width=8, units=32, unary=unary)
    rng = torch.Generator().manual_seed(0)
    moved = optimizers(method, rate)
    for _ in range(300):
        images = torch.rand(32, 1, 1, 1, generator=rng).expand(32, 1, 8, 8)
        views = method.make_views(Batch(images, torch.arange(32)), rng)
        for player, optimizer in moved.values():
            step(method, views, player, optimizer)
    method.eval()
    levels = torch.linspace(0.05, 0.95, 64)
    with torch.no_grad():
        again = method.decode(method.embed(levels[:, None, None, None].expand(64, 1, 8, 8))["latent"]).mean((1, 2, 3))
    assert torch.corrcoef(torch.stack([again, levels]))[0, 1] > 0.9
    assert (again - levels).abs().mean() < 0.17  # .25 for a generator that gives one brightness always


def test_all_randomness_is_in_the_views_and_latents_follow_the_normal_prior(
    make: Make, data: DataSpec, batch: Batch, rng: torch.Generator
) -> None:
    method = make(BiGAN, data, **{**SIZES, "latent_dim": 2000})
    first, second = (method.make_views(batch, rng) for _ in range(2))
    assert first.noise is None
    assert not torch.equal(first.latents, second.latents)
    assert first.latents.mean().item() == pytest.approx(0, abs=0.03)
    assert first.latents.std().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(method(first).total, method(first).total)


@torch.no_grad()
def test_images_are_decoded_and_sampled_in_the_shape_of_the_data(make: Make, rng: torch.Generator) -> None:
    data = DataSpec(shape=(3, 9, 17), splits={"train": 4})
    method = make(BiGAN, data, **SIZES).eval()
    assert issubclass(BiGAN, Generative)
    images = torch.rand(4, 3, 9, 17)
    embeddings = method.embed(images)
    assert {name: tuple(rows.shape) for name, rows in embeddings.items()} == {"features": (4, 16), "latent": (4, 6)}
    decoded = method.decode(embeddings["latent"])
    assert decoded.shape == images.shape
    assert 0 <= decoded.min() <= decoded.max() <= 1
    assert method.sample(5, rng).shape == (5, 3, 9, 17)
    alike = method.sample(5, rng, like=embeddings["latent"][:1].expand(3, 6))  # a Gaussian without variance
    assert torch.allclose(alike, decoded[:1].expand(5, -1, -1, -1), atol=1e-5)


@pytest.mark.parametrize("unary", [False, True])
def test_the_outlier_score_is_the_weighted_sum_of_error_and_doubt_and_each_image_has_its_own(
    make: Make, data: DataSpec, images: Tensor, unary: bool
) -> None:
    method = make(BiGAN, data, unary=unary, **SIZES).eval()
    assert issubclass(BiGAN, OutlierScoring)
    scores = method.outlier_score(images[:5])
    for image, score in zip(images[:5], scores, strict=True):
        latent = method.embed(image[None])["latent"]
        error = (method.decode(latent)[0] - image).abs().sum().item()
        doubt = sum(math.log(1 + math.exp(-s)) for s in method.discriminator(image[None], latent)[0].tolist())
        assert score.item() == pytest.approx(0.9 * error + 0.1 * doubt, rel=1e-4)
    assert torch.allclose(method.outlier_score(images[:5].flip(0)), scores.flip(0), atol=1e-4)


def test_the_variant_unary_has_three_scores(make: Make, data: DataSpec) -> None:
    settings = BiGAN.variants["unary"].config
    assert len(make(BiGAN, data, **{**SIZES, **settings}).discriminator.unary) == 2
    assert len(make(BiGAN, data, **SIZES).discriminator.unary) == 0


def test_data_that_are_no_images_of_eight_pixels_are_skipped_with_a_reason() -> None:
    splits = {"train": 4}
    reason = BiGAN.skip_reason(DataSpec(shape=(1, 6, 8), splits=splits), BiGANConfig())
    assert reason == "needs images of at least 8 x 8 pixels, these have 6 x 8"
    assert BiGAN.skip_reason(DataSpec(shape=(7,), splits=splits), BiGANConfig()) is not None
    assert BiGAN.skip_reason(DataSpec(shape=(3, 8, 8), splits=splits), BiGANConfig()) is None


@pytest.mark.parametrize(("name", "value"), [("latent_dim", 0), ("noise", -0.1), ("width", 0), ("units", 0)])
def test_parameters_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be >= "):
        BiGANConfig(**{name: value})  # type: ignore[arg-type]  # the wrong value is the test
