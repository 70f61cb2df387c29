import copy
import math
from collections import deque
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss
from torch import Tensor, nn

from bench_core import Batch, DataSpec
from bench_core.nn.momentum import enqueue
from bench_methods.moco import MoCo, MoCoConfig, in_parts, info_nce

SMALL = {"output_dim": 6, "queue_size": 40}


def draw(seed: int, rows: int = 8) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))


def unit(seed: int, rows: int = 8) -> Tensor:
    return F.normalize(draw(seed, rows), dim=1)


def train(
    method: MoCo, images: Tensor, context: Any, *, steps: int, num_steps: int = 100, rate: float = 0.1
) -> list[float]:
    """Train, and return the loss at each step."""
    rng = torch.Generator().manual_seed(3)
    optimizer = torch.optim.SGD(method.players()[0].parameters, lr=rate, momentum=0.9)
    losses = []
    for step in range(steps):
        method.before_step(replace(context, step=step, num_steps=num_steps))
        index = torch.randperm(len(images), generator=rng)[:64]
        loss = method(method.make_views(Batch(images[index], index), rng)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        method.after_step()
        losses.append(loss.item())
    return losses


def test_info_nce_equals_equation_1_row_by_row() -> None:
    queries, keys, queue, t = draw(0), unit(1), unit(2, 11), 0.3
    losses = []
    for q, key in zip(queries / queries.norm(dim=1, keepdim=True), keys, strict=True):
        scores = torch.stack([q @ key / t, *(q @ negative / t for negative in queue)]).exp()
        losses.append(-(scores[0] / scores.sum()).log())
    assert torch.allclose(info_nce(queries, keys, queue, t), torch.stack(losses).mean(), atol=1e-6)


def test_info_nce_of_equal_keys_is_the_log_of_their_number() -> None:
    key = F.normalize(torch.ones(1, 5), dim=1)
    assert info_nce(draw(0), key.expand(8, 5), key.expand(11, 5), 0.1).item() == pytest.approx(math.log(12))


def test_info_nce_ignores_lengths_of_queries_and_the_order_of_the_queue() -> None:
    queries, keys, queue = draw(0), unit(1), unit(2, 11)
    expected = info_nce(queries, keys, queue, 0.2)
    assert torch.allclose(info_nce(queries * torch.linspace(0.1, 9, 8)[:, None], keys, queue, 0.2), expected)
    assert torch.allclose(info_nce(queries, keys, queue.flip(0), 0.2), expected)


def test_info_nce_equals_lightlys_with_a_memory_bank() -> None:
    queries, keys, queue = draw(0), unit(1), unit(2, 11)
    theirs = NTXentLoss(temperature=0.2, memory_bank_size=(11, 5))
    theirs.memory_bank.bank = queue
    assert torch.allclose(info_nce(queries, keys, queue, 0.2), theirs(queries, keys), atol=1e-6)


def test_info_nce_is_computed_in_float32_under_autocast() -> None:
    queries, keys, queue = draw(0), unit(1), unit(2, 11)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = info_nce(queries, keys, queue, 0.1)
    assert torch.equal(inside, info_nce(queries, keys, queue, 0.1))


@pytest.mark.parametrize(
    "values",
    [{"hidden_dim": -1}, {"output_dim": 0}, {"temperature": 0.0}, {"queue_size": 0}, {"parts": 0}, {"momentum": 1.5}],
)
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))}.* must be"):
        MoCoConfig(**values)
    with pytest.raises(ValueError, match="final_momentum must be"):
        MoCoConfig(final_momentum=-0.1)


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(ValueError, match=r"augmentation must be one of 'simclr', .*, got 'zz'"):
        MoCoConfig(augmentation="zz")


@pytest.mark.parametrize("name", MoCo.variants)
def test_variants_are_values_of_config_and_recipe(name: str) -> None:
    settings = MoCo.variants[name].settings
    recipe: Any = {key.removeprefix("recipe."): value for key, value in settings.items() if key.startswith("recipe.")}
    values: Any = {key: value for key, value in settings.items() if not key.startswith("recipe.")}
    assert MoCoConfig(**values) != MoCoConfig()
    assert replace(MoCo.recipe, **recipe) != MoCo.recipe


def test_the_mean_of_both_orders_makes_the_demos_steps_of_their_sum() -> None:
    recipe = MoCo.recipe
    assert recipe.learning_rate * 0.5 == pytest.approx(0.06)
    assert recipe.learning_rate * recipe.weight_decay == pytest.approx(0.06 * 5e-4)


@pytest.mark.parametrize("symmetric", [True, False])
def test_forward_scores_keys_of_the_other_view_against_the_queue_before_they_enter_it(
    make: Any, data: DataSpec, batch: Batch, rng: Any, symmetric: bool
) -> None:
    method = make(MoCo, data, **SMALL, symmetric=symmetric, parts=1, temperature=0.2)
    with torch.no_grad():
        for parameter in method.target.parameters():
            parameter.add_(0.1)
    views, before = method.make_views(batch, rng), method.queue.clone()
    online = nn.Sequential(method.encoder, method.projector)
    pairs = [(0, 1), (1, 0)] if symmetric else [(0, 1)]
    keys = [F.normalize(method.target(views[answers]), dim=1) for _, answers in pairs]
    orders = [info_nce(online(views[asks]), k, before, 0.2) for (asks, _), k in zip(pairs, keys, strict=True)]
    assert torch.allclose(method(views).total, torch.stack(orders).mean(), atol=1e-6)
    assert torch.equal(method.queue, before)
    method.after_step()
    new = torch.cat(keys)
    assert int(method.position) == len(new)
    assert torch.allclose(method.queue[: len(new)], new, atol=1e-6)
    assert torch.equal(method.queue[len(new) :], before[len(new) :])


def test_a_queue_may_have_any_size_even_smaller_than_a_batch(make: Any, data: DataSpec, images: Tensor) -> None:
    rng = torch.Generator().manual_seed(0)
    for size, position in ((50, 22), (5, 2)):
        method = make(MoCo, data, output_dim=6, queue_size=size)
        for start in (0, 12, 24):
            index = torch.arange(start, start + 12)
            assert method(method.make_views(Batch(images[index], index), rng)).total.isfinite()
            method.after_step()
        assert int(method.position) == position
        assert torch.allclose(method.queue.norm(dim=1), torch.ones(size))
        assert torch.equal(method.queue.roll(-position, 0)[-5:], method.new_keys[-5:])


def test_keys_of_a_part_are_not_the_queries_of_a_part(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(MoCo, data, **SMALL, parts=3)
    views, seen = method.make_views(batch, rng), list[Tensor]()
    method.encoder.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    method.target[0].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    method(views)
    assert [len(part) for part in seen] == [4] * 12
    assert torch.equal(seen[0], views[0, :4])
    assert torch.equal(seen[6], views[1, ::3])


def test_views_are_two_different_ones_of_each_image(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    views = make(MoCo, data, **SMALL).make_views(batch, rng)
    assert views.shape == (2, 12, 1, 8, 8)
    assert not torch.equal(views[0], views[1])


def test_the_queue_starts_as_unit_rows_and_the_target_as_the_online_network(make: Any, data: DataSpec) -> None:
    method = make(MoCo, data, **SMALL)
    assert torch.allclose(method.queue.norm(dim=1), torch.ones(40))
    online = nn.Sequential(method.encoder, method.projector)
    assert all(torch.equal(t, p) for t, p in zip(method.target.parameters(), online.parameters(), strict=True))


@pytest.mark.parametrize("hidden_dim", [0, 9])
def test_gradients_reach_the_player_and_never_target_or_queue(
    make: Any, data: DataSpec, batch: Batch, rng: Any, hidden_dim: int
) -> None:
    method = make(MoCo, data, **SMALL, hidden_dim=hidden_dim)
    method(method.make_views(batch, rng)).total.backward()
    online = [*method.encoder.parameters(), *method.projector.parameters()]
    assert len(method.projector) == (3 if hidden_dim else 1)
    assert {id(p) for p in method.players()[0].parameters} == {id(p) for p in online}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in online)
    assert all(p.grad is None for p in method.target.parameters())
    assert not method.new_keys.requires_grad


def test_after_a_step_the_target_moves_by_one_minus_the_momentum(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method = make(MoCo, data, **SMALL, momentum=0.9, final_momentum=0.9)
    before = [p.clone() for p in method.target.parameters()]
    train(method, images, make_context(images), steps=1)
    online = nn.Sequential(method.encoder, method.projector).parameters()
    for old, new, target in zip(before, online, method.target.parameters(), strict=True):
        assert torch.allclose(target, 0.9 * old + 0.1 * new, atol=1e-7)


def test_the_momentum_goes_from_first_to_last_and_is_logged(make: Any, data: DataSpec, make_context: Any) -> None:
    method, context = make(MoCo, data, **SMALL, final_momentum=0.999), make_context(torch.zeros(4, 1, 8, 8))
    momenta = [method.before_step(replace(context, step=step, num_steps=200))["momentum"] for step in (0, 100, 200)]
    assert momenta == pytest.approx([0.99, 0.9945, 0.999])


def test_training_resumed_from_a_saved_state_has_the_same_losses(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method, context = make(MoCo, data, **SMALL), make_context(images)
    train(method, images, context, steps=3)
    loaded = make(MoCo, data, seed=1, **SMALL)
    loaded.load_state_dict(copy.deepcopy(method.state_dict()))
    assert train(loaded, images, context, steps=3) == train(method, images, context, steps=3)


@pytest.mark.parametrize(
    ("size", "symmetric", "warns"), [(192, True, 0), (194, True, 1), (96, False, 0), (98, False, 1)]
)
def test_a_queue_with_more_images_than_the_train_split_gives_a_warning(
    make: Any, data: DataSpec, batch: Batch, rng: Any, size: int, symmetric: bool, warns: int
) -> None:
    method = make(MoCo, data, output_dim=6, queue_size=size, symmetric=symmetric)
    warnings = method(method.make_views(batch, rng)).warnings
    assert len(warnings) == warns
    assert all("lower moco.queue_size" in text and f"{size} keys" in text for text in warnings)
    assert all(f"are of {size // (1 + symmetric)} images" in text for text in warnings)


def test_the_loss_falls_below_that_of_chance_and_queries_spread(
    make: Any, data: DataSpec, digits: Tensor, make_context: Any
) -> None:
    method = make(MoCo, data, output_dim=16, queue_size=128, parts=1, momentum=0.9, final_momentum=0.9)
    losses = train(method, digits, make_context(digits), steps=150)
    assert sum(losses[-10:]) / 10 < math.log(129) - 1
    loss = method(method.make_views(Batch(digits, torch.arange(640)), torch.Generator().manual_seed(0)))
    assert loss.parts["spread"] > 3 * loss.floors["spread"]


def test_equal_queries_are_below_the_floor(make: Any, data: DataSpec) -> None:
    loss = make(MoCo, data, **SMALL).eval()(torch.ones(2, 8, 1, 8, 8))
    assert loss.parts["spread"] < loss.floors["spread"]


def test_other_data_than_images_are_skipped() -> None:
    assert MoCo.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), MoCoConfig()) == "needs images"


class Record(nn.Module):
    """Network that returns its inputs and records which ones came in one call."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.flatten().int().tolist())
        return images.flatten(1)


@pytest.mark.parametrize("size", [1, 3, 4, 7, 50])
def test_a_queue_keeps_the_last_rows_whatever_their_number_and_its_size(size: int) -> None:
    queue, position = torch.full((size, 1), -1.0), torch.tensor(0)
    expected = deque([-1.0] * size, maxlen=size)
    for step in range(12):
        rows = 10 * step + torch.arange(4.0)[:, None]
        enqueue(queue, position, rows)
        expected.extend(rows.flatten().tolist())
        assert queue.roll(-int(position), 0).flatten().tolist() == list(expected)  # the oldest first
    assert int(position) == 48 % size


def test_enqueueing_no_rows_changes_nothing() -> None:
    queue, position = torch.rand(5, 2), torch.tensor(3)
    before = queue.clone()
    enqueue(queue, position, torch.empty(0, 2))
    assert torch.equal(queue, before)
    assert int(position) == 3


@pytest.mark.parametrize("dealt", [False, True])
@pytest.mark.parametrize(("n", "parts"), [(8, 4), (9, 4), (7, 8), (3, 8), (1, 8), (16, 1)])
def test_rows_return_in_order_and_no_part_has_a_single_image(n: int, parts: int, dealt: bool) -> None:
    network, images = Record(), torch.arange(float(n))[:, None, None, None]
    assert in_parts(network, images, parts, dealt=dealt).flatten().tolist() == list(range(n))
    assert len(network.seen) == max(1, min(parts, n // 2))
    assert min(map(len, network.seen)) >= min(2, n)


def test_dealt_parts_take_images_in_turns() -> None:
    network, images = Record(), torch.arange(9.0)[:, None, None, None]
    in_parts(network, images, 4)
    in_parts(network, images, 4, dealt=True)
    assert network.seen[:4] == [[0, 1, 2], [3, 4], [5, 6], [7, 8]]
    assert network.seen[4:] == [[0, 4, 8], [1, 5], [2, 6], [3, 7]]


def test_each_part_has_batch_statistics_of_its_own() -> None:
    norm = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3, affine=False))
    images = torch.randn(12, 3, 1, 1, generator=torch.Generator().manual_seed(0)) + torch.arange(12.0).view(-1, 1, 1, 1)
    assert in_parts(norm, images, 1).mean(0).abs().max() < 1e-6
    for part in in_parts(norm, images, 3).view(3, 4, 3):
        assert part.mean(0).abs().max() < 1e-6


def test_running_statistics_move_as_far_in_parts_as_with_whole_batches() -> None:
    images = torch.randn(32, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + 2
    whole, parts = (nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()) for _ in range(2))
    in_parts(whole, images, 1)
    in_parts(parts, images, 8)
    norms = [network[0] for network in (whole, parts)]
    means = [norm.running_mean for norm in norms if isinstance(norm, nn.BatchNorm2d)]
    assert means[0] is not None
    assert means[1] is not None
    assert torch.allclose(means[0], 0.1 * images.mean((0, 2, 3)), rtol=1e-4)
    assert torch.allclose(means[0], means[1], rtol=0.06)
    assert all(norm.momentum == 0.1 for norm in norms if isinstance(norm, nn.BatchNorm2d))
