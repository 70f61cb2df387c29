"""What of a plan is left to do, and what of that cannot be done in this run any more."""

from itertools import takewhile

from bench_core.planning.plan import Cell, Chain, Plan
from bench_core.store import Store
from bench_core.store.store import latest_attempts


def to_run(plan: Plan, store: Store) -> list[tuple[Chain, list[Cell]]]:
    """What is missing, chain by chain.

    Chains, and cells of a chain, that failed before come last: they keep no other from its turn.
    """
    failed = latest_attempts(store.attempts())
    todo = [
        (chain, sorted(cells, key=lambda cell: cell.key in failed))
        for chain in plan.chains
        if (cells := missing(chain, store))
    ]
    return sorted(todo, key=lambda item: any(cell.key in failed for cell in item[1]))


def missing(chain: Chain, store: Store) -> list[Cell]:
    """The cells of a chain that have no record and can have one."""
    return [cell for cell in chain.cells if cell.skip is None and store.record(cell.key) is None]


def is_trained(chain: Chain, store: Store) -> bool:
    """Whether its weights are there."""
    return (store.chain(chain.key) / "summary.json").is_file()


def to_train(chain: Chain, store: Store) -> list[Chain]:
    """The trainings that a chain needs yet, the first one first: of what it starts from, and its own."""
    return list(takewhile(lambda one: not is_trained(one, store), reversed(chain.lineage)))[::-1]


class Broken:
    """Trainings that failed in this run: each fails once, and what starts from it is not tried."""

    def __init__(self, store: Store) -> None:
        """Nothing has failed yet."""
        self._store = store
        self._why: dict[str, tuple[str, str]] = {}  # key of a chain -> kind, reason

    def note(self, chain: Chain, kind: str, reason: str) -> str:
        """Keep that a chain failed, where that was in training.

        Returns:
            The reason for its own record, which names the source chain where that one is what failed.
        """
        failed = next(iter(to_train(chain, self._store)), None)
        if failed is None:
            return reason
        self._why[failed.key] = kind, reason.removeprefix(_of_source(failed, chain))
        return _of_source(failed, chain) + self._why[failed.key][1]

    def why(self, chain: Chain) -> tuple[str, str] | None:
        """Kind and reason, where the training of a chain or of what it starts from failed in this run."""
        for one in to_train(chain, self._store):
            if one.key in self._why:
                kind, reason = self._why[one.key]
                return kind, _of_source(one, chain) + reason
        return None


def _of_source(failed: Chain, chain: Chain) -> str:
    """How a reason begins that is not the chain's own."""
    return "" if failed.key == chain.key else f"its source chain ({failed.label}) failed: "
