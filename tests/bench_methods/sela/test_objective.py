import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from bench_core import Batch, DataSpec, Loss, Recipe
from bench_core.config import build, plain
from bench_core.contracts import Clustering
from bench_core.errors import TrainingError
from bench_core.nn.sinkhorn import sinkhorn
from bench_core.training.optimizers import rate_factor
from bench_methods.sela import objective as sela
from bench_methods.sela.objective import SeLa, SeLaConfig, SeLaViews
from bench_methods.sela.relabelling import head_logits

DIGITS = DataSpec(shape=(1, 8, 8), splits={"train": 640}, num_classes=10, views="glyph")


def counts(labels: Tensor, clusters: int) -> list[int]:
    return [int((labels == y).sum()) for y in range(clusters)]


def train(
    method: SeLa,
    images: Tensor,
    make_context: Any,
    *,
    epochs: int,
    first: int = 0,
    last: int | None = None,
    momentum: float = 0.9,
    seed: int = 3,
) -> list[Loss]:
    """Train from epoch `first` to `last` of a run; return the losses of the last epoch."""
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=momentum, weight_decay=5e-4)
    steps = len(images) // 64
    for epoch in range(first, last or epochs):
        method.train()
        losses = []
        context = make_context(images, epoch=epoch, num_epochs=epochs, seed=epoch)
        method.before_epoch(context)
        for step, index in enumerate(torch.randperm(len(images), generator=rng).view(-1, 64)):
            method.before_step(replace(context, step=epoch * steps + step, num_steps=epochs * steps))
            losses.append(method(method.make_views(Batch(images[index], index), rng)))
            optimizer.zero_grad()
            losses[-1].total.backward()
            optimizer.step()
    return losses


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of blocks in each call of Sinkhorn, in the order of the calls."""
    counts: list[int] = []

    def counting(blocks: Any, *args: Any, **values: Any) -> Any:
        counts.append(len(blocks))
        return sinkhorn(blocks, *args, **values)

    monkeypatch.setattr(sela, "sinkhorn", counting)
    return counts


def test_the_loss_is_cross_entropy_head_by_head(make: Any, data: DataSpec, images: Tensor) -> None:
    method = make(SeLa, data, heads=3, clusters=4).eval()
    index = torch.tensor([5, 90, 17, 2])
    features, losses = method.encoder(images[index]), []
    for head in range(3):
        rows = slice(4 * head, 4 * head + 4)
        log_p = (features @ method.heads.weight[rows].T + method.heads.bias[rows]).log_softmax(1)
        losses.append(torch.stack([-log_p[n, method.labels[head, i]] for n, i in enumerate(index)]).mean())
    assert torch.allclose(method(SeLaViews(images[index], index)).total, torch.stack(losses).mean(), atol=1e-6)


def test_a_zero_head_has_the_loss_log_of_the_number_of_clusters(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
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


def test_updates_are_spread_over_the_epochs_from_the_first(
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


def test_round_robin_updates_the_heads_in_turns(make: Any, data: DataSpec, images: Tensor, make_context: Any) -> None:
    method = make(SeLa, data, heads=2, clusters=4, updates=4, round_robin=True)
    served = []
    for epoch in range(8):
        before = method.log_prices.clone()
        method.before_epoch(make_context(images, epoch=epoch, num_epochs=8, seed=epoch))
        served += [head for head in range(2) if not torch.equal(before[head], method.log_prices[head])]
    assert served == [0, 1, 0, 1]


def test_an_update_fills_the_clusters_and_returns_numbers_for_the_log(
    make: Any, digits: Tensor, make_context: Any
) -> None:
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


def test_labels_of_a_training_run_are_balanced_and_match_the_digits(
    make: Any, digits: Tensor, make_context: Any
) -> None:
    method = make(SeLa, DIGITS, heads=2, clusters=16, strength=25.0)
    train(method, digits, make_context, epochs=12)
    for labels in method.labels:
        assert min(counts(labels, 16)) >= 0.7 * 40
        assert max(counts(labels, 16)) <= 1.3 * 40
        assert normalized_mutual_info_score(load_digits().target[:640], labels.numpy()) > 0.4


def test_without_equipartition_the_labels_collapse(make: Any, digits: Tensor, make_context: Any) -> None:
    method = make(SeLa, DIGITS, heads=1, clusters=16, equipartition=False)
    collapsed = train(method, digits, make_context, epochs=12)
    assert len(method.labels[0].unique()) < 16 / 4
    assert method.log_prices.abs().max() == 0
    sound = train(make(SeLa, DIGITS, heads=1, clusters=16), digits, make_context, epochs=3)
    for losses, is_collapsed in ((collapsed, True), (sound, False)):
        entropy = sum(float(loss.parts["label_entropy"]) for loss in losses) / len(losses)
        assert (entropy < losses[0].floors["label_entropy"]) == is_collapsed


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
    method, loaded = (make(SeLa, data, seed=seed, heads=2, clusters=4, updates=2) for seed in (0, 1))
    method.before_epoch(make_context(images))
    loaded.load_state_dict(method.state_dict())
    assert torch.equal(loaded.labels, method.labels)
    assert torch.equal(loaded.log_prices, method.log_prices)
    assert int(loaded.updates_done) == 1
    assert loaded.before_epoch(make_context(images, epoch=1)) == {}
    assert loaded.before_epoch(make_context(images, epoch=2)) != {}


def test_new_images_get_labels_at_the_same_prices(make: Any, data: DataSpec, images: Tensor, make_context: Any) -> None:
    method = make(SeLa, data, heads=2, clusters=4, augmentation="none")
    method.before_epoch(make_context(images, batch_size=96))
    assert method.assign(images).shape == (2, 96)
    assert (method.assign(images) == method.labels).float().mean() > 0.98  # train mode: as in the update


def test_one_cluster_has_no_loss_and_n_clusters_give_each_image_its_own(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    one = make(SeLa, data, heads=1, clusters=1)
    one.before_epoch(make_context(images))
    assert one(SeLaViews(images, torch.arange(96))).total.item() == 0
    each = make(SeLa, data, heads=1, clusters=96, strength=500.0)
    each.before_epoch(make_context(images))
    assert len(each.labels[0].unique()) > 0.9 * 96


def test_equal_features_still_fill_all_clusters(make: Any, data: DataSpec, images: Tensor, make_context: Any) -> None:
    method = make(SeLa, data, heads=2, clusters=4)
    torch.nn.init.zeros_(method.heads.weight)
    method.before_epoch(make_context(images))
    assert all(counts(labels, 4) == [24] * 4 for labels in method.labels)


def test_logits_that_are_not_finite_are_refused(make: Any, data: DataSpec, images: Tensor, make_context: Any) -> None:
    method = make(SeLa, data, heads=2, clusters=4)
    torch.nn.init.constant_(method.heads.weight, math.nan)
    with pytest.raises(TrainingError, match="head 0: its logits are not finite"):
        method.before_epoch(make_context(images))


def test_gradients_reach_the_encoder_and_the_heads(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(SeLa, data)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize(
    "values", [{"clusters": 0}, {"heads": 0}, {"updates": 0}, {"strength": 0.0}, {"block_rows": 0}]
)
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        SeLaConfig(**values)


def test_other_data_than_images_are_skipped() -> None:
    assert SeLa.skip_reason(DataSpec(shape=(7,), splits={"train": 500}), SeLaConfig()) == "needs images"


def test_more_clusters_than_images_leave_some_empty(
    make: Any, data: DataSpec, images: Tensor, make_context: Any
) -> None:
    method = make(SeLa, data, heads=1, clusters=128, strength=100.0)
    assert method.before_epoch(make_context(images))["labels_empty_clusters"] >= 32


@pytest.mark.parametrize(("schedule", "within"), [("linear", 5), ("quadratic", 6)])
def test_updates_within_epochs_are_as_many_as_planned_and_the_first_precedes_training(
    schedule: str, within: int, make: Any, digits: Tensor, make_context: Any, calls: list[int]
) -> None:
    method = make(SeLa, DIGITS, heads=3, clusters=8, updates=7, schedule=schedule)
    random = method.labels.clone()
    assert method.before_epoch(make_context(digits)) == {}
    assert method.before_step(make_context(digits)) != {}
    assert (method.labels != random).any(dim=1).all()
    train(method, digits, make_context, epochs=3)
    assert int(method.updates_done) == within  # times: 4.0001 k / 6 or 4.01 (k / 6)^2 epochs of 3
    assert calls == [1] * within * 3


def test_round_robin_within_epochs_updates_each_head_equally_often(
    make: Any, digits: Tensor, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[str] = []

    def noting(features: Tensor, weight: Tensor, bias: Tensor, name: str, *memory: Any) -> list[Tensor]:
        served.append(name)
        return head_logits(features, weight, bias, name, *memory)

    monkeypatch.setattr(sela, "head_logits", noting)
    method = make(SeLa, DIGITS, heads=2, clusters=8, updates=13, schedule="linear", round_robin=True)
    train(method, digits, make_context, epochs=2)
    assert served == ["head 0", "head 1"] * 4


def test_a_resumed_run_has_the_same_labels(make: Any, digits: Tensor, make_context: Any) -> None:
    values = {"heads": 2, "clusters": 8, "updates": 9, "schedule": "quadratic", "round_robin": True}
    whole, resumed = make(SeLa, DIGITS, **values), make(SeLa, DIGITS, seed=1, **values)
    train(whole, digits, make_context, epochs=4, last=2, momentum=0)
    resumed.load_state_dict(whole.state_dict())
    for method in (whole, resumed):
        train(method, digits, make_context, epochs=4, first=2, momentum=0)
    assert int(resumed.updates_done) == int(whole.updates_done) == 8
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_published_rows_keep_their_keys_and_their_weights_load(make: Any, data: DataSpec) -> None:
    assert set(plain(SeLaConfig())) == {
        *("clusters", "heads", "strength", "updates", "round_robin", "equipartition", "relabel", "augmentation")
    }
    state = {name for name in make(SeLa, data).state_dict() if not name.startswith("encoder.")}
    assert state == {"labels", "log_prices", "updates_done", "heads.weight", "heads.bias"}


def test_mixing_gives_almost_the_labels_of_the_plain_iteration(make: Any, digits: Tensor, make_context: Any) -> None:
    methods = [make(SeLa, DIGITS, heads=1, clusters=16, strength=50.0, **v) for v in ({}, {"mixing": 8})]
    numbers = [method.before_epoch(make_context(digits)) for method in methods]
    assert numbers[1]["sinkhorn_iterations"] < numbers[0]["sinkhorn_iterations"]
    assert numbers[1]["sinkhorn_mass_error"] < 1e-3
    assert (methods[0].labels == methods[1].labels).float().mean() > 0.99
    with pytest.raises(ValueError, match="mixing must be >= 0, got -1"):
        SeLaConfig(mixing=-1)


def test_blocks_and_half_precision_give_the_labels_of_the_whole(
    make: Any, digits: Tensor, make_context: Any, calls: list[int]
) -> None:
    methods = [make(SeLa, DIGITS, heads=1, clusters=16, **v) for v in ({}, {"block_rows": 100}, {"half": True})]
    numbers = [method.before_epoch(make_context(digits)) for method in methods]
    assert calls == [1, 7, 1]
    assert torch.equal(methods[0].labels, methods[1].labels)
    assert (methods[0].labels == methods[2].labels).float().mean() > 0.95  # nearly flat logits: 16-bit features tell
    assert numbers[1]["sinkhorn_planned_gib"] < numbers[2]["sinkhorn_planned_gib"] < numbers[0]["sinkhorn_planned_gib"]


def test_blocks_also_work_without_equipartition(make: Any, digits: Tensor, make_context: Any) -> None:
    methods = [make(SeLa, DIGITS, heads=1, clusters=16, equipartition=False, block_rows=rows) for rows in (None, 100)]
    for method in methods:
        method.before_epoch(make_context(digits))
    assert torch.equal(methods[0].labels, methods[1].labels)


def test_biases_of_the_head_change_no_label(make: Any, data: DataSpec, images: Tensor, make_context: Any) -> None:
    method, moved = make(SeLa, data, heads=2, clusters=4), make(SeLa, data, heads=2, clusters=4)
    with torch.no_grad():
        moved.heads.bias += torch.linspace(-3, 3, 8)
    for each in (method, moved):
        each.before_epoch(make_context(images))
    assert torch.equal(method.labels, moved.labels)


def test_the_method_has_the_ability_to_assign_clusters(make: Any, data: DataSpec, images: Tensor) -> None:
    assert issubclass(SeLa, Clustering)
    labels = make(SeLa, data, heads=3, clusters=4).eval().assign(images)
    assert (labels.shape, labels.dtype) == ((3, 96), torch.int64)


def test_an_untrained_network_has_a_loss_near_the_log_of_the_number_of_clusters(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(SeLa, data, heads=2, clusters=32)
    assert method(method.make_views(batch, rng)).total.item() == pytest.approx(math.log(32), rel=0.1)


def test_rotation_turns_each_view_and_keeps_the_first(
    make: Any, data: DataSpec, batch: Batch, make_context: Any
) -> None:
    plain_views, views = (
        make(SeLa, data, rotation=rotation).make_views(batch, torch.Generator().manual_seed(1))
        for rotation in (False, True)
    )
    assert views.images.shape == (48, 1, 8, 8)
    assert torch.equal(views.images[:12], plain_views.images)
    assert torch.equal(views.images[12:24], plain_views.images.transpose(2, 3).flip(2))  # a quarter, against the clock
    assert torch.equal(views.images[24:36], plain_views.images.flip(2, 3))
    assert torch.equal(views.images[36:], plain_views.images.transpose(2, 3).flip(3))
    assert torch.equal(views.positions, batch.index)


def test_rotation_adds_its_loss_over_all_turns_to_that_of_the_first_copies(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(SeLa, data, heads=2, clusters=4, rotation=True).eval()
    views = method.make_views(batch, rng)
    loss = method(views)
    logits = method.heads(method.encoder(views.images[:12])).view(24, 4)
    labelled = torch.nn.functional.cross_entropy(logits, method.labels[:, batch.index].T.flatten())
    log_p = method.turn_head(method.encoder(views.images)).log_softmax(1)
    turned = -torch.stack([log_p[row, row // 12] for row in range(48)]).mean()
    assert torch.allclose(loss.parts["label_loss"], labelled, atol=1e-6)
    assert torch.allclose(loss.parts["turn_loss"], turned, atol=1e-6)
    assert torch.allclose(loss.total, labelled + turned, atol=1e-6)


def test_rotation_is_learned_together_with_the_labels(make: Any, digits: Tensor, make_context: Any) -> None:
    method = make(SeLa, DIGITS, heads=1, clusters=8, rotation=True)
    losses = train(method, digits, make_context, epochs=12)
    assert losses[-1].parts["turn_loss"] < 0.6 * math.log(4)
    assert losses[-1].parts["label_loss"] < 0.9 * math.log(8)


def test_labels_of_an_earlier_run_can_be_kept_in_a_second_one(make: Any, digits: Tensor, make_context: Any) -> None:
    first = make(SeLa, DIGITS, heads=2, clusters=8)
    train(first, digits, make_context, epochs=8)
    second = make(SeLa, DIGITS, seed=1, heads=2, clusters=8, relabel=False, rotation=True)
    second.labels.copy_(first.labels)
    losses = train(second, digits, make_context, epochs=12)
    assert torch.equal(second.labels, first.labels)
    assert losses[-1].parts["label_loss"] < 0.9 * math.log(8)


def test_rotation_needs_square_images() -> None:
    wide = DataSpec(shape=(3, 8, 16), splits={"train": 9})
    assert SeLa.skip_reason(wide, SeLaConfig()) is None
    assert SeLa.skip_reason(wide, SeLaConfig(rotation=True)) == "rotation needs square images"


def test_variants_equal_the_settings_of_the_scripts() -> None:
    configs = {name: build(SeLaConfig, variant.config, name) for name, variant in SeLa.variants.items()}
    assert {(c.clusters, c.heads) for name, c in configs.items() if name != "cifar_script"} == {(3000, 10)}
    assert [name for name, c in configs.items() if c.round_robin] == ["cifar_script"]
    assert [name for name, c in configs.items() if c.rotation] == ["rotation"]


def test_the_rate_of_the_imagenet_script_falls_at_150_300_and_350_epochs() -> None:
    recipe = build(Recipe, SeLa.variants["alexnet"].recipe, "alexnet", base=SeLa.recipe)
    rates = [recipe.learning_rate * rate_factor(recipe, epoch, 400, 1) for epoch in (149, 150, 299, 300, 349, 350, 399)]
    assert rates == pytest.approx([0.08, 0.008, 0.008, 0.0008, 0.0008, 0.00008, 0.00008])


def test_each_update_but_the_first_starts_from_the_prices_of_the_last(
    make: Any, data: DataSpec, images: Tensor, make_context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts = list[Tensor | None]()

    def watched(*args: Any, start: Tensor | None, **options: Any) -> Any:
        starts.append(None if start is None else start.clone())
        return sinkhorn(*args, start=start, **options)

    monkeypatch.setattr(sela, "sinkhorn", watched)
    method = make(SeLa, data, heads=1, clusters=4, updates=2)
    method.before_epoch(make_context(images, epoch=0, num_epochs=2))
    prices = method.log_prices[0].clone()
    method.before_epoch(make_context(images, epoch=1, num_epochs=2))
    assert starts[0] is None
    assert starts[1] is not None
    assert torch.equal(starts[1], prices)
