"""Sets of small graphs for graph classification: MUTAG, PTC, PROTEINS, NCI1, IMDB-BINARY and IMDB-MULTI.

Source: Morris et al., TUDataset, 2020, https://arxiv.org/abs/2007.08663, in the text files of Xu et al., ICLR 2019,
    https://github.com/weihua916/powerful-gnns (`dataset.zip`). Files `graph_sets/NAME.txt` of the data root.
Note:  Edges have no direction: an edge that stands in the line of one of its nodes only counts in both, and once. Nine
    lines of MUTAG's first graph are damaged in the published file: numbers of nodes stand in place of their tags, so
    there are 9 tags and not 7. The file is read as it is. IMDB's nodes have no tag: their feature is the constant 1.
    Labels of edges are not in the files.

Shapes: N graphs, V nodes, E edges in both directions, F features of a node.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Config, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import Graphs, digest_of, missing_data, stratified_folds
from bench_core.errors import RequestError

FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class GraphSetConfig(Config):
    """Parameters of a graph set: the fold that is tested, and the features of nodes."""

    fold: int | None = param(
        None,
        "part that is tested, of ten with equal shares of each class; none: all graphs are one split `train`",
        "InfoGraph and GIN: 10-fold cross-validation",
        ge=0,
        lt=FOLDS,
    )
    features: Literal["tag", "degree"] = param(
        "tag",
        "features of a node, one-hot: its tag (in IMDB the constant 1) or its number of neighbours",
        "InfoGraph's code: the tag",
    )


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """Constants of a graph set.

    Attributes:
        name: Registered name.
        file: Name of the file in the folder `graph_sets` of the data root.
        sha256: Digest of the file.
        graphs: Number of graphs.
        classes: Number of classes.
        tags: Number of different tags of nodes.
        most_neighbours: Largest number of neighbours of a node.
    """

    name: str
    file: str
    sha256: str
    graphs: int
    classes: int = 2
    tags: int
    most_neighbours: int


_MUTAG = _Facts(
    name="mutag",
    file="MUTAG.txt",
    sha256="05395684e2167e0fb31fc57534b5847cdf867ee5348d58497b33b46178c0294d",
    graphs=188,
    tags=9,
    most_neighbours=7,
)
_PTC = _Facts(
    name="ptc",
    file="PTC.txt",
    sha256="711729eaf2a5308752aa7c11062dd99f645f978afc400909a5927051b314ec55",
    graphs=344,
    tags=19,
    most_neighbours=4,
)
_PROTEINS = _Facts(
    name="proteins",
    file="PROTEINS.txt",
    sha256="ed0730f9bf9da68aa6a8c80f2f2b6ecea5d05791ca254c709f3efab3b45d937b",
    graphs=1113,
    tags=3,
    most_neighbours=25,
)
_NCI1 = _Facts(
    name="nci1",
    file="NCI1.txt",
    sha256="415d2e0861484c2baef1e40ee3ca62dd13c06d6b99549fb25774f43533e9321d",
    graphs=4110,
    tags=37,
    most_neighbours=4,
)
_IMDB_BINARY = _Facts(
    name="imdb_binary",
    file="IMDBBINARY.txt",
    sha256="1068c698677c07c04f3ad56fc4a175cb2161523c840abfdaf50e101ecc30504f",
    graphs=1000,
    tags=1,
    most_neighbours=135,
)
_IMDB_MULTI = _Facts(
    name="imdb_multi",
    file="IMDBMULTI.txt",
    sha256="f4cc1b32112303bf1b16a8351df8b8073978fdead823775fbe79e60cf94e7009",
    graphs=1500,
    classes=3,
    tags=1,
    most_neighbours=88,
)


class MUTAG(Dataset):
    """188 molecules, mutagenic on a bacterium or not.

    Atoms with 9 tags, 2 classes, `graph_sets/MUTAG.txt` of the data root; `mutag.fold` chooses a test part.
    """

    Config = GraphSetConfig

    def __init__(self, root: Path, config: GraphSetConfig) -> None:
        """Keep root and config; no file is read before `load`."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Return features, classes and the splits that follow from the fold."""
        return _spec(_MUTAG, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of the published file's digest, which `load` checks."""
        return digest_of(_MUTAG.sha256)

    def load(self, split: str) -> Split:
        """Read one split: `train`, which is all graphs without a fold, or `test`."""
        return _load(_MUTAG, self.root, self.config, split)


class PTC(Dataset):
    """344 molecules, carcinogenic for male rats or not.

    Atoms with 19 tags, 2 classes, `graph_sets/PTC.txt` of the data root; `ptc.fold` chooses a test part.
    """

    Config = GraphSetConfig

    def __init__(self, root: Path, config: GraphSetConfig) -> None:
        """Keep root and config; no file is read before `load`."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Return features, classes and the splits that follow from the fold."""
        return _spec(_PTC, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of the published file's digest, which `load` checks."""
        return digest_of(_PTC.sha256)

    def load(self, split: str) -> Split:
        """Read one split: `train`, which is all graphs without a fold, or `test`."""
        return _load(_PTC, self.root, self.config, split)


class Proteins(Dataset):
    """1,113 proteins, enzymes or not.

    Parts of a protein with 3 tags, 2 classes, `graph_sets/PROTEINS.txt` of the data root; `proteins.fold` chooses a
    test part.
    """

    Config = GraphSetConfig

    def __init__(self, root: Path, config: GraphSetConfig) -> None:
        """Keep root and config; no file is read before `load`."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Return features, classes and the splits that follow from the fold."""
        return _spec(_PROTEINS, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of the published file's digest, which `load` checks."""
        return digest_of(_PROTEINS.sha256)

    def load(self, split: str) -> Split:
        """Read one split: `train`, which is all graphs without a fold, or `test`."""
        return _load(_PROTEINS, self.root, self.config, split)


class NCI1(Dataset):
    """4,110 molecules, active against cancer or not.

    Atoms with 37 tags, 2 classes, `graph_sets/NCI1.txt` of the data root; `nci1.fold` chooses a test part.
    """

    Config = GraphSetConfig

    def __init__(self, root: Path, config: GraphSetConfig) -> None:
        """Keep root and config; no file is read before `load`."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Return features, classes and the splits that follow from the fold."""
        return _spec(_NCI1, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of the published file's digest, which `load` checks."""
        return digest_of(_NCI1.sha256)

    def load(self, split: str) -> Split:
        """Read one split: `train`, which is all graphs without a fold, or `test`."""
        return _load(_NCI1, self.root, self.config, split)


class IMDBBinary(Dataset):
    """1,000 circles of actors, of action or romance.

    Actors of a film are joined; 2 genres, no tags, `graph_sets/IMDBBINARY.txt` of the data root; `imdb_binary.fold`
    chooses a test part.
    """

    Config = GraphSetConfig

    def __init__(self, root: Path, config: GraphSetConfig) -> None:
        """Keep root and config; no file is read before `load`."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Return features, classes and the splits that follow from the fold."""
        return _spec(_IMDB_BINARY, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of the published file's digest, which `load` checks."""
        return digest_of(_IMDB_BINARY.sha256)

    def load(self, split: str) -> Split:
        """Read one split: `train`, which is all graphs without a fold, or `test`."""
        return _load(_IMDB_BINARY, self.root, self.config, split)


class IMDBMulti(Dataset):
    """1,500 circles of actors, of three genres.

    Actors of a film are joined; comedy, romance and science fiction, no tags, `graph_sets/IMDBMULTI.txt` of the data
    root; `imdb_multi.fold` chooses a test part.
    """

    Config = GraphSetConfig

    def __init__(self, root: Path, config: GraphSetConfig) -> None:
        """Keep root and config; no file is read before `load`."""
        self.root, self.config = root, config

    def spec(self) -> DataSpec:
        """Return features, classes and the splits that follow from the fold."""
        return _spec(_IMDB_MULTI, self.config)

    def digest(self) -> str:
        """Return the SHA-256 of the published file's digest, which `load` checks."""
        return digest_of(_IMDB_MULTI.sha256)

    def load(self, split: str) -> Split:
        """Read one split: `train`, which is all graphs without a fold, or `test`."""
        return _load(_IMDB_MULTI, self.root, self.config, split)


class Parsed(NamedTuple):
    """Graphs of a file, laid one after the other.

    Attributes:
        tags: Tag (V,) int64 of each node.
        edges: Nodes (2, E) int64 of each edge, in both directions, once, ordered by node.
        graph: Number (V,) int64 of the graph of each node.
        labels: Label (N,) int64 of each graph, as the file has it.
    """

    tags: Tensor
    edges: Tensor
    graph: Tensor
    labels: Tensor


def parse(text: str) -> Parsed:
    """Read the number of graphs; for each graph `nodes label`, and for each node `tag degree neighbours...`."""
    numbers = np.array(text.split(), np.int64)
    tags, sources, targets, sizes, labels = [], [], [], [], []
    at, first = 1, 0
    for _ in range(numbers[0]):
        size, label = numbers[at : at + 2]
        at += 2
        for node in range(first, first + size):
            tag, degree = numbers[at : at + 2]
            tags.append(tag)
            sources.append(np.full(degree, node))
            targets.append(first + numbers[at + 2 : at + 2 + degree])
            at += 2 + degree
        sizes.append(size)
        labels.append(label)
        first += size
    edges = torch.from_numpy(np.stack([np.concatenate(sources), np.concatenate(targets)]))
    return Parsed(
        tags=torch.tensor(np.array(tags)),
        edges=torch.unique(torch.cat([edges, edges.flip(0)], 1), dim=1),
        graph=torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(np.array(sizes))),
        labels=torch.tensor(np.array(labels)),
    )


def _spec(facts: _Facts, config: GraphSetConfig) -> DataSpec:
    splits = {"train": facts.graphs}
    if config.fold is not None:
        test = len(range(config.fold, facts.graphs, FOLDS))  # `stratified_folds` deals the graphs out in turn
        splits = {"train": facts.graphs - test, "test": test}
    return DataSpec(
        shape=(facts.tags if config.features == "tag" else facts.most_neighbours + 1,),
        splits=splits,
        num_classes=facts.classes,
        kind="graphs",
        transductive=config.fold is None,
        folds=FOLDS if config.fold is None else None,
    )


def _load(facts: _Facts, root: Path, config: GraphSetConfig, split: str) -> Split:
    """Read one split of a graph set; labels are counted from 0 in the order of those in the file."""
    names = ("train",) if config.fold is None else ("train", "test")
    if split not in names:
        raise RequestError(f"{facts.name}: no split named {split!r}; there are: {', '.join(names)}.")
    parsed = parse(_read(facts, root / "graph_sets" / facts.file))
    shown = parsed.tags if config.features == "tag" else torch.bincount(parsed.edges[0], minlength=len(parsed.tags))
    if config.features == "tag":
        features = F.one_hot(torch.unique(shown, return_inverse=True)[1], facts.tags)
    else:
        features = F.one_hot(shown, facts.most_neighbours + 1)
    graphs = Graphs(features.float(), parsed.edges, parsed.graph, facts.graphs)
    labels = torch.unique(parsed.labels, return_inverse=True)[1]
    if config.fold is None:
        return Split(graphs, labels)
    tested = stratified_folds(labels, FOLDS) == config.fold
    index = (tested if split == "test" else ~tested).nonzero().squeeze(1)
    return Split(graphs.select(index), labels[index])


def _read(facts: _Facts, path: Path) -> str:
    """Read the file of a graph set.

    Raises:
        DataMissingError: The file is missing, or is another one than the published one.
    """
    source = "unpack dataset.zip of https://github.com/weihua916/powerful-gnns and copy it from there"
    if not path.exists():
        raise missing_data(facts.name, path, f"does not exist; {source}", fetch=False)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != facts.sha256:
        raise missing_data(facts.name, path, f"its SHA-256 differs from the published file's; {source}", fetch=False)
    return data.decode()


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {
        "mutag": MUTAG,
        "ptc": PTC,
        "proteins": Proteins,
        "nci1": NCI1,
        "imdb_binary": IMDBBinary,
        "imdb_multi": IMDBMulti,
    }
