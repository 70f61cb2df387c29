"""A record put to the test: run again from what it says of itself alone, and compared score by score."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench_core.config import build
from bench_core.contracts import Recipe
from bench_core.errors import BenchError, RequestError
from bench_core.keys import PROTOCOL, differences
from bench_core.planning.boards import Board
from bench_core.planning.plan import Plan, plan_resolved
from bench_core.planning.request import Part, Resolved
from bench_core.plugins import Registry
from bench_core.running.failures import describe
from bench_core.running.progress import Progress
from bench_core.running.runner import execute
from bench_core.store import Store
from bench_core.store.record_schema import seed_of
from bench_core.store.store import find_records

Record = Mapping[str, Any]
_KINDS = {"dataset": "dataset", "encoder": "encoder", "method": "objective"}  # part of a chain's document -> kind


@dataclass(frozen=True)
class Again:
    """One score, then and now; None where one side lacks it."""

    metric: str
    old: float | None
    new: float | None

    @property
    def difference(self) -> float:
        """Of the two, relative to the larger; infinite where one is not there."""
        if self.old is None or self.new is None:
            return math.inf
        return abs(self.new - self.old) / max(abs(self.new), abs(self.old)) if self.new != self.old else 0.0


@dataclass(frozen=True)
class Verification:
    """A record and what running it again gave."""

    old: Record
    new: Record
    scores: tuple[Again, ...]

    @property
    def largest(self) -> float:
        """Relative difference of the score that is farthest from what it was."""
        return max(score.difference for score in self.scores)


def choose_record(cell: str, path: Path) -> Record:
    """The record whose key begins with `cell`, in a store or a folder of records.

    Raises:
        RequestError: There is none, or more than one.
    """
    found = [record for record in find_records(path).values() if record["key"].startswith(cell)]
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join(record["key"][: len(cell) + 8] for record in found[:5])
        raise RequestError(f"{len(found)} records of {path} begin with {cell!r}: {keys}, ...; give more of the key.")
    raise RequestError(f"no record of {path} begins with {cell!r}; a key stands in the file's name and in `bench why`.")


def plan_again(record: Record, registry: Registry, data_root: Path, *, download: bool = False) -> Plan:
    """The plan of this one cell, made of the record's document; its key is the record's.

    Raises:
        RequestError: Code or data are not those of the record (names which), or a part of it is not here.
    """
    plan = plan_resolved(_resolved(record, registry), data_root, registry, download=download)
    [cell] = plan.cells
    changed = differences(cell.document, record["doc"])
    if changed:
        raise _changed(record, [f"{path} was {was!r}, is {now!r}" for path, now, was in changed])
    if cell.skip is not None:
        raise RequestError(f"{record['key'][:12]} cannot be run again: {cell.skip}.")
    return plan


def verify(plan: Plan, record: Record, device: str = "auto", progress: Progress | None = None) -> Verification:
    """Train, embed and measure in a folder of its own that goes afterwards.

    Args:
        plan: Of `plan_again`.
        record: What is put to the test.
        device: As of a run; another one than the record's gives other last bits.
        progress: Shown meanwhile.

    Raises:
        BenchError: It does not run any more.
    """
    with TemporaryDirectory(prefix="bench-verify-") as folder:
        store = Store(Path(folder) / "runs")
        failures = execute(plan, store, device, progress, command=f"bench verify {record['key']}")
        if failures:
            raise BenchError(f"it does not run any more: {describe(failures)[0]}")
        [new] = store.records()
    then, now = ({score["metric"]: score["value"] for score in r["scores"]} for r in (record, new))
    scores = tuple(Again(metric, then.get(metric), now.get(metric)) for metric in dict.fromkeys([*then, *now]))
    return Verification(record, new, scores)


def _resolved(record: Record, registry: Registry) -> Resolved:
    """What a request for this cell alone comes to."""
    doc, names = record["doc"], record["names"]
    chain, starts = doc["embed"]["pretrain"], _starts(record)
    said = {
        **{axis: (kind, names[axis], chain[axis]) for axis, kind in _KINDS.items()},
        "task": ("evaluator", names["task"], doc["task"]),
        **{row: ("objective", row, start["method"]) for row, start in starts.items()},
    }
    changed = [f"protocol was {doc['protocol']}, is {PROTOCOL}"] if doc["protocol"] != PROTOCOL else []
    for kind, _, part in said.values():
        revision = registry.get(kind, part["id"]).cls.revision
        if revision != part["revision"]:
            changed.append(f"revision of {part['id']} was {part['revision']}, is {revision}")
    if changed:
        raise _changed(record, changed)
    parts = {axis: _part(kind, name, part, registry) for axis, (kind, name, part) in said.items()}
    trained = {names["method"]: chain, **starts}
    return Resolved(
        Board(),
        {f"{axis}s": [parts[axis]] for axis in (*_KINDS, "task")},
        [parts[row] for row in starts],
        {row: build(Recipe, trained[row]["recipe"], f"{row}.recipe") for row in trained},
        dict(zip(trained, list(trained)[1:], strict=False)),
        chain["precision"],
        (seed_of(doc),),
    )


def _starts(record: Record) -> dict[str, Mapping[str, Any]]:
    """Row -> method and recipe of each chain that this one starts from, the nearest first."""
    starts: dict[str, Mapping[str, Any]] = {}
    init = record["doc"]["embed"]["pretrain"].get("init")
    while init:
        chain = init.get("chain", {})
        if not {"method", "recipe"} <= chain.keys() <= {"method", "recipe", "init"}:
            what = "a file that it does not hold" if "sha256" in init else f"a chain with another {sorted(chain)}"
            raise RequestError(f"{record['key'][:12]} starts from {what}, so it cannot be run again from itself.")
        starts[f"start {len(starts) + 1} of {record['names']['method']}"] = chain
        init = chain.get("init")
    return starts


def _part(kind: str, name: str, part: Mapping[str, Any], registry: Registry) -> Part:
    component = registry.get(kind, part["id"])
    return Part(name, component, build(component.cls.Config, part["config"], name))


def _changed(record: Record, changed: list[str]) -> RequestError:
    return RequestError(
        f"{record['key'][:12]} cannot be verified, as code or data are not those of the record: {'; '.join(changed)}."
    )
