"""Numbers of a tiny run of every method, encoder and task, so that none changes under an unchanged key.

    python tests/fingerprints/compute.py            # what differs from tests/fingerprints/fingerprints.json
    python tests/fingerprints/compute.py --write    # take in what is new, or what has a higher revision

What is in a key stands beside the numbers: id, revision, parameters, protocol. Other numbers under the same document
would be averaged with published ones, so `--write` leaves them out: raise the class's `revision`, or `PROTOCOL` in
bench_core/keys.py where the harness changed. What numpy, scikit-learn or torch round otherwise is no reason for either:
delete that entry and write it again, and say so in the commit.

Runs are small: widths, steps and items are those of tests/fingerprints/small_sizes.toml, all else is as the document
says. Not held
here: data sets, whose digests are in every key; variants that are another recipe alone, and recipes (tests of
`bench_core.training.optimizers`); the network that judges in `generation`, for 300 steps of Adam make numbers out of
rounding (tests
of `bench_evaluators.generation.reference_network`).
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line does, before torch is imported

import json
import math
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench_core import DataSpec, Embedded, Frozen, Recipe, Split
from bench_core.config import build, plain
from bench_core.conformance.evaluators import _frozen
from bench_core.conformance.toys import (
    FACTORS,
    NUM_CLASSES,
    NUM_ITEMS,
    TinyEncoder,
    Untrained,
    images_of,
    spec_for,
    split_of,
)
from bench_core.data import open_split
from bench_core.keys import PROTOCOL
from bench_core.plugins import Component, load_plugins
from bench_core.training.embed import embed_split
from bench_core.training.pretrain import pretrain
from bench_methods.vae import VAE, VAEConfig

FILE = Path(__file__).with_name("fingerprints.json")
MADE = 2  # raised where this file changes what is run
TOLERANCE = 1e-5  # relative, below 1 absolute: machines and numbers of threads round otherwise
STEPS, BATCH = 3, 8
# Adam would make steps of a full rate out of gradients that are rounding alone.
RECIPE = Recipe(optimizer="sgd", learning_rate=1e-4, schedule="constant", batch_size=BATCH, epochs=1)
CPU = torch.device("cpu")
SMALLER: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("small_sizes.toml").read_text())


@dataclass(frozen=True)
class Case:
    """A component, or one of a method's variants."""

    component: Component
    variant: str = ""

    @property
    def name(self) -> str:
        """As a request names it."""
        return f"{self.component.name}:{self.variant}" if self.variant else self.component.name

    @property
    def label(self) -> str:
        """Its place in the file."""
        return f"{self.component.kind} {self.component.distribution}/{self.name}"

    @property
    def config(self) -> Any:
        """What is in its key."""
        cls: Any = self.component.cls
        return build(cls.Config, cls.variants[self.variant].config, self.name) if self.variant else cls.Config()

    @property
    def smaller(self) -> dict[str, Any]:
        """What its run has in the place of those."""
        return {**SMALLER.get(self.component.name, {}), **SMALLER.get(self.name, {})}

    @property
    def document(self) -> dict[str, Any]:
        """What of it is in a key, and what is run."""
        revision = self.component.cls.revision
        key = {"id": self.component.id, "revision": revision, "config": plain(self.config), "protocol": PROTOCOL}
        return key | {"run": {"made": MADE, **plain(build(type(self.config), self.smaller, self.name, self.config))}}

    def numbers(self) -> dict[str, float]:
        """Name -> value of a tiny run in float32 on the CPU, from fixed seeds."""
        measures: dict[str, Callable[[Any, Any], dict[str, float]]] = {
            "objective": _of_objective, "encoder": _of_encoder, "evaluator": _of_evaluator,
        }  # fmt: skip
        with torch.random.fork_rng([]):
            torch.manual_seed(11)
            config = build(type(self.config), self.smaller, self.name, self.config)
            return measures[self.component.kind](self.component.cls, config)


def cases() -> Iterator[Case]:
    """All that are built in; variants that compute something of their own."""
    registry = load_plugins()
    for kind in ("objective", "encoder", "evaluator"):
        for component in registry.of_kind(kind):
            if component.distribution != "bench-core":
                continue
            yield Case(component)
            known = [Case(component).config]
            for variant in getattr(component.cls, "variants", {}):
                if (case := Case(component, variant)).config not in known:  # else it is another recipe alone
                    known.append(case.config)
                    yield case


def differing(ours: dict[str, float], kept: dict[str, float]) -> list[str]:
    """Names of the numbers that are not the same within `TOLERANCE`."""
    names = sorted({*ours, *kept})
    pairs = [(name, ours.get(name, math.nan), kept.get(name, math.nan)) for name in names]
    return [name for name, a, b in pairs if not math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)]


def complaint(case: Case, kept: dict[str, Any] | None, ours: dict[str, float]) -> str | None:
    """What is to be done about a case, or None where all is well."""
    if kept is None or kept["document"] != case.document:
        return f"{case.label} is new here or has another document: python tests/fingerprints/compute.py --write"
    if changed := differing(ours, kept["numbers"]):
        return (
            f"{case.label} gives other numbers ({', '.join(changed)}) under the same key: raise `revision` in "
            f"{case.component.cls.__name__} (or PROTOCOL, where the harness changed), then "
            "python tests/fingerprints/compute.py --write"
        )
    return None


def _of_objective(cls: Any, config: Any) -> dict[str, float]:
    """What it embeds when it is fresh, and the mean losses of three steps of the loop that trains all methods."""
    spec = spec_for(cls)
    spec = DataSpec(**{**vars(spec), "splits": {"train": STEPS * BATCH, "test": BATCH}})
    objective = cls(TinyEncoder(spec), spec, config)
    with torch.inference_mode():
        embedded = objective.eval().embed(images_of(spec))
    found = {f"embeds {name}": float(value.double().abs().mean()) for name, value in embedded.items()}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        pretrain(objective, open_split(split_of(spec), CPU), RECIPE, seed=0, device=CPU, precision="fp32", log=log)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    return found | {k: float(v) for line in lines for k, v in line.items() if k.rpartition(".")[2] == "loss"}


def _of_encoder(cls: Any, config: Any) -> dict[str, float]:
    """Loss of a step towards features of 1, and the features and maps in eval mode then."""
    spec = spec_for(cls)
    encoder, images = cls(spec, config).train(), images_of(spec, 4)
    loss = (encoder(images) - 1).square().mean()
    loss.backward()
    with torch.inference_mode():
        for parameter in encoder.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad
        encoder.eval()
        seen = {"features": encoder(images), **{f"map {name}": v for name, v in encoder.maps(images).items()}}
    return {"loss": float(loss.detach())} | {name: float(v.double().abs().mean()) for name, v in seen.items()}


def _of_evaluator(cls: Any, config: Any) -> dict[str, float]:
    """Its scores on made clusters that overlap, or on a small VAE for tasks that ask for such a method."""
    evaluator = cls(config)
    splits = {"train": NUM_ITEMS, "test": NUM_ITEMS}
    spec = DataSpec(shape=(3, 16, 16), splits=splits, num_classes=NUM_CLASSES, factors=FACTORS)
    if evaluator.skip_reason(spec, Untrained) is None:
        frozen = _less_clear(_frozen(spec, evaluator.datasets(spec)))
    else:
        spec = DataSpec(shape=(1, 8, 8), splits=splits)
        assert evaluator.skip_reason(spec, VAE) is None
        frozen = _frozen_vae(spec)
    return {score.metric: float(score.value) for score in evaluator.evaluate(frozen).scores}


def _less_clear(frozen: Frozen) -> Frozen:
    """With so much noise that accuracies are neither 1 nor chance, and images that show their class a little."""
    rng = torch.Generator().manual_seed(3)

    def noisy(part: Embedded) -> Embedded:
        features = part.embeddings["features"]
        features = features + 3 * torch.randn(features.shape, generator=rng)
        return replace(part, embeddings={"features": features, "code": features > 0})

    def shaded(load: Callable[[str], Split]) -> Callable[[str], Split]:
        return lambda name: _shaded(load(name), torch.Generator().manual_seed(len(name)))

    return replace(
        frozen,
        splits={name: noisy(part) for name, part in frozen.splits.items()},
        inputs=shaded(frozen.inputs),
        others={name: replace(other, load=shaded(other.load)) for name, other in frozen.others.items()},
    )


def _shaded(split: Split, rng: torch.Generator) -> Split:
    """Cells of 4 x 4 pixels of random grey, a little lighter for each higher class."""
    assert isinstance(split.inputs, Tensor)
    assert split.labels is not None
    count, channels, height, width = split.inputs.shape
    cells = torch.randint(0, 200, (count, channels, height // 4, width // 4), generator=rng)
    lighter = cells + 8 * split.labels[:, None, None, None]
    return replace(split, inputs=lighter.repeat_interleave(4, 2).repeat_interleave(4, 3).to(torch.uint8))


def _frozen_vae(spec: DataSpec) -> Frozen:
    """An untrained VAE, and images without labels."""
    method = VAE(TinyEncoder(spec), spec, VAEConfig(latent_dim=4, width=4)).eval()
    images = torch.split(images_of(spec, 2 * NUM_ITEMS).mul(255).to(torch.uint8), NUM_ITEMS)
    inputs = {name: Split(part) for name, part in zip(spec.splits, images, strict=True)}
    parts = {name: Embedded(embed_split(method, split, CPU)) for name, split in inputs.items()}
    return Frozen(parts, spec, 0, CPU, lambda: method, lambda name: inputs[name])


def main(write: bool) -> int:
    """Check all, or take in what has a document that is not in the file; the exit code."""
    kept: dict[str, Any] = json.loads(FILE.read_text()) if FILE.is_file() else {}
    known = list(cases())
    kept = {case.label: kept[case.label] for case in known if case.label in kept}
    wrong = 0
    for case in known:
        if not write:
            said = complaint(case, kept.get(case.label), case.numbers())
        elif kept.get(case.label, {}).get("document") == case.document:
            continue
        else:
            one, two = (_with_threads(threads, case) for threads in (1, 2))
            unstable = differing(one, two)
            said = f"{case.label}: {', '.join(unstable)} depend on the number of threads" if unstable else None
            kept[case.label] = {"document": case.document, "numbers": one}
            FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        if said:
            print(said)
            wrong += 1
    return int(wrong > 0)


def _with_threads(threads: int, case: Case) -> dict[str, float]:
    torch.set_num_threads(threads)
    return case.numbers()


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
