import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from bench_core import Batch, Clustering, DataSpec, Generative, Recipe, Split
from bench_core.data import open_split
from bench_core.nn.coding_rate import coding_rate, rate_ceiling, rate_floor, set_distance
from bench_core.nn.transcription import Transcribed
from bench_core.training.optimizers import make_optimizer
from bench_core.training.players import PlayerOptimizers
from bench_core.training.pretrain import pretrain
from bench_methods.ctrl import CTRL, CTRLConfig, CTRLMulti, _game, multi_class_value

DIGITS = DataSpec(shape=(1, 8, 8), splits={"train": 640}, num_classes=10, views="glyph")
OFF = torch.autocast("cpu", enabled=False)


def sphere(rows: int, dim: int, seed: int = 0) -> Tensor:
    draws = torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(draws, dim=1)


def test_the_multi_class_value_is_the_sum_written_class_by_class() -> None:
    z, z_hat, labels, eps2 = sphere(30, 5), sphere(30, 5, 1), torch.arange(30) % 3, 0.5
    total = coding_rate(z, eps2) + coding_rate(z_hat, eps2)
    for k in range(3):
        rows = labels == k
        rates = coding_rate(z[rows], eps2) + coding_rate(z_hat[rows], eps2)
        total = total - rows.double().mean() * rates
        total = total + coding_rate(torch.cat([z[rows], z_hat[rows]]), eps2) - rates / 2
    for classes in (3, 5):  # two more are absent and add nothing
        value = multi_class_value(z, z_hat, F.one_hot(labels, classes), eps2)
        assert torch.allclose(value, total, atol=1e-10)


def test_a_class_that_is_absent_from_a_batch_leaves_value_and_gradients_finite() -> None:
    """The reference code divides by the number of images of the class, and stops."""
    z, z_hat = sphere(8, 4).requires_grad_(), sphere(8, 4, 1).requires_grad_()
    value = multi_class_value(z, z_hat, F.one_hot(torch.arange(8) % 2, 3), 0.5)
    absent = torch.autograd.grad(value, (z, z_hat))
    present = torch.autograd.grad(multi_class_value(z, z_hat, F.one_hot(torch.arange(8) % 2), 0.5), (z, z_hat))
    assert value.isfinite()
    for with_it, without in zip(absent, present, strict=True):
        assert torch.allclose(with_it, without, atol=1e-12)


def test_equal_copies_leave_twice_the_reduction_and_one_class_leaves_the_distance() -> None:
    basis, labels = torch.eye(8, dtype=torch.float64), torch.arange(8) // 4
    by_hand = 4 * torch.tensor(3.0).log() - 2 * torch.tensor(5.0).log()  # D / (r eps2) is 2 for all, 4 for a class
    value = multi_class_value(basis, basis, F.one_hot(labels, 2), 0.5)
    assert float(value) == pytest.approx(2 * float(by_hand), abs=1e-6)
    z, z_hat = sphere(20, 4), sphere(20, 4, 1)
    one = multi_class_value(z, z_hat, torch.ones(20, 1), 0.5)
    assert torch.allclose(one, set_distance(z, z_hat, 0.5), atol=1e-10)


def test_the_value_ignores_rotations_and_the_order_of_images() -> None:
    z, z_hat, classes = sphere(20, 4), sphere(20, 4, 1), F.one_hot(torch.arange(20) % 3)
    rotation, _ = torch.linalg.qr(sphere(4, 4, 2))
    value = multi_class_value(z, z_hat, classes, 0.5)
    assert torch.allclose(multi_class_value(z @ rotation, z_hat @ rotation, classes, 0.5), value, atol=1e-10)
    assert torch.allclose(multi_class_value(z.flip(0), z_hat.flip(0), classes.flip(0), 0.5), value, atol=1e-10)


@pytest.mark.parametrize("method_type", [CTRL, CTRLMulti])
def test_the_players_losses_sum_to_zero(make: Any, data: DataSpec, batch: Batch, rng: Any, method_type: Any) -> None:
    method = make(method_type, data, latent_dim=6, width=4).eval()
    views = method.make_views(batch, rng)
    z = method.embed(batch.inputs)["latent"]
    z_hat = method.embed(method.decode(z))["latent"]
    assert batch.labels is not None
    classes = torch.ones(12, 1) if method_type is CTRL else F.one_hot(batch.labels, 10)
    value = multi_class_value(z, z_hat, classes, 0.5)
    loss = method(views, "encoder")
    assert torch.allclose(loss.total, -value, atol=1e-4)
    assert torch.allclose(method(views, "decoder").total, value, atol=1e-4)
    assert loss.ceilings == {"rate": rate_ceiling(12, 6, 0.5)}
    assert loss.floors == {"rate": rate_floor(12, 6, 0.5)}


@pytest.mark.parametrize("method_type", [CTRL, CTRLMulti])
def test_a_step_moves_its_player_only_and_in_its_direction(
    make: Any, data: DataSpec, batch: Batch, rng: Any, method_type: Any
) -> None:
    method, recipe = make(method_type, data, latent_dim=6, width=4), Recipe(optimizer="sgd", learning_rate=1e-3)
    views = method.make_views(batch, rng)
    for player in method.players():
        before = {name: p.detach().clone() for name, p in method.named_parameters()}
        parameters = {id(p) for p in player.parameters}
        optimizers = PlayerOptimizers(player, [(recipe, make_optimizer(player.parameters, recipe))])
        first = optimizers.step(method, views, OFF).total.detach()
        moved = {id(p) for name, p in method.named_parameters() if not torch.equal(p, before[name])}
        assert moved
        assert moved <= parameters
        assert method(views, player.name).total < first


@pytest.mark.parametrize("method_type", [CTRL, CTRLMulti])
def test_a_game_on_digits_spreads_the_latents(make: Any, digits: Tensor, tmp_path: Path, method_type: Any) -> None:
    method = make(method_type, DIGITS, latent_dim=16, width=8, **({"clusters": 2} if method_type is CTRL else {}))
    recipe = Recipe(optimizer="adam", learning_rate=1e-3, momentum=0.5, schedule="linear", epochs=20, batch_size=160)
    labels = torch.from_numpy(load_digits().target[:640]).long()
    source = open_split(Split((digits * 255).byte(), labels), torch.device("cpu"))
    log = tmp_path / "log"
    cost = pretrain(method, source, recipe, seed=0, device=torch.device("cpu"), precision="fp32", log=log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines[19]["encoder.rate"] > lines[0]["encoder.rate"] + 0.5
    assert cost["warnings"] == []
    assert lines[19]["decoder.pixel_r2"] < 1  # logged alone: the game compares sets, and no image with its copy


def test_equal_latents_are_logged_as_a_collapse(make: Any, digits: Tensor, tmp_path: Path) -> None:
    method = make(CTRL, DIGITS, latent_dim=16, width=8, clusters=1)
    torch.nn.init.zeros_(method.loop.head.weight)  # every latent is the direction of the bias
    recipe = Recipe(optimizer="sgd", learning_rate=0.0, epochs=1, batch_size=160)
    source = open_split(Split((digits * 255).byte()), torch.device("cpu"))
    cost = pretrain(method, source, recipe, seed=0, device=torch.device("cpu"), precision="fp32", log=tmp_path / "log")
    assert any("encoder.rate" in text and "collapsed" in text for text in cost["warnings"])


def test_it_embeds_decodes_and_samples_and_without_labels_assigns(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    assert issubclass(CTRL, Generative)
    assert issubclass(CTRL, Clustering)
    assert issubclass(CTRLMulti, Generative)
    assert not issubclass(CTRLMulti, Clustering)
    for method_type in (CTRL, CTRLMulti):
        method, loaded = (
            make(method_type, data, seed=s, latent_dim=6, width=4, **({"clusters": 3} if method_type is CTRL else {}))
            for s in (0, 1)
        )
        method.after_training(make_context(images))
        method.eval()
        latents = method.embed(images)["latent"]
        assert torch.allclose(latents.norm(dim=1), torch.ones(96))
        assert torch.allclose(method.loop.mean, latents.mean(0), atol=1e-6)
        assert method.decode(latents).shape == images.shape
        assert method.sample(5, torch.Generator(), like=latents[:4]).shape == (5, 1, 8, 8)
        loaded.load_state_dict(method.state_dict())
        assert torch.equal(loaded.eval().sample(3, torch.Generator()), method.sample(3, torch.Generator()))
        if method_type is CTRL:
            assert torch.equal(method.assign(images), loaded.assign(images))
            assert method.assign(images).shape == (1, 96)


def test_only_the_multi_class_form_uses_labels(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    assert not CTRL.uses_labels
    assert CTRLMulti.uses_labels
    assert torch.equal(make(CTRL, data).make_views(batch, rng), batch.inputs)
    images, classes = make(CTRLMulti, data).make_views(batch, rng)
    assert torch.equal(images, batch.inputs)
    assert classes.argmax(1).tolist() == [i % 10 for i in range(12)]


@pytest.mark.parametrize(
    "values", [{"latent_dim": 1}, {"eps2": 0.0}, {"width": 0}, {"encoder_steps": 0}, {"clusters": 0}]
)
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        CTRLConfig(**values)


def test_data_without_images_or_classes_are_skipped(make: Any) -> None:
    unlabelled = DataSpec(shape=(1, 8, 8), splits={"train": 5})
    assert CTRLMulti.skip_reason(unlabelled, CTRLConfig()) == "needs one class for each image"
    assert CTRL.skip_reason(unlabelled, CTRLConfig()) is None
    assert CTRLMulti.skip_reason(DIGITS, CTRLConfig()) is None
    for method_type in (CTRL, CTRLMulti):
        assert method_type.skip_reason(DataSpec(shape=(7,), splits={"train": 5}, num_classes=2), CTRLConfig())
    with pytest.raises(ValueError, match="ctrl_multi needs classes"):
        make(CTRLMulti, unlabelled)


def test_the_logged_cosine_is_that_of_latents_and_their_decoded_copies() -> None:
    z, z_hat = sphere(20, 4), sphere(20, 4, 1)
    images = torch.rand(2, 20, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    parts = _game(torch.tensor(1.0), images[0], Transcribed(z, images[1], z_hat), 0.5, "decoder").parts
    assert parts["pixel_error"].item() == pytest.approx((images[0] - images[1]).square().mean().item())
    assert parts["cosine_decoded"].item() == pytest.approx(F.cosine_similarity(z, z_hat).mean().item())
