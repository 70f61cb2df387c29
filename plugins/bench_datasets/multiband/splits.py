"""Decides which images are train and which are test: by two files of names, or by the hash of each name."""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from bench_core import DataMissingError
from bench_core.data import missing_data
from bench_core.errors import shown

from .layouts import NAME, SUFFIXES, Scene

_log = logging.getLogger("bench")
SPLITS = ("train", "test")
_SUFFIXES = (*SUFFIXES, ".jpg", ".png")  # lists of the coloured copies of EuroSAT name these


def split_scenes(folder: Path, scenes: Sequence[Scene], test_share: float) -> dict[str, list[Scene]]:
    """Divide images into train and test.

    If the folder has `train.txt` and `test.txt`, these list the names of places, one in a line. Else a place is part of
    test if the hash of its name says so; the same name is always in the same split.

    Args:
        folder: Folder of the dataset.
        scenes: All images.
        test_share: Part of the places that the hash puts into test.

    Raises:
        DataMissingError: Only one of the two files exists, a name is in both or unknown, or a split is empty.
    """
    lists = [path for path in (folder / "train.txt", folder / "test.txt") if path.exists()]
    if len(lists) == 1:
        other = folder / ("test.txt" if lists[0].name == "train.txt" else "train.txt")
        why = f"does not exist, but {lists[0].name} does; without both, a hash of the names divides the images"
        raise missing_data(NAME, other, why, fetch=False)
    if lists:
        divided = _by_lists(lists, scenes)
    else:
        tested = {place: _hash_below(place, test_share) for place in {scene.place for scene in scenes}}
        divided = {name: [s for s in scenes if tested[s.place] == (name == "test")] for name in SPLITS}
    for name, part in divided.items():
        if not part:
            how = f"{name}.txt names none" if lists else f"the hash of names gives it none of {len(scenes)}"
            raise DataMissingError(
                f"{NAME}: {folder}: {name} has no images: {how}. Write train.txt and test.txt with a name in each "
                "line, or set multiband.test_share."
            )
    return divided


def _hash_below(place: str, share: float) -> bool:
    """Return True for a share of all names, by the first 32 bits of their SHA-256."""
    return int.from_bytes(hashlib.sha256(place.encode()).digest()[:4], "big") < share * 2**32


def _by_lists(lists: Sequence[Path], scenes: Sequence[Scene]) -> dict[str, list[Scene]]:
    places = {scene.place for scene in scenes}
    by_last_part = {PurePosixPath(place).name: place for place in sorted(places)}
    split_of = dict[str, str]()
    for path in lists:
        for number, line in enumerate(_lines(path), 1):
            if not line:
                continue
            name = _without_suffix(line)
            place = name if name in places else by_last_part.get(PurePosixPath(name).name)
            if place is None:
                raise DataMissingError(f"{NAME}: {path}, line {number}: there is no image named {shown(line)}.")
            if split_of.setdefault(place, path.stem) != path.stem:
                raise DataMissingError(f"{NAME}: {path}, line {number}: {shown(line)} is in train.txt, too.")
    if left_out := places - split_of.keys():
        _log.warning("%s: %s of %s names are in neither list and left out", NAME, len(left_out), len(places))
    return {name: [scene for scene in scenes if split_of.get(scene.place) == name] for name in SPLITS}


def _lines(path: Path) -> Iterable[str]:
    return (line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines())


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    return str(path.with_suffix("")) if path.suffix.lower() in _SUFFIXES else str(path)
