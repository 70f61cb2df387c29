"""Runs a record again from its own document, and compares the scores."""

import dataclasses
import math
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench_core.config import build
from bench_core.contracts import Recipe
from bench_core.errors import BenchError, ConfigError, RequestError, UnknownNameError
from bench_core.keys import HARNESS_REVISION, differences
from bench_core.planning.at_epochs import at_epochs
from bench_core.planning.boards import Board, OwnEncoder
from bench_core.planning.chains import Plan
from bench_core.planning.components import ConfiguredComponent
from bench_core.planning.plan import plan_resolved
from bench_core.planning.request import Resolved
from bench_core.planning.row_encoders import RowEncoders
from bench_core.planning.settings import read_typed
from bench_core.plugins import OF_SECTION, OF_WORD, Registry
from bench_core.running.failures import describe
from bench_core.running.progress import Progress
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.record import AXES, Record
from bench_core.store.record_schema import repetition_error
from bench_core.store.store import find_records


@dataclass(frozen=True)
class ScorePair:
    """One score of a record and of its repetition; None where one of them lacks it."""

    metric: str
    old: float | None
    new: float | None

    @property
    def difference(self) -> float:
        """Difference of the two, relative to the larger; infinite where one is missing."""
        if self.old is None or self.new is None:
            return math.inf
        if self.new == self.old:
            return 0.0
        return abs(self.new - self.old) / max(abs(self.new), abs(self.old))


@dataclass(frozen=True)
class Verification:
    """A record, its repetition, and their scores."""

    old: Record
    new: Record
    scores: tuple[ScorePair, ...]

    @property
    def largest(self) -> float:
        """The largest relative difference of the record's scores; those that its task gives since do not count."""
        return max(score.difference for score in self.scores if score.metric in self.old.scores)


def choose_record(cell: str, path: Path) -> Record:
    """Return the record whose key begins with `cell`, in a store or a folder of records.

    Raises:
        RequestError: There is no such record, or more than one.
    """
    records = [record for record in find_records(path).values() if record.key.startswith(cell)]
    if len(records) == 1:
        return records[0]
    if records:
        keys = ", ".join(record.key[: len(cell) + 8] for record in records[:5])
        raise RequestError(f"{len(records)} records of {path} begin with {cell!r}: {keys}, ...; give more of the key.")
    raise RequestError(f"no record of {path} begins with {cell!r}; a key stands in the file's name and in `bench why`.")


def plan_again(
    record: Record,
    registry: Registry,
    data_root: Path,
    *,
    download: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan the cell of a record from the record's document; the plan's cell has the same key.

    Args:
        record: The record.
        registry: The plugins.
        data_root: Folder of the datasets.
        download: Download the dataset if it is missing.
        settings: "NAME.PARAM" -> value, of parameters that are in no key: the record does not hold these.

    Raises:
        RequestError: Code or data are not those of the record (names which), a plugin is missing, the record does not
            hold what defines its cell, or a setting is of a parameter that is in the key.
    """
    if lacking := repetition_error(record.document.content):
        raise RequestError(f"{record.key[:12]} cannot be run again from its record, in which {lacking}.")
    plan = plan_resolved(_resolved(record, registry, settings or {}), data_root, registry, download=download)
    plan = at_epochs(plan, [epoch] if (epoch := record.document.embed.get("epoch")) else [])
    [cell] = plan.cells
    changed = differences(cell.document, record.document.content)
    if changed:
        raise _changed(record, [f"{path} was {then!r}, is {now!r}" for path, now, then in changed])
    if cell.skip is not None:
        raise RequestError(f"{record.key[:12]} cannot be run again: {cell.skip}.")
    return plan


def verify(plan: Plan, record: Record, device: str = "auto", progress: Progress | None = None) -> Verification:
    """Train, embed and evaluate again, in a folder that is deleted afterwards.

    Args:
        plan: Plan of `plan_again`.
        record: The record to compare with.
        device: As for a run; another device than the record's gives different last bits.
        progress: Shows what is running.

    Raises:
        BenchError: The cell fails.
    """
    with TemporaryDirectory(prefix="bench-verify-") as folder:
        store = Store(Path(folder) / "runs")
        epoch = record.document.embed.get("epoch", 0)  # its weights are kept
        setting = RunSetting(
            device=device,
            command=f"bench verify {record.key}",
            keep_every=epoch,
            threads=record.provenance.threads,
        )
        failures = run_plan(plan, store, setting, progress)
        if failures:
            raise BenchError(f"it does not run any more: {describe(failures)[0]}")
        [new] = store.records()
    old_values, new_values = ({metric: score.value for metric, score in r.scores.items()} for r in (record, new))
    scores = []
    for metric in dict.fromkeys([*old_values, *new_values]):
        scores.append(ScorePair(metric, old_values.get(metric), new_values.get(metric)))
    return Verification(record, new, tuple(scores))


def _resolved(record: Record, registry: Registry, settings: Mapping[str, Any]) -> Resolved:
    """Return what a request for this cell alone would resolve to."""
    document, links = record.document, dict(_links(record))
    trained = {record.names["method"]: document.pretrain, **{row: link.chain for row, link in links.items()}}
    components = {axis: (OF_WORD[axis].name, record.names[axis], document.component(axis)) for axis in AXES}
    for row, link in links.items():
        components[row] = ("objective", row, link.chain["method"])
        components[f"encoder of {row}"] = ("encoder", row, link.encoder)
    revisions = [(kind, part) for kind, _, part in components.values()]
    changed = _changed_revisions(document.content["protocol"], revisions, registry)
    if changed:
        raise _changed(record, changed)
    beside = _beside_key(record, registry, settings)
    parts = {
        key: _part(kind, name, part, registry, beside.get(key, {})) for key, (kind, name, part) in components.items()
    }
    return Resolved(
        Board(),
        {f"{axis}s": [parts[axis]] for axis in AXES},
        [parts[row] for row in links],
        {row: build(Recipe, chain["recipe"], f"{row}.recipe") for row, chain in trained.items()},
        {link.needed_by: row for row, link in links.items() if link.as_what == "init"},
        document.pretrain["precision"],
        (record.seed,),
        teachers={link.needed_by: row for row, link in links.items() if link.as_what == "teacher"},
        row_encoders=RowEncoders(
            of_row={row: OwnEncoder(link.encoder["id"], link.encoder["config"]) for row, link in links.items()}
        ),
        validation=document.held_out,
    )


def _changed_revisions(protocol: int, components: list[tuple[str, Mapping[str, Any]]], registry: Registry) -> list[str]:
    """Name the protocol and the components of which the code has another revision than the record."""
    changed = [f"protocol was {protocol}, is {HARNESS_REVISION}"] if protocol != HARNESS_REVISION else []
    for kind, component in components:
        revision = registry.get(kind, component["id"]).cls.revision
        if revision != component["revision"]:
            changed.append(f"revision of {component['id']} was {component['revision']}, is {revision}")
    return changed


@dataclass(frozen=True)
class _Link:
    """A chain that another one needs: its encoder starts from it ("init"), or it is its "teacher".

    Attributes:
        as_what: "init" or "teacher".
        needed_by: Row of the chain that needs it.
        chain: Its part of that chain's document, which leaves out what both have in common.
        encoder: The document of its encoder.
    """

    as_what: str
    needed_by: str
    chain: Mapping[str, Any]
    encoder: Mapping[str, Any]


def _links(record: Record) -> Iterator[tuple[str, _Link]]:
    """Yield a name and the chain of each training that this one needs, those that it needs itself first."""
    needed = [(record.names["method"], record.document.pretrain, record.document.component("encoder"))]
    for row, training, encoder in needed:
        for as_what in ("init", "teacher"):
            if start := training.get(as_what):
                chain = start.get("chain", {})
                if not {"method", "recipe"} <= chain.keys() <= {"method", "recipe", "init", "encoder", "teacher"}:
                    words = "starts from" if as_what == "init" else "learns from"
                    other = (
                        "a file that it does not hold" if "sha256" in start else f"a chain with another {sorted(chain)}"
                    )
                    raise RequestError(f"{record.key[:12]} {words} {other}, so it cannot be run again from itself.")
                name = f"{'start' if as_what == 'init' else 'teacher'} {len(needed)} of {record.names['method']}"
                needed.append((name, chain, chain.get("encoder", encoder)))
                yield name, _Link(as_what, row, chain, chain.get("encoder", encoder))


def _beside_key(record: Record, registry: Registry, settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return axis -> parameter -> value, of settings of parameters that are in no key.

    Raises:
        UnknownNameError: A setting names no component of the record.
        ConfigError: Its parameter does not exist, or is in the key.
    """
    values: dict[str, dict[str, Any]] = {axis: {} for axis in AXES}
    for path, value in settings.items():
        section, _, rest = path.partition(".")
        name, _, param = (rest if section in OF_SECTION else path).partition(".")
        plugins = {axis: registry.get(OF_WORD[axis].name, record.document.component(axis)["id"]) for axis in AXES}
        axes = [axis for axis in AXES if name in (record.names[axis], plugins[axis].name, plugins[axis].id)]
        if not axes:
            raise UnknownNameError("dataset, encoder, method or task of this record", name, record.names.values())
        config = plugins[axes[0]].cls.Config
        free = [field.name for field in dataclasses.fields(config) if not field.metadata.get("in_key", True)]
        typed = read_typed({param: value}, typing.get_type_hints(config))
        build(config, typed, name)  # says what is wrong with a name or a value
        if param not in free:
            raise ConfigError(
                f"{path} is part of the key, so another value is another cell: see `bench run --set`. "
                f"Parameters of {name} that are in no key: {', '.join(free) or 'none'}."
            )
        values[axes[0]] |= typed
    return values


def _part(
    kind: str, name: str, component: Mapping[str, Any], registry: Registry, values: Mapping[str, Any]
) -> ConfiguredComponent:
    plugin = registry.get(kind, component["id"])
    return ConfiguredComponent(name, plugin, build(plugin.cls.Config, {**component["config"], **values}, name))


def _changed(record: Record, changed: list[str]) -> RequestError:
    return RequestError(
        f"{record.key[:12]} cannot be verified, as code or data are not those of the record: {'; '.join(changed)}."
    )
