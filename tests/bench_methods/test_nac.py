"""The method NAC; tests/bench_core/nn/test_activation_codes.py tests its formulas."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Objective, Recipe, Split
from bench_core.data import open_split
from bench_core.nn.activation_codes import information, information_ceiling, nac_loss
from bench_core.training.pretrain import pretrain
from bench_methods import nac
from bench_methods.nac import NAC, NACConfig
from bench_methods.nac_moco import NACMoCo


def train(method: NAC, digits: Tensor, path: Path, rate: float = 1e-2) -> tuple[list[dict[str, Any]], list[str]]:
    """Train for 200 steps on 640 digits; return the lines of the log and the warnings of the last epoch."""
    source = open_split(Split((digits * 255).to(torch.uint8)), torch.device("cpu"))
    recipe = Recipe(learning_rate=rate, epochs=40, batch_size=128, warmup_epochs=2)
    path.mkdir(exist_ok=True)
    log = path / "log.jsonl"
    done = pretrain(method, source, recipe, seed=0, device=torch.device("cpu"), precision="fp32", log=log)
    return [json.loads(line) for line in log.read_text().splitlines()], done["warnings"]


@pytest.mark.parametrize("flip", [0.0, 0.5, -0.1, 0.9])
def test_a_channel_without_or_with_only_noise_is_refused(flip: float) -> None:
    with pytest.raises(ValueError, match=r"flip must be in \(0, 0.5\)"):
        NACConfig(flip=flip)


def test_a_code_needs_a_bit() -> None:
    with pytest.raises(ValueError, match="code_dim must be >= 1"):
        NACConfig(code_dim=0)


def test_flips_come_at_the_rate_of_the_channel_and_differ_between_views_and_steps(
    make: Any, data: DataSpec, images: Tensor, rng: torch.Generator
) -> None:
    method = make(NAC, data, flip=0.2)
    first, second = (method.make_views(Batch(images, torch.arange(96)), rng).flips for _ in range(2))
    assert first.shape == (192, 128)
    assert set(first.unique().tolist()) == {-1.0, 1.0}
    rate, n = (first < 0).float().mean().item(), first.numel()
    assert abs(rate - 0.2) < 3 * math.sqrt(0.2 * 0.8 / n)
    assert not torch.equal(first[:96], first[96:])
    assert not torch.equal(first, second)


def test_without_noise_the_loss_ignores_the_flips(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    losses = {}
    for noise in (True, False):
        method = make(NAC, data, noise=noise, flip=0.3).eval()
        views = method.make_views(batch, rng)
        losses[noise] = [method(views._replace(flips=s * views.flips)).total.item() for s in (1, -1)]
    assert losses[False][0] == losses[False][1]
    assert losses[True][0] != losses[True][1]


def test_forward_is_the_loss_of_scaled_codes_and_logs_norm_and_information(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(NAC, data, code_dim=9, flip=0.2).eval()
    views = method.make_views(batch, rng)
    features = method.encoder(views.images)
    codes, logits = torch.tanh(method.code_head(features) / 3), method.inference(features) / 3
    loss = method(views)
    assert torch.allclose(loss.total, nac_loss(codes, logits, views.flips, 0.2))
    assert torch.allclose(loss.parts["code_norm"], codes.square().sum(1).mean())
    assert torch.allclose(loss.parts["information"], information(codes, logits, views.flips, 0.2))
    assert loss.ceilings["information"] == information_ceiling(24, 9, 0.2)
    assert not any(part.requires_grad for part in loss.parts.values())


def test_gradients_reach_the_encoder_and_both_heads(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(NAC, data)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_the_code_is_the_positive_units_without_noise(make: Any, data: DataSpec, images: Tensor) -> None:
    method = make(NAC, data, code_dim=9).eval()
    embedded = method.embed(images)
    assert torch.equal(embedded["features"], method.encoder(images))
    assert torch.equal(embedded["code"], method.code_head(method.encoder(images)) > 0)


def test_other_data_than_images_are_skipped() -> None:
    assert NAC.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), NACConfig()) == "needs images"


def test_training_leaves_the_plateau_and_the_log_shows_when(
    make: Any, data: DataSpec, digits: Tensor, tmp_path: Path
) -> None:
    lines, warnings = train(make(NAC, data, code_dim=8, flip=0.3), digits, tmp_path)
    assert warnings == []
    assert lines[0]["code_norm_below_floor"] == 0.1
    assert lines[0]["warnings"] == [
        f"code_norm {lines[0]['code_norm']:.4g} is below 0.1: collapsed, or not off its start yet"
    ]
    stuck = ["warnings" in line for line in lines]
    assert stuck == sorted(stuck, reverse=True)  # once left, it stays left
    assert lines[-1]["code_norm"] > 0.5
    assert lines[0]["loss"] == pytest.approx(math.log(256), abs=0.05)
    assert lines[-1]["loss"] < math.log(256) - 0.02


def test_with_inverted_beta_the_codes_stay_at_zero_and_the_run_ends_with_a_warning(
    make: Any, data: DataSpec, digits: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inverted = 1 / (1 + math.exp(2 / (0.5 * math.log(0.6 / 0.4))))  # its beta is one over that of .4
    monkeypatch.setattr(nac, "nac_loss", lambda codes, logits, flips, flip: nac_loss(codes, logits, flips, inverted))
    lines, warnings = train(make(NAC, data, code_dim=8, flip=0.3), digits, tmp_path)
    assert lines[-1]["loss"] == pytest.approx(math.log(256), abs=0.01)
    assert any("code_norm" in warning and "is below 0.1" in warning for warning in warnings)


@pytest.mark.parametrize("code_dim", [1, 8, 33])
def test_the_code_has_the_configured_length(make: Any, data: DataSpec, images: Tensor, code_dim: int) -> None:
    code = make(NAC, data, code_dim=code_dim).eval().embed(images)["code"]
    assert code.shape == (96, code_dim)
    assert code.dtype == torch.bool


@pytest.mark.parametrize("cls", [NAC, NACMoCo])
def test_batch_norm_sits_in_the_hidden_layer_of_both_heads_and_is_off_by_default(
    make: Any, data: DataSpec, images: Tensor, cls: type[Objective]
) -> None:
    kinds = {norm: [type(layer) for layer in make(cls, data, head_norm=norm).code_head] for norm in ("none", "batch")}
    assert kinds["none"] == [nn.Linear, nn.ReLU, nn.Linear]
    assert kinds["batch"] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    method = make(cls, data, head_norm="batch")
    assert [type(layer) for layer in method.inference] == kinds["batch"]
    assert method.config == type(method.config)(head_norm="batch")
    assert type(method.config)().head_norm == "none"
    inputs = method.encoder(images).detach()
    hidden = method.code_head[1](method.code_head[0](1000 * inputs))  # of any scale, each unit is standardised
    assert torch.allclose(hidden.mean(0), torch.zeros(()), atol=1e-4)
    assert torch.allclose(hidden.std(0, correction=0), torch.ones(()), atol=1e-2)


def test_another_norm_of_the_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="head_norm"):
        NACConfig(head_norm="layer")


def test_with_batch_norm_in_the_heads_training_leaves_the_plateau_sooner(
    make: Any, data: DataSpec, digits: Tensor, tmp_path: Path
) -> None:
    stuck = {}
    for norm in ("none", "batch"):
        lines, _ = train(make(NAC, data, code_dim=8, flip=0.2, head_norm=norm), digits, tmp_path / norm)
        stuck[norm] = sum("warnings" in line for line in lines)
    assert stuck["batch"] < stuck["none"]


def test_hashing_is_a_noisier_channel_and_a_longer_schedule() -> None:
    settings = NAC.variants["hashing"].settings
    changes = {name: value for name, value in settings.items() if not name.startswith("recipe.")}
    recipe = {name.removeprefix("recipe."): value for name, value in settings.items() if name.startswith("recipe.")}
    assert NACConfig(**changes) == NACConfig(flip=0.4)
    assert replace(NAC.recipe, **recipe) == replace(NAC.recipe, epochs=2000, warmup_epochs=100)
    assert (NAC.recipe.batch_size, NAC.recipe.epochs, NAC.recipe.warmup_epochs) == (1000, 1000, 10)
