"""Plugins as installed packages announce them: by an entry point, under a name that may be spelled in several ways."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint


@dataclass(frozen=True)
class Announced:
    """One plugin, as its package announces it.

    Attributes:
        distribution: The package, as PyPI spells its name: "bench-echo".
        version: Version of the package.
        entry: The entry point.
    """

    distribution: str
    version: str
    entry: EntryPoint

    def is_called(self, name: str) -> bool:
        """Tell whether a name means this plugin: it is the entry point's, or the package's in any spelling."""
        return name == self.entry.name or normalised(name) == self.distribution


def announced(entries: Iterable[EntryPoint]) -> list[Announced]:
    """Return the plugins of some entry points in sorted order, each once: a package may be installed twice."""
    owner = cache(_owner)  # metadata is read once for each package, not once for each plugin
    plugins: dict[tuple[str, str, str], Announced] = {}
    for entry in entries:
        distribution, version = owner(entry.dist)
        plugins.setdefault((distribution, entry.name, entry.value), Announced(distribution, version, entry))
    return [plugins[key] for key in sorted(plugins)]


def normalised(distribution: str) -> str:
    """Return the name of a package as PyPI compares it: `Bench_Echo` is `bench-echo`."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _owner(package: Distribution | None) -> tuple[str, str]:
    """Return the normalised name and the version of the package that announces an entry point."""
    try:
        name, version = (package.name, package.version) if package else (None, None)
    except Exception:  # its METADATA is damaged
        name, version = None, None
    if name is None:  # also where its METADATA is missing
        return "unknown", "0"
    return normalised(name), version or "0"
