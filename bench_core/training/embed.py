"""Embeddings of each split by a trained method, written once for all tasks."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from bench_core.contracts import DataSpec, Embedded, Objective, Split, StoredFeatures
from bench_core.data import Nodes, join, open_split
from bench_core.errors import CheckError, StoreError
from bench_core.files import file_digest, new_folder, sealed, write_over
from bench_core.store.chain_files import read_embedded
from bench_core.store.tensors import load_tensors, tensor_names, tensor_rows

OnItems = Callable[[int], None]

BATCH = 512  # items; in eval mode the batch size changes results by rounding only
_STORED_ROWS = 2**14  # stored features that are written at once


def embed_split(
    objective: Objective,
    split: Split,
    device: torch.device,
    workers: int = 0,
    on_items: OnItems = lambda number: None,
) -> dict[str, Tensor]:
    """Embed one split in index order, in eval mode and without augmentation.

    Args:
        objective: The trained method, on the device.
        split: The split.
        device: Device of the method.
        workers: Processes that read image files; 0 reads them in this process.
        on_items: Called after each batch with its number of items.

    Returns:
        Name of an embedding -> tensor (N, D) on the CPU; floats are converted to float32, bits are bool.

    Raises:
        CheckError: `embed` returned no features, or not one row for each item.
        StoreError: A value is not finite.
    """
    return joined(embed_batches(objective, split, device, workers, on_items))


@torch.inference_mode()
def embed_batches(
    objective: Objective,
    split: Split,
    device: torch.device,
    workers: int = 0,
    on_items: OnItems = lambda number: None,
) -> Iterator[dict[str, Tensor]]:
    """Embed one split as `embed_split` does, and yield the embeddings of each batch as soon as they are there."""
    objective.eval()
    for batch in open_split(split, device, workers=workers).batches(BATCH):
        embeddings = objective.embed(batch.inputs)
        if fault := embeddings_fault(embeddings, len(batch.index)):
            raise CheckError(fault)
        rows = {
            name: (values.float() if values.is_floating_point() else values).cpu()
            for name, values in embeddings.items()
        }
        for name, values in rows.items():
            if values.is_floating_point() and not values.isfinite().all():
                raise StoreError(f"embedding {name!r} holds values that are not finite; the method has diverged.")
        yield rows
        on_items(len(batch.index))


def embed_splits(
    objective: Objective,
    splits: Mapping[str, Split],
    device: torch.device,
    workers: int = 0,
    on_items: OnItems = lambda number: None,
) -> Iterator[tuple[str, Iterator[dict[str, Tensor]]]]:
    """Embed several splits one after the other, and yield the name and the embeddings of each, in pieces.

    Splits that are nodes of one graph are embedded by one pass over the graph.

    Args:
        objective: The trained method, on the device.
        splits: The splits by name.
        device: Device of the method.
        workers: As for `embed_split`; so are what is raised and the tensors of each split.
        on_items: As for `embed_split`.

    Yields:
        Name of a split, and the embeddings of its items in order, some rows at a time.
    """
    if isinstance(objective.encoder, StoredFeatures):
        for name, split in splits.items():
            stored = _stored(objective.encoder, name, split)
            yield name, ({"features": rows.float()} for rows in torch.split(stored, _STORED_ROWS))
        return
    if not _of_one_graph(splits):
        for name, split in splits.items():
            yield name, embed_batches(objective, split, device, workers, on_items)
        return
    whole = Split(join([split.inputs for split in splits.values()]))
    together = embed_split(objective, whole, device, workers, on_items)
    start = 0
    for name, split in splits.items():
        end = start + len(split)
        yield name, iter([{embedding: values[start:end] for embedding, values in together.items()}])
        start = end


def joined(pieces: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Join the pieces of one split's embeddings to tensors (N, D) in memory."""
    parts: dict[str, list[Tensor]] = {}
    for piece in pieces:
        for name, values in piece.items():
            parts.setdefault(name, []).append(values)
    return {name: torch.cat(values).contiguous() for name, values in parts.items()}


def _stored(encoder: StoredFeatures, name: str, split: Split) -> Tensor:
    """Return the stored features of a split; CheckError where they belong to other items."""
    stored = encoder.stored(name)
    if len(stored) != len(split):
        raise CheckError(f"the file holds features of {len(stored)} items of {name!r}, the dataset has {len(split)}")
    if stored.labels is not None and split.labels is not None and not torch.equal(stored.labels, split.labels):
        same_shape = stored.labels.shape == split.labels.shape
        where = f", first at item {_first_difference(stored.labels, split.labels)}" if same_shape else ""
        raise CheckError(
            f"the labels of {name!r} in the file are not the dataset's{where}: its items are "
            "others, or in another order"
        )
    features: Tensor = stored.inputs  # type: ignore[assignment]  # the contract of StoredFeatures
    return features


def _first_difference(first: Tensor, second: Tensor) -> int:
    """Return the row of the first difference between two tensors of one shape."""
    return int((first != second).nonzero()[0, 0])


def _of_one_graph(splits: Mapping[str, Split]) -> bool:
    """Return True if all splits are nodes, and of the same graph in memory."""
    nodes = [split.inputs for split in splits.values() if isinstance(split.inputs, Nodes)]
    same = all(part.features is nodes[0].features and part.adjacency is nodes[0].adjacency for part in nodes)
    return 0 < len(nodes) == len(splits) and same


def embeddings_fault(embeddings: object, items: int) -> str | None:
    """Say what is wrong with what a method's `embed` returned for some items, or return None.

    Args:
        embeddings: What `embed` returned; right are tensors by name, each with one row for each item.
        items: Number of items.
    """
    names = sorted(embeddings) if isinstance(embeddings, Mapping) else type(embeddings).__name__
    if not isinstance(embeddings, Mapping) or "features" not in embeddings:
        return f"embed() must return 'features', got {names}"
    for name, values in embeddings.items():
        if not isinstance(values, Tensor):
            return f"embedding {name!r} must be a tensor, got {type(values).__name__}"
        if values.ndim < 1 or len(values) != items:
            return f"embedding {name!r} has the shape {tuple(values.shape)}, but needs a row for each of {items} items"
    return None


def embed_all(
    objective: Objective,
    data: DataSpec,
    splits: Mapping[str, Split],
    folder: Path,
    device: torch.device,
    workers: int = 0,
    sources: Mapping[str, str] | None = None,
    *,
    over: bool = False,
    on_items: OnItems = lambda number: None,
) -> None:
    """Embed every split of the data and write the embeddings to a folder.

    Args:
        objective: The trained method, on the device.
        data: Names the splits.
        splits: The splits by name.
        folder: Where `SPLIT.safetensors` and `done.json` are written; `done.json` holds the files' digests, the
            seconds and `sources`. The folder gets its name when all files are complete.
        device: Device of the method.
        workers: Processes that read image files; 0 reads them in this process.
        sources: Digests of the code that embeds (`Chain.sources`).
        over: Replace the embeddings that the folder holds.
        on_items: Called after each batch with its number of items.
    """
    started = time.perf_counter()
    digests = {}
    with new_folder(folder, "done.json", over=over) as temporary:
        named = {name: splits[name] for name in data.splits}
        for name, pieces in embed_splits(objective, named, device, workers, on_items):
            path = temporary / f"{name}.safetensors"
            _write_pieces(path, pieces, len(named[name]))
            digests[name] = file_digest(path)
        done = {"digests": digests, "embed_s": time.perf_counter() - started, "sources": dict(sources or {})}
        write_over(temporary / "done.json", sealed(done))


def _write_pieces(path: Path, pieces: Iterator[dict[str, Tensor]], items: int) -> None:
    """Write the embeddings of a split piece by piece; CheckError if a piece does not fit those before it."""
    with tensor_rows(path, items) as file:
        for piece in pieces:
            try:
                file.append(piece)
            except ValueError as error:
                raise CheckError(f"embed() must return the same embeddings for all items: {error}") from error


def is_embedded(folder: Path) -> bool:
    """Return True if `embed_all` completed this folder."""
    return (folder / "done.json").is_file()


def is_damaged(folder: Path) -> bool:
    """Return True if a file that `embed_all` wrote is missing or was changed since."""
    try:
        digests = read_embedded(folder)["digests"]
        return any(file_digest(folder / f"{name}.safetensors") != digest for name, digest in digests.items())
    except (StoreError, OSError):
        return True


@torch.inference_mode()
def lacking_names(objective: Objective, splits: Mapping[str, Split], folder: Path, device: torch.device) -> list[str]:
    """Return the names of embeddings that the method gives and that `embed_all` did not write to this folder.

    A method may give more than it did when the folder was written. Two items are embedded to find out.

    Args:
        objective: The trained method, on the device.
        splits: The splits by name; the first one's file is read.
        folder: Folder of embeddings.
        device: Device of the method.
    """
    if isinstance(objective.encoder, StoredFeatures):
        return []
    name, split = next(iter(splits.items()))
    objective.eval()
    given = objective.embed(next(iter(open_split(split, device).batches(2))).inputs)
    written = tensor_names(folder / f"{name}.safetensors")
    return [name for name in given if name not in written]


def load_embedded(folder: Path, splits: Mapping[str, Split]) -> dict[str, Embedded]:
    """Read the embeddings that `embed_all` wrote, and add labels and factors of the splits.

    Raises:
        StoreError: A file is missing or damaged.
    """
    digests = read_embedded(folder)["digests"]
    embedded = {}
    try:
        for name, split in splits.items():
            path = folder / f"{name}.safetensors"
            embedded[name] = Embedded(load_tensors(path, digests[name]), split.labels, split.factors)
    except StoreError:
        if read_embedded(folder)["digests"] == digests:
            raise
        return load_embedded(folder, splits)  # another process has replaced the files meanwhile
    return embedded
