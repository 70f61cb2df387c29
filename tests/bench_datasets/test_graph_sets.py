import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench_core.data import Graphs, stratified_folds
from bench_core.data.split_faults import split_fault
from bench_core.errors import DataMissingError, RequestError
from bench_datasets import graph_sets
from bench_datasets.graph_sets import GraphSetConfig, bench_datasets, parse

# A path of three nodes, a triangle whose edge 0-1 stands in one line only, and a node that is joined to one other.
TEXT = """3
3 7
4 1 1
9 2 0 2
4 1 1
3 2
4 2 1 2
4 1 2
5 2 0 1
2 7
9 1 1
9 1 0
"""


def write(folder: Path, monkeypatch: pytest.MonkeyPatch, graphs: int = 3, text: str = TEXT) -> None:
    """Write a small file in the place of each published one, and let the datasets trust it."""
    (folder / "graph_sets").mkdir(exist_ok=True)
    for name in ("_MUTAG", "_PTC", "_PROTEINS", "_NCI1", "_IMDB_BINARY", "_IMDB_MULTI"):
        facts = getattr(graph_sets, name)
        (folder / "graph_sets" / facts.file).write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        small = replace(facts, sha256=digest, graphs=graphs, tags=3, most_neighbours=2)
        monkeypatch.setattr(graph_sets, name, small)


def test_a_file_is_read_node_by_node() -> None:
    parsed = parse(TEXT)
    assert parsed.tags.tolist() == [4, 9, 4, 4, 4, 5, 9, 9]
    assert parsed.graph.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert parsed.labels.tolist() == [7, 2, 7]


def test_an_edge_of_one_line_counts_in_both_directions_and_none_counts_twice() -> None:
    pairs = [(0, 1), (1, 0), (1, 2), (2, 1), (3, 4), (3, 5), (4, 3), (4, 5), (5, 3), (5, 4), (6, 7), (7, 6)]
    assert [tuple(edge) for edge in parse(TEXT).edges.T.tolist()] == pairs


def test_features_are_tags_one_hot_and_labels_are_counted_from_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, monkeypatch)
    split = graph_sets.MUTAG(tmp_path, GraphSetConfig()).load("train")
    assert isinstance(split.inputs, Graphs)
    assert split.inputs.features.argmax(1).tolist() == [0, 2, 0, 0, 0, 1, 2, 2]
    assert bool((split.inputs.features.sum(1) == 1).all())
    assert split.labels is not None
    assert split.labels.tolist() == [1, 0, 1]


def test_features_may_be_the_number_of_neighbours_one_hot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, monkeypatch)
    dataset = graph_sets.IMDBBinary(tmp_path, GraphSetConfig(features="degree"))
    split = dataset.load("train")
    assert isinstance(split.inputs, Graphs)
    assert split.inputs.features.argmax(1).tolist() == [1, 2, 1, 2, 2, 2, 1, 1]
    assert dataset.spec().shape == (3,)


@pytest.mark.parametrize("name", ["mutag", "ptc", "imdb_binary", "imdb_multi", "proteins", "nci1"])
def test_each_set_is_read_from_its_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cls: Any = bench_datasets()[name]
    with pytest.raises(DataMissingError) as caught:
        cls(tmp_path, GraphSetConfig()).load("train")
    for part in (f"{name}: ", name.replace("_", "").upper() + ".txt", "does not exist", "--data-root"):
        assert part in str(caught.value)
    write(tmp_path, monkeypatch)
    dataset = cls(tmp_path, GraphSetConfig())
    assert split_fault(dataset.load("train"), dataset.spec(), "train") is None
    assert dataset.spec().kind == "graphs"


def test_the_ten_folds_test_each_graph_once_and_train_on_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = [f"1 {number % 2}\n{number % 3} 0" for number in range(23)]
    write(tmp_path, monkeypatch, 23, "\n".join(["23", *graphs]))
    whole = graph_sets.PTC(tmp_path, GraphSetConfig()).load("train")
    assert whole.labels is not None
    folds = stratified_folds(whole.labels)
    for fold in range(10):
        dataset = graph_sets.PTC(tmp_path, GraphSetConfig(fold=fold))
        for name, chosen in (("train", folds != fold), ("test", folds == fold)):
            split = dataset.load(name)
            assert split_fault(split, dataset.spec(), name) is None
            assert isinstance(split.inputs, Graphs)
            assert isinstance(whole.inputs, Graphs)
            assert torch.equal(split.inputs.features, whole.inputs.features[chosen])  # a node for each graph


def test_all_graphs_are_one_transductive_split_with_ten_folds_unless_a_fold_is_chosen() -> None:
    whole, part = (graph_sets.MUTAG(Path(), GraphSetConfig(fold=fold)).spec() for fold in (None, 9))
    assert (whole.splits, whole.transductive, whole.folds) == ({"train": 188}, True, 10)
    assert (part.splits, part.transductive, part.folds) == ({"train": 170, "test": 18}, False, None)


def test_the_digest_is_known_and_depends_on_no_parameter() -> None:
    digests = {graph_sets.MUTAG(Path(), config).digest() for config in (GraphSetConfig(), GraphSetConfig(fold=3))}
    assert digests == {"sha256:84a0489f33dce9ca6fac346eef789452db277ff01691a45d52c32def5d13b32d"}
    assert len({cls(Path(), GraphSetConfig()).digest() for cls in bench_datasets().values()}) == 6


def test_another_file_than_the_published_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "graph_sets").mkdir()
    (tmp_path / "graph_sets" / "MUTAG.txt").write_text(TEXT)
    with pytest.raises(DataMissingError, match=r"mutag: .*MUTAG.txt: its SHA-256 differs from the published file's"):
        graph_sets.MUTAG(tmp_path, GraphSetConfig()).load("train")


def test_a_split_that_is_not_there_is_refused() -> None:
    with pytest.raises(RequestError, match=r"mutag: no split named 'test'; there are: train\."):
        graph_sets.MUTAG(Path(), GraphSetConfig()).load("test")


def test_an_eleventh_fold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"fold must be in \[0, 10\), got 10"):
        GraphSetConfig(fold=10)
