import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from bench_core import Batch, DataSpec
from bench_methods.infograph.node_information import node_jsd
from bench_methods.infograph.semi_supervised import UNREAD, InfoGraphSemi, InfoGraphSemiConfig


def loss_of(method: Any, batch: Batch) -> Any:
    return method(method.make_views(batch, torch.Generator()))


def test_the_loss_is_the_sum_of_three_terms(make: Any, batch: Batch) -> None:
    method = make(InfoGraphSemi, tie=0.3, labelled=0.5).eval()
    loss = loss_of(method, batch)
    ours, others = method.encoder(batch.inputs), method.unsupervised(batch.inputs)
    rows = [n for n in range(30) if method.is_labelled[n]]
    assert batch.labels is not None
    chances = method.classifier(ours).log_softmax(1)
    cross_entropy = -torch.stack([chances[n, batch.labels[n]] for n in rows]).mean()
    nodes = method.unsupervised.maps(batch.inputs)["nodes"].values
    jsd = node_jsd(method.node_critic(nodes, others), batch.inputs.graph)
    scores, tie = method.tie_critic(ours, others), torch.zeros(())
    for first in range(30):
        for second in range(30):
            score = scores[first, second]
            own = first == second
            tie = tie + ((math.log(2) - F.softplus(-score)) / 30 if own else (math.log(2) - F.softplus(score)) / 870)
    torch.testing.assert_close(loss.total, cross_entropy - jsd - 0.3 * tie, rtol=1e-4, atol=1e-4)
    assert loss.parts["cross_entropy"].item() == pytest.approx(float(cross_entropy.detach()), rel=1e-5)
    assert loss.ceilings == {"jsd": 2 * math.log(2), "tie_jsd": 2 * math.log(2)}


def test_a_tenth_of_the_labels_is_read_and_the_others_change_nothing(make: Any, batch: Batch) -> None:
    method = make(InfoGraphSemi).eval()
    assert int(method.is_labelled.sum()) == 3
    assert batch.labels is not None
    wrong = (batch.labels + 1) % 3
    same = replace(batch, labels=torch.where(method.is_labelled, batch.labels, wrong))
    assert torch.equal(loss_of(method, same).total, loss_of(method, batch).total)
    other = replace(batch, labels=torch.where(method.is_labelled, wrong, batch.labels))
    assert not torch.equal(loss_of(method, other).total, loss_of(method, batch).total)


def test_the_labelled_graphs_are_the_same_at_every_seed_and_follow_from_positions(make: Any, batch: Batch) -> None:
    first, second = (make(InfoGraphSemi, seed=seed) for seed in (0, 1))
    assert torch.equal(first.is_labelled, second.is_labelled)
    order = torch.arange(29, -1, -1)
    assert batch.labels is not None
    moved = Batch(batch.inputs.select(order), order, batch.labels[order])
    views = first.make_views(moved, torch.Generator())
    assert torch.equal(views.labels != UNREAD, first.is_labelled[order])


def test_all_labels_are_read_where_the_part_is_1(make: Any, batch: Batch) -> None:
    method = make(InfoGraphSemi, labelled=1.0)
    assert batch.labels is not None
    assert torch.equal(method.make_views(batch, torch.Generator()).labels, batch.labels)


def test_a_batch_without_labels_trains_on_the_other_terms(make: Any, batch: Batch) -> None:
    method = make(InfoGraphSemi)
    index = (~method.is_labelled).nonzero().squeeze(1)
    assert batch.labels is not None
    loss = loss_of(method, Batch(batch.inputs.select(index), index, batch.labels[index]))
    assert loss.parts["cross_entropy"].item() == 0
    loss.total.backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in method.parameters())


@pytest.mark.parametrize(("tie", "reached"), [(0.0, False), (0.5, True)])
def test_only_the_tie_brings_what_graphs_without_labels_show_to_the_first_encoder(
    tie: float, reached: bool, make: Any, batch: Batch
) -> None:
    method = make(InfoGraphSemi, tie=tie)
    index = (~method.is_labelled).nonzero().squeeze(1)
    assert batch.labels is not None
    loss_of(method, Batch(batch.inputs.select(index), index, batch.labels[index])).total.backward()
    assert any(p.grad is not None and bool(p.grad.any()) for p in method.encoder.parameters()) is reached
    assert any(p.grad is not None and bool(p.grad.any()) for p in method.unsupervised.parameters())


def test_the_encoders_are_two_with_their_own_weights(make: Any, batch: Batch) -> None:
    method = make(InfoGraphSemi).eval()
    embedded = method.embed(batch.inputs)
    assert torch.equal(embedded["features"], method.encoder(batch.inputs))
    assert torch.equal(embedded["unsupervised"], method.unsupervised(batch.inputs))
    assert not torch.allclose(embedded["features"], embedded["unsupervised"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"num_classes": None}, "needs one class for each graph"),
        ({"kind": "vector"}, "needs graphs"),
        ({"splits": {"train": 1}}, "needs two graphs or more"),
    ],
)
def test_data_that_do_not_fit_are_skipped_with_a_reason(changes: Any, reason: str | None, data: DataSpec) -> None:
    assert InfoGraphSemi.skip_reason(replace(data, **changes), InfoGraphSemiConfig()) == reason


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_a_part_of_labels_must_be_above_0_and_at_most_1(value: float) -> None:
    with pytest.raises(ValueError, match=r"labelled must be in \(0, 1\]"):
        InfoGraphSemiConfig(labelled=value)
