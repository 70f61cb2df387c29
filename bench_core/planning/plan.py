"""A request -> chains and their cells, each with a key made of its content.

A chain is one dataset x encoder x method x seed: pretrained once, embedded once, then its tasks, its cells.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_core.config import plain
from bench_core.contracts import Dataset, DataSpec, OtherData, Recipe
from bench_core.data import default_data_root
from bench_core.errors import BenchError, PluginLoadError, RequestError, shown
from bench_core.keys import PROTOCOL, key_of
from bench_core.planning.boards import Board
from bench_core.planning.initial_weights import Initial, difference, find_initial
from bench_core.planning.request import Part, Request, Resolved, resolve
from bench_core.plugins import Registry, load_plugins

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Cell:
    """One task on one chain.

    Attributes:
        names: dataset, encoder, method and task as this plan calls them.
        document: All that defines the number; `key` is its hash.
        skip: Why the pair cannot work, or None.
        others: The data sets that the task reads beside the chain's.
    """

    names: Mapping[str, str]
    seed: int
    task: Part
    document: Mapping[str, Any]
    key: str
    skip: str | None
    others: Mapping[str, OtherData] = field(default_factory=dict)


@dataclass(frozen=True)
class Chain:
    """One dataset x encoder x method x seed, and its cells; `key` names the pretraining, `embed_key` the embeddings."""

    dataset: Part
    encoder: Part
    method: Part
    source: Dataset
    data: DataSpec
    recipe: Recipe
    precision: str
    seed: int
    document: Mapping[str, Any]
    key: str
    embed_document: Mapping[str, Any]
    embed_key: str
    cells: tuple[Cell, ...]
    init: "Initial | Chain | None" = None  # what the encoder starts from; None is a fresh one

    @property
    def uses_labels(self) -> bool:
        """Whether labels took part in training, here or in what it starts from, as far as that is known."""
        own: bool = self.method.component.cls.uses_labels
        return own or (self.init is not None and self.init.uses_labels)

    @property
    def starts_from(self) -> str:
        """What its encoder starts from, for people; "" is a fresh one."""
        if isinstance(self.init, Chain):
            return f"{self.init.method.name}, {self.init.recipe.epochs} epochs"
        return self.init.label if self.init else ""

    @property
    def lineage(self) -> "list[Chain]":
        """The chains that it starts from, the first one first, and itself."""
        return [*(self.init.lineage if isinstance(self.init, Chain) else ()), self]

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.method.name} on {self.dataset.name} with {self.encoder.name}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """All chains of a request, in the order in which they run."""

    board: Board
    chains: tuple[Chain, ...]

    @property
    def cells(self) -> list[Cell]:
        """All cells of all chains."""
        return [cell for chain in self.chains for cell in chain.cells]


def make_plan(request: Request, registry: Registry, *, download: bool = False) -> Plan:
    """Resolve every name and parameter; nothing is trained or embedded.

    Args:
        request: What is asked for.
        registry: What there is.
        download: Fetch data sets first.

    Raises:
        RequestError: A name, parameter or value that does not fit, or data that is not there.
    """
    return plan_resolved(resolve(request, registry), request.data_root, registry, download=download)


def plan_resolved(resolved: Resolved, data_root: Path, registry: Registry, *, download: bool = False) -> Plan:
    """The plan of names and parameters that are resolved already."""
    sources = [(part, _open(part, data_root, download)) for part in resolved.parts["datasets"]]

    @cache
    def elsewhere(name: str) -> tuple[Part, Opened]:
        component = registry.get("dataset", name)
        part = Part(name, component, component.cls.Config())
        return part, _open(part, data_root, download)

    chains: list[Chain] = []
    for dataset, opened in sources:
        for encoder in resolved.parts["encoders"]:
            made: dict[tuple[str, int], Chain] = {}
            for method in _sources_first(resolved):
                for seed in resolved.seeds:
                    init = resolved.inits.get(method.name, "")
                    start = made.get((init, seed), init)
                    made[method.name, seed] = _chain(dataset, opened, encoder, method, seed, resolved, start, elsewhere)
            chains += [made[method.name, seed] for method in resolved.parts["methods"] for seed in resolved.seeds]
    return Plan(resolved.board, tuple(chains))


def narrowed(plan: Plan, wanted: Callable[[Chain, Cell], bool]) -> Plan:
    """The cells that are wanted, and the chains that have one."""
    chains = (replace(chain, cells=tuple(c for c in chain.cells if wanted(chain, c))) for chain in plan.chains)
    return replace(plan, chains=tuple(chain for chain in chains if chain.cells))


def _sources_first(resolved: Resolved) -> list[Part]:
    """The methods, each after the one that it starts from."""
    rows = {part.name: part for part in (*resolved.parts["methods"], *resolved.sources)}
    ordered: dict[str, Part] = {}
    for name in rows:
        path = [name]
        while (source := resolved.inits.get(path[-1], "")) in rows:
            if source in path:
                raise RequestError(f"init goes in a circle: {' <- '.join([*path, source])}.")
            path.append(source)
        ordered |= {row: rows[row] for row in reversed(path) if row not in ordered}
    return list(ordered.values())


Opened = tuple[Dataset, DataSpec, str]
Elsewhere = Callable[[str], tuple[Part, Opened]]  # a data set by its name alone, with its defaults


@contextmanager
def _blame(part: Part) -> Iterator[None]:
    """A plugin's defect names the plugin and stops this request only."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        reason = " ".join(traceback.format_exception_only(error)[-1].split())
        raise PluginLoadError(f"{part.component.kind} {part.component.id} breaks while planning: {reason}") from error


def _open(part: Part, root: Path, download: bool) -> Opened:
    with _blame(part):
        dataset: Dataset = part.component.cls(root, part.config)
        if download:
            dataset.download()
        digest: object = dataset.digest()
        if not isinstance(digest, str):
            raise TypeError(f"digest() must return text, got {shown(digest)}")
        return dataset, replace(dataset.spec(), name=part.component.name), digest


def _chain(
    dataset: Part,
    opened: Opened,
    encoder: Part,
    method: Part,
    seed: int,
    resolved: Resolved,
    start: Chain | str,
    elsewhere: Elsewhere,
) -> Chain:
    source, data, digest = opened
    recipe = resolved.recipes[method.name]
    document = {
        "protocol": PROTOCOL,
        "dataset": {**dataset.document(), "digest": digest},
        "encoder": encoder.document(),
        "method": method.document(),
        "recipe": plain(recipe),
        "precision": resolved.precision,
        "seed": seed,
    }
    others = [part.name for part in resolved.parts["methods"] if part is not method]
    init = find_initial(start, document, others) if isinstance(start, str) and start else start or None
    if isinstance(init, Chain):
        document["init"] = difference(init.document, document)
    elif init:
        document["init"] = init.document
    embed_document = {"protocol": PROTOCOL, "pretrain": document}
    skip = None
    for part in (encoder, method):
        with _blame(part):
            skip = skip or part.component.cls.skip_reason(data, part.config)
    if isinstance(init, Chain) and (reason := init.method.component.cls.skip_reason(data, init.method.config)):
        skip = skip or f"starts from {init.method.name}: {reason}"
    chain = Chain(
        dataset, encoder, method, source, data, recipe, resolved.precision, seed,
        document, key_of(document), embed_document, key_of(embed_document), (), init,
    )  # fmt: skip
    return replace(chain, cells=tuple(_cell(chain, task, skip, elsewhere) for task in resolved.parts["tasks"]))


def _cell(chain: Chain, task: Part, skip: str | None, elsewhere: Elsewhere) -> Cell:
    document: dict[str, Any] = {"protocol": PROTOCOL, "task": task.document(), "embed": chain.embed_document}
    names = {
        "dataset": chain.dataset.name,
        "encoder": chain.encoder.name,
        "method": chain.method.name,
        "task": task.name,
    }
    with _blame(task):
        evaluator = task.component.cls(task.config)
        skip = skip or evaluator.skip_reason(chain.data, chain.method.component.cls)
        asked = [] if skip else list(evaluator.datasets(chain.data))
    others: dict[str, OtherData] = {}
    for name in asked:
        part, (source, data, digest) = elsewhere(name)
        document.setdefault("others", {})[name] = {**part.document(), "digest": digest}
        others[name] = OtherData(data, source.load)
    return Cell(names, chain.seed, task, document, key_of(document), skip, others)


def board_plan(board: str, registry: Registry | None = None) -> Plan:
    """Everything that a board asks for."""
    return make_plan(Request(board=board, data_root=default_data_root()), registry or load_plugins())
