"""The queue of a plan: chains and cells that are left to run, and trainings that failed in this run."""

from bench_core.planning.chains import Cell, Chain, Plan
from bench_core.store import Store
from bench_core.store.chain_files import is_finished
from bench_core.store.done_cells import done_keys, failed_cells


def to_run(plan: Plan, store: Store) -> list[tuple[Chain, list[Cell]]]:
    """List the chains that have missing cells, each with these cells, in the order in which they run.

    Cells that failed before come last in their chain, and chains with such a cell come last of all: a failure that
    repeats itself delays nothing else.
    """
    done = done_keys(store, (cell.key for cell in plan.cells))
    left = [
        (chain, [cell for cell in chain.cells if cell.skip is None and cell.key not in done]) for chain in plan.chains
    ]
    failed = failed_cells(store, (cell.key for _, cells in left for cell in cells))
    queue = []
    for chain, cells in left:
        if cells:
            queue.append((chain, sorted(cells, key=lambda cell: cell.key in failed)))
    return sorted(queue, key=lambda item: any(cell.key in failed for cell in item[1]))


def begin_lines(plan: Plan, store: Store) -> list[str]:
    """Say how many cells of a plan are done before a run of it begins; no line where none is."""
    cells = [cell for cell in plan.cells if cell.skip is None]
    done = len(done_keys(store, (cell.key for cell in cells)))
    return [f"{done} of {len(cells)} cells are done already"] if done else []


def missing(chain: Chain, store: Store) -> list[Cell]:
    """List the cells of a chain that have no record and are not skipped."""
    done = done_keys(store, (cell.key for cell in chain.cells))
    return [cell for cell in chain.cells if cell.skip is None and cell.key not in done]


def is_trained(chain: Chain, store: Store) -> bool:
    """Return True if the chain's trained weights are in the store."""
    return is_finished(store.chain_folder(chain.key))


def to_train(chain: Chain, store: Store) -> list[Chain]:
    """List the trainings that a chain still needs, in the order in which they run.

    A chain needs the one that its encoder starts from until it is trained, and its teacher also afterwards, because the
    method is rebuilt with it. `chain` itself comes last.
    """
    trained = is_trained(chain, store)
    needed = [chain.teacher] if trained else [chain.init, chain.teacher]
    links = [link for start in needed if isinstance(start, Chain) for link in to_train(start, store)]
    return list({link.key: link for link in (*links, *(() if trained else (chain,)))}.values())


class FailedTrainings:
    """Trainings that failed in this run. Each is tried once, and chains that start from it are not tried."""

    def __init__(self, store: Store) -> None:
        """Begin with no failed training.

        Args:
            store: Store of the run; tells which chains are trained.
        """
        self._store = store
        self._reasons: dict[str, tuple[str, str]] = {}  # key of a chain -> kind and reason of its failure

    def note(self, chain: Chain, kind: str, reason: str) -> str:
        """Remember that a chain failed, if it failed in training.

        The training that failed is the first one that the chain still needs. If it needs none, a task has failed, and
        nothing is kept.

        Args:
            chain: The chain that was running.
            kind: Kind of the failure, see `UnfinishedCell`.
            reason: What the error says.

        Returns:
            The reason for the records of `chain`; if the training of a source chain failed, it names that chain.
        """
        failed = next(iter(to_train(chain, self._store)), None)
        if failed is None:
            return reason
        prefix = _source_prefix(failed, chain)
        self._reasons[failed.key] = kind, reason.removeprefix(prefix)
        return prefix + self._reasons[failed.key][1]

    def reason_to_skip(self, chain: Chain) -> tuple[str, str] | None:
        """Return kind and reason if a training that the chain needs has failed in this run, else None."""
        for needed in to_train(chain, self._store):
            if needed.key in self._reasons:
                kind, reason = self._reasons[needed.key]
                return kind, _source_prefix(needed, chain) + reason
        return None


def _source_prefix(failed: Chain, chain: Chain) -> str:
    """Return the words before a reason that name the source chain; "" if the chain itself failed."""
    return "" if failed.key == chain.key else f"its source chain ({failed.label}) failed: "
