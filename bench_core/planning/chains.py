"""Parts of a plan: chains are trained once each, and have a cell for each task.

A chain is one dataset x encoder x method x seed: pretrained once, embedded once. Its cells are its tasks. `plan.py`
makes them from a request.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench_core.contracts import Dataset, DataSpec, OtherData, Recipe
from bench_core.planning.boards import Board
from bench_core.planning.components import ConfiguredComponent
from bench_core.planning.initial_weights import InitialWeights
from bench_core.planning.origins import RecipeOrigin
from bench_core.planning.outside_weights import Outside
from bench_core.planning.source_code import source_digests
from bench_core.planning.teachers import TeacherWeights


@dataclass(frozen=True)
class Cell:
    """One task on one chain.

    Attributes:
        names: The names of dataset, encoder, method and task in the request. The encoder is the one of the table; a
            row with another has its name as `own_encoder`. Of a chain that is one of several over the parts of a
            dataset, `fold` says which: "3 of 10", counted from 0.
        seed: The seed of the chain.
        task: The task with its parameters.
        document: All that defines the numbers of the cell.
        key: The hash of the document.
        skip: The reason why the task cannot run on this chain, or None.
        other_datasets: The datasets that the task reads beside the chain's, by name.
        epoch: The epoch of the training after which the weights are measured; None for those that it ends with.
    """

    names: Mapping[str, str]
    seed: int
    task: ConfiguredComponent
    document: Mapping[str, Any]
    key: str
    skip: str | None
    other_datasets: Mapping[str, OtherData] = field(default_factory=dict)
    epoch: int | None = None


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
        teacher: The trained method that this one learns from, or its weights; None where it has no teacher.
        outside: Weights from elsewhere that the encoder has before training; None where the seed gives them.
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
    teacher: "TeacherWeights | Chain | None" = None
    outside: Outside | None = None

    @property
    def is_one_network(self) -> bool:
        """True if all seeds would measure the same network, which was trained elsewhere."""
        untrained: bool = self.method.plugin.cls.measures_outside_weights
        return untrained and self.outside is not None and not self.outside.by_seed

    @property
    def row_name(self) -> str:
        """Name of the row: the method's, or that of the network that was trained elsewhere and is measured as it is."""
        plugin = self.method.plugin
        if self.outside and plugin.cls.measures_outside_weights and self.method.name == plugin.name:
            return self.outside.weights.name
        return self.method.name

    @property
    def uses_labels(self) -> bool:
        """True if labels took part in this training, in its teacher's, or in the one that its encoder starts from.

        Of weights from a file it is not known, which counts as no.
        """
        method_uses_labels: bool = self.method.plugin.cls.uses_labels
        return method_uses_labels or any(start.uses_labels for start in (self.init, self.teacher) if start)

    @property
    def uses_factors(self) -> bool:
        """True if ground-truth factors took part in this training, or in one that it needs in this request."""
        method_uses_factors: bool = self.method.plugin.cls.uses_factors
        return method_uses_factors or any(start.uses_factors for start in self.needed)

    @property
    def starts_from(self) -> str:
        """Description of what the encoder starts from: "nac, 200 epochs"; "" if it is initialised from the seed."""
        if isinstance(self.init, Chain):
            return f"{self.init.method.name}, {self.init.recipe.epochs} epochs"
        if self.init:
            return self.init.label
        return self.outside.weights.name if self.outside else ""

    @property
    def taught_by(self) -> str:
        """Description of the teacher: "supervised with convnet, 200 epochs"; "" where there is none."""
        if isinstance(self.teacher, Chain):
            return f"{self.teacher.method.name} with {self.teacher.encoder.name}, {self.teacher.recipe.epochs} epochs"
        return self.teacher.weights.label if self.teacher else ""

    @property
    def needed(self) -> "list[Chain]":
        """The chains that are trained before this one: what its encoder starts from, and its teacher."""
        return [start for start in (self.init, self.teacher) if isinstance(start, Chain)]

    @property
    def lineage(self) -> "list[Chain]":
        """This chain after all chains that it needs, in the order in which they are trained; each is there once."""
        links = [link for start in self.needed for link in start.lineage]
        return [*{link.key: link for link in links}.values(), self]

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
        """The chain as messages name it: "nac on digits with convnet, seed 0"; of a fold "on mutag, fold 3 of 10"."""
        fold = next((f", fold {cell.names['fold']}" for cell in self.cells if "fold" in cell.names), "")
        return f"{self.row_name} on {self.dataset.name}{fold} with {self.encoder.name}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """All chains of a request, in the order in which they run."""

    board: Board
    chains: tuple[Chain, ...]

    @property
    def cells(self) -> list[Cell]:
        """All cells of all chains."""
        return [cell for chain in self.chains for cell in chain.cells]


def narrowed(plan: Plan, keep: Callable[[Chain, Cell], bool]) -> Plan:
    """Return a plan of the cells for which `keep` is true, and of the chains that still have a cell."""
    chains = [replace(chain, cells=tuple(cell for cell in chain.cells if keep(chain, cell))) for chain in plan.chains]
    return replace(plan, chains=tuple(chain for chain in chains if chain.cells))
