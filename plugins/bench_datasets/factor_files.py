"""dSprites and 3D Shapes: images of all combinations of known factors, from the published files.

Source: Matthey, Higgins, Hassabis, Lerchner, 2017, https://github.com/google-deepmind/dsprites-dataset; Burgess and
    Kim, 2018, https://github.com/google-deepmind/3d-shapes (tensorflow_datasets lists the SHA-256 of its file:
    0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785).
Note:  A seeded draw of the combinations is read, block by block, because the unpacked files have 3 and 6 GB. The digest
    is that of the packed file. dSprites' factor colour has one value and is left out; its pixels 0 and 1 become 0 and
    255. Factors of 3D Shapes are the ranks of the values in the file. `views` is "glyph" for the reasons given in
    `sprites`; here a change of colour would change factors as well. Mean and std are not known, so images stay in
    [0, 1].

Shapes: dSprites (1, 64, 64) with F = 5 factors, 3D Shapes (3, 64, 64) with F = 6. Labels are the shapes.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bench_core import BenchError, Dataset, DataSpec, Split, hookimpl
from bench_core.data import FactorDraws, draw_combinations, file_digest, missing_data

DSPRITES = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
DSPRITES_FACTORS = {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}
SHAPES3D = "3dshapes.h5"
SHAPES3D_FACTORS = {"floor_hue": 10, "wall_hue": 10, "object_hue": 10, "scale": 8, "shape": 4, "orientation": 15}
_BLOCK = 8192  # images that are unpacked together

Array = npt.NDArray[Any]


class DSprites(Dataset):
    """737,280 sprites of 5 known factors, 64 x 64.

    White squares, ellipses and hearts on black, of which a seeded draw is used; the file lies under `dsprites` of the
    data root.
    """

    Config = FactorDraws
    licence = "Apache-2.0, https://github.com/google-deepmind/dsprites-dataset"

    def __init__(self, root: Path, config: FactorDraws) -> None:
        """Keep root and config; no file is read before `load` or `digest`."""
        self.file, self.config = root / "dsprites" / DSPRITES, config

    def spec(self) -> DataSpec:
        """Return shapes, classes, factors and the counts of the config."""
        return _spec((1, 64, 64), DSPRITES_FACTORS, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of the file."""
        return f"sha256:{file_digest(_existing('dsprites', self.file))}"

    def load(self, split: str) -> Split:
        """Read `train` or `test`."""
        with _reading("dsprites", _existing("dsprites", self.file)):
            with self.file.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                factors = archive["latents_classes"][:, 1:]
            chosen = draw_combinations(self.config, split, len(factors))
            with zipfile.ZipFile(self.file) as archive, archive.open("imgs.npy") as member:
                images = _pick(_blocks_of_npy(member, (len(factors), 64, 64)), chosen)
            if factors.shape[1:] != (5,):
                raise ValueError(f"its factors are {factors.shape[1:]}, expected (5,)")
        return _split(images[:, None] * np.uint8(255), factors[chosen], shape=0)


class Shapes3D(Dataset):
    """480,000 scenes of 6 known factors, 64 x 64.

    Coloured objects in coloured rooms, of which a seeded draw is used; the file lies under `3dshapes` of the data root.
    Reading it needs h5py.
    """

    Config = FactorDraws
    licence = "Apache-2.0, https://github.com/google-deepmind/3d-shapes"

    def __init__(self, root: Path, config: FactorDraws) -> None:
        """Keep root and config; no file is read before `load` or `digest`."""
        self.file, self.config = root / "3dshapes" / SHAPES3D, config

    def spec(self) -> DataSpec:
        """Return shapes, classes, factors and the counts of the config."""
        return _spec((3, 64, 64), SHAPES3D_FACTORS, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of the file."""
        return f"sha256:{file_digest(_existing('shapes3d', self.file))}"

    def load(self, split: str) -> Split:
        """Read `train` or `test`."""
        path = _existing("shapes3d", self.file)
        try:
            import h5py  # here, because it is an optional package
        except ImportError as error:
            why = "reading it needs h5py; type: pip install 'bench-core[shapes3d]'"
            raise missing_data("shapes3d", path, why, fetch=False) from error
        with _reading("shapes3d", path), h5py.File(path, "r") as file:
            values = file["labels"][:]
            factors = np.stack([np.unique(column, return_inverse=True)[1] for column in values.T], 1)
            chosen = draw_combinations(self.config, split, len(factors))
            stored = file["images"]
            images = _pick((stored[start : start + _BLOCK] for start in range(0, len(stored), _BLOCK)), chosen)
        return _split(np.ascontiguousarray(images.transpose(0, 3, 1, 2)), factors[chosen], shape=4)


def _spec(shape: tuple[int, ...], factors: dict[str, int], config: FactorDraws) -> DataSpec:
    splits = {"train": config.train_size, "test": config.test_size}
    return DataSpec(shape=shape, splits=splits, num_classes=factors["shape"], factors=factors, views="glyph")


def _split(images: Array, factors: Array, shape: int) -> Split:
    """Make a split of images and factors; labels are the factor in column `shape`."""
    values = torch.from_numpy(np.ascontiguousarray(factors, np.int64))
    return Split(torch.from_numpy(images), values[:, shape].clone(), values)


def _existing(name: str, path: Path) -> Path:
    """Return the path of a dataset's file; DataMissingError says where to get it if it does not exist."""
    if path.is_file():
        return path
    source = {
        "dsprites": "https://github.com/google-deepmind/dsprites-dataset",
        "shapes3d": "https://console.cloud.google.com/storage/browser/3d-shapes",
    }[name]
    raise missing_data(name, path, f"does not exist; the file is at {source}", fetch=False)


@contextmanager
def _reading(name: str, path: Path) -> Iterator[None]:
    """Turn any error in reading a file into DataMissingError, which says that the file is damaged or another one."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:  # zip, zlib, numpy and HDF5 raise many kinds
        raise missing_data(
            name, path, f"is damaged or another file ({type(error).__name__}: {error})", fetch=False
        ) from error


def _blocks_of_npy(stream: Any, expected: tuple[int, ...]) -> Iterator[Array]:
    """Yield an array of bytes of the expected shape (N, ...) in npy format, in blocks of its first axis."""
    if np.lib.format.read_magic(stream) == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    if shape != expected or dtype != np.uint8 or fortran:  # checked before anything of that size is read
        raise ValueError(f"its images are {dtype} {shape}, expected uint8 {expected}")
    row = int(np.prod(shape[1:])) * dtype.itemsize
    for start in range(0, shape[0], _BLOCK):
        count = min(_BLOCK, shape[0] - start)
        yield np.frombuffer(stream.read(count * row), dtype).reshape(count, *shape[1:])


def _pick(blocks: Iterator[Array], index: npt.NDArray[np.int64]) -> Array:
    """Return the items at ascending positions `index` (M,) of an array that comes in consecutive blocks."""
    picked, start = [], 0
    for block in blocks:
        first, last = np.searchsorted(index, (start, start + len(block)))
        picked.append(block[index[first:last] - start])
        start += len(block)
    return np.concatenate(picked)


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"dsprites": DSprites, "shapes3d": Shapes3D}
