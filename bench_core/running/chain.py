"""One chain: load its splits, pretrain its method, embed its data."""

import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from bench_core.contracts import Frozen, Objective, Split
from bench_core.data import open_split
from bench_core.devices import placed
from bench_core.files import file_digest, publishing, read_sealed, sealed, write_over
from bench_core.planning.initial_weights import Initial, load_initial
from bench_core.planning.plan import Chain
from bench_core.running.pending import is_trained
from bench_core.running.progress import Progress
from bench_core.running.provenance import provenance
from bench_core.running.setting import Setting
from bench_core.seeds import stream_seed
from bench_core.store import Store
from bench_core.store.tensors import load_tensors, save_tensors
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.embed import embed_all, is_damaged, is_embedded, load_embedded
from bench_core.training.pretrain import pretrain
from bench_core.views import compiled as compiled_views


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


def load_splits(chain: Chain) -> dict[str, Split]:
    """Read every split that the chain's dataset names."""
    return {name: chain.source.load(name) for name in chain.data.splits}


def freeze(
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
