"""Checks of objectives."""

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
from bench_core.contracts import Batch, DataSpec, EpochContext, Loss, Objective, Recipe
from bench_core.data import open_split
from bench_core.plugins import recipe_source
from bench_core.seeds import stream
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.optimizers import make_optimizer
from bench_core.training.pretrain import pretrain
from bench_core.training.stopping import Stop, Stopped

_SHORT = Recipe(epochs=2, batch_size=16)


def _objective(cls: Any, num_train: int = NUM_ITEMS) -> tuple[Objective, DataSpec]:
    spec = replace(spec_for(cls), splits={"train": num_train})
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        return cls(TinyEncoder(spec), spec, cls.Config()), spec


def _train(objective: Objective, spec: DataSpec, epochs: int = 2) -> list[float]:
    """A few steps of the real loop's order; the losses."""
    source = open_split(split_of(spec), torch.device("cpu"))
    shuffle, rng = stream(0, "shuffle"), stream(0, "views")
    optimizers = {p.name: make_optimizer(p.parameters, Recipe(learning_rate=1e-3)) for p in objective.players()}
    losses = []
    for epoch in range(epochs):
        context = EpochContext(
            epoch, epochs, epoch, epochs, lambda: source.batches(16, labels=objective.uses_labels), rng
        )
        notes = objective.train().before_epoch(context)
        require(
            all(isinstance(v, int | float) for v in notes.values()), f"before_epoch must return numbers, got {notes}"
        )
        objective.before_step(context)
        batch = next(source.batches(16, rng=shuffle, drop_last=True, labels=objective.uses_labels))
        views = objective.make_views(batch, rng)
        for player in objective.players():
            loss = objective(views, player.name)
            _refuse_bad_loss(loss)
            optimizers[player.name].zero_grad()
            loss.total.backward(inputs=list(player.parameters))
            optimizers[player.name].step()
            losses.append(float(loss.total.detach()))
        objective.after_step()
    if losses:
        objective.after_training(replace(context, epoch=epochs, step=epochs))
    return losses


def _refuse_bad_loss(loss: Any) -> None:
    require(isinstance(loss, Loss), f"forward must return a Loss, got {type(loss).__name__}")
    require(loss.total.ndim == 0, f"the loss must be a scalar, got shape {tuple(loss.total.shape)}")
    require(math.isfinite(float(loss.total.detach())), f"the loss is {float(loss.total.detach())}")
    for name, part in loss.parts.items():
        require(part.ndim == 0, f"part {name!r} must be a scalar, got shape {tuple(part.shape)}")


def _learns(cls: Any) -> None:
    """Builds from defaults, its loss is a finite scalar, and the same seed gives the same losses."""
    losses = []
    for _ in range(2):
        objective, spec = _objective(cls)
        torch.manual_seed(5)
        losses.append(_train(objective, spec))
    require(losses[0] == losses[1], f"the same seed gave {losses[0]} and {losses[1]}")


def _reaches_encoder(cls: Any) -> None:
    """Training moves the encoder, if there are players."""
    objective, spec = _objective(cls)
    before = copy.deepcopy(objective.encoder.state_dict())
    players = objective.players()
    _train(objective, spec)
    moved = any(not torch.equal(before[k], v) for k, v in objective.encoder.named_parameters())
    require(moved or not players, "no parameter of the encoder moved in two steps")
    owned = [id(p) for player in players for p in player.parameters]
    require(len(owned) == len(set(owned)), "two players own the same parameter")


def _views_are_pure(cls: Any) -> None:
    """Views leave the batch and the global generator as they were, and depend on rng alone."""
    objective, spec = _objective(cls)
    batch = next(open_split(split_of(spec), torch.device("cpu")).batches(16, labels=objective.uses_labels))
    inputs, state = batch.inputs.clone(), torch.get_rng_state()
    views = [objective.make_views(batch, stream(0, "views")) for _ in range(2)]
    require(torch.equal(batch.inputs, inputs), "make_views changed the batch")
    require(torch.equal(torch.get_rng_state(), state), "make_views drew from the global generator; use rng")
    require(_same(views[0], views[1]), "the same rng gave other views")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, Batch):
        return _same(vars(a), vars(b))
    if isinstance(a, dict):
        return all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return all(_same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b) if isinstance(a, int | float | str | type(None)) else True


def _embeds(cls: Any) -> None:
    """Embed gives `features` with a row an input, finite, whatever the batch; state round-trips."""
    objective, spec = _objective(cls)
    _train(objective, spec)
    images = images_of(spec, 6)
    with torch.inference_mode():
        embeddings = objective.eval().embed(images)
        require("features" in embeddings, f"embed must give 'features', got {sorted(embeddings)}")
        for name, values in embeddings.items():
            require(len(values) == 6, f"embedding {name!r} has {len(values)} rows for 6 inputs")
            require(not values.is_floating_point() or bool(values.isfinite().all()), f"{name!r} is not finite")
        half = objective.embed(images[:3])
        same = torch.allclose(half["features"], embeddings["features"][:3], atol=1e-5)
        require(same, "features depend on what else is in the batch")
        other, _ = _objective(cls)
        other.load_state_dict(objective.state_dict())
        again = other.eval().embed(images)
    require(all(torch.equal(embeddings[k], again[k]) for k in embeddings), "a loaded state gives other embeddings")


def _goes_on(cls: Any) -> None:
    """A training that is stopped between two steps goes on to the same bits: nothing lives outside `state_dict`."""
    finished = []
    with tempfile.TemporaryDirectory() as folder:
        for stops_after in (None, 3):
            objective, spec = _objective(cls, num_train=32)
            if stops_after is not None:
                _pretrain(objective, spec, Path(folder), stops_after)
                objective, spec = _objective(cls, num_train=32)
            _pretrain(objective, spec, Path(folder))
            finished.append(objective.state_dict())
    other = [name for name, value in finished[0].items() if not _same(value, finished[1][name])]
    require(not other, f"after a stop and a start the training ended otherwise: {', '.join(other[:3])} differ")


def _pretrain(objective: Objective, spec: DataSpec, folder: Path, stops_after: int | None = None) -> None:
    """Two epochs of two batches by the real loop; it may be stopped after some steps."""
    stop = Stop()
    kept = Checkpoints(folder, every=math.inf, stop=stop)
    after_step, steps = objective.after_step, itertools.count(1)

    def counted() -> None:
        after_step()
        if next(steps) == stops_after:
            stop.ask(signal.SIGTERM)

    objective.after_step = counted  # type: ignore[method-assign]  # of this object alone, and taken back below
    source = open_split(split_of(spec), torch.device("cpu"))
    log, device = folder / "log.jsonl", torch.device("cpu")
    with suppress(Stopped), stop.held():
        pretrain(objective, source, _SHORT, seed=0, device=device, precision="fp32", log=log, checkpoints=kept)
    del objective.after_step


def _variants_build(cls: Any) -> None:
    """Every variant names parameters that exist, with values that fit, and says what it is and where it is from."""
    for name, variant in cls.variants.items():
        build(cls.Config, variant.config, name)
        build(Recipe, variant.recipe, name, base=cls.recipe)
        require(bool(variant.help and variant.source), f"variant {name!r} lacks its help or its source")


def _recipe_has_a_source(cls: Any) -> None:
    """A class that sets `recipe` says in `recipe_source` where it comes from."""
    message = 'recipe_source is missing: name the paper\'s section or the command, or say "ours: why"'
    require(bool(recipe_source(cls)), message)


CHECKS = (_learns, _reaches_encoder, _views_are_pure, _embeds, _goes_on, _variants_build, _recipe_has_a_source)
