"""Each way in which a split can contradict its dataset's description, and the words that say so."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Split
from bench_core.data import Graphs, Nodes, Pair
from bench_core.data.split_faults import first_items_fault, images_fault, split_fault

N, K, L = 6, 3, 4
IMAGES = torch.zeros(N, 1, 2, 2, dtype=torch.uint8)
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2])
MULTI_HOT = torch.zeros(N, L, dtype=torch.bool)
FACTORS = torch.stack([CLASSES, CLASSES // 2], 1)


def spec(**fields: Any) -> DataSpec:
    return DataSpec(**{"shape": (1, 2, 2), "splits": {"train": N}, **fields})


def fault(split: object, **fields: Any) -> str | None:
    return split_fault(split, spec(**fields), "train")


def in_place(values: Tensor, item: tuple[int, ...], value: float) -> Tensor:
    changed = values.clone()
    changed[item] = value
    return changed


class ReaderOf:
    """Reader of a tensor."""

    def __init__(self, images: Any) -> None:
        self.images = images

    def __len__(self) -> int:
        return N

    def read(self, index: Tensor) -> Any:
        return self.images[index] if isinstance(self.images, Tensor) else self.images


@pytest.mark.parametrize(
    ("split", "fields"),
    [
        (Split(IMAGES), {}),
        (Split(IMAGES), {"num_classes": K}),  # without labels
        (Split(IMAGES, CLASSES), {"num_classes": K}),
        (Split(IMAGES, CLASSES), {"num_classes": 100}),
        (Split(IMAGES, CLASSES.float()), {}),  # labels of no declared kind
        (Split(IMAGES, MULTI_HOT), {"num_labels": L}),
        (Split(IMAGES, CLASSES, FACTORS), {"num_classes": K, "factors": {"a": 3, "b": 2}}),
        (Split(IMAGES, CLASSES, FACTORS), {"num_classes": K}),
        (Split(IMAGES / 255.0), {}),
        (Split(in_place(IMAGES / 1.0, (3, 0, 1, 1), 1.0)), {}),
        (Split(torch.full((N, 5), -7.0)), {"shape": (5,)}),
        (Split(torch.full((N, 5), torch.nan)), {"shape": (5,)}),  # values of vectors are free
        (Split(torch.full((N, 5), 9, dtype=torch.int32)), {"shape": (5,)}),
        (Split(ReaderOf(IMAGES), CLASSES), {"num_classes": K}),
        (Split(ReaderOf(object())), {"shape": (5,)}),
    ],
)
def test_split_that_agrees_with_its_description_has_no_fault(split: Split, fields: dict[str, Any]) -> None:
    assert fault(split, **fields) is None
    assert first_items_fault(split, spec(**fields)) is None


@pytest.mark.parametrize(
    ("labels", "fields", "words"),
    [
        (in_place(CLASSES, (4,), K), {"num_classes": K}, "item 4 has the label 3, but spec() declares 3 classes"),
        (CLASSES + 1, {"num_classes": K}, "item 2 has the label 3"),  # counted from 1
        (CLASSES - 1, {"num_classes": K}, "item 0 has the label -1, but spec() declares 3 classes"),
        (CLASSES[:, None], {"num_classes": K}, "torch.int64 of shape (6, 1), but must be torch.int64 of shape (6,)"),
        (CLASSES[:5], {"num_classes": K}, "of shape (5,), but must be torch.int64 of shape (6,)"),
        (torch.cat([CLASSES, CLASSES]), {"num_classes": K}, "of shape (12,), but must be torch.int64 of shape (6,)"),
        (CLASSES.float(), {"num_classes": K}, "labels are torch.float32 of shape (6,), but must be torch.int64"),
        (CLASSES.to(torch.uint8), {"num_classes": K}, "labels are torch.uint8"),
        (CLASSES.tolist(), {"num_classes": K}, "labels must be a tensor or None, got list"),
        (torch.tensor(1), {"num_classes": K}, "of shape ()"),
        (CLASSES[:5], {}, "it has 6 items, but labels of shape (5,)"),
        (MULTI_HOT[:, :3], {"num_labels": L}, "torch.bool of shape (6, 3), but must be torch.bool of shape (6, 4)"),
        (MULTI_HOT.long(), {"num_labels": L}, "labels are torch.int64 of shape (6, 4), but must be torch.bool"),
        (CLASSES, {"num_labels": L}, "labels are torch.int64 of shape (6,), but must be torch.bool of shape (6, 4)"),
    ],
)  # fmt: skip
def test_labels_of_another_kind_are_a_fault(labels: Any, fields: dict[str, Any], words: str) -> None:
    assert words in str(fault(Split(IMAGES, labels), **fields))


def test_label_below_0_gets_a_hint_and_one_above_none() -> None:
    too_large, below = (str(fault(Split(IMAGES, CLASSES + move), num_classes=K)) for move in (1, -1))
    assert too_large.endswith("which are the labels 0 to 2.")
    assert below.endswith("which are the labels 0 to 2. Where items have no label, return labels=None.")


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        (in_place(FACTORS, (5, 1), 2), "item 5 has the value 2 of factor 'b', which has the values 0 to 1"),
        (in_place(FACTORS, (0, 0), -2), "has the value -2 of factor 'a', which has the values 0 to 2, and -1 where it"),
        (FACTORS[:, :1], "factors are torch.int64 of shape (6, 1), but must be torch.int64 of shape (6, 2)"),
        (FACTORS[:4], "of shape (4, 2)"),
        (FACTORS.float(), "factors are torch.float32"),
        ([1], "factors must be a tensor or None, got list"),
    ],
)
def test_factors_of_another_kind_are_a_fault(factors: Any, words: str) -> None:
    assert words in str(fault(Split(IMAGES, None, factors), factors={"a": 3, "b": 2}))


def test_a_factor_may_be_unknown() -> None:
    assert fault(Split(IMAGES, None, in_place(FACTORS, (0, 0), -1)), factors={"a": 3, "b": 2}) is None


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (IMAGES[:5], "it has 5 items, but spec() declares 6"),
        (ReaderOf(IMAGES), None),
        (torch.zeros(N, 3, 2, 2, dtype=torch.uint8), "one image has shape (3, 2, 2), but spec() declares (1, 2, 2)"),
        (torch.zeros(N, 4), "one image has shape (4,)"),
        (IMAGES.double(), "images are torch.float64, but they must be uint8 from 0 to 255, or float32 from 0 to 1"),
        (IMAGES.long(), "images are torch.int64"),
        (IMAGES > 0, "images are torch.bool"),
        (in_place(IMAGES / 255.0, (3, 0, 1, 0), 1.5), "image 3 of 6 has the value 1.5, but float images must"),
        (in_place(IMAGES / 255.0, (2, 0, 0, 1), -0.25), "image 2 of 6 has the value -0.25"),
        (in_place(IMAGES / 255.0, (5, 0, 1, 1), torch.nan), "image 5 of 6 has the value nan"),
        (in_place(IMAGES / 255.0, (0, 0, 0, 0), torch.inf), "image 0 of 6 has the value inf"),
        (torch.tensor(1), "a tensor with one row for each item"),
        ([1] * N, "inputs must be a tensor, Items (Nodes, Graphs, Pair, ...) or a Reader, got list"),
    ],
)  # fmt: skip
def test_images_of_another_kind_are_a_fault(inputs: Any, words: str | None) -> None:
    found = fault(Split(inputs))
    assert found is None if words is None else words in str(found)


def test_vectors_of_another_length_are_a_fault() -> None:
    assert "one input has shape (4,), but spec() declares (5,)" in str(fault(Split(torch.zeros(N, 4)), shape=(5,)))


def test_what_is_no_split_is_a_fault() -> None:
    assert fault((IMAGES, CLASSES)) == "load() must return a Split, got tuple."


def test_no_image_at_all_is_no_fault() -> None:
    assert images_fault(torch.zeros(0, 1, 2, 2), (1, 2, 2)) is None


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.full((N, 1, 2, 2), 255.0), "in a batch that begins with item 0, image 0 of 6 has the value 255"),
        (torch.zeros(N, 1, 3, 3, dtype=torch.uint8), "one image has shape (1, 3, 3)"),
        (object(), None),  # of the dataset's own kind
    ],
)
def test_first_images_of_a_reader_are_looked_at(images: Any, words: str | None) -> None:
    found = first_items_fault(Split(ReaderOf(images)), spec())
    assert found is None if words is None else words in str(found)


def test_reader_that_returns_another_number_of_images_is_a_fault() -> None:
    class Short(ReaderOf):
        """Leaves one out."""

        def read(self, index: Tensor) -> Any:
            return self.images[index[1:]]

    assert first_items_fault(Split(Short(IMAGES)), spec()) == (
        "read() returned 5 images for 6 items, beginning with item 0."
    )


EDGES = torch.tensor([[0, 1, 2, 3, 3, 4], [1, 0, 3, 2, 4, 3]])  # of two graphs, with 2 and 3 nodes
NODES = Nodes.from_edges(torch.ones(5, 2), EDGES, torch.tensor([4, 0]))
GRAPHS = Graphs(torch.ones(5, 2), EDGES, torch.tensor([0, 0, 1, 1, 1]), 2)
IMAGE, GRAPH = DataSpec(shape=(1, 2, 2), splits={}), DataSpec(shape=(2,), splits={}, kind="graphs")
PAIRS = {"shape": (), "kind": "pairs", "modalities": {"photo": IMAGE, "scene": GRAPH}}


def adjacency(edges: list[list[int]], values: list[float]) -> Tensor:
    return torch.sparse_coo_tensor(torch.tensor(edges), torch.tensor(values), (5, 5), check_invariants=True).coalesce()


def fault_of_two(inputs: Any, **fields: Any) -> str | None:
    return split_fault(Split(inputs), DataSpec(**{"shape": (2,), "splits": {"train": 2}, **fields}), "train")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, None),
        ({"features": torch.ones(5, 3)}, "features of nodes are torch.float32 of shape (5, 3), but must be"),
        ({"features": torch.ones(5, 2).double()}, "features of nodes are torch.float64"),
        ({"features": torch.ones(6, 2)}, "the adjacency's values are torch.float32 of shape (5, 5), but must be"),
        ({"adjacency": torch.zeros(5, 5)}, "the adjacency must be a sparse COO tensor, coalesced"),
        ({"adjacency": adjacency([[0, 3], [1, 3]], [1.0, 1.0])}, "node 3 has an edge to itself"),
        ({"adjacency": adjacency([[0, 1], [1, 2]], [1.0, 1.0])}, "the adjacency is not symmetric"),
        ({"adjacency": adjacency([[0, 1], [1, 0]], [2.0, 2.0])}, "must have the value 1 at each edge"),
        ({"index": torch.tensor([4, 5])}, "item 1 is node 5, but the graph has the nodes 0 to 4"),
        ({"index": torch.tensor([4, -1])}, "item 1 is node -1"),
        ({"index": torch.tensor([4.0, 1.0])}, "the index are torch.float32"),
    ],
)
def test_nodes_and_their_graph_are_compared(changed: dict[str, Any], words: str | None) -> None:
    said = fault_of_two(replace(NODES, **changed), kind="nodes")
    assert said is None if words is None else words in str(said)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, None),
        ({"features": torch.ones(5)}, "features of nodes are torch.float32 of shape (5,), but must be"),
        (
            {"graph": torch.tensor([0, 0, 0, 0, 0])},
            "0 to 1, each with at least one node; the graphs of the nodes are 0.",
        ),
        ({"graph": torch.tensor([1, 1, 0, 0, 0])}, "the graphs of the nodes are 1, 0."),
        ({"graph": torch.tensor([0, 0, 1, 1])}, "the graphs of nodes are torch.int64 of shape (4,)"),
        ({"graph": torch.tensor([0, 0, 1, 1, 2])}, "the graphs of the nodes are 0, 1, 2."),
        ({"edges": EDGES + 1}, "an edge names node 5, but there are the nodes 0 to 4"),
        ({"edges": torch.tensor([[1, 2], [2, 1]])}, "the edge from node 1 to node 2 joins two graphs"),
        ({"edges": EDGES[:, [2, 3, 0, 1]]}, "edges must lie in the order of their graphs"),
        ({"edges": EDGES[:, :5]}, "edges must be there in both directions"),
        ({"edges": EDGES.T}, "edges are torch.int64 of shape (6, 2), but must be torch.int64 of shape (2, 2)"),
    ],
)
def test_graphs_with_their_nodes_and_edges_are_compared(changed: dict[str, Any], words: str | None) -> None:
    said = fault_of_two(replace(GRAPHS, **changed), kind="graphs")
    assert said is None if words is None else words in str(said)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (Pair(IMAGES[:2], GRAPHS), None),
        (Pair(IMAGES[:2], GRAPHS.select(torch.tensor([0]))), "2 first items cannot be paired with 1 second items"),
        (Pair(torch.full((2, 1, 2, 2), 9.0), GRAPHS), "modality 'photo': image 0 of 2 has the value 9"),
        (Pair(IMAGES[:2], replace(GRAPHS, edges=EDGES[:, :5])), "modality 'scene': edges must be there in both"),
        (Pair(GRAPHS, GRAPHS), "modality 'photo': spec() declares the kind 'image', so inputs cannot be Graphs"),
        (Pair(IMAGES[:2], None), "modality 'scene': inputs must be a tensor, Items"),
        (Pair(IMAGES[:2], ReaderOf(IMAGES)), "modality 'scene': a side of pairs lies in memory, got ReaderOf"),
    ],
)
def test_each_side_of_pairs_is_compared_with_its_modality(inputs: Any, words: str | None) -> None:
    said = fault_of_two(inputs, **PAIRS)
    assert said is None if words is None else words in str(said)


@pytest.mark.parametrize("modalities", [None, {}, {"photo": IMAGE}, dict.fromkeys("abc", IMAGE)])
def test_pairs_have_two_modalities(modalities: Any) -> None:
    said = fault_of_two(Pair(IMAGES[:2], IMAGES[:2]), **(PAIRS | {"modalities": modalities}))
    assert "must describe two modalities, like modalities={'photo': DataSpec(...)" in str(said)
    assert str(said).endswith(f"got {list(modalities or {})}.")


@pytest.mark.parametrize(
    ("inputs", "kind"), [(NODES, "graphs"), (GRAPHS, "nodes"), (GRAPHS, "sound"), (torch.ones(2, 2), "nodes")]
)
def test_inputs_of_another_kind_than_declared_are_a_fault(inputs: Any, kind: str) -> None:
    words = f"spec() declares the kind {kind!r}, so inputs cannot be {type(inputs).__name__}."
    assert fault_of_two(inputs, kind=kind) == words


class Sounds:
    """Items of a kind that a plugin named itself."""

    def __len__(self) -> int:
        return 2

    def select(self, index: Tensor) -> "Sounds":
        return self

    def to(self, device: Any) -> "Sounds":
        return self


def test_of_a_kind_of_its_own_only_the_number_of_items_is_compared() -> None:
    assert fault_of_two(Sounds(), kind="sound") is None
    assert "it has 2 items, but spec() declares 3" in str(fault_of_two(Sounds(), kind="sound", splits={"train": 3}))
