"""A request -> chains and their cells, each with a key made of its content.

A chain is one dataset x encoder x method x seed: pretrained once, embedded once, then its tasks, its cells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench_core import boards
from bench_core.boards import Board, Named
from bench_core.config import build, plain
from bench_core.contracts import Dataset, DataSpec, Recipe
from bench_core.errors import ConfigError, RequestError, UnknownNameError
from bench_core.keys import PROTOCOL, key_of
from bench_core.plugins import Component, Registry

SECTIONS = {"datasets": "dataset", "encoders": "encoder", "methods": "objective", "tasks": "evaluator"}
PRECISIONS = ("auto", "fp32", "bf16")
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for; None means what the board says.

    Attributes:
        settings: "NAME.PARAM" or "NAME.recipe.PARAM" -> value; NAME is a row or column of this request.
        data_root: Where data sets lie.
    """

    datasets: Sequence[str] | None = None
    encoders: Sequence[str] | None = None
    methods: Sequence[str] | None = None
    tasks: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    board: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    precision: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    data_root: Path


@dataclass(frozen=True)
class Part:
    """A component under the name it has in this plan, with every parameter resolved."""

    name: str
    component: Component
    config: Any

    def document(self) -> dict[str, Any]:
        """What of this part defines a result."""
        return {"id": self.component.id, "revision": self.component.cls.revision, "config": plain(self.config)}


@dataclass(frozen=True)
class Cell:
    """One task on one chain.

    Attributes:
        names: dataset, encoder, method and task as this plan calls them.
        document: All that defines the number; `key` is its hash.
        skip: Why the pair cannot work, or None.
    """

    names: Mapping[str, str]
    seed: int
    task: Part
    document: Mapping[str, Any]
    key: str
    skip: str | None


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
    board = _board(request)
    rows = {section: _rows(section, request, board, registry) for section in SECTIONS}
    settings = _sort_settings(request.settings, rows)
    parts = {section: [_part(row, section, settings, registry) for row in rows[section]] for section in SECTIONS}
    precision = request.precision or board.precision
    if precision not in PRECISIONS:
        raise RequestError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    seeds = tuple(request.seeds) if request.seeds is not None else (board.seeds if request.board else ()) or (0,)
    recipes = {row.name: _recipe(row, request, board, settings, registry) for row in rows["methods"]}
    sources = [(d, _open(d, request.data_root, download)) for d in parts["datasets"]]
    chains = [
        _chain(dataset, source, spec, digest, encoder, method, recipes[method.name], precision, seed, parts["tasks"])
        for dataset, (source, spec, digest) in sources
        for encoder in parts["encoders"]
        for method in parts["methods"]
        for seed in dict.fromkeys(seeds)
    ]
    return Plan(board, tuple(chains))


def _board(request: Request) -> Board:
    """The board asked for; without one, the default board as long as its data is meant, else an empty one."""
    if request.board:
        return boards.load_board(request.board)
    default = boards.load_board(boards.DEFAULT)
    if request.datasets is None or set(request.datasets) <= set(default.datasets):
        return default
    return Board(encoders={"convnet": Named("convnet", "convnet")}, tasks=default.tasks)


def _rows(section: str, request: Request, board: Board, registry: Registry) -> list[Named]:
    """The rows of a section that the request selects: the board's by their names, others with their defaults."""
    known: Mapping[str, Named] = getattr(board, section)
    asked: Sequence[str] | None = getattr(request, section)
    if asked is None:
        if section == "methods" and not request.board:
            names = ", ".join(c.name for c in registry.of_kind("objective"))
            raise RequestError(f"say which methods: --methods nac,sela or --methods all. Known: {names}.")
        return list(known.values())
    if list(asked) == [ALL]:
        names_of_kind = [c.name for c in registry.of_kind(SECTIONS[section])]
        rows = list(known.values())
        return rows if request.board else rows + [Named(n, n) for n in names_of_kind if n not in known]
    rows = []
    for name in dict.fromkeys(asked):
        if name not in known:
            _known_component(SECTIONS[section], section, name, known, registry)
        rows.append(known.get(name, Named(name, name)))
    if not rows:
        raise RequestError(f"--{section} is empty; name at least one.")
    return rows


def _known_component(kind: str, section: str, name: str, known: Mapping[str, Named], registry: Registry) -> None:
    try:
        registry.get(kind, name)
    except UnknownNameError as error:
        kind = section.removesuffix("s")
        raise UnknownNameError(kind, name, {*error.known, *known}, "See `bench list`.") from None


def _sort_settings(
    settings: Mapping[str, Any], rows: Mapping[str, Sequence[Named]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """(section, name) -> {param: value}; a name that stands in two sections needs its section in front."""
    sorted_settings: dict[tuple[str, str], dict[str, Any]] = {}
    for path, value in settings.items():
        first, _, rest = path.partition(".")
        sections = list(SECTIONS)
        if first in SECTIONS and "." in rest:
            sections = [first]
            first, _, rest = rest.partition(".")
        owners = [s for s in sections if any(row.name == first for row in rows[s])]
        if not owners:
            names = {row.name for section in sections for row in rows[section]}
            raise UnknownNameError("dataset, encoder, method or task in this request", first, names)
        if len(owners) > 1:
            options = " or ".join(f"{section}.{path}" for section in owners)
            raise ConfigError(f"--set {path}: {first!r} is the name of {' and '.join(owners)}; write {options}.")
        sorted_settings.setdefault((owners[0], first), {})[rest] = value
    return sorted_settings


def _part(row: Named, section: str, settings: Mapping[tuple[str, str], Mapping[str, Any]], registry: Registry) -> Part:
    component = registry.get(SECTIONS[section], row.use)
    asked = {k: v for k, v in settings.get((section, row.name), {}).items() if not _is_recipe(section, k)}
    return Part(row.name, component, build(component.cls.Config, {**row.values, **asked}, row.name))


def _is_recipe(section: str, path: str) -> bool:
    return section == "methods" and path.startswith("recipe.")


def _recipe(
    row: Named,
    request: Request,
    board: Board,
    settings: Mapping[tuple[str, str], Mapping[str, Any]],
    registry: Registry,
) -> Recipe:
    """The method's own, then the board's budget, then the board's row, then the command line.

    A method whose own recipe has no epochs is not trained, and no budget makes it so.
    """
    default: Recipe = registry.get("objective", row.use).cls.recipe
    if default.epochs == 0:
        return default
    asked: dict[str, Any] = {**board.recipe, **row.recipe}
    for name, value in (("epochs", request.epochs), ("batch_size", request.batch_size)):
        if value is not None:
            asked[name] = value
    for path, value in settings.get(("methods", row.name), {}).items():
        if _is_recipe("methods", path):
            asked[path.removeprefix("recipe.")] = value
    return build(Recipe, asked, f"{row.name}.recipe", base=default)


def _open(part: Part, root: Path, download: bool) -> tuple[Dataset, DataSpec, str]:
    dataset: Dataset = part.component.cls(root, part.config)
    if download:
        dataset.download()
    return dataset, dataset.spec(), dataset.digest()


def _chain(
    dataset: Part,
    source: Dataset,
    data: DataSpec,
    digest: str,
    encoder: Part,
    method: Part,
    recipe: Recipe,
    precision: str,
    seed: int,
    tasks: Sequence[Part],
) -> Chain:
    document = {
        "protocol": PROTOCOL,
        "dataset": {**dataset.document(), "digest": digest},
        "encoder": encoder.document(),
        "method": method.document(),
        "recipe": plain(recipe),
        "precision": precision,
        "seed": seed,
    }
    embed_document = {"protocol": PROTOCOL, "pretrain": document}
    skip = encoder.component.cls.skip_reason(data, encoder.config) or method.component.cls.skip_reason(
        data, method.config
    )
    chain = Chain(
        dataset, encoder, method, source, data, recipe, precision, seed,
        document, key_of(document), embed_document, key_of(embed_document), (),
    )  # fmt: skip
    cells = tuple(_cell(chain, task, skip) for task in tasks)
    return replace(chain, cells=cells)


def _cell(chain: Chain, task: Part, skip: str | None) -> Cell:
    document = {"protocol": PROTOCOL, "task": task.document(), "embed": chain.embed_document}
    evaluator = task.component.cls(task.config)
    names = {
        "dataset": chain.dataset.name,
        "encoder": chain.encoder.name,
        "method": chain.method.name,
        "task": task.name,
    }
    skip = skip or evaluator.skip_reason(chain.data, chain.method.component.cls)
    return Cell(names, chain.seed, task, document, key_of(document), skip)
