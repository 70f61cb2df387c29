"""Says what is wrong with a split: where it differs from the DataSpec of its dataset, in one sentence.

Only what is declared is compared: vectors and features of nodes may hold any values. Of a kind that a plugin named
itself, only the number of items is known.
"""

from collections.abc import Mapping, Sized

import torch
from torch import Tensor

from bench_core.contracts import DataSpec, Split
from bench_core.data.kinds import Graphs, Nodes, Pair

_CLASSES: Mapping[str, type] = {"nodes": Nodes, "graphs": Graphs, "pairs": Pair}  # kind of data -> class of its inputs
CHECKED_WHEN_READ = ("image", *_CLASSES)  # kinds of which what a Reader returns is compared with the description
_TRIED = 16  # items of a Reader that `bench check` reads


def split_fault(split: object, spec: DataSpec, name: str) -> str | None:
    """Say where a split differs from its dataset's description, and what would be right; None if it does not.

    Items of a Reader are not read; for these see `read_fault`.

    Args:
        split: What `Dataset.load` returned.
        spec: The description.
        name: Name of the split.
    """
    if not isinstance(split, Split):
        return f"load() must return a Split, got {type(split).__name__}."
    if fault := spec_fault(spec) or _type_fault(split.inputs):
        return fault
    if name in spec.splits and len(split) != spec.splits[name]:
        return f"it has {len(split)} items, but spec() declares {spec.splits[name]}; make both the same."
    return (
        inputs_fault(split.inputs, spec)
        or _labels_fault(split, spec)
        or _factors_fault(split, spec.factors)
        or rows_fault(split)
    )


def spec_fault(spec: DataSpec) -> str | None:
    """Say what is wrong with a description alone, or return None: pairs must have two modalities."""
    names = list(spec.modalities or {})
    if spec.kind != "pairs" or len(names) == 2:
        return None
    right = "modalities={'photo': DataSpec(...), 'sketch': DataSpec(...)}"
    return f"spec() is of pairs, so it must describe two modalities, like {right}, got {names}."


def rows_fault(split: Split) -> str | None:
    """Say that a split has not one label, or not one row of factors, for each item; None if it has."""
    for what, values in (("labels", split.labels), ("factors", split.factors)):
        if isinstance(values, Tensor) and (not values.ndim or len(values) != len(split)):
            return f"it has {len(split)} items, but {what} of shape {tuple(values.shape)}."
    return None


def images_fault(images: Tensor, shape: tuple[int, ...]) -> str | None:
    """Say what is wrong with images, or return None: they must be uint8, or float32 in [0, 1].

    Args:
        images: Images (N, C, H, W) on any device.
        shape: The shape (C, H, W) that the dataset declares.
    """
    if tuple(images.shape[1:]) != shape:
        return f"one image has shape {tuple(images.shape[1:])}, but spec() declares {shape}."
    if images.dtype == torch.uint8:
        return None
    if images.dtype != torch.float32:
        return f"images are {images.dtype}, but they must be uint8 from 0 to 255, or float32 from 0 to 1."
    if not images.numel():
        return None
    low, high = (float(value) for value in images.aminmax())  # both are NaN if one value is
    if low >= 0 and high <= 1:
        return None
    inside = (images >= 0) & (images <= 1)  # False for NaN
    item = int((~inside).flatten(1).any(1).nonzero()[0])
    value = float(images[item][~inside[item]][0])
    return (
        f"image {item} of {len(images)} has the value {value:g}, but float images must be in [0, 1]; the encoder "
        "standardises them, with mean and std of spec()."
    )


def read_fault(inputs: object, index: Tensor, spec: DataSpec) -> str | None:
    """Say what is wrong with what a Reader returned for some items, or return None.

    Args:
        inputs: What `Reader.read` returned. Of images only tensors are checked, and nothing of other kinds than
            `CHECKED_WHEN_READ`.
        index: Items (N,) that were read.
        spec: The dataset's description.
    """
    if spec.kind not in CHECKED_WHEN_READ or (spec.is_image and not isinstance(inputs, Tensor)):
        return None  # for example an object of the dataset's own in the place of an image
    what = "images" if spec.is_image else "items"
    if isinstance(inputs, Sized) and len(inputs) != len(index):
        return f"read() returned {len(inputs)} {what} for {len(index)} items, beginning with item {int(index[0])}."
    fault = inputs_fault(inputs, spec)
    return f"in a batch that begins with item {int(index[0])}, {fault}" if fault else None


def first_items_fault(split: Split, spec: DataSpec) -> str | None:
    """Read the first items of a split's Reader and say what is wrong with them; None for any other split."""
    if not hasattr(split.inputs, "read") or not len(split):
        return None
    index = torch.arange(min(_TRIED, len(split)))
    return read_fault(split.read(index), index, spec)


def _type_fault(inputs: object) -> str | None:
    if isinstance(inputs, Tensor):
        return None if inputs.ndim else "inputs must be a tensor with one row for each item, got a single number."
    if hasattr(inputs, "__len__") and (hasattr(inputs, "read") or hasattr(inputs, "select")):
        return None
    return f"inputs must be a tensor, Items (Nodes, Graphs, Pair, ...) or a Reader, got {type(inputs).__name__}."


def inputs_fault(inputs: object, spec: DataSpec) -> str | None:
    """Say what is wrong with inputs in memory, or return None; those of a Reader are checked when they are read.

    Args:
        inputs: A tensor, Items or a Reader.
        spec: Describes the inputs; of pairs, also those of one modality.
    """
    if hasattr(inputs, "read"):
        return None
    right = _CLASSES.get(spec.kind, Tensor if spec.kind in ("image", "vector") else None)
    if (right and not isinstance(inputs, right)) or (not right and isinstance(inputs, tuple(_CLASSES.values()))):
        return f"spec() declares the kind {spec.kind!r}, so inputs cannot be {type(inputs).__name__}."
    if isinstance(inputs, Nodes):
        return _nodes_fault(inputs, spec.shape)
    if isinstance(inputs, Graphs):
        return _graphs_fault(inputs, spec.shape)
    if isinstance(inputs, Pair):
        return _pair_fault(inputs, spec)
    if not isinstance(inputs, Tensor):
        return None
    if spec.is_image:
        return images_fault(inputs, spec.shape)
    shape = tuple(inputs.shape[1:])
    return None if shape == spec.shape else f"one input has shape {shape}, but spec() declares {spec.shape}."


def _nodes_fault(nodes: Nodes, shape: tuple[int, ...]) -> str | None:
    count, adjacency = len(nodes.features), nodes.adjacency
    if fault := _form_fault("features of nodes", nodes.features, torch.float32, (count, *shape)):
        return fault
    if adjacency.layout != torch.sparse_coo or not adjacency.is_coalesced():
        return "the adjacency must be a sparse COO tensor, coalesced; Nodes.from_edges makes one."
    if fault := _form_fault("the adjacency's values", adjacency, torch.float32, (count, count)):
        return fault
    source, target = adjacency.indices()
    if bool((source == target).any()):
        return (
            f"node {int(source[source == target][0])} has an edge to itself; encoders add loops where they need them."
        )
    if not _has_both_directions(source, target, count):
        return "the adjacency is not symmetric; Nodes.from_edges makes one of edges in one or both directions."
    if not bool((adjacency.values() == 1).all()):
        return "the adjacency must have the value 1 at each edge."
    if fault := _form_fault("the index", nodes.index, torch.int64, (len(nodes.index),)):
        return fault
    if outside := _first_outside(nodes.index, count):
        return f"item {outside[0]} is node {outside[1]}, but the graph has the nodes 0 to {count - 1}."
    return None


def _graphs_fault(graphs: Graphs, shape: tuple[int, ...]) -> str | None:
    nodes, edges, graph = len(graphs.features), graphs.edges, graphs.graph
    fault = (
        _form_fault("features of nodes", graphs.features, torch.float32, (nodes, *shape))
        or _form_fault("the graphs of nodes", graph, torch.int64, (nodes,))
        or _form_fault("edges", edges, torch.int64, (2, edges.shape[-1] if edges.ndim else 0))
    )
    if fault:
        return fault
    ascending = torch.unique_consecutive(graph)
    if not torch.equal(ascending, torch.arange(graphs.count)):
        return (
            f"nodes must lie in the order of their graphs, which are 0 to {graphs.count - 1}, each with at least one "
            f"node; the graphs of the nodes are {_shortened(ascending)}."
        )
    if outside := _first_outside(edges.flatten(), nodes):
        return f"an edge names node {outside[1]}, but there are the nodes 0 to {nodes - 1}."
    first, second = graph[edges]
    if bool((first != second).any()):
        edge = edges[:, first != second][:, 0].tolist()
        return f"the edge from node {edge[0]} to node {edge[1]} joins two graphs; count nodes over all graphs."
    if bool((first.diff() < 0).any()):
        return "edges must lie in the order of their graphs; sort them by the graph of their nodes."
    if not _has_both_directions(edges[0], edges[1], nodes):
        return "edges must be there in both directions; add edges.flip(0)."
    return None


def _pair_fault(pair: Pair, spec: DataSpec) -> str | None:
    for (name, modality), side in zip((spec.modalities or {}).items(), (pair.first, pair.second), strict=True):
        fault = f"a side of pairs lies in memory, got {type(side).__name__}." if hasattr(side, "read") else None
        if fault := fault or _type_fault(side) or inputs_fault(side, modality):
            return f"modality {name!r}: {fault}"
    if len(pair.first) != len(pair.second):
        return f"{len(pair.first)} first items cannot be paired with {len(pair.second)} second items."
    return None


def _has_both_directions(source: Tensor, target: Tensor, nodes: int) -> bool:
    """Return True if edges from `source` (E,) to `target` (E,) go as often the other way round."""
    there, back = source * nodes + target, target * nodes + source
    return torch.equal(there.sort().values, back.sort().values)


def _shortened(values: Tensor) -> str:
    return ", ".join(map(str, values[:6].tolist())) + (", ..." if len(values) > 6 else "")


def _labels_fault(split: Split, spec: DataSpec) -> str | None:
    """Say what is wrong with the labels of a split; a split without labels may have None."""
    labels, count = split.labels, len(split)
    if labels is None:
        return None
    if not isinstance(labels, Tensor):
        return f"labels must be a tensor or None, got {type(labels).__name__}."
    if spec.num_labels is not None:
        return _form_fault("labels", labels, torch.bool, (count, spec.num_labels))
    if spec.num_classes is None:
        return None
    if fault := _form_fault("labels", labels, torch.int64, (count,)):
        return fault
    if outside := _first_outside(labels, spec.num_classes):
        item, label = outside
        hint = " Where items have no label, return labels=None." if label < 0 else ""
        return (
            f"item {item} has the label {label}, but spec() declares {spec.num_classes} classes, which are the labels "
            f"0 to {spec.num_classes - 1}.{hint}"
        )
    return None


def _factors_fault(split: Split, declared: Mapping[str, int] | None) -> str | None:
    """Say what is wrong with the ground-truth factors of a split, where the dataset declares its factors."""
    factors = split.factors
    if factors is None or declared is None:
        return None
    if not isinstance(factors, Tensor):
        return f"factors must be a tensor or None, got {type(factors).__name__}."
    if fault := _form_fault("factors", factors, torch.int64, (len(split), len(declared))):
        return fault
    for column, (name, count) in enumerate(declared.items()):
        if outside := _first_outside(factors[:, column], count, least=-1):
            item, value = outside
            return (
                f"item {item} has the value {value} of factor {name!r}, which has the values 0 to {count - 1}, "
                "and -1 where it is unknown."
            )
    return None


def _form_fault(what: str, values: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> str | None:
    """Say that values have another type or shape than the split needs, or return None."""
    if values.dtype == dtype and tuple(values.shape) == shape:
        return None
    return f"{what} are {values.dtype} of shape {tuple(values.shape)}, but must be {dtype} of shape {shape}."


def _first_outside(values: Tensor, count: int, least: int = 0) -> tuple[int, int] | None:
    """Return position and value of the first of values (N,) that is not in `least` to `count` - 1, or None."""
    outside = ((values < least) | (values >= count)).nonzero()
    return (int(outside[0]), int(values[outside[0]])) if len(outside) else None
