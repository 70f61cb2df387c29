"""Run the conformance checks of components: behind `bench check NAME`, or in the tests of a plugin.

    from bench_core.conformance import assert_conforms

    def test_ijepa_conforms() -> None:
        assert_conforms("ijepa")

The checks use tiny toy data on the CPU and take about a second for each component.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bench_core.conformance import components, datasets, encoders, evaluators, objectives
from bench_core.errors import CheckError, DataMissingError, UnknownNameError
from bench_core.plugins import Component, Registry, load_plugins

_CHECKS_OF_KIND: Mapping[str, tuple[Callable[[Any], None], ...]] = {
    "encoder": encoders.CHECKS,
    "objective": objectives.CHECKS,
    "dataset": datasets.CHECKS,
    "evaluator": evaluators.CHECKS,
}


@dataclass(frozen=True)
class Outcome:
    """Outcome of one check on one component.

    Attributes:
        check: One sentence that says what must hold.
        error: What is wrong, or None.
        tried: False if the check could not be run, because data is missing or the component skips the toy data.
    """

    check: str
    error: str | None
    tried: bool = True


def select(name: str, registry: Registry) -> list[Component]:
    """Return the components that a name stands for: a short name, an id `package/name`, or a package.

    Raises:
        UnknownNameError: No component or package has this name.
        CheckError: The plugin of this name could not be loaded.
    """
    selected = [c for c in registry.components if name in (c.name, c.id, c.distribution)]
    if not selected:
        for broken in registry.broken:
            if name in (broken.entry, broken.distribution):
                raise CheckError(f"plugin {broken.entry!r} of {broken.distribution} did not load: {broken.reason}")
        known = {c.name for c in registry.components} | {c.distribution for c in registry.components}
        raise UnknownNameError("component or package", name, known)
    return selected


def assert_conforms(name: str, registry: Registry | None = None) -> None:
    """Run all checks on the components of this name.

    Raises:
        CheckError: Some checks failed; the message lists all of them.
    """
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
    """Run all checks of a component's kind and yield their outcomes; after a failed check the next one runs."""
    for check in (*components.CHECKS, *_CHECKS_OF_KIND[component.kind]):
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
