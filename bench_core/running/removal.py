"""Deletes from a store: chains, embeddings, attempts, and records only where that is asked for.

A folder first gets a hidden name and then is deleted, so that no command meets half of a chain.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench_core.errors import RequestError, shown
from bench_core.files import move, paths_in, temporary_path
from bench_core.keys import key_of
from bench_core.running.estimates import all_left
from bench_core.running.planned import FILE, read_planned
from bench_core.store import Store
from bench_core.store.chain_names import chain_folders, chain_names, find_chain
from bench_core.store.claims import Claims
from bench_core.store.under_way import UNDER_WAY, is_being_trained, is_held, under_way_folder


@dataclass(frozen=True)
class Removal:
    """One thing to delete.

    Attributes:
        what: How people call it: "chain digits/convnet/nac/seed-0".
        paths: Its folders or files.
        size: Bytes.
    """

    what: str
    paths: tuple[Path, ...]
    size: int


def removals(
    store: Store,
    chains: Sequence[str],
    *,
    failed: bool = False,
    embeddings: bool = False,
    records: bool = False,
) -> list[Removal]:
    """List what would be deleted.

    Args:
        store: The store.
        chains: Names, keys or folders of chains. With `embeddings` or `failed` only these parts of them are deleted.
        failed: Delete attempts that did not finish; without chains those of the whole store.
        embeddings: Delete embeddings; without chains those of all trained chains.
        records: Also delete the records of the chains.

    Raises:
        RequestError: There is no such chain, it is being trained or measured now, or the options do not fit.
    """
    if records and (not chains or failed or embeddings):
        raise RequestError(
            "--records deletes the results of whole chains: name them, without --failed or --embeddings."
        )
    if not chains and not failed and not embeddings:
        raise RequestError("say what to delete: CHAIN..., --failed or --embeddings.")
    folders = [_own_folder(store, text) for text in dict.fromkeys(chains)]
    names = chain_names(store, under_way=True)
    cells = _cells_of(store, folders) if folders and (failed or records) else {}
    found = []
    if embeddings:
        for folder in folders or chain_folders(store).values():
            if paths := paths_in(folder / "embeddings"):
                found.append(_removal(f"embeddings of {_name(folder, names)}", paths))
    if failed:
        paths = [path for path in paths_in(store.path / "attempts") if not folders or path.name in cells]
        if paths:
            found.append(_removal(f"attempts on {len(paths)} cell{'' if len(paths) == 1 else 's'}", paths))
    if not failed and not embeddings:
        for folder in folders:
            whole = folder.with_name(folder.name.removesuffix(UNDER_WAY))
            paths = [path for path in (whole, under_way_folder(whole)) if path.exists()]
            found.append(_removal(f"chain {_name(folder, names)}", paths))
    if records:
        paths = [path for key in cells if (path := store.record_file(key)).is_file()]
        if paths:
            found.append(_removal(f"{len(paths)} record{'' if len(paths) == 1 else 's'}", paths))
    busy, claims = _busy(store), Claims(store.path)
    for removal in found:
        for path in removal.paths:
            _refuse_busy(path, busy, claims)
    return found


def remove(removal: Removal) -> None:
    """Delete one thing; OSError where it cannot be."""
    for path in removal.paths:
        hidden = temporary_path(path)
        move(path, hidden)
        if hidden.is_dir() and not hidden.is_symlink():
            shutil.rmtree(hidden)
        else:
            hidden.unlink()
    for parent in {path.parent for path in removal.paths}:
        with suppress(OSError):  # it is not empty, or another process is about to fill it
            if parent.name == "embeddings":
                parent.rmdir()


def size_text(size: int) -> str:
    """Write a number of bytes for people: 12 KiB, 3.4 MiB."""
    amount, unit = float(size), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if amount >= 100 or unit == "bytes" else f"{amount:.1f} {unit}"


def _own_folder(store: Store, text: str) -> Path:
    """Find the folder of a chain of this store; that of another store is refused."""
    folder = find_chain(store, text, under_way=True)
    if folder.resolve().parent != (store.path / "chains").resolve():
        raise RequestError(f"{shown(text)} is no chain of {store.path}; name its store with --store.")
    return folder


def _cells_of(store: Store, folders: Sequence[Path]) -> dict[str, str]:
    """Return key of a cell -> key of its chain, for the records and attempts of some chains."""
    keys = {folder.name.removesuffix(UNDER_WAY) for folder in folders}
    documents = {record.key: record.document.content for record in store.records()}
    documents |= {attempt["key"]: attempt["doc"] for attempt in store.attempts()}
    chains = {key: key_of(document["embed"]["pretrain"]) for key, document in documents.items()}
    return {key: chain for key, chain in chains.items() if chain in keys}


def _name(folder: Path, names: dict[str, str]) -> str:
    key = folder.name.removesuffix(UNDER_WAY)
    return names.get(key, key[:12])


def _removal(what: str, paths: Sequence[Path]) -> Removal:
    return Removal(what, tuple(paths), sum(map(_size, paths)))


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links are not followed."""
    files = [path] if path.is_file() else [below for below in path.rglob("*") if below.is_file()]
    return sum(file.lstat().st_size for file in files)


def _busy(store: Store) -> set[str]:
    """Return the keys of the chains that the last run has not finished, if it goes on now."""
    if not is_held(store.path / FILE):
        return set()
    content = read_planned(store)
    return {left.chain.key for left in all_left(content, store)} if content else set()


def _refuse_busy(path: Path, busy: set[str], claims: Claims) -> None:
    """Raise RequestError if a path belongs to a chain that is being trained or measured."""
    for folder in (path, *path.parents):
        if folder.parent.name != "chains":
            continue
        key = folder.name.removesuffix(UNDER_WAY)
        if (holder := claims.holder(key)) and not holder.is_dead():
            files = ", ".join(map(str, claims.files(key)))
            raise RequestError(
                f"chain {key[:12]} is being trained or measured now by {holder.words}; stop its run first. If that "
                f"process has ended, delete {files}."
            )
        if key in busy or is_being_trained(under_way_folder(folder.with_name(key))):
            raise RequestError(f"chain {key[:12]} is being trained or measured now; stop its run first.")
