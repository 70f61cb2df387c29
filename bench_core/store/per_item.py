"""Per-item results of a score inside a record, so that two rows can be paired by test item.

Hits are kept as bits and other values as float32, both deflated and in base64: 10,000 hits take less than 2 kB.

Packing loads torch; reading does not.

Shapes: n items.
"""

import base64
import binascii
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench_core.errors import StoreError

if TYPE_CHECKING:  # tables read items, and do without torch
    from torch import Tensor

    from bench_core.contracts import Evaluation, PerItem, Score

LIMIT = 50_000  # items of a score: all of ImageNet's validation split, as float32 some 250 kB of a record
ALL = "all"
_TOLERANCE = 1e-6  # of the mean size of the values: rounding in float32 is less, one hit in LIMIT is more


def pack_items(evaluation: "Evaluation", splits: Mapping[str, int]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Pack an evaluation's per-item results for a record.

    Args:
        evaluation: Scores and their items.
        splits: Number of items of each split.

    Returns:
        Metric -> {split, which, n, type, values}: `which` is `ALL` or a digest of the positions, `values` are in the
        order of the split. And a note for each score with more than `LIMIT` items, whose items are left out.

    Raises:
        StoreError: The items do not belong to the scores.
    """
    if error := items_error(evaluation, splits):
        raise StoreError(f"per-item results do not belong to their score: {error}")
    packed, notes = dict[str, dict[str, Any]](), list[str]()
    for metric, items in evaluation.items.items():
        if len(items.values) <= LIMIT:
            packed[metric] = _packed(items, splits[items.split])
        else:
            notes.append(f"per-item results of {metric} are not kept: {len(items.values):,} items, at most {LIMIT:,}")
    return packed, notes


def unpack_items(packed: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the values (n,) of packed items, in the order of their split; hits are 0 and 1.

    Raises:
        ValueError: The values are not n finite numbers, or more than `LIMIT`.
    """
    hits, n = packed["type"] == "hits", packed["n"]
    if not 0 < n <= LIMIT:
        raise ValueError(f"n must be 1 to {LIMIT:,}, got {n:,}")
    raw = _inflated(packed["values"], -(-n // 8) if hits else 4 * n)
    values = np.unpackbits(np.frombuffer(raw, np.uint8), count=n) if hits else np.frombuffer(raw, "<f4")
    if not np.isfinite(values).all():
        raise ValueError("values are not finite")
    return values.astype(np.float64)


def items_error(evaluation: "Evaluation", splits: Mapping[str, int]) -> str | None:
    """Return the first reason why an evaluation's per-item results do not belong to its scores, or None."""
    scores = {score.metric: score for score in evaluation.scores}
    for metric, items in evaluation.items.items():
        if metric not in scores:
            return f"{metric!r} is no score of this task ({', '.join(scores)})"
        if items.split not in splits:
            return f"{metric} has items of {items.split!r}, which is no split ({', '.join(splits)})"
        if error := next(_errors(items, scores[metric], splits[items.split]), None):
            return f"{metric} {error}"
    return None


def _errors(items: "PerItem", score: "Score", size: int) -> Iterator[str]:
    values, index = items.values, items.index
    if values.ndim != 1:
        yield f"has values of shape {tuple(values.shape)}, (n,) is needed"
    elif index is None and len(values) != size:
        yield f"has {len(values):,} values for the {size:,} items of {items.split}; say which ones they are by `index`"
    elif index is not None and not _are_positions(index, len(values), size):
        yield f"has an index that is not {len(values):,} different positions in the {size:,} items of {items.split}"
    elif score.n != len(values):
        yield f"has {len(values):,} values and says n = {score.n:,}"
    elif not values.float().isfinite().all():
        yield "has values that are not finite in float32"
    elif abs(float(values.double().mean()) - score.value) > _TOLERANCE * float(values.double().abs().mean()):
        yield f"is {score.value:.8g}, and the mean of its values {float(values.double().mean()):.8g}"


def _are_positions(index: "Tensor", n: int, size: int) -> bool:
    """Return whether an index is (n,) different positions below `size`."""
    import torch

    if index.dtype != torch.int64 or index.shape != (n,) or n == 0:
        return False
    return int(index.min()) >= 0 and int(index.max()) < size and int(torch.bincount(index).max()) == 1


def _packed(items: "PerItem", size: int) -> dict[str, Any]:
    import torch

    index, order = (torch.arange(size) if items.index is None else items.index.cpu()).sort()
    values, hits = items.values.detach().cpu()[order].numpy(), items.values.dtype == torch.bool
    raw = np.packbits(values) if hits else values.astype("<f4")
    which = hashlib.sha256(index.numpy().astype("<i8").tobytes()).hexdigest() if len(index) < size else ALL
    return {
        "split": items.split,
        "which": which,
        "n": len(values),
        "type": "hits" if hits else "float32",
        "values": base64.b64encode(zlib.compress(raw.tobytes(), 9)).decode("ascii"),
    }


def _inflated(text: str, size: int) -> bytes:
    """Return `size` bytes out of base64; no more are inflated, whatever the text holds."""
    inflate = zlib.decompressobj()
    try:
        raw = inflate.decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"values cannot be read ({error})") from error
    if len(raw) != size or not inflate.eof:
        raise ValueError(f"values are not {size:,} bytes")
    return raw
