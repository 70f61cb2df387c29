"""Links with readable names: `STORE/by-name/digits/convnet/nac/seed-0` leads to the chain's folder.

They are for people and their file managers, and may be deleted at any time: no command reads or copies them.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bench_core.files import link_folder
from bench_core.store.chain_names import chain_names
from bench_core.store.store import Store

FOLDER = "by-name"


def link_names(store: Store) -> None:
    """Make a link for each trained chain, and remove those that are out of date; without links nothing happens."""
    top = store.path / FOLDER
    wanted = {top / name: store.chain_folder(key) for key, name in chain_names(store).items()}
    with suppress(OSError, NotImplementedError):  # the file system has no links, or the store cannot be written
        for link in list(_links_below(top)):
            if link not in wanted or not link.exists():
                link.unlink()
        for link, folder in wanted.items():
            link_folder(link, folder)
    for path, _, _ in os.walk(top, topdown=False):
        with suppress(OSError):  # it is not empty
            Path(path).rmdir()


def _links_below(top: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            if (Path(folder) / name).is_symlink():
                yield Path(folder) / name
