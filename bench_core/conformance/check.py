"""Run the conformance checks of components: behind `bench check NAME`, or in the tests of a plugin.

    from bench_core.conformance import assert_conforms

    def test_ijepa_conforms() -> None:
        assert_conforms("ijepa")

The checks use tiny data on the CPU, of each kind that the component reads (`examples.py`), and take about a second for
each component.
"""

import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench_core import contracts
from bench_core.conformance import components, datasets, encoders, evaluators, objectives
from bench_core.conformance.examples import examples_of
from bench_core.contracts import Example
from bench_core.errors import CheckError, DataMissingError, UnknownNameError
from bench_core.plugins import Component, Registry, load_plugins

# Checks of a class alone, and checks of its behaviour on an example.
_CHECKS_OF_CLASS: Mapping[str, tuple[Callable[[Any], None], ...]] = {
    "objective": objectives.CHECKS_OF_CLASS,
    "dataset": datasets.CHECKS,
}
_CHECKS_ON_EXAMPLES: Mapping[str, tuple[Callable[[Any, Example], None], ...]] = {
    "encoder": encoders.CHECKS,
    "objective": objectives.CHECKS,
    "evaluator": evaluators.CHECKS,
}


@dataclass(frozen=True)
class Outcome:
    """Outcome of one check on one component.

    Attributes:
        check: One sentence that says what must hold.
        error: What is wrong, or None.
        where: The line to look at, "bench_mine.py:42"; "" where nothing is wrong, or where no file holds the class.
        tried: False if the check could not be run, because the files of a dataset, or of an encoder's weights, are
            missing.
    """

    check: str
    error: str | None
    tried: bool = True
    where: str = ""


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
    """Run all checks of a component's kind and yield their outcomes; after a failed check the next one runs.

    An encoder, method or task of which nothing can be tried has not passed: it gets a failed outcome with the reason.
    Only an encoder that needs weights from elsewhere may wait for them.
    """
    for check in (*components.CHECKS, *_CHECKS_OF_CLASS.get(component.kind, ())):
        yield _outcome(
            _sentence(check), partial(check, component.cls), component.cls, is_dataset=component.kind == "dataset"
        )
    checks = _CHECKS_ON_EXAMPLES.get(component.kind, ())
    examples: list[Example] = []
    if checks:
        found = _outcome(
            "Its behaviour can be tried", lambda: examples.extend(examples_of(component, registry)), component.cls
        )
        if found.error and component.kind == "encoder" and encoders.brings_weights(component.cls):
            yield Outcome(f"{found.check} (not tried: {found.error})", None, tried=False)
        elif found.error:
            yield found
    for on_example in checks if examples else ():
        yield _on_each(on_example, component.cls, examples)


def _on_each(check: Callable[[Any, Example], None], cls: Any, examples: Sequence[Example]) -> Outcome:
    """Run a check on examples until one fails. The outcome names the kinds of data unless they are images alone."""
    kinds = [example.data.kind for example in examples]
    sentence = _sentence(check) + (f" (on {', '.join(kinds)})" if kinds != ["image"] else "")
    for kind, example in zip(kinds, examples, strict=True):
        outcome = _outcome(sentence, partial(check, cls, example), cls)
        if outcome.error:
            return outcome if len(kinds) == 1 else replace(outcome, error=f"on {kind}: {outcome.error}")
    return outcome


def _sentence(check: Callable[..., None]) -> str:
    return (check.__doc__ or "").rstrip(".")


def _outcome(sentence: str, check: Callable[[], None], cls: type, *, is_dataset: bool = False) -> Outcome:
    """Run a check with a global generator of its own; only files of a dataset may be missing."""
    try:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            check()
        return Outcome(sentence, None)
    except Exception as error:
        if is_dataset and isinstance(error, DataMissingError):
            return Outcome(f"{sentence} (not tried: {error})", None, tried=False)
        return Outcome(sentence, f"{type(error).__name__}: {error}".partition("\n")[0], where=_where(error, cls))


def _where(error: Exception, cls: type) -> str:
    """Return the last line of the class's file that an error came through, else the first line of the class."""
    try:
        file, (_, first) = inspect.getsourcefile(cls), inspect.getsourcelines(cls)
    except (OSError, TypeError):  # of a notebook, or made by a function
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{Path(file or '').name}:{lines[-1] if lines else first}"


def capabilities(component: Component) -> list[str]:
    """Return the names of what only some methods or encoders can do, and this one can: "Generative", "Sampling"."""
    protocols = (value for value in vars(contracts.capabilities).values() if getattr(value, "_is_protocol", False))
    own = [protocol for protocol in protocols if protocol.__module__ == contracts.capabilities.__name__]
    return sorted(protocol.__name__ for protocol in own if issubclass(component.cls, protocol))
