"""Finds the folders of claim files: the one that comes with the project, and those that other packages announce.

A package announces the folder of its claim files as a package of Python, with or without an `__init__.py`:

    [project.entry-points."bench.claims"]
    mine = "bench_mine.claims"
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from bench_core.entry_points import Announced, announced
from bench_core.errors import RequestError, one_line
from bench_core.files import checkout, shipped_files

GROUP = "bench.claims"


@dataclass(frozen=True)
class ClaimFolders:
    """Folders of claim files.

    Attributes:
        found: The folders, the project's own first.
        broken: Why the claims of a package cannot be read, one line for each such package.
    """

    found: tuple[Path, ...]
    broken: tuple[str, ...] = ()


def shipped_claims() -> Path:
    """Return the folder that comes with the project: in a checkout below leaderboards/, in a wheel below shipped/."""
    root = checkout()
    return root / "leaderboards" / "claims" if root else shipped_files() / "claims"


def all_claim_folders(entries: Iterable[EntryPoint] | None = None) -> ClaimFolders:
    """Return the project's own folder and those of installed packages; a broken package leaves the others alone.

    Args:
        entries: Entry points to look up instead of the installed ones, for tests.
    """
    found, broken = [shipped_claims()], []
    for package in announced(entry_points(group=GROUP) if entries is None else entries):
        try:
            found += _folders(package)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also the SystemExit of a module that calls exit()
            reason = one_line(str(error) or type(error).__name__)
            broken.append(f"claims {package.entry.name!r} of {package.distribution} cannot be read: {reason}")
    return ClaimFolders(tuple(folder for folder in found if folder.is_dir()), tuple(broken))


def given_claim_folder(folder: Path) -> ClaimFolders:
    """Return a folder that a user names.

    Raises:
        RequestError: It is no folder, or holds no claim file.
    """
    if not folder.is_dir():
        raise RequestError(f"--claims {folder} must be a folder of claim files, NAME.toml; there is no such folder.")
    if not any(folder.glob("*.toml")):
        raise RequestError(f"--claims {folder} holds no claim file, NAME.toml; docs/claims.md shows one.")
    return ClaimFolders((folder,))


def _folders(package: Announced) -> list[Path]:
    """Return the folders of what an entry point names; a namespace may have several."""
    spec = find_spec(package.entry.value)
    if spec is None or spec.submodule_search_locations is None:
        raise RequestError(f"{package.entry.value!r} must be a package of Python whose folder holds NAME.toml")
    return [Path(location) for location in spec.submodule_search_locations]
