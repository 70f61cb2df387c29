"""Compares values of any kind: tensors, also sparse ones, batches, nodes, graphs, pairs and nested containers."""

import dataclasses
from typing import Any

import torch
from torch import Tensor


def same(a: Any, b: Any) -> bool:
    """Compare two values; objects of which nothing is known count as equal."""
    if isinstance(a, Tensor):
        if not isinstance(b, Tensor) or a.layout != b.layout:
            return False
        if a.layout == torch.sparse_coo:
            a, b = a.coalesce(), b.coalesce()
            return a.shape == b.shape and torch.equal(a.indices(), b.indices()) and torch.equal(a.values(), b.values())
        return torch.equal(a, b)
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        return type(a) is type(b) and same(vars(a), vars(b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b) if isinstance(a, int | float | str | type(None)) else True
