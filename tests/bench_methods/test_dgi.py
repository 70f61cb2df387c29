import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Encoder
from bench_core.data import Nodes
from bench_methods.dgi import DGI, Critic, DGIConfig, GraphViews, bench_objectives

DATA = DataSpec(shape=(30,), splits={"train": 10, "test": 20}, kind="nodes", transductive=True)


class NeighbourSums(Encoder):
    """One layer: sums over a node and its neighbours, then a linear map and PReLU."""

    dim = 16

    def __init__(self, data: DataSpec, config: Any = None) -> None:
        nn.Module.__init__(self)
        self.linear, self.activation = nn.Linear(data.shape[0], self.dim), nn.PReLU()

    def forward(self, inputs: Nodes) -> Tensor:
        sums = inputs.adjacency @ inputs.features + inputs.features
        features: Tensor = self.activation(self.linear(sums))[inputs.index]
        return features

    def maps(self, inputs: Nodes) -> dict[str, Tensor]:
        return {}


def two_groups() -> Nodes:
    """60 nodes of two groups; edges stay within a group, and each group has words of its own."""
    rng = torch.Generator().manual_seed(0)
    group = torch.arange(60) % 2
    words = torch.rand(60, 30, generator=rng) < torch.where(torch.arange(30) % 2 == group[:, None], 0.4, 0.02)
    edges = torch.randint(0, 60, (2, 400), generator=rng)
    return Nodes.from_edges(words.float(), edges[:, group[edges[0]] == group[edges[1]]], torch.arange(10))


def build(seed: int = 0, **config: Any) -> DGI:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return DGI(NeighbourSums(DATA), DATA, DGIConfig(**config))


def views_of(method: DGI, seed: int = 0) -> GraphViews:
    nodes = two_groups()
    return method.make_views(Batch(nodes, torch.arange(10)), torch.Generator().manual_seed(seed))


def test_the_loss_equals_its_formula_node_by_node() -> None:
    method = build()
    views = views_of(method)
    nodes, corrupted = (method.encoder(graph) for graph in views)
    summary = [1 / (1 + math.exp(-sum(nodes[:, d].tolist()) / 60)) for d in range(16)]
    weight, total, right = method.critic.weight.tolist(), 0.0, 0
    for rows, real in ((nodes, 1), (corrupted, 0)):
        for h in rows.tolist():
            score = method.critic.bias.item()
            for a in range(16):
                for b in range(16):
                    score += h[a] * weight[a][b] * summary[b]
            probability = 1 / (1 + math.exp(-score))
            total -= math.log(probability if real else 1 - probability) / 120
            right += (score > 0) == (real == 1)
    loss = method(views)
    assert loss.total.item() == pytest.approx(total, rel=1e-5)
    assert float(loss.parts["accuracy"]) == pytest.approx(right / 120)


def test_the_critic_agrees_with_torchs_bilinear_layer() -> None:
    torch_layer, critic = nn.Bilinear(16, 16, 1), Critic(16)
    with torch.no_grad():
        critic.weight.copy_(torch_layer.weight[0])
        critic.bias.copy_(torch_layer.bias[0])
    nodes, summary = torch.randn(5, 16), torch.randn(16)
    torch.testing.assert_close(critic(nodes, summary), torch_layer(nodes, summary.expand(5, -1))[:, 0])


def test_scores_of_0_give_log_2() -> None:
    method = build()
    nn.init.zeros_(method.critic.weight)
    assert method(views_of(method)).total.item() == pytest.approx(math.log(2))


def test_the_loss_of_a_new_method_is_about_log_2_where_rows_of_features_sum_to_1() -> None:
    def normalized(nodes: Nodes) -> Nodes:
        return replace(nodes, features=nodes.features / nodes.features.sum(1, keepdim=True))

    for method in map(build, range(5)):
        views = GraphViews(*map(normalized, views_of(method)))
        assert method(views).total.item() == pytest.approx(math.log(2), abs=0.02)


def test_without_shuffling_no_critic_gets_below_log_2() -> None:
    method, nodes = build(), two_groups().all_nodes()
    for seed in range(3):
        nn.init.normal_(method.critic.weight, generator=torch.Generator().manual_seed(seed))
        assert method(GraphViews(nodes, nodes)).total.item() >= math.log(2) - 1e-6


def test_training_tells_nodes_from_shuffled_ones() -> None:
    method, rng = build(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    batch = Batch(two_groups(), torch.arange(10))
    for _ in range(60):
        optimizer.zero_grad()
        loss = method(method.make_views(batch, rng))
        loss.total.backward()
        optimizer.step()
    assert loss.total.item() < 0.5 * math.log(2)
    assert float(loss.parts["accuracy"]) > 0.8


def test_only_rows_of_features_are_shuffled_and_anew_each_time() -> None:
    method, nodes = build(), two_groups()
    rng = torch.Generator().manual_seed(0)
    first, second = (method.make_views(Batch(nodes, torch.arange(10)), rng) for _ in range(2))
    for views in (first, second):
        assert torch.equal(views.graph.features, nodes.features)
        assert views.corrupted.adjacency is views.graph.adjacency is nodes.adjacency
        assert sorted(views.corrupted.features.tolist()) == sorted(nodes.features.tolist())
        assert not torch.equal(views.corrupted.features, nodes.features)
        assert len(views.graph) == len(views.corrupted) == 60
    assert not torch.equal(first.corrupted.features, second.corrupted.features)


def test_the_loss_does_not_depend_on_the_order_of_nodes() -> None:
    method = build()
    graph, corrupted = views_of(method)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(2))

    def renamed(nodes: Nodes) -> Nodes:
        edges = order.argsort()[nodes.adjacency.indices()]
        return Nodes.from_edges(nodes.features[order], edges, torch.arange(60))

    ours, theirs = method(GraphViews(graph, corrupted)), method(GraphViews(renamed(graph), renamed(corrupted)))
    torch.testing.assert_close(theirs.total, ours.total)


def test_nodes_outside_train_take_part_and_labels_do_not() -> None:
    method = build()
    views = views_of(method)
    moved = replace(views.graph, features=views.graph.features.clone())
    moved.features[59] += 1  # in no item of the batch
    assert method(GraphViews(moved, views.corrupted)).total.item() != method(views).total.item()
    assert method.uses_labels is False


def test_the_training_keeps_the_least_loss_and_its_patience_is_a_parameter() -> None:
    assert (DGI.keeps, build().patience, build(patience=7).patience) == ("least_loss", 20, 7)
    assert (DGI.recipe.optimizer, DGI.recipe.learning_rate, DGI.recipe.schedule) == ("adam", 1e-3, "constant")
    assert (DGI.recipe.weight_decay, DGI.recipe.epochs) == (0, 300)


@pytest.mark.parametrize(("kind", "shape"), [("image", (1, 8, 8)), ("graphs", (4,)), ("vector", (4,))])
def test_other_data_than_nodes_are_skipped_with_a_reason(kind: str, shape: tuple[int, ...]) -> None:
    reason: Callable[..., str | None] = DGI.skip_reason
    assert reason(DataSpec(shape=shape, splits={"train": 1}, kind=kind), DGIConfig()) == "needs the nodes of one graph"
    assert reason(DATA, DGIConfig()) is None


def test_a_patience_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="patience must be >= 1, got 0"):
        DGIConfig(patience=0)


def test_it_is_registered() -> None:
    assert bench_objectives() == {"dgi": DGI}
