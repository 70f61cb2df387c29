"""Reads the bands of an image as float32 in [0, 1], from GeoTIFF or numpy files, at one size.

Shapes: C bands, H x W pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from bench_core import DataMissingError
from bench_core.data import missing_data

from .layouts import NAME, Scene

Bands = npt.NDArray[np.float32]


class SceneReader:
    """A Reader of images that reads their bands when they are asked for."""

    def __init__(
        self, folder: Path, scenes: Sequence[Scene], bands: Sequence[int] | None, scale: float, size: int | None
    ) -> None:
        """Keep the arguments; no file is opened yet.

        Args:
            folder: Folder of the dataset.
            scenes: The images.
            bands: Numbers of the bands to read, in their order; None for all.
            scale: Value that becomes 1; larger ones are cut to 1, negative ones to 0.
            size: Side of the largest centred square after it is resized; None keeps images as they are.
        """
        self.folder, self.scenes, self.bands, self.scale, self.size = folder, scenes, bands, scale, size

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.scenes)

    def read(self, index: Tensor) -> Tensor:
        """Read the images at index (N,) int64 as (N, C, H, W), float32 in [0, 1].

        Raises:
            DataMissingError: Files cannot be read, or have another size or number of bands than the first image; the
                message has the first of them, and their number.
        """
        images, faults = list[Bands](), list[str]()
        for scene in (self.scenes[number] for number in index.tolist()):
            try:
                images.append(self.read_scene(scene))
                self._refuse_other_shape(images[0], images[-1])
            except DataMissingError:
                raise  # a package is missing
            except Exception as error:  # damaged files make readers raise anything
                faults.append(f"{self.folder / scene.files[0]}: {error or type(error).__name__}")
        if faults:
            raise DataMissingError(
                f"{NAME}: {len(faults)} of {len(index)} images cannot be read, the first is {faults[0]}. Replace or "
                "remove them."
            )
        return torch.from_numpy(np.stack(images))

    def read_scene(self, scene: Scene) -> Bands:
        """Read one image as (C, H, W), its bands at one size."""
        bands = [_fractions(band, self.scale) for band in self._chosen(scene)]
        height, width = (max(band.shape[axis] for band in bands) for axis in (0, 1))
        target = (self.size, self.size) if self.size else (height, width)
        return np.stack([_resized(band, target, square=self.size is not None) for band in bands])

    def _chosen(self, scene: Scene) -> list[npt.NDArray[Any]]:
        """Read the chosen bands, each (h, w) at its own resolution and in its own numbers."""
        if "" in scene.bands:
            all_bands = read_raster(self.folder / scene.files[0])
            chosen = range(len(all_bands)) if self.bands is None else self.bands
            if max(chosen) >= len(all_bands):
                raise ValueError(f"it has {len(all_bands)} bands, but multiband.bands asks for number {max(chosen)}")
            return [all_bands[number] for number in chosen]
        files = scene.files if self.bands is None else [scene.files[number] for number in self.bands]
        bands = list[npt.NDArray[Any]]()
        for file in files:
            found = read_raster(self.folder / file)
            if len(found) != 1:
                raise ValueError(f"{Path(file).name} has {len(found)} bands, expected one")
            bands.append(found[0])
        return bands

    def _refuse_other_shape(self, first: Bands, image: Bands) -> None:
        if len(image) != len(first):
            raise ValueError(
                f"it has {len(image)} bands, but another image has {len(first)}; multiband.bands chooses those of all"
            )
        if image.shape != first.shape:
            height, width = first.shape[1:]
            raise ValueError(
                f"it is {image.shape[1]} x {image.shape[2]} pixels, but another image is {height} x {width}; "
                f"--set multiband.size={min(height, width)} resizes all"
            )


def read_raster(path: Path) -> npt.NDArray[Any]:
    """Read a file as (C, H, W) in its own numbers.

    An array of numpy is (C, H, W), or (H, W, C) if its last axis is the shorter one; a .npz file holds one array.

    Raises:
        DataMissingError: A TIFF file is to be read, and tifffile is not installed.
        ValueError: The file does not hold bands of real numbers.
    """
    if path.suffix.lower() in (".tif", ".tiff"):
        array, axes = _read_tiff(path)
    else:
        array = _read_numpy(path)
        axes = "CYX" if array.ndim == 3 and array.shape[0] <= array.shape[2] else "YXC"
    if array.ndim == 2:
        array = array[None]
    elif array.ndim != 3 or not {"Y", "X"} <= set(axes):
        raise ValueError(f"it has an array of shape {array.shape}, expected bands of rows and columns")
    else:
        array = np.moveaxis(array, next(axis for axis, letter in enumerate(axes) if letter not in "YX"), 0)
    if array.dtype.kind not in "uif" or not array.size:
        raise ValueError(f"its values are {array.dtype} of shape {array.shape}, expected real numbers")
    return array


def _read_tiff(path: Path) -> tuple[npt.NDArray[Any], str]:
    """Read the first series of images of a TIFF file, with a letter for each axis."""
    try:
        import tifffile  # here, because it is an optional package
    except ImportError as error:
        why = "reading it needs tifffile; type: pip install 'bench-core[raster]'"
        raise missing_data(NAME, path, why, fetch=False) from error
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        return np.asarray(series.asarray()), series.axes


def _read_numpy(path: Path) -> npt.NDArray[Any]:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        if len(loaded.files) != 1:
            raise ValueError(f"it holds {len(loaded.files)} arrays ({', '.join(loaded.files)}), expected one")
        array: npt.NDArray[Any] = loaded[loaded.files[0]]
        return array


def _fractions(band: npt.NDArray[Any], scale: float) -> Bands:
    """Divide the values of a band (H, W) by the scale, and cut them to [0, 1]."""
    values = band.astype(np.float64) / scale
    if not np.isfinite(values).all():
        raise ValueError("it has values that are not finite (NaN or infinite)")
    fractions: Bands = values.clip(0, 1).astype(np.float32)
    return fractions


def _resized(band: Bands, target: tuple[int, int], *, square: bool) -> Bands:
    """Resize a band (H, W), or its largest centred square, by Pillow's bilinear filter, which antialiases."""
    height, width = band.shape
    side_y, side_x = (min(height, width),) * 2 if square else (height, width)
    if (height, width) == target:
        return band
    top, left = (height - side_y) // 2, (width - side_x) // 2
    box = (left, top, left + side_x, top + side_y)
    image = Image.fromarray(band).resize(target[::-1], Image.Resampling.BILINEAR, box=box)
    resized: Bands = np.asarray(image, np.float32).clip(0, 1)
    return resized
