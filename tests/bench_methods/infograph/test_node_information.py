import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import DataSpec
from bench_core.data import NodeMap
from bench_core.errors import BenchError
from bench_encoders.gin import GIN, GINConfig
from bench_methods.dim.local_information import local_jsd
from bench_methods.infograph.node_information import (
    Critic,
    Residual,
    graphs_skip_reason,
    node_channels,
    node_jsd,
    node_map,
)

GRAPH = torch.tensor([0, 0, 0, 1, 2, 2])


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_estimate_equals_means_over_nodes_and_over_nodes_with_other_graphs() -> None:
    scores, own, others = draw(6, 3), 0.0, 0.0
    for node in range(6):
        for graph in range(3):
            score = float(scores[node, graph])
            if graph == GRAPH[node]:
                own += (math.log(2) - math.log(1 + math.exp(-score))) / 6
            else:
                others += (math.log(1 + math.exp(score)) - math.log(2)) / (6 * 2)
    assert node_jsd(scores, GRAPH).item() == pytest.approx(own - others, rel=1e-5)


def test_scores_masked_by_0_give_the_same_sums() -> None:
    scores = draw(6, 3)
    own = F.one_hot(GRAPH, 3)
    positive = (math.log(2) - F.softplus(-scores * own)).sum() / 6
    negative = (F.softplus(scores * (1 - own)) - math.log(2)).sum() / (6 * 2)
    torch.testing.assert_close(node_jsd(scores, GRAPH), positive - negative)


def test_it_is_the_local_estimate_of_deep_infomax_where_all_graphs_have_equally_many_nodes() -> None:
    images, locations = 4, 9  # a map of 3 x 3 locations
    scores = draw(images, images, locations)  # summary of image a, location i of image b
    of_nodes = scores.permute(1, 2, 0).flatten(0, 1)
    graph = torch.arange(images).repeat_interleave(locations)
    torch.testing.assert_close(node_jsd(of_nodes, graph), local_jsd(scores))


def test_values_by_hand() -> None:
    graph = torch.tensor([0, 1])
    assert node_jsd(torch.zeros(2, 2), graph).item() == pytest.approx(0, abs=1e-6)
    sure = torch.tensor([[50.0, -50.0], [-50.0, 50.0]])
    assert node_jsd(sure, graph).item() == pytest.approx(2 * math.log(2))
    assert node_jsd(-sure, graph).item() == pytest.approx(2 * math.log(2) - 100)


def test_the_order_of_nodes_and_of_graphs_does_not_matter() -> None:
    scores, nodes, graphs = draw(6, 3), torch.tensor([5, 2, 0, 4, 1, 3]), torch.tensor([2, 0, 1])
    moved = node_jsd(scores[nodes][:, graphs], graphs.argsort()[GRAPH[nodes]])
    torch.testing.assert_close(moved, node_jsd(scores, GRAPH))


def test_a_batch_of_one_graph_is_refused() -> None:
    with pytest.raises(BenchError, match=r"which has 1; set recipe\.batch_size to 2 or more"):
        node_jsd(torch.zeros(4, 1), torch.zeros(4, dtype=torch.int64))


def test_a_residual_network_adds_three_layers_with_relu_to_a_shortcut() -> None:
    network, rows = Residual(5, 4), draw(7, 5)
    expected = []
    for row in rows:
        hidden = row
        for layer in network.layers:
            assert isinstance(layer, torch.nn.Linear)
            hidden = (layer.weight @ hidden + layer.bias).clamp(min=0)
        expected.append(hidden + network.shortcut.weight @ row + network.shortcut.bias)
    torch.testing.assert_close(network(rows), torch.stack(expected))


def test_a_score_is_the_inner_product_of_what_both_networks_return() -> None:
    critic, first, second = Critic(5, 3, 4), draw(6, 5), draw(2, 3)
    scores = critic(first, second)
    assert scores.shape == (6, 2)
    torch.testing.assert_close(scores[4, 1], critic.first(first)[4] @ critic.second(second)[1])


def test_scores_are_float32_under_autocast() -> None:
    critic = Critic(5, 3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert critic(draw(6, 5), draw(2, 3)).dtype == torch.float32


def test_channels_are_those_of_the_last_map_and_counting_them_changes_nothing() -> None:
    data = DataSpec(shape=(5,), splits={"train": 4}, kind="graphs")
    encoder = GIN(data, GINConfig(width=6, layers=2)).train()
    before, state = {k: v.clone() for k, v in encoder.state_dict().items()}, torch.get_rng_state()
    assert node_channels(encoder, data) == 12
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert encoder.training


def test_the_last_map_is_read() -> None:
    maps = {name: NodeMap(draw(6, width), GRAPH) for name, width in (("layer1", 2), ("nodes", 3))}
    assert node_map(maps) is maps["nodes"]


@pytest.mark.parametrize(
    ("kind", "count", "reason"),
    [("graphs", 2, None), ("graphs", 1, "needs two graphs or more"), ("nodes", 9, "needs graphs")],
)
def test_other_data_and_single_graphs_are_skipped_with_a_reason(kind: str, count: int, reason: str | None) -> None:
    assert graphs_skip_reason(DataSpec(shape=(5,), splits={"train": count}, kind=kind)) == reason
