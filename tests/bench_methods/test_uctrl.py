import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, Clustering, DataSpec, Generative, Recipe, Split
from bench_core.data import open_split
from bench_core.nn.coding_rate import (
    coding_rate,
    pair_distance,
    rate_ceiling,
    rate_floor,
    set_distance,
)
from bench_core.training.optimizers import make_optimizer
from bench_core.training.players import PlayerOptimizers
from bench_core.training.pretrain import pretrain
from bench_methods.uctrl import UCTRL, UCTRLConfig, UCTRLViews, pair_loss

DIGITS = DataSpec(shape=(1, 8, 8), splits={"train": 640}, num_classes=10, views="glyph")
SMALL = {"latent_dim": 16, "width": 8, "lambda_aug": 8.0, "lambda_cons": 8.0}
OFF = torch.autocast("cpu", enabled=False)


def train(method: UCTRL, images: Tensor, log: Path, epochs: int) -> tuple[dict[str, float], list[str]]:
    """Train in the loop of all methods; return the last line of the log, and the warnings."""
    recipe = Recipe(
        optimizer="adam", learning_rate=1e-3, momentum=0.5, schedule="linear", epochs=epochs, batch_size=160
    )
    source = open_split(Split((images * 255).byte()), torch.device("cpu"))
    cost = pretrain(method, source, recipe, seed=0, device=torch.device("cpu"), precision="fp32", log=log)
    line = json.loads(log.read_text().splitlines()[epochs - 1])
    return line, cost["warnings"]


def optimizers_of(method: UCTRL) -> dict[str, PlayerOptimizers]:
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, momentum=0.5)
    return {p.name: PlayerOptimizers(p, [(recipe, make_optimizer(p.parameters, recipe))]) for p in method.players()}


def moved(before: dict[str, Tensor], method: UCTRL) -> set[str]:
    return {name for name, p in method.named_parameters() if not torch.equal(before[name], p)}


@pytest.mark.parametrize("constraint", ["cosine", "rate"])
def test_the_losses_equal_the_relaxed_program_of_both_players(make: Any, data: DataSpec, constraint: str) -> None:
    method = make(UCTRL, data, latent_dim=6, width=4, constraint=constraint, lambda_aug=3.0, lambda_cons=5.0).eval()
    images = torch.rand(2, 20, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    views = UCTRLViews(images[0], images[1])
    z, a = (method.embed(x)["latent"] for x in images)
    z_hat = method.embed(method.decode(z))["latent"]
    pairs = []
    for w in (a, z_hat):
        rows = [set_distance(z[i : i + 1], w[i : i + 1], 0.2) for i in range(20)]
        rows = [1 - z[i] @ w[i] for i in range(20)] if constraint == "cosine" else rows
        pairs.append(sum(rows, torch.zeros(())) / 20)
    gain = coding_rate(z, 0.2) + set_distance(z, z_hat, 0.2)
    assert torch.allclose(method(views, "encoder").total, 3 * pairs[0] + 5 * pairs[1] - gain, atol=1e-4)
    loss = method(views, "decoder").total
    assert torch.allclose(loss, set_distance(z, z_hat, 0.2) + 5 * pairs[1], atol=1e-4)


def test_logged_parts_add_up_to_the_loss(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(UCTRL, data, latent_dim=6, width=4).eval()
    views = method.make_views(batch, rng)
    loss = method(views, "encoder")
    parts = {name: float(value.detach()) for name, value in loss.parts.items()}
    total = 20 * (1 - parts["cosine_augmented"]) + 2 * (1 - parts["cosine_decoded"])
    assert float(loss.total.detach()) == pytest.approx(total - parts["rate"] - parts["set_distance"], abs=1e-4)
    assert loss.ceilings == {"rate": rate_ceiling(12, 6, 0.2)}
    assert loss.floors == {"rate": rate_floor(12, 6, 0.2)}
    assert set(method(views, "decoder").parts) == {"set_distance", "cosine_decoded", "pixel_error", "pixel_r2"}


def test_equal_pairs_have_no_loss_and_only_the_cosine_depends_on_the_sign() -> None:
    z = torch.nn.functional.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    assert float(pair_loss(z, z, 0.2, "cosine")) == pytest.approx(0, abs=1e-6)
    assert float(pair_loss(z, -z, 0.2, "cosine")) == pytest.approx(2)
    assert float(pair_loss(z, -z, 0.2, "rate")) == pytest.approx(0, abs=1e-4)
    assert float(pair_loss(z, z.roll(1, 0), 0.2, "rate")) == pytest.approx(
        float(pair_distance(z, z.roll(1, 0), 0.2).mean())
    )


def test_views_are_the_plain_image_and_an_augmented_one(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    views = make(UCTRL, data).make_views(batch, rng)
    assert torch.equal(views.images, batch.inputs)
    assert views.augmented.shape == batch.inputs.shape
    assert not torch.equal(views.augmented, batch.inputs)


def test_a_step_of_a_player_moves_its_own_parameters_only(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(UCTRL, data, **SMALL)
    views = method.make_views(batch, rng)
    names = {name for name, _ in method.named_parameters() if not name.startswith("memberships")}
    eta = {name for name in names if name.startswith("loop.decoder")}
    for player, expected in (("encoder", names - eta), ("decoder", eta)):
        before = {name: p.detach().clone() for name, p in method.named_parameters()}
        optimizers_of(method)[player].step(method, views, OFF)
        assert moved(before, method) <= expected
        assert len(moved(before, method)) >= len(expected) - 1  # a bias before batch norm has no gradient


def test_encoder_steps_are_the_steps_of_its_player(make: Any, data: DataSpec) -> None:
    assert [p.steps for p in make(UCTRL, data, encoder_steps=2).players()] == [2, 1]


def test_without_constraints_the_encoder_raises_the_rate(make: Any, digits: Tensor, rng: Any) -> None:
    method = make(UCTRL, DIGITS, latent_dim=16, width=4, lambda_aug=0.0, lambda_cons=0.0)
    views, encoder = UCTRLViews(digits[:200], digits[:200]), optimizers_of(method)["encoder"]
    rates = [float(encoder.step(method, views, OFF).parts["rate"].detach()) for _ in range(21)]
    assert rates[1] > rates[0]
    assert rates[20] > rates[0] + 1


def test_training_brings_copies_close_and_spreads_latents(make: Any, digits: Tensor, tmp_path: Path) -> None:
    method = make(UCTRL, DIGITS, **SMALL)
    line, warnings = train(method, digits, tmp_path / "log", epochs=30)
    assert line["encoder.rate"] > 0.8 * rate_ceiling(160, 16, 0.2)
    assert line["encoder.cosine_decoded"] > 0.9
    assert line["encoder.cosine_augmented"] > 0.5
    # After 120 steps the copies agree in latents and not yet in pixels, and the log says so.
    assert line["decoder.pixel_r2"] < line["decoder.pixel_r2_below_floor"] == 0
    assert len(warnings) == 1
    assert "decoder.pixel_r2" in warnings[0]
    assert "the mean image is a better copy" in warnings[0]
    after = json.loads((tmp_path / "log").read_text().splitlines()[-1])["after_training"]
    assert after["cluster_reduction"] > 1
    assert after["smallest_cluster"] <= 64 <= after["largest_cluster"]


def test_constraints_that_outweigh_the_rate_are_logged_as_a_collapse(make: Any, digits: Tensor, tmp_path: Path) -> None:
    method = make(UCTRL, DIGITS, **(SMALL | {"lambda_aug": 1000.0, "lambda_cons": 1000.0, "clusters": 1}))
    line, warnings = train(method, digits, tmp_path / "log", epochs=30)
    assert line["encoder.rate"] < line["encoder.rate_below_floor"] == rate_floor(160, 16, 0.2)
    assert any("encoder.rate" in text and "collapsed" in text for text in warnings)


def test_a_batch_smaller_than_the_latents_gives_a_warning(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    for latent_dim, warnings in ((12, 0), (13, 1)):
        method = make(UCTRL, data, latent_dim=latent_dim, width=4)
        assert len(method(method.make_views(batch, rng), "encoder").warnings) == warnings


def test_it_embeds_decodes_samples_and_assigns(make: Any, data: DataSpec, images: Tensor, make_context: Any) -> None:
    method = make(UCTRL, data, latent_dim=6, width=4, clusters=3)
    assert issubclass(UCTRL, Generative)
    assert issubclass(UCTRL, Clustering)
    numbers = method.after_training(make_context(images))
    assert set(numbers) == {"cluster_reduction", "smallest_cluster", "largest_cluster"}
    method.eval()
    embedded = method.embed(images)
    assert torch.equal(embedded["features"], method.encoder(images))
    assert torch.allclose(embedded["latent"].norm(dim=1), torch.ones(96))
    assert method.decode(embedded["latent"]).shape == images.shape
    assert method.sample(5, torch.Generator(), like=embedded["latent"][:4]).shape == (5, 1, 8, 8)
    clusters = method.assign(images)
    assert clusters.shape == (1, 96)
    assert int(torch.bincount(clusters[0], minlength=3).min()) == numbers["smallest_cluster"]
    loaded = make(UCTRL, data, seed=1, latent_dim=6, width=4, clusters=3).eval()
    loaded.load_state_dict(method.state_dict())
    assert torch.equal(loaded.assign(images), clusters)
    assert torch.equal(loaded.sample(3, torch.Generator()), method.sample(3, torch.Generator()))


def test_the_variant_rate_compares_pairs_by_their_rate() -> None:
    assert UCTRLConfig(**UCTRL.variants["rate"].config).constraint == "rate"


@pytest.mark.parametrize(
    "values",
    [
        {"latent_dim": 1},
        {"eps2": 0.0},
        {"lambda_aug": -1.0},
        {"lambda_cons": float("nan")},
        {"width": 0},
        {"encoder_steps": 0},
        {"clusters": 0},
    ],
)
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        UCTRLConfig(**values)


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"augmentation must be one of 'simclr', .*, got 'zz'"):
        UCTRLConfig(augmentation="zz")


def test_data_that_the_decoder_cannot_make_are_skipped() -> None:
    assert UCTRL.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), UCTRLConfig()) is not None
    assert UCTRL.skip_reason(DataSpec(shape=(1, 7, 7), splits={"train": 5}), UCTRLConfig()) is not None
    assert UCTRL.skip_reason(DIGITS, UCTRLConfig()) is None
