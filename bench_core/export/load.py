"""Loads the frozen encoder of a record, of a chain, or of a folder that `bench convert` wrote.

encoder = bench_core.load_encoder("digits/convnet/nac/seed-0")
features = encoder(images)  # (N, C, H, W) in [0, 1] -> (N, D)
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor

from bench_core.config import build
from bench_core.contracts import DataSpec, Encoder
from bench_core.data import default_data_root
from bench_core.errors import RequestError, StoreError, shown
from bench_core.files import read_json
from bench_core.keys import key_of
from bench_core.planning.settings import read_typed
from bench_core.plugins import Registry, load_plugins
from bench_core.store import Store
from bench_core.store.chain_files import RECIPE, WEIGHTS, file_with, is_finished, read_recipe, read_summary
from bench_core.store.chain_names import chain_folders, chain_names, find_chain
from bench_core.store.data_spec import spec_from_json
from bench_core.store.record import Record
from bench_core.store.store import read_record
from bench_core.store.tensors import load_tensors

CONFIG, MODEL = "config.json", "model.safetensors"
PREFIX = "encoder."  # of the encoder's weights among those of a method


@dataclass(frozen=True)
class Trained:
    """The encoder of a chain, with what the chain's files say about it.

    Attributes:
        encoder: The network, frozen and in eval mode.
        data: The data that it was built for.
        folder: The chain's folder.
        recipe: What defines the training: its document and names, see `bench_core.store.chain_files`.
        summary: Digest of its weights, cost and code.
    """

    encoder: Encoder
    data: DataSpec
    folder: Path
    recipe: Mapping[str, Any]
    summary: Mapping[str, Any]


def load_encoder(
    source: "str | Path | Record",
    store: str | Path = "runs",
    *,
    settings: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
) -> Encoder:
    """Return a trained encoder, frozen and in eval mode.

    Args:
        source: A chain's name, the beginning of its key, or its folder; a record, or the beginning of its key; or a
            folder of `bench convert --to huggingface` or `--to safetensors`.
        store: Folder of the records; a folder as source needs none.
        settings: Parameters of the encoder that are in no key, where it was built on weights from elsewhere:
            {"timm.weights": "FILE"}.
        registry: Plugins to use, for tests; None loads those that are installed.

    Raises:
        RequestError: There is no such encoder.
        StoreError: Its files are damaged.
    """
    plugins = registry or load_plugins()
    if not isinstance(source, Record) and (Path(source) / CONFIG).is_file() and not is_finished(Path(source)):
        return load_folder(Path(source), plugins, settings)
    return load_trained(chain_of(source, Store(store)), plugins, settings).encoder


def chain_of(source: "str | Path | Record", store: Store) -> Path:
    """Return the folder of the chain that a chain's name, key or folder, or a record or its key means.

    Raises:
        RequestError: There is none, or the record's chain is not in this store.
    """
    if isinstance(source, Record):
        return _chain_of_record(source, store)
    if Path(source).suffix == ".json" and Path(source).is_file():
        return _chain_of_record(read_record(Path(source)), store)
    text = str(source)
    try:
        return find_chain(store, text)
    except RequestError:
        is_key = len(text) >= 4 and set(text) <= set("0123456789abcdef")
        cells = sorted((store.path / "cells" / text[:2]).glob(f"{text}*.json")) if is_key else []
        if len(cells) != 1:
            raise
        return _chain_of_record(read_record(cells[0]), store)


def load_trained(folder: Path, registry: Registry, settings: Mapping[str, Any] | None = None) -> Trained:
    """Build the encoder of a chain's folder with its trained weights; the arguments are those of `load_encoder`.

    Raises:
        RequestError: Its plugin or its dataset is missing.
        StoreError: Its files are damaged, or its weights are not this encoder's.
    """
    recipe, summary = read_recipe(folder), read_summary(folder)
    data = _data_of(recipe, folder, registry)
    encoder = build_encoder(recipe["doc"]["encoder"], data, registry, settings)
    tensors = load_tensors(folder / WEIGHTS, summary["weights_sha256"])
    _fill(encoder, tensors, folder / WEIGHTS)
    return Trained(encoder, data, folder, recipe, summary)


def load_folder(folder: Path, registry: Registry, settings: Mapping[str, Any] | None = None) -> Encoder:
    """Build the encoder of a folder that `bench convert` wrote; it needs no store and no data.

    Raises:
        RequestError: The folder holds a format that is no encoder of ours.
        StoreError: Its files are damaged.
    """
    config = read_json(folder / CONFIG)
    part, weights = config.get("encoder"), config.get("weights_sha256")
    if not isinstance(part, Mapping) or not isinstance(weights, str) or not (folder / MODEL).is_file():
        raise RequestError(
            f"{folder} holds no encoder that bench can build; it reads folders of `bench convert --to huggingface` "
            "and `--to safetensors`."
        )
    data = spec_from_json(config.get("data"), str(folder / CONFIG))
    encoder = build_encoder(part, data, registry, settings)
    _fill(encoder, load_tensors(folder / MODEL, weights), folder / MODEL)
    return encoder


def name_of(folder: Path, store: Store) -> str:
    """Return the name of a chain's folder; of one outside the store, the name of the folder."""
    names = chain_names(store) if folder.resolve().parent == (store.path / "chains").resolve() else {}
    return names.get(folder.name, folder.name)


def records_of(folder: Path, store: Store) -> tuple[Record, ...]:
    """Return the store's records of a chain."""
    if folder.resolve().parent != (store.path / "chains").resolve():
        return ()
    return tuple(record for record in store.records() if key_of(record.document.pretrain) == folder.name)


def _chain_of_record(record: Record, store: Store) -> Path:
    key = key_of(record.document.pretrain)
    if key not in chain_folders(store):
        raise RequestError(
            f"{store.path} holds no weights of record {record.key[:12]} ({record.label}), whose chain is {key[:12]}; "
            "name the store that trained it with --store, or run it again."
        )
    return store.chain_folder(key)


def _data_of(recipe: Mapping[str, Any], folder: Path, registry: Registry) -> DataSpec:
    """Return the description of a chain's data: that of its recipe, or of the dataset where an old recipe lacks it."""
    if "data" in recipe:
        return spec_from_json(recipe["data"], str(file_with(RECIPE, folder)))
    part = recipe["doc"]["dataset"]
    component = registry.get("dataset", part["id"])
    config = build(component.cls.Config, part["config"], component.name)
    data: DataSpec = component.cls(default_data_root(), config).spec()
    return data


def build_encoder(
    part: Mapping[str, Any], data: DataSpec, registry: Registry, settings: Mapping[str, Any] | None = None
) -> Encoder:
    """Build the encoder that a document describes; its weights are filled in afterwards.

    Args:
        part: Its id, revision and parameters, and the digest of weights from elsewhere that it was built on.
        data: The data that it was trained on.
        registry: The plugins.
        settings: "NAME.PARAM" -> value, of its parameters that are in no key.

    Raises:
        RequestError: Its plugin is missing or has another revision, or weights that it was built on are not there.
        StoreError: The document describes no encoder.
    """
    if not isinstance(part.get("id"), str) or not isinstance(part.get("config"), Mapping):
        raise StoreError(f"an encoder is described by its id and config, not by {shown(part)}.")
    component = registry.get("encoder", part["id"])
    cls, name = component.cls, component.name
    if cls.revision != part.get("revision"):
        raise RequestError(
            f"{part['id']} has revision {cls.revision}, these weights are of revision {shown(part.get('revision'))}; "
            "install the version of its package that trained them."
        )
    config = build(cls.Config, {**part["config"], **_beside_key(settings or {}, name, cls.Config)}, name)
    outside = cls.outside_weights(config)
    wanted = (part.get("weights") or {}).get("sha256")
    if wanted != (outside and outside.digest):
        free = ", ".join(f"{name}.{param}" for param in _free_parameters(cls.Config))
        raise RequestError(
            f"this {name} was built on weights from elsewhere (sha256 {shown(wanted)}), which also say how it reads "
            f"images; set where they are: {free or 'it has no such parameter'}, as for the run."
        )
    with torch.random.fork_rng([]):
        encoder: Encoder = cls(data, config)
    return encoder


def _free_parameters(config: type) -> list[str]:
    """Return the parameters of a Config that are in no key."""
    fields: Any = dataclasses.fields(config)
    return [field.name for field in fields if not field.metadata.get("in_key", True)]


def _beside_key(settings: Mapping[str, Any], name: str, config: type) -> dict[str, Any]:
    """Return parameter -> value of settings of an encoder's parameters that are in no key."""
    free = _free_parameters(config)
    values: dict[str, Any] = {}
    for path, value in settings.items():
        section, _, param = path.partition(".")
        if section != name or param not in free:
            known = ", ".join(f"{name}.{other}" for other in free)
            raise RequestError(
                f"{path} cannot be set: it is in the key, or no parameter of {name}. Free: {known or '-'}."
            )
        values |= read_typed({param: value}, get_type_hints(config))
    return values


def _fill(encoder: Encoder, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into an encoder, and freeze it."""
    own = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
    try:
        encoder.load_state_dict(own or dict(tensors))
    except RuntimeError as error:
        raise StoreError(f"{path} does not hold the weights of this encoder: {' '.join(str(error).split())}") from error
    encoder.eval().requires_grad_(False)
