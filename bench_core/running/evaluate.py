"""One cell: run a task on a frozen method and write its record."""

import copy
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import torch

from bench_core.contracts import Evaluation, Frozen
from bench_core.errors import StoreError
from bench_core.planning.plan import Cell, Chain
from bench_core.running.provenance import provenance
from bench_core.running.setting import Setting
from bench_core.seeds import stream_seed
from bench_core.store import Store
from bench_core.store.image_grid import image_grid
from bench_core.store.per_item import pack_items
from bench_core.store.store import FORMAT

# Of the training, which may have been another machine's; `compiled` stands where it was.
_OF_TRAINING = ("bench", "torch", "commit", "dirty", "device", "threads", "command", "compiled")


def run_cell(
    chain: Chain, cell: Cell, frozen: Frozen, summary: Mapping[str, Any], store: Store, setting: Setting
) -> None:
    """One task, and its record."""
    started, tick = datetime.now(UTC), time.perf_counter()
    with torch.random.fork_rng([]):
        torch.manual_seed(stream_seed(chain.seed, "task", cell.task.component.id))
        evaluator = cell.task.component.cls(copy.deepcopy(cell.task.config))
        evaluation: Evaluation = evaluator.evaluate(replace(frozen, others=cell.others))
    seconds = time.perf_counter() - tick
    here, there = provenance(setting.device, setting.command), summary["provenance"]
    if not evaluation.scores:
        raise StoreError(f"{cell.task.name} returned no score")
    items, left_out = pack_items(evaluation, chain.data.splits)
    store.publish(
        {
            "format": FORMAT,
            "key": cell.key,
            "doc": cell.document,
            "names": dict(cell.names),
            "scores": [asdict(score) for score in evaluation.scores],
            "protocol": evaluation.protocol,
            "notes": [*evaluation.notes, *left_out],
            "curves": {name: {k: list(v) for k, v in curve.items()} for name, curve in evaluation.curves.items()},
            "images": {name: image_grid(images) for name, images in evaluation.images.items()},
            "items": items,
            "facts": {
                "uses_labels": chain.uses_labels,
                "starts_from": chain.starts_from,
                "parameters": summary["parameters"],
                "warnings": summary.get("warnings", []),
                "splits": dict(chain.data.splits),
                "versions": _versions(chain, cell),
            },
            "provenance": {
                **here,
                "precision": chain.precision,
                "dirty": _either(here["dirty"], there["dirty"]),
                "pretrain": {name: there[name] for name in _OF_TRAINING if name in there},
                "started": started.isoformat(timespec="seconds"),
                "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            "cost": {**summary["cost"], "task_s": seconds},
        }
    )


def _either(*dirty: bool | None) -> bool | None:
    """A number is as clean as the dirtiest code that it came through."""
    return True if True in dirty else None if None in dirty else False


def _versions(chain: Chain, cell: Cell) -> dict[str, str]:
    """Distribution and version of each component of a cell."""
    parts = (chain.dataset, chain.encoder, chain.method, cell.task)
    return {part.component.id: part.component.version for part in parts}
