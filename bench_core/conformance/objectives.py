"""Checks of methods, on toy images. The docstring of each check is its line in `bench check`."""

import copy
import itertools
import math
import signal
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench_core.config import build
from bench_core.conformance.toys import NUM_ITEMS, TinyEncoder, images_of, require, spec_for, split_of
from bench_core.contracts import Batch, DataSpec, EpochContext, Objective, Recipe
from bench_core.data import open_split
from bench_core.plugins import recipe_source
from bench_core.seeds import stream
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.embed import embeddings_fault
from bench_core.training.optimizers import make_optimizer
from bench_core.training.players import loss_fault
from bench_core.training.pretrain import pretrain
from bench_core.training.stopping import Stop, Stopped

_SHORT_RECIPE = Recipe(epochs=2, batch_size=16)


def _build(cls: Any, num_train: int = NUM_ITEMS) -> tuple[Objective, DataSpec]:
    """Build the method with its default parameters on a toy encoder, always with the same initial weights."""
    spec = replace(spec_for(cls), splits={"train": num_train})
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        return cls(TinyEncoder(spec), spec, cls.Config()), spec


def _train(objective: Objective, spec: DataSpec, epochs: int = 2) -> list[float]:
    """Train one batch in each epoch, calling the hooks in the order of the training loop; return all losses."""
    source = open_split(split_of(spec), torch.device("cpu"))
    shuffle, rng = stream(0, "shuffle"), stream(0, "views")
    optimizers = {p.name: make_optimizer(p.parameters, Recipe(learning_rate=1e-3)) for p in objective.players()}
    losses = []
    for epoch in range(epochs):
        context = EpochContext(
            epoch, epochs, epoch, epochs, lambda: source.batches(16, labels=objective.uses_labels), rng
        )
        logged = objective.train().before_epoch(context)
        are_numbers = all(isinstance(value, int | float) for value in logged.values())
        require(are_numbers, f"before_epoch must return numbers, got {logged}")
        objective.before_step(context)
        batch = next(source.batches(16, rng=shuffle, drop_last=True, labels=objective.uses_labels))
        views = objective.make_views(batch, rng)
        for player in objective.players():
            loss = objective(views, player.name)
            _require_valid_loss(loss)
            optimizers[player.name].zero_grad()
            loss.total.backward(inputs=list(player.parameters))
            optimizers[player.name].step()
            losses.append(float(loss.total.detach()))
        objective.after_step()
    if losses:
        objective.after_training(replace(context, epoch=epochs, step=epochs))
    return losses


def _require_valid_loss(loss: Any) -> None:
    fault = loss_fault(loss)
    require(fault is None, str(fault))
    require(math.isfinite(float(loss.total.detach())), f"the loss is {float(loss.total.detach())}")


def _check_losses(cls: Any) -> None:
    """The loss is a finite scalar, and the same seed gives the same losses."""
    losses = []
    for _ in range(2):
        objective, spec = _build(cls)
        torch.manual_seed(5)
        losses.append(_train(objective, spec))
    require(losses[0] == losses[1], f"the same seed gave the losses {losses[0]} and then {losses[1]}")


def _check_encoder_moves(cls: Any) -> None:
    """Training changes the encoder, and no two players share a parameter."""
    objective, spec = _build(cls)
    before = copy.deepcopy(objective.encoder.state_dict())
    players = objective.players()
    _train(objective, spec)
    moved = any(not torch.equal(before[name], value) for name, value in objective.encoder.named_parameters())
    require(moved or not players, "no parameter of the encoder changed in two steps")
    owned = [id(parameter) for player in players for parameter in player.parameters]
    require(len(owned) == len(set(owned)), "two players own the same parameter")


def _check_views(cls: Any) -> None:
    """make_views() draws random numbers only from rng and leaves the batch unchanged."""
    objective, spec = _build(cls)
    batch = next(open_split(split_of(spec), torch.device("cpu")).batches(16, labels=objective.uses_labels))
    inputs, state = batch.inputs.clone(), torch.get_rng_state()
    views = [objective.make_views(batch, stream(0, "views")) for _ in range(2)]
    require(torch.equal(batch.inputs, inputs), "make_views() changed the batch")
    require(torch.equal(torch.get_rng_state(), state), "make_views() drew from the global generator; use rng")
    require(_same(views[0], views[1]), "two generators with the same seed gave different views")


def _same(a: Any, b: Any) -> bool:
    """Compare tensors, batches and nested containers by value; objects of any other type count as equal."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, Batch):
        return _same(vars(a), vars(b))
    if isinstance(a, dict):
        return all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return all(_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b) if isinstance(a, int | float | str | type(None)) else True


def _check_embeddings(cls: Any) -> None:
    """embed() returns finite `features`, the same in any batch and from a loaded state_dict."""
    objective, spec = _build(cls)
    _train(objective, spec)
    images = images_of(spec, 6)
    with torch.inference_mode():
        embeddings = objective.eval().embed(images)
        fault = embeddings_fault(embeddings, 6)
        require(fault is None, str(fault))
        for name, values in embeddings.items():
            require(
                not values.is_floating_point() or bool(values.isfinite().all()), f"embedding {name!r} is not finite"
            )
        half = objective.embed(images[:3])
        same = torch.allclose(half["features"], embeddings["features"][:3], atol=1e-5)
        require(same, "features of an item depend on the other items of its batch")
        loaded, _ = _build(cls)
        loaded.load_state_dict(objective.state_dict())
        reloaded = loaded.eval().embed(images)
    same = all(torch.equal(values, reloaded[name]) for name, values in embeddings.items())
    require(same, "a loaded state gives different embeddings")


def _check_resumed_training(cls: Any) -> None:
    """Training that is stopped and resumed ends with the same weights."""
    finished = []
    with tempfile.TemporaryDirectory() as folder:
        for stops_after in (None, 3):
            objective, spec = _build(cls, num_train=32)
            if stops_after is not None:
                _pretrain(objective, spec, Path(folder), stops_after)
                objective, spec = _build(cls, num_train=32)
            _pretrain(objective, spec, Path(folder))
            finished.append(objective.state_dict())
    different = [name for name, value in finished[0].items() if not _same(value, finished[1][name])]
    names = ", ".join(different[:3])
    require(not different, f"resumed training ended with different weights: {names}; keep all state in state_dict()")


def _pretrain(objective: Objective, spec: DataSpec, folder: Path, stops_after: int | None = None) -> None:
    """Train two epochs of two batches with the real training loop, and stop it after some steps if asked to."""
    stop = Stop()
    checkpoints = Checkpoints(folder, interval=math.inf, stop=stop)
    after_step, steps = objective.after_step, itertools.count(1)

    def after_step_then_stop() -> None:
        after_step()
        if next(steps) == stops_after:
            stop.request(signal.SIGTERM)

    objective.after_step = after_step_then_stop  # type: ignore[method-assign]  # on this object only; deleted below
    source = open_split(split_of(spec), torch.device("cpu"))
    log, device = folder / "log.jsonl", torch.device("cpu")
    with suppress(Stopped), stop.deferred():
        pretrain(
            objective, source, _SHORT_RECIPE, seed=0, device=device, precision="fp32", log=log, checkpoints=checkpoints
        )
    del objective.after_step


def _check_variants(cls: Any) -> None:
    """Each variant sets existing parameters to valid values, with a help text and a source."""
    for name, variant in cls.variants.items():
        build(cls.Config, variant.config, name)
        build(Recipe, variant.recipe, name, base=cls.recipe)
        require(bool(variant.help and variant.source), f"variant {name!r} has no help or no source")


def _check_recipe_source(cls: Any) -> None:
    """A method that sets `recipe` names its source in `recipe_source`."""
    message = 'recipe_source is missing: name the paper\'s section or the command, or say "ours: why"'
    require(bool(recipe_source(cls)), message)


CHECKS = (
    _check_losses,
    _check_encoder_moves,
    _check_views,
    _check_embeddings,
    _check_resumed_training,
    _check_variants,
    _check_recipe_source,
)
