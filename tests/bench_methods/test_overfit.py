"""Every trained method learns 64 items: its loss falls clearly in the training loop of all methods."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Objective, Recipe, Split
from bench_core.conformance.examples import build_method, examples_of, shortened
from bench_core.data import open_split
from bench_core.plugins import Component, load_plugins
from bench_core.training.pretrain import pretrain

DATA = DataSpec(shape=(1, 8, 8), splits={"train": 64}, num_classes=10, views="glyph")
HEADS = {"hidden_dim": 32, "output_dim": 16}
SMALL: dict[str, dict[str, Any]] = {
    "autoencoder": {"latent_dim": 16, "width": 8},
    "barlow_twins": HEADS,
    "beta_vae": {"latent_dim": 8, "width": 8, "beta": 1.0},
    "byol": HEADS,
    "ctrl": {"latent_dim": 8, "width": 8},
    "ctrl_multi": {"latent_dim": 8, "width": 8},
    "dim": {"units": 32, "estimator": "nce"},
    "factor_vae": {"latent_dim": 8, "width": 8, "discriminator_units": 16, "discriminator_layers": 2},
    "mine": {"output_dim": 16, "units": 32},
    "moco": {"output_dim": 16, "queue_size": 64, "parts": 1},
    "nac": {"code_dim": 16},
    "nac_moco": {"code_dim": 16, "queue_size": 128, "momentum": 0.5, "l2_weight": 0.0},
    "noisy_dim": {"dim": 4},
    "sela": {"clusters": 8, "heads": 2, "updates": 5},
    "simclr": {"output_dim": 16},
    "simsiam": HEADS | {"bottleneck_dim": 8},
    "supervised": {},
    "swav": HEADS | {"prototypes": 16, "queue": 0},
    "uctrl": {"latent_dim": 8, "width": 8, "lambda_aug": 3.0, "lambda_cons": 3.0},
    "vae": {"latent_dim": 8, "width": 8},
    "vicreg": HEADS,
}
EPOCHS = {"nac": 300}  # its training begins on a plateau
REGISTRY = load_plugins()
TRAINED = {c.name: c for c in REGISTRY.of_kind("objective") if c.cls.recipe.epochs > 0}
OTHERS = sorted(TRAINED.keys() - SMALL.keys())  # need a teacher, an encoder of their own, or another kind of data
FALLS = {"bigan": "discriminator.loss", "wyner": "model.reconstruction"}  # the part that falls where the loss is a game


@pytest.mark.parametrize("name", sorted(SMALL))
def test_64_images_are_learned(name: str, make: Callable[..., Objective], digits: Tensor, tmp_path: Path) -> None:
    cls = load_plugins().get("objective", name).cls
    method = make(cls, DATA, **SMALL[name])
    images = (digits[:64] * 255).to(torch.uint8)
    source = open_split(Split(images, torch.arange(64) % 10), torch.device("cpu"))
    recipe = Recipe(learning_rate=5e-3, batch_size=64, epochs=EPOCHS.get(name, 120), schedule="constant")
    options = {"seed": 0, "device": torch.device("cpu"), "precision": "fp32", "log": tmp_path / "log.jsonl"}
    pretrain(method, source, recipe, **options)  # type: ignore[arg-type]  # of several types
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = torch.tensor([line.get("encoder.loss", line["loss"]) for line in log if "epoch" in line])
    start, end = losses[:3].mean(), losses[-10:].mean()
    assert end < start - 0.015 * start.abs()  # NAC falls from log(2N), 4.9 nats, by a few tenths
    assert not [line for line in log[-2:] if "nan" in str(line).lower()]


@pytest.mark.parametrize("name", OTHERS)
def test_made_items_are_learned(name: str, smaller: Callable[[Component], None], tmp_path: Path) -> None:
    component = TRAINED[name]
    smaller(component)
    example = shortened(examples_of(component, REGISTRY)[0], 32)
    method = build_method(component.cls, example, seed=0)
    source = open_split(example.splits["train"], torch.device("cpu"))
    recipe = Recipe(optimizer="adam", learning_rate=5e-3, batch_size=32, epochs=45, schedule="constant")
    options = {"seed": 0, "device": torch.device("cpu"), "precision": "fp32", "log": tmp_path / "log.jsonl"}
    pretrain(method, source, recipe, **options)  # type: ignore[arg-type]  # of several types
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    of_first_stage = [line for line in log if line.get("stage") == log[0].get("stage") and "epoch" in line]
    losses = torch.tensor([line[FALLS.get(name, "loss")] for line in of_first_stage])
    start, end = losses[:3].mean(), losses[-5:].mean()
    assert end < start - 0.015 * start.abs()
