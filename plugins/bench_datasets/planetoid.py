"""Cora and Citeseer: papers that cite each other, each with a bag of words and a subject.

Source: Yang, Cohen, Salakhutdinov, "Revisiting semi-supervised learning with graph embeddings" (Planetoid), ICML 2016,
    https://arxiv.org/abs/1603.08861; files of https://github.com/kimiyoung/planetoid, with the split that GCN and DGI
    use: 20 labelled papers of each subject to train on, 500 for validation, 1,000 to test on.
Note:  Six of the seven files are Python pickles, which can run code when they are read. They are read only where
    their SHA-256 is the published file's, by an unpickler that knows six names. The eighth published file, `x`, repeats
    rows of `allx` and is not needed. An edge joins two papers whichever cites the other; citations that are listed
    twice count once, and those of a paper by itself are left out. 15 papers of Citeseer have neither words nor a known
    subject; they are nodes of the graph and in no split.

Shapes: V nodes, F words, N nodes of a split.
"""

import hashlib
import io
import pickle
import warnings
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse
import torch
from torch import Tensor

from bench_core import Config, Dataset, DataSpec, Split, hookimpl, param
from bench_core.data import Nodes, digest_of, fetching, missing_data

NUM_VALIDATION, NUM_TEST = 500, 1000
URL = "https://raw.githubusercontent.com/kimiyoung/planetoid/master/data"
CORA_SHA256 = {
    "y": "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
    "tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
    "ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
    "allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
    "ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
    "graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
    "test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
}
CITESEER_SHA256 = {
    "y": "8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924",
    "tx": "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21",
    "ty": "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce",
    "allx": "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668",
    "ally": "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95",
    "graph": "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7",
    "test.index": "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4",
}


@dataclass(frozen=True, kw_only=True)
class PlanetoidConfig(Config):
    """Parameters of the features."""

    normalize_rows: bool = param(
        True, "divide the features of each node, 0 or 1, by their sum", "usual: GCN and DGI do so"
    )


class Cora(Dataset):
    """2,708 papers that cite each other, 7 subjects.

    1,433 words and 5,278 edges; 140 papers to train on, 500 for validation, 1,000 to test on. Files `ind.cora.*` under
    `planetoid` of the data root.
    """

    Config = PlanetoidConfig
    licence = "MIT, files of https://github.com/kimiyoung/planetoid"

    def __init__(self, root: Path, config: PlanetoidConfig) -> None:
        """Keep root and config; no file is read before `load`."""
        self._files = _Files("cora", root / "planetoid", CORA_SHA256, config)

    def spec(self) -> DataSpec:
        """Return the published counts."""
        return _spec(num_words=1433, num_train=140, num_classes=7)

    def digest(self) -> str:
        """Return the SHA-256 of the files' digests, which `load` checks."""
        return digest_of(*CORA_SHA256.values())

    def load(self, split: str) -> Split:
        """Read `train`, `validation` or `test`: the whole graph, and the nodes of the split with their subjects."""
        return self._files.split(split)

    def download(self) -> None:
        """Download missing files from GitHub, and check all of them."""
        self._files.download()


class Citeseer(Dataset):
    """3,327 papers that cite each other, 6 subjects.

    3,703 words and 4,552 edges; 120 papers to train on, 500 for validation, 1,000 to test on. Files `ind.citeseer.*`
    under `planetoid` of the data root.
    """

    Config = PlanetoidConfig
    licence = "MIT, files of https://github.com/kimiyoung/planetoid"

    def __init__(self, root: Path, config: PlanetoidConfig) -> None:
        """Keep root and config; no file is read before `load`."""
        self._files = _Files("citeseer", root / "planetoid", CITESEER_SHA256, config)

    def spec(self) -> DataSpec:
        """Return the published counts."""
        return _spec(num_words=3703, num_train=120, num_classes=6)

    def digest(self) -> str:
        """Return the SHA-256 of the files' digests, which `load` checks."""
        return digest_of(*CITESEER_SHA256.values())

    def load(self, split: str) -> Split:
        """Read `train`, `validation` or `test`: the whole graph, and the nodes of the split with their subjects."""
        return self._files.split(split)

    def download(self) -> None:
        """Download missing files from GitHub, and check all of them."""
        self._files.download()


def _spec(num_words: int, num_train: int, num_classes: int) -> DataSpec:
    return DataSpec(
        shape=(num_words,),
        splits={"train": num_train, "validation": NUM_VALIDATION, "test": NUM_TEST},
        num_classes=num_classes,
        kind="nodes",
        transductive=True,
    )


class _Files:
    """The files of one graph.

    Attributes:
        name: Registered name of the dataset.
        folder: Folder of the files.
        sums: Published SHA-256 of each file, by the end of its name.
        config: Parameters of the features.
    """

    def __init__(self, name: str, folder: Path, sums: dict[str, str], config: PlanetoidConfig) -> None:
        """Keep the arguments."""
        self.name, self.folder, self.sums, self.config = name, folder, sums, config

    def split(self, name: str) -> Split:
        """Return one split; all splits share the tensors of the graph."""
        nodes, labels, parts = self._graph
        return Split(nodes.select(parts[name]), labels[parts[name]])

    def download(self) -> None:
        """Download the files that are missing."""
        from torchvision.datasets.utils import download_url  # here, because importing it takes seconds

        for end in self.sums:
            file = f"ind.{self.name}.{end}"
            if not (self.folder / file).exists():
                with fetching(self.name, self.folder / file):
                    download_url(f"{URL}/{file}", str(self.folder))
            self._read(end)

    @cached_property
    def _graph(self) -> tuple[Nodes, Tensor, dict[str, Tensor]]:
        """Return all nodes of the graph, their labels (V,), -1 where unknown, and the nodes of each split.

        The first nodes are those of `allx`, in its order; row i of `tx` is the node that line i of `test.index` names.
        """
        known, rest = _sparse(self._unpickle("allx")), _sparse(self._unpickle("tx"))
        test = torch.tensor([int(line) for line in self._read("test.index").split()])
        count, first = int(test.max()) + 1, known.shape[0]
        features = torch.zeros(count, known.shape[1])
        features[:first] = torch.from_numpy(known.toarray())
        features[test] = torch.from_numpy(rest.toarray())
        if self.config.normalize_rows:
            features /= features.sum(1, keepdim=True).clamp(min=1)  # a row without words stays 0
        labels = torch.full((count,), -1)
        labels[:first] = torch.from_numpy(self._unpickle("ally")).argmax(1)
        labels[test] = torch.from_numpy(self._unpickle("ty")).argmax(1)
        pairs = [(node, other) for node, others in self._unpickle("graph").items() for other in others]
        num_train = len(self._unpickle("y"))
        parts = {
            "train": torch.arange(num_train),
            "validation": torch.arange(num_train, num_train + NUM_VALIDATION),
            "test": test.sort().values,
        }
        return Nodes.from_edges(features, torch.tensor(pairs).T, torch.arange(count)), labels, parts

    def _unpickle(self, end: str) -> Any:
        """Read a pickle whose digest agrees."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numpy, about how versions before 2 wrote data types
            return _Unpickler(io.BytesIO(self._read(end)), encoding="latin1").load()

    def _read(self, end: str) -> bytes:
        """Read a file and check its SHA-256; DataMissingError if it is missing or another one."""
        path = self.folder / f"ind.{self.name}.{end}"
        if not path.exists():
            raise missing_data(self.name, path, "does not exist", fetch=True)
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sums[end]:
            raise missing_data(self.name, path, "its SHA-256 differs from the published file's, delete it", fetch=True)
        return data


class _SparseRows:
    """Receives what a pickled csr_matrix holds, of any version of SciPy: its arrays, and `_shape`."""

    data: npt.NDArray[np.float32]
    indices: npt.NDArray[np.int32]
    indptr: npt.NDArray[np.int32]
    _shape: tuple[int, int]


def _sparse(rows: _SparseRows) -> Any:
    return scipy.sparse.csr_matrix((rows.data, rows.indices, rows.indptr), shape=rows._shape)


class _Unpickler(pickle.Unpickler):
    """Reads pickles of arrays and lists, written by Python 2; any other name in them is refused."""

    names: ClassVar[dict[tuple[str, str], Callable[..., Any]]] = {
        ("numpy", "dtype"): np.dtype,
        ("numpy", "ndarray"): np.ndarray,
        # the function that numpy's pickles call; its module has another name in each version
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],  # type: ignore[dict-item]
        ("scipy.sparse.csr", "csr_matrix"): _SparseRows,
        ("collections", "defaultdict"): defaultdict,
        ("__builtin__", "list"): list,
    }

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Return what a name of the pickle stands for."""
        if (module, name) not in self.names:
            raise pickle.UnpicklingError(f"{module}.{name} is none of the names that these files hold")
        return self.names[module, name]


@hookimpl
def bench_datasets() -> dict[str, type[Dataset]]:
    return {"cora": Cora, "citeseer": Citeseer}
