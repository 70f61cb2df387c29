import math
from typing import Any

import pytest
import torch

from bench_core import Batch, DataSpec, NoConfig
from bench_methods.infograph.node_information import node_jsd
from bench_methods.infograph.objective import InfoGraph, bench_objectives
from bench_methods.infograph.semi_supervised import InfoGraphSemi


def loss_of(method: Any, graphs: Any) -> Any:
    return method(graphs).total


def test_the_loss_is_minus_the_information_of_nodes_and_sums_over_nodes(make: Any, batch: Batch, rng: Any) -> None:
    method = make(InfoGraph).eval()
    loss = method(method.make_views(batch, rng))
    nodes = method.encoder.maps(batch.inputs)["nodes"].values
    sums = torch.stack([nodes[batch.inputs.graph == graph].sum(0) for graph in range(30)])
    scores = method.critic.first(nodes) @ method.critic.second(sums).T
    torch.testing.assert_close(loss.total, -node_jsd(scores, batch.inputs.graph))
    assert loss.parts["jsd"].item() == -loss.total.item()
    assert loss.ceilings == {"jsd": pytest.approx(2 * math.log(2))}


def test_gradients_reach_the_encoder_and_both_networks(make: Any, batch: Batch, rng: Any) -> None:
    method = make(InfoGraph)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    assert all(bool(p.grad.any()) for name, p in method.named_parameters() if name.endswith("weight"))


def test_the_order_of_graphs_in_a_batch_does_not_matter(make: Any, batch: Batch) -> None:
    method = make(InfoGraph).eval()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loss_of(method, batch.inputs.select(order)), loss_of(method, batch.inputs))


def test_training_finds_information(make: Any, batch: Batch) -> None:
    method = make(InfoGraph)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    for _ in range(60):
        loss = loss_of(method, batch.inputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < -0.3  # all scores of 0 give 0; the least is -2 log 2


def test_features_are_those_of_the_encoder(make: Any, batch: Batch) -> None:
    method = make(InfoGraph).eval()
    assert torch.equal(method.embed(batch.inputs)["features"], method.encoder(batch.inputs))


def test_other_data_than_graphs_are_skipped() -> None:
    assert InfoGraph.skip_reason(DataSpec(shape=(1, 8, 8), splits={"train": 5}), NoConfig()) == "needs graphs"


def test_the_recipe_is_that_of_the_code() -> None:
    recipe = InfoGraph.recipe
    assert (recipe.optimizer, recipe.learning_rate, recipe.epochs, recipe.batch_size) == ("adam", 1e-3, 20, 128)
    assert (recipe.schedule, recipe.weight_decay) == ("constant", 0)


def test_both_methods_are_registered() -> None:
    assert bench_objectives() == {"infograph": InfoGraph, "infograph_semi": InfoGraphSemi}
