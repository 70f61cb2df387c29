"""Arrays of your own: images, or features that any model made, from one npz or parquet file.

Source: ours. npz is `numpy.savez`; parquet has one row for each item.
Note:  Classes are numbered in sorted order over all splits. Mean and std are those of `train`. Nothing is unpickled.

Shapes: N items; images (C, H, W) uint8, or float in [0, 1]; features (D,) float.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench_core import Config, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import digest_of, missing_data
from bench_core.errors import DataMissingError, RequestError, did_you_mean, shown

Array = npt.NDArray[Any]
VERSION = 1  # of what becomes of the arrays; part of the digest
_LABELS = "_labels"  # end of the keys of labels in a npz file
_CHANNELS = (1, 3, 4)  # of usual images; tells (N, H, W, C) from (N, C, H, W)


@dataclass(frozen=True, kw_only=True)
class ArraysConfig(Config):
    """Parameters of the file."""

    path: str = param(
        "arrays.npz", "npz or parquet file: absolute, or below the data root", "ours: any place", in_key=False
    )
    views: Literal["natural", "glyph", "bands"] = param(
        "natural", "which changes keep the meaning of an image; features have none", "ours: photographs"
    )


class Arrays(Dataset):
    """Your own arrays: images, or features of a model.

    Reads the arrays `train`, `train_labels`, `test`, `test_labels`, or other splits, of a npz file; or the columns
    `split`, `label` and `feature` of a parquet file. Labels may be left out.
    """

    Config = ArraysConfig

    def __init__(self, root: Path, config: ArraysConfig) -> None:
        """Keep root and config; no file is read before `spec` or `digest`."""
        self.config, self.file = config, root / os.path.expanduser(config.path)

    def spec(self) -> DataSpec:
        """Return shapes, classes and counts, with mean and std of `train`; the file is read.

        Raises:
            DataMissingError: The file is missing, or its arrays are not what they should be.
        """
        train = self._splits["train"].inputs
        assert isinstance(train, Tensor)
        mean, std = _moments(train)
        labels = [split.labels for split in self._splits.values() if split.labels is not None]
        single = [part for part in labels if part.ndim == 1]
        return DataSpec(
            shape=tuple(train.shape[1:]),
            splits={name: len(split) for name, split in self._splits.items()},
            num_classes=1 + max(int(part.max()) for part in single) if single else None,
            num_labels=labels[0].shape[1] if labels and not single else None,
            mean=mean,
            std=std,
            views=self.config.views,
        )

    def digest(self) -> str:
        """Return the SHA-256 of all values and labels, however the file stores them."""
        parts: list[Tensor | str] = [f"arrays {VERSION}"]
        for name, split in self._splits.items():
            assert isinstance(split.inputs, Tensor)
            parts += [name, split.inputs, "no labels" if split.labels is None else split.labels]
        return digest_of(*parts)

    def check_files(self) -> None:
        """Read the file again."""
        self.__dict__.pop("_splits", None)

    def load(self, split: str) -> Split:
        """Return one split.

        Raises:
            RequestError: No split has this name.
        """
        if split not in self._splits:
            raise RequestError(f"no split named {shown(split)}; there are: {', '.join(self._splits)}.")
        return self._splits[split]

    @cached_property
    def _splits(self) -> dict[str, Split]:
        """All splits, by name."""
        with _reading(self.file):
            values, labels = _read_parquet(self.file) if self.file.suffix == ".parquet" else _read_npz(self.file)
        if "train" not in values:
            names = ", ".join(values) or "none"
            raise _error(self.file, f"it has no split 'train'{did_you_mean('train', values)} Its splits are: {names}")
        inputs = {name: _as_inputs(self.file, name, array) for name, array in sorted(values.items())}
        shapes = {name: (tuple(tensor.shape[1:]), tensor.dtype) for name, tensor in inputs.items()}
        if other := next((name for name in shapes if shapes[name] != shapes["train"]), None):
            raise _error(
                self.file, f"items of train are {_form(shapes['train'])}, but of {other} {_form(shapes[other])}"
            )
        numbered = _numbered(self.file, labels)
        for name, found in numbered.items():
            if len(found) != len(inputs[name]):
                raise _error(self.file, f"{name} has {len(inputs[name])} items, but {len(found)} labels")
        return {name: Split(tensor, numbered.get(name)) for name, tensor in inputs.items()}


def _read_npz(file: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the values and the labels of each split."""
    with file.open("rb") as content:
        archive = np.load(content, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise _error(file, "it is one array, but npz holds several; write it with numpy.savez(FILE, train=...)")
        arrays = {name: np.asarray(archive[name]) for name in archive.files}
    labels = {name.removesuffix(_LABELS): array for name, array in arrays.items() if name.endswith(_LABELS)}
    values = {name: array for name, array in arrays.items() if not name.endswith(_LABELS)}
    if alone := sorted(labels.keys() - values.keys()):
        raise _error(file, f"it has {alone[0]}{_LABELS}, but no {alone[0]}{did_you_mean(alone[0], values)}")
    return values, labels


def _read_parquet(file: Path) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the values and the labels of each split."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise RequestError("parquet needs pyarrow; type: pip install 'bench-core[parquet]'") from error
    try:
        with file.open("rb") as content:
            table = parquet.ParquetFile(content).read()
    except pyarrow.ArrowInvalid as error:
        raise _error(file, f"it is no parquet file ({error})") from error
    columns = table.column_names
    if "split" not in columns:
        raise _error(file, f"it has no column 'split', with train, test, ...; its columns are: {', '.join(columns)}")
    numbers = sorted((name for name in columns if name[:1] == "f" and name[1:].isdecimal()), key=lambda n: int(n[1:]))
    if "feature" in columns:
        rows = table.column("feature").to_pylist()
        if len(lengths := {len(row) if isinstance(row, list) else -1 for row in rows}) > 1 or -1 in lengths:
            raise _error(file, "the column 'feature' must have lists of one length in all rows")
        features = np.array(rows)
    elif numbers:
        features = np.stack([table.column(name).to_numpy() for name in numbers], 1)
    else:
        raise _error(file, f"it has neither a column 'feature' nor f0, f1, ...; its columns are: {', '.join(columns)}")
    splits = np.array([str(name) for name in table.column("split").to_pylist()])
    rows_of = {str(name): splits == name for name in np.unique(splits)}
    cells = table.column("label").to_pylist() if "label" in columns else []
    labels = {}
    for name, chosen in rows_of.items():
        kept = [cell for cell, in_split in zip(cells, chosen, strict=True) if in_split] if cells else []
        if any(cell is not None for cell in kept):  # a split of nothing but null has no labels
            if None in kept:
                raise _error(file, f"{kept.count(None)} of {len(kept)} items of {name} have no label")
            labels[name] = np.array(kept)
    return {name: features[chosen] for name, chosen in rows_of.items()}, labels


def _as_inputs(file: Path, name: str, array: Array) -> Tensor:
    """Return images (N, C, H, W) uint8 or float32, or features (N, D) float32."""
    shape = array.shape
    if array.dtype.kind not in "fiu" or array.dtype.hasobject:
        raise _error(file, f"{name} is of {array.dtype}; it must be numbers: uint8 images or float features")
    if array.ndim not in (2, 4) or not all(shape):
        channel = f"; for grey images write {name}[:, None]" if array.ndim == 3 else ""
        raise _error(file, f"{name} has shape {shape}; features are (N, D) and images (N, C, H, W){channel}")
    if array.ndim == 4 and shape[3] in _CHANNELS and shape[1] not in _CHANNELS:
        right = f"{name}.transpose(0, 3, 1, 2)"
        raise _error(file, f"{name} has shape {shape}, but images are (N, C, H, W); write {right}")
    if array.ndim == 4 and array.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(array))
    if array.ndim == 4 and array.dtype.kind != "f":
        raise _error(file, f"images of {name} are {array.dtype}; write uint8 from 0 to 255, or floats from 0 to 1")
    with np.errstate(over="ignore"):  # refused below
        values = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(values).reshape(len(values), -1).all(1)
    if not finite.all():
        item = int(np.flatnonzero(~finite)[0])
        value = array[item][~np.isfinite(values[item])][0]
        many = f"{int((~finite).sum())} of {len(values)} items of {name} have values that are no finite float32 numbers"
        raise _error(file, f"{many}; the first is item {item}, with {value}")
    return torch.from_numpy(values)


def _numbered(file: Path, labels: Mapping[str, Array]) -> dict[str, Tensor]:
    """Number the classes of all splits in sorted order; multi-hot labels (N, L) become bool."""
    for name, array in labels.items():
        if array.ndim not in (1, 2) or array.dtype.hasobject or array.dtype.kind not in "biufUS":
            raise _error(file, f"labels of {name} have shape {array.shape} and {array.dtype}; {_LABELS_RIGHT}")
        if array.ndim == 2 and not np.isin(array, [0, 1]).all():
            raise _error(
                file, f"labels of {name} have shape {array.shape} and other values than 0 and 1; {_LABELS_RIGHT}"
            )
        if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
            raise _error(file, f"labels of {name} are no whole numbers; {_LABELS_RIGHT}")
    if len(forms := {array.shape[1:] for array in labels.values()}) > 1:
        raise _error(file, f"labels of one split have the shape {min(forms)}, of another {max(forms)}, after the items")
    if len(kinds := {array.dtype.kind in "US" for array in labels.values()}) > 1:
        raise _error(file, "labels of one split are text, of another numbers; write all as one of the two")
    if any(forms):
        return {name: torch.from_numpy(array.astype(bool)) for name, array in labels.items()}
    if not labels:
        return {}
    classes = np.unique(np.concatenate([array.astype(str) if True in kinds else array for array in labels.values()]))
    return {
        name: torch.from_numpy(np.searchsorted(classes, array.astype(classes.dtype))).long()
        for name, array in labels.items()
    }


_LABELS_RIGHT = "write one class for each item (N,), as whole numbers or text, or 0 and 1 for each of L labels (N, L)"


def _moments(train: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std of each channel or feature, of values in [0, 1] for uint8; a std of 0 becomes 1."""
    values = train.numpy().astype(np.float64)
    axes = (0, 2, 3) if train.ndim == 4 else (0,)
    scale = 255 if train.dtype == torch.uint8 else 1
    mean, std = values.mean(axes) / scale, values.std(axes) / scale
    rounded = [tuple(float(f"{value:.6g}") for value in array) for array in (mean, np.where(std > 0, std, 1))]
    return rounded[0], rounded[1]


def _form(form: tuple[tuple[int, ...], torch.dtype]) -> str:
    return f"{form[0]} {str(form[1]).removeprefix('torch.')}"


def _error(file: Path, why: str) -> DataMissingError:
    return DataMissingError(f"arrays: {file}: {why}.")


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn errors of reading a file into a DataMissingError with its path."""
    if not file.is_file():
        raise missing_data("arrays", file, "is no file; set arrays.path to a npz or parquet file", fetch=False)
    try:
        yield
    except OSError as error:
        raise missing_data("arrays", file, f"cannot be read ({error.strerror or error})", fetch=False) from error
    except (ValueError, EOFError, KeyError) as error:  # numpy's, of damaged or pickled arrays
        raise _error(file, f"it cannot be read ({error}); write numbers or text with numpy.savez(FILE, ...)") from error
    except Exception as error:  # zipfile and zlib have errors of their own
        if isinstance(error, RequestError):
            raise
        raise _error(file, f"it is damaged ({error}); write it again") from error


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"arrays": Arrays}
