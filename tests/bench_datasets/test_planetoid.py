import hashlib
import io
import pickle
import struct
from collections import defaultdict
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import scipy.sparse
import torch
from torchvision.datasets import utils

from bench_core.contracts import Split
from bench_core.data import Nodes
from bench_core.errors import DataMissingError
from bench_datasets import planetoid
from bench_datasets.planetoid import CITESEER_SHA256, CORA_SHA256, Citeseer, Cora, PlanetoidConfig, bench_datasets

NAMES: dict[Any, tuple[str, str]] = {  # as Python 2 and numpy 1 wrote them
    np.dtype: ("numpy", "dtype"),
    np.ndarray: ("numpy", "ndarray"),
    scipy.sparse.csr_matrix: ("scipy.sparse.csr", "csr_matrix"),
    defaultdict: ("collections", "defaultdict"),
    list: ("__builtin__", "list"),
}


PythonPickler: Any = pickle._Pickler  # in Python, so that what it writes can be changed


class Python2Pickler(PythonPickler):  # type: ignore[misc]  # its base is Any
    """Writes pickles as Python 2 did: bytes are texts, data types have 0 and 1, and modules their old names."""

    dispatch: ClassVar[dict[type, Any]] = dict(PythonPickler.dispatch)

    def save_bytes(self, data: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(data)

    dispatch[bytes] = save_bytes

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module, name = NAMES.get(obj) or ("numpy.core.multiarray", obj.__name__)
        self.write(f"c{module}\n{name}\n".encode())

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, np.dtype):
            return NotImplemented
        _, (code, _, _), state = cast("Any", obj.__reduce__())
        return np.dtype, (code, 0, 1), state


def pickled(obj: Any) -> bytes:
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(obj)
    return file.getvalue()


KNOWN = np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1], [0, 1, 1, 1]])  # nodes 0 to 4
LATER = np.array([[0, 0, 0, 1], [1, 1, 1, 1], [0, 1, 0, 0]])  # nodes 8, 5 and 6, in the order of test.index
GRAPH = {0: [1, 2, 1], 1: [0], 2: [0, 2], 3: [8], 4: [], 5: [6], 6: [5], 7: [], 8: [3]}  # node 7 is a gap
SUBJECTS = {"y": [0, 1], "ally": [0, 1, 1, 0, 1], "ty": [1, 0, 0]}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with files of nine nodes for both datasets, whose digests and numbers of nodes are the published ones."""
    folder = tmp_path / "planetoid"
    folder.mkdir()
    contents = {
        **{name: pickled(np.eye(2, dtype=np.int32)[labels]) for name, labels in SUBJECTS.items()},
        **{
            name: pickled(scipy.sparse.csr_matrix(words.astype(np.float32)))
            for name, words in (("allx", KNOWN), ("tx", LATER))
        },
        "graph": pickled(defaultdict(list, GRAPH)),
        "test.index": b"8\n5\n6\n",
    }
    for name, table in (("cora", CORA_SHA256), ("citeseer", CITESEER_SHA256)):
        for end, content in contents.items():
            (folder / f"ind.{name}.{end}").write_bytes(content)
            monkeypatch.setitem(table, end, hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(planetoid, "NUM_VALIDATION", 3)
    monkeypatch.setattr(planetoid, "NUM_TEST", 3)
    return tmp_path


def nodes_of(split: Split) -> Nodes:
    assert isinstance(split.inputs, Nodes)
    return split.inputs


def test_each_node_has_its_words_divided_by_their_number_and_a_gap_has_none(files: Path) -> None:
    features = nodes_of(Citeseer(files, PlanetoidConfig()).load("train")).features
    expected = [
        [1 / 2, 1 / 2, 0, 0],
        [0, 1, 0, 0],
        [0, 0, 1 / 2, 1 / 2],
        [1 / 2, 0, 0, 1 / 2],
        [0, 1 / 3, 1 / 3, 1 / 3],
    ]
    expected += [[1 / 4] * 4, [0, 1, 0, 0], [0] * 4, [0, 0, 0, 1]]
    torch.testing.assert_close(features, torch.tensor(expected))
    words = nodes_of(Citeseer(files, PlanetoidConfig(normalize_rows=False)).load("train")).features
    assert torch.equal(words, torch.tensor(expected).gt(0).float())


def test_splits_are_the_public_ones_with_the_labels_of_their_own_nodes(files: Path) -> None:
    dataset = Cora(files, PlanetoidConfig())
    splits = {name: dataset.load(name) for name in dataset.spec().splits}
    index = {name: nodes_of(split).index.tolist() for name, split in splits.items()}
    assert index == {"train": [0, 1], "validation": [2, 3, 4], "test": [5, 6, 8]}
    labels = {name: split.labels.tolist() for name, split in splits.items() if split.labels is not None}
    assert labels == {"train": [0, 1], "validation": [1, 0, 1], "test": [0, 0, 1]}


def test_edges_count_once_in_both_directions_and_loops_are_left_out(files: Path) -> None:
    adjacency = nodes_of(Cora(files, PlanetoidConfig()).load("test")).adjacency.to_dense()
    edges = {(i, j) for i, j in adjacency.nonzero().tolist() if i < j}
    assert edges == {(0, 1), (0, 2), (3, 8), (5, 6)}
    assert torch.equal(adjacency, adjacency.T)
    assert set(adjacency.flatten().tolist()) == {0, 1}


def test_all_splits_share_one_graph_that_is_read_once(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Cora(files, PlanetoidConfig())
    first = nodes_of(dataset.load("train"))
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read again"))
    second = nodes_of(dataset.load("test"))
    assert first.features is second.features
    assert first.adjacency is second.adjacency


def test_the_published_counts_need_no_data_and_nodes_that_are_tested_take_part_in_training(tmp_path: Path) -> None:
    cora, citeseer = Cora(tmp_path, PlanetoidConfig()).spec(), Citeseer(tmp_path, PlanetoidConfig()).spec()
    assert (cora.shape, cora.num_classes, cora.kind, cora.transductive) == ((1433,), 7, "nodes", True)
    assert cora.splits == {"train": 140, "validation": 500, "test": 1000}
    assert (citeseer.shape, citeseer.num_classes) == ((3703,), 6)
    assert citeseer.splits == {"train": 120, "validation": 500, "test": 1000}


def test_digests_need_no_data_and_differ(tmp_path: Path) -> None:
    digests = {dataset(tmp_path, PlanetoidConfig()).digest() for dataset in (Cora, Citeseer)}
    assert len(digests) == 2
    assert all(digest.startswith("sha256:") for digest in digests)


@pytest.mark.parametrize("end", sorted(CORA_SHA256))
def test_a_file_with_another_digest_is_refused_before_it_is_unpickled(end: str, files: Path) -> None:
    path = files / "planetoid" / f"ind.cora.{end}"
    path.write_bytes(pickle.dumps(pytest.fail))
    with pytest.raises(DataMissingError, match=rf"{end}: its SHA-256 differs from the published file's, delete it"):
        Cora(files, PlanetoidConfig()).load("train")


def test_the_message_for_missing_files_has_the_path_and_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError) as caught:
        Citeseer(tmp_path, PlanetoidConfig()).load("train")
    for part in (str(tmp_path / "planetoid" / "ind.citeseer."), "does not exist", "--download", "--data-root"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("numpy", "load"), ("scipy.sparse.csr", "os"), ("_codecs", "encode")],
)
def test_a_pickle_with_any_other_name_is_refused(
    module: str, name: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = f"c{module}\n{name}\n(S'true'\ntR.".encode()
    (files / "planetoid" / "ind.cora.graph").write_bytes(content)
    monkeypatch.setitem(CORA_SHA256, "graph", hashlib.sha256(content).hexdigest())
    with pytest.raises(pickle.UnpicklingError, match=f"{module}.{name} is none of the names"):
        Cora(files, PlanetoidConfig()).load("train")


def test_missing_files_are_downloaded_and_all_are_checked(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = files / "planetoid" / "ind.cora.tx"
    content, urls = lost.read_bytes(), []
    lost.unlink()

    def fetch(url: str, folder: str) -> None:
        urls.append(url)
        lost.write_bytes(content if len(urls) == 2 else b"an error page")

    monkeypatch.setattr(utils, "download_url", fetch)
    with pytest.raises(DataMissingError, match=r"ind\.cora\.tx: its SHA-256 differs"):
        Cora(files, PlanetoidConfig()).download()
    lost.unlink()
    Cora(files, PlanetoidConfig()).download()
    assert urls == ["https://raw.githubusercontent.com/kimiyoung/planetoid/master/data/ind.cora.tx"] * 2


def test_a_failed_download_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str, folder: str) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(utils, "download_url", fetch)
    with pytest.raises(DataMissingError, match=r"cora: .*cannot be fetched \(no route to host\)"):
        Cora(tmp_path, PlanetoidConfig()).download()


def test_both_are_registered() -> None:
    assert bench_datasets() == {"cora": Cora, "citeseer": Citeseer}
