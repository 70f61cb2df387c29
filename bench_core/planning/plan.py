"""The plan of a request: its chains and their cells, each with a key that is the hash of a document.

    request -> resolved components -> chains -> cells

A chain is one dataset x encoder x method x seed: pretrained once, embedded once. Its cells are its tasks.
A document is a JSON object with all that defines a number; docs/numbers.md lists what is in it and what is not. Names
of rows, devices and folders are not in it, so they change no key.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from bench_core.config import plain
from bench_core.contracts import Dataset, DataSpec, OtherData, Recipe
from bench_core.contracts.keywords import named_only
from bench_core.data import default_data_root
from bench_core.data.checked import load_split, reading_data
from bench_core.data.files import NO_FOLDER
from bench_core.errors import BenchError, PluginLoadError, RequestError, shown
from bench_core.keys import HARNESS_REVISION, key_of
from bench_core.planning.boards import Board
from bench_core.planning.components import ConfiguredComponent
from bench_core.planning.initial_weights import InitialWeights, find_initial_weights, start_in_document
from bench_core.planning.origins import RecipeOrigin
from bench_core.planning.request import Request, Resolved, resolve
from bench_core.planning.source_code import source_digests
from bench_core.plugins import Registry, load_plugins


@dataclass(frozen=True)
class Cell:
    """One task on one chain.

    Attributes:
        names: The names of dataset, encoder, method and task in the request.
        seed: The seed of the chain.
        task: The task with its parameters.
        document: All that defines the numbers of the cell.
        key: The hash of the document.
        skip: The reason why the task cannot run on this chain, or None.
        other_datasets: The datasets that the task reads beside the chain's, by name.
    """

    names: Mapping[str, str]
    seed: int
    task: ConfiguredComponent
    document: Mapping[str, Any]
    key: str
    skip: str | None
    other_datasets: Mapping[str, OtherData] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """One dataset x encoder x method x seed, and its cells.

    Attributes:
        dataset: The dataset with its parameters.
        encoder: The encoder with its parameters.
        method: The method with its parameters.
        loader: The opened dataset, which loads the splits.
        data: The shape, splits and classes of the dataset.
        recipe: The training recipe.
        origin: Where the recipe comes from; it is in no key.
        precision: "fp32" or "bf16".
        seed: The seed of the training.
        document: All that defines the trained weights.
        key: The hash of `document`; it names the chain's folder.
        embed_document: All that defines the embeddings.
        embed_key: The hash of `embed_document`; it names the folder of the embeddings.
        cells: The tasks on this chain.
        init: The weights or the chain that the encoder starts from; None initialises the encoder from the seed.
    """

    dataset: ConfiguredComponent
    encoder: ConfiguredComponent
    method: ConfiguredComponent
    loader: Dataset
    data: DataSpec
    recipe: Recipe
    origin: RecipeOrigin
    precision: str
    seed: int
    document: Mapping[str, Any]
    key: str
    embed_document: Mapping[str, Any]
    embed_key: str
    cells: tuple[Cell, ...]
    init: "InitialWeights | Chain | None" = None

    @property
    def uses_labels(self) -> bool:
        """True if labels took part in this training, or in the one that its encoder starts from, as far as known."""
        method_uses_labels: bool = self.method.plugin.cls.uses_labels
        return method_uses_labels or (self.init is not None and self.init.uses_labels)

    @property
    def starts_from(self) -> str:
        """Description of what the encoder starts from: "nac, 200 epochs"; "" if it is initialised from the seed."""
        if isinstance(self.init, Chain):
            return f"{self.init.method.name}, {self.init.recipe.epochs} epochs"
        return self.init.label if self.init else ""

    @property
    def lineage(self) -> "list[Chain]":
        """This chain after all chains that it starts from, in the order in which they are trained."""
        return [*(self.init.lineage if isinstance(self.init, Chain) else ()), self]

    @property
    def sources(self) -> dict[str, str]:
        """Digests of the code of dataset, encoder and method, as far as it can be read; they are in no key."""
        parts = {"dataset": self.dataset, "encoder": self.encoder, "method": self.method}
        return source_digests({axis: part.plugin for axis, part in parts.items()})

    def sources_of(self, cell: Cell) -> dict[str, str]:
        """Return `sources` with that of the task of one of the chain's cells."""
        return {**self.sources, **source_digests({"task": cell.task.plugin})}

    @property
    def label(self) -> str:
        """The chain as messages name it: "nac on digits with convnet, seed 0"."""
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


@dataclass(frozen=True)
class _OpenedDataset:
    """A dataset of which shape, splits and digest are known; no images are loaded."""

    component: ConfiguredComponent
    loader: Dataset
    spec: DataSpec
    digest: str

    def document(self) -> dict[str, Any]:
        """Return what defines the data."""
        return {**self.component.document(), "digest": self.digest}


_OpenByName = Callable[[str], _OpenedDataset]  # opens a dataset with its default parameters


def make_plan(request: Request, registry: Registry, *, download: bool = False, check_data: bool = False) -> Plan:
    """Resolve every name and parameter of a request; nothing is trained or embedded.

    Args:
        request: The rows, columns and parameters that the user chose.
        registry: The plugins.
        download: Whether to download datasets first.
        check_data: Whether to read all files of the datasets again, also those that a cache has seen.

    Raises:
        RequestError: A name, parameter or value does not fit, or data is missing.
    """
    resolved = resolve(request, registry)
    return plan_resolved(resolved, request.data_root, registry, download=download, check_data=check_data)


def board_plan(board: str, registry: Registry | None = None) -> Plan:
    """Plan all rows and columns of a board."""
    return make_plan(Request(board=board, data_root=default_data_root()), registry or load_plugins())


def plan_resolved(
    resolved: Resolved, data_root: Path, registry: Registry, *, download: bool = False, check_data: bool = False
) -> Plan:
    """Plan the chains and cells of names and parameters that are resolved already."""
    _refuse_wrong_root(data_root)

    @cache
    def open_by_name(name: str) -> _OpenedDataset:
        component = registry.get("dataset", name)
        return _open(ConfiguredComponent(name, component, component.cls.Config()), data_root, download, check_data)

    datasets = [_open(dataset, data_root, download, check_data) for dataset in resolved.components["datasets"]]
    chains = []
    for dataset in datasets:
        for encoder in resolved.components["encoders"]:
            chains += _plan_chains(dataset, encoder, resolved, open_by_name)
    return Plan(resolved.board, tuple(chains))


def _refuse_wrong_root(data_root: Path) -> None:
    """Raise RequestError if the folder of the datasets is something else, also where no dataset reads it.

    It may be missing: datasets that read nothing from it work without one, and `--download` creates it.
    """
    if data_root == NO_FOLDER:  # datasets that need a folder say that there is none
        return
    try:
        why = "" if S_ISDIR(data_root.stat().st_mode) else "is no folder"
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # a name that is too long or holds a NUL, a folder that may not be entered
        why = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if why:
        where = shown(str(data_root))
        raise RequestError(f"the data folder {where} {why}; name a folder with --data-root or BENCH_DATA.")


def narrowed(plan: Plan, keep: Callable[[Chain, Cell], bool]) -> Plan:
    """Return a plan of the cells for which `keep` is true, and of the chains that still have a cell."""
    chains = [replace(chain, cells=tuple(cell for cell in chain.cells if keep(chain, cell))) for chain in plan.chains]
    return replace(plan, chains=tuple(chain for chain in chains if chain.cells))


def _open(dataset: ConfiguredComponent, data_root: Path, download: bool, check_data: bool) -> _OpenedDataset:
    with _plugin_named_in_errors(dataset), reading_data(dataset.name):
        loader: Dataset = dataset.plugin.cls(data_root, dataset.config)
        if download:
            loader.download()
        if check_data:
            loader.check_files()
        digest: object = loader.digest()
        if not isinstance(digest, str):
            raise TypeError(f"digest() must return text, got {shown(digest)}")
        return _OpenedDataset(dataset, loader, replace(loader.spec(), name=dataset.plugin.name), digest)


def _plan_chains(
    dataset: _OpenedDataset, encoder: ConfiguredComponent, resolved: Resolved, open_by_name: _OpenByName
) -> list[Chain]:
    """Plan the requested methods at all seeds, for one dataset and encoder.

    Rows of the board that were not requested are planned, too, if requested rows start from them. They become the
    `init` of these rows, not chains of the plan.
    """
    planned: dict[tuple[str, int], Chain] = {}
    for method in _methods_in_order_of_training(resolved):
        for seed in resolved.seeds:
            init = resolved.inits.get(method.name, "")
            start = planned.get((init, seed), init)
            planned[method.name, seed] = _plan_chain(dataset, encoder, method, seed, resolved, start, open_by_name)
    return [planned[method.name, seed] for method in resolved.components["methods"] for seed in resolved.seeds]


def _methods_in_order_of_training(resolved: Resolved) -> list[ConfiguredComponent]:
    """Return all methods, each after the one that it starts from.

    Raises:
        RequestError: Rows start from each other in a circle.
    """
    rows = {method.name: method for method in (*resolved.components["methods"], *resolved.ancestors)}
    ordered: dict[str, ConfiguredComponent] = {}
    for name in rows:
        path = [name]
        while (start := resolved.inits.get(path[-1], "")) in rows:
            if start in path:
                raise RequestError(f"init goes in a circle: {' <- '.join([*path, start])}.")
            path.append(start)
        ordered |= {row: rows[row] for row in reversed(path) if row not in ordered}
    return list(ordered.values())


def _plan_chain(
    dataset: _OpenedDataset,
    encoder: ConfiguredComponent,
    method: ConfiguredComponent,
    seed: int,
    resolved: Resolved,
    start: Chain | str,
    open_by_name: _OpenByName,
) -> Chain:
    """Plan one chain with its cells.

    Args:
        dataset: The opened dataset.
        encoder: The encoder.
        method: The method.
        seed: The seed of the training.
        resolved: The recipe, precision and tasks.
        start: The chain that the encoder starts from, the text of `init` where that is no row, or "".
        open_by_name: Opens the datasets that tasks read beside the chain's.
    """
    recipe = resolved.recipes[method.name]
    document = {
        "protocol": HARNESS_REVISION,  # the field's name in every key; a record's `protocol` is the task's text
        "dataset": dataset.document(),
        "encoder": encoder.document(),
        "method": method.document(),
        "recipe": plain(recipe),
        "precision": resolved.precision,
        "seed": seed,
    }
    init: Chain | InitialWeights | None
    if isinstance(start, Chain):
        init = start
        document["init"] = start_in_document(init.document, document)
    elif start:
        other_methods = [row.name for row in resolved.components["methods"] if row is not method]
        init = find_initial_weights(start, document, other_methods)
        document["init"] = init.document
    else:
        init = None
    embed_document = {"protocol": HARNESS_REVISION, "pretrain": document}
    chain = Chain(
        dataset=dataset.component,
        encoder=encoder,
        method=method,
        loader=dataset.loader,
        data=dataset.spec,
        recipe=recipe,
        origin=resolved.origins.get(method.name, RecipeOrigin()),
        precision=resolved.precision,
        seed=seed,
        document=document,
        key=key_of(document),
        embed_document=embed_document,
        embed_key=key_of(embed_document),
        cells=(),
        init=init,
    )
    skip = _skip_reason(chain)
    return replace(
        chain, cells=tuple(_plan_cell(chain, task, skip, open_by_name) for task in resolved.components["tasks"])
    )


def _skip_reason(chain: Chain) -> str | None:
    """Return why the encoder, the method or the chain that it starts from cannot work on the data; None if they can."""
    if reason := _encoder_skip_reason(chain) or _method_skip_reason(chain):
        return reason
    if isinstance(chain.init, Chain) and (reason := _method_skip_reason(chain.init)):
        return f"starts from {chain.init.method.name}: {reason}"
    return None


def _encoder_skip_reason(chain: Chain) -> str | None:
    cls = chain.encoder.plugin.cls
    if cls.kinds is not None and chain.data.kind not in cls.kinds:
        return f"reads {' or '.join(sorted(cls.kinds))}, not {chain.data.kind}"
    with _plugin_named_in_errors(chain.encoder):
        reason: str | None = cls.skip_reason(chain.data, chain.encoder.config)
    return reason


def _method_skip_reason(chain: Chain) -> str | None:
    skip_reason = chain.method.plugin.cls.skip_reason
    with _plugin_named_in_errors(chain.method):
        encoder = {"encoder_class": chain.encoder.plugin.cls, "encoder_config": chain.encoder.config}
        reason: str | None = skip_reason(chain.data, chain.method.config, **named_only(skip_reason, **encoder))
    return reason


def _plan_cell(chain: Chain, task: ConfiguredComponent, chain_skip: str | None, open_by_name: _OpenByName) -> Cell:
    """Plan one task on a chain; `chain_skip` is the reason why the chain itself cannot run, or None."""
    document: dict[str, Any] = {"protocol": HARNESS_REVISION, "task": task.document(), "embed": chain.embed_document}
    names = {
        "dataset": chain.dataset.name,
        "encoder": chain.encoder.name,
        "method": chain.method.name,
        "task": task.name,
    }
    with _plugin_named_in_errors(task):
        evaluator = task.plugin.cls(task.config)
        skip = chain_skip or evaluator.skip_reason(chain.data, chain.method.plugin.cls)
        other_names = [] if skip else list(evaluator.datasets(chain.data))
    other_datasets: dict[str, OtherData] = {}
    for name in other_names:
        dataset = open_by_name(name)
        document.setdefault("others", {})[name] = dataset.document()
        other_datasets[name] = OtherData(dataset.spec, partial(load_split, dataset.loader, dataset.spec))
    return Cell(names, chain.seed, task, document, key_of(document), skip, other_datasets)


@contextmanager
def _plugin_named_in_errors(component: ConfiguredComponent) -> Iterator[None]:
    """Turn an exception of a plugin's code into a PluginLoadError that names the plugin."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        plugin = component.plugin
        reason = " ".join(traceback.format_exception_only(error)[-1].split())
        raise PluginLoadError(f"{plugin.word} {plugin.id} breaks while planning: {reason}") from error
