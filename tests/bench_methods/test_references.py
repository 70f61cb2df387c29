from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, NoConfig
from bench_core.data import Graphs, Nodes, Pair, open_split, take
from bench_core.data.kinds import as_float
from bench_core.data.made import made_split
from bench_core.training.embed import embed_split
from bench_methods.references import Flat, Pixels, Random, Supervised, SupervisedConfig


@pytest.mark.parametrize("reference", [Random, Pixels])
def test_pixels_and_random_have_no_players(reference: Any, make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(reference, data)
    assert method.players() == []
    assert reference.recipe.epochs == 0
    assert method(method.make_views(batch, rng)).total.item() == 0
    assert not reference.uses_labels


def test_random_embeds_features_of_the_untrained_encoder(make: Any, data: DataSpec, images: Tensor) -> None:
    first, same, another = (make(Random, data, seed=seed).eval().embed(images)["features"] for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.allclose(first, another)


def test_pixels_are_the_flattened_inputs_whatever_the_encoder(make: Any, data: DataSpec, images: Tensor) -> None:
    features = make(Pixels, data).embed(images)["features"]
    assert torch.equal(features, images.reshape(96, 64))


def test_supervised_loss_is_cross_entropy_of_the_augmented_view(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(Supervised, data, augmentation="none").eval()
    views = method.make_views(batch, rng)
    logits = method.head(method.encoder(batch.inputs))
    chosen = logits.log_softmax(1)[torch.arange(12), torch.arange(12) % 10]
    assert torch.allclose(method(views).total, -chosen.mean())
    accuracy = sum(int(row.argmax()) == i % 10 for i, row in enumerate(logits)) / 12
    assert method(views).parts["accuracy"].item() == pytest.approx(accuracy)


def test_supervised_gradients_reach_the_encoder(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(Supervised, data)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_a_zero_head_has_the_loss_log_of_the_number_of_classes(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(Supervised, data)
    torch.nn.init.zeros_(method.head.weight)
    torch.nn.init.zeros_(method.head.bias)
    assert torch.allclose(method(method.make_views(batch, rng)).total, torch.tensor(10.0).log())


def test_only_supervised_says_that_it_uses_labels() -> None:
    assert (Random.uses_labels, Pixels.uses_labels, Supervised.uses_labels) == (False, False, True)


def pairs_of(first: DataSpec, second: DataSpec) -> DataSpec:
    return DataSpec(
        shape=(), splits={"train": 5}, num_classes=2, kind="pairs", modalities={"first": first, "second": second}
    )


VECTORS = DataSpec(shape=(3,), splits={"train": 5}, num_classes=2)
NODES = DataSpec(shape=(3,), splits={"train": 5}, num_classes=2, kind="nodes")
GRAPHS = DataSpec(shape=(3,), splits={"train": 5}, num_classes=2, kind="graphs")
SERIES = DataSpec(shape=(2, 7), splits={"train": 5}, num_classes=2)
PAIRS = pairs_of(DataSpec(shape=(1, 4, 4), splits={}), GRAPHS)


class FirstValues(Encoder):
    """Encoder of all kinds: two weighted copies of the first raw value."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__(data, NoConfig())
        self.dim, self.raw = 2, Flat(data, NoConfig())
        self.weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))

    def forward(self, inputs: Any) -> Tensor:
        first: Tensor = self.raw(inputs)[:, :1]
        return first * self.weight

    def maps(self, inputs: Any) -> dict[str, Tensor]:
        return {}


def raw_values(inputs: Any, item: int) -> list[float]:
    """Return the raw values of one item, value by value."""
    if isinstance(inputs, Pair):
        return raw_values(inputs.first, item) + raw_values(inputs.second, item)
    if isinstance(inputs, Nodes):
        return [float(value) for value in inputs.features[inputs.index[item]]]
    if isinstance(inputs, Graphs):
        members = [node for node in range(len(inputs.graph)) if int(inputs.graph[node]) == item]
        return [sum(float(inputs.features[node, k]) for node in members) for k in range(inputs.features.shape[1])]
    return [float(value) for value in inputs[item].reshape(-1)]


@pytest.mark.parametrize("data", [VECTORS, SERIES, NODES, GRAPHS, PAIRS], ids=lambda data: data.kind)
def test_pixels_are_the_raw_values_of_every_kind_of_data(data: DataSpec) -> None:
    assert Pixels.skip_reason(data, NoConfig()) is None
    split = made_split(data, 5)
    method = Pixels(FirstValues(data), data, NoConfig()).eval()
    features = embed_split(method, split, torch.device("cpu"))["features"]
    inputs = as_float(split.inputs)
    for item in range(5):
        assert features[item].tolist() == pytest.approx(raw_values(inputs, item))
    assert features.shape == (5, method.encoder.dim)


def test_the_order_of_the_nodes_of_a_graph_changes_no_raw_value() -> None:
    features = torch.rand(5, 3)
    graph, order = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([2, 0, 1, 4, 3])
    edges = torch.tensor([[0, 1, 3, 4], [1, 0, 4, 3]])
    raw = Flat(GRAPHS, NoConfig())
    first, second = raw(Graphs(features, edges, graph, 2)), raw(Graphs(features[order], edges, graph, 2))
    assert torch.allclose(first, second)


def test_raw_values_of_an_unknown_kind_are_skipped() -> None:
    songs = DataSpec(shape=(8,), splits={"train": 5}, kind="songs")
    for data in (songs, pairs_of(VECTORS, songs)):
        assert Pixels.skip_reason(data, NoConfig()) == "cannot read raw values of 'songs' data"
        assert Random.skip_reason(data, NoConfig()) is None


@pytest.mark.parametrize("data", [VECTORS, SERIES, NODES, GRAPHS, PAIRS], ids=lambda data: data.kind)
def test_supervised_reads_every_kind_of_data_as_it_is(data: DataSpec, rng: torch.Generator) -> None:
    assert Supervised.skip_reason(data, SupervisedConfig()) is None
    method = Supervised(FirstValues(data), data, SupervisedConfig())
    state = rng.get_state()
    (batch,) = open_split(made_split(data, 5), torch.device("cpu")).batches(8, labels=True)
    views = method.make_views(batch, rng)
    assert views.inputs is batch.inputs
    assert torch.equal(rng.get_state(), state)  # nothing is drawn
    loss = method(views).total
    chosen = method.head(method.encoder(batch.inputs)).log_softmax(1).detach()
    assert loss.item() == pytest.approx(-sum(float(chosen[item, item % 2]) for item in range(5)) / 5)
    loss.backward()
    assert method.encoder.weight.grad is not None


def test_supervised_learns_only_from_the_train_nodes() -> None:
    """The labels of other nodes are in no batch, and their answers in no loss."""
    whole = made_split(NODES, 6)
    train = take(whole, torch.tensor([4, 1]))
    method = Supervised(FirstValues(NODES), NODES, SupervisedConfig())
    (batch,) = open_split(train, torch.device("cpu")).batches(8, labels=True)
    assert batch.labels is not None
    assert len(batch.inputs.features) == 6
    logits = method.head(method.encoder(batch.inputs))
    assert logits.shape == (2, 2)
    assert torch.allclose(
        method(method.make_views(batch, torch.Generator())).total,
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])),
    )


def test_data_without_classes_are_skipped_by_supervised_only(make: Any) -> None:
    data = DataSpec(shape=(1, 8, 8), splits={"train": 5}, num_labels=3)
    assert Supervised.skip_reason(data, SupervisedConfig()) == "needs one class for each item"
    assert Random.skip_reason(data, NoConfig()) is None
    assert Pixels.skip_reason(data, NoConfig()) is None
    with pytest.raises(ValueError, match="needs classes"):
        make(Supervised, data)


def test_supervised_skips_a_set_of_graphs_without_a_test_part() -> None:
    data = replace(GRAPHS, transductive=True)
    assert str(Supervised.skip_reason(data, SupervisedConfig())).startswith("learns from labels")
    fold = replace(GRAPHS, splits={"train": 4, "test": 1})
    assert Supervised.skip_reason(fold, SupervisedConfig()) is None
