"""Damage files of a store, litter it, and forbid writing into it."""

import base64
import json
import os
import random
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bench_core.store.per_item import unpack_items
from tests.faults.runs import Action

Rng = random.Random
Damage = Callable[[Path, Rng], None]


def flip_bit(path: Path, rng: Rng) -> None:
    """Flip one random bit of a file."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    _overwrite(path, bytes(content))


def cut_short(path: Path, rng: Rng) -> None:
    """Remove the end of a file, or all of its content."""
    _overwrite(path, path.read_bytes()[: rng.choice((0, rng.randrange(path.stat().st_size)))])


def delete(path: Path, rng: Rng) -> None:
    """Delete a file."""
    path.unlink()


def flip_bit_of_items(path: Path, rng: Rng) -> None:
    """Flip one bit in the encoded text of a record's per-item results."""
    content, record = bytearray(path.read_bytes()), json.loads(path.read_text())
    text = record["items"]["top1"]["values"].encode()
    content[content.index(text) + rng.randrange(len(text))] ^= 1 << rng.randrange(8)
    _overwrite(path, bytes(content))


def invert_hit(path: Path, rng: Rng) -> None:
    """Turn one hit of a record's per-item results into a miss or a miss into a hit; the results stay readable."""
    record = json.loads(path.read_text())
    items = record["items"]["top1"]
    hits = unpack_items(items) > 0
    hits[rng.randrange(len(hits))] ^= True
    items["values"] = base64.b64encode(zlib.compress(np.packbits(hits).tobytes(), 9)).decode()
    unpack_items(items)
    _overwrite(path, json.dumps(record, indent=1).encode())


def delete_items(path: Path, rng: Rng) -> None:
    """Delete a record's per-item results; records of older code have none."""
    record = json.loads(path.read_text())
    del record["items"]
    _overwrite(path, json.dumps(record, indent=1).encode())


def _overwrite(path: Path, content: bytes) -> None:
    """Replace the content but keep the file's times, as a failing disk does."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@dataclass(frozen=True)
class Target:
    """Files of a store that are damaged.

    Attributes:
        name: Name in the report.
        store: A copy of which store is damaged: of a finished run, or of one whose training was killed.
        pattern: Glob of the files.
        removed: Globs of folders that are deleted first, so that the next run needs the damaged file.
        newest_only: Damage only the last file by name.
    """

    name: str
    store: Literal["finished", "training"]
    pattern: str
    removed: Sequence[str] = ()
    newest_only: bool = False


CHECKPOINTS = "chains/*.under-way/*.safetensors"
FILE_DAMAGES: dict[str, Damage] = {"one bit flipped": flip_bit, "cut short": cut_short, "gone": delete}
ITEM_DAMAGES: dict[str, Damage] = {
    "one bit flipped": flip_bit_of_items,
    "one hit turned": invert_hit,
    "gone": delete_items,
}
ITEMS = Target("per-item results in a record", "finished", "cells/*/*.json")
TARGETS = (
    Target("newest checkpoint", "training", CHECKPOINTS, newest_only=True),
    Target("all checkpoints", "training", CHECKPOINTS),
    Target("weights", "finished", "chains/*/weights.safetensors", ("cells", "chains/*/embeddings")),
    Target("summary of a training", "finished", "chains/*/chain.json", ("cells",)),
    Target("embeddings", "finished", "chains/*/embeddings/*/*.safetensors", ("cells",)),
    Target("digests of embeddings", "finished", "chains/*/embeddings/*/done.json", ("cells",)),
    Target("record", "finished", "cells/*/*.json"),
    ITEMS,
    Target("marker of the store", "finished", "bench-store.json"),
)


def litter(store: Path, checkpoint_folder: Path) -> None:
    """Leave half-written files and folders in a store, as processes do that are killed while they write."""
    key = checkpoint_folder.name.partition(".")[0]
    half_written = store / "chains" / f".{key}.01234567.tmp"
    half_written.mkdir()
    (half_written / "weights.safetensors").write_bytes(b"\x10")
    (checkpoint_folder / ".01234567.tmp").write_bytes(b"\x10")
    (store / "cells" / "ab").mkdir(parents=True)
    for path in (store / "cells" / "ab" / ".ab.json.01234567.tmp", store / ".leaderboard.md.01234567.tmp"):
        path.write_text("{")


def forbid_writing(store: Path, folder: Path) -> tuple[Action, Action]:
    """Forbid a run to write into one folder of a store.

    Root may write everywhere. So runs of root first become the user nobody, who may write everywhere but there.

    Returns:
        What a run must call before its command, and what allows writing again.
    """
    if os.getuid():
        folder.chmod(0o555)
        return (lambda: None), (lambda: folder.chmod(0o755))
    for path in (store, *store.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    folder.chmod(0o755)

    def become_nobody() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    return become_nobody, lambda: None


def delete_matching(store: Path, patterns: Sequence[str]) -> None:
    """Delete every folder of a store that one of the patterns matches."""
    for pattern in patterns:
        for folder in list(store.glob(pattern)):
            shutil.rmtree(folder)
