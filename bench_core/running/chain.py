"""One chain: load its splits, pretrain its method, embed its data."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from bench_core.contracts import Frozen, Objective, Split
from bench_core.data import open_split
from bench_core.data.checked import load_split
from bench_core.devices import place_on_device
from bench_core.files import file_digest, new_folder, sealed, write_over
from bench_core.planning.initial_weights import InitialWeights, load_initial_weights
from bench_core.planning.plan import Chain
from bench_core.running.pending import is_trained
from bench_core.running.progress import Progress
from bench_core.running.provenance import provenance
from bench_core.running.setting import RunSetting
from bench_core.seeds import stream_seed
from bench_core.store import Store
from bench_core.store.chain_files import read_embedded, read_summary
from bench_core.store.tensors import load_tensors, save_tensors
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.embed import embed_all, is_damaged, is_embedded, lacking_names, load_embedded
from bench_core.training.pretrain import pretrain
from bench_core.training.trial import refuse_wrong_features
from bench_core.views import compiled as compiled_views


def build_objective(chain: Chain, init: InitialWeights | None = None) -> Objective:
    """Build the chain's method on the CPU, initialised from the chain's seed.

    The state of torch's global generator is the same afterwards as before.

    Args:
        chain: Names encoder, method and seed.
        init: Weights that the encoder starts from; None initialises it from the seed.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(stream_seed(chain.seed, "init", "encoder", chain.encoder.plugin.id))
        encoder = chain.encoder.plugin.cls(chain.data, chain.encoder.config)
        if init:
            load_initial_weights(encoder, init)
        torch.manual_seed(stream_seed(chain.seed, "init", "objective", chain.method.plugin.id))
        objective: Objective = chain.method.plugin.cls(encoder, chain.data, chain.method.config)
    return objective


def load_splits(chain: Chain) -> dict[str, Split]:
    """Read and check every split of the chain's dataset."""
    return {name: load_split(chain.loader, chain.data, name) for name in chain.data.splits}


def pretrain_and_embed(
    chain: Chain, store: Store, setting: RunSetting, splits: Mapping[str, Split], progress: Progress
) -> tuple[Frozen, dict[str, Any]]:
    """Pretrain a chain's method and embed its data, as far as the store does not hold that yet.

    Args:
        chain: The chain.
        store: Store that gets weights and embeddings, and is read first.
        setting: Device, checkpoints, workers.
        splits: All splits of the chain's dataset.
        progress: Shows the epochs and what is being done.

    Returns:
        What evaluators see of the chain, and the summary of its pretraining (`summary.json`), with the embedding's
        seconds among its cost, and the digests of the code that embedded.
    """
    folder = _train_if_needed(chain, store, setting, splits["train"], progress)
    summary = read_summary(folder)

    def load_method() -> Objective:
        objective = build_objective(chain)
        objective.load_state_dict(load_tensors(folder / "weights.safetensors", summary["weights_sha256"]))
        return objective.to(setting.torch_device).eval().requires_grad_(False)

    embeddings = folder / "embeddings" / chain.embed_key
    _embed_if_needed(chain, load_method, embeddings, setting, splits, progress)
    done = read_embedded(embeddings)
    summary["cost"]["embed_s"] = done["embed_s"]
    summary["embed_sources"] = done.get("sources", {})
    frozen = Frozen(
        splits=load_embedded(embeddings, {name: splits[name] for name in chain.data.splits}),
        data=chain.data,
        seed=chain.seed,
        device=setting.torch_device,
        method=load_method,
        inputs=lambda name: splits[name],
    )
    return frozen, summary


def _embed_if_needed(
    chain: Chain,
    load_method: Callable[[], Objective],
    folder: Path,
    setting: RunSetting,
    splits: Mapping[str, Split],
    progress: Progress,
) -> None:
    """Embed all splits, unless the folder holds every embedding that the method gives today.

    Code that is known to have made them gives the same names; other code, or unknown code, is tried on two items.
    """

    def embed(method: Objective, *, over: bool = False) -> None:
        device, workers = setting.torch_device, setting.workers
        embed_all(method, chain.data, splits, folder, device, workers, chain.sources, over=over)

    if not is_embedded(folder):
        progress.log("  embed")
        embed(load_method())
    elif is_damaged(folder):
        progress.log(f"  the embeddings in {folder} are damaged; embedding again")
        embed(load_method(), over=True)
    elif "method" not in chain.sources or read_embedded(folder).get("sources") != chain.sources:
        method = load_method()
        if lacking := lacking_names(method, splits, folder, setting.torch_device):
            names = " and ".join(map(repr, lacking))
            progress.log(f"  the embeddings lack {names}, which {chain.method.name} gives now; embedding again")
            embed(method, over=True)


def _train_if_needed(chain: Chain, store: Store, setting: RunSetting, train: Split, progress: Progress) -> Path:
    """Train a chain that is not trained yet, its source chain before it, and return the folder of its weights."""
    folder = store.chain_folder(chain.key)
    try:
        if not is_trained(chain, store):
            init, start_sources = chain.init, []
            if isinstance(init, Chain):
                source_folder = _train_if_needed(init, store, setting, train, progress)
                source_summary = read_summary(source_folder)
                init = InitialWeights(source_folder / "weights.safetensors", source_summary["weights_sha256"])
                by = source_summary["provenance"]
                start_sources = [*by.get("start_sources", []), by.get("sources", {})]
            _train(chain, init, start_sources, folder, setting, train, progress)
    finally:
        # Also after a stop signal: another process may have trained this chain meanwhile, and then nothing will read
        # these checkpoints any more.
        if is_trained(chain, store):
            shutil.rmtree(_checkpoint_folder(folder), ignore_errors=True)
    return folder


def _checkpoint_folder(folder: Path) -> Path:
    """Return the folder that holds the checkpoints of a chain while it is trained."""
    return folder.with_name(f"{folder.name}.under-way")


def _train(
    chain: Chain,
    init: InitialWeights | None,
    start_sources: Sequence[Mapping[str, str]],
    folder: Path,
    setting: RunSetting,
    train: Split,
    progress: Progress,
) -> None:
    """Train a chain's method, from its last checkpoint if there is one. `folder` appears when all files are written.

    A stop signal after the last step waits until the trained weights are written, so that no training is lost.

    Args:
        chain: The chain.
        init: Weights that the encoder starts from.
        start_sources: Digests of the code of the trainings that the chain starts from, oldest first.
        folder: Folder of the chain's artifacts.
        setting: Device, checkpoints, workers.
        train: The train split.
        progress: Shows the epochs and what is being done.
    """
    objective = place_on_device(build_objective(chain, init), setting.torch_device, setting.compiled)
    refuse_wrong_features(objective.encoder, chain.encoder.name, train, setting.torch_device)
    checkpoints = Checkpoints(
        _checkpoint_folder(folder),
        setting.checkpoint_every,
        setting.stop,
        lambda text: progress.log(f"  {text}"),
        sources=chain.sources,
        resume_anyway=setting.resume_anyway,
    )
    views = compiled_views() if setting.compiled else nullcontext()
    with setting.stop.deferred(), new_folder(folder, "summary.json") as unfinished_folder, views:
        description = {"doc": chain.document, "names": dict(chain.cells[0].names), "label": chain.label}
        write_over(unfinished_folder / "recipe.json", description)
        cost = pretrain(
            objective,
            open_split(train, setting.torch_device, workers=setting.workers),
            chain.recipe,
            seed=chain.seed,
            device=setting.torch_device,
            precision=chain.precision,
            log=unfinished_folder / "log.jsonl",
            on_epoch=progress.epoch,
            checkpoints=checkpoints,
        )
        warnings = cost.pop("warnings")
        for warning in warnings:
            progress.log(f"  warning: {warning}")
        save_tensors(unfinished_folder / "weights.safetensors", objective.state_dict())
        by = {
            "compiled": setting.compiled,
            "sources": chain.sources,
            "earlier_sources": cost.pop("earlier_sources"),
            "start_sources": list(start_sources),
            "resumed": cost.pop("resumed"),
        }
        summary = {
            "weights_sha256": file_digest(unfinished_folder / "weights.safetensors"),
            "parameters": sum(p.numel() for p in objective.encoder.parameters()),
            "cost": cost,
            "warnings": warnings,
            "uses_labels": chain.uses_labels,
            "provenance": provenance(setting.torch_device, setting.command)
            | {name: value for name, value in by.items() if value},
        }
        write_over(unfinished_folder / "summary.json", sealed(summary))
