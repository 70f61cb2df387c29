"""The work that a run is about to do, without its code and data: a file in the store, and the same in memory.

`STORE/planned.json` holds the chains and cells of the last `bench run` of a store. `bench status` reads it, so that it
loads neither plugins nor data. It may be deleted at any time, and nothing else reads it.
"""

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from bench_core.errors import StoreError
from bench_core.files import read_json, write_over
from bench_core.store import Store
from bench_core.store.fields import Test, field_errors, is_count, is_digest, is_mapping, is_text, is_texts
from bench_core.store.name_links import link_names
from bench_core.store.under_way import hold

if TYPE_CHECKING:  # `bench status` and `bench rm` read the file, and do without torch
    from bench_core.planning.chains import Chain, Plan

FILE = "planned.json"
_CHAIN: dict[str, Test] = {"key": is_digest, "embed_key": is_digest, "label": is_text, "names": is_mapping,
    "epochs": is_count, "tasks": is_mapping}  # fmt: skip
_NAMES: dict[str, Test] = dict.fromkeys(("dataset", "encoder", "method"), is_text)


@dataclass(frozen=True)
class PlannedChain:
    """One chain that is asked for, or that another needs.

    Attributes:
        key: Key of its training.
        embed_key: Key of its embeddings.
        label: Its name in messages.
        names: Names of dataset, encoder and method.
        epochs: Epochs of its training in all.
        tasks: Key of each cell that can run -> name of its task; empty for a chain that is only needed by another.
    """

    key: str
    embed_key: str
    label: str
    names: Mapping[str, str]
    epochs: int
    tasks: Mapping[str, str]


@dataclass(frozen=True)
class Planned:
    """Chains of a request.

    Attributes:
        command: What was typed.
        jobs: Number of chains that run at the same time.
        chains: The chains in their order; what a chain needs stands before it.
    """

    command: str
    jobs: int
    chains: tuple[PlannedChain, ...]


def planned_chain(chain: "Chain", *, needed: bool = False) -> PlannedChain:
    """Describe a chain; of one that is only needed by another the tasks are left out."""
    names = {"dataset": chain.dataset.name, "encoder": chain.encoder.name, "method": chain.row_name}
    tasks = {} if needed else {cell.key: cell.task.name for cell in chain.cells if cell.skip is None}
    return PlannedChain(chain.key, chain.embed_key, chain.label, names, chain.recipe.epochs, tasks)


def planned(plan: "Plan", command: str = "", jobs: int = 1) -> Planned:
    """Describe a plan; each training is there once."""
    asked = {chain.key for chain in plan.chains}
    chains: dict[str, PlannedChain] = {}
    for chain in plan.chains:
        for link in chain.lineage:
            if link.key == chain.key or link.key not in asked:
                chains.setdefault(link.key, planned_chain(link, needed=link.key != chain.key))
    return Planned(command, jobs, tuple(chains.values()))


class Announcement:
    """Says in the store what a run is about to do, over what the run before it said; held while the run goes on.

    At its end the chains get links with readable names: once for a run, however many processes it starts.
    """

    def __init__(self, content: Planned, store: Store) -> None:
        """Keep the content; nothing is written before `write`."""
        self._content, self._store = content, store
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Begin; the store may not exist yet, and a request that is refused makes none."""
        return self

    def write(self) -> None:
        """Write the file into the store, once; a store that cannot be written costs only the announcement."""
        path = self._store.path / FILE
        with suppress(OSError):
            write_over(path, asdict(self._content))
            hold(self._closing.enter_context(path.open("rb")))

    def __exit__(self, *error: object) -> None:
        """Let the file go; it stays. Link the names of the store's chains."""
        self._closing.close()
        if self._store.exists():
            link_names(self._store)


def read_planned(store: Store) -> Planned | None:
    """Read what the last run of a store was about to do; None where no file says so.

    Raises:
        StoreError: The file is damaged.
    """
    path = store.path / FILE
    if not path.is_file():
        return None
    content = read_json(path)
    chains: Any = content.get("chains")
    errors = [*field_errors(content, "", {"command": is_text, "jobs": is_count})]
    if not isinstance(chains, list) or not all(isinstance(chain, dict) for chain in chains):
        errors.append("chains must be a list of objects")
    else:
        errors += [error for chain in chains for error in field_errors(chain, "chains", _CHAIN)]
    if not errors:
        errors += [error for chain in chains for error in field_errors(chain["names"], "chains.names", _NAMES)]
        tasks = {key: task for chain in chains for key, task in chain["tasks"].items()}
        if not is_texts([*tasks.values()]) or not all(map(is_digest, tasks)):
            errors.append("chains.tasks must be names by key")
    if errors:
        raise StoreError(f"{path} is damaged: {errors[0]}; delete it, the next run writes it again.")
    return Planned(
        content["command"],
        max(1, content["jobs"]),
        tuple(PlannedChain(**{name: chain[name] for name in _CHAIN}) for chain in chains),
    )
