"""Features of image files, by a trained encoder, and the file that holds them."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from bench_core.data.image_depth import bits_of, brightest
from bench_core.data.image_files import decode
from bench_core.data.image_formats import SUFFIXES
from bench_core.data.kinds import as_float
from bench_core.errors import RequestError
from bench_core.export.load import Trained
from bench_core.files import new_file, write_text

ENDINGS = (".parquet", ".npy")
_BATCH = 256


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return image files: those that are given, and all below the folders that are given, sorted in each.

    Raises:
        RequestError: There is no such file or folder, or a folder holds no images.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = sorted(_images_below(path))
            if not below:
                raise RequestError(f"{path} holds no images, which end in {', '.join(SUFFIXES)}.")
            files += below
        elif path.is_file():
            files.append(path)
        else:
            raise RequestError(f"there is no file or folder {path}.")
    return files


def embed_images(trained: Trained, files: Sequence[Path]) -> npt.NDArray[np.float32]:
    """Return the encoder's features (N, D) of image files.

    Files are decoded as the data set image_folder decodes them: upright, on white, the largest centred square resized
    to the size of the encoder's images, in their number of channels.

    Raises:
        RequestError: The encoder reads no square images with one or three channels.
        DataMissingError: A file cannot be decoded.
    """
    shape = trained.data.shape
    if not trained.data.is_image or shape[0] not in (1, 3) or shape[1] != shape[2]:
        raise RequestError(
            f"this encoder reads inputs of shape {shape}; files can be embedded by encoders of square images with one "
            "or three channels."
        )
    paths = [str(file) for file in files]
    values = [value for value in map(brightest, paths) if value is not None]
    depth = bits_of(max(values)) if values else 16
    features = []
    with torch.no_grad():
        for start in range(0, len(paths), _BATCH):
            pixels = decode(paths[start : start + _BATCH], shape[1], grey=shape[0] == 1, depth=depth)
            features.append(trained.encoder(as_float(torch.from_numpy(pixels))).numpy())
    joined: npt.NDArray[np.float32] = np.concatenate(features)
    return joined


def check_ending(path: Path) -> None:
    """Refuse a file whose ending is no format of features, or that needs a package which is not there."""
    if path.suffix.lower() not in ENDINGS:
        raise RequestError(f"-o {path} must end in {' or '.join(ENDINGS)}.")
    if path.suffix.lower() == ".parquet":
        try:
            import pyarrow  # noqa: F401  # only to see that it is there
        except ImportError as error:
            raise RequestError(f"parquet needs pyarrow: pip install 'bench-core[parquet]' ({error})") from error


def write_features(path: Path, names: Sequence[str], features: npt.NDArray[np.float32]) -> Path | None:
    """Write features with the names of their files, and return the file of the names where it is another one.

    A parquet file has the columns `file` and `feature`; beside an npy file a text file of the same name has one name
    a line.
    """
    if path.suffix.lower() == ".npy":
        with new_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, features)
        write_text(names_file(path), "".join(f"{name}\n" for name in names))
        return names_file(path)
    import pyarrow
    from pyarrow import parquet

    column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(features.ravel()), features.shape[1])
    with new_file(path) as temporary:
        parquet.write_table(pyarrow.table({"file": list(names), "feature": column}), temporary)
    return None


def names_file(path: Path) -> Path:
    """Return the text file beside an npy file."""
    return path.with_suffix(".txt")


def _images_below(top: Path) -> list[Path]:
    found = []
    for folder, folders, files in os.walk(top, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                found.append(Path(folder) / name)
    return found
