"""Per-item results packed into a record, and those that are refused."""

import base64
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench_core import Evaluation, PerItem, Score
from bench_core.errors import StoreError
from bench_core.store.per_item import ALL, pack_items, unpack_items

SPLITS = {"train": 30, "test": 5}
HITS = torch.tensor([True, False, True, True, False])


def evaluation(items: PerItem, name: str = "top1", **score: Any) -> Evaluation:
    """Return an evaluation whose score is the mean of the items, unless `score` overrides it."""
    values = items.values.double()
    fields = {"value": float(values.mean()) if len(values) else 0.0, "n": len(values), **score}
    return Evaluation(scores=[Score(metric="top1", **fields)], protocol="made", items={name: items})


def packed(items: PerItem) -> Mapping[str, Any]:
    return pack_items(evaluation(items), SPLITS)[0]["top1"]


def test_hits_are_kept_as_bits() -> None:
    packed_items = packed(PerItem(HITS))
    assert zlib.decompress(base64.b64decode(packed_items["values"])) == bytes([0b10110000])
    assert {**packed_items, "values": ""} == {"split": "test", "which": ALL, "n": 5, "type": "hits", "values": ""}
    assert unpack_items(packed_items).tolist() == [1, 0, 1, 1, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8])
def test_other_values_are_kept_in_float32(dtype: torch.dtype) -> None:
    values = (10 * torch.rand(5, generator=torch.Generator().manual_seed(0))).to(dtype)
    packed_items = packed(PerItem(values))
    assert packed_items["type"] == "float32"
    assert np.array_equal(unpack_items(packed_items), values.float().double().numpy())


def test_items_are_packed_in_the_order_of_their_split() -> None:
    order = torch.tensor([3, 0, 4, 2, 1])
    assert packed(PerItem(HITS[order], index=order)) == packed(PerItem(HITS))


def test_items_of_part_of_a_split_are_named_by_a_digest() -> None:
    some, same, other = (
        packed(PerItem(HITS[torch.tensor(index)], index=torch.tensor(index))) for index in ([4, 0], [0, 4], [0, 3])
    )
    assert some == same
    assert len({ALL, some["which"], other["which"]}) == 3


def test_ten_thousand_hits_take_less_than_two_thousand_characters() -> None:
    hits = torch.rand(10_000, generator=torch.Generator().manual_seed(0)) < 0.5  # nothing to deflate
    [packed_items] = pack_items(evaluation(PerItem(hits)), {"test": 10_000})[0].values()
    assert len(packed_items["values"]) < 2000


def test_too_many_items_are_left_out_with_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench_core.store.per_item.LIMIT", 4)
    packed_items, notes = pack_items(evaluation(PerItem(HITS)), SPLITS)
    assert packed_items == {}
    assert notes == ["per-item results of top1 are not kept: 5 items, at most 4"]


INDEX = torch.arange(5)


@pytest.mark.parametrize(
    ("items", "score", "message"),
    [
        (PerItem(HITS), {"value": 0.8}, "top1 is 0.8, and the mean of its values 0.6"),
        (PerItem(HITS), {"value": 0.6 + 1e-5}, "and the mean of its values"),
        (PerItem(HITS), {"n": 6}, "has 5 values and says n = 6"),
        (PerItem(HITS[:4]), {}, "has 4 values for the 5 items of test; say which ones they are by `index`"),
        (PerItem(HITS, split="query"), {}, "which is no split (train, test)"),
        (PerItem(HITS, index=INDEX + 1), {}, "not 5 different positions in the 5 items of test"),
        (PerItem(HITS, index=INDEX - 1), {}, "not 5 different positions"),
        (PerItem(HITS, index=INDEX // 2), {}, "not 5 different positions"),
        (PerItem(HITS, index=INDEX[:4]), {}, "not 5 different positions"),
        (PerItem(HITS, index=INDEX.float()), {}, "not 5 different positions"),
        (PerItem(HITS[:0], index=INDEX[:0]), {}, "not 0 different positions"),
        (PerItem(HITS[:, None]), {}, "of shape (5, 1), (n,) is needed"),
        (PerItem(torch.tensor([1.0, 2.0, 3.0, 4.0, torch.inf])), {}, "not finite"),
        (PerItem(torch.tensor([1.0, 2.0, 3.0, 4.0, 1e300], dtype=torch.float64)), {}, "not finite in float32"),
    ],
)
def test_items_that_do_not_belong_to_their_score_are_refused(
    items: PerItem, score: dict[str, Any], message: str
) -> None:
    with pytest.raises(StoreError, match="per-item results do not belong to their score: ") as refused:
        pack_items(evaluation(items, **score), SPLITS)
    assert message in str(refused.value)


def test_items_need_a_score_of_their_name() -> None:
    with pytest.raises(StoreError, match=r"'top5' is no score of this task \(top1\)"):
        pack_items(evaluation(PerItem(HITS), "top5"), SPLITS)


def test_rounding_to_float32_is_accepted_as_the_same_mean() -> None:
    values = -100 - torch.rand(5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    items = PerItem(values.float())
    packed_items, notes = pack_items(evaluation(items, value=float(values.mean())), SPLITS)
    assert (set(packed_items), notes) == ({"top1"}, [])


def text(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw)).decode()


@pytest.mark.parametrize(
    ("type_", "values", "message"),
    [
        ("hits", "%%", "cannot be read"),
        ("hits", "é", "cannot be read|ASCII"),
        ("hits", base64.b64encode(b"no deflated bytes").decode(), "cannot be read"),
        ("hits", text(b"")[:4], "are not 1 bytes"),
        ("hits", text(b""), "are not 1 bytes"),
        ("hits", text(b"ab"), "are not 1 bytes"),
        ("hits", text(bytes(10**7)), "are not 1 bytes"),  # never inflated
        ("float32", text(bytes(16)), "are not 20 bytes"),
        ("float32", text(np.full(5, np.nan, "<f4").tobytes()), "not finite"),
    ],
)
def test_damaged_values_are_refused(type_: str, values: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpack_items({"n": 5, "type": type_, "values": values})


def test_evaluations_are_compared_without_their_items() -> None:
    values: Tensor = torch.rand(5)
    assert evaluation(PerItem(values)) == evaluation(PerItem(values.clone()))


@pytest.mark.parametrize("n", [0, 50_001, 10**12])
def test_more_items_than_the_limit_are_not_inflated(n: int) -> None:
    with pytest.raises(ValueError, match="n must be 1 to 50,000"):
        unpack_items({"n": n, "type": "hits", "values": text(bytes(9))})
