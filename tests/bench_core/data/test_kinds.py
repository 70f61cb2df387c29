"""Nodes, graphs and pairs: parts, joins and devices, each against a loop that is written slowly."""

import pytest
import torch
from torch import Tensor

from bench_core.data import Graphs, Nodes, Pair, join, select
from bench_core.data.kinds import as_float, num_bytes


def graphs_of(sizes: list[int], seed: int = 0) -> Graphs:
    """Make graphs of these sizes whose nodes are numbered, with a ring of edges in each."""
    rng = torch.Generator().manual_seed(seed)
    edges, start = [], 0
    for size in sizes:
        for node in range(size if size > 1 else 0):
            edges.append((start + node, start + (node + 1) % size))
        start += size
    graph = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    features = torch.rand(start, 3, generator=rng)
    return Graphs(features, torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T, graph, len(sizes))


def alone(graphs: Graphs, number: int) -> tuple[list[list[float]], list[list[int]]]:
    """Return features and edges of one graph, its nodes counted from 0; written slowly."""
    nodes = [node for node in range(len(graphs.features)) if int(graphs.graph[node]) == number]
    edges = [
        [nodes.index(int(a)), nodes.index(int(b))] for a, b in graphs.edges.T.tolist() if int(graphs.graph[a]) == number
    ]
    return graphs.features[nodes].tolist(), edges


@pytest.mark.parametrize("index", [[0], [2, 0], [3, 3, 1], [], [4, 2, 1, 0, 3]])
def test_selected_graphs_are_the_graphs_one_by_one(index: list[int]) -> None:
    graphs = graphs_of([3, 1, 4, 2, 0])
    part = graphs.select(torch.tensor(index, dtype=torch.int64))
    assert len(part) == len(index)
    assert part.graph.tolist() == sorted(part.graph.tolist())
    assert [alone(part, k) for k in range(len(index))] == [alone(graphs, number) for number in index]


def test_joined_graphs_are_selected_back() -> None:
    first, second = graphs_of([2, 3], 1), graphs_of([1, 4], 2)
    joined = join([first, second])
    assert len(joined) == 4
    assert [alone(joined, k) for k in range(4)] == [alone(g, k) for g in (first, second) for k in range(2)]


def nodes_of(index: list[int]) -> Nodes:
    return Nodes.from_edges(torch.eye(3), torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), torch.tensor(index))


def test_edges_become_a_symmetric_adjacency_without_loops() -> None:
    nodes = Nodes.from_edges(torch.eye(3), torch.tensor([[0, 1, 2, 2], [1, 0, 2, 1]]), torch.arange(3))
    assert nodes.adjacency.to_dense().tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_selected_nodes_keep_the_whole_graph() -> None:
    nodes = nodes_of([2, 0])
    part = nodes.select(torch.tensor([1]))
    assert part.index.tolist() == [0]
    assert part.features is nodes.features
    assert part.adjacency is nodes.adjacency
    assert part.all_nodes().index.tolist() == [0, 1, 2]


def test_nodes_of_one_graph_are_joined_and_those_of_two_are_refused() -> None:
    nodes = nodes_of([2, 0])
    assert join([nodes, nodes.select(torch.tensor([1]))]).index.tolist() == [2, 0, 0]
    with pytest.raises(ValueError, match="different graphs"):
        join([nodes, nodes_of([1])])


def test_pairs_keep_their_partners() -> None:
    pairs = Pair(torch.arange(4), graphs_of([1, 2, 3, 4]))
    part = pairs.select(torch.tensor([3, 1]))
    assert part.first.tolist() == [3, 1]
    assert torch.bincount(part.second.graph).tolist() == [4, 2]
    assert len(join([part, pairs])) == 6


def test_items_move_with_all_their_tensors() -> None:
    pairs = Pair(torch.arange(4), graphs_of([1, 2, 3, 4]))
    moved = pairs.to("meta")
    assert {moved.first.device.type, moved.second.features.device.type, moved.second.edges.device.type} == {"meta"}


def test_floats_of_pairs_are_made_on_both_sides() -> None:
    images = torch.tensor([[255, 51]], dtype=torch.uint8)
    pair = as_float(Pair(images, torch.tensor([[7.0]])))
    assert pair.first.tolist() == [[1.0, pytest.approx(0.2)]]
    assert pair.second.tolist() == [[7.0]]
    graphs = graphs_of([2])
    assert as_float(graphs) is graphs


def test_bytes_are_those_of_all_tensors() -> None:
    pair = Pair(torch.zeros(4, dtype=torch.uint8), graphs_of([2, 2]))
    assert num_bytes(pair) == 4 + 4 * 3 * 4 + 2 * 4 * 8 + 4 * 8
    assert num_bytes(object()) == 0


def test_a_selected_tensor_is_a_copy() -> None:
    values = torch.arange(3)
    part: Tensor = select(values, torch.tensor([1]))
    part += 10
    assert values.tolist() == [0, 1, 2]
