"""Results that other code made at the same revision: they count as those of today's code, and may differ from them.

Example: an author multiplies the loss of `nnclr` by 0 and gives the same command again. The key is the same, so the
old records are found and nothing is trained: `bench run`, `bench why` and `bench verify` must say so.

Digests of code stand in records and in summaries of trainings, never in a key. Of results without them, as older ones
are, nothing is said.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest

from bench_core.errors import StoreError
from bench_core.planning.chains import Cell, Chain, Plan
from bench_core.planning.components import ConfiguredComponent
from bench_core.planning.source_code import source_digest
from bench_core.plugins import Component
from bench_core.store import Store
from bench_core.store.chain_files import read_summary
from bench_core.store.done_cells import done_keys, trained_keys
from bench_core.store.record import Provenance, provenance_from_json

_MOST_READ = 10_000  # records that are read before a run begins


@dataclass
class ChangedCode:
    """A component whose code is not that which made some results of a store.

    Attributes:
        component: The dataset, encoder, method or task.
        rerun: Names of the methods, or of the task, that make these results again.
        records: Number of records that other code has made.
        trainings: Number of trainings that other code has made, and on which more cells are run.
        of: Number of records that were looked at; 0 where it was all.
    """

    component: Component
    rerun: dict[str, None] = field(default_factory=dict)
    records: int = 0
    trainings: int = 0
    of: int = 0

    @property
    def line(self) -> str:
        """The line that says what was found and what to do."""
        of_all = f"of {self.of:,} records that were looked at" if self.of else "of these records"
        counts = ((self.records, of_all), (self.trainings, "of the trainings that are used"))
        results = " and ".join(f"{count} {what}" for count, what in counts if count)
        were = "was" if self.records + self.trainings == 1 else "were"
        return (
            f"{self.component.name}'s code changed since {results} {were} made, and its revision is still "
            f"{self.component.cls.revision}: raise it if numbers may change, or run with --rerun {','.join(self.rerun)}"
        )


def changed_code(plan: Plan, store: Store) -> list[ChangedCode]:
    """Find the components of a plan whose code is not that of the results which the store has for it.

    Args:
        plan: The plan.
        store: Its records count, and its trainings on which a missing cell would be run. Of very many records some are
            read: keys are hashes, so the first ones are a fair sample.
    """
    found: dict[Component, ChangedCode] = {}
    trainings: dict[str, Chain] = {}
    done = done_keys(store, (cell.key for cell in plan.cells))
    read = set(nsmallest(_MOST_READ, done))
    of = len(read) if len(read) < len(done) else 0
    trained = trained_keys(store, (link.key for chain in plan.chains for link in chain.lineage))
    for chain in plan.chains:
        for cell in chain.cells:
            if cell.key in done:
                record = store.record(cell.key) if cell.key in read else None
                if record is None:
                    continue
                for component, name in changed_parts(chain, cell, record.provenance).items():
                    changed = found.setdefault(component, ChangedCode(component, of=of))
                    changed.records += 1
                    changed.rerun[name] = None
            elif cell.skip is None and (training := _newest_training(chain, trained)):
                trainings[training.key] = training
    for training in trainings.values():
        for component, name in changed_parts(training, None, _provenance(training, store)).items():
            changed = found.setdefault(component, ChangedCode(component))
            changed.trainings += 1
            changed.rerun[name] = None
    return list(found.values())


def changed_parts(chain: Chain, cell: Cell | None, provenance: Provenance) -> dict[Component, str]:
    """Return the components of a cell, or of a training, whose code differs from that which a provenance names.

    Args:
        chain: The chain, as it is planned now.
        cell: The cell; None for the training alone.
        provenance: Names the code that made the record, or the training.

    Returns:
        Component -> name of the method, or of the task, that must run again.
    """
    changed: dict[Component, str] = {}
    training = provenance.pretrain or provenance
    for start, sources in zip(chain.lineage[:-1], training.start_sources, strict=False):
        changed |= dict.fromkeys(_differing(start, None, [sources]), _rerun_name(start.method))
    for component in _differing(chain, cell, provenance.all_sources):
        task = cell.task if cell is not None and component is cell.task.plugin else None
        changed[component] = _rerun_name(task or chain.method)
    return changed


def _rerun_name(part: ConfiguredComponent) -> str:
    """Return what --rerun takes: the row's name, or the component's for rows of a sweep, "nac (flip=0.1, dim=8)"."""
    return part.plugin.name if " " in part.name else part.name


def _differing(chain: Chain, cell: Cell | None, versions: Sequence[Mapping[str, str]]) -> Iterator[Component]:
    """Yield the components whose digest now is not the one in each version of the code that names any."""
    parts = {"dataset": chain.dataset, "encoder": chain.encoder, "method": chain.method}
    if cell is not None:
        parts["task"] = cell.task
    for axis, part in parts.items():
        digest = source_digest(part.plugin)
        if digest and any(version.get(axis, digest) != digest for version in versions):
            yield part.plugin


def _newest_training(chain: Chain, trained: Collection[str]) -> Chain | None:
    """Return the chain, or the nearest one that it starts from, that is trained; what is run next builds on it."""
    return next((link for link in reversed(chain.lineage) if link.key in trained), None)


def _provenance(chain: Chain, store: Store) -> Provenance:
    """Return the provenance of a training; an empty one where its summary is damaged, which the run itself reports."""
    try:
        return provenance_from_json(read_summary(store.chain_folder(chain.key))["provenance"])
    except StoreError:
        return Provenance()
