"""Walks a plan: what is missing, one chain at a time, one failure at a time.

(The module is not called `run`: `bench_core.run` is the function.)
"""

import copy
import shutil
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from bench_core.attempts import FAILURES, Failure, attempt, attempt_of, failure
from bench_core.checkpoint import Checkpoints
from bench_core.contracts import Evaluation, Frozen, Objective, Split
from bench_core.data import open_split
from bench_core.embed import embed_all, is_damaged, is_embedded, load_embedded, load_tensors, save_tensors
from bench_core.errors import StoreError
from bench_core.grids import image_grid
from bench_core.initial import Initial, load_initial
from bench_core.items import pack_items
from bench_core.placement import exact, placed
from bench_core.plan import Cell, Chain, Plan
from bench_core.pretrain import pretrain
from bench_core.progress import Progress, Silent, begins
from bench_core.provenance import provenance
from bench_core.seeds import stream_seed
from bench_core.stopping import Stop
from bench_core.store import FORMAT, Store, file_digest, publishing, read_sealed, sealed, write_over
from bench_core.todo import Broken, is_trained, to_run
from bench_core.views import compiled as compiled_views

# Of the training, which may have been another machine's; `compiled` stands where it was.
_OF_TRAINING = ("bench", "torch", "commit", "dirty", "device", "threads", "command", "compiled")


@dataclass(frozen=True)
class Setting:
    """Where and how a plan runs; none of it is in a key.

    Attributes:
        device: Of training, embedding and heavy tasks.
        workers: Processes that read what is streamed.
        command: For the records.
        checkpoint_every: Seconds of training that may be lost.
        compiled: Train through `torch.compile`; records say so.
        stop: Whether the process was told to stop.
    """

    device: torch.device
    workers: int = 0
    command: str | None = None
    checkpoint_every: float = 120.0
    compiled: bool = False
    stop: Stop = field(default_factory=Stop)


def run_plan(plan: Plan, store: Store, setting: Setting, progress: Progress | None = None) -> list[Failure]:
    """Run what is missing; each finished cell is on disk before the next begins.

    Returns:
        The cells that failed; they and the reason are in the store's attempts, too.

    Raises:
        RequestError: Data is missing, or the store cannot be written; nothing was run.
    """
    progress = progress or Silent()
    todo = to_run(plan, store)
    if todo:
        store.create()
    splits: dict[str, Mapping[str, Split]] = {}
    for chain in {chain.dataset.name: chain for chain, _ in reversed(todo)}.values():
        splits = {chain.dataset.name: _load(chain)}  # what is missing is said before anything is trained
    failures: list[Failure] = []
    broken = Broken(store)
    for number, (chain, cells) in enumerate(todo, 1):
        setting.stop.check()  # a signal that some library's clean-up swallowed
        progress.chain(number, len(todo), chain.label)
        if why := broken.why(chain):
            here = provenance(setting.device, setting.command)
            failures += [failure(cell, store.add_attempt(attempt(cell, *why, [], 0.0, here))) for cell in cells]
            progress.say(f"  failed: {failures[-1].error}")
            continue
        began = time.perf_counter()
        try:
            if chain.dataset.name not in splits:
                splits = {chain.dataset.name: _load(chain)}  # one dataset in memory at a time
            with exact(setting.device):
                frozen, facts = _freeze(chain, store, setting, splits[chain.dataset.name], progress)
        except FAILURES as error:
            failures += [_fail(chain, cell, store, setting, error, began, broken) for cell in cells]
            progress.say(f"  failed: {failures[-1].error}")
            continue
        for cell in cells:
            setting.stop.check()
            began = time.perf_counter()
            try:
                progress.say(begins(cell.task.name))
                with exact(setting.device):
                    _run_cell(chain, cell, frozen, facts, store, setting)
            except FAILURES as error:
                failures.append(_fail(chain, cell, store, setting, error, began, broken))
                progress.say(f"  {cell.task.name} failed: {failures[-1].error}")
    return failures


def build_objective(chain: Chain, init: Initial | None = None) -> Objective:
    """The chain's method, initialised from its seed, on the CPU; the global generator is left as it was.

    Args:
        chain: Its seed decides all that is fresh.
        init: What its encoder starts from; None is fresh, too.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(stream_seed(chain.seed, "init", "encoder", chain.encoder.component.id))
        encoder = chain.encoder.component.cls(chain.data, chain.encoder.config)
        if init:
            load_initial(encoder, init)
        torch.manual_seed(stream_seed(chain.seed, "init", "objective", chain.method.component.id))
        objective: Objective = chain.method.component.cls(encoder, chain.data, chain.method.config)
    return objective


def _load(chain: Chain) -> dict[str, Split]:
    return {name: chain.source.load(name) for name in chain.data.splits}


def _freeze(
    chain: Chain, store: Store, setting: Setting, splits: Mapping[str, Split], progress: Progress
) -> tuple[Frozen, dict[str, Any]]:
    """Pretrain and embed where that is not done yet; what evaluators see, and the summary of the pretraining."""
    folder = _trained(chain, store, setting, splits["train"], progress)
    summary = read_sealed(folder / "summary.json")

    def method() -> Objective:
        objective = build_objective(chain)
        objective.load_state_dict(load_tensors(folder / "weights.safetensors", summary["weights_sha256"]))
        return objective.to(setting.device).eval().requires_grad_(False)

    embeddings = folder / "embeddings" / chain.embed_key
    if is_embedded(embeddings) and is_damaged(embeddings):
        progress.say(f"  {embeddings} is damaged and made again")
        shutil.rmtree(embeddings)
    if not is_embedded(embeddings):
        progress.say("  embed")
        embed_all(method(), chain.data, splits, embeddings, setting.device, setting.workers)
    summary["cost"]["embed_s"] = read_sealed(embeddings / "done.json")["embed_s"]
    frozen = Frozen(
        load_embedded(embeddings, {name: splits[name] for name in chain.data.splits}),
        chain.data,
        chain.seed,
        setting.device,
        method,
        lambda name: splits[name],
    )
    return frozen, summary


def _trained(chain: Chain, store: Store, setting: Setting, train: Split, progress: Progress) -> Path:
    """The folder of a chain that has been pretrained, now if not before, and what it starts from before it."""
    folder = store.chain(chain.key)
    try:
        if not is_trained(chain, store):
            init = chain.init
            if isinstance(init, Chain):
                source = _trained(init, store, setting, train, progress)
                init = Initial(source / "weights.safetensors", read_sealed(source / "summary.json")["weights_sha256"])
            _pretrain(chain, init, folder, setting, train, progress)
    finally:  # told to stop, too: another process may have been first, and nobody needs the checkpoints any more
        if is_trained(chain, store):
            shutil.rmtree(_under_way(folder), ignore_errors=True)
    return folder


def _under_way(folder: Path) -> Path:
    """Where the checkpoints of a chain lie as long as it is trained."""
    return folder.with_name(f"{folder.name}.under-way")


def _pretrain(
    chain: Chain, init: Initial | None, folder: Path, setting: Setting, train: Split, progress: Progress
) -> None:
    """Train a chain's method; its folder appears when all is there."""
    objective = placed(build_objective(chain, init), setting.device, setting.compiled)
    checkpoints = Checkpoints(_under_way(folder), setting.checkpoint_every, setting.stop, progress.say)
    views = compiled_views() if setting.compiled else nullcontext()
    with setting.stop.held(), publishing(folder, "summary.json") as making, views:  # what is trained is kept, then stop
        recipe = {"doc": chain.document, "names": dict(chain.cells[0].names), "label": chain.label}
        write_over(making / "recipe.json", recipe)
        cost = pretrain(
            objective,
            open_split(train, setting.device, workers=setting.workers),
            chain.recipe,
            seed=chain.seed,
            device=setting.device,
            precision=chain.precision,
            log=making / "log.jsonl",
            on_epoch=progress.epoch,
            checkpoints=checkpoints,
        )
        warnings = cost.pop("warnings")
        for warning in warnings:
            progress.say(f"  warning: {warning}")
        save_tensors(making / "weights.safetensors", objective.state_dict())
        compiled = {"compiled": True} if setting.compiled else {}
        summary = {
            "weights_sha256": file_digest(making / "weights.safetensors"),
            "parameters": sum(p.numel() for p in objective.encoder.parameters()),
            "cost": cost,
            "warnings": warnings,
            "uses_labels": chain.uses_labels,
            "provenance": provenance(setting.device, setting.command) | compiled,
        }
        write_over(making / "summary.json", sealed(summary))


def _run_cell(
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


def _fail(
    chain: Chain, cell: Cell, store: Store, setting: Setting, error: BaseException, began: float, broken: Broken
) -> Failure:
    seconds, here = time.perf_counter() - began, provenance(setting.device, setting.command)
    tried = attempt_of(error, chain, cell, seconds, here)
    return failure(cell, store.add_attempt({**tried, "error": broken.note(chain, tried["kind"], tried["error"])}))
