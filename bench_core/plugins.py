"""The registry: loads plugins, finds components by name, and keeps the table of their four kinds."""

import os
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import pluggy

from bench_core import hookspecs
from bench_core.contracts import Dataset, Encoder, Evaluator, Objective
from bench_core.entry_points import Announced, announced, normalised
from bench_core.errors import AmbiguousNameError, BenchError, PluginLoadError, UnknownNameError, one_line, shown
from bench_core.plugin_checks import check_class
from bench_core.process_settings import restored

GROUP = "bench"
_MAX_REASON = 500  # characters of the reason why a plugin is broken


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

_CHANGES: "WeakKeyDictionary[ModuleType, list[str]]" = WeakKeyDictionary()  # settings that an import has changed


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
        distribution, slash, bare = name.rpartition("/")
        full = f"{normalised(distribution)}{slash}{bare}"
        hits = [c for c in self.components if c.kind == kind and full in (c.name, c.id)]
        if len(hits) == 1:
            return hits[0]
        word = KINDS[kind].word
        if hits:
            ids = ", ".join(sorted(c.id for c in hits))
            raise AmbiguousNameError(f"{word} {name!r} has more than one owner; name it in full: {ids}.")
        for broken in self.broken:
            if broken.entry == name or broken.distribution == normalised(name.partition("/")[0]):
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
    plugins = announced(entry_points(group=GROUP) if entries is None else entries)
    for name in sorted(block | (only or set())):
        if not any(plugin.is_called(name) for plugin in plugins):
            variables = {"BENCH_DISABLE_PLUGINS": disabled, "BENCH_PLUGINS": enabled}
            named_in = [f"It stands in {variable}." for variable, names in variables.items() if name in names]
            known = {known for plugin in plugins for known in (plugin.distribution, plugin.entry.name)}
            raise UnknownNameError("plugin or package of plugins", name, known, *named_in[:1])
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    registry = Registry()
    loaded: list[tuple[object, str]] = []
    for plugin in plugins:
        if any(map(plugin.is_called, block)) or (only is not None and not any(map(plugin.is_called, only))):
            continue
        try:
            components = _load(plugin, manager, loaded)
            _refuse_taken(components, registry)
            registry.components += components
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also the SystemExit of a module that calls exit(), and a panic in Rust
            registry.broken.append(BrokenPlugin(plugin.entry.name, plugin.distribution, _reason(error)))
    return registry


def _load(plugin: Announced, manager: pluggy.PluginManager, loaded: list[tuple[object, str]]) -> list[Component]:
    """Import one plugin and return the components that its hooks hand over.

    Args:
        plugin: The plugin.
        manager: Knows the hooks; holds no plugin before and after.
        loaded: Modules of the plugins before, each with the plugin's name; gets this one.
    """
    if not EntryPoint.pattern.match(plugin.entry.value):
        raise PluginLoadError(f"its entry point {plugin.entry.value!r} names no module")
    with restored() as changed:
        module = plugin.entry.load()
        if owners := [name for other, name in loaded if other is module]:
            raise PluginLoadError(f"its module is loaded already, for plugin {owners[0]}")
        manager.register(module)
        try:
            components = list(_components(module, plugin, manager))
        finally:
            manager.unregister(module)
    if changed := _changes_of(plugin.entry.module, changed):
        raise PluginLoadError(
            f"it changes {' and '.join(changed)} when it is imported, and all others would compute with that; "
            "set it only where it is needed"
        )
    if not components:
        raise PluginLoadError("gives nothing: no function is marked @hookimpl, or all return {}")
    loaded.append((module, f"{plugin.entry.name!r} of {plugin.distribution}"))
    return components


def _components(module: Any, plugin: Announced, manager: pluggy.PluginManager) -> Iterator[Component]:
    """Yield the components that the hooks of a registered module hand over, each checked."""
    for caller in manager.get_hookcallers(module) or []:
        for implementation in caller.get_hookimpls():
            if not caller.has_spec():  # pluggy takes a misspelt hook without a word
                raise UnknownNameError("hook", caller.name, _OF_HOOK)
            if implementation.argnames or implementation.kwargnames:
                raise PluginLoadError(f"{caller.name} takes no arguments, got {implementation.argnames}")
            kind = _OF_HOOK[caller.name]
            given: Any = implementation.function()
            if not isinstance(given, Mapping):
                raise PluginLoadError(f"{caller.name} must return a dict of name -> class, got {shown(given)}")
            for name, cls in given.items():
                check_class(kind.word, kind.interface, name, cls)
                yield Component(kind.name, name, plugin.distribution, plugin.version, cls)


def _changes_of(module_name: str, changed: list[str]) -> list[str]:
    """Return what the first import of a module has changed: later ones change nothing, and the plugin is the same."""
    module = sys.modules.get(module_name)
    return _CHANGES.setdefault(module, changed) if isinstance(module, ModuleType) else changed


def _refuse_taken(components: Sequence[Component], registry: Registry) -> None:
    """Raise PluginLoadError where a package hands over a second component of one kind and name."""
    taken = {(c.kind, c.id) for c in registry.components}
    for component in components:
        if (component.kind, component.id) in taken:
            raise PluginLoadError(f"{component.word} {component.id} is taken by another module of this distribution")
        taken.add((component.kind, component.id))


def _reason(error: BaseException) -> str:
    """Return type and message of any exception on one line; of an error for users, only the message."""
    text = str(error) if isinstance(error, BenchError) else "".join(traceback.format_exception_only(error))
    line = one_line(text)
    return line if len(line) <= _MAX_REASON else f"{line[:_MAX_REASON]}..."


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


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
