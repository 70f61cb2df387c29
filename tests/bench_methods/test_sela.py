import math
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from bench_core import Batch, DataSpec
from bench_core.errors import TrainingError
from bench_core.sinkhorn import sinkhorn
from bench_methods.sela import SeLa, SeLaConfig, SeLaViews

DIGITS = DataSpec(shape=(1, 8, 8), splits={"train": 640}, num_classes=10, views="glyph")


def counts(labels: Tensor, clusters: int) -> list[int]:
    return [int((labels == y).sum()) for y in range(clusters)]


def train(method: SeLa, images: Tensor, make_context: Any, *, epochs: int) -> None:
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    rng = torch.Generator().manual_seed(3)
    for epoch in range(epochs):
        method.train()
        method.before_epoch(make_context(images, epoch=epoch, num_epochs=epochs, seed=epoch))
        for index in torch.randperm(len(images), generator=rng).view(-1, 64):
            loss = method(method.make_views(Batch(images[index], index), rng)).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def test_the_loss_is_cross_entropy_head_by_head(make: Any, data: DataSpec, images: Tensor) -> None:
    method = make(SeLa, data, heads=3, clusters=4).eval()
    index = torch.tensor([5, 90, 17, 2])
    features, losses = method.encoder(images[index]), []
    for head in range(3):
        rows = slice(4 * head, 4 * head + 4)
        log_p = (features @ method.heads.weight[rows].T + method.heads.bias[rows]).log_softmax(1)
        losses.append(torch.stack([-log_p[n, method.labels[head, i]] for n, i in enumerate(index)]).mean())
    assert torch.allclose(method(SeLaViews(images[index], index)).total, torch.stack(losses).mean(), atol=1e-6)


def test_a_zero_head_pays_log_of_the_clusters(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(SeLa, data, heads=2, clusters=7)
    torch.nn.init.zeros_(method.heads.weight)
    torch.nn.init.zeros_(method.heads.bias)
    assert method(method.make_views(batch, rng)).total.item() == pytest.approx(math.log(7))


def test_labels_follow_their_images_under_shuffling(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method = make(SeLa, data, heads=2, clusters=4, augmentation="none", strength=20.0)
    context, order = make_context(images), torch.randperm(96, generator=torch.Generator().manual_seed(2))
    shuffled = [Batch(images[index], index) for index in (order,)]
    method.before_epoch(type(context)(0, 4, 0, 1, lambda: iter(shuffled), context.rng))
    features = method.encoder(images)  # train mode: the same statistics of the same 96 images
    for head in range(2):
        rows = slice(4 * head, 4 * head + 4)
        logits = features @ method.heads.weight[rows].T + method.heads.bias[rows]
        assert (method.labels[head] == sinkhorn(logits.detach(), 20.0).labels).float().mean() > 0.98
    assert torch.equal(method.make_views(shuffled[0], context.rng).positions, order)


def test_first_labels_are_random_and_balanced_and_each_head_has_its_own(make: Any, data: DataSpec) -> None:
    method = make(SeLa, data, heads=3, clusters=8)
    assert all(counts(labels, 8) == [12] * 8 for labels in method.labels)
    assert not torch.equal(method.labels[0], method.labels[1])


def test_updates_are_spread_over_the_epochs_from_the_first_on(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    def plan(updates: int, num_epochs: int) -> list[int]:
        method = make(SeLa, data, heads=2, clusters=4, updates=updates)
        contexts = [make_context(images, epoch=epoch, num_epochs=num_epochs) for epoch in range(num_epochs)]
        return [epoch for epoch, context in enumerate(contexts) if method.before_epoch(context)]

    assert plan(1, 5) == [0]
    assert plan(2, 4) == [0, 2]
    assert plan(3, 10) == [0, 4, 7]
    assert plan(4, 4) == [0, 1, 2, 3]
    assert plan(400, 3) == [0, 1, 2]


def test_round_robin_serves_the_heads_in_turns_whatever_the_epochs(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method = make(SeLa, data, heads=2, clusters=4, updates=4, round_robin=True)
    served = []
    for epoch in range(8):
        before = method.log_prices.clone()
        method.before_epoch(make_context(images, epoch=epoch, num_epochs=8, seed=epoch))
        served += [head for head in range(2) if not torch.equal(before[head], method.log_prices[head])]
    assert served == [0, 1, 0, 1]


def test_an_update_fills_the_clusters_and_tells_how_it_went(make: Any, digits: Tensor, make_context: Any) -> None:
    method = make(SeLa, DIGITS, heads=2, clusters=10, strength=25.0)
    before = method.labels.clone()
    numbers = method.before_epoch(make_context(digits))
    sizes = [counts(labels, 10) for labels in method.labels]
    assert numbers["labels_smallest_cluster"] == min(map(min, sizes)) >= 32
    assert numbers["labels_largest_cluster"] == max(map(max, sizes)) <= 96
    assert numbers["labels_empty_clusters"] == 0
    assert numbers["labels_changed"] == pytest.approx((before != method.labels).float().mean().item())
    assert numbers["sinkhorn_mass_error"] < 1e-3
    assert numbers["sinkhorn_iterations"] >= 1


def test_a_training_run_has_balanced_labels_that_know_the_digits(make: Any, digits: Tensor, make_context: Any) -> None:
    method = make(SeLa, DIGITS, heads=2, clusters=16, strength=25.0)
    train(method, digits, make_context, epochs=12)
    for labels in method.labels:
        assert min(counts(labels, 16)) >= 0.7 * 40
        assert max(counts(labels, 16)) <= 1.3 * 40
        assert normalized_mutual_info_score(load_digits().target[:640], labels.numpy()) > 0.4


def test_without_equipartition_the_labels_collapse(make: Any, digits: Tensor, make_context: Any) -> None:
    method = make(SeLa, DIGITS, heads=1, clusters=16, equipartition=False)
    train(method, digits, make_context, epochs=12)
    assert len(method.labels[0].unique()) < 16 / 4
    assert method.log_prices.abs().max() == 0


def test_without_relabelling_the_first_labels_stay(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method = make(SeLa, data, heads=2, clusters=4, relabel=False)
    before = method.labels.clone()
    assert method.before_epoch(make_context(images)) == {}
    assert torch.equal(method.labels, before)


def test_the_same_seed_gives_the_same_labels(make: Any, data: DataSpec, images: Tensor, make_context: Any) -> None:
    runs = []
    for seed in (0, 0, 1):
        method = make(SeLa, data, heads=2, clusters=4)
        method.before_epoch(make_context(images, seed=seed))
        runs.append(method.labels.clone())
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_an_update_moves_no_parameter_and_leaves_the_mode(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method = make(SeLa, data, heads=2, clusters=4).eval()
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    mean = method.encoder.layers[2].running_mean.clone()
    method.before_epoch(make_context(images, batch_size=19))  # the last batch holds one image
    assert all(torch.equal(p, before[name]) for name, p in method.named_parameters())
    assert not torch.equal(method.encoder.layers[2].running_mean, mean)  # train mode, as the reference
    assert not method.encoder.training


def test_state_dict_keeps_labels_prices_and_the_count_of_updates(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method, other = (make(SeLa, data, seed=seed, heads=2, clusters=4, updates=2) for seed in (0, 1))
    method.before_epoch(make_context(images))
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.labels, method.labels)
    assert torch.equal(other.log_prices, method.log_prices)
    assert int(other.updates_done) == 1
    assert other.before_epoch(make_context(images, epoch=1)) == {}
    assert other.before_epoch(make_context(images, epoch=2)) != {}


def test_new_images_get_labels_at_the_same_prices(make: Any, data: DataSpec, images: Tensor, make_context: Any) -> None:
    method = make(SeLa, data, heads=2, clusters=4, augmentation="none")
    method.before_epoch(make_context(images, batch_size=96))
    assert method.assign(images).shape == (2, 96)
    assert (method.assign(images) == method.labels).float().mean() > 0.98  # train mode: as in the update


def test_one_cluster_costs_nothing_and_as_many_as_images_name_each(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    one = make(SeLa, data, heads=1, clusters=1)
    one.before_epoch(make_context(images))
    assert one(SeLaViews(images, torch.arange(96))).total.item() == 0
    each = make(SeLa, data, heads=1, clusters=96, strength=500.0)
    each.before_epoch(make_context(images))
    assert len(each.labels[0].unique()) > 0.9 * 96


def test_a_network_without_variety_still_fills_all_clusters(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method = make(SeLa, data, heads=2, clusters=4)
    torch.nn.init.zeros_(method.heads.weight)
    method.before_epoch(make_context(images))
    assert all(counts(labels, 4) == [24] * 4 for labels in method.labels)


def test_a_diverged_network_is_not_labelled(make: Any, data: DataSpec, images: Tensor, make_context: Any) -> None:
    method = make(SeLa, data, heads=2, clusters=4)
    torch.nn.init.constant_(method.heads.weight, math.nan)
    with pytest.raises(TrainingError, match="head 0: its logits are not finite"):
        method.before_epoch(make_context(images))


def test_gradients_reach_the_encoder_and_the_heads(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(SeLa, data)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("values", [{"clusters": 0}, {"heads": 0}, {"updates": 0}, {"strength": 0.0}])
def test_impossible_values_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        SeLaConfig(**values)


def test_data_that_are_no_images_are_skipped() -> None:
    assert SeLa.skip_reason(DataSpec(shape=(7,), splits={"train": 500}), SeLaConfig()) == "needs images"


def test_more_clusters_than_images_leave_some_empty(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method = make(SeLa, data, heads=1, clusters=128, strength=100.0)
    assert method.before_epoch(make_context(images))["labels_empty_clusters"] >= 32
