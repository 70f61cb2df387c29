from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec
from bench_core.data import Graphs, NodeMap
from bench_core.data.made import made_split
from bench_encoders.gin import GIN, GINConfig, GINLayer, bench_encoders

DATA = DataSpec(shape=(5,), splits={"train": 4}, kind="graphs")


def graphs(count: int = 4, seed: int = 1) -> Graphs:
    inputs = made_split(DATA, count, seed).inputs
    assert isinstance(inputs, Graphs)
    return inputs


def build(**config: Any) -> GIN:
    """Encoder with seeded weights, whose batch norms have statistics and factors of their own."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        encoder = GIN(DATA, GINConfig(**{"width": 6, "layers": 3, **config}))
        encoder(graphs(9, seed=2))
        for parameter in encoder.parameters():
            if parameter.ndim < 2:
                torch.nn.init.uniform_(parameter, 0.2, 1)
    return encoder.eval()


def slowly(encoder: GIN, inputs: Graphs) -> Tensor:
    """Features by sums over neighbours in a dense matrix, one node and one graph after the other."""
    count = len(inputs.features)
    adjacency = torch.zeros(count, count)
    for source, target in inputs.edges.T.tolist():
        adjacency[target, source] = 1
    x, all_layers = inputs.features, []
    for layer in encoder.layers:
        assert isinstance(layer, GINLayer)
        rows = []
        for i in range(count):
            total = (1 + layer.eps) * x[i]
            for j in range(count):
                total = total + adjacency[i, j] * x[j]
            hidden = (layer.first.weight @ total + layer.first.bias).clamp(min=0)
            hidden = (layer.second.weight @ hidden + layer.second.bias).clamp(min=0)
            norm = layer.norm
            assert norm.running_mean is not None
            assert norm.running_var is not None
            rows.append((hidden - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias)
        x = torch.stack(rows)
        all_layers.append(x)
    nodes = torch.cat(all_layers, 1)
    sums = [sum(nodes[v] for v in range(count) if int(inputs.graph[v]) == n) for n in range(len(inputs))]
    return torch.stack(sums)  # type: ignore[arg-type]  # each graph has a node


@pytest.mark.parametrize("learn_eps", [False, True])
def test_features_equal_sums_over_neighbours_and_then_over_nodes(learn_eps: bool) -> None:
    encoder, inputs = build(learn_eps=learn_eps), graphs()
    torch.testing.assert_close(encoder(inputs), slowly(encoder, inputs), rtol=1e-4, atol=1e-4)


def test_a_layer_by_hand() -> None:
    layer = GINLayer(1, 1, learn_eps=False).eval()
    with torch.no_grad():
        for linear, weight in ((layer.first, 2.0), (layer.second, 3.0)):
            linear.weight.fill_(weight)
    path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])  # sums with neighbours: 1 + 10, 1 + 10 + 100, 10 + 100
    vectors = layer(torch.tensor([[1.0], [10.0], [100.0]]), path)
    torch.testing.assert_close(vectors * (1 + 1e-5) ** 0.5, 6 * torch.tensor([[11.0], [111.0], [110.0]]))


def test_the_order_of_nodes_and_edges_within_a_graph_does_not_matter() -> None:
    encoder, inputs = build(), graphs(1)
    count, rng = len(inputs.features), torch.Generator().manual_seed(3)
    order, edges = torch.randperm(count, generator=rng), torch.randperm(inputs.edges.shape[1], generator=rng)
    place = order.argsort()
    same = Graphs(inputs.features[order], place[inputs.edges][:, edges], inputs.graph, 1)
    assert not torch.equal(same.features, inputs.features)
    torch.testing.assert_close(encoder(same), encoder(inputs))


def test_features_of_a_graph_do_not_depend_on_the_graphs_beside_it() -> None:
    encoder, inputs = build(), graphs()
    chosen = torch.tensor([2, 0, 2])
    torch.testing.assert_close(encoder(inputs.select(chosen)), encoder(inputs)[chosen])


def test_two_graphs_that_averages_confuse_have_different_features() -> None:
    encoder = build()
    short, long = (
        Graphs(torch.ones(n, 5), torch.empty(2, 0, dtype=torch.int64), torch.zeros(n).long(), 1) for n in (1, 2)
    )
    torch.testing.assert_close(encoder(long), 2 * encoder(short))
    assert float(encoder(short).detach().abs().max()) > 0.1


def test_maps_are_node_vectors_of_each_layer_and_of_all() -> None:
    encoder, inputs = build(), graphs()
    features, maps = encoder.features_and_maps(inputs)
    assert list(maps) == ["layer1", "layer2", "layer3", "nodes"]
    assert all(isinstance(each, NodeMap) and torch.equal(each.graph, inputs.graph) for each in maps.values())
    assert torch.equal(maps["nodes"].values, torch.cat([maps[f"layer{k}"].values for k in (1, 2, 3)], 1))
    assert encoder.dim == features.shape[1] == 18


def test_a_node_sees_as_many_edges_far_as_there_are_layers() -> None:
    encoder = build(layers=2)
    path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
    features = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    features.requires_grad_()
    vectors = encoder.maps(Graphs(features, path, torch.zeros(4).long(), 1))["nodes"].values
    (slope,) = torch.autograd.grad(vectors[0].sum(), features)
    assert [bool(row.any()) for row in slope] == [True, True, True, False]


def test_weights_start_as_in_infographs_code() -> None:
    layer = GINLayer(100, 50, learn_eps=False)
    limit = (6 / 150) ** 0.5
    assert 0.95 * limit < float(layer.first.weight.detach().abs().max()) <= limit
    assert not layer.first.bias.any()


def test_a_network_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="layers must be >= 1, got 0"):
        GINConfig(layers=0)


def test_it_reads_graphs_and_is_registered() -> None:
    assert GIN.kinds == {"graphs"}
    assert bench_encoders() == {"gin": GIN}
