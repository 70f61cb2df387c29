from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec, NoConfig
from bench_methods.references import Pixels, Random, Supervised, SupervisedConfig


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


def test_data_without_classes_are_skipped_by_supervised_only(make: Any) -> None:
    data = DataSpec(shape=(1, 8, 8), splits={"train": 5}, num_labels=3)
    assert Supervised.skip_reason(data, SupervisedConfig()) == "needs one class for each image"
    assert Random.skip_reason(data, NoConfig()) is None
    assert Pixels.skip_reason(data, NoConfig()) is None
    with pytest.raises(ValueError, match="needs classes"):
        make(Supervised, data)


def test_other_data_than_images_are_skipped_by_supervised() -> None:
    data = DataSpec(shape=(8,), splits={"train": 5}, num_classes=2)
    assert Supervised.skip_reason(data, SupervisedConfig()) == "needs images"
