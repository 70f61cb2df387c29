from dataclasses import replace
from typing import Any

import pytest
import torch
from lightly.loss import NegativeCosineSimilarity
from torch import Tensor, nn

from bench_core import Batch, DataSpec
from bench_core.training.optimizers import rate_factor
from bench_methods.simsiam import SimSiam, SimSiamConfig, negative_cosine

SMALL = {"hidden_dim": 64, "output_dim": 32, "bottleneck_dim": 8}


def draw(seed: int, rows: int = 8) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))


def train(method: SimSiam, images: Tensor, *, steps: int, rate: float = 0.3) -> list[dict[str, float]]:
    """Train, and return the total and its parts at each step."""
    rng = torch.Generator().manual_seed(3)
    optimizer = torch.optim.SGD(method.parameters(), lr=rate, momentum=0.9)
    lines = []
    for _ in range(steps):
        index = torch.randperm(len(images), generator=rng)[:64]
        loss = method(method.make_views(Batch(images[index], index), rng))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        lines.append({"total": loss.total.item(), **{name: part.item() for name, part in loss.parts.items()}})
    return lines


def test_the_loss_equals_equation_1_row_by_row() -> None:
    predictions, targets = draw(0), draw(1)
    rows = [-(p / p.norm()) @ (t / t.norm()) for p, t in zip(predictions, targets, strict=True)]
    assert torch.allclose(negative_cosine(predictions, targets), torch.stack(rows).mean(), atol=1e-6)


@pytest.mark.parametrize(("target", "expected"), [([3.0, 4.0], -1.0), ([-4.0, 3.0], 0.0), ([-3.0, -4.0], 1.0)])
def test_the_loss_of_equal_orthogonal_and_opposite_rows(target: list[float], expected: float) -> None:
    loss = negative_cosine(torch.tensor([[3.0, 4.0]]), torch.tensor([target]))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_loss_ignores_lengths() -> None:
    predictions, targets, lengths = draw(0), draw(1), torch.linspace(0.1, 9, 8)[:, None]
    assert torch.allclose(
        negative_cosine(predictions * lengths, targets * lengths.flip(0)), negative_cosine(predictions, targets)
    )


def test_the_loss_equals_lightlys() -> None:
    predictions, targets = draw(0), draw(1)
    assert torch.allclose(negative_cosine(predictions, targets), NegativeCosineSimilarity()(predictions, targets))


def test_the_loss_is_computed_in_float32_under_autocast() -> None:
    predictions, targets = draw(0), draw(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = negative_cosine(predictions, targets)
    assert torch.equal(inside, negative_cosine(predictions, targets))


@pytest.mark.parametrize("name", ["projector_layers", "hidden_dim", "output_dim", "bottleneck_dim"])
def test_values_out_of_range_are_refused(name: str) -> None:
    values: Any = {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be >= "):
        SimSiamConfig(**values)


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"augmentation must be one of 'simclr', .*, got 'zz'"):
        SimSiamConfig(augmentation="zz")


def test_views_are_two_different_ones_of_each_image(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    views = make(SimSiam, data, **SMALL).make_views(batch, rng)
    assert views.shape == (2, 12, 1, 8, 8)
    assert not torch.equal(views[0], views[1])


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_forward_and_its_gradient_equal_equation_4(
    make: Any, data: DataSpec, batch: Batch, rng: Any, stop_gradient: bool
) -> None:
    method = make(SimSiam, data, **SMALL, stop_gradient=stop_gradient)
    views = method.make_views(batch, rng)
    total = method(views).total
    weights = list(method.parameters())
    gradients = torch.autograd.grad(total, weights)
    z = [method.projector(method.encoder(view)) for view in views]
    p = [method.predictor(each) for each in z]
    held = [each.detach() if stop_gradient else each for each in z]
    expected = 0.5 * negative_cosine(p[0], held[1]) + 0.5 * negative_cosine(p[1], held[0])
    assert torch.allclose(total, expected)
    for gradient, expected_gradient in zip(gradients, torch.autograd.grad(expected, weights), strict=True):
        assert torch.allclose(gradient, expected_gradient, atol=1e-6)
        assert gradient.isfinite().all()


def test_stopping_the_gradient_changes_the_gradient_and_not_the_loss(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    methods = [make(SimSiam, data, **SMALL, stop_gradient=stop) for stop in (True, False)]
    views = methods[0].make_views(batch, rng)
    totals = [method(views).total for method in methods]
    assert torch.equal(totals[0], totals[1])
    gradients = [torch.autograd.grad(t, m.projector[0].weight)[0] for t, m in zip(totals, methods, strict=True)]
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-2)


@pytest.mark.parametrize("layers", [2, 3])
def test_the_projector_ends_in_batch_norm_of_each_view_without_scale_and_shift(
    make: Any, data: DataSpec, batch: Batch, rng: Any, layers: int
) -> None:
    method = make(SimSiam, data, **SMALL, projector_layers=layers).train()
    assert sum(isinstance(layer, nn.Linear) for layer in method.projector) == layers
    assert list(method.projector[-1].parameters()) == []
    method(method.make_views(batch, rng))
    assert int(method.projector[-1].num_batches_tracked) == 2
    projections = method.projector(method.encoder(batch.inputs))
    assert projections.mean(0).abs().max() < 1e-5


def test_the_predictor_narrows_and_ends_without_norm(make: Any, data: DataSpec) -> None:
    shapes = [tuple(layer.weight.shape) for layer in make(SimSiam, data, **SMALL).predictor if hasattr(layer, "weight")]
    assert shapes == [(8, 32), (8,), (32, 8)]


def test_only_the_predictor_has_a_constant_rate(make: Any, data: DataSpec) -> None:
    method = make(SimSiam, data, **SMALL)
    (player,) = method.players()
    (group,) = player.groups
    assert {id(p) for p in group.parameters} == {id(p) for p in method.predictor.parameters()}
    assert {id(p) for p in player.parameters} == {id(p) for p in method.parameters()}
    recipe = replace(SimSiam.recipe, warmup_epochs=5.0)
    assert [rate_factor(replace(recipe, **group.recipe), step, 100, 2) for step in (0, 50, 99)] == [1.0, 1.0, 1.0]
    assert rate_factor(recipe, 99, 100, 2) < 0.01


def test_training_collapses_only_without_the_stop_gradient(make: Any, data: DataSpec, digits: Tensor) -> None:
    last = {}
    for stop_gradient in (True, False):
        method = make(SimSiam, data, hidden_dim=64, output_dim=64, bottleneck_dim=16, stop_gradient=stop_gradient)
        lines = train(method, digits, steps=200)[-20:]
        last[stop_gradient] = sum(line["directions"] for line in lines) / 20
    floor = method(method.make_views(Batch(digits, torch.arange(640)), torch.Generator())).floors["directions"]
    assert last[False] < floor < last[True] - 0.5


def test_equal_projections_are_below_both_floors(make: Any, data: DataSpec) -> None:
    method = make(SimSiam, data, **SMALL).eval()
    loss = method(torch.ones(2, 8, 1, 8, 8))
    assert set(loss.floors) == {"spread", "directions"}
    assert all(loss.parts[name] < floor for name, floor in loss.floors.items())


def test_the_loss_falls_on_a_few_images(make: Any, data: DataSpec, digits: Tensor) -> None:
    losses = [line["total"] for line in train(make(SimSiam, data, **SMALL), digits[:64], steps=60, rate=0.1)]
    assert sum(losses[:5]) / 5 > -0.3
    assert sum(losses[-10:]) / 10 < -0.5


def test_other_data_than_images_are_skipped() -> None:
    assert SimSiam.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), SimSiamConfig()) == "needs images"
