"""Links with readable names: `STORE/by-name/digits/convnet/nac/seed-0` leads to the chain's folder.

They are for people and their file managers, and may be deleted at any time: no command copies them, and only the next
linking reads them, so that a store of many chains reads what was trained only of the new ones.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from bench_core.files import link_folder
from bench_core.store.chain_names import SHOWN_DIGITS, chain_folders, chain_names
from bench_core.store.store import Store

FOLDER = "by-name"


def link_names(store: Store) -> None:
    """Make a link for each trained chain, and remove those that are out of date; without links nothing happens."""
    top, folders = store.path / FOLDER, chain_folders(store)
    with suppress(OSError, NotImplementedError):  # the file system has no links, or the store cannot be written
        targets = {link: os.readlink(link) for link in _links_below(top)}
        names = chain_names(store, known=_names_of_links(targets, top, folders))
        wanted = {top / name: folders[key] for key, name in names.items()}
        for link, target in targets.items():
            if link not in wanted or target != os.path.relpath(wanted[link], link.parent):
                link.unlink()
        for link, folder in wanted.items():
            link_folder(link, folder)
    for path, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):  # it is not empty
            Path(path).rmdir()


def _names_of_links(targets: Mapping[Path, str], top: Path, folders: Mapping[str, Path]) -> dict[str, str]:
    """Return key -> name of the chains that one link leads to, without the digits that a name may end with."""
    names: dict[str, str] = {}
    several: set[str] = set()
    for link, target in targets.items():
        key = Path(target).name
        if key in names:
            several.add(key)
        elif key in folders and target == os.path.relpath(folders[key], link.parent):
            names[key] = link.relative_to(top).as_posix().removesuffix(f"~{key[:SHOWN_DIGITS]}")
    return {key: name for key, name in names.items() if key not in several}


def _links_below(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            if (Path(folder) / name).is_symlink():
                yield Path(folder) / name
