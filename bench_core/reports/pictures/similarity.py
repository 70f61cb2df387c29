"""How alike the embeddings of methods are: debiased linear CKA of all pairs, as a heat map.

It reads the embeddings of the test split from a store's chains, for records do not hold them.

Source: `bench_core.evaluation.cka`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench_core.errors import RequestError
from bench_core.evaluation.cka import linear_cka
from bench_core.files import read_sealed
from bench_core.keys import key_of
from bench_core.reports.pictures.style import DARK, caption, sheet
from bench_core.reports.tables.entries import Entry, distinct
from bench_core.seeds import stream
from bench_core.store import Store
from bench_core.store.tensors import load_tensors
from bench_core.training.embed import is_embedded

ITEMS = 1000
_WRITTEN = 16  # rows at most that get numbers in their cells


@dataclass(frozen=True)
class Similarity:
    """CKA of all pairs of rows at one seed.

    Attributes:
        values: (R, R), by row.
        items: Test items that were compared.
        gone: Rows whose embeddings are not there any more.
    """

    methods: tuple[str, ...]
    values: Tensor
    seed: int
    items: int
    gone: tuple[str, ...]


def compare(entries: Sequence[Entry], store: Store, embedding: str = "features") -> Similarity:
    """All pairs of rows at the seed at which most of them have embeddings.

    Raises:
        RequestError: Fewer than two rows have embeddings of the test split here, or more than one data set or encoder.
    """
    entries = [entry for entry in distinct(list(entries)) if entry.state == "done"]
    if len({(entry.names["dataset"], entry.names["encoder"]) for entry in entries}) > 1:
        raise RequestError("a picture shows one data set with one encoder.")
    folders = {(entry.seed, entry.names["method"]): _folder(entry, store) for entry in entries}
    rows = list(dict.fromkeys(method for _, method in folders))
    there = {place: folder for place, folder in folders.items() if is_embedded(folder) and _digest(folder)}
    seeds = [seed for seed, _ in there]
    seed = max(seeds, key=lambda own: (seeds.count(own), -own), default=0)
    methods = [method for method in rows if (seed, method) in there]
    if len(methods) < 2:
        raise RequestError(
            f"{len(methods)} of {len(rows)} rows have embeddings of a test split under {store.path / 'chains'}, and a "
            "heat map needs two: they were deleted, or never made here. A task without a record makes them again."
        )
    read = {method: _features(there[seed, method], embedding, seed) for method in methods}
    values = torch.eye(len(methods), dtype=torch.float64)
    for a, one in enumerate(methods):
        for b, other in enumerate(methods[:a]):
            values[a, b] = values[b, a] = linear_cka(read[one], read[other])
    gone = tuple(method for method in rows if method not in methods)
    return Similarity(tuple(methods), values, seed, len(read[methods[0]]), gone)


def _folder(entry: Entry, store: Store) -> Path:
    embed = (entry.doc or {})["embed"]
    return store.chain(key_of(embed["pretrain"])) / "embeddings" / key_of(embed)


def _digest(folder: Path) -> str:
    return str(read_sealed(folder / "done.json")["digests"].get("test", ""))


def _features(folder: Path, embedding: str, seed: int) -> Tensor:
    """The same items (N <= 1,000, D) for all methods at a seed."""
    values = load_tensors(folder / "test.safetensors", _digest(folder))[embedding].float()
    return values[torch.randperm(len(values), generator=stream(seed, "similarity", "items"))[:ITEMS]]


def draw_similarity(found: Similarity, title: str, path: Path) -> None:
    """Write the heat map as SVG.

    Raises:
        RequestError: matplotlib is not installed.
    """
    count = len(found.methods)
    with sheet(path, "the picture of similarity", "bench plot --kind similarity") as figure:
        middles = [place + 0.5 for place in range(count)]
        size = 2.0 + max(2.5, 0.42 * count)
        figure.set_size_inches(size + 0.8, size)
        axes = figure.add_subplot()
        image = axes.pcolormesh(found.values.numpy(), vmin=0, vmax=1, cmap="cividis", edgecolors="white", linewidth=1)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.tick_params(length=0)
        axes.set_xticks(middles, found.methods, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(middles, found.methods)
        if count <= _WRITTEN:
            for a, line in enumerate(found.values.tolist()):
                for b, value in enumerate(line):
                    colour = DARK if value > 0.55 else "white"
                    axes.text(b + 0.5, a + 0.5, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
        figure.colorbar(image, ax=axes, label="linear CKA, debiased", shrink=0.8)
        caption(figure, f"{title}: {found.items:,} test items", f"seed {found.seed}")
