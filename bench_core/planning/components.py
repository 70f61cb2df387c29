"""Look up what a row of a request names, and fill in all its parameters.

    find_component("objective", "nac:hashing", registry)  ->  the component nac, its variant "hashing"
    configure(row, "methods", registry)                   ->  the same with every parameter

The defaults of the plugin come first, then a variant's values, then the row's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench_core.config import build, plain
from bench_core.contracts import Variant
from bench_core.errors import RequestError, UnknownNameError
from bench_core.planning.boards import INIT_OPTIONS, OWN_ENCODERS, STARTS, NamedComponent
from bench_core.plugins import OF_SECTION, Component, Registry


@dataclass(frozen=True)
class ConfiguredComponent:
    """A component with all its parameters, under the name of a row or column.

    Attributes:
        name: The name in tables: "nac", "nac (flip=0.1)", or what the board calls the row.
        plugin: The component as its plugin registered it.
        config: An instance of the component's `Config`.
    """

    name: str
    plugin: Component
    config: Any

    def document(self) -> dict[str, Any]:
        """Return what defines a number: id, revision and parameters. The name is left out."""
        return {"id": self.plugin.id, "revision": self.plugin.cls.revision, "config": self._plain_config}

    @cached_property
    def _plain_config(self) -> dict[str, Any]:
        """The parameters as JSON has them: made once, and shared by the documents of all chains, which only read it."""
        return plain(self.config)


def find_component(kind: str, use: str, registry: Registry) -> tuple[Component, Variant | None]:
    """Return the component that `NAME` or `NAME:VARIANT` means, and the variant.

    Raises:
        UnknownNameError: There is no such component, or it has no such variant.
    """
    name, colon, variant = use.partition(":")
    component = registry.get(kind, name)
    if not colon:
        return component, None
    variants: Mapping[str, Variant] = getattr(component.cls, "variants", {})
    if variant not in variants:
        raise UnknownNameError(f"variant of {name}", variant, variants, f"See `bench show {name}`.")
    return component, variants[variant]


def is_registered(row: NamedComponent, section: str, registry: Registry) -> bool:
    """Return whether the component that a row names is there; a plugin may be missing, broken or left out by -p."""
    try:
        find_component(OF_SECTION[section].name, row.use, registry)
    except RequestError:
        return False
    return True


def configure(row: NamedComponent, section: str, registry: Registry) -> ConfiguredComponent:
    """Return the component of a row with all its parameters: its defaults, a variant's and the row's values over them.

    Raises:
        RequestError: There is no such component, or a value does not fit.
    """
    component, variant = find_component(OF_SECTION[section].name, row.use, registry)
    values = {**(variant.config if variant else {}), **row.values}
    beside = (*STARTS, *INIT_OPTIONS, *OWN_ENCODERS, "recipe.PARAM") if section == "methods" else ()
    return ConfiguredComponent(row.name, component, build(component.cls.Config, values, row.name, beside=beside))
