"""Finds the images of bands in a folder, in the layout of one of three public datasets.

eurosat       CLASS/NAME.tif: one file of all bands, one class for each image
bigearthnet   PATCH/PATCH_B02.tif: one file for each band, several labels in PATCH/PATCH_labels_metadata.json
ssl4eo        PLACE/TIME/B2.tif: one file for each band, several times for each place, no labels
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from bench_core import DataMissingError
from bench_core.data import missing_data
from bench_core.errors import shown

NAME = "multiband"
SUFFIXES = (".tif", ".tiff", ".npy", ".npz")
LABELS = "_labels_metadata.json"  # end of the name of a file with the labels of a patch

Layout = Literal["eurosat", "bigearthnet", "ssl4eo"]
Season = int | Literal["all"]


class Scene(NamedTuple):
    """An image of several bands, before its files are read.

    Attributes:
        place: Name that decides whether it is train or test; images of one place at several times share it.
        bands: Name of each band -> its file, relative to the folder; one entry "" for a file of all bands.
        labels: Names of its labels, or of its only class; none where labels are not known.
    """

    place: str
    bands: Mapping[str, str]
    labels: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Files of all bands, in the order of the bands."""
        return tuple(self.bands.values())


def find_layout(folder: Path) -> Layout:
    """Tell the layout of a folder from the first of its folders that is not empty.

    Raises:
        DataMissingError: The folder does not exist, or has no folders.
    """
    for name in _folders(folder, ""):
        rasters = _rasters(folder / name)
        if (folder / name / f"{name}{LABELS}").is_file() or (rasters and all(_is_band_of(name, f) for f in rasters)):
            return "bigearthnet"
        if rasters:
            return "eurosat"
        if _folders(folder, name, allow_none=True):
            return "ssl4eo"
    return "eurosat"


def _is_band_of(patch: str, file: str) -> bool:
    """Return True for a file of one of Sentinel's bands: PATCH_B02.tif, PATCH_VV.tif."""
    return re.fullmatch(r"_(B\d[\dA]|V[VH])", Path(file).stem.removeprefix(patch)) is not None


def find_scenes(folder: Path, layout: Layout, season: Season) -> list[Scene]:
    """List the images of a folder, sorted by name.

    Args:
        folder: Folder of the dataset.
        layout: How files lie in it.
        season: For `ssl4eo`, which of the sorted times of each place, counted from 0, or all.

    Raises:
        DataMissingError: There are no images, an image lacks a band that the first one has, or labels are missing.
    """
    find: Callable[[Path], Iterator[Scene]] = {
        "eurosat": _of_classes,
        "bigearthnet": _of_patches,
        "ssl4eo": lambda folder: _of_places(folder, season),
    }[layout]
    scenes = list(find(folder))
    if not scenes:
        why = f"has no images in the layout {layout!r}; expected {_EXPECTED[layout]}, with one of {', '.join(SUFFIXES)}"
        raise missing_data(NAME, folder, why, fetch=False)
    first = scenes[0]
    for scene in scenes:
        if scene.bands.keys() != first.bands.keys():
            where = folder / Path(scene.files[0]).parent
            difference = sorted(scene.bands.keys() ^ first.bands.keys(), key=_in_numbers)
            raise DataMissingError(
                f"{NAME}: {where} has the bands {', '.join(scene.bands)}, but {Path(first.files[0]).parent} has "
                f"{', '.join(first.bands)}; all images need the same. They differ in: {', '.join(difference)}."
            )
    return scenes


_EXPECTED: Mapping[Layout, str] = {
    "eurosat": "CLASS/NAME.tif",
    "bigearthnet": f"PATCH/PATCH_BAND.tif and PATCH/PATCH{LABELS}",
    "ssl4eo": "PLACE/TIME/BAND.tif",
}


def _of_classes(folder: Path) -> Iterator[Scene]:
    for name in _folders(folder, ""):
        for file in _rasters(folder / name):
            yield Scene(f"{name}/{Path(file).stem}", {"": f"{name}/{file}"}, (name,))


def _of_patches(folder: Path) -> Iterator[Scene]:
    for patch in _folders(folder, ""):
        bands = {
            Path(file).stem.removeprefix(f"{patch}_"): f"{patch}/{file}"
            for file in _rasters(folder / patch)
            if file.startswith(f"{patch}_")
        }
        if bands:
            yield Scene(patch, _sorted(bands), _labels_of(folder / patch / f"{patch}{LABELS}"))


def _of_places(folder: Path, season: Season) -> Iterator[Scene]:
    for place in _folders(folder, ""):
        times = [time for time in _folders(folder, place, allow_none=True) if _rasters(folder / place / time)]
        if not times:
            continue
        if season != "all" and season >= len(times):
            raise DataMissingError(
                f"{NAME}: {folder / place} has {len(times)} times, so there is no season {season}; set "
                f"multiband.season to at most {len(times) - 1}, or to all."
            )
        for time in times if season == "all" else [times[season]]:
            files = _rasters(folder / place / time)
            yield Scene(place, _sorted({Path(file).stem: f"{place}/{time}/{file}" for file in files}))


def _labels_of(path: Path) -> tuple[str, ...]:
    """Read the list `labels` of a JSON file."""
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ValueError(f"its labels are {shown(labels)}, expected a list of names")
    except FileNotFoundError as error:
        raise missing_data(NAME, path, "does not exist", fetch=False) from error
    except (ValueError, KeyError, TypeError) as error:
        why = f"is no JSON file with a list `labels` ({type(error).__name__}: {error})"
        raise missing_data(NAME, path, why, fetch=False) from error
    return tuple(labels)


def _sorted(bands: Mapping[str, str]) -> dict[str, str]:
    """Sort bands by name, with numbers by their value: B2 before B10, B8 before B8A."""
    return {name: bands[name] for name in sorted(bands, key=_in_numbers)}


def _in_numbers(name: str) -> list[tuple[int, int, str]]:
    return [
        (int(part.isdecimal()), int(part) if part.isdecimal() else 0, part) for part in re.findall(r"\d+|\D+", name)
    ]


def _folders(top: Path, below: str, *, allow_none: bool = False) -> list[str]:
    """Return the sorted names of the folders in one folder, without hidden ones."""
    folder = top / below
    if not folder.is_dir():
        raise missing_data(NAME, folder, "does not exist", fetch=False)
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names and not allow_none:
        raise missing_data(NAME, folder, f"has no folders; expected {', or '.join(_EXPECTED.values())}", fetch=False)
    return names


def _rasters(folder: Path) -> list[str]:
    """Return the sorted names of the files of a folder that may hold bands, without hidden ones."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
