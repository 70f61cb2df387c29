import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Generative, Loss
from bench_methods.autoencoder import Autoencoder, AutoencoderConfig, explained, reconstruction_error


def train(method: Any, images: Tensor, rng: torch.Generator) -> list[Loss]:
    batch, losses = Batch(images, torch.arange(len(images))), []
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    for _ in range(150):
        losses.append(method(method.make_views(batch, rng)))
        optimizer.zero_grad()
        losses[-1].total.backward()
        optimizer.step()
    return losses


def test_errors_are_summed_over_values_and_averaged_over_images() -> None:
    values = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    images = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    p = values.sigmoid()
    squares = sum(float((p[i] - images[i]).square().sum()) for i in range(4)) / 4
    entropies = sum(float(F.binary_cross_entropy(p[i], images[i], reduction="sum")) for i in range(4)) / 4
    assert reconstruction_error(images, values, "squared").item() == pytest.approx(squares, rel=1e-6)
    assert reconstruction_error(images, values, "bernoulli").item() == pytest.approx(entropies, rel=1e-5)


def test_values_of_zero_are_grey_images() -> None:
    zero = torch.zeros(2, 1, 3, 3)
    assert reconstruction_error(zero, zero, "squared").item() == pytest.approx(9 / 4)
    assert reconstruction_error(zero + 0.3, zero, "bernoulli").item() == pytest.approx(9 * math.log(2))


def test_explained_is_1_for_perfect_copies_and_0_for_the_mean_image(images: Tensor) -> None:
    assert explained(images, images).item() == 1
    assert explained(images, images.mean(0).expand_as(images)).item() == pytest.approx(0, abs=1e-6)
    halfway = 0.5 * (images + images.mean(0))
    assert explained(images, halfway).item() == pytest.approx(0.75, abs=1e-5)


@pytest.mark.parametrize("error", ["squared", "bernoulli"])
def test_forward_is_the_error_of_the_decoded_code(
    make: Any, data: DataSpec, batch: Batch, rng: Any, error: Any
) -> None:
    method = make(Autoencoder, data, error=error, width=4).eval()
    views = method.make_views(batch, rng)
    assert torch.equal(views, batch.inputs)
    values = method.decoder(method.to_latent(method.encoder(views)))
    loss = method(views)
    assert torch.allclose(loss.total, reconstruction_error(views, values, error))
    assert torch.allclose(loss.parts["explained"], explained(views, values.sigmoid()))
    loss.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_digits_are_learned_unless_the_code_is_constant(
    make: Any, data: DataSpec, digits: Tensor, rng: torch.Generator
) -> None:
    learning, constant = (make(Autoencoder, data, width=8) for _ in range(2))
    losses = train(learning, digits[:64], rng)
    assert losses[-1].total < 0.3 * losses[0].total
    assert losses[-1].parts["explained"] > 0.7
    nn.init.zeros_(constant.to_latent.weight)
    constant.to_latent.weight.requires_grad_(False)
    last = train(constant, digits[:64], rng)[-1]
    assert last.parts["explained"] < last.floors["explained"]


def test_samples_follow_the_codes_of_the_whole_split_after_training(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method = make(Autoencoder, data, latent_dim=5, width=4)
    before = {name: value.clone() for name, value in method.encoder.state_dict().items()}
    method.train().after_training(make_context(images, batch_size=40))
    assert all(torch.equal(before[name], value) for name, value in method.encoder.state_dict().items())
    codes = method.eval().embed(images)["latent"].detach()
    assert torch.allclose(method.latent_mean, codes.mean(0), atol=1e-5)
    assert torch.allclose(method.latent_root.T @ method.latent_root, torch.cov(codes.T), atol=1e-5)
    loaded = make(Autoencoder, data, latent_dim=5, width=4, seed=1).eval()
    loaded.load_state_dict(method.state_dict())
    first, second = (m.sample(6, torch.Generator().manual_seed(2)) for m in (method, loaded))
    assert torch.equal(first, second)


def test_samples_are_images_in_range_from_fitted_or_given_codes(make: Any, data: DataSpec, images: Tensor) -> None:
    method = make(Autoencoder, data, latent_dim=5, width=4).eval()
    assert isinstance(method, Generative)
    row = torch.ones(1, 5)
    sampled = method.sample(3, torch.Generator().manual_seed(2), row)
    assert torch.equal(sampled, method.decode(row.expand(3, 5)).detach())
    assert method.sample(3, torch.Generator().manual_seed(2)).shape == (3, 1, 8, 8)
    assert 0 <= sampled.min() <= sampled.max() <= 1


@pytest.mark.parametrize("values", [{"latent_dim": 0}, {"width": 0}])
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        AutoencoderConfig(**values)


def test_other_data_than_images_are_skipped() -> None:
    spec = DataSpec(shape=(7,), splits={"train": 5})
    assert "reads images" in str(Autoencoder.skip_reason(spec, AutoencoderConfig()))
