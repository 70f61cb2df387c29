"""Made items have the form of a dataset's items of their kind."""

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec
from bench_core.data import Graphs, Nodes, Pair
from bench_core.data.made import made_split
from bench_core.errors import CheckError

SPLITS = {"train": 5}
IMAGE = DataSpec(shape=(4, 6, 5), splits=SPLITS, num_labels=3)
VECTOR = DataSpec(shape=(7,), splits=SPLITS, num_classes=3, factors={"a": 2, "b": 3})
GRAPHS = DataSpec(shape=(2,), splits=SPLITS, kind="graphs")


def test_images_and_vectors_have_the_described_shape() -> None:
    images = made_split(IMAGE, 5)
    assert isinstance(images.inputs, Tensor)
    assert images.inputs.dtype == torch.uint8
    assert images.inputs.shape == (5, 4, 6, 5)
    assert images.labels is not None
    assert images.labels.shape == (5, 3)
    vectors = made_split(VECTOR, 5)
    assert isinstance(vectors.inputs, Tensor)
    assert vectors.inputs.shape == (5, 7)
    assert vectors.labels is not None
    assert vectors.labels.tolist() == [0, 1, 2, 0, 1]
    assert vectors.factors is not None
    assert vectors.factors.tolist() == [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2]]


def test_nodes_lie_in_a_symmetric_graph_without_loops() -> None:
    nodes = made_split(DataSpec(shape=(2,), splits=SPLITS, kind="nodes"), 9).inputs
    assert isinstance(nodes, Nodes)
    dense = nodes.adjacency.to_dense()
    assert torch.equal(dense, dense.T)
    assert dense.diagonal().tolist() == [0] * 9
    assert set(dense.flatten().tolist()) <= {0.0, 1.0}
    assert nodes.features.shape == (9, 2)


def test_edges_of_graphs_stay_within_their_graph() -> None:
    graphs = made_split(GRAPHS, 6).inputs
    assert isinstance(graphs, Graphs)
    assert len(graphs) == 6
    source, target = graphs.graph[graphs.edges]
    assert torch.equal(source, target)
    assert source.tolist() == sorted(source.tolist())


def test_pairs_have_two_kinds() -> None:
    spec = DataSpec(shape=(), splits=SPLITS, kind="pairs", modalities={"image": IMAGE, "graph": GRAPHS})
    pairs = made_split(spec, 4).inputs
    assert isinstance(pairs, Pair)
    assert pairs.first.shape == (4, 4, 6, 5)
    assert len(pairs.second) == 4


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(CheckError, match=r"'sound'.*example"):
        made_split(DataSpec(shape=(2,), splits=SPLITS, kind="sound"), 4)
