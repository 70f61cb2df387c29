import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import Batch, CrossModal, DataSpec, Encoder, PairGenerative, Translating
from bench_core.data import Pair
from bench_methods.wyner.objective import Wyner, WynerConfig, WynerViews

SPLITS = {"train": 24}
IMAGE = DataSpec(shape=(1, 8, 10), splits=SPLITS)
VECTOR = DataSpec(shape=(3,), splits=SPLITS)
SIZES: dict[str, Any] = {"common_dim": 4, "private_dim": 2, "width": 4, "units": 8}


def pairs_of(first: DataSpec, second: DataSpec) -> DataSpec:
    return DataSpec(shape=(), splits=SPLITS, kind="pairs", modalities={"one": first, "other": second})


class PairEncoder(Encoder):
    dim = 6

    def __init__(self, inputs: int) -> None:
        nn.Module.__init__(self)
        self.layer = nn.Linear(inputs, self.dim)

    def forward(self, inputs: Pair) -> Tensor:
        features: Tensor = self.layer(torch.cat([inputs.first.flatten(1), inputs.second.flatten(1)], 1))
        return features

    def maps(self, inputs: Pair) -> dict[str, Tensor]:
        return {"last": self(inputs)[..., None]}


def build(first: DataSpec = VECTOR, second: DataSpec = VECTOR, seed: int = 0, **values: Any) -> Wyner:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inputs = sum(torch.zeros(data.shape).numel() for data in (first, second))
        return Wyner(PairEncoder(inputs), pairs_of(first, second), WynerConfig(**{**SIZES, **values}))


@pytest.fixture
def batch() -> Batch:
    rng = torch.Generator().manual_seed(1)
    return Batch(Pair(torch.rand(12, 3, generator=rng), torch.rand(12, 3, generator=rng)), torch.arange(12))


def linear(layer: Any, *rows: Tensor) -> Tensor:
    """The value of a linear layer for one item, as a sum over its inputs."""
    x = torch.cat(rows)
    sums = [torch.stack([w * value for w, value in zip(row, x, strict=True)]).sum() for row in layer.weight]
    outputs: Tensor = torch.stack(sums) + layer.bias
    return outputs


@torch.no_grad()
def test_the_losses_are_the_terms_written_slowly(batch: Batch) -> None:
    method = build(joint_weight=2.0, conditional_weight=3.0, information_weight=0.5, reconstruction_weight=7.0)
    views = method.make_views(batch, torch.Generator().manual_seed(2))
    g, r, pairs, noise = method.generator, method.ratios, batch.inputs, views.noise
    high: dict[str, list[Tensor]] = {name: [] for name in ("joint", "to_second", "to_first", "information")}
    low: dict[str, list[Tensor]] = {name: [] for name in high}
    errors = []

    def ratio(term: str, i: int, x: Tensor, y: Tensor, **latents: Tensor) -> Tensor:
        seen = x + 0.25 * noise.first[i], y + 0.25 * noise.second[i]
        features = torch.cat([r.first(seen[0][None])[0], r.second(seen[1][None])[0]])
        noisy = [value + 0.25 * getattr(noise, name)[i] for name, value in latents.items()]
        hidden = r.latent[term](torch.cat(noisy)[None])[0]
        return r.ratio[term](torch.cat([features, hidden])[None])[0, 0]  # type: ignore[no-any-return]

    for i in range(12):
        x, y = pairs.first[i], pairs.second[i]
        one, other = g.encode_first.features(x[None])[0], g.encode_second.features(y[None])[0]
        previous = (i - 1) % 12
        z, z_previous = (
            linear(g.to_common, linear(method.encoder.layer, pairs.first[k], pairs.second[k])) for k in (i, previous)
        )
        z_x, z_y = linear(g.encode_first.to_common, one), linear(g.encode_second.to_common, other)
        u, v = linear(g.encode_first.to_private, one, z), linear(g.encode_second.to_private, other, z)
        prior = {"z": views.z[i], "u": views.u[i], "v": views.v[i]}
        made_x = g.decode_first(views.z[i][None], views.u[i][None])[0]
        made_y = g.decode_second(views.z[i][None], views.v[i][None])[0]
        y_of_x = g.decode_second(z_x[None], views.v[i][None])[0]
        x_of_y = g.decode_first(z_y[None], views.u[i][None])[0]
        high["joint"].append(ratio("joint", i, x, y, z=z, u=u, v=v))
        low["joint"].append(ratio("joint", i, made_x, made_y, **prior))
        high["to_second"].append(ratio("to_second", i, x, y, z=z, v=v))
        low["to_second"].append(ratio("to_second", i, x, y_of_x, z=z_x, v=views.v[i]))
        high["to_first"].append(ratio("to_first", i, x, y, z=z, u=u))
        low["to_first"].append(ratio("to_first", i, x_of_y, y, z=z_y, u=views.u[i]))
        high["information"].append(ratio("information", i, x, y, z=z))
        z_previous = z_previous + 0.25 * (noise.z[previous] - noise.z[i])  # it brings its own noise
        low["information"].append(ratio("information", i, x, y, z=z_previous))
        for latent, truth, encode, decode, features in (
            (z, x, g.encode_first, g.decode_first, one), (z_y, x, g.encode_first, g.decode_first, one),
            (z, y, g.encode_second, g.decode_second, other), (z_x, y, g.encode_second, g.decode_second, other),
        ):  # fmt: skip
            private = linear(encode.to_private, features, latent)
            errors.append((decode(latent[None], private[None])[0] - truth).abs().mean())
    gaps = {name: (torch.stack(high[name]) - torch.stack(low[name])).mean().item() for name in high}
    information = torch.stack(high["information"]).mean().item()
    reconstruction = torch.stack(errors).sum().item() / 12
    loss = method(views, "model")
    expected = 2 * gaps["joint"] + 3 * (gaps["to_second"] + gaps["to_first"]) + 0.5 * information + 7 * reconstruction
    assert loss.total.item() == pytest.approx(expected, rel=1e-4)
    assert loss.parts["information"].item() == pytest.approx(information, rel=1e-4)
    fits = 0.0
    for name in high:
        for a, b in zip(high[name], low[name], strict=True):
            fits += float(a.sigmoid().log() + (1 - b.sigmoid()).log()) / 12
    assert method(views, "ratios").total.item() == pytest.approx(-fits - 4 * 2 * 0.693147, rel=1e-4)


def test_log_ratios_of_zero_give_losses_of_zero_but_for_reconstruction(batch: Batch) -> None:
    method = build()
    for ratio in method.ratios.ratio.values():
        for parameter in ratio[-1].parameters():  # type: ignore[index]
            nn.init.zeros_(parameter)
    views = method.make_views(batch, torch.Generator())
    assert method(views, "ratios").total.item() == pytest.approx(0, abs=1e-6)
    loss = method(views, "model")
    assert loss.total.item() == pytest.approx(100 * loss.parts["reconstruction"].item(), rel=1e-5)


def test_the_players_own_all_that_is_trained_and_the_ratios_get_no_gradient_through_the_model(batch: Batch) -> None:
    method = build()
    ratios, model = method.players()
    owned = {id(p) for player in (ratios, model) for p in player.parameters}
    assert owned == {id(p) for p in method.parameters() if p.requires_grad}
    views = method.make_views(batch, torch.Generator())
    method(views, "ratios").total.backward()
    assert all(p.grad is not None for p in ratios.parameters)
    assert all(p.grad is None for p in model.parameters)
    method(views, "model").total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters)


def test_all_randomness_is_in_the_views_and_pairs_are_not_changed(batch: Batch) -> None:
    method, rng = build(), torch.Generator().manual_seed(3)
    first, second = (method.make_views(batch, rng) for _ in range(2))
    assert first.pairs is batch.inputs
    assert not torch.equal(first.z, second.z)
    assert first.noise.first.shape == batch.inputs.first.shape
    assert torch.equal(method(first).total, method(first).total)


def test_pairs_in_another_order_have_the_same_joint_and_conditional_terms(batch: Batch) -> None:
    method, order = build(), torch.randperm(12, generator=torch.Generator().manual_seed(4))
    views = method.make_views(batch, torch.Generator())
    shuffled = WynerViews(
        batch.inputs.select(order), views.z[order], views.u[order], views.v[order],
        type(views.noise)(*(part[order] for part in views.noise)),
    )  # fmt: skip
    before, after = method(views).parts, method(shuffled).parts
    for name in ("joint", "to_second", "to_first", "reconstruction"):
        assert after[name].item() == pytest.approx(before[name].item(), rel=1e-4, abs=1e-6)


def test_training_ends_with_averaged_weights(make_context: Callable[..., Any], batch: Batch) -> None:
    method: Any = build(momentum=0.5)
    start = copy.deepcopy(method.encoder.layer.weight)
    context = make_context(torch.zeros(1))
    expected = start.detach().clone()
    for step, momentum in ((0, 2 / 11), (1, 3 / 12), (20, 0.5)):
        method.before_step(replace(context, step=step))
        with torch.no_grad():
            method.encoder.layer.weight += 1
        method.after_step()
        expected = momentum * expected + (1 - momentum) * method.encoder.layer.weight.detach()
    method.after_training(context)
    assert torch.allclose(method.encoder.layer.weight, expected, atol=1e-6)
    assert not torch.allclose(expected, start + 3)


def test_embeddings_of_one_modality_do_not_depend_on_the_other(batch: Batch) -> None:
    method = build().eval()
    embeddings = method.embed(batch.inputs)
    changed = method.embed(Pair(batch.inputs.first, batch.inputs.second + 1))
    assert {name: tuple(value.shape) for name, value in embeddings.items()} == {
        "features": (12, 6), "latent": (12, 4), "first": (12, 4), "second": (12, 4)
    }  # fmt: skip
    assert torch.equal(changed["first"], embeddings["first"])
    assert not torch.allclose(changed["second"], embeddings["second"])
    assert torch.equal(method.embed_second(batch.inputs.second), embeddings["second"])


@pytest.mark.parametrize(("first", "second"), [(IMAGE, VECTOR), (VECTOR, IMAGE)])
def test_each_modality_is_made_from_the_other_and_both_are_sampled(first: DataSpec, second: DataSpec) -> None:
    method = build(first, second).eval()
    assert isinstance(method, CrossModal)
    assert isinstance(method, Translating)
    assert isinstance(method, PairGenerative)
    rng = torch.Generator().manual_seed(5)
    inputs = Pair(torch.rand(4, *first.shape), torch.rand(4, *second.shape))
    assert method.to_second(inputs.first, rng).shape == inputs.second.shape
    assert method.to_first(inputs.second, rng).shape == inputs.first.shape
    assert [part.shape for part in method.sample_pairs(4, rng)] == [inputs.first.shape, inputs.second.shape]
    again = [method.to_second(inputs.first, torch.Generator().manual_seed(6)) for _ in range(2)]
    assert torch.equal(*again)


def test_data_that_are_no_pairs_or_too_small_are_skipped_with_a_reason() -> None:
    small = DataSpec(shape=(1, 6, 8), splits=SPLITS)
    assert Wyner.skip_reason(VECTOR, WynerConfig()) == "learns from pairs; this data has the kind vector"
    reason = Wyner.skip_reason(pairs_of(IMAGE, small), WynerConfig())
    assert reason == "modality other: needs images of at least 8 x 8 pixels, these have 6 x 8"
    assert Wyner.skip_reason(pairs_of(IMAGE, VECTOR), WynerConfig()) is None
