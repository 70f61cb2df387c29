"""DistillHash and SSDH: losses by loops and by hand, what is read before the first epoch, refusals."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import Batch, DataSpec, EpochContext, Objective
from bench_core.errors import ConfigError
from bench_methods.feature_hashing.distillhash import (
    DistillHash,
    DistillHashConfig,
    describe_pairs,
    pair_likelihood_loss,
    ssdh_loss,
)
from bench_methods.feature_hashing.pair_labels import distances, labels_by_limits, limits_by_half_gaussians

SSDH = DistillHash.variants["ssdh"].config
MakeContext = Callable[..., EpochContext]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def some_labels(n: int) -> Tensor:
    labels = torch.randint(-1, 2, (n, n), generator=torch.Generator().manual_seed(3)).float().triu()
    return (labels + labels.T).clamp(-1, 1)


def test_pair_loss_is_the_mean_over_similar_and_over_different_pairs() -> None:
    codes, labels = draw(5, 6).tanh(), some_labels(5)
    terms: dict[float, list[float]] = {1.0: [], -1.0: [], 0.0: []}
    for i in range(5):
        for j in range(5):
            label, inner = labels[i, j].item(), sum(float(codes[i, k] * codes[j, k]) for k in range(6))
            terms[label].append(-math.log(1 / (1 + math.exp(-label * 8 * inner / 6))))
    expected = sum(sum(terms[label]) / len(terms[label]) for label in (1.0, -1.0)) / 2
    assert pair_likelihood_loss(codes, labels, 8.0).item() == pytest.approx(expected, rel=1e-5)


def test_pair_loss_by_hand() -> None:
    codes = torch.tensor([[1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]])
    labels = torch.tensor([[0.0, 1.0, -1.0], [1.0, 0.0, -1.0], [-1.0, -1.0, 0.0]])
    assert pair_likelihood_loss(codes, labels, 4.0).item() == pytest.approx(math.log(1 + math.exp(-4)))
    assert pair_likelihood_loss(0 * codes, labels, 4.0).item() == pytest.approx(math.log(2))
    assert pair_likelihood_loss(codes, 0 * labels, 4.0).item() == 0


def test_ssdh_loss_is_the_weighted_squared_difference() -> None:
    codes, labels = draw(5, 6).tanh(), some_labels(5)
    expected = 0.0
    for i in range(5):
        for j in range(5):
            inner = sum(float(codes[i, k] * codes[j, k]) for k in range(6)) / 6
            expected += abs(labels[i, j].item()) * (inner - labels[i, j].item()) ** 2 / 25
    assert ssdh_loss(codes, labels).item() == pytest.approx(expected, rel=1e-5)


def test_ssdh_loss_by_hand() -> None:
    codes = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    labels = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    assert ssdh_loss(codes, labels).item() == pytest.approx(2 / 4)  # orthogonal codes, 1 from -1, twice
    assert ssdh_loss(0 * codes, labels).item() == 1


@pytest.mark.parametrize("loss", [lambda c, y: pair_likelihood_loss(c, y, 8.0), ssdh_loss])
def test_losses_do_not_change_with_the_sign_of_a_bit_or_the_order_of_items(loss: Any) -> None:
    codes, labels, order = draw(5, 4).tanh(), some_labels(5), torch.tensor([2, 0, 4, 1, 3])
    assert torch.allclose(loss(codes * torch.tensor([1.0, -1.0, -1.0, 1.0]), labels), loss(codes, labels))
    assert torch.allclose(loss(codes[order], labels[order][:, order]), loss(codes, labels))


def test_numbers_of_pairs_by_hand() -> None:
    logits = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0], [-1.0, -1.0, -1.0]])
    labels = torch.tensor([[1.0, 1.0, -1.0], [1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]])  # the diagonal does not count
    numbers = {name: value.item() for name, value in describe_pairs(logits, labels).items()}
    assert numbers == pytest.approx({"kept": 4 / 6, "positive": 1 / 2, "agreement": 1.0})
    opposite = describe_pairs(logits * torch.tensor([1.0, -1.0, -1.0]), -labels)
    assert opposite["agreement"].item() == 0


@pytest.fixture
def filled(hasher: Callable[..., Any], data: DataSpec, images: Tensor, make_context: MakeContext) -> Callable[..., Any]:
    """Function that builds a method and runs its hook before the first epoch."""

    def build(**values: Any) -> Any:
        method = hasher(DistillHash, data, **values)
        method.logged = method.before_epoch(make_context(images))
        return method

    return build


def test_bank_holds_the_teachers_features_at_the_positions_of_the_items(
    hasher: Callable[..., Any], data: DataSpec, images: Tensor, make_teacher: Callable[..., Objective]
) -> None:
    method = hasher(DistillHash, data, neighbours=3)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(5))
    parts = [Batch(images[index], index) for index in torch.split(order, 20)]
    method.before_epoch(EpochContext(0, 2, 0, 8, lambda: iter(parts), torch.Generator()))
    with torch.no_grad():
        assert torch.allclose(method.bank, make_teacher(data).encoder(images), atol=1e-6)
    unit = F.normalize(method.bank, dim=1)
    nearest = (unit @ unit.T).topk(4).indices
    assert all(set(row.tolist()) == set(wanted.tolist()) for row, wanted in zip(method.around, nearest, strict=True))
    assert all(k in method.around[k] for k in range(96))


def test_data_are_read_before_the_first_epoch_alone(filled: Callable[..., Any], make_context: MakeContext) -> None:
    method = filled()
    assert set(method.logged) == {"similar_below", "different_above"}
    assert method.logged["similar_below"] == pytest.approx(method.limits[0].item())
    before = method.bank.clone()
    assert method.before_epoch(make_context(torch.zeros(96, 1, 8, 8), epoch=1)) == {}
    assert torch.equal(method.bank, before)


def test_labels_of_a_batch_do_not_depend_on_the_batch(filled: Callable[..., Any]) -> None:
    for values in ({}, SSDH | {"alpha": 1.0, "beta": 1.0}):
        method = filled(**values)
        index = torch.arange(0, 96, 5)
        whole = method._labels(index, method.bank[index])
        assert whole.any()
        part = torch.tensor([7, 3, 11])
        assert torch.equal(method._labels(index[part], method.bank[index[part]]), whole[part][:, part])


def test_ssdh_labels_come_from_the_limits_of_all_pairs(filled: Callable[..., Any]) -> None:
    method = filled(**SSDH, sample=96)
    expected = limits_by_half_gaussians(distances(method.bank), 2.0, 2.0)
    assert method.limits.tolist() == pytest.approx([value.item() for value in expected])
    index = torch.arange(12)
    labels = labels_by_limits(distances(method.bank[:12]), expected)
    loss = method(index)
    assert loss.total.item() == pytest.approx(ssdh_loss(method.head(method.bank[:12]).tanh(), labels).item())
    assert method.around.shape == (96, 0)


def test_limits_of_a_sample_are_near_those_of_all_pairs(filled: Callable[..., Any]) -> None:
    some, all_items = filled(sample=60), filled(sample=96)
    assert not torch.equal(some.limits, all_items.limits)
    assert torch.allclose(some.limits, all_items.limits, rtol=0.25)


def test_limits_that_no_pair_passes_are_refused(filled: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"no pair of 96 training items .* Lower distillhash\.alpha \(50\)"):
        filled(**SSDH, alpha=50.0, beta=50.0)


def test_rare_kinds_of_pairs_have_a_floor_in_the_log(filled: Callable[..., Any]) -> None:
    loss = filled(**SSDH, alpha=50.0, beta=1.0)(torch.arange(96))
    assert loss.parts["positive"].item() == 0 < loss.floors["positive"]
    assert loss.parts["kept"].item() > loss.floors["kept"]


def test_views_are_positions_and_the_step_reads_no_encoder(filled: Callable[..., Any], batch: Batch) -> None:
    method = filled()
    assert torch.equal(method.make_views(batch, torch.Generator()), batch.index)
    method.encoder = None
    assert method(batch.index).total.isfinite()


def test_any_kind_of_data_is_read() -> None:
    assert DistillHash.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), DistillHashConfig()) is None


@pytest.mark.parametrize("values", [{"margin": 1.0}, {"similar_share": 0.0}, {"neighbours": 0}, {"sample": 1}])
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        DistillHashConfig(**values)
