"""The two methods on an `mlp`: stages, frozen layers, no noise where features are read, and their control."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Objective, Recipe, Split
from bench_core.conformance.toys import TinyEncoder
from bench_core.data import open_split
from bench_core.errors import ConfigError
from bench_core.training.pretrain import pretrain
from bench_encoders.mlp import MLP, MLPConfig
from bench_methods.stacked.objective import SDAE, SDAEConfig, StackedAutoencoder, StackedAutoencoderConfig

DATA = DataSpec(shape=(1, 8, 8), splits={"train": 256}, num_classes=10, mean=(0.3,), std=(0.4,))
CPU = torch.device("cpu")
SIGMOID = MLPConfig(widths=(24, 16, 12), activation="sigmoid", standardize=False)


def build(cls: Any = SDAE, encoder: MLPConfig = SIGMOID, data: DataSpec = DATA, **values: Any) -> Any:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return cls(MLP(data, encoder), data, cls.Config(**values))


def train(method: Objective, inputs: Tensor, folder: Path, epochs: int = 3, **recipe: Any) -> list[dict[str, Any]]:
    """Train on inputs (N, ...) in [0, 1], and return the log."""
    values = {"optimizer": "adam", "learning_rate": 3e-3, "batch_size": 32, "epochs": epochs, **recipe}
    log = folder / "log.jsonl"
    source = open_split(Split(inputs), CPU)
    pretrain(method, source, Recipe(**values), seed=0, device=CPU, precision="fp32", log=log)
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("cls", [SDAE, StackedAutoencoder])
def test_layers_of_other_stages_stay_bit_for_bit(cls: Any, digits: Tensor, tmp_path: Path) -> None:
    """Each training is compared with one that had one stage less: the seed and the data are the same."""
    method = build(cls)
    seen: list[dict[str, Tensor]] = []
    begin = method.begin_stage

    def remember(context: Any) -> None:
        seen.append({name: value.clone() for name, value in method.state_dict().items()})
        begin(context)

    method.begin_stage = remember
    train(method, digits[:256], tmp_path)
    seen.append(method.state_dict())
    for number, (before, after) in enumerate(itertools.pairwise(seen)):
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        own = (f"encoder.layers.{number}.", f"decoders.{number}.")
        assert moved == {name for name in before if name.startswith(own)}
    assert len(seen) == 4


def test_without_corruption_it_is_the_stacked_autoencoder_bit_for_bit(digits: Tensor, tmp_path: Path) -> None:
    methods = [build(levels=(0.0,)), build(StackedAutoencoder)]
    logs = [train(method, digits[:256], tmp_path) for method in methods]
    assert [line["loss"] for line in logs[0]] == [line["loss"] for line in logs[1]]
    first, second = (method.state_dict() for method in methods)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("corruption", "encoder"),
    [("masking", SIGMOID), ("gaussian", SIGMOID), ("salt_pepper", SIGMOID), ("masking", MLPConfig(widths=(24, 16)))],
)
def test_digits_are_learned_in_every_layer(corruption: str, encoder: MLPConfig, digits: Tensor, tmp_path: Path) -> None:
    log = train(build(encoder=encoder, corruption=corruption), digits[:256], tmp_path, 45, learning_rate=3e-2)
    for layer in dict.fromkeys(line["stage"] for line in log):
        lines = [line for line in log if line["stage"] == layer]
        assert lines[-1]["loss"] < lines[0]["loss"], layer
        assert lines[-1]["explained"] > max(0.15, lines[0]["explained"] + 0.1), layer


def test_views_are_of_the_layer_in_training_and_the_target_is_clean(images: Tensor, rng: torch.Generator) -> None:
    method = build(levels=(0.5, 0.0, 0.25), corruption="masking")
    batch = Batch(images, torch.arange(len(images)))
    expected = images.flatten(1)
    for number, (width, level) in enumerate([(64, 0.5), (24, 0.0), (16, 0.25)]):
        method.number = number
        corrupted, clean = method.make_views(batch, rng)
        assert clean.shape == corrupted.shape == (96, width)
        assert torch.allclose(clean, expected)  # of clean inputs, through layers that read no noise
        assert float((corrupted == 0).float().mean()) == pytest.approx(level, abs=0.06)
        expected = method.encoder.layers[number](clean).detach()


def test_features_have_no_noise(images: Tensor) -> None:
    method = build(levels=(0.5,)).eval()
    first, second = (method.embed(images)["features"] for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(first, method.encoder(images))


def test_order_of_the_items_does_not_matter(images: Tensor) -> None:
    for cls in (SDAE, StackedAutoencoder):
        method = build(cls)
        batches = [Batch(items, torch.arange(96)) for items in (images, images.flip(0))]
        if cls is StackedAutoencoder:
            views = [method.make_views(batch, torch.Generator()) for batch in batches]
        else:
            views = [(clean := batch.inputs.flatten(1), clean) for batch in batches]
        first, second = (float(method(view).total.detach()) for view in views)
        assert first == pytest.approx(second, rel=1e-5)


def test_vectors_are_rebuilt_by_their_squared_error(tmp_path: Path) -> None:
    data = DataSpec(shape=(6,), splits={"train": 64})
    inputs = 5 * torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    method = build(data=data, encoder=MLPConfig(widths=(12, 4)))
    log = train(method, inputs, tmp_path, 20, batch_size=16)
    assert not method.decoders[0].bounded
    assert log[9]["loss"] < log[0]["loss"]


def test_levels_must_fit_the_layers() -> None:
    assert build(levels=(0.2,)).levels == (0.2,) * 3
    assert build(levels=(0.1, 0.2, 0.3)).levels == (0.1, 0.2, 0.3)
    with pytest.raises(ConfigError, match=r"sdae\.levels has 2 numbers and the encoder 3 layers; give one"):
        build(levels=(0.1, 0.2))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"levels": ()}, "levels must have at least one number"),
        ({"levels": (0.2, 1.5)}, r"levels of masking must each be a chance <= 1, got \(0.2, 1.5\)"),
        ({"levels": (1.5,), "corruption": "salt_pepper"}, "levels of salt_pepper must each be a chance"),
        ({"levels": (-0.1,)}, "levels must each be >= 0"),
    ],
)
def test_values_out_of_range_are_refused(values: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SDAEConfig(**values)
    assert SDAEConfig(levels=(1.5,), corruption="gaussian").levels == (1.5,)


@pytest.mark.parametrize("cls", [SDAE, StackedAutoencoder])
def test_an_encoder_that_is_no_stack_is_skipped_with_a_reason(cls: Any) -> None:
    config = cls.Config()
    assert isinstance(config, SDAEConfig | StackedAutoencoderConfig)
    assert cls.skip_reason(DATA, config, encoder_class=MLP) is None
    assert "stack of fully connected layers" in cls.skip_reason(DATA, config, encoder_class=TinyEncoder)
