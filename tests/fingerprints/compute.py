"""Compute numbers of a tiny run of every method, encoder and task; no number may change while its key stays the same.

    python tests/fingerprints/compute.py            # print what differs from tests/fingerprints/fingerprints.json
    python tests/fingerprints/compute.py --write    # add entries that are new or have a higher revision

The file holds numbers beside the content of their key: id, revision, parameters, protocol. Numbers that changed under
the same key would be averaged with published ones, so `--write` refuses them: raise the class's `revision`, or
`HARNESS_REVISION` in bench_core/keys.py where the harness changed. Rounding that changed in numpy, scikit-learn or
torch is no reason to raise either: delete that entry, write it again, and state it in the commit message.

Runs are small: widths, steps and items are those of tests/fingerprints/small_sizes.toml, everything else is as in the
key. The numbers hold in every version that is promised (tests/versions.sh), so dropout is off, and recall and
distances of HNSW are left out. Not covered: datasets, whose digests are in every key; recipes, and variants that differ
in the recipe only (see the tests of `bench_core.training.optimizers`); the network that judges in `generation`, because
300 steps of Adam turn rounding into numbers (see the tests of `bench_evaluators.generation.reference_network`).
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
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench_core import DataSpec, Embedded, Example, Frozen, Recipe, Split
from bench_core.config import build, plain
from bench_core.conformance.encoders import brings_weights
from bench_core.conformance.evaluators import _frozen, _toy_frozen
from bench_core.conformance.examples import build_encoder, build_teacher, examples_of, inputs_of, shortened
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
from bench_core.contracts.keywords import named_only, needs
from bench_core.data import NodeMap, open_split
from bench_core.errors import CheckError
from bench_core.keys import HARNESS_REVISION
from bench_core.plugins import Component, load_plugins
from bench_core.training.embed import embed_split
from bench_core.training.pretrain import pretrain
from bench_methods.vae import VAE, VAEConfig

FILE = Path(__file__).with_name("fingerprints.json")
RUN_VERSION = 2  # raise it where this file changes what is run
TOLERANCE = 1e-5  # relative, and absolute below 1: machines and numbers of threads round differently
STEPS, BATCH = 3, 8
# Adam would turn gradients that are only rounding into steps of the full rate.
RECIPE = Recipe(optimizer="sgd", learning_rate=1e-4, schedule="constant", batch_size=BATCH, epochs=1)
CPU = torch.device("cpu")
REGISTRY = load_plugins()
LEFT_OUT = {"search_cost": {"recall_at_10_hnsw", "distances_hnsw"}}  # from faiss 1.15.1 on HNSW builds another graph
WITHOUT_DROPOUT = {"alexnet": {"dropout": 0.0}}  # torch 2.6 drops other units than 2.14 from the same seed
SMALLER: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("small_sizes.toml").read_text())


@dataclass(frozen=True)
class Case:
    """A component, or one of a method's variants."""

    component: Component
    variant: str = ""

    @property
    def name(self) -> str:
        """Name in a request: "nac" or "nac:hashing"."""
        return f"{self.component.name}:{self.variant}" if self.variant else self.component.name

    @property
    def label(self) -> str:
        """Name of its entry in the file."""
        return f"{self.component.kind} {self.component.distribution}/{self.name}"

    @property
    def config(self) -> Any:
        """Parameters in its key."""
        cls: Any = self.component.cls
        return build(cls.Config, cls.variants[self.variant].config, self.name) if self.variant else cls.Config()

    @property
    def smaller(self) -> dict[str, Any]:
        """Parameters that its run has instead, so that it is small and its numbers hold in every version of torch."""
        name = self.component.name
        return {**SMALLER.get(name, {}), **SMALLER.get(self.name, {}), **WITHOUT_DROPOUT.get(name, {})}

    @property
    def document(self) -> dict[str, Any]:
        """Content of its key, and parameters of its run."""
        revision = self.component.cls.revision
        key = {
            "id": self.component.id,
            "revision": revision,
            "config": plain(self.config),
            "protocol": HARNESS_REVISION,
        }
        return key | {
            "run": {"made": RUN_VERSION, **plain(build(type(self.config), self.smaller, self.name, self.config))}
        }

    def numbers(self) -> dict[str, float]:
        """Return the numbers of a tiny run in float32 on the CPU from fixed seeds, by name."""
        measures: dict[str, Callable[[Any, Any], dict[str, float]]] = {
            "objective": _method_numbers, "encoder": _encoder_numbers, "evaluator": _task_numbers,
        }  # fmt: skip
        with torch.random.fork_rng([]):
            torch.manual_seed(11)
            config = build(type(self.config), self.smaller, self.name, self.config)
            numbers = measures[self.component.kind](self.component, config)
        return {name: value for name, value in numbers.items() if name not in LEFT_OUT.get(self.component.name, set())}


def cases() -> Iterator[Case]:
    """Yield every built-in component, and each variant that has other parameters than the cases before it."""
    for kind in ("objective", "encoder", "evaluator"):
        for component in REGISTRY.of_kind(kind):
            if component.distribution != "bench-core" or _waits_for_weights(component):
                continue
            yield Case(component)
            known = [Case(component).config]
            for variant in getattr(component.cls, "variants", {}):
                if (case := Case(component, variant)).config not in known:  # else only its recipe differs
                    known.append(case.config)
                    yield case


def _waits_for_weights(component: Component) -> bool:
    """Return whether an encoder runs nothing until a file of weights is named."""
    if component.kind != "encoder" or not brings_weights(component.cls):
        return False
    try:
        return not examples_of(component, REGISTRY)
    except CheckError:
        return True


def differing(computed: dict[str, float], stored: dict[str, float]) -> list[str]:
    """Return the names of the numbers that differ by more than `TOLERANCE`."""
    names = sorted({*computed, *stored})
    pairs = [(name, computed.get(name, math.nan), stored.get(name, math.nan)) for name in names]
    return [name for name, a, b in pairs if not math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)]


def complaint(case: Case, stored: dict[str, Any] | None, computed: dict[str, float]) -> str | None:
    """Return what to do about a case, or None where its numbers are those of the file."""
    if stored is None or stored["document"] != case.document:
        return f"{case.label} is new or has another key: python tests/fingerprints/compute.py --write"
    if changed := differing(computed, stored["numbers"]):
        return (
            f"{case.label} gives other numbers ({', '.join(changed)}) under the same key: raise `revision` in "
            f"{case.component.cls.__name__} (or HARNESS_REVISION, where the harness changed), then "
            "python tests/fingerprints/compute.py --write"
        )
    return None


def _example(component: Component) -> Example:
    """Return what a component is run on: toy images where it reads them, else made data of another kind."""
    return examples_of(component, REGISTRY)[0]


def _method_numbers(component: Component, config: Any) -> dict[str, float]:
    """Return mean embeddings of the untrained method, and the mean losses of three steps of the training loop."""
    cls: Any = component.cls
    example = shortened(_example(component), STEPS * BATCH)
    if example.encoder is TinyEncoder and not needs(cls.__init__, "teacher"):
        spec = DataSpec(**{**vars(spec_for(cls)), "splits": {"train": STEPS * BATCH, "test": BATCH}})
        objective = cls(TinyEncoder(spec), spec, config, **named_only(cls.__init__, new_encoder=TinyEncoder))
        inputs, split = images_of(spec), split_of(spec)
    else:
        offered = {"teacher": build_teacher(example), "new_encoder": partial(build_encoder, example)}
        encoder = build_encoder(example)
        objective = cls(encoder, example.data, config, **named_only(cls.__init__, **offered))
        inputs, split = inputs_of(example, range(16)), example.splits["train"]
    with torch.inference_mode():
        embedded = objective.eval().embed(inputs)
    numbers = {f"embeds {name}": float(value.double().abs().mean()) for name, value in embedded.items()}
    recipe = replace(RECIPE, epochs=len(objective.stages()))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        pretrain(objective, open_split(split, CPU), recipe, seed=0, device=CPU, precision="fp32", log=log)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    return numbers | {
        f"{line.get('stage', '')} {k}".strip(): float(v)
        for line in lines
        for k, v in line.items()
        if k.rpartition(".")[2] == "loss"
    }


def _encoder_numbers(component: Component, config: Any) -> dict[str, float]:
    """Return the loss of a step towards features of 1, and mean features and maps in eval mode after it."""
    cls: Any = component.cls
    example = _example(component)
    if example.data.is_image:
        spec = spec_for(cls)
        encoder, images = cls(spec, config).train(), images_of(spec, 4)
    else:
        encoder, images = cls(example.data, config).train(), inputs_of(example, range(4))
    loss = (encoder(images) - 1).square().mean()
    if loss.requires_grad:  # `identity` has nothing to train
        loss.backward()
    with torch.inference_mode():
        for parameter in encoder.parameters():
            if parameter.grad is not None:
                parameter -= 1e-3 * parameter.grad
        encoder.eval()
        maps = {f"map {name}": v.values if isinstance(v, NodeMap) else v for name, v in encoder.maps(images).items()}
        outputs = {"features": encoder(images), **{name: v for name, v in maps.items() if isinstance(v, Tensor)}}
    return {"loss": float(loss.detach())} | {name: float(v.double().abs().mean()) for name, v in outputs.items()}


def _task_numbers(component: Component, config: Any) -> dict[str, float]:
    """Return the scores on toy clusters that overlap, or on a small VAE for tasks that need such a method."""
    evaluator: Any = component.cls(config)
    example = _example(component)
    if not example.data.is_image:
        frozen = _with_noise(_frozen(example, evaluator.datasets(example.data)))
        return {score.metric: float(score.value) for score in evaluator.evaluate(frozen).scores}
    splits = {"train": NUM_ITEMS, "test": NUM_ITEMS}
    spec = DataSpec(shape=(3, 16, 16), splits=splits, num_classes=NUM_CLASSES, factors=FACTORS)
    if evaluator.skip_reason(spec, Untrained) is None:
        frozen = _with_noise(_toy_frozen(spec, evaluator.datasets(spec)))
    else:
        spec = DataSpec(shape=(1, 8, 8), splits=splits)
        assert evaluator.skip_reason(spec, VAE) is None
        frozen = _frozen_vae(spec)
    return {score.metric: float(score.value) for score in evaluator.evaluate(frozen).scores}


def _with_noise(frozen: Frozen) -> Frozen:
    """Add so much noise that accuracies are neither 1 nor chance, and make images that show their class a little."""
    rng = torch.Generator().manual_seed(3)

    def noisy(part: Embedded) -> Embedded:
        if part.embeddings.keys() != {"features", "code"}:
            return part  # of a method that can do what the task needs
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
    """Replace images by cells of 4 x 4 pixels of random grey, a little lighter for each higher class."""
    if not isinstance(split.inputs, Tensor) or split.inputs.ndim != 4:
        return split
    assert split.labels is not None
    count, channels, height, width = split.inputs.shape
    cells = torch.randint(0, 200, (count, channels, height // 4, width // 4), generator=rng)
    lighter = cells + 8 * split.labels[:, None, None, None]
    return replace(split, inputs=lighter.repeat_interleave(4, 2).repeat_interleave(4, 3).to(torch.uint8))


def _frozen_vae(spec: DataSpec) -> Frozen:
    """Return an untrained VAE with its embeddings of images without labels."""
    method = VAE(TinyEncoder(spec), spec, VAEConfig(latent_dim=4, width=4)).eval()
    images = torch.split(images_of(spec, 2 * NUM_ITEMS).mul(255).to(torch.uint8), NUM_ITEMS)
    inputs = {name: Split(part) for name, part in zip(spec.splits, images, strict=True)}
    parts = {name: Embedded(embed_split(method, split, CPU)) for name, split in inputs.items()}
    return Frozen(parts, spec, 0, CPU, lambda: method, lambda name: inputs[name])


def main(write: bool) -> int:
    """Check all cases, or write those whose key is not in the file; return the exit code."""
    stored: dict[str, Any] = json.loads(FILE.read_text()) if FILE.is_file() else {}
    all_cases = list(cases())
    stored = {case.label: stored[case.label] for case in all_cases if case.label in stored}
    complaints = 0
    for case in all_cases:
        if not write:
            text = complaint(case, stored.get(case.label), case.numbers())
        elif stored.get(case.label, {}).get("document") == case.document:
            continue
        else:
            one_thread, two_threads = (_with_threads(threads, case) for threads in (1, 2))
            unstable = differing(one_thread, two_threads)
            text = f"{case.label}: {', '.join(unstable)} depend on the number of threads" if unstable else None
            stored[case.label] = {"document": case.document, "numbers": one_thread}
            FILE.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
        if text:
            print(text)
            complaints += 1
    return int(complaints > 0)


def _with_threads(threads: int, case: Case) -> dict[str, float]:
    torch.set_num_threads(threads)
    return case.numbers()


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
