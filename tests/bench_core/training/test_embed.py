import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec, Embedded, Encoder, NoConfig, Objective, Split
from bench_core.conformance.toys import Untrained
from bench_core.data import Nodes, take
from bench_core.errors import CheckError, StoreError
from bench_core.planning.chains import Plan
from bench_core.store.tensors import load_tensors, save_tensors
from bench_core.training.embed import (
    embed_all,
    embed_split,
    embed_splits,
    is_damaged,
    is_embedded,
    joined,
    lacking_names,
    load_embedded,
)

CPU = torch.device("cpu")


class BinaryCode(Untrained):
    """Returns features and bits."""

    scale: float = 1.0

    def embed(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return both, the features in double precision."""
        features = self.encoder(inputs) * self.scale
        return {"features": features.double(), "code": features > 0}


@pytest.fixture
def method(tiny_encoder: Encoder, plan_of: Callable[..., Plan]) -> BinaryCode:
    return BinaryCode(tiny_encoder, plan_of().chains[0].data, NoConfig())


@pytest.fixture
def split() -> Split:
    images = torch.randint(0, 256, (1100, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    return Split(images, torch.arange(1100) % 2)


def test_embeddings_are_in_index_order_as_float32_or_bool(method: Objective, split: Split) -> None:
    embeddings = embed_split(method, split, CPU)
    assert (embeddings["features"].dtype, embeddings["code"].dtype) == (torch.float32, torch.bool)
    assert isinstance(split.inputs, Tensor)
    alone = method.embed(split.inputs[777:778].float() / 255)["features"]
    assert torch.allclose(embeddings["features"][777].double(), alone[0], atol=1e-6)
    assert len(embeddings["features"]) == 1100


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ({"feature": torch.zeros(5, 2)}, "embed() must return 'features', got ['feature']"),
        (torch.zeros(5, 2), "embed() must return 'features', got Tensor"),
        ({"features": torch.zeros(4, 2)}, "'features' has the shape (4, 2), but needs a row for each of 5 items"),
        ({"features": torch.zeros(5, 2), "code": torch.zeros(())}, "embedding 'code' has the shape ()"),
        ({"features": torch.zeros(5, 2), "code": [1]}, "embedding 'code' must be a tensor, got list"),
    ],
)  # fmt: skip
def test_what_embed_returns_is_checked(
    method: Objective, split: Split, returned: object, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "embed", lambda inputs: returned)
    with pytest.raises(CheckError, match=re.escape(words)):
        embed_split(method, take(split, torch.arange(5)), CPU)


def test_written_embeddings_are_read_back_with_the_labels(
    method: Objective, split: Split, plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    data = plan_of().chains[0].data
    splits = {"train": split, "test": split}
    assert not is_embedded(tmp_path)
    embed_all(method, data, splits, tmp_path, CPU)
    assert is_embedded(tmp_path)
    assert not is_damaged(tmp_path)
    loaded = load_embedded(tmp_path, splits)
    assert isinstance(loaded["test"], Embedded)
    assert torch.equal(loaded["test"].embeddings["code"], embed_split(method, split, CPU)["code"])
    assert loaded["train"].labels is split.labels


def test_damaged_embedding_is_refused(
    method: Objective, split: Split, plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    embed_all(method, plan_of().chains[0].data, {"train": split, "test": split}, tmp_path, CPU)
    save_tensors(tmp_path / "test.safetensors", {"features": torch.zeros(1100, 12)})
    assert is_damaged(tmp_path)
    with pytest.raises(StoreError, match=r"test\.safetensors is missing or damaged; delete"):
        load_embedded(tmp_path, {"train": split, "test": split})


def test_names_that_a_folder_lacks_are_found_on_two_items(
    method: BinaryCode, split: Split, plan_of: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = {"train": split, "test": split}
    embed_all(method, plan_of().chains[0].data, splits, tmp_path, CPU)
    assert lacking_names(method, splits, tmp_path, CPU) == []
    sizes = []

    def more(inputs: Tensor) -> dict[str, Tensor]:
        sizes.append(len(inputs))
        return {"features": inputs.flatten(1), "latent": inputs.flatten(1)}

    monkeypatch.setattr(method, "embed", more)
    assert lacking_names(method, splits, tmp_path, CPU) == ["latent"]
    assert sizes == [2]


def test_embeddings_that_are_replaced_while_they_are_read_are_read_again(
    method: BinaryCode, split: Split, plan_of: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits, data, folder = {"train": split, "test": split}, plan_of().chains[0].data, tmp_path / "embeddings"
    embed_all(method, data, splits, folder, CPU)

    def slowly(path: Path, digest: str) -> dict[str, Tensor]:
        tensors = load_tensors(path, digest)
        if method.scale == 1:
            method.scale = 2.0
            embed_all(method, data, splits, folder, CPU, over=True)
        return tensors

    monkeypatch.setattr("bench_core.training.embed.load_tensors", slowly)
    loaded = load_embedded(folder, splits)
    expected = embed_split(method, split, CPU)["features"]
    assert all(torch.equal(part.embeddings["features"], expected) for part in loaded.values())


def test_embedding_with_nan_is_refused(method: BinaryCode, split: Split) -> None:
    method.scale = float("nan")
    with pytest.raises(StoreError, match="embedding 'features' holds values that are not finite"):
        embed_split(method, split, CPU)


def test_file_has_the_bytes_of_embeddings_that_were_written_at_once(
    method: BinaryCode, split: Split, plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    embed_all(method, plan_of().chains[0].data, {"train": split, "test": split}, tmp_path / "embeddings", CPU)
    save_tensors(tmp_path / "whole", embed_split(method, split, CPU))
    assert (tmp_path / "embeddings" / "train.safetensors").read_bytes() == (tmp_path / "whole").read_bytes()


def test_method_whose_embeddings_change_between_batches_is_refused(
    method: BinaryCode, split: Split, plan_of: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "embed", lambda inputs: {"features": torch.zeros(len(inputs), len(inputs))})
    words = r"same embeddings for all items: the first rows have .*\(512,\).*, later ones .*\(76,\)"
    with pytest.raises(CheckError, match=words):
        embed_all(method, plan_of().chains[0].data, {"train": split, "test": split}, tmp_path / "embeddings", CPU)
    assert list(tmp_path.iterdir()) == []


class Degrees(Encoder):
    """Counts its calls; the features of a node are the sums over its neighbours."""

    dim = 2
    calls = 0

    def forward(self, inputs: Nodes) -> Tensor:
        """Return the sums (N, 2)."""
        self.calls += 1
        sums: Tensor = (inputs.adjacency @ inputs.features)[inputs.index]
        return sums

    def maps(self, inputs: Nodes) -> dict[str, Tensor]:
        """Return no maps."""
        return {}


def graph(seed: int = 0) -> Nodes:
    rng = torch.Generator().manual_seed(seed)
    edges = torch.randint(0, 9, (2, 20), generator=rng)
    return Nodes.from_edges(torch.rand(9, 2, generator=rng), edges, torch.arange(9))


NODE_DATA = DataSpec(shape=(2,), splits={"train": 4, "test": 3}, kind="nodes")


def test_splits_of_one_graph_are_embedded_by_one_pass_over_it(tmp_path: Path) -> None:
    nodes, method = graph(), Untrained(Degrees(NODE_DATA, NoConfig()), NODE_DATA, NoConfig())
    splits = {"train": Split(nodes.select(torch.tensor([8, 0, 3, 1]))), "test": Split(nodes.select(torch.arange(2, 5)))}
    embed_all(method, NODE_DATA, splits, tmp_path, CPU)
    assert method.encoder.calls == 1
    loaded = load_embedded(tmp_path, splits)
    for name, split in splits.items():
        assert torch.equal(loaded[name].embeddings["features"], embed_split(method, split, CPU)["features"])


@pytest.mark.parametrize("other", ["graph", "kind"])
def test_splits_of_different_graphs_are_embedded_one_by_one(other: str, method: BinaryCode, split: Split) -> None:
    if other == "graph":
        method = Untrained(Degrees(NODE_DATA, NoConfig()), NODE_DATA, NoConfig())  # type: ignore[assignment]
        splits = {"train": Split(graph(0)), "test": Split(graph(1))}
    else:
        splits = {"train": split, "test": take(split, torch.arange(3))}
    embedded = {name: joined(pieces) for name, pieces in embed_splits(method, splits, CPU)}
    assert list(embedded) == ["train", "test"]
    for name, part in splits.items():
        assert torch.equal(embedded[name]["features"], embed_split(method, part, CPU)["features"])
