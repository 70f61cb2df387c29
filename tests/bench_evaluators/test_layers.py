from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from bench_core import BenchError, DataSpec, Encoder, Frozen, NoConfig, Objective, Split
from bench_core.data import Graphs, NodeMap, Nodes
from bench_evaluators import layers
from bench_evaluators.layers import Layers, LayersConfig, averaged, pooled
from bench_methods.references import Flat

FreezeEncoder = Callable[..., Frozen]
DATA = DataSpec(shape=(1, 8, 8), splits={"train": 120, "test": 80}, num_classes=4)


class Forgetful(Encoder):
    """Encoder whose first map is the image; the second tells nothing of the class, the third half of it."""

    def __init__(self) -> None:
        super().__init__(DATA, NoConfig())
        self.dim = 1

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        noise = torch.sin(1e4 * inputs.mean((1, 2, 3), keepdim=True))
        half = inputs[:, :, :4].mean((2, 3), keepdim=True) + 0.01 * noise
        return {"Block.1": inputs, "block-2": noise, "block3": half}

    def forward(self, inputs: Tensor) -> Tensor:
        return self.maps(inputs)["block-2"].flatten(1)


def quarters(count: int, seed: int) -> Split:
    """Draw images with one bright quarter, which is the class."""
    labels = torch.arange(count) % 4
    images = torch.randint(0, 100, (count, 1, 8, 8), generator=torch.Generator().manual_seed(seed))
    for k in range(4):
        images[labels == k, :, 4 * (k // 2) : 4 * (k // 2) + 4, 4 * (k % 2) : 4 * (k % 2) + 4] += 60
    return Split(images.to(torch.uint8), labels)


def splits() -> dict[str, Split]:
    return {"train": quarters(120, 0), "test": quarters(80, 1)}


def test_each_layer_is_probed_and_held_out_items_choose_the_first_score(
    freeze_encoder: FreezeEncoder,
) -> None:
    evaluation = Layers(LayersConfig()).evaluate(freeze_encoder(Forgetful(), splits(), 4))
    scores = {score.metric: score.value for score in evaluation.scores}
    assert list(scores) == ["top1", "top1_block_1", "top1_block_2", "top1_block3", "top1_features"]
    assert scores["top1"] == scores["top1_block_1"] > 0.95
    assert scores["top1_block_2"] < 0.5
    assert scores["top1_features"] == scores["top1_block_2"]
    assert 0.4 < scores["top1_block3"] < 0.8
    assert all(score.chance == pytest.approx(0.25) and score.n == 80 for score in evaluation.scores)
    assert evaluation.curves["layers"]["depth"] == [0, 1, 2, 3]
    assert evaluation.curves["layers"]["top1"] == list(scores.values())[1:]
    assert evaluation.notes[0] == "top1 is that of Block.1, chosen on held-out training items"


def test_choice_of_the_layer_does_not_depend_on_test(freeze_encoder: FreezeEncoder) -> None:
    turned = quarters(80, 1)
    assert turned.labels is not None
    wrong = Split(turned.inputs, (turned.labels + 1) % 4)
    evaluation = Layers(LayersConfig()).evaluate(freeze_encoder(Forgetful(), splits() | {"test": wrong}, 4))
    scores = {score.metric: score.value for score in evaluation.scores}
    assert scores["top1"] == scores["top1_block_1"] < min(scores["top1_block_2"], scores["top1_block3"])


def test_accuracy_is_that_of_scikit_learn_on_the_averages(freeze_encoder: FreezeEncoder) -> None:
    frozen = freeze_encoder(Forgetful(), splits(), 4)
    accuracy = Layers(LayersConfig(max_features=16, grid=(0.02,))).evaluate(frozen).scores[1].value
    rows = {}
    for name, split in splits().items():
        assert isinstance(split.inputs, Tensor)
        rows[name] = split.inputs.double().view(-1, 4, 2, 4, 2).mean((2, 4)).flatten(1) / 255
    mean, std = rows["train"].mean(0), rows["train"].std(0, correction=0)
    model = LogisticRegression(C=1 / (0.02 * 120), tol=1e-8, max_iter=10_000)
    model.fit(((rows["train"] - mean) / std).numpy(), np.asarray(splits()["train"].labels))
    assert accuracy == pytest.approx(
        model.score(((rows["test"] - mean) / std).numpy(), np.asarray(splits()["test"].labels)), abs=1 / 80
    )


@pytest.mark.parametrize(
    ("shape", "limit", "expected"),
    [
        ((32, 14, 14), 256, 128),  # 2 x 2 of 32; 3 x 3 would be 288
        ((32, 14, 14), 288, 288),
        ((64, 1, 1), 256, 64),  # a map is never enlarged
        ((512, 7, 7), 256, 512),  # channels stay
        ((8, 2, 9), 256, 80),  # 2 x 5
    ],
)
def test_a_map_is_averaged_to_the_finest_grid_allowed(shape: tuple[int, ...], limit: int, expected: int) -> None:
    assert pooled(torch.rand(3, *shape), limit).shape == (3, expected)


def test_averages_are_those_of_the_cells() -> None:
    values = torch.arange(16.0).view(1, 1, 4, 4)
    assert pooled(values, 4).tolist() == [[2.5, 4.5, 10.5, 12.5]]
    assert pooled(values, 1).tolist() == [[7.5]]


def test_a_row_of_locations_is_averaged_to_the_finest_row_of_cells_allowed() -> None:
    values = torch.arange(12.0).view(1, 2, 6)
    assert pooled(values, 6).tolist() == [[0.5, 2.5, 4.5, 6.5, 8.5, 10.5]]
    assert pooled(values, 1).tolist() == [[2.5, 8.5]]
    assert pooled(values, 100).shape == (1, 12)  # never enlarged


def test_a_map_of_nodes_is_averaged_over_each_graph_node_by_node() -> None:
    graph = torch.tensor([0, 0, 0, 2, 2])  # graph 1 has no nodes
    values, graphs = torch.rand(5, 3), Graphs(torch.rand(5, 2), torch.zeros(2, 0, dtype=torch.int64), graph, 3)
    expected = torch.zeros(3, 3)
    for number in (0, 2):
        members = [values[node] for node in range(5) if int(graph[node]) == number]
        expected[number] = sum(members[1:], members[0]) / len(members)
    assert torch.allclose(averaged("nodes", NodeMap(values, graph), graphs, 256), expected)


def test_nodes_that_are_the_items_keep_their_own_values() -> None:
    nodes = Nodes.from_edges(torch.rand(4, 2), torch.tensor([[0, 1], [1, 2]]), torch.tensor([3, 1]))
    values = torch.arange(4.0).view(2, 2)  # of the nodes 3 and 1: a map of nodes has a row for each item
    assert torch.equal(averaged("nodes", NodeMap(values, torch.arange(2)), nodes, 256), values)


@pytest.mark.parametrize(("values", "got"), [(torch.rand(4, 3), r"the shape \(4, 3\)"), ("map", "the type str")])
def test_a_map_of_another_form_is_refused(values: Any, got: str) -> None:
    with pytest.raises(BenchError, match=f"the map 'last' of this encoder has {got}; `maps` must give"):
        averaged("last", values, torch.rand(4, 3), 256)


def test_without_maps_the_features_are_probed(freeze_encoder: FreezeEncoder) -> None:
    scores = Layers(LayersConfig()).evaluate(freeze_encoder(Flat(DATA, NoConfig()), splits(), 4)).scores
    assert [score.metric for score in scores] == ["top1", "top1_features"]
    assert scores[0].value > 0.9


def test_batches_change_nothing(freeze_encoder: FreezeEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = freeze_encoder(Forgetful(), splits(), 4)
    whole = Layers(LayersConfig()).evaluate(frozen)
    monkeypatch.setattr(layers, "_BATCH", 7)
    assert Layers(LayersConfig()).evaluate(frozen) == whole


@pytest.mark.parametrize("alike", ["block 1", "features"])
def test_layers_with_the_same_metric_name_are_refused(freeze_encoder: FreezeEncoder, alike: str) -> None:
    class Alike(Forgetful):
        def maps(self, inputs: Tensor) -> dict[str, Tensor]:
            return super().maps(inputs) | {alike: inputs}

    with pytest.raises(BenchError, match=f"'{alike}'.* get the same metric name, top1_"):
        Layers(LayersConfig()).evaluate(freeze_encoder(Alike(), splits(), 4))


def test_a_probe_that_did_not_converge_is_noted(freeze_encoder: FreezeEncoder) -> None:
    evaluation = Layers(LayersConfig(max_iterations=1)).evaluate(freeze_encoder(Forgetful(), splits(), 4))
    assert any(note.startswith("Block.1: ") and "NOT converged" in note for note in evaluation.notes)
    evaluation = Layers(LayersConfig()).evaluate(freeze_encoder(Forgetful(), splits(), 4))
    assert not any("NOT converged" in note for note in evaluation.notes)


def test_features_count_where_nothing_can_be_held_out(freeze_encoder: FreezeEncoder) -> None:
    single = {"train": quarters(4, 0), "test": quarters(80, 1)}
    evaluation = Layers(LayersConfig()).evaluate(freeze_encoder(Forgetful(), single, 4))
    scores = {score.metric: score.value for score in evaluation.scores}
    assert scores["top1"] == scores["top1_features"] != scores["top1_block_1"]
    assert evaluation.notes[0] == "top1 is that of features, as no training item can be held out to choose a layer"
    assert all("penalty 0.01 fixed, not chosen" in note for note in evaluation.notes[1:])


def test_a_layer_that_is_not_finite_is_refused(freeze_encoder: FreezeEncoder) -> None:
    class Broken(Forgetful):
        def maps(self, inputs: Tensor) -> dict[str, Tensor]:
            return super().maps(inputs) | {"log": inputs.log() - inputs.log()}  # NaN where a pixel is 0

    with pytest.raises(BenchError, match="needs finite features"):
        Layers(LayersConfig()).evaluate(freeze_encoder(Broken(), splits(), 4))


def test_data_without_classes_are_skipped() -> None:
    data = DataSpec(shape=(1, 8, 8), splits={"train": 5})
    assert Layers(LayersConfig()).skip_reason(data, Objective) == "needs a test split"  # type: ignore[type-abstract]  # not read


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_features": 0}, "max_features must be >= 1, got 0"),
        ({"grid": (0.0,)}, r"grid must each be > 0, got \(0.0,\)"),
        ({"validation_fraction": 0.0}, r"validation_fraction must be in \(0, 1\), got 0.0"),
    ],
)
def test_parameters_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LayersConfig(**changes)
