"""What every plugin keeps to, in-tree or not.

Tried by `bench check NAME`, or in a plugin's own tests:

    from bench_core.conformance import assert_conforms

    def test_ijepa_conforms() -> None:
        assert_conforms("ijepa")

All on tiny made data, on the CPU, in about a second a component.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bench_core.conformance import (
    components,
    datasets,
    encoders,
    evaluators,
    objectives,
)
from bench_core.errors import CheckError, DataMissingError, UnknownNameError
from bench_core.plugins import Component, Registry, load_plugins

_OF_KIND: Mapping[str, tuple[Callable[[Any], None], ...]] = {
    "encoder": encoders.CHECKS,
    "objective": objectives.CHECKS,
    "dataset": datasets.CHECKS,
    "evaluator": evaluators.CHECKS,
}


@dataclass(frozen=True)
class Outcome:
    """One check: what it is, the error or None, and whether it could be tried at all."""

    check: str
    error: str | None
    tried: bool = True


def select(name: str, registry: Registry) -> list[Component]:
    """Components of this short name, id, or distribution.

    Raises:
        UnknownNameError: There is none.
    """
    found = [c for c in registry.components if name in (c.name, c.id, c.distribution)]
    if not found:
        for broken in registry.broken:
            if name in (broken.entry, broken.distribution):
                raise CheckError(f"plugin {broken.entry!r} of {broken.distribution} did not load: {broken.reason}")
        known = {c.name for c in registry.components} | {c.distribution for c in registry.components}
        raise UnknownNameError("component or package", name, known)
    return found


def assert_conforms(name: str, registry: Registry | None = None) -> None:
    """Raise CheckError with every failed check of the components of this name."""
    registry = registry or load_plugins()
    failed = [
        f"{component.id}: {outcome.check}: {outcome.error}"
        for component in select(name, registry)
        for outcome in check_component(component, registry)
        if outcome.error
    ]
    if failed:
        raise CheckError("; ".join(failed))


def check_component(component: Component, registry: Registry) -> Iterator[Outcome]:
    """Try everything that a component of its kind promises; a check that raises fails, the next one is tried."""
    for check in (*components.CHECKS, *_OF_KIND[component.kind]):
        name = (check.__doc__ or "").rstrip(".")
        try:
            with torch.random.fork_rng([]):
                torch.manual_seed(0)
                check(component.cls)
            yield Outcome(name, None)
        except DataMissingError as error:
            yield Outcome(f"{name} (not tried: {error})", None, tried=False)
        except Exception as error:
            yield Outcome(name, f"{type(error).__name__}: {error}".partition("\n")[0])
