"""Deep InfoMax: its terms, the gradients of its players, and the warnings for permuted pairs and a constant summary."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec
from bench_core.config import build
from bench_core.conformance.toys import TinyEncoder
from bench_core.errors import ConfigError
from bench_core.nn.adversarial import discriminator_loss, fooling_loss
from bench_core.nn.mutual_information import location_nce
from bench_encoders.dim_conv import DIMConv, DIMConvConfig
from bench_methods.dim.critics import ConcatCritic, DotCritic
from bench_methods.dim.local_information import local_dv, local_jsd, told_apart
from bench_methods.dim.local_maps import choose_map, rows
from bench_methods.dim.objective import DIM, DIMConfig, DIMViews

LOCAL: dict[str, float] = {"alpha": 0, "beta": 1, "gamma": 0}


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def dim(data: DataSpec) -> Callable[..., DIM]:
    """Function that builds Deep InfoMax on two convolutions: local map `first` (8, 4, 4), and `second` (12, 4, 4)."""

    def make(**values: Any) -> DIM:
        return DIM(TinyEncoder(data), data, DIMConfig(**{"units": 64, "output_dim": 6, **values}))

    return make


@pytest.fixture
def trained(data: DataSpec, digits: Tensor) -> Callable[..., list[dict[str, float]]]:
    """Train Deep InfoMax on digits with a narrow `dim_conv`, and return its log."""

    def run(steps: int, n: int, permute: bool = False, **values: Any) -> list[dict[str, float]]:
        encoder = DIMConv(data, DIMConvConfig(width=0.25, fc=64))
        return train(DIM(encoder, data, DIMConfig(**{"units": 64, **values})), digits[:n], steps, permute)

    return run


def views_of(method: DIM, batch: Batch, seed: int = 7) -> DIMViews:
    return method.make_views(batch, torch.Generator().manual_seed(seed))


def test_the_loss_is_the_weighted_sum_of_its_terms(dim: Callable[..., DIM], batch: Batch) -> None:
    method = dim(alpha=0.5, beta=0.1, gamma=0.3).eval()
    views = views_of(method, batch)
    y = method.summary(method.encoder(batch.inputs))
    first = method.encoder.maps(batch.inputs)["first"]
    whole = local_jsd(method.critics["global"](y, first.flatten(1)[:, None]))
    places = local_jsd(method.critics["local"](y, rows(first)))
    assert method.discriminator is not None
    prior = fooling_loss(method.discriminator, torch.sigmoid(y))
    loss = method(views)
    assert loss.total.item() == pytest.approx((-0.5 * whole - 0.1 * places + 0.3 * prior).item(), rel=1e-5)
    assert loss.parts["global_jsd"].item() == pytest.approx(whole.item(), rel=1e-5)
    assert loss.parts["local_jsd"].item() == pytest.approx(places.item(), rel=1e-5)
    assert loss.parts["prior_std"].item() == pytest.approx(torch.sigmoid(y).std(0).mean().item(), rel=1e-5)


def test_the_prior_player_minimises_the_discriminators_loss(dim: Callable[..., DIM], batch: Batch) -> None:
    method = dim().eval()
    views = views_of(method, batch)
    assert method.discriminator is not None
    fake = torch.sigmoid(method.summary(method.encoder(batch.inputs)))
    cross_entropy, penalty = discriminator_loss(method.discriminator, views.prior, fake)
    loss = method(views, "prior")
    assert loss.total.item() == pytest.approx((cross_entropy + penalty).item())
    assert loss.parts["cross_entropy"].item() == pytest.approx(cross_entropy.item())
    widths = [m.out_features for m in method.discriminator if isinstance(m, torch.nn.Linear)]
    assert widths == [1000, 200, 1]


@pytest.mark.parametrize(
    ("estimator", "of", "divisor", "ceiling"),
    [
        ("jsd", local_jsd, 1.0, 2 * math.log(2)),
        ("nce", location_nce, 8.0, math.log(1 + 11 * 5)),
        ("dv", local_dv, 8.0, math.inf),
    ],
)
def test_estimators_have_their_name_ceiling_and_scale(
    dim: Callable[..., DIM],
    batch: Batch,
    estimator: str,
    of: Callable[[Tensor], Tensor],
    divisor: float,
    ceiling: float,
) -> None:
    method = dim(**LOCAL, estimator=estimator, locations=5).eval()
    views = views_of(method, batch)
    y = method.summary(method.encoder(batch.inputs))
    critic = method.critics["local"]
    assert isinstance(critic, DotCritic)
    assert critic.divisor == divisor  # sqrt(64 units)
    scores = critic(y, rows(method.encoder.maps(batch.inputs)["first"], views.locations))
    loss = method(views)
    assert loss.total.item() == pytest.approx(-of(scores).item(), rel=1e-4)
    assert loss.ceilings == {f"local_{estimator}": pytest.approx(ceiling)}
    assert loss.parts["local_told_apart"].item() == pytest.approx(told_apart(scores).item())


def test_a_term_of_weight_zero_has_no_network(dim: Callable[..., DIM], batch: Batch) -> None:
    method = dim(**LOCAL)
    assert list(method.critics) == ["local"]
    assert method.discriminator is None
    assert [player.name for player in method.players()] == ["main"]
    assert set(method(views_of(method, batch)).parts) == {"local_jsd", "local_told_apart"}
    assert list(dim(alpha=1, beta=0, gamma=1).critics) == ["global"]


def test_the_players_share_no_parameter_and_leave_none_out(dim: Callable[..., DIM]) -> None:
    method = dim(alpha=1)
    main, prior = method.players()
    assert (main.name, prior.name) == ("main", "prior")
    owned = [id(p) for player in (main, prior) for p in player.parameters]
    assert len(owned) == len(set(owned)) == len(list(method.parameters()))
    assert method.discriminator is not None
    assert {id(p) for p in prior.parameters} == {id(p) for p in method.discriminator.parameters()}


@pytest.mark.parametrize("player", ["main", "prior"])
def test_batch_norm_sees_a_batch_once_for_each_player(data: DataSpec, batch: Batch, player: str) -> None:
    method = DIM(DIMConv(data, DIMConvConfig(width=0.25, fc=16)), data, DIMConfig(alpha=1, units=64, output_dim=6))
    views = views_of(method, batch)
    method(views, player)
    assert method.encoder.get_submodule("convs.conv1.1").num_batches_tracked == 1
    with torch.no_grad():
        method.embed(batch.inputs)
    assert method.encoder.get_submodule("convs.conv1.1").num_batches_tracked == 2


def test_the_prior_player_sends_no_gradient_to_the_encoder(dim: Callable[..., DIM], batch: Batch) -> None:
    method = dim()
    torch.autograd.backward(method(views_of(method, batch), "prior").total)
    got = {name.partition(".")[0] for name, p in method.named_parameters() if p.grad is not None}
    assert got == {"discriminator"}


def test_the_main_player_moves_encoder_summary_and_critics(dim: Callable[..., DIM], batch: Batch) -> None:
    method = dim(alpha=1)
    main = method.players()[0]
    torch.autograd.backward(method(views_of(method, batch)).total, inputs=list(main.parameters))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in main.parameters)
    assert method.discriminator is not None
    assert all(p.grad is None for p in method.discriminator.parameters())


def test_the_local_estimate_reaches_the_first_convolution_by_both_branches(
    dim: Callable[..., DIM], batch: Batch
) -> None:
    method = dim(**LOCAL)
    y, places = method.summary(method.encoder(batch.inputs)), rows(method.encoder.maps(batch.inputs)["first"])
    first = next(method.encoder.parameters())
    for scores in (method.critics["local"](y, places.detach()), method.critics["local"](y.detach(), places)):
        (slope,) = torch.autograd.grad(local_jsd(scores), first, retain_graph=True)
        assert slope.abs().max() > 0


def test_the_prior_is_uniform_and_drawn_anew(dim: Callable[..., DIM], images: Tensor) -> None:
    method, rng = dim(locations=3), torch.Generator().manual_seed(0)
    first, second = (method.make_views(Batch(images, torch.arange(96)), rng) for _ in range(2))
    assert torch.equal(first.images, images)
    assert first.prior.shape == (96, 6)
    assert 0 <= first.prior.min() < 0.05 < 0.95 < first.prior.max() <= 1
    assert first.prior.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.02)
    assert first.locations is not None
    assert second.locations is not None
    assert first.locations.shape == (96, 3)
    assert not torch.equal(first.locations, second.locations)
    assert not torch.equal(first.prior, second.prior)


def test_the_concat_critic_is_built_for_both_estimates(dim: Callable[..., DIM], batch: Batch) -> None:
    method = dim(alpha=1, critic="concat", estimator="nce")
    assert all(isinstance(critic, ConcatCritic) for critic in method.critics.values())
    assert method(views_of(method, batch)).total.isfinite()


def test_bfloat16_changes_the_loss_by_rounding_only(dim: Callable[..., DIM], batch: Batch) -> None:
    method = dim(alpha=1).eval()
    views = views_of(method, batch)
    exact = method(views).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = method(views).total
    assert rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.1)


def train(method: DIM, images: Tensor, steps: int, permute: bool = False) -> list[dict[str, float]]:
    """Train both players on one batch; return the loss's parts at each step. `permute` takes maps of other images."""
    optimizers = {p.name: torch.optim.Adam(p.parameters, lr=2e-3) for p in method.players()}
    rng, log = torch.Generator().manual_seed(3), []
    if permute:
        both = method.encoder.features_and_maps

        def permuted(inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            features, maps = both(inputs)
            order = torch.randperm(len(inputs))
            return features, {name: local_map[order] for name, local_map in maps.items()}

        method.encoder.features_and_maps = permuted  # type: ignore[method-assign]  # of this object alone
    for _ in range(steps):
        views = method.make_views(Batch(images, torch.arange(len(images))), rng)
        parts: dict[str, float] = {}
        for player in method.players():
            loss = method(views, player.name)
            optimizers[player.name].zero_grad()
            torch.autograd.backward(loss.total, inputs=list(player.parameters))
            optimizers[player.name].step()
            parts |= {name: value.item() for name, value in loss.parts.items()}
        log.append(parts | {"floor": loss.floors.get("local_told_apart", 0.0)})
    return log


@pytest.mark.parametrize("estimator", ["jsd", "dv", "nce"])
def test_64_images_are_learned(trained: Callable[..., list[dict[str, float]]], estimator: str) -> None:
    log = trained(60, 64, **LOCAL, estimator=estimator, output_dim=16)
    first, last = log[0], log[-1]
    assert last[f"local_{estimator}"] > max(first[f"local_{estimator}"], 0) + 0.3
    assert last["local_told_apart"] > 0.8 > last["floor"] == 0.55


def test_permuted_pairs_fall_below_the_floor_and_give_no_information(
    trained: Callable[..., list[dict[str, float]]],
) -> None:
    log = trained(40, 64, permute=True, **LOCAL, estimator="nce", output_dim=16)[-20:]
    assert sum(parts["local_told_apart"] for parts in log) / 20 < 0.55
    assert sum(parts["local_nce"] for parts in log) / 20 < 0.01


def test_a_summary_that_has_collapsed_falls_below_the_floor(dim: Callable[..., DIM], batch: Batch) -> None:
    method = dim(**LOCAL)
    torch.nn.init.zeros_(method.summary.weight)
    loss = method(views_of(method, batch))
    assert loss.parts["local_told_apart"].item() == pytest.approx(0.5)
    assert loss.floors == {"local_told_apart": 0.55}


def test_the_prior_game_alone_makes_the_summary_uniform(trained: Callable[..., list[dict[str, float]]]) -> None:
    log = trained(60, 128, alpha=0, beta=0, gamma=1, output_dim=2)
    end = {name: sum(parts[name] for parts in log[-20:]) / 20 for name in log[0]}
    assert log[0]["prior_std"] < 0.2
    assert end["prior_std"] == pytest.approx(1 / math.sqrt(12), abs=0.03)
    assert end["cross_entropy"] == pytest.approx(2 * math.log(2), abs=0.02)


def test_embeddings_are_features_the_last_map_and_the_bare_summary(dim: Callable[..., DIM], images: Tensor) -> None:
    method = dim().eval()
    embedded = method.embed(images)
    features = method.encoder(images)
    assert set(embedded) == {"features", "conv", "fc", "y"}
    assert torch.equal(embedded["features"], features)
    assert torch.equal(embedded["conv"], method.encoder.maps(images)["second"].flatten(1))
    assert torch.equal(embedded["y"], method.summary(features))


def test_the_state_dict_restores_the_loss(dim: Callable[..., DIM], batch: Batch) -> None:
    method = dim()
    train(method, batch.inputs, steps=2)
    loaded = dim()
    loaded.load_state_dict(method.state_dict())
    views = views_of(method, batch)
    assert loaded.eval()(views).total.item() == method.eval()(views).total.item()


@pytest.mark.parametrize(
    ("shape", "name", "channels", "locations"),
    [((1, 28, 28), "conv2", 128, 49), ((3, 32, 32), "conv2", 128, 64), ((3, 64, 64), "conv3", 384, 225)],
)
def test_the_local_map_of_the_papers_encoders_is_the_papers(
    shape: tuple[int, ...], name: str, channels: int, locations: int
) -> None:
    data = DataSpec(shape=shape, splits={"train": 8})
    assert choose_map(DIMConv(data, DIMConvConfig(fc=4)), data) == (name, channels, locations)


def test_variants_are_configs_and_the_default_is_the_local_one() -> None:
    configs = {name: build(DIMConfig, variant.config, name) for name, variant in DIM.variants.items()}
    assert configs["local"] == DIMConfig()
    weights = {name: (c.alpha, c.beta, c.gamma) for name, c in configs.items()}
    assert weights == {
        "global": (1, 0, 1),
        "local": (0, 1, 0.1),
        "local_nce": (0, 1, 0.1),
        "local_global": (0.5, 0.1, 0.1),
    }
    assert all(a != b for a, b in itertools.combinations(map(dataclasses.astuple, configs.values()), 2))


def test_values_out_of_range_are_refused(dim: Callable[..., DIM]) -> None:
    with pytest.raises(ValueError, match=r"gamma must be >= 0, got -0\.1"):
        DIMConfig(gamma=-0.1)
    with pytest.raises(ValueError, match="must not all be 0"):
        DIMConfig(alpha=0, beta=0, gamma=0)
    with pytest.raises(ValueError, match="units must be >= 1, got 0"):
        DIMConfig(units=0)
    with pytest.raises(ConfigError, match="locations is 17, but map first has 16"):
        dim(locations=17)
    with pytest.raises(ConfigError, match="no map named 'third'"):
        dim(local_map="third")


def test_other_data_than_images_are_skipped() -> None:
    assert DIM.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), DIMConfig()) == "needs images"
