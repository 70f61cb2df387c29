"""Numbers of a tiny run of every method, encoder and task, so that none changes under an unchanged key.

    python tests/fingerprints.py            # what differs from tests/fingerprints.json
    python tests/fingerprints.py --write    # take in what is new, or what has a higher revision

What is in a key stands beside the numbers: id, revision, parameters, protocol. Other numbers under the same document
would be averaged with published ones, so `--write` leaves them out: raise the class's `revision`, or `PROTOCOL` in
bench_core/keys.py where the harness changed. What numpy, scikit-learn or torch round otherwise is no reason for either:
delete that entry and write it again, and say so in the commit.
"""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line does, before torch is imported

import json
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bench_core import DataSpec, Recipe
from bench_core.checks.evaluators import _frozen
from bench_core.checks.made import (
    FACTORS,
    NUM_CLASSES,
    NUM_ITEMS,
    TinyEncoder,
    Untrained,
    images_of,
    spec_for,
    split_of,
)
from bench_core.config import plain
from bench_core.data import open_split
from bench_core.errors import DataMissingError
from bench_core.keys import PROTOCOL
from bench_core.plugins import Component, load_plugins
from bench_core.pretrain import pretrain

FILE = Path(__file__).with_suffix(".json")
TOLERANCE = 1e-5  # relative, below 1 absolute: machines and numbers of threads round otherwise
STEPS, BATCH = 3, 8
# Adam would make steps of a full rate out of gradients that are rounding alone.
RECIPE = Recipe(optimizer="sgd", learning_rate=1e-4, schedule="constant", batch_size=BATCH, epochs=1)
DEAR = {
    "alexnet",
    "resnet50",
    "fewshot",
    "finetune",
    "generation",
    "transfer",
}  # seconds each, a network's weights, or sums of flips


def components() -> list[Component]:
    """All that are built in and cheap."""
    registry = load_plugins()
    kinds = ("objective", "encoder", "evaluator")
    return [
        c for kind in kinds for c in registry.of_kind(kind) if c.name not in DEAR and c.distribution == "bench-core"
    ]


def document(component: Component) -> dict[str, Any]:
    """What of it is in a key, with its defaults."""
    cls = component.cls
    return {"id": component.id, "revision": cls.revision, "config": plain(cls.Config()), "protocol": PROTOCOL}


def numbers(component: Component) -> dict[str, float]:
    """Name -> value of a tiny run in float32 on the CPU, from fixed seeds; empty for a task that skips made data."""
    measures: dict[str, Callable[[Any], dict[str, float]]] = {
        "objective": _of_objective, "encoder": _of_encoder, "evaluator": _of_evaluator,
    }  # fmt: skip
    with torch.random.fork_rng([]):
        torch.manual_seed(11)
        return measures[component.kind](component.cls)


def differing(ours: dict[str, float], kept: dict[str, float]) -> list[str]:
    """Names of the numbers that are not the same within `TOLERANCE`."""
    names = sorted({*ours, *kept})
    pairs = [(name, ours.get(name, math.nan), kept.get(name, math.nan)) for name in names]
    return [name for name, a, b in pairs if not math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)]


def complaint(component: Component, kept: dict[str, Any] | None, ours: dict[str, float]) -> str | None:
    """What is to be done about a component, or None where all is well."""
    label = _label(component)
    if kept is None or kept["document"] != document(component):
        return f"{label} is new here or has another document: python tests/fingerprints.py --write"
    if changed := differing(ours, kept["numbers"]):
        return (
            f"{label} gives other numbers ({', '.join(changed)}) under the same key: raise `revision` in "
            f"{component.cls.__name__} (or PROTOCOL, where the harness changed), then "
            "python tests/fingerprints.py --write"
        )
    return None


def _of_objective(cls: Any) -> dict[str, float]:
    """What it embeds when it is fresh, and the mean losses of three steps of the loop that trains all methods."""
    spec = spec_for(cls)
    spec = DataSpec(**{**vars(spec), "splits": {"train": STEPS * BATCH, "test": BATCH}})
    objective = cls(TinyEncoder(spec), spec, cls.Config())
    with torch.inference_mode():
        embedded = objective.eval().embed(images_of(spec))
    found = {f"embeds {name}": float(value.double().abs().mean()) for name, value in embedded.items()}
    source, device = open_split(split_of(spec), torch.device("cpu")), torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        pretrain(objective, source, RECIPE, seed=0, device=device, precision="fp32", log=log)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    return found | {k: float(v) for line in lines for k, v in line.items() if k.rpartition(".")[2] == "loss"}


def _of_encoder(cls: Any) -> dict[str, float]:
    """Losses of three steps towards features of 1, and the features in eval mode then."""
    spec = spec_for(cls)
    encoder, images = cls(spec, cls.Config()).train(), images_of(spec, BATCH)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=1e-2)
    found = {}
    for step in range(STEPS):
        loss = (encoder(images) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found[f"loss {step}"] = float(loss.detach())
    with torch.inference_mode():
        return found | {"features": float(encoder.eval()(images).double().abs().mean())}


def _of_evaluator(cls: Any) -> dict[str, float]:
    """Its scores on made clusters."""
    spec = DataSpec(
        shape=(3, 32, 32), splits={"train": NUM_ITEMS, "test": NUM_ITEMS}, num_classes=NUM_CLASSES, factors=FACTORS
    )
    evaluator = cls(cls.Config())
    if evaluator.skip_reason(spec, Untrained) is not None:
        return {}
    try:
        evaluation = evaluator.evaluate(_frozen(spec, evaluator.datasets(spec)))
    except DataMissingError:
        return {}
    return {score.metric: float(score.value) for score in evaluation.scores}


def main(write: bool) -> int:
    """Check all, or take in what has a document that is not in the file; the exit code."""
    kept: dict[str, Any] = json.loads(FILE.read_text()) if FILE.is_file() else {}
    known = components()
    kept = {label: kept[label] for label in map(_label, known) if label in kept}
    wrong = 0
    for component in known:
        label, asked = _label(component), document(component)
        if not write:
            said = complaint(component, kept.get(label), numbers(component))
        elif kept.get(label, {}).get("document") == asked:
            continue
        else:
            one, two = (_with_threads(threads, component) for threads in (1, 2))
            unstable = differing(one, two)
            said = f"{label}: {', '.join(unstable)} depend on the number of threads" if unstable else None
            kept[label] = {"document": asked, "numbers": one}
            FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
        if said:
            print(said)
            wrong += 1
    return int(wrong > 0)


def _label(component: Component) -> str:
    return f"{component.kind} {component.id}"


def _with_threads(threads: int, component: Component) -> dict[str, float]:
    torch.set_num_threads(threads)
    return numbers(component)


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
