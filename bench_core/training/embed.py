"""Trained method -> embeddings of each split, once for all tasks."""

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bench_core.contracts import DataSpec, Embedded, Objective, Split
from bench_core.data import open_split
from bench_core.errors import StoreError
from bench_core.files import file_digest, new_folder, read_sealed, sealed, write_over
from bench_core.store.tensors import load_tensors, save_tensors

BATCH = 512  # eval mode: the size changes no number beyond rounding


@torch.inference_mode()
def embed_split(objective: Objective, split: Split, device: torch.device, workers: int = 0) -> dict[str, Tensor]:
    """Embeddings of one split in index order, in eval mode, float32, without augmentation.

    Returns:
        Name -> (N, D) on the CPU; floats as float32, bits as they are.

    Raises:
        StoreError: No `features`, or a value that is not finite.
    """
    objective.eval()
    parts: dict[str, list[Tensor]] = {}
    for batch in open_split(split, device, workers=workers).batches(BATCH):
        for name, values in objective.embed(batch.inputs).items():
            values = values.float() if values.is_floating_point() else values
            parts.setdefault(name, []).append(values.cpu())
    embeddings = {name: torch.cat(values).contiguous() for name, values in parts.items()}
    for name, values in embeddings.items():
        if values.is_floating_point() and not values.isfinite().all():
            raise StoreError(f"embedding {name!r} holds values that are not finite; the method has diverged.")
    return embeddings


def embed_all(
    objective: Objective,
    data: DataSpec,
    splits: Mapping[str, Split],
    folder: Path,
    device: torch.device,
    workers: int = 0,
) -> None:
    """Embed every split; `folder` appears when all is there, with digests and seconds in `done.json`."""
    started, digests = time.perf_counter(), {}
    with new_folder(folder, "done.json") as making:
        for name in data.splits:
            path = making / f"{name}.safetensors"
            save_tensors(path, embed_split(objective, splits[name], device, workers))
            digests[name] = file_digest(path)
        write_over(making / "done.json", sealed({"digests": digests, "embed_s": time.perf_counter() - started}))


def is_embedded(folder: Path) -> bool:
    """Whether `embed_all` came to its end here."""
    return (folder / "done.json").is_file()


def is_damaged(folder: Path) -> bool:
    """Whether a file of what `embed_all` wrote here is gone, or a byte of it is not as it was."""
    try:
        digests = read_sealed(folder / "done.json")["digests"]
        return any(file_digest(folder / f"{name}.safetensors") != digest for name, digest in digests.items())
    except (StoreError, OSError):
        return True


def load_embedded(folder: Path, splits: Mapping[str, Split]) -> dict[str, Embedded]:
    """What `embed_all` wrote, with labels and factors.

    Raises:
        StoreError: A file is not the one that was written.
    """
    digests = read_sealed(folder / "done.json")["digests"]
    embedded = {}
    for name, split in splits.items():
        path = folder / f"{name}.safetensors"
        embedded[name] = Embedded(load_tensors(path, digests[name]), split.labels, split.factors)
    return embedded
