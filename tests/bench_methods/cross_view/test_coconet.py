import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, DataSpec
from bench_methods.cross_view.coconet import CoCoNet, CoCoNetConfig
from bench_methods.cross_view.contrast import contrast
from bench_methods.cross_view.transport import sliced_distance

Build = Callable[..., Any]
SMALL: dict[str, Any] = {"hidden_dim": 16, "output_dim": 8}


def test_loss_is_the_weighted_sum_of_contrasts_and_distances(build: Build, batch: Batch, rng: Any) -> None:
    method = build(CoCoNet, **SMALL, pair_weight=0.3, factor_weight=0.7, distance_weight=0.2)
    views = method.make_views(batch, rng)
    names = ["l", "ab", "lab"]
    features = [method.encoder.encoders[name](views.views[name]) for name in names]
    z = [F.normalize(method.embeddings.heads[name](of_view)) for name, of_view in zip(names, features, strict=True)]
    factor = F.normalize(method.factor(torch.cat([*features, *z], 1)))
    expected = sum(0.7 * contrast(each, factor, 0.07) for each in z)
    for one, other in itertools.combinations(z, 2):
        expected += 0.3 * contrast(one, other, 0.07) + 0.2 * sliced_distance(one, other, views.directions)
    assert torch.allclose(method(views).total, torch.as_tensor(expected), atol=1e-4)


def test_parts_name_every_pair_and_their_ceiling(build: Build, batch: Batch, rng: Any) -> None:
    method = build(CoCoNet, **SMALL)
    loss = method(method.make_views(batch, rng))
    pairs = ("l_ab", "l_lab", "ab_lab", "l_factor", "ab_factor", "lab_factor")
    assert set(loss.parts) == {*(f"information_{pair}" for pair in pairs), "distance"}
    assert set(loss.ceilings.values()) == {math.log(12)}


def test_the_distance_moves_every_encoder(build: Build, batch: Batch, rng: Any) -> None:
    """In the released code it moves none, because the slices are cut off from the encoders."""
    method = build(CoCoNet, **SMALL)
    distance: Tensor = method(method.make_views(batch, rng)).parts["distance"]
    torch.autograd.backward(distance)
    for encoder in method.encoder.encoders.values():
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    assert all(p.grad is None for p in method.factor.parameters())


def test_gradients_reach_every_parameter(build: Build, batch: Batch, rng: Any) -> None:
    method = build(CoCoNet, **SMALL)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_directions_are_drawn_anew_at_each_step(build: Build, batch: Batch, rng: Any) -> None:
    method = build(CoCoNet, **SMALL, slices=3, augmentation="none")
    first, second = method.make_views(batch, rng), method.make_views(batch, rng)
    assert first.directions.shape == (8, 3)
    assert not torch.equal(first.directions, second.directions)
    assert torch.equal(first.views["lab"], second.views["lab"])


def test_embeddings_are_the_features_of_all_views_and_of_each(build: Build, batch: Batch) -> None:
    method = build(CoCoNet, **SMALL).eval()
    embedded = method.embed(batch.inputs)
    assert list(embedded) == ["features", "l", "ab", "lab"]
    assert torch.equal(embedded["features"], method.encoder(batch.inputs))


def test_training_lowers_the_distance_of_views_whose_features_differ(build: Build, batch: Batch, rng: Any) -> None:
    method = build(CoCoNet, **SMALL, augmentation="none", pair_weight=0.0, factor_weight=1e-6, distance_weight=1.0)
    optimizer = torch.optim.Adam(method.parameters(), 3e-3)
    distances = []
    for _ in range(60):
        loss = method(method.make_views(batch, rng))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        distances.append(loss.parts["distance"].item())
    assert sum(distances[-5:]) < 0.5 * sum(distances[:5])


def test_the_two_contrasts_must_not_both_be_left_out() -> None:
    with pytest.raises(ValueError, match="must not both be 0"):
        CoCoNetConfig(pair_weight=0.0, factor_weight=0.0)


@pytest.mark.parametrize("values", [{"slices": 0}, {"distance_weight": -1.0}, {"hidden_dim": 0}])
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        CoCoNetConfig(**values)


def test_grey_images_are_skipped() -> None:
    data = DataSpec(shape=(1, 8, 8), splits={"train": 96})
    assert "needs images of 3 channels" in (CoCoNet.skip_reason(data, CoCoNetConfig()) or "")


def test_loss_keeps_its_golden_value(build: Build, batch: Batch) -> None:
    method = build(CoCoNet, **SMALL, temperature=0.002)
    loss = method(method.make_views(batch, torch.Generator().manual_seed(7)))
    assert loss.total.item() == pytest.approx(40.816387, rel=1e-4)
