"""Says what is wrong with a split: where it differs from the DataSpec of its dataset, in one sentence.

Only what is declared is compared: vectors and graphs may hold any values.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from bench_core.contracts import DataSpec, Split

_TRIED = 16  # images of a Reader that `bench check` reads


def split_fault(split: object, spec: DataSpec, name: str) -> str | None:
    """Say where a split differs from its dataset's description, and what would be right; None if it does not.

    Images of a Reader are not read; for these see `read_fault`.

    Args:
        split: What `Dataset.load` returned.
        spec: The description.
        name: Name of the split.
    """
    if not isinstance(split, Split):
        return f"load() must return a Split, got {type(split).__name__}."
    if fault := _kind_fault(split.inputs):
        return fault
    if name in spec.splits and len(split) != spec.splits[name]:
        return f"it has {len(split)} items, but spec() declares {spec.splits[name]}; make both the same."
    return (
        _tensor_fault(split.inputs, spec)
        or _labels_fault(split, spec)
        or _factors_fault(split, spec.factors)
        or rows_fault(split)
    )


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


def read_fault(images: object, index: Tensor, shape: tuple[int, ...]) -> str | None:
    """Say what is wrong with what a Reader of images returned for some items, or return None.

    Args:
        images: What `Reader.read` returned. Only tensors are checked.
        index: Items (N,) that were read.
        shape: The shape (C, H, W) that the dataset declares.
    """
    if not isinstance(images, Tensor):
        return None  # an object of the dataset's own, such as pairs of images
    if len(images) != len(index):
        return f"read() returned {len(images)} images for {len(index)} items, beginning with item {int(index[0])}."
    fault = images_fault(images, shape)
    return f"in a batch that begins with item {int(index[0])}, {fault}" if fault else None


def first_images_fault(split: Split, spec: DataSpec) -> str | None:
    """Read the first images of a split's Reader and say what is wrong with them; None for any other split."""
    if not hasattr(split.inputs, "read") or not spec.is_image or not len(split):
        return None
    index = torch.arange(min(_TRIED, len(split)))
    return read_fault(split.read(index), index, spec.shape)


def _kind_fault(inputs: object) -> str | None:
    if isinstance(inputs, Tensor):
        return None if inputs.ndim else "inputs must be a tensor with one row for each item, got a single number."
    if hasattr(inputs, "__len__") and (hasattr(inputs, "read") or hasattr(inputs, "select")):
        return None
    return f"inputs must be a tensor, Items (Nodes, Graphs, Pair, ...) or a Reader, got {type(inputs).__name__}."


def _tensor_fault(inputs: object, spec: DataSpec) -> str | None:
    """Say what is wrong with inputs in memory; those of a Reader are checked when they are read."""
    if not isinstance(inputs, Tensor):
        return None
    if spec.is_image:
        return images_fault(inputs, spec.shape)
    shape = tuple(inputs.shape[1:])
    return None if shape == spec.shape else f"one input has shape {shape}, but spec() declares {spec.shape}."


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
        if outside := _first_outside(factors[:, column], count):
            item, value = outside
            return f"item {item} has the value {value} of factor {name!r}, which has the values 0 to {count - 1}."
    return None


def _form_fault(what: str, values: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> str | None:
    """Say that values have another type or shape than the split needs, or return None."""
    if values.dtype == dtype and tuple(values.shape) == shape:
        return None
    return f"{what} are {values.dtype} of shape {tuple(values.shape)}, but must be {dtype} of shape {shape}."


def _first_outside(values: Tensor, count: int) -> tuple[int, int] | None:
    """Return position and value of the first of values (N,) that is not in 0 to `count` - 1, or None."""
    outside = ((values < 0) | (values >= count)).nonzero()
    return (int(outside[0]), int(values[outside[0]])) if len(outside) else None
