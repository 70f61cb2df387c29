import itertools
import math
from dataclasses import replace
from typing import Literal, cast

import pytest
import torch
from torch import Tensor, nn

from bench_core import Batch, Encoder
from bench_core.contracts import EpochContext
from bench_core.errors import TrainingError
from bench_methods.sela.relabelling import (
    describe_labels,
    head_logits,
    is_due,
    label_entropy,
    over_heads,
    training_features,
)

AT_START = EpochContext(0, 1, 0, 1, lambda: iter(()), torch.Generator())


def plan(
    schedule: Literal["epochs", "linear", "quadratic"],
    updates: int,
    num_epochs: int,
    steps_per_epoch: int,
    only: int | None = None,
) -> list[int]:
    """Return the steps before which an update takes place, within the first `only` epochs."""
    run = replace(AT_START, num_epochs=num_epochs, num_steps=num_epochs * steps_per_epoch)
    steps: list[int] = []
    for step in range((only or num_epochs) * steps_per_epoch):
        if is_due(schedule, updates, len(steps), replace(run, step=step, epoch=step // steps_per_epoch)):
            steps.append(step)
    return steps


@pytest.mark.parametrize("batch_size", [1, 10])
@pytest.mark.parametrize(("updates", "num_epochs"), [(400, 400), (80, 40), (12, 40)])
def test_updates_are_due_at_the_times_of_the_scripts(updates: int, num_epochs: int, batch_size: int) -> None:
    items, parts = 50, [k / (updates - 1) for k in range(updates)]
    linear = [(num_epochs + 1.0001) * items * part for part in parts]
    quadratic = [(num_epochs + 1.01) * items * part**2 for part in parts]
    steps = items // batch_size
    for schedule, times in (("linear", linear), ("quadratic", quadratic)):
        queue, expected = list(times), []
        for step in range(num_epochs * steps):  # as the scripts do: at most one a step
            if queue and step * batch_size >= queue[0]:
                queue.pop(0)
                expected.append(step)
        assert plan(schedule, updates, num_epochs, steps) == expected  # type: ignore[arg-type]  # both are names
        assert expected[0] == 0
        assert len(expected) < updates  # the last time is never reached


def test_the_cifar_script_updates_about_once_an_epoch() -> None:
    steps = plan("linear", 400, 400, 40)
    assert len(steps) == 398  # the 399th falls between the last two batches and the end
    assert all(40 <= after - before <= 41 for before, after in itertools.pairwise(steps))


def test_the_imagenet_script_updates_most_often_at_the_start() -> None:
    epochs = [step / 5000 for step in plan("quadratic", 100, 400, 5000, only=1)[:5]]
    assert epochs == pytest.approx([0, 0.0409, 0.1637, 0.3682, 0.6547], abs=2e-4)


def test_a_single_update_comes_before_the_first_step_in_each_schedule() -> None:
    assert plan("epochs", 1, 5, 4) == plan("linear", 1, 5, 4) == plan("quadratic", 1, 5, 4) == [0]


def test_label_entropy_is_that_of_the_head_where_it_is_lowest() -> None:
    even, skewed = torch.arange(12) % 4, torch.tensor([0] * 9 + [1, 2, 3])
    parts = [9 / 12, 1 / 12, 1 / 12, 1 / 12]
    expected = -sum(p * math.log(p) for p in parts) / math.log(4)
    assert label_entropy(even[None], 4).item() == pytest.approx(1)
    assert label_entropy(torch.stack((even, skewed)), 4).item() == pytest.approx(expected)


def test_label_entropy_is_0_in_one_of_several_clusters_and_1_without_a_choice() -> None:
    assert label_entropy(torch.zeros(2, 9, dtype=torch.int64), 4).item() == 0
    assert label_entropy(torch.zeros(2, 9, dtype=torch.int64), 1).item() == 1
    assert label_entropy(torch.zeros(2, 1, dtype=torch.int64), 4).item() == 1
    assert label_entropy(torch.arange(6)[None], 3000).item() == pytest.approx(1)  # six items, each its own


def test_labels_are_described_by_cluster_sizes_and_changes() -> None:
    before, labels = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 2, 1, 1, 1])
    assert describe_labels(labels, before, 4) == {
        "labels_smallest_cluster": 0,
        "labels_largest_cluster": 3,
        "labels_empty_clusters": 1,
        "labels_changed": pytest.approx(0.2),
    }


def test_numbers_of_several_heads_are_the_worst_and_of_changes_the_mean() -> None:
    one = {"labels_smallest_cluster": 3, "labels_largest_cluster": 9, "labels_changed": 0.5}
    two = {"labels_smallest_cluster": 4, "labels_largest_cluster": 7, "labels_changed": 0.1}
    assert over_heads([one, two]) == {
        "labels_smallest_cluster": 3,
        "labels_largest_cluster": 9,
        "labels_changed": pytest.approx(0.3),
    }


@pytest.fixture
def head() -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(11, 5, generator=rng), torch.randn(3, 5, generator=rng), torch.randn(3, generator=rng)


def test_blocks_of_logits_join_to_the_logits_of_all_items(head: tuple[Tensor, Tensor, Tensor]) -> None:
    features, weight, bias = head
    whole, blocks = head_logits(*head, "head 0"), head_logits(*head, "head 0", block_rows=4)
    assert torch.equal(whole[0], features @ weight.T + bias)
    assert [len(block) for block in blocks] == [4, 4, 3]
    assert torch.allclose(torch.cat(blocks), whole[0], atol=1e-6)


def test_float16_blocks_are_logits_minus_the_maximum_of_their_row(head: tuple[Tensor, Tensor, Tensor]) -> None:
    (whole,), (half,) = head_logits(*head, "head 0"), head_logits(*head, "head 0", half=True)
    assert half.dtype == torch.float16
    assert torch.allclose(half.float(), whole - whole.amax(1, keepdim=True), rtol=1e-3)


def test_the_error_for_logits_that_are_not_finite_names_their_head(head: tuple[Tensor, Tensor, Tensor]) -> None:
    features, weight, bias = head
    bias[1] = -math.inf
    for half in (False, True):
        with pytest.raises(TrainingError, match="cannot relabel head 7: its logits are not finite"):
            head_logits(features, weight, bias, "head 7", half=half)


@pytest.mark.parametrize(
    ("updates", "num_epochs", "epochs"),
    [(1, 5, [0]), (2, 4, [0, 2]), (3, 10, [0, 4, 7]), (4, 4, [0, 1, 2, 3]), (400, 3, [0, 1, 2])],
)
def test_updates_of_epochs_are_spread_evenly(updates: int, num_epochs: int, epochs: list[int]) -> None:
    assert plan("epochs", updates, num_epochs, 1) == epochs


@pytest.mark.parametrize("half", [False, True])
def test_features_of_all_batches_lie_in_the_order_of_the_split(half: bool) -> None:
    rows = torch.arange(5.0)[:, None].expand(5, 3)
    encoder = nn.BatchNorm1d(3).eval()
    index = [torch.tensor([3, 0]), torch.tensor([4, 1]), torch.tensor([2])]  # the last batch has one item
    context = replace(AT_START, batches=lambda: (Batch(rows[i], i) for i in index))
    features = training_features(cast(Encoder, encoder), lambda batch: batch.inputs, context, 5, half=half)
    assert features.dtype == (torch.float16 if half else torch.float32)
    assert features[:, 0].sign().tolist() == [-1, -1, 1, 1, 1]  # pairs are normalised, (3, 0) and (4, 1)
    assert not encoder.training
