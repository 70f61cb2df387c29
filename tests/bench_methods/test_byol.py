import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor, nn

from bench_core import Batch, DataSpec
from bench_core.views import PRESETS
from bench_methods.byol import BYOL, BYOLConfig, regression_loss

SMALL = {"hidden_dim": 32, "output_dim": 16}


def draw(seed: int, rows: int = 8) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))


def train(method: BYOL, images: Tensor, context: Any, *, steps: int, batch_size: int = 64) -> list[dict[str, float]]:
    """Train, and return the total and its parts at each step."""
    rng = torch.Generator().manual_seed(3)
    optimizer = torch.optim.SGD(method.players()[0].parameters, lr=0.3, momentum=0.9)
    lines = []
    for step in range(steps):
        method.before_step(replace(context, step=step, num_steps=steps))
        index = torch.randperm(len(images), generator=rng)[:batch_size]
        loss = method(method.make_views(Batch(images[index], index), rng))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        method.after_step()
        lines.append({"total": loss.total.item(), **{name: part.item() for name, part in loss.parts.items()}})
    return lines


def test_the_loss_is_the_squared_distance_of_unit_vectors() -> None:
    predictions, targets = draw(0), draw(1)
    rows = [((p / p.norm() - t / t.norm()) ** 2).sum() for p, t in zip(predictions, targets, strict=True)]
    assert torch.allclose(regression_loss(predictions, targets), torch.stack(rows).mean(), atol=1e-6)


@pytest.mark.parametrize(("target", "expected"), [([3.0, 4.0], 0.0), ([-4.0, 3.0], 2.0), ([-3.0, -4.0], 4.0)])
def test_the_loss_of_equal_orthogonal_and_opposite_rows(target: list[float], expected: float) -> None:
    loss = regression_loss(torch.tensor([[3.0, 4.0]]), torch.tensor([target]))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_loss_ignores_lengths() -> None:
    predictions, targets, lengths = draw(0), draw(1), torch.linspace(0.1, 9, 8)[:, None]
    assert torch.allclose(
        regression_loss(predictions * lengths, targets * lengths.flip(0)), regression_loss(predictions, targets)
    )


def test_the_loss_equals_lightlys_up_to_scale() -> None:
    predictions, targets = draw(0), draw(1)
    expected = 2 + 2 * NegativeCosineSimilarity()(predictions, targets)
    assert torch.allclose(regression_loss(predictions, targets), expected)


def test_the_loss_is_computed_in_float32_under_autocast() -> None:
    predictions, targets = draw(0), draw(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = regression_loss(predictions, targets)
    assert torch.equal(inside, regression_loss(predictions, targets))


@pytest.mark.parametrize("values", [{"hidden_dim": 0}, {"output_dim": 0}, {"momentum": 1.5}, {"momentum": -0.1}])
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        BYOLConfig(**values)


@pytest.mark.parametrize("name", ["augmentation", "second_augmentation"])
def test_an_unknown_augmentation_is_refused(name: str) -> None:
    values: Any = {name: "zz"}
    with pytest.raises(ValueError, match=f"^{name} must be one of 'simclr', .*, got 'zz'"):
        BYOLConfig(**values)


def test_views_are_two_and_only_the_second_is_solarized(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    views = make(BYOL, data, **SMALL).make_views(batch, rng)
    assert views.shape == (2, 12, 1, 8, 8)
    assert not torch.equal(views[0], views[1])
    natural = make(BYOL, replace(data, views="natural"), **SMALL)
    assert [a.solarize_prob for a in natural.augmentations] == [0.0, 0.2]
    assert natural.augmentations == (PRESETS["byol"], PRESETS["byol_prime"])


def test_forward_predicts_the_targets_projection_of_the_other_view(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(BYOL, data, **SMALL)
    with torch.no_grad():
        for parameter in method.target.parameters():
            parameter.add_(0.1)
    views = method.make_views(batch, rng)
    online = nn.Sequential(method.encoder, method.projector, method.predictor)
    first = regression_loss(online(views[0]), method.target(views[1]))
    second = regression_loss(online(views[1]), method.target(views[0]))
    assert torch.allclose(method(views).total, (first + second) / 2)
    assert not torch.allclose(first, second)


def test_each_view_has_its_own_batch_statistics_in_both_networks(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(BYOL, data, **SMALL).train()
    method(method.make_views(batch, rng))
    for network in (method.projector, method.target[1]):
        assert int(network[1].num_batches_tracked) == 2


def test_gradients_reach_the_player_and_never_the_target(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(BYOL, data, **SMALL)
    method(method.make_views(batch, rng)).total.backward()
    trained = {id(p) for p in method.players()[0].parameters}
    online = [*method.encoder.parameters(), *method.projector.parameters(), *method.predictor.parameters()]
    assert trained == {id(p) for p in online}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in online)
    assert all(p.grad is None for p in method.target.parameters())


def test_the_target_starts_equal_to_the_online_network_and_follows_after_a_step(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method = make(BYOL, data, **SMALL, momentum=0.9)
    online = nn.Sequential(method.encoder, method.projector)
    before = [p.clone() for p in method.target.parameters()]
    assert all(torch.equal(t, p) for t, p in zip(before, online.parameters(), strict=True))
    train(method, images, make_context(images), steps=1)
    for old, new, target in zip(before, online.parameters(), method.target.parameters(), strict=True):
        assert torch.allclose(target, 0.9 * old + 0.1 * new, atol=1e-7)
    assert any(not torch.equal(old, new) for old, new in zip(before, online.parameters(), strict=True))


def test_the_momentum_rises_to_one_step_by_step_and_is_logged(make: Any, data: DataSpec, make_context: Any) -> None:
    method, context = make(BYOL, data, **SMALL), make_context(torch.zeros(4, 1, 8, 8))
    momenta = [method.before_step(replace(context, step=step, num_steps=200))["momentum"] for step in (0, 100, 200)]
    assert momenta == pytest.approx([0.99, 0.995, 1.0])
    assert method.momentum == 1.0


def test_training_resumed_from_a_saved_state_has_the_same_losses(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method, context = make(BYOL, data, **SMALL), make_context(images)
    train(method, images, context, steps=3)
    loaded = make(BYOL, data, seed=1, **SMALL)
    loaded.load_state_dict(copy.deepcopy(method.state_dict()))
    assert train(loaded, images, context, steps=3) == train(method, images, context, steps=3)


def test_training_collapses_only_without_the_predictor(
    make: Any, data: DataSpec, digits: Tensor, make_context: Any
) -> None:
    last = {}
    for predictor in (True, False):
        method = make(BYOL, data, hidden_dim=64, output_dim=32, momentum=0.9, predictor=predictor)
        last[predictor] = train(method, digits, make_context(digits), steps=80)[-1]["spread"]
    floor = method(method.make_views(Batch(digits, torch.arange(640)), torch.Generator())).floors["spread"]
    assert last[False] < floor < 0.5 < last[True]


def test_the_loss_falls_on_a_few_images(make: Any, data: DataSpec, digits: Tensor, make_context: Any) -> None:
    method = make(BYOL, data, hidden_dim=64, output_dim=32, momentum=0.9)
    losses = [line["total"] for line in train(method, digits[:64], make_context(digits), steps=100)]
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


def test_other_data_than_images_are_skipped() -> None:
    assert BYOL.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), BYOLConfig()) == "needs images"
