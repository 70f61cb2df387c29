import pytest
import torch
from torch import Tensor

from bench_core import DataSpec
from bench_core.data import Nodes
from bench_encoders.gcn import GCN, GCNConfig, GraphConvolution, averaging, bench_encoders

DATA = DataSpec(shape=(5,), splits={"train": 3}, kind="nodes")
COUNT = 9


def graph(*, dense: bool = True, seed: int = 0) -> Nodes:
    """Nine nodes with 15 edges drawn at random; node 8 has none."""
    rng = torch.Generator().manual_seed(seed)
    features = torch.rand(COUNT, 5, generator=rng)
    if not dense:
        features *= torch.rand(COUNT, 5, generator=rng) < 0.07
        assert 0 < features.count_nonzero() < 0.1 * features.numel()
    return Nodes.from_edges(features, torch.randint(0, 8, (2, 15), generator=rng), torch.tensor([4, 8, 0]))


def build(**config: object) -> GCN:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return GCN(DATA, GCNConfig(**{"widths": (6, 4), **config}))  # type: ignore[arg-type]


def layers_of(encoder: GCN) -> list[GraphConvolution]:
    return [layer for layer in encoder.layers.values() if isinstance(layer, GraphConvolution)]


def slowly(encoder: GCN, nodes: Nodes) -> Tensor:
    """All nodes' features, by sums over neighbours, one node after the other."""
    adjacency, x = nodes.adjacency.to_dense(), nodes.features
    degree = adjacency.sum(1) + 1
    for layer in layers_of(encoder):
        rows = []
        for i in range(COUNT):
            total = x[i] / degree[i]
            for j in range(COUNT):
                if adjacency[i, j]:
                    total = total + x[j] / (degree[i] * degree[j]) ** 0.5
            row = total @ layer.weight + layer.bias
            slope = layer.activation.weight if isinstance(layer.activation, torch.nn.PReLU) else 0
            rows.append(torch.where(row > 0, row, slope * row))
        x = torch.stack(rows)
    return x


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("activation", ["prelu", "relu"])
def test_features_equal_sums_over_neighbours_of_features_with_many_zeros_or_few(dense: bool, activation: str) -> None:
    encoder, nodes = build(activation=activation), graph(dense=dense)
    for layer in layers_of(encoder):
        torch.nn.init.normal_(layer.bias)
    torch.testing.assert_close(encoder(nodes), slowly(encoder, nodes)[nodes.index])


def test_averages_by_hand() -> None:
    # Nodes 0 - 1 - 2 in a row, and 3 alone: degrees with loops are 2, 3, 2, 1.
    nodes = Nodes.from_edges(torch.zeros(4, 1), torch.tensor([[0, 1], [1, 2]]), torch.arange(4))
    side = 6**-0.5
    expected = [[1 / 2, side, 0, 0], [side, 1 / 3, side, 0], [0, side, 1 / 2, 0], [0, 0, 0, 1]]
    torch.testing.assert_close(averaging(nodes.adjacency).to_dense(), torch.tensor(expected))


@pytest.mark.parametrize("dense", [True, False])
def test_the_sparse_product_and_a_dense_one_have_the_same_gradient(dense: bool) -> None:
    encoder, nodes = build(), graph(dense=dense)
    encoder(nodes).square().sum().backward()
    gradients = [parameter.grad for parameter in encoder.parameters()]
    encoder.zero_grad()
    torch.autograd.backward(slowly(encoder, nodes)[nodes.index].square().sum())
    for ours, parameter in zip(gradients, encoder.parameters(), strict=True):
        torch.testing.assert_close(ours, parameter.grad)


def test_the_order_of_nodes_does_not_matter() -> None:
    encoder, nodes = build(), graph()
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))
    place = order.argsort()  # of each node in the new order
    renamed = Nodes.from_edges(nodes.features[order], place[nodes.adjacency.indices()], place[nodes.index])
    torch.testing.assert_close(encoder(renamed), encoder(nodes))


def test_only_nodes_within_as_many_steps_as_layers_count() -> None:
    path = Nodes.from_edges(torch.rand(6, 5), torch.stack([torch.arange(5), torch.arange(1, 6)]), torch.arange(6))
    encoder, before = build(), build()(path)
    path.features[0] = 7
    changed = (encoder(path) != before).any(1)
    assert changed.tolist() == [True, True, True, False, False, False]


def test_maps_are_the_layers_outputs_for_the_items_and_the_last_is_the_features() -> None:
    encoder, nodes = build(), graph()
    features, maps = encoder.features_and_maps(nodes)
    assert {name: tuple(node_map.values.shape) for name, node_map in maps.items()} == {"gcn1": (3, 6), "gcn2": (3, 4)}
    assert maps["gcn1"].graph.tolist() == [0, 1, 2]
    assert torch.equal(features, encoder(nodes))
    assert torch.equal(features, maps["gcn2"].values)
    assert torch.equal(features, encoder.maps(nodes)["gcn2"].values)


def test_the_default_is_one_layer_of_512_whose_weights_are_glorots() -> None:
    encoder = GCN(DataSpec(shape=(1433,), splits={"train": 1}, kind="nodes"), GCNConfig())
    assert (encoder.dim, list(encoder.layers), encoder.kinds) == (512, ["gcn1"], frozenset({"nodes"}))
    bound = torch.tensor((6 / (1433 + 512)) ** 0.5).item()  # in float32, as the weights are: they may lie on it
    (layer,) = layers_of(encoder)
    assert bound * 0.99 < layer.weight.abs().max().item() <= bound


def test_dropout_acts_in_training_alone() -> None:
    encoder, nodes = build(dropout=0.5), graph()
    assert not torch.equal(encoder(nodes), encoder(nodes))
    assert torch.equal(encoder.eval()(nodes), build().eval()(nodes))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"widths": ()}, "widths must have at least one number"),
        ({"widths": (4, 0)}, r"widths must each be >= 1, got \(4, 0\)"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)  # fmt: skip
def test_impossible_parameters_are_refused(config: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(**config)


def test_it_is_registered() -> None:
    assert bench_encoders() == {"gcn": GCN}
