"""Losses of the players, against formulas written slowly; who moves what; samples; MINE; batch norm after training."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, EpochContext, Generative, Recipe, Sampling
from bench_core.conformance.tiny_encoders import TinyVectorEncoder
from bench_core.nn.adversarial import discriminator_loss
from bench_core.training.players import make_player_optimizers, train_step
from bench_methods.gan.objective import GAN, GANConfig, GANViews

VECTORS = DataSpec(shape=(2,), splits={"train": 64, "test": 8}, num_classes=2)
SMALL = {"latent_dim": 4, "units": 16, "width": 4}
MINE = {**SMALL, "information_weight": 1.0, "code_dim": 2}
RECIPE = Recipe(optimizer="adam", learning_rate=5e-3, momentum=0.5)


def of_vectors(**values: Any) -> GAN:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return GAN(TinyVectorEncoder(VECTORS, TinyVectorEncoder.Config()), VECTORS, GANConfig(**{**SMALL, **values}))


def points(n: int = 32, seed: int = 3) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    return Batch(0.7 + 0.1 * torch.randn(n, 2, generator=rng), torch.arange(n))


def train(method: GAN, steps: int, only: str | None = None) -> None:
    """Train the players on new points at each step, or only one of them."""
    trainers = [make_player_optimizers(player, RECIPE) for player in method.players() if only in (None, player.name)]
    rng, no_autocast = torch.Generator().manual_seed(4), torch.autocast("cpu", enabled=False)
    for step in range(steps):
        train_step(method.train(), trainers, points(64, seed=step), rng, no_autocast)


def test_losses_are_those_of_the_paper(rng: torch.Generator) -> None:
    method, batch = of_vectors(), points(5)
    views = method.make_views(batch, rng)
    both = views.items, method.generator(views.latents)
    chances = [torch.sigmoid(method.logit(method.encoder(x))).detach() for x in both]
    slow = -sum(math.log(float(real)) for real in chances[0]) / 5
    slow -= sum(math.log(1 - float(fake)) for fake in chances[1]) / 5
    assert float(method(views, "discriminator").total.detach()) == pytest.approx(slow, rel=1e-5)
    fooling = -sum(math.log(float(fake)) for fake in chances[1]) / 5
    assert float(method(views, "generator").total.detach()) == pytest.approx(fooling, rel=1e-5)


def test_discriminator_that_tells_nothing_has_the_loss_2_log_2(rng: torch.Generator) -> None:
    method = of_vectors()
    nn.init.zeros_(method.logit.weight)
    nn.init.zeros_(method.logit.bias)
    views = method.make_views(points(), rng)
    assert float(method(views, "discriminator").total.detach()) == pytest.approx(2 * math.log(2))
    assert float(method(views, "generator").total.detach()) == pytest.approx(math.log(2))


def test_gradient_penalty_is_added_with_its_weight(rng: torch.Generator) -> None:
    method = of_vectors(gradient_penalty=0.3)
    views = method.make_views(points(), rng)
    cross_entropy, penalty = discriminator_loss(method.discriminator, views.items, method.generator(views.latents))
    loss = method(views, "discriminator")
    assert float(loss.total.detach()) == pytest.approx(float((cross_entropy + 0.3 * penalty).detach()))
    plain = of_vectors()(views, "discriminator")
    assert float(plain.total.detach()) == pytest.approx(float(loss.parts["cross_entropy"].detach()))


@pytest.mark.parametrize("config", [SMALL, MINE, {**MINE, "gradient_penalty": 1.0}])
@pytest.mark.parametrize("kind", ["vector", "image"])
def test_each_player_moves_its_own_networks_only(
    config: dict[str, Any], kind: str, make: Callable[..., GAN], data: DataSpec, images: Tensor
) -> None:
    method = of_vectors(**config) if kind == "vector" else make(GAN, data, **config)
    batch = points() if kind == "vector" else Batch(images[:12], torch.arange(12))
    parts = {"discriminator": ["encoder", "logit"], "generator": ["generator"]}
    if "information_weight" in config:
        parts["information"] = ["statistics"]
    assert {player.name for player in method.players()} == set(parts)
    for player in method.players():
        before = copy.deepcopy(dict(method.named_parameters()))
        rng, no_autocast = torch.Generator().manual_seed(4), torch.autocast("cpu", enabled=False)
        train_step(method.train(), [make_player_optimizers(player, RECIPE)], batch, rng, no_autocast)
        moved = {
            name.split(".")[0] for name, value in method.named_parameters() if not torch.equal(value, before[name])
        }
        assert moved == set(parts[player.name])


def test_generated_images_have_the_range_of_real_ones_and_generated_vectors_any(
    make: Callable[..., GAN], data: DataSpec
) -> None:
    method = make(GAN, data, **SMALL)
    for layer in method.generator.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=3.0)
    sampled = method.eval().sample(50, torch.Generator().manual_seed(0))
    assert sampled.shape == (50, 1, 8, 8)
    assert 0 <= float(sampled.min()) < 0.01
    assert 0.99 < float(sampled.max()) <= 1
    vectors = of_vectors()
    nn.init.constant_(list(vectors.generator.parameters())[-1], 5.0)
    assert float(vectors.sample(50, torch.Generator().manual_seed(0)).min()) > 1


def test_a_seed_gives_the_same_samples_and_the_global_generator_stays(rng: torch.Generator) -> None:
    method, state = of_vectors().eval(), torch.get_rng_state()
    first, second = (method.sample(9, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (9, 2)
    assert not first.requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_it_samples_but_does_not_decode() -> None:
    assert issubclass(GAN, Sampling)
    assert not issubclass(GAN, Generative)


def test_generators_gradient_of_mine_is_shortened_to_that_of_the_game(rng: torch.Generator) -> None:
    method = of_vectors(**{**MINE, "information_weight": 1000.0})
    views = method.make_views(points(), rng)
    parameters = list(method.generator.parameters())

    def gradient(loss: Tensor) -> Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])

    assert method.statistics is not None
    game = gradient(of_loss(method, views))
    joint = method.statistics(generated := method.generator(views.latents), views.latents[:, :2])
    product = method.statistics(generated, views.latents[:, :2].roll(1, 0))
    information = gradient(joint.mean() - product.logsumexp(0) + math.log(len(product)))
    loss = method(views, "generator")
    expected = game - game.norm() * information / information.norm()
    assert torch.allclose(gradient(loss.total), expected, atol=1e-5)
    assert 0 < float(loss.parts["information_share"]) < 1


def of_loss(method: GAN, views: GANViews) -> Tensor:
    """Return the generator's loss without information, written slowly."""
    return F.softplus(-method.logit(method.encoder(method.generator(views.latents)))).mean()


def test_information_is_found_where_items_depend_on_the_code_and_0_where_they_do_not() -> None:
    found = []
    for reads_code in (True, False):
        method = of_vectors(**MINE)
        first = next(layer for layer in method.generator if isinstance(layer, nn.Linear))
        with torch.no_grad():
            first.weight[:, 2 if reads_code else 0 : 4 if reads_code else 2] = 0
        train(method, 150, only="information")
        with torch.no_grad():
            values = [
                method(method.make_views(points(500), torch.Generator().manual_seed(seed)), "information")
                for seed in range(5)
            ]
        found.append(sum(float(value.parts["information"]) for value in values) / 5)
    assert found[0] > 0.3
    assert abs(found[1]) < 0.05


def test_zero_scores_of_mine_are_no_information(rng: torch.Generator) -> None:
    method = of_vectors(**MINE)
    assert method.statistics is not None
    for parameter in method.statistics.parameters():
        nn.init.zeros_(parameter)
    assert float(method(method.make_views(points(), rng), "information").parts["information"].detach()) == 0


def test_average_of_mine_is_saved_and_moves_only_in_its_own_turn(rng: torch.Generator) -> None:
    method = of_vectors(**MINE)
    views = method.make_views(points(), rng)
    method(views, "discriminator")
    method(views, "generator")
    assert method.state_dict()["log_average"].isneginf()
    train(method, 3)
    average = method.state_dict()["log_average"]
    assert average.isfinite()
    loaded = of_vectors(**MINE)
    loaded.load_state_dict(method.state_dict())
    for player in ("generator", "discriminator", "information"):
        assert torch.equal(loaded(views, player).total, method(views, player).total)
    assert "log_average" not in of_vectors().state_dict()


def test_features_use_batch_norm_statistics_of_real_items_alone(
    make: Callable[..., GAN], data: DataSpec, images: Tensor, make_context: Callable[..., EpochContext]
) -> None:
    method = make(GAN, data, **SMALL)
    views = method.make_views(Batch(images[:12], torch.arange(12)), torch.Generator().manual_seed(0))
    norm = next(layer for layer in method.encoder.modules() if isinstance(layer, nn.BatchNorm1d))
    for player in ("discriminator", "generator"):
        method.train()(views, player)
    method.after_training(make_context(images, batch_size=48))
    layers: Any = method.encoder.layers
    inputs = layers[:2](images - 0.5)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert torch.allclose(norm.running_mean, inputs.mean(0), atol=1e-5)
    variance = (inputs[:48].var(0) + inputs[48:].var(0)) / 2
    assert torch.allclose(norm.running_var, variance, atol=1e-5)


def test_points_are_learned() -> None:
    method = of_vectors(units=32)
    rng = torch.Generator().manual_seed(0)
    before = (method.sample(200, rng).mean(0) - 0.7).norm()
    train(method, 250)
    after = (method.eval().sample(200, rng).mean(0) - 0.7).norm()
    assert float(after) < 0.2 < float(before)


def test_losses_of_a_few_steps_are_golden(rng: torch.Generator) -> None:
    method = of_vectors(**MINE, gradient_penalty=0.5)
    train(method, 3)
    views = method.make_views(points(), rng)
    losses = {player: float(method(views, player).total.detach()) for player in ("discriminator", "generator")}
    assert losses == {"discriminator": pytest.approx(1.41662, abs=1e-4), "generator": pytest.approx(0.90621, abs=1e-4)}


def test_skip_reasons(data: DataSpec) -> None:
    config = GANConfig()
    assert GAN.skip_reason(data, config) is None
    assert GAN.skip_reason(VECTORS, config) is None
    assert "at least 8 x 8" in str(GAN.skip_reason(DataSpec(shape=(1, 7, 9), splits={"train": 9}), config))
    nodes = DataSpec(shape=(5,), splits={"train": 9}, kind="nodes")
    assert GAN.skip_reason(nodes, config) == "generates images or vectors; this data is nodes"


def test_a_code_longer_than_the_latent_is_refused() -> None:
    with pytest.raises(ValueError, match="code_dim must be <= latent_dim, got 3 and 2"):
        GANConfig(latent_dim=2, information_weight=1.0)
    assert GANConfig(latent_dim=2).code_dim == 3, "it is not used without information"


def test_mine_refuses_a_batch_of_one(rng: torch.Generator) -> None:
    method = of_vectors(**MINE)
    with pytest.raises(ValueError, match="gan:mine needs at least 2 items in a batch, got 1"):
        method(method.make_views(points(1), rng), "information")
