"""One chain: load its splits, pretrain its method, embed its data."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench_core.config import NoConfig
from bench_core.contracts import Batch, DataSpec, Encoder, Frozen, Loss, Objective, Split
from bench_core.contracts.keywords import named_only
from bench_core.data import open_split
from bench_core.data.checked import load_split
from bench_core.devices import place_on_device, taken_and_all_gib
from bench_core.files import file_digest, new_folder
from bench_core.keys import key_of
from bench_core.planning.chains import Chain
from bench_core.planning.initial_weights import InitialWeights, load_initial_weights, load_weights
from bench_core.running.kept_epochs import KeptEpochs, cost_until, weights_after
from bench_core.running.loggers import open_loggers
from bench_core.running.pending import is_trained, to_train
from bench_core.running.probe import make_probe
from bench_core.running.progress import Progress
from bench_core.running.provenance import provenance
from bench_core.running.rank_leader import together
from bench_core.running.setting import RunSetting
from bench_core.running.threads import running_threads
from bench_core.seeds import stream_seed
from bench_core.store import Store
from bench_core.store.chain_files import LAST, LOG, read_embedded, read_summary, write_chain
from bench_core.store.data_spec import spec_to_json
from bench_core.store.tensors import load_tensors, save_tensors
from bench_core.store.under_way import LiveLog, under_way_folder
from bench_core.training.checkpoints import Checkpoints
from bench_core.training.distributed import shared_rows
from bench_core.training.embed import embed_all, is_damaged, is_embedded, lacking_names, load_embedded
from bench_core.training.pretrain import pretrain
from bench_core.training.rank_group import RankGroup
from bench_core.training.trial import refuse_wrong_features
from bench_core.views import compiled as compiled_views

FindWeights = Callable[[Chain], InitialWeights]  # finds the trained weights of a chain that this request has trained
Check = Callable[[], None]  # raises where this process shall not go on


def unchecked() -> None:
    """Go on; for a chain on which no other process can work."""


def build_objective(
    chain: Chain,
    init: InitialWeights | None = None,
    weights_of: FindWeights | None = None,
    log: Callable[[str], object] | None = None,
) -> Objective:
    """Build the chain's method on the CPU, initialised from the chain's seed.

    The state of torch's global generator is the same afterwards as before.

    Args:
        chain: Names encoder, method, seed and teacher.
        init: Weights that the encoder starts from; None initialises it from the seed.
        weights_of: Finds the weights of a teacher that is another chain. None leaves such a teacher as it is
            initialised, for trials.
        log: Called with each line on what was loaded, where `init` is a file.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(stream_seed(chain.seed, "init", "encoder", chain.encoder.plugin.id))
        encoder = _build_encoder(chain, chain.data)
        if init:
            loaded = load_initial_weights(encoder, init)
            if log and "sha256" in init.document:
                for line in loaded.splitlines():
                    log(line)
        cls = chain.method.plugin.cls
        offered: dict[str, Any] = {"new_encoder": partial(_build_encoder, chain)}
        if chain.teacher:
            offered["teacher"] = _build_teacher(chain, weights_of)
        torch.manual_seed(stream_seed(chain.seed, "init", "objective", chain.method.plugin.id))
        objective: Objective = cls(encoder, chain.data, chain.method.config, **named_only(cls.__init__, **offered))
    return objective


def _build_encoder(chain: Chain, data: DataSpec) -> Encoder:
    """Build an encoder of the chain's class and parameters, with weights from torch's global generator."""
    encoder: Encoder = chain.encoder.plugin.cls(data, chain.encoder.config)
    return encoder


def _build_teacher(chain: Chain, weights_of: FindWeights | None) -> Objective:
    """Build the teacher of a chain with its trained weights, frozen and in eval mode."""
    teacher = chain.teacher
    if isinstance(teacher, Chain):
        objective = build_objective(teacher, weights_of=weights_of)
        weights = weights_of(teacher) if weights_of else None
    else:
        assert teacher is not None, "called for chains with a teacher"
        weights = teacher.weights
        encoder = replace(chain, encoder=teacher.encoder)
        if teacher.method is None:
            objective = EncoderAlone(_build_encoder(encoder, chain.data), chain.data, NoConfig())
            load_initial_weights(objective.encoder, weights)
            weights = None
        else:
            objective = build_objective(replace(encoder, method=teacher.method, teacher=None, init=None))
    if weights:
        load_weights(objective, weights)
    return objective.eval().requires_grad_(False)


class EncoderAlone(Objective):
    """A teacher that is an encoder without the method that trained it (ours)."""

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the inputs; it is never trained."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a loss of 0; it is never trained."""
        return Loss(torch.zeros(()))


def load_splits(chain: Chain, cache: Path | None = None) -> dict[str, Split]:
    """Read and check every split of the chain's dataset; `cache` is the folder that `--data-cache` names."""
    return {name: load_split(chain.loader, chain.data, name, cache) for name in chain.data.splits}


def pretrain_and_embed(
    chain: Chain,
    store: Store,
    setting: RunSetting,
    splits: Mapping[str, Split],
    progress: Progress,
    epoch: int | None = None,
    check: Check = unchecked,
) -> tuple[Frozen, dict[str, Any]]:
    """Pretrain a chain's method and embed its data, as far as the store does not hold that yet.

    Args:
        chain: The chain.
        store: Store that gets weights and embeddings, and is read first.
        setting: Device, checkpoints, workers.
        splits: All splits of the chain's dataset.
        progress: Shows the epochs and what is being done.
        epoch: The epoch after which the weights are embedded; None for those that the training ended with.
        check: Called after each step, and before anything gets its final name. It raises LostClaim where another
            process has taken over the chain.

    Returns:
        What evaluators see of the chain, and the summary of its pretraining, with the embedding's
        seconds among its cost, and the digests of the code that embedded.
    """
    folder = train_if_needed(chain, store, setting, splits["train"], progress, check)
    summary = read_summary(folder)
    weights, digest, embed_key = folder / "weights.safetensors", summary["weights_sha256"], chain.embed_key
    if epoch is not None:
        [(weights, digest)] = weights_after(chain, folder, [epoch])
        embed_key = key_of({**chain.embed_document, "epoch": epoch})
        summary["cost"] |= cost_until(folder, epoch)

    load_method = partial(load_trained, chain, store, InitialWeights(weights, digest), setting.torch_device)
    embeddings = folder / "embeddings" / embed_key
    work = {"does": "embed", "weights": str(weights.absolute()), "sha256": digest}
    ranks = partial(together, setting.leader, setting.torch_device, **_work(chain, store), **work)
    _embed_if_needed(chain, load_method, embeddings, setting, splits, progress, check, ranks)
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
        memory=setting.task_memory,
    )
    return frozen, summary


def load_trained(chain: Chain, store: Store, weights: InitialWeights, device: torch.device) -> Objective:
    """Build a chain's method with trained weights, on the device, frozen and in eval mode."""
    objective = build_objective(chain, weights_of=partial(_trained_weights, store))
    objective.load_state_dict(load_tensors(weights.path, weights.digest))
    return objective.to(device).eval().requires_grad_(False)


def _work(chain: Chain, store: Store) -> dict[str, str]:
    """Return what other ranks must know to work on a chain."""
    return {"chain": chain.key, "store": str(store.path.absolute())}


def _embed_if_needed(
    chain: Chain,
    load_method: Callable[[], Objective],
    folder: Path,
    setting: RunSetting,
    splits: Mapping[str, Split],
    progress: Progress,
    check: Check,
    ranks: Callable[[], AbstractContextManager[RankGroup | None]],
) -> None:
    """Embed all splits, unless the folder holds every embedding that the method gives today.

    Code that is known to have made them gives the same names; other code, or unknown code, is tried on two items.
    """

    def embed(method: Objective, *, over: bool = False) -> None:
        total, done = sum(len(splits[name]) for name in chain.data.splits), 0

        def on_items(number: int) -> None:
            nonlocal done
            check()
            done += number
            progress.items("embed", done, total)

        device, workers = setting.torch_device, setting.workers
        with ranks() as group, shared_rows(method, group):
            embed_all(method, chain.data, splits, folder, device, workers, chain.sources, over=over, on_items=on_items)

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


def train_if_needed(
    chain: Chain, store: Store, setting: RunSetting, train: Split, progress: Progress, check: Check = unchecked
) -> Path:
    """Train a chain that is not trained yet, those that it needs before it, and return the folder of its weights.

    The arguments are those of `pretrain_and_embed`.
    """
    folder = store.chain_folder(chain.key)
    try:
        for needed in to_train(chain, store):
            if needed.key == chain.key:
                with running_threads(chain, setting.threads):  # also where another chain needs this one
                    _train(chain, store, folder, setting, train, progress, check)
            else:
                train_if_needed(needed, store, setting, train, progress, check)
    finally:
        # Also after a stop signal: another process may have trained this chain meanwhile, and then nothing will read
        # these checkpoints any more.
        if is_trained(chain, store):
            shutil.rmtree(under_way_folder(folder), ignore_errors=True)
    return folder


def _trained_weights(store: Store, chain: Chain) -> InitialWeights:
    """Return the file of a trained chain's weights."""
    folder = store.chain_folder(chain.key)
    return InitialWeights(folder / "weights.safetensors", read_summary(folder)["weights_sha256"])


def build_for_training(chain: Chain, store: Store, log: Callable[[str], object] | None = None) -> Objective:
    """Build a chain's method on the CPU with the weights that its training starts from.

    Args:
        chain: The chain.
        store: Holds the chains that this one needs, trained.
        log: As for `build_objective`.
    """
    weights_of = partial(_trained_weights, store)
    init = weights_of(chain.init) if isinstance(chain.init, Chain) else chain.init
    return build_objective(chain, init, weights_of, log)


def _train(
    chain: Chain, store: Store, folder: Path, setting: RunSetting, train: Split, progress: Progress, check: Check
) -> None:
    """Train a chain's method, from its last checkpoint if there is one. `folder` appears when all files are written.

    A stop signal after the last step waits until the trained weights are written, so that no training is lost.

    Args:
        chain: The chain.
        store: Holds the chains that this one needs, trained.
        folder: Folder of the chain's artifacts.
        setting: Device, checkpoints, workers.
        train: The train split.
        progress: Shows the epochs and what is being done.
        check: Raises LostClaim where another process has taken over.
    """
    objective = build_for_training(chain, store, lambda text: progress.log(f"  {text}"))
    objective = place_on_device(objective, setting.torch_device, setting.compiled)
    refuse_wrong_features(objective.encoder, chain.encoder.name, train, setting.torch_device)
    checkpoints = Checkpoints(
        under_way_folder(folder),
        setting.checkpoint_every,
        setting.stop,
        lambda text: progress.log(f"  {text}"),
        sources=chain.sources,
        resume_anyway=setting.resume_anyway,
        check=check,
    )
    views = compiled_views() if setting.compiled else nullcontext()
    description = {
        "doc": chain.document,
        "names": {**chain.cells[0].names, "method": chain.row_name},
        "label": chain.label,
        "data": spec_to_json(chain.data),
    }
    probe = make_probe(
        setting.probe_every if objective.players() else 0,
        train,
        chain.data,
        chain.seed,
        setting.torch_device,
        setting.workers,
        lambda text: progress.log(f"  {text}"),
    )
    kept_epochs = KeptEpochs(setting.keep_every, under_way_folder(folder), lambda text: progress.log(f"  {text}"))
    live_log = LiveLog(under_way_folder(folder), description)

    def on_epoch(done: int, total: int, line: Mapping[str, Any]) -> None:
        live_log.write(line)
        loggers.write(line)
        progress.epoch(done, total, line)

    def along(method: Objective, epoch: int) -> Mapping[str, Any]:
        kept_epochs.keep(method, epoch)
        return probe.measure(method, epoch) if probe else {}

    with (
        setting.stop.deferred(),
        new_folder(folder, *LAST) as unfinished_folder,
        views,
        live_log if chain.recipe.epochs else nullcontext(),
        open_loggers(setting.log, store, chain.key, description, lambda text: progress.log(f"  {text}")) as loggers,
        together(setting.leader, setting.torch_device, does="train", **_work(chain, store)) as ranks,
    ):
        cost = pretrain(
            objective,
            open_split(train, setting.torch_device, workers=setting.workers),
            chain.recipe,
            seed=chain.seed,
            device=setting.torch_device,
            precision=chain.precision,
            log=unfinished_folder / LOG,
            on_epoch=on_epoch,
            along=along,
            on_first_step=lambda: _report_memory(progress, setting.torch_device),
            checkpoints=checkpoints,
            ranks=ranks,
        )
        loggers.finish(unfinished_folder)
        warnings, kept_epoch = cost.pop("warnings"), cost.pop("kept_epoch")
        epochs = kept_epochs.hand_over(unfinished_folder, cost.pop("epochs_trained"))
        for warning in warnings:
            progress.log(f"  warning: {warning}")
        save_tensors(unfinished_folder / "weights.safetensors", objective.state_dict())
        by = {
            "compiled": setting.compiled,
            "sources": chain.sources,
            "earlier_sources": cost.pop("earlier_sources"),
            "start_sources": _start_sources(chain, store),
            "resumed": cost.pop("resumed"),
            "ranks": ranks.size if ranks else None,
        }
        summary = {
            "weights_sha256": file_digest(unfinished_folder / "weights.safetensors"),
            "parameters": sum(p.numel() for p in objective.encoder.parameters()),
            "cost": cost,
            "warnings": warnings,
            "uses_labels": chain.uses_labels,
            "uses_factors": chain.uses_factors,
            **({} if kept_epoch is None else {"kept_epoch": kept_epoch}),
            **({"epochs": epochs} if epochs else {}),
            "provenance": provenance(setting.torch_device, setting.command)
            | {name: value for name, value in by.items() if value},
        }
        write_chain(unfinished_folder, description, summary)
        check()


def _report_memory(progress: Progress, device: torch.device) -> None:
    """Show what the first step of a training has taken of a GPU: another chain may fit beside it."""
    if memory := taken_and_all_gib(device):
        progress.first_step(*memory)


def _start_sources(chain: Chain, store: Store) -> list[Mapping[str, str]]:
    """Return the digests of the code of each training in the chain's lineage before it.

    Only the summaries of the chains that it needs itself are read: those before them may have been deleted.
    """
    sources: dict[str, Mapping[str, str]] = {}
    for start in chain.needed:
        by = read_summary(store.chain_folder(start.key))["provenance"]
        versions = [*by.get("start_sources", []), by.get("sources", {})]
        sources |= dict(zip([link.key for link in start.lineage], versions, strict=False))
    return list(sources.values())
