"""The reference network learns, and the same data always gives the same network."""

from typing import Any

import pytest
import torch
from torch import Tensor

from bench_evaluators.generation import reference_network
from bench_evaluators.generation.reference_network import PixelComponents, ReferenceNetwork, train_reference


def striped(n: int = 200, side: int = 8, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Draw noise with a bright row (class 0) or a bright column (class 1)."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 100, (n, channels, side, side), dtype=torch.uint8, generator=rng)
    labels = torch.arange(n) % 2
    images[labels == 0, :, side // 2] = 220
    images[labels == 1, :, :, side // 2] = 220
    return images, labels


@pytest.fixture(scope="module")
def network() -> ReferenceNetwork:
    return train_reference(*striped(), num_classes=2)


def test_network_learns_and_its_features_have_unit_variance_on_train(network: ReferenceNetwork) -> None:
    images, labels = striped()
    features = network.features(images)
    assert features.shape == (200, 64)
    assert float((network.logits(features).argmax(1) == labels).double().mean()) > 0.98
    assert float(features.var(0).mean()) == pytest.approx(1, abs=0.3)


def test_network_does_not_depend_on_the_global_generator(network: ReferenceNetwork) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    again = train_reference(*striped(), num_classes=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert again.digest() == network.digest()
    images, labels = striped()
    assert train_reference(images, 1 - labels, num_classes=2).digest() != network.digest()


def test_features_do_not_depend_on_the_batch(network: ReferenceNetwork) -> None:
    images, _ = striped()
    assert torch.allclose(network.features(images)[:3], network.features(images[:3]), atol=1e-5)
    assert len(network.features(images.repeat(6, 1, 1, 1))) == 1200


def test_large_images_are_averaged_down_to_32_pixels() -> None:
    network = ReferenceNetwork((3, 64, 48), 5)
    small = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., :48]
    assert network.features(large).shape == (4, 64)
    square = ReferenceNetwork((3, 64, 64), 5)
    twice = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(square.features(twice), square.features(small), atol=1e-5)


def test_all_components_together_keep_the_distances_of_pixels() -> None:
    images, _ = striped()
    components = PixelComponents(images)
    assert components.size == 64
    pixels = images.flatten(1).float() / 255
    features = components.features(images)
    assert torch.allclose(torch.pdist(features), torch.pdist(pixels), atol=1e-4)


def test_there_are_at_most_64_components_and_no_more_than_items() -> None:
    images, _ = striped(side=16)
    assert PixelComponents(images).size == 64
    few = PixelComponents(images[:10])
    assert few.size == 10
    assert few.features(images).shape == (200, 10)


def test_network_is_the_same_on_any_number_of_threads(network: ReferenceNetwork) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = train_reference(*striped(), num_classes=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    images, _ = striped()
    assert torch.equal(again.layers[0].weight, network.layers[0].weight)  # type: ignore[arg-type]  # of a layer
    assert torch.allclose(again.features(images), network.features(images), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13), (1, 64, 33)])
def test_images_of_any_sides_have_features(shape: tuple[int, int, int]) -> None:
    network = ReferenceNetwork(shape, 2)
    assert network.features(torch.zeros(3, *shape, dtype=torch.uint8)).shape == (3, 64)


def test_learning_rate_rises_and_falls_within_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, step = list[float](), torch.optim.AdamW.step

    def spied(self: torch.optim.AdamW, closure: Any = None) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", spied)
    monkeypatch.setattr(reference_network, "STEPS", 10)
    train_reference(*striped(20), num_classes=2)
    assert 0 < rates.index(max(rates)) < 9
    assert rates[-1] < rates[0] < max(rates)
