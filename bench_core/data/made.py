"""Makes random items of any kind, for trials and checks: they have the form of a dataset's items and mean nothing."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bench_core.contracts import DataSpec, Split
from bench_core.data.kinds import Graphs, Nodes, Pair
from bench_core.errors import CheckError

_NODES_OF_A_GRAPH = 6  # on average; each graph has a few more or less
_NEIGHBOURS = 3  # edges that are drawn for each node


def made_split(data: DataSpec, count: int, seed: int = 1) -> Split:
    """Make items of the described kind and shape, with labels and factors of the described kind.

    Args:
        data: The description; its numbers of items do not matter.
        count: Number of items.
        seed: Seed of the items; labels and factors go through all values in turn.

    Raises:
        CheckError: The kind of data is not known here.
    """
    rng = torch.Generator().manual_seed(seed)
    return Split(_inputs(data, count, rng), _labels(data, count, rng), _factors(data.factors, count))


def _inputs(data: DataSpec, count: int, rng: torch.Generator) -> Any:
    if data.kind == "image":
        return torch.randint(0, 256, (count, *data.shape), dtype=torch.uint8, generator=rng)
    if data.kind == "nodes":
        return Nodes.from_edges(_features(data, count, rng), _edges(count, 0, rng), torch.arange(count))
    if data.kind == "graphs":
        return _graphs(data, count, rng)
    if data.kind == "pairs" and data.modalities:
        return Pair(*(_inputs(modality, count, rng) for modality in data.modalities.values()))
    if data.kind in ("vector", "other"):
        return torch.randn(count, *data.shape, generator=rng)
    raise CheckError(f"no items of kind {data.kind!r} can be made here; give the plugin an example()")


def _graphs(data: DataSpec, count: int, rng: torch.Generator) -> Graphs:
    sizes = [_NODES_OF_A_GRAPH - 1 + number % 3 for number in range(count)]
    starts = [sum(sizes[:number]) for number in range(count)]
    edges = [_edges(size, start, rng) for size, start in zip(sizes, starts, strict=True)]
    graph = torch.repeat_interleave(torch.arange(count), torch.tensor(sizes))
    return Graphs(_features(data, len(graph), rng), torch.cat(edges, 1), graph, count)


def _features(data: DataSpec, count: int, rng: torch.Generator) -> Tensor:
    """Make features (count, F) that are 0 or 1, as bags of words and tags are."""
    return (torch.rand(count, *data.shape, generator=rng) < 0.5).float()


def _edges(count: int, start: int, rng: torch.Generator) -> Tensor:
    """Draw edges (2, E) among the nodes from `start`, each in both directions, once and without loops."""
    source = torch.arange(count).repeat_interleave(_NEIGHBOURS)
    target = torch.randint(0, count, (len(source),), generator=rng)
    source, target = source[source != target], target[source != target]
    both = torch.cat([torch.stack([source, target]), torch.stack([target, source])], 1)
    different: Tensor = torch.unique(both, dim=1)
    return different + start


def _labels(data: DataSpec, count: int, rng: torch.Generator) -> Tensor | None:
    if data.num_labels is not None:
        return torch.rand(count, data.num_labels, generator=rng) < 0.5
    return None if data.num_classes is None else torch.arange(count) % data.num_classes


def _factors(factors: Mapping[str, int] | None, count: int) -> Tensor | None:
    """Return factors (count, F): all combinations of values in turn."""
    if factors is None:
        return None
    index, columns = torch.arange(count), list[Tensor]()
    for values in factors.values():
        columns.append(index % values)
        index = index // values
    return torch.stack(columns, 1)
