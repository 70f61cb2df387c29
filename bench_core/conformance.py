"""What every plugin keeps to, in-tree or not.

Tried by `bench check NAME`, or in a plugin's own tests:

    from bench_core.conformance import assert_conforms

    def test_ijepa_conforms() -> None:
        assert_conforms("ijepa")

All on tiny made data, on the CPU, in about a second a component.
"""

import copy
import dataclasses
import inspect
import math
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.config import NoConfig, parameters
from bench_core.contracts import (
    Batch,
    DataSpec,
    Embedded,
    Encoder,
    EpochContext,
    Evaluation,
    Frozen,
    Loss,
    Objective,
    Recipe,
    Score,
    Split,
)
from bench_core.data import default_data_root, open_split
from bench_core.errors import CheckError, DataMissingError, UnknownNameError
from bench_core.optim import make_optimizer
from bench_core.plugins import Component, Registry, load_plugins
from bench_core.seeds import stream

SIDES = (32, 64, 8)  # the first image size that a component takes
NUM_ITEMS, NUM_CLASSES = 160, 4


@dataclass(frozen=True)
class Outcome:
    """One check: what it is, the error or None, and whether it could be tried at all."""

    check: str
    error: str | None
    tried: bool = True


def select(name: str, registry: Registry) -> list[Component]:
    """Components of this short name, id, or distribution.

    Raises:
        UnknownNameError: There is none.
    """
    found = [c for c in registry.components if name in (c.name, c.id, c.distribution)]
    if not found:
        for broken in registry.broken:
            if name in (broken.entry, broken.distribution):
                raise CheckError(f"plugin {broken.entry!r} of {broken.distribution} did not load: {broken.reason}")
        known = {c.name for c in registry.components} | {c.distribution for c in registry.components}
        raise UnknownNameError("component or package", name, known)
    return found


def assert_conforms(name: str, registry: Registry | None = None) -> None:
    """Raise CheckError with every failed check of the components of this name."""
    registry = registry or load_plugins()
    failed = [
        f"{component.id}: {outcome.check}: {outcome.error}"
        for component in select(name, registry)
        for outcome in check_component(component, registry)
        if outcome.error
    ]
    if failed:
        raise CheckError("; ".join(failed))


def check_component(component: Component, registry: Registry) -> Iterator[Outcome]:
    """Try everything that a component of its kind promises; a check that raises fails, the next one is tried."""
    checks = {
        "encoder": _ENCODER, "objective": _OBJECTIVE, "dataset": _DATASET, "evaluator": _EVALUATOR,
    }[component.kind]  # fmt: skip
    for check in (*_ALL, *checks):
        name = (check.__doc__ or "").rstrip(".")
        try:
            with torch.random.fork_rng([]):
                torch.manual_seed(0)
                check(component.cls)
            yield Outcome(name, None)
        except DataMissingError as error:
            yield Outcome(f"{name} (not tried: {error})", None, tried=False)
        except Exception as error:
            yield Outcome(name, f"{type(error).__name__}: {error}".partition("\n")[0])


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise CheckError(message)


# --- every kind


def _documented(cls: type) -> None:
    """Docstring says what it is and where it comes from."""
    module = inspect.getmodule(cls)
    text = f"{cls.__dict__.get('__doc__') or ''}\n{(module.__doc__ or '') if module else ''}"
    _need(bool(cls.__dict__.get("__doc__")), "the class has no docstring")
    source = re.search(r"https?://|Paper:|Source:|arXiv|doi|ours", text)
    _need(source is not None, "neither class nor module names a source: a link, 'Paper:', 'Source:', or 'ours'")


def _configured(cls: Any) -> None:
    """Config is frozen, keyword-only, and each default says what it is and where it is from."""
    config = cls.Config
    _need(dataclasses.is_dataclass(config), "Config is no dataclass")
    _need(config.__dataclass_params__.frozen, "Config is not frozen")
    for field in dataclasses.fields(config):
        _need(field.kw_only is True, f"{field.name} is not keyword-only")
    config()
    for parameter in parameters(config):
        _need(bool(parameter.help and parameter.source), f"{parameter.name} lacks help or source; use param(...)")
    _need(isinstance(cls.revision, int) and cls.revision >= 1, "revision must be a whole number >= 1")


_ALL: tuple[Callable[[Any], None], ...] = (_documented, _configured)


# --- encoders


def _spec_for(cls: Any) -> DataSpec:
    """The first made data that the component does not skip."""
    reasons = []
    for side in SIDES:
        spec = DataSpec(
            shape=(3, side, side),
            splits={"train": NUM_ITEMS, "test": NUM_ITEMS},
            num_classes=NUM_CLASSES,
            mean=(0.5,) * 3,
            std=(0.25,) * 3,
        )
        reason = cls.skip_reason(spec, cls.Config())
        if reason is None:
            return spec
        reasons.append(reason)
    raise DataMissingError(f"it skips the made images: {reasons[0]}")


def _images(spec: DataSpec, count: int = 16) -> Tensor:
    return torch.rand(count, *spec.shape, generator=torch.Generator().manual_seed(1))


def _encodes(cls: Any) -> None:
    """Builds from defaults, features are (N, dim) float32, finite, inputs unchanged, same in eval mode twice."""
    spec = _spec_for(cls)
    encoder, images = cls(spec, cls.Config()).eval(), _images(spec, 4)
    before = images.clone()
    features = encoder(images)
    _need(tuple(features.shape) == (4, encoder.dim), f"features {tuple(features.shape)}, expected (4, {encoder.dim})")
    _need(features.dtype == torch.float32, f"features are {features.dtype}")
    _need(bool(features.isfinite().all()), "features are not finite")
    _need(torch.equal(images, before), "inputs were changed")
    _need(torch.equal(features, encoder(images)), "eval mode gives other features the second time")


def _maps(cls: Any) -> None:
    """Maps are named and (N, channels, h, w)."""
    spec = _spec_for(cls)
    maps = cls(spec, cls.Config()).eval().maps(_images(spec, 2))
    _need(isinstance(maps, dict) and bool(maps), "maps() must give a dict with at least one map")
    for name, value in maps.items():
        _need(value.ndim == 4 and len(value) == 2, f"map {name!r} has shape {tuple(value.shape)}")


def _encoder_learns(cls: Any) -> None:
    """A gradient reaches its parameters, and state round-trips."""
    spec = _spec_for(cls)
    encoder = cls(spec, cls.Config())
    encoder(_images(spec, 4)).pow(2).mean().backward()
    grads = [p.grad for p in encoder.parameters() if p.requires_grad]
    _need(any(g is not None and bool(g.abs().sum() > 0) for g in grads), "no parameter got a gradient")
    other = cls(spec, cls.Config())
    other.load_state_dict(encoder.state_dict())
    images = _images(spec, 2)
    _need(torch.equal(encoder.eval()(images), other.eval()(images)), "a loaded state gives other features")


_ENCODER = (_encodes, _maps, _encoder_learns)


# --- objectives


class TinyEncoder(Encoder):
    """Two convolutions, for checks (ours)."""

    Config = NoConfig

    def __init__(self, data: DataSpec, config: Any = None) -> None:
        """Any image."""
        super().__init__(data, config)
        self.dim = 12
        self.first = nn.Conv2d(data.shape[0], 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, self.dim, 3, padding=1)

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Both layers."""
        first = F.relu(self.first(inputs))
        return {"first": first, "second": F.relu(self.second(first))}

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 12)."""
        return self.maps(inputs)["second"].mean((2, 3))


def _objective(cls: Any) -> tuple[Objective, DataSpec]:
    spec = _spec_for(cls)
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        return cls(TinyEncoder(spec), spec, cls.Config()), spec


def _split(spec: DataSpec) -> Split:
    images = (_images(spec, spec.num_train) * 255).to(torch.uint8)
    return Split(images, torch.arange(spec.num_train) % NUM_CLASSES)


def _train(objective: Objective, spec: DataSpec, epochs: int = 2) -> list[float]:
    """A few steps of the real loop's order; the losses."""
    source = open_split(_split(spec), torch.device("cpu"))
    shuffle, rng = stream(0, "shuffle"), stream(0, "views")
    optimizers = {p.name: make_optimizer(p.parameters, Recipe(learning_rate=1e-3)) for p in objective.players()}
    losses = []
    for epoch in range(epochs):
        context = EpochContext(
            epoch, epochs, epoch, epochs, lambda: source.batches(16, labels=objective.uses_labels), rng
        )
        notes = objective.train().before_epoch(context)
        _need(all(isinstance(v, int | float) for v in notes.values()), f"before_epoch must return numbers, got {notes}")
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
    return losses


def _refuse_bad_loss(loss: Any) -> None:
    _need(isinstance(loss, Loss), f"forward must return a Loss, got {type(loss).__name__}")
    _need(loss.total.ndim == 0, f"the loss must be a scalar, got shape {tuple(loss.total.shape)}")
    _need(math.isfinite(float(loss.total.detach())), f"the loss is {float(loss.total.detach())}")
    for name, part in loss.parts.items():
        _need(part.ndim == 0, f"part {name!r} must be a scalar, got shape {tuple(part.shape)}")


def _learns(cls: Any) -> None:
    """Builds from defaults, its loss is a finite scalar, and the same seed gives the same losses."""
    losses = []
    for _ in range(2):
        objective, spec = _objective(cls)
        torch.manual_seed(5)
        losses.append(_train(objective, spec))
    _need(losses[0] == losses[1], f"the same seed gave {losses[0]} and {losses[1]}")


def _reaches_encoder(cls: Any) -> None:
    """Training moves the encoder, if there are players."""
    objective, spec = _objective(cls)
    before = copy.deepcopy(objective.encoder.state_dict())
    players = objective.players()
    _train(objective, spec)
    moved = any(not torch.equal(before[k], v) for k, v in objective.encoder.named_parameters())
    _need(moved or not players, "no parameter of the encoder moved in two steps")
    owned = [id(p) for player in players for p in player.parameters]
    _need(len(owned) == len(set(owned)), "two players own the same parameter")


def _views_are_pure(cls: Any) -> None:
    """Views leave the batch and the global generator as they were, and depend on rng alone."""
    objective, spec = _objective(cls)
    batch = next(open_split(_split(spec), torch.device("cpu")).batches(16, labels=objective.uses_labels))
    inputs, state = batch.inputs.clone(), torch.get_rng_state()
    views = [objective.make_views(batch, stream(0, "views")) for _ in range(2)]
    _need(torch.equal(batch.inputs, inputs), "make_views changed the batch")
    _need(torch.equal(torch.get_rng_state(), state), "make_views drew from the global generator; use rng")
    _need(_same(views[0], views[1]), "the same rng gave other views")


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
    images = _images(spec, 6)
    with torch.inference_mode():
        embeddings = objective.eval().embed(images)
        _need("features" in embeddings, f"embed must give 'features', got {sorted(embeddings)}")
        for name, values in embeddings.items():
            _need(len(values) == 6, f"embedding {name!r} has {len(values)} rows for 6 inputs")
            _need(not values.is_floating_point() or bool(values.isfinite().all()), f"{name!r} is not finite")
        half = objective.embed(images[:3])
        same = torch.allclose(half["features"], embeddings["features"][:3], atol=1e-5)
        _need(same, "features depend on what else is in the batch")
        other, _ = _objective(cls)
        other.load_state_dict(objective.state_dict())
        again = other.eval().embed(images)
    _need(all(torch.equal(embeddings[k], again[k]) for k in embeddings), "a loaded state gives other embeddings")


_OBJECTIVE = (_learns, _reaches_encoder, _views_are_pure, _embeds)


# --- datasets


def _loads(cls: Any) -> None:
    """Digest is stable, and every split is what spec says."""
    dataset = cls(default_data_root(), cls.Config())
    spec = dataset.spec()
    _need("train" in spec.splits, f"no split 'train' among {sorted(spec.splits)}")
    for name, count in spec.splits.items():
        split = dataset.load(name)
        _need(len(split) == count, f"split {name!r} has {len(split)} items, spec says {count}")
        if isinstance(split.inputs, Tensor):
            shape = tuple(split.inputs.shape[1:])
            _need(shape == spec.shape, f"split {name!r} has inputs {shape}, spec says {spec.shape}")
            _need(not spec.is_image or split.inputs.dtype == torch.uint8, f"images are {split.inputs.dtype}, not uint8")
        if split.labels is not None and spec.num_classes is not None:
            low, high = int(split.labels.min()), int(split.labels.max())
            _need(low >= 0 and high < spec.num_classes, f"labels {low}..{high}, spec says {spec.num_classes} classes")
    digest = dataset.digest()
    again = cls(default_data_root(), cls.Config()).digest()
    _need(bool(digest) and digest == again, "digest() is empty or not the same twice")


def _says_what_is_missing(cls: Any) -> None:
    """In an empty folder it loads what it carries itself, or says what is missing."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = cls(Path(folder), cls.Config())
        try:
            dataset.load("train")
        except DataMissingError as error:
            _need(len(str(error)) > 20, "the error must say where it was looked for and what to type")


_DATASET = (_loads, _says_what_is_missing)


# --- evaluators


def _frozen(spec: DataSpec) -> Frozen:
    """Gaussian clusters, one a class, as features; their signs as code."""
    rng = torch.Generator().manual_seed(7)
    centres = torch.randn(NUM_CLASSES, 16, generator=rng) * 2

    def embedded(count: int) -> Embedded:
        labels = torch.arange(count) % NUM_CLASSES
        features = centres[labels] + torch.randn(count, 16, generator=rng)
        return Embedded({"features": features, "code": features > 0}, labels)

    def method() -> Objective:
        return copy.deepcopy(objective)

    objective = Untrained(TinyEncoder(spec), spec, NoConfig()).eval()
    splits = {name: embedded(count) for name, count in spec.splits.items()}
    return Frozen(splits, spec, 0, torch.device("cpu"), method, lambda name: _split(spec))


class Untrained(Objective):
    """Nothing is trained (ours), for checks."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """The inputs."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Zero."""
        return Loss(torch.zeros(()))

    def players(self) -> list[Any]:
        """Nobody."""
        return []


def _measures(cls: Any) -> None:
    """Scores are finite numbers with snake_case names, the same twice, and the embeddings stay as they were."""
    spec = DataSpec(shape=(3, 32, 32), splits={"train": NUM_ITEMS, "test": NUM_ITEMS}, num_classes=NUM_CLASSES)
    evaluator = cls(cls.Config())
    reason = evaluator.skip_reason(spec, Untrained)
    if reason is not None:
        raise DataMissingError(f"it skips the made data: {reason}")
    results: list[Evaluation] = []
    for _ in range(2):
        frozen = _frozen(spec)
        before = copy.deepcopy(frozen.splits)
        results.append(cls(cls.Config()).evaluate(frozen))
        for name, split in before.items():
            same = all(torch.equal(v, frozen.splits[name].embeddings[k]) for k, v in split.embeddings.items())
            _need(same, f"the embeddings of {name!r} were changed")
    _need(bool(results[0].scores), "no score was returned")
    _need(bool(results[0].protocol), "the protocol is empty; say split, solver, k, distance, ties")
    for score in results[0].scores:
        _refuse_bad_score(score)
    names = [score.metric for score in results[0].scores]
    _need(len(names) == len(set(names)), f"a metric stands twice in {names}")
    values = [[score.value for score in result.scores] for result in results]
    _need(values[0] == values[1], f"the same embeddings gave {values[0]} and {values[1]}")


def _refuse_bad_score(score: Score) -> None:
    _need(re.fullmatch(r"[a-z][a-z0-9_]*", score.metric) is not None, f"metric {score.metric!r} is not snake_case")
    _need(isinstance(score.value, int | float) and math.isfinite(score.value), f"{score.metric} is {score.value!r}")
    _need(score.unit != "fraction" or 0 <= score.value <= 1, f"{score.metric} is a fraction, got {score.value}")
    _need(score.n > 0, f"{score.metric} is over n = {score.n} items")


_EVALUATOR = (_measures,)
