"""The registry: loads plugins, finds components by name, and keeps the table of their four kinds."""

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


@dataclass(frozen=True)
class Kind:
    """One of the four kinds of component, with the words that name it in different places.

    Attributes:
        name: Name in the registry and in Python: "objective".
        word: Word that users read and that records use as an axis: "method".
        section: Section of a board and option of the command line: "methods".
        interface: The class that a component of this kind derives from.
    """

    name: str
    word: str
    section: str
    interface: type

    @property
    def hook(self) -> str:
        """Name of the hook that hands such components over: "bench_objectives"."""
        return f"bench_{self.name}s"


KINDS: dict[str, Kind] = {  # by name, in the order in which a row is named: dataset/encoder/method/task
    kind.name: kind
    for kind in (
        Kind("dataset", "dataset", "datasets", Dataset),
        Kind("encoder", "encoder", "encoders", Encoder),
        Kind("objective", "method", "methods", Objective),
        Kind("evaluator", "task", "tasks", Evaluator),
    )
}
OF_SECTION: dict[str, Kind] = {kind.section: kind for kind in KINDS.values()}
OF_WORD: dict[str, Kind] = {kind.word: kind for kind in KINDS.values()}
_OF_HOOK: dict[str, Kind] = {kind.hook: kind for kind in KINDS.values()}

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


@dataclass(frozen=True)
class Component:
    """One dataset, encoder, method or task that a plugin registered.

    Attributes:
        kind: Name of its kind in the registry: "dataset", "encoder", "objective" or "evaluator".
        name: The short name under which users ask for it.
        distribution: The package that owns it, as PyPI spells its name.
        version: Version of that package.
        cls: The class, derived from the interface of its kind.
    """

    kind: str
    name: str
    distribution: str
    version: str
    cls: Any

    @property
    def word(self) -> str:
        """The word that users read for its kind: "method" for an objective, "task" for an evaluator."""
        return KINDS[self.kind].word

    @property
    def id(self) -> str:
        """Full name `distribution/name`, unique among all packages."""
        return f"{self.distribution}/{self.name}"


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that did not load.

    Attributes:
        entry: Name of its entry point.
        distribution: The package that announces it.
        reason: The error that stopped it, in one line.
    """

    entry: str
    distribution: str
    reason: str


@dataclass
class Registry:
    """Components and broken plugins that one call of `load_plugins` found."""

    components: list[Component] = field(default_factory=list)
    broken: list[BrokenPlugin] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[Component]:
        """Return all components of a kind ("objective"), sorted by name."""
        return sorted((c for c in self.components if c.kind == kind), key=lambda c: (c.name, c.distribution))

    def get(self, kind: str, name: str) -> Component:
        """Return the component of this kind ("objective") with this short name or id.

        Raises:
            UnknownNameError: No plugin registered it.
            AmbiguousNameError: Two distributions own the name; the message lists the ids.
            PluginLoadError: The only plugin of this name is broken.
        """
        hits = [c for c in self.components if c.kind == kind and name in (c.name, c.id)]
        if len(hits) == 1:
            return hits[0]
        word = KINDS[kind].word
        if hits:
            ids = ", ".join(sorted(c.id for c in hits))
            raise AmbiguousNameError(f"{word} {name!r} has more than one owner; name it in full: {ids}.")
        for broken in self.broken:
            if broken.entry == name or broken.distribution == name.partition("/")[0]:
                raise PluginLoadError(
                    f"{word} {name!r}: plugin {broken.entry!r} of {broken.distribution} did not load: "
                    f"{broken.reason}. See `bench list --broken`."
                )
        raise UnknownNameError(word, name, {c.name for c in self.components if c.kind == kind})


def load_plugins(
    block: Collection[str] = (), only: Collection[str] | None = None, entries: Iterable[EntryPoint] | None = None
) -> Registry:
    """Load every plugin, each by itself and in sorted order; a broken one leaves nothing behind and stops no other.

    Args:
        block: Entry points or distributions to leave out, as `-p no:NAME` names them; those in the environment variable
            `BENCH_DISABLE_PLUGINS` (comma separated) are left out as well.
        only: Entry points or distributions to load, and no others; None takes those in `BENCH_PLUGINS`, or all.
        entries: Entry points to load instead of the installed ones, for tests.

    Returns:
        A new registry; nothing is kept globally.

    Raises:
        UnknownNameError: `block` or `only` names no installed plugin and no package of plugins.
    """
    disabled, enabled = _names("BENCH_DISABLE_PLUGINS"), _names("BENCH_PLUGINS")
    block = {*block, *disabled}
    only = set(only) if only is not None else set(enabled) or None
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    registry = Registry()
    installed = entry_points(group=GROUP) if entries is None else entries
    owner = cache(_owner)  # metadata is read once for each package, not once for each plugin
    plugins = sorted(((owner(entry.dist), entry) for entry in installed), key=lambda pair: (pair[0], pair[1].name))
    known = {name for (distribution, _), entry in plugins for name in (distribution, entry.name)}
    for name in sorted((block | (only or set())) - known):
        variables = {"BENCH_DISABLE_PLUGINS": disabled, "BENCH_PLUGINS": enabled}
        named_in = [f"It stands in {variable}." for variable, names in variables.items() if name in names]
        raise UnknownNameError("plugin or package of plugins", name, known, *named_in[:1])
    for (distribution, version), entry in plugins:
        names = {entry.name, distribution}
        if names & block or (only is not None and not names & only):
            continue
        plugin_id = f"{distribution}:{entry.name}"
        try:
            registry.components += _components(manager, entry, plugin_id, distribution, version, registry)
        except (Exception, SystemExit) as error:  # a module that calls exit() at import is broken, too
            if manager.has_plugin(plugin_id):
                manager.unregister(name=plugin_id)
            reason = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
            registry.broken.append(BrokenPlugin(entry.name, distribution, reason))
    return registry


def _components(
    manager: pluggy.PluginManager,
    entry: EntryPoint,
    plugin_id: str,
    distribution: str,
    version: str,
    registry: Registry,
) -> list[Component]:
    """Register one plugin and return the components that its hooks hand over; raises before anything is kept."""
    if not EntryPoint.pattern.match(entry.value):
        raise PluginLoadError(f"its entry point {entry.value!r} names no module")
    plugin = entry.load()
    if manager.register(plugin, name=plugin_id) is None:
        raise PluginLoadError("is registered already")
    found: list[Component] = []
    for caller in manager.get_hookcallers(plugin) or []:
        for implementation in (i for i in caller.get_hookimpls() if i.plugin is plugin):
            if not caller.has_spec():  # pluggy takes a misspelt hook without a word
                raise UnknownNameError("hook", caller.name, _OF_HOOK)
            if implementation.argnames or implementation.kwargnames:
                raise PluginLoadError(f"{caller.name} takes no arguments, got {implementation.argnames}")
            kind = _OF_HOOK[caller.name]
            given: Any = implementation.function()
            if not isinstance(given, Mapping):
                raise PluginLoadError(f"{caller.name} must return a dict of name -> class, got {shown(given)}")
            for name, cls in given.items():
                _refuse_bad(kind, name, cls)
                found.append(Component(kind.name, name, distribution, version, cls))
    if not found:
        raise PluginLoadError("gives nothing: no function is marked @hookimpl, or all return {}")
    taken = {(c.kind, c.id) for c in registry.components}
    for component in found:
        if (component.kind, component.id) in taken:
            raise PluginLoadError(f"{component.word} {component.id} is taken by another module of this distribution")
        taken.add((component.kind, component.id))
    return found


def _refuse_bad(kind: Kind, name: str, cls: object) -> None:
    """Raise PluginLoadError where a name or class handed over by a hook does not keep to the contract."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginLoadError(f"{kind.word} name {name!r} must be lower-case letters, digits and _")
    if not isinstance(cls, type) or not issubclass(cls, kind.interface):
        interface = f"bench_core.{kind.interface.__name__}"
        raise PluginLoadError(f"{kind.word} {name!r} must be a subclass of {interface}, got {cls!r}")
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise PluginLoadError(f"{kind.word} {name!r} ({cls.__name__}) lacks {', '.join(missing)}")
    for attribute, (fits, right) in _ATTRIBUTES.items():
        value = getattr(cls, attribute, None)
        if hasattr(kind.interface, attribute) and not fits(value):
            raise PluginLoadError(f"{kind.word} {name!r}: {attribute} must be {right}, got {shown(value)}")
    try:
        plain(cls.Config())  # type: ignore[attr-defined]  # each of the four has one
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise PluginLoadError(
            f"{kind.word} {name!r}: its Config cannot be built from its defaults: {reason}"
        ) from error


_ATTRIBUTES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "Config": (lambda value: isinstance(value, type) and is_dataclass(value), "a dataclass"),
    "revision": (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    "recipe": (lambda value: isinstance(value, Recipe), "a Recipe"),
    "variants": (
        lambda value: isinstance(value, Mapping) and all(isinstance(v, Variant) for v in value.values()),
        "a dict of name -> Variant",
    ),
}


def recipe_source(method: Any) -> str | None:
    """Return where a method's default recipe comes from, or None where its class sets `recipe` and names no source.

    Args:
        method: A class derived from `Objective`.
    """
    for base in method.__mro__:
        if "recipe_source" in vars(base):
            source: str = method.recipe_source
            return source
        if "recipe" in vars(base):
            return None
    return None


def _owner(package: Distribution | None) -> tuple[str, str]:
    """Return the normalised name and the version of the package that announces an entry point."""
    name = package.name if package else None  # None, too, where its METADATA is missing
    if package is None or name is None:
        return "unknown", "0"
    return re.sub(r"[-_.]+", "-", name).lower(), package.version


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
