"""Which encoders, objectives, datasets and evaluators there are, and which plugins are broken."""

import os
import re
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any

import pluggy

from bench_core import hookspecs
from bench_core.config import plain
from bench_core.contracts import Dataset, Encoder, Evaluator, Objective, Recipe, Variant
from bench_core.errors import AmbiguousNameError, PluginLoadError, UnknownNameError, shown

GROUP = "bench"
KINDS: dict[str, type] = {
    "encoder": Encoder,
    "objective": Objective,
    "dataset": Dataset,
    "evaluator": Evaluator,
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


@dataclass(frozen=True)
class Component:
    """One thing that can be named.

    Attributes:
        kind: "encoder", "objective", "dataset" or "evaluator".
        name: The short name.
        distribution: The package that owns it, as PyPI spells it.
        version: Of that package.
        cls: The class, of the type that belongs to the kind.
    """

    kind: str
    name: str
    distribution: str
    version: str
    cls: Any

    @property
    def id(self) -> str:
        """`distribution/name`, unique everywhere."""
        return f"{self.distribution}/{self.name}"


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be taken in: its entry point, who ships it, and why."""

    entry: str
    distribution: str
    reason: str


@dataclass
class Registry:
    """What one call of `load_plugins` found."""

    components: list[Component] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[Component]:
        """All components of a kind, by name."""
        return sorted((c for c in self.components if c.kind == kind), key=lambda c: (c.name, c.distribution))

    def get(self, kind: str, name: str) -> Component:
        """The component of this kind with this short name or id.

        Raises:
            UnknownNameError: Nobody has it.
            AmbiguousNameError: Two distributions have it; the message lists the ids.
            PluginLoadError: The only plugin of this name is broken.
        """
        hits = [c for c in self.components if c.kind == kind and name in (c.name, c.id)]
        if len(hits) == 1:
            return hits[0]
        if hits:
            ids = ", ".join(sorted(c.id for c in hits))
            raise AmbiguousNameError(f"{kind} {name!r} has more than one owner; name it in full: {ids}.")
        for broken in self.broken:
            if broken.entry == name or broken.distribution == name.partition("/")[0]:
                raise PluginLoadError(
                    f"{kind} {name!r}: plugin {broken.entry!r} of {broken.distribution} did not load: "
                    f"{broken.reason}. See `bench list --broken`."
                )
        raise UnknownNameError(kind, name, {c.name for c in self.components if c.kind == kind})


def load_plugins(
    block: Collection[str] = (), only: Collection[str] | None = None, entries: Iterable[EntryPoint] | None = None
) -> Registry:
    """Load every plugin by itself, in sorted order; a broken one leaves nothing behind and stops nobody else.

    Args:
        block: Entry points or distributions to leave out; `BENCH_DISABLE_PLUGINS` (comma separated) adds to it.
        only: If given, nothing else is loaded; `BENCH_PLUGINS` (comma separated) stands in for it.
        entries: Instead of what is installed, for tests.

    Returns:
        A new registry; nothing is kept globally.
    """
    block = {*block, *_names("BENCH_DISABLE_PLUGINS")}
    only = set(only) if only is not None else set(_names("BENCH_PLUGINS")) or None
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    registry = Registry()
    found = entry_points(group=GROUP) if entries is None else entries
    owner = cache(_owner)  # metadata is read once a package, not once a plugin
    for (distribution, version), entry in sorted(((owner(e.dist), e) for e in found), key=lambda p: (p[0], p[1].name)):
        if {entry.name, distribution} & block or (only is not None and not {entry.name, distribution} & only):
            continue
        plugin_id = f"{distribution}:{entry.name}"
        try:
            registry.components += _components(manager, entry, plugin_id, distribution, version, registry)
        except (Exception, SystemExit) as error:  # a module that calls exit() at import is broken, too
            if manager.has_plugin(plugin_id):
                manager.unregister(name=plugin_id)
            reason = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
            registry.broken.append(Broken(entry.name, distribution, reason))
    return registry


def _components(
    manager: pluggy.PluginManager,
    entry: EntryPoint,
    plugin_id: str,
    distribution: str,
    version: str,
    registry: Registry,
) -> list[Component]:
    """Register one plugin and read all its hooks; raises before anything is kept."""
    if not EntryPoint.pattern.match(entry.value):
        raise PluginLoadError(f"its entry point {entry.value!r} names no module")
    plugin = entry.load()
    if manager.register(plugin, name=plugin_id) is None:
        raise PluginLoadError("is registered already")
    found: list[Component] = []
    for caller in manager.get_hookcallers(plugin) or []:
        for implementation in (i for i in caller.get_hookimpls() if i.plugin is plugin):
            if not caller.has_spec():  # pluggy takes a misspelt hook without a word
                raise UnknownNameError("hook", caller.name, [f"bench_{kind}s" for kind in KINDS])
            if implementation.argnames or implementation.kwargnames:
                raise PluginLoadError(f"{caller.name} takes no arguments, got {implementation.argnames}")
            kind = caller.name.removeprefix("bench_").removesuffix("s")
            given: Any = implementation.function()
            if not isinstance(given, Mapping):
                raise PluginLoadError(f"{caller.name} must return a dict of name -> class, got {shown(given)}")
            for name, cls in given.items():
                _refuse_bad(kind, name, cls)
                found.append(Component(kind, name, distribution, version, cls))
    if not found:
        raise PluginLoadError("gives nothing: no function is marked @hookimpl, or all return {}")
    taken = {(c.kind, c.id) for c in registry.components}
    for component in found:
        if (component.kind, component.id) in taken:
            raise PluginLoadError(f"{component.kind} {component.id} is taken by another module of this distribution")
        taken.add((component.kind, component.id))
    return found


def _refuse_bad(kind: str, name: str, cls: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginLoadError(f"{kind} name {name!r} must be lower-case letters, digits and _")
    if not isinstance(cls, type) or not issubclass(cls, KINDS[kind]):
        raise PluginLoadError(f"{kind} {name!r} must be a subclass of bench_core.{KINDS[kind].__name__}, got {cls!r}")
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise PluginLoadError(f"{kind} {name!r} ({cls.__name__}) lacks {', '.join(missing)}")
    for attribute, (fits, right) in _ATTRIBUTES.items():
        value = getattr(cls, attribute, None)
        if hasattr(KINDS[kind], attribute) and not fits(value):
            raise PluginLoadError(f"{kind} {name!r}: {attribute} must be {right}, got {shown(value)}")
    try:
        plain(cls.Config())  # type: ignore[attr-defined]  # each of the four has one
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise PluginLoadError(f"{kind} {name!r}: its Config cannot be built from its defaults: {reason}") from error


_ATTRIBUTES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "Config": (lambda value: isinstance(value, type) and is_dataclass(value), "a dataclass"),
    "revision": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    "recipe": (lambda value: isinstance(value, Recipe), "a Recipe"),
    "variants": (
        lambda value: isinstance(value, Mapping) and all(isinstance(v, Variant) for v in value.values()),
        "a dict of name -> Variant",
    ),
}


def _owner(package: Distribution | None) -> tuple[str, str]:
    """Normalised name and version of the package that announces an entry point."""
    name = package.name if package else None  # None, too, where its METADATA is missing
    if package is None or name is None:
        return "unknown", "0"
    return re.sub(r"[-_.]+", "-", name).lower(), package.version


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
