import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, EpochContext
from bench_core.conformance.toys import TinyEncoder
from bench_core.nn.transcription import Transcription, pixel_parts

DATA = DataSpec(shape=(1, 8, 8), splits={"train": 50})


class Normed(TinyEncoder):
    """Encoder with batch norm, whose output depends on the split into batches."""

    def __init__(self) -> None:
        super().__init__(DATA)
        self.norm = nn.BatchNorm1d(self.dim)

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.norm(super().forward(inputs))
        return features


@pytest.fixture
def parts() -> tuple[Normed, Transcription, Tensor]:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        encoder, loop = Normed(), Transcription(12, DATA, latent_dim=6, width=4)
        return encoder, loop, torch.rand(50, 1, 8, 8)


def has_gradient(module: nn.Module, total: Tensor) -> bool:
    gradients = torch.autograd.grad(total, list(module.parameters()), retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.abs().sum() > 0) for g in gradients)


def context(images: Tensor, size: int = 16) -> EpochContext:
    index = torch.arange(len(images))
    batches = [Batch(images[rows], rows) for rows in torch.split(index, size)]
    return EpochContext(1, 1, 4, 4, lambda: iter(batches), torch.Generator().manual_seed(3))


def test_latents_have_length_1_and_images_are_in_0_to_1(parts: Any) -> None:
    encoder, loop, images = parts
    z = loop.latents(encoder(images))
    assert torch.allclose(z.norm(dim=1), torch.ones(50))
    decoded = loop.decode(1000 * z)
    assert decoded.shape == images.shape
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert torch.allclose(loop.decode(z), torch.sigmoid(2 * loop.decoder(z)), atol=1e-6)  # (tanh + 1) / 2


def test_step_of_the_encoder_has_gradients_through_both_passes_and_none_for_the_decoder(parts: Any) -> None:
    encoder, loop, images = parts
    z, _, z_hat = loop.transcribe(encoder, images, "encoder")
    assert has_gradient(encoder, z.sum())
    assert has_gradient(encoder, z_hat.sum())
    assert has_gradient(loop.head, z_hat.sum())
    assert not has_gradient(loop.decoder, z_hat.sum())


def test_step_of_the_encoder_has_no_gradient_through_the_decoder(parts: Any) -> None:
    encoder, loop, images = parts
    weights = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    _, _, z_hat = loop.transcribe(encoder, images, "encoder")
    with torch.no_grad():
        copies = loop.decode(loop.latents(encoder(images)))
    second_pass = loop.latents(encoder(copies))
    for total, expected in zip(
        *(torch.autograd.grad((x * weights).sum(), list(encoder.parameters())) for x in (z_hat, second_pass)),
        strict=True,
    ):
        assert torch.allclose(total, expected, atol=1e-6)


def test_step_of_the_decoder_has_gradients_through_the_encoder_and_not_through_z(parts: Any) -> None:
    encoder, loop, images = parts
    z, _, z_hat = loop.transcribe(encoder, images, "decoder")
    assert not z.requires_grad
    assert has_gradient(loop.decoder, z_hat.sum())


def test_real_and_decoded_images_are_two_batches_for_batch_norm(parts: Any) -> None:
    encoder, loop, images = parts
    z, _, z_hat = loop.transcribe(encoder, images, "decoder")
    copies = loop.decode(z)
    assert torch.allclose(z, loop.latents(encoder(images)), atol=1e-6)
    assert torch.allclose(z_hat, loop.latents(encoder(copies)), atol=1e-6)
    together = loop.latents(encoder(torch.cat([images, copies])))
    assert not torch.allclose(torch.cat([z, z_hat]), together, atol=1e-3)
    assert int(encoder.norm.num_batches_tracked) == 5


def test_without_gradients_enabled_no_latents_require_any(parts: Any) -> None:
    encoder, loop, images = parts
    for player in ("encoder", "decoder"):
        with torch.no_grad():
            assert not any(z.requires_grad for z in loop.transcribe(encoder, images, player))


def test_each_parameter_belongs_to_exactly_one_player(parts: Any) -> None:
    encoder, loop, _ = parts
    first, second = loop.players(encoder, 2)
    assert (first.name, first.steps, second.name, second.steps) == ("encoder", 2, "decoder", 1)
    owned = [id(p) for player in (first, second) for p in player.parameters]
    assert sorted(owned) == sorted(id(p) for module in (encoder, loop) for p in module.parameters())


def test_fitted_gaussian_is_that_of_the_latents_in_eval_mode(parts: Any) -> None:
    encoder, loop, images = parts
    latents = loop.fit(encoder.train(), context(images))
    assert encoder.training
    expected = loop.latents(encoder.eval()(images))
    assert torch.allclose(latents, expected, atol=1e-5)
    assert torch.allclose(loop.mean, latents.mean(0), atol=1e-6)
    assert torch.allclose(loop.root.T @ loop.root, latents.T.cov(), atol=1e-6)
    loaded = Transcription(12, DATA, latent_dim=6, width=4)
    loaded.load_state_dict(loop.state_dict())
    assert torch.equal(loaded.root, loop.root)


def test_samples_are_decoded_from_unit_latents_and_depend_on_the_generator(parts: Any) -> None:
    encoder, loop, images = parts
    latents = loop.fit(encoder, context(images))
    loop.eval()
    decoded_latents: list[Tensor] = []
    loop.decoder.register_forward_pre_hook(lambda module, inputs: decoded_latents.append(inputs[0]))
    for like in (None, latents[:9]):
        first, again, other_seed = (loop.sample(7, torch.Generator().manual_seed(seed), like) for seed in (0, 0, 1))
        assert first.shape == (7, 1, 8, 8)
        assert torch.equal(first, again)
        assert not torch.equal(first, other_seed)
        assert not first.requires_grad
    assert all(torch.allclose(z.norm(dim=1), torch.ones(7), atol=1e-5) for z in decoded_latents)


def test_samples_like_latents_of_one_direction_stay_near_it(parts: Any) -> None:
    _, loop, _ = parts
    rows = F.normalize(torch.eye(6)[:1] + 0.01 * torch.randn(30, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    decoded_latents: list[Tensor] = []
    loop.decoder.register_forward_pre_hook(lambda module, inputs: decoded_latents.append(inputs[0]))
    loop.eval().sample(20, torch.Generator().manual_seed(0), rows)
    loop.sample(20, torch.Generator().manual_seed(0))
    assert float(decoded_latents[0][:, 0].mean()) > 0.99
    assert math.isclose(float(decoded_latents[1][:, 0].mean()), 0, abs_tol=0.4)


def test_images_too_small_for_the_decoder_are_refused() -> None:
    with pytest.raises(ValueError, match="sides >= 8"):
        Transcription(12, DataSpec(shape=(1, 7, 7), splits={"train": 5}), latent_dim=6, width=4)


def test_fit_measures_batch_norm_on_images_alone(parts: Any) -> None:
    encoder, loop, images = parts
    with torch.no_grad():
        loop.transcribe(encoder.train(), images, "encoder")  # statistics of decoded images, too
        inside = TinyEncoder.forward(encoder, images)  # what its norm reads
    loop.fit(encoder, context(images, size=25))
    assert torch.allclose(encoder.norm.running_mean, inside.mean(0), atol=1e-6)
    of_batches = torch.stack([rows.var(0) for rows in torch.split(inside, 25)]).mean(0)
    assert torch.allclose(encoder.norm.running_var, of_batches, atol=1e-6)
    assert encoder.norm.momentum == 0.1  # as before


def test_fit_passes_over_a_last_batch_of_one_image(parts: Any) -> None:
    encoder, loop, images = parts
    loop.fit(encoder, context(images[:17]))
    expected = TinyEncoder.forward(encoder, images[:16]).mean(0)
    assert torch.allclose(encoder.norm.running_mean, expected, atol=1e-6)


def test_pixel_parts_are_an_error_and_its_share_of_the_mean_images_error() -> None:
    images = torch.tensor([0.0, 0.5, 1.0])[:, None, None, None].expand(3, 1, 2, 2)
    parts = pixel_parts(images, images - 0.1)  # the mean image is .5 everywhere, its error (.25 + 0 + .25) / 3
    assert parts["pixel_error"].item() == pytest.approx(0.01)
    assert parts["pixel_r2"].item() == pytest.approx(1 - 0.01 / (0.5 / 3))
    assert pixel_parts(images, images)["pixel_r2"].item() == 1
    assert pixel_parts(images, images.mean(0).expand_as(images))["pixel_r2"].item() == pytest.approx(0, abs=1e-6)
    assert pixel_parts(images, 1 - images)["pixel_r2"].item() == pytest.approx(-3)
    assert not any(part.requires_grad for part in pixel_parts(images, images.clone().requires_grad_()).values())
