"""Arrays of several splits in one npz or parquet file: images or features, and labels where there are any.

    read_arrays(Path("features.npz"))["test"].labels

npz has keys such as `train` and `train_labels`; parquet has the columns `split`, `label`, and `feature` or `f0`, `f1`.
Classes are numbered in sorted order over all splits. Nothing is unpickled.

Shapes: N items; images (C, H, W) uint8, or float in [0, 1]; features (D,) float.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bench_core.contracts import Split
from bench_core.errors import DataMissingError, RequestError, did_you_mean

Array = npt.NDArray[Any]
_LABELS = "_labels"  # end of the keys of labels in a npz file
_CHANNELS = (1, 3, 4)  # of usual images; tells (N, H, W, C) from (N, C, H, W)


def read_arrays(file: Path) -> dict[str, Split]:
    """Return the splits of a file by name, sorted; inputs are tensors, and `train` is among them.

    Raises:
        DataMissingError: The file is missing, or its arrays are not what they should be; the message says what to do.
        RequestError: A parquet file cannot be read without pyarrow.
    """
    with _reading(file):
        values, labels = _read_parquet(file) if file.suffix == ".parquet" else _read_npz(file)
    if "train" not in values:
        names = ", ".join(values) or "none"
        raise _error(file, f"it has no split 'train'{did_you_mean('train', values)} Its splits are: {names}")
    inputs = {name: _as_inputs(file, name, array) for name, array in sorted(values.items())}
    shapes = {name: (tuple(tensor.shape[1:]), tensor.dtype) for name, tensor in inputs.items()}
    if other := next((name for name in shapes if shapes[name] != shapes["train"]), None):
        raise _error(file, f"items of train are {_form(shapes['train'])}, but of {other} {_form(shapes[other])}")
    numbered = _numbered(file, labels)
    for name, found in numbered.items():
        if len(found) != len(inputs[name]):
            raise _error(file, f"{name} has {len(inputs[name])} items, but {len(found)} labels")
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


def _form(form: tuple[tuple[int, ...], torch.dtype]) -> str:
    return f"{form[0]} {str(form[1]).removeprefix('torch.')}"


def _error(file: Path, why: str) -> DataMissingError:
    return DataMissingError(f"{file}: {why}.")


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn errors of reading a file into a DataMissingError with its path."""
    if not file.is_file():
        raise DataMissingError(f"{file} is no file; give the path of a npz or parquet file.")
    try:
        yield
    except OSError as error:
        raise DataMissingError(f"{file} cannot be read ({error.strerror or error}).") from error
    except (ValueError, EOFError, KeyError) as error:  # numpy's, of damaged or pickled arrays
        raise _error(file, f"it cannot be read ({error}); write numbers or text with numpy.savez(FILE, ...)") from error
    except Exception as error:  # zipfile and zlib have errors of their own
        if isinstance(error, RequestError):
            raise
        raise _error(file, f"it is damaged ({error}); write it again") from error
