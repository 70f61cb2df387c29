"""Writes a trained encoder as a folder of another format, loads it back and compares the features."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench_core.data.kinds import as_float, select
from bench_core.data.made import made_split
from bench_core.errors import BenchError, RequestError
from bench_core.export.card import card
from bench_core.export.formats import FORMATS, Features, check_format
from bench_core.export.load import Trained
from bench_core.files import new_folder, write_text
from bench_core.plugins import Registry
from bench_core.store.data_spec import spec_to_json
from bench_core.store.record import Record

CARD = "README.md"
ITEMS = 64  # whose features are compared
TOLERANCE = 1e-5  # of the largest feature


def convert(
    trained: Trained, name: str, to: str, folder: Path, registry: Registry, records: tuple[Record, ...] = ()
) -> float:
    """Write an encoder as a folder, and return the largest difference of features, relative to the largest feature.

    Args:
        trained: The encoder.
        name: The chain's name.
        to: Name of a format.
        folder: Folder that must not exist yet, or be empty.
        registry: The plugins.
        records: The chain's records, for the model card.

    Raises:
        RequestError: The format cannot hold this encoder, or the folder holds something.
        BenchError: What was loaded back gives other features; nothing is left.
    """
    check_format(to, trained)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RequestError(f"{folder} exists and is not empty; give another folder with -o.")
    form = FORMATS[to]
    with new_folder(folder, CARD) as unfinished:
        form.write(trained, unfinished, _description(trained, name))
        off = _difference(trained, form.read(unfinished, registry))
        if not off <= TOLERANCE:
            raise BenchError(
                f"loaded back from {to}, features differ by {off:.2g} of the largest; {TOLERANCE:g} is allowed. "
                "Nothing was written."
            )
        write_text(unfinished / CARD, card(trained, name, to, form.usage, records))
    return off


def _description(trained: Trained, name: str) -> dict[str, Any]:
    """Return what `config.json` holds: all that builds the encoder again, and what trained it."""
    document = trained.recipe["doc"]
    return {
        "encoder": document["encoder"],
        "data": spec_to_json(trained.data),
        "dim": trained.encoder.dim,
        "inputs": "in [0, 1], not standardised",
        "name": name,
        "chain": trained.folder.name,
        "training": document,
    }


def _difference(trained: Trained, read: Features) -> float:
    """Return how far features are apart, relative to the largest one; also where only some of the items are read."""
    items: Any = as_float(made_split(trained.data, ITEMS).inputs)
    largest = 0.0
    for inputs in [items, select(items, torch.arange(5))] if isinstance(items, Tensor) else [items]:
        with torch.no_grad():
            ours, theirs = trained.encoder(inputs), read(inputs)
        if ours.shape != theirs.shape:
            return float("inf")
        largest = max(largest, float((ours - theirs).abs().max() / ours.abs().max().clamp_min(1e-30)))
    return largest
