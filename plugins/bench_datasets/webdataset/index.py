"""The file index.json: which shards a dataset has, and what each holds.

{"train": [{"shard": "train-000.tar", "bytes": 1044480, "sha256": "...", "items": 1000, "labels": [3, 0, ...]}, ...]}

It is made once, by reading all shards, and is what is counted and digested from then on.
"""

import glob
import json
import logging
import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from bench_core.data import missing_data, new_file
from bench_core.errors import ConfigError, DataMissingError, shown

from .shards import NAME, OpenShard, Shard, library

_log = logging.getLogger("bench")
INDEX = "index.json"


def make_command(folder: Path) -> str:
    """Return what to type to make the index."""
    return f"bench check --datasets {NAME} --set {NAME}.path={folder}"


def names_of(folder: Path, pattern: str) -> list[str]:
    """Return the shards that a pattern stands for: braces are expanded, then `*` of local files; sorted if by `*`.

    Raises:
        DataMissingError: No local file fits a pattern with `*`.
    """
    library()
    from braceexpand import braceexpand  # webdataset needs it, too

    try:
        expanded = list(braceexpand(pattern))
    except ValueError as error:
        raise ConfigError(f"{NAME}: {shown(pattern)}: {error}; write braces as in train-{{000..099}}.tar") from error
    names = []
    for name in expanded:
        if is_url(name) or not glob.has_magic(name):
            names.append(name)
            continue
        found = sorted(glob.glob(name, root_dir=folder))
        if not found:
            raise missing_data(NAME, folder / name, "no such shard", fetch=False)
        names += found
    return names


def is_url(name: str) -> bool:
    """Say whether a shard's name is a URL or a command, not a path."""
    scheme = name.partition(":")[0]
    return ":" in name and scheme.isalnum() and len(scheme) > 1


def url_of(folder: Path, name: str) -> str:
    """Return what the library opens for a shard."""
    return name if is_url(name) else str(folder / os.path.expanduser(name))


def write_index(folder: Path, patterns: Mapping[str, str]) -> None:
    """Read all shards of all splits and write the index of the folder, over what was there.

    Raises:
        DataMissingError: A shard cannot be read, or some samples have classes and others have not.
    """
    index = {}
    for split, pattern in patterns.items():
        names = names_of(folder, pattern)
        _log.info("%s: reading %s shards of %s", NAME, f"{len(names):,}", split)
        index[split] = [_read_shard(name, url_of(folder, name)) for name in names]
    with_labels = {"labels" in entry for entries in index.values() for entry in entries if entry["items"]}
    if len(with_labels) > 1:
        lacking = next(e["shard"] for part in index.values() for e in part if "labels" not in e and e["items"])
        raise DataMissingError(
            f"{NAME}: {lacking} has no classes, but other shards have; add files cls, or remove all."
        )
    with new_file(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(index), encoding="utf-8")


def _read_shard(name: str, url: str) -> dict[str, Any]:
    with closing(OpenShard(name, url)) as file:
        labels = [sample.label for sample in file.samples()]
        found: dict[str, Any] = {"shard": name, "bytes": file.bytes, "sha256": file.sha256, "items": len(labels)}
    if None not in labels:
        return found | {"labels": labels}
    if any(label is not None for label in labels):
        raise DataMissingError(f"{NAME}: {name}: some samples have a class and others have not; add files cls.")
    return found


def read_index(folder: Path, patterns: Mapping[str, str]) -> dict[str, list[Shard]]:
    """Return the shards of each split as the index has them; local shards must have the size that they had.

    Raises:
        DataMissingError: There is no index, it is damaged, or it is of other shards.
    """
    path = folder / INDEX
    again = f"it is made by `{make_command(folder)}`"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        shards = {split: [_shard(folder, entry) for entry in content[split]] for split in patterns if split in content}
    except FileNotFoundError as error:
        raise missing_data(NAME, path, f"does not exist; {again}", fetch=False) from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise missing_data(NAME, path, f"is damaged ({type(error).__name__}: {error}); {again}", fetch=False) from error
    for split, pattern in patterns.items():
        names = [shard.name for shard in shards.get(split, ())]
        if not any(shard.items for shard in shards.get(split, ())) or names != names_of(folder, pattern):
            raise missing_data(NAME, path, f"is not of the shards {shown(pattern)} of {split}; {again}", fetch=False)
        for shard in shards[split]:
            if not is_url(shard.name) and _size(Path(shard.url)) != shard.bytes:
                why = f"is missing, or changed since {INDEX} was made; {again}"
                raise missing_data(NAME, Path(shard.url), why, fetch=False)
    return shards


def _shard(folder: Path, entry: Mapping[str, Any]) -> Shard:
    name, labels = str(entry["shard"]), entry.get("labels")
    items = int(entry["items"])
    if labels is not None and (len(labels) != items or not all(isinstance(v, int) and v >= 0 for v in labels)):
        raise ValueError(f"{name} has not one class for each of its {items} items")
    kept = None if labels is None else tuple(labels)
    return Shard(name, url_of(folder, name), int(entry["bytes"]), str(entry["sha256"]), items, kept)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
