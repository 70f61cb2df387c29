"""Checks of methods, on an example of each kind of data. The docstring of each check is its line in `bench check`."""

import copy
import itertools
import math
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from bench_core.config import build
from bench_core.conformance.comparing import same
from bench_core.conformance.examples import build_method, build_teacher, inputs_of, shortened
from bench_core.conformance.search_spaces import check_search_spaces
from bench_core.conformance.toys import require
from bench_core.contracts import Batch, EpochContext, Example, Objective, Recipe, Stage
from bench_core.data import open_split
from bench_core.plugins import recipe_source
from bench_core.seeds import stream
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.embed import embeddings_fault
from bench_core.training.optimizers import make_optimizer
from bench_core.training.players import loss_fault
from bench_core.training.pretrain import pretrain
from bench_core.training.stages import stages_of
from bench_core.training.stopping import Stop, Stopped

_BATCH = 16


def _build(cls: Any, example: Example) -> Objective:
    """Build the method with its default parameters, always with the same initial weights."""
    return build_method(cls, example, seed=3)


def _batches(objective: Objective, example: Example, **options: Any) -> Iterator[Batch]:
    """Pass over the train split once, with the labels and factors that the method asks for."""
    source = open_split(example.splits["train"], torch.device("cpu"))
    return source.batches(_BATCH, labels=objective.uses_labels, factors=objective.uses_factors, **options)


def _train(objective: Objective, example: Example, epochs: int = 2) -> list[float]:
    """Train one batch in each epoch of each stage, calling the hooks in the order of the loop; return all losses."""
    shuffle, rng = stream(0, "shuffle"), stream(0, "views")
    losses, done = list[float](), itertools.count()
    stages = stages_of(objective)
    players = [player for stage in stages for player in stage.players]
    optimizers = {p.name: make_optimizer(p.parameters, Recipe(learning_rate=1e-3)) for p in players}
    total = epochs * len(stages)

    def context(epoch: int, stage: Stage) -> EpochContext:
        return EpochContext(epoch, total, epoch, total, lambda: _batches(objective, example), rng, stage.name)

    for number, stage in enumerate(stages):
        objective.begin_stage(context(number * epochs, stage))
        for _ in range(epochs):
            now = context(next(done), stage)
            logged = objective.train().before_epoch(now)
            are_numbers = all(isinstance(value, int | float) for value in logged.values())
            require(are_numbers, f"before_epoch must return numbers, got {logged}")
            objective.before_step(now)
            views = objective.make_views(next(_batches(objective, example, rng=shuffle, drop_last=True)), rng)
            for player in stage.players:
                loss = objective(views, player.name)
                _require_valid_loss(loss)
                optimizers[player.name].zero_grad()
                loss.total.backward(inputs=list(player.parameters))
                optimizers[player.name].step()
                losses.append(float(loss.total.detach()))
            objective.after_step()
    if losses:
        objective.after_training(context(total, stages[-1]))
    return losses


def _require_valid_loss(loss: Any) -> None:
    fault = loss_fault(loss)
    require(fault is None, str(fault))
    require(math.isfinite(float(loss.total.detach())), f"the loss is {float(loss.total.detach())}")


def _check_losses(cls: Any, example: Example) -> None:
    """The loss is a finite scalar, and the same seed gives the same losses."""
    losses = []
    for _ in range(2):
        objective = _build(cls, example)
        torch.manual_seed(5)
        losses.append(_train(objective, example))
    require(losses[0] == losses[1], f"the same seed gave the losses {losses[0]} and then {losses[1]}")


def _check_encoder_moves(cls: Any, example: Example) -> None:
    """Training moves the encoder, unless it is frozen, and the players of each stage, but no teacher; none overlap."""
    teacher = build_teacher(example)
    taught = copy.deepcopy(teacher.state_dict())
    objective = build_method(cls, example, seed=3, teacher=teacher)
    of_teacher = {value.data_ptr() for value in teacher.state_dict().values()}
    saved = [name for name, value in objective.state_dict().items() if value.data_ptr() in of_teacher]
    require(not saved, f"the teacher is saved with the method ({', '.join(saved[:1])}); use bench_core.nn.unsaved")
    stages = stages_of(objective)
    for stage in stages:
        owned = [id(parameter) for player in stage.players for parameter in player.parameters]
        require(len(owned) == len(set(owned)), "two players own the same parameter")
    players = [player for stage in stages for player in stage.players]
    before = {name: value.clone() for name, value in objective.encoder.state_dict().items()}
    is_frozen = not any(parameter.requires_grad for parameter in objective.encoder.parameters())
    of_players = {player.name: [parameter.clone() for parameter in player.parameters] for player in players}
    _train(objective, example)
    if is_frozen:
        require(same(dict(objective.encoder.state_dict()), before), "training changed an encoder that is frozen")
    else:
        moved = any(not torch.equal(before[name], value) for name, value in objective.encoder.named_parameters())
        require(moved or not players, "no parameter of the encoder changed in two steps")
    require(same(dict(teacher.state_dict()), dict(taught)), "training changed the teacher")
    for player in players if len(stages) > 1 else ():
        moved = any(not torch.equal(*values) for values in zip(of_players[player.name], player.parameters, strict=True))
        require(moved, f"no parameter of the player {player.name!r} changed in its stage")


def _check_views(cls: Any, example: Example) -> None:
    """make_views() draws random numbers only from rng and leaves the batch unchanged."""
    objective = _build(cls, example)
    batch = next(_batches(objective, example))
    before, state = copy.deepcopy(batch), torch.get_rng_state()
    views = [objective.make_views(batch, stream(0, "views")) for _ in range(2)]
    require(same(batch, before), "make_views() changed the batch")
    require(torch.equal(torch.get_rng_state(), state), "make_views() drew from the global generator; use rng")
    require(same(views[0], views[1]), "two generators with the same seed gave different views")


def _check_embeddings(cls: Any, example: Example) -> None:
    """embed() returns finite `features`, the same in any batch and from a loaded state_dict."""
    objective = _build(cls, example)
    _train(objective, example)
    inputs = inputs_of(example, range(6))
    with torch.inference_mode():
        embeddings = objective.eval().embed(inputs)
        fault = embeddings_fault(embeddings, 6)
        require(fault is None, str(fault))
        for name, values in embeddings.items():
            require(
                not values.is_floating_point() or bool(values.isfinite().all()), f"embedding {name!r} is not finite"
            )
        some = objective.embed(inputs_of(example, (2, 0, 1)))
        alike = torch.allclose(some["features"], embeddings["features"][[2, 0, 1]], atol=1e-5)
        require(alike, "features of an item depend on the other items of its batch")
        loaded = _build(cls, example)
        loaded.load_state_dict(objective.state_dict())
        reloaded = loaded.eval().embed(inputs)
    alike = all(torch.equal(values, reloaded[name]) for name, values in embeddings.items())
    require(alike, "a loaded state gives different embeddings")


def _check_resumed_training(cls: Any, example: Example) -> None:
    """Training that is stopped and resumed ends with the same weights."""
    short = shortened(example, 2 * _BATCH)
    size = min(_BATCH, short.data.num_train // 2)
    steps_per_epoch = len(list(open_split(short.splits["train"], torch.device("cpu")).batches(size)))
    epochs = 4 // steps_per_epoch * len(stages_of(_build(cls, short)))
    recipe = Recipe(epochs=epochs, batch_size=size)
    finished = []
    with tempfile.TemporaryDirectory() as folder:
        for stops_after in (None, epochs * steps_per_epoch - 1):
            objective = _build(cls, short)
            if stops_after is not None:
                _pretrain(objective, short, recipe, Path(folder), stops_after)
                objective = _build(cls, short)
            _pretrain(objective, short, recipe, Path(folder))
            finished.append(objective.state_dict())
    different = [name for name, value in finished[0].items() if not same(value, finished[1][name])]
    names = ", ".join(different[:3])
    require(not different, f"resumed training ended with different weights: {names}; keep all state in state_dict()")


def _pretrain(
    objective: Objective, example: Example, recipe: Recipe, folder: Path, stops_after: int | None = None
) -> None:
    """Train with the real training loop, and stop it after some steps if asked to."""
    stop = Stop()
    checkpoints = Checkpoints(folder, interval=math.inf, stop=stop)
    after_step, steps = objective.after_step, itertools.count(1)

    def after_step_then_stop() -> None:
        after_step()
        if next(steps) == stops_after:
            stop.request(signal.SIGTERM)

    objective.after_step = after_step_then_stop  # type: ignore[method-assign]  # on this object only; deleted below
    source = open_split(example.splits["train"], torch.device("cpu"))
    log, device = folder / "log.jsonl", torch.device("cpu")
    with suppress(Stopped), stop.deferred():
        pretrain(objective, source, recipe, seed=0, device=device, precision="fp32", log=log, checkpoints=checkpoints)
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
)
CHECKS_OF_CLASS = (_check_variants, _check_recipe_source, check_search_spaces)
