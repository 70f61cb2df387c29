"""Records as JSON objects, as finished cells write them."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import pytest
import torch

from bench_core.contracts import Evaluation, PerItem, Score
from bench_core.store.per_item import pack_items

MakeRecord = Callable[..., dict[str, Any]]


def _score(metric: str, value: float | None, **fields: Any) -> dict[str, Any]:
    default = {"unit": "fraction", "higher_is_better": True, "chance": 0.1, "embedding": "features", "n": 540}
    return {"metric": metric, "value": value, **default, **fields}


def _record(
    method: str,
    task: str,
    seed: int,
    scores: float | Sequence[Mapping[str, Any]] | None,
    *,
    names: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    task_revision: int = 1,
    uses_labels: bool = False,
    outside: Mapping[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Return a record; a number in place of scores is a top1."""
    if not isinstance(scores, Sequence):
        scores = [_score("top1", scores)]
    doc = {
        "protocol": 1,
        "task": {"id": f"bench-core/{task}", "revision": task_revision, "config": {}},
        "embed": {
            "protocol": 1,
            "pretrain": {
                "protocol": 1,
                "dataset": {
                    "id": "bench-core/digits",
                    "revision": 1,
                    "config": {},
                    "digest": "sha256:0123456789abcdef",
                    **(dataset or {}),
                },
                "encoder": {"id": "bench-core/convnet", "revision": 1, "config": {}},
                "method": {"id": f"bench-core/{method}", "revision": 1, "config": dict(config or {})},
                "recipe": {"epochs": 20, "batch_size": 128},
                "precision": "auto",
                "seed": seed,
            },
        },
    }
    requested = {"dataset": "digits", "encoder": "convnet", "method": method, "task": task}
    return {
        "format": 1,
        "key": hashlib.sha256(json.dumps(doc, sort_keys=True).encode()).hexdigest(),
        "doc": doc,
        "names": {**requested, **(names or {})},
        "scores": [dict(score) for score in scores],
        "protocol": f"{task}: on test",
        "notes": [],
        "curves": {},
        "facts": {"uses_labels": uses_labels, "parameters": 123456, "outside": outside},
        "provenance": {
            "bench": "0.1.0",
            "commit": "abcdef0123456789",
            "dirty": False,
            "torch": "2.6.0",
            "device": "cpu: Test",
            "threads": 2,
            "started": f"2026-01-0{seed + 1}T00:00:00+00:00",
            "ended": f"2026-01-0{seed + 1}T00:01:00+00:00",
        },
        "cost": {
            "pretrain_s": 20.0 + seed,
            "embed_s": 0.4,
            "task_s": 0.2,
            "images_per_s": 12345.4,
            "peak_memory_gib": 0.8,
        },
        **changes,
    }


def _packed(values: Sequence[float]) -> dict[str, Any]:
    """Return per-item results as a record keeps them; bools are hits."""
    score = Score(metric="x", value=fmean(values), n=len(values))
    items = {"x": PerItem(torch.tensor(values))}
    packed, _ = pack_items(Evaluation(scores=[score], protocol="", items=items), {"test": len(values)})
    return packed["x"]


@pytest.fixture
def packed() -> Callable[..., dict[str, Any]]:
    return _packed


@pytest.fixture
def make_record() -> MakeRecord:
    return _record


@pytest.fixture
def make_score() -> Callable[..., dict[str, Any]]:
    return _score
