"""Per-item results of a score inside a record, so that two rows can be paired by test item.

Hits are kept as bits and other values as float32, both deflated and in base64: 10,000 hits take less than 2 kB.

Shapes: n items.
"""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench_core.contracts import Evaluation, PerItem, Score
from bench_core.errors import StoreError

LIMIT = 50_000  # items of a score: all of ImageNet's validation split, as float32 some 250 kB of a record
ALL = "all"
_TOLERANCE = 1e-6  # of the mean size of the values: rounding in float32 is less, one hit in LIMIT is more


def pack_items(evaluation: Evaluation, splits: Mapping[str, int]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What a record keeps of an evaluation's per-item results.

    Args:
        evaluation: Scores and their items.
        splits: Number of items of each split.

    Returns:
        Score -> split, which of its items (`ALL`, or a digest of their positions), n, type and values, these in the
        order of the split; and a note for each score that has more than `LIMIT` items and is left out.

    Raises:
        StoreError: They are not the items of a score.
    """
    if fault := items_fault(evaluation, splits):
        raise StoreError(f"per-item results do not belong to their score: {fault}")
    few = {name: own for name, own in evaluation.items.items() if len(own.values) <= LIMIT}
    notes = [
        f"per-item results of {name} are not kept: {len(own.values):,} items, at most {LIMIT:,}"
        for name, own in evaluation.items.items()
        if name not in few
    ]
    return {name: _packed(own, splits[own.split]) for name, own in few.items()}, notes


def unpack_items(kept: Mapping[str, Any]) -> NDArray[np.float64]:
    """The values (n,) that a record keeps, in the order of their split; hits are 0 and 1.

    Raises:
        ValueError: They are not n finite numbers, or more than `LIMIT`.
    """
    hits, n = kept["type"] == "hits", kept["n"]
    if not 0 < n <= LIMIT:
        raise ValueError(f"n must be 1 to {LIMIT:,}, got {n:,}")
    raw = _inflated(kept["values"], -(-n // 8) if hits else 4 * n)
    values = np.unpackbits(np.frombuffer(raw, np.uint8), count=n) if hits else np.frombuffer(raw, "<f4")
    if not np.isfinite(values).all():
        raise ValueError("values are not finite")
    return values.astype(np.float64)


def items_fault(evaluation: Evaluation, splits: Mapping[str, int]) -> str | None:
    """Why an evaluation's per-item results are not those of its scores, or None."""
    scores = {score.metric: score for score in evaluation.scores}
    for name, own in evaluation.items.items():
        if name not in scores:
            return f"{name!r} is no score of this task ({', '.join(scores)})"
        if own.split not in splits:
            return f"{name} has items of {own.split!r}, which is no split ({', '.join(splits)})"
        if fault := next(_faults(own, scores[name], splits[own.split]), None):
            return f"{name} {fault}"
    return None


def _faults(own: PerItem, score: Score, size: int) -> Iterator[str]:
    values, index = own.values, own.index
    if values.ndim != 1:
        yield f"has values of shape {tuple(values.shape)}, (n,) is needed"
    elif index is None and len(values) != size:
        yield f"has {len(values):,} values for the {size:,} items of {own.split}; say which ones they are by `index`"
    elif index is not None and not _is_choice(index, len(values), size):
        yield f"has an index that is not {len(values):,} different positions in the {size:,} items of {own.split}"
    elif score.n != len(values):
        yield f"has {len(values):,} values and says n = {score.n:,}"
    elif not values.float().isfinite().all():
        yield "has values that are not finite in float32"
    elif abs(float(values.double().mean()) - score.value) > _TOLERANCE * float(values.double().abs().mean()):
        yield f"is {score.value:.8g}, and the mean of its values {float(values.double().mean()):.8g}"


def _is_choice(index: torch.Tensor, n: int, size: int) -> bool:
    """Whether it is (n,) different positions below `size`."""
    if index.dtype != torch.int64 or index.shape != (n,) or n == 0:
        return False
    return int(index.min()) >= 0 and int(index.max()) < size and int(torch.bincount(index).max()) == 1


def _packed(own: PerItem, size: int) -> dict[str, Any]:
    index, order = (torch.arange(size) if own.index is None else own.index.cpu()).sort()
    values, hits = own.values.detach().cpu()[order].numpy(), own.values.dtype == torch.bool
    raw = np.packbits(values) if hits else values.astype("<f4")
    which = hashlib.sha256(index.numpy().astype("<i8").tobytes()).hexdigest() if len(index) < size else ALL
    return {
        "split": own.split,
        "which": which,
        "n": len(values),
        "type": "hits" if hits else "float32",
        "values": base64.b64encode(zlib.compress(raw.tobytes(), 9)).decode("ascii"),
    }


def _inflated(text: str, size: int) -> bytes:
    """`size` bytes out of base64; never more, whatever the text says."""
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"values cannot be read ({error})") from error
    if len(raw) != size or not inflate.eof:
        raise ValueError(f"values are not {size:,} bytes")
    return raw
