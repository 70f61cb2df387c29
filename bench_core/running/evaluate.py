"""Runs one cell: a task on a frozen method, and writes its record."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import torch

from bench_core.contracts import Evaluation, Frozen, Score
from bench_core.errors import StoreError
from bench_core.planning.chains import Cell, Chain
from bench_core.process_settings import restored
from bench_core.running.provenance import provenance
from bench_core.running.setting import RunSetting
from bench_core.seeds import stream_seed
from bench_core.store import Store
from bench_core.store.image_grid import image_grid
from bench_core.store.per_item import pack_items
from bench_core.store.record_schema import unit_error
from bench_core.store.store import FORMAT

# Fields of the training's provenance, which may be another machine's; from `compiled` on each is there only if it says
# something.
_TRAINING_FIELDS = (
    "bench", "torch", "commit", "dirty", "device", "threads", "command",
    "compiled", "sources", "earlier_sources", "start_sources", "resumed", "ranks",
)  # fmt: skip


def run_cell(
    chain: Chain,
    cell: Cell,
    frozen: Frozen,
    summary: Mapping[str, Any],
    store: Store,
    setting: RunSetting,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Run one task and write its record.

    Args:
        chain: The chain of the cell.
        cell: The cell to run.
        frozen: The trained method and its embeddings.
        summary: Summary of the training, with its cost and provenance.
        store: Store of the record.
        setting: Device and command of this run.
        check: Called before the record is written; it raises where another process has taken over the chain.

    Raises:
        StoreError: The task returned no score, two scores of one metric, a value that its unit does not allow, or
            items that belong to no score.
    """
    started, tick = datetime.now(UTC), time.perf_counter()
    with restored():
        torch.manual_seed(stream_seed(chain.seed, "task", cell.task.plugin.id))
        evaluator = cell.task.plugin.cls(copy.deepcopy(cell.task.config))
        evaluation: Evaluation = evaluator.evaluate(replace(frozen, others=cell.other_datasets))
    seconds = time.perf_counter() - tick
    of_task, of_training = provenance(setting.torch_device, setting.command), summary["provenance"]
    _check_scores(cell.task.name, evaluation)
    items, left_out = pack_items(evaluation, chain.data.splits)
    check()
    store.add_record(
        {
            "format": FORMAT,
            "key": cell.key,
            "doc": cell.document,
            "names": dict(cell.names),
            "scores": [_plain(score) for score in evaluation.scores],
            "ranks": evaluator.ranks,
            "family": evaluator.family,
            "protocol": evaluation.protocol,
            "notes": [*evaluation.notes, *left_out],
            "curves": {name: {k: list(v) for k, v in curve.items()} for name, curve in evaluation.curves.items()},
            "images": {name: image_grid(images) for name, images in evaluation.images.items()},
            "items": items,
            "facts": {
                "uses_labels": chain.uses_labels,
                "starts_from": chain.starts_from,
                **{name: value for name, value in _facts_if_any(chain, summary).items() if value},
                "recipe_from": chain.origin.recipe_from,
                "shortened": chain.origin.shortened,
                "parameters": summary["parameters"],
                "warnings": summary.get("warnings", []),
                "splits": dict(chain.data.splits),
                "versions": _versions(chain, cell),
            },
            "provenance": {
                **of_task,
                "precision": chain.precision,
                "sources": chain.sources_of(cell),
                "embed_sources": summary["embed_sources"],
                "dirty": _is_dirty(of_task["dirty"], of_training["dirty"]),
                "pretrain": {name: of_training[name] for name in _TRAINING_FIELDS if name in of_training},
                "started": started.isoformat(timespec="seconds"),
                "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            "cost": {**summary["cost"], "task_s": seconds},
        }
    )


def _facts_if_any(chain: Chain, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts of a chain that few have; those that say nothing are left out of the record."""
    return {
        "uses_factors": chain.uses_factors,
        "transductive": chain.data.transductive and bool(chain.recipe.epochs),
        "taught_by": chain.taught_by,
        "kept_epoch": summary.get("kept_epoch"),
        "outside": chain.outside.facts(trained=bool(chain.recipe.epochs)) if chain.outside else None,
    }


def _plain(score: Score) -> dict[str, Any]:
    """Return the fields of a score; a negative zero becomes 0."""
    fields = asdict(score)
    return {name: value + 0.0 if isinstance(value, float) else value for name, value in fields.items()}


def _check_scores(task: str, evaluation: Evaluation) -> None:
    metrics = [score.metric for score in evaluation.scores]
    if not metrics:
        raise StoreError(f"{task} returned no score")
    for metric in metrics:
        if metrics.count(metric) > 1:
            raise StoreError(f"{task} returned two scores named {metric!r}; a metric's name must be unique in a task")
    for score in evaluation.scores:
        for name in ("value", "chance", "best"):
            if error := unit_error(getattr(score, name), score.unit):
                raise StoreError(f"{task} returned {score.metric} whose {name} {error}")


def _is_dirty(*dirty: bool | None) -> bool | None:
    """Return whether any code that a number came through was changed; None where that is unknown."""
    if True in dirty:
        return True
    return None if None in dirty else False


def _versions(chain: Chain, cell: Cell) -> dict[str, str]:
    """Return id -> version of each component of a cell."""
    parts = (chain.dataset, chain.encoder, chain.method, cell.task)
    return {part.plugin.id: part.plugin.version for part in parts}
