import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, FactorSubspaces, NoConfig
from bench_core.evaluation.linear_probe import fit_probe, standardise
from bench_core.nn.mutual_information import jensen_shannon
from bench_methods.cmi import (
    CMI,
    UNKNOWN,
    CMIConfig,
    CMIViews,
    bench_objectives,
    drawn_attributes,
    exchanged,
    partners,
    separation,
)

Make = Callable[..., CMI]
Matrix = npt.NDArray[np.float64]


@pytest.fixture
def data() -> DataSpec:
    factors = {"form": 3, "place": 4, "hue": 2}
    return DataSpec(shape=(1, 8, 8), splits={"train": 96, "test": 10}, num_classes=3, factors=factors)


@pytest.fixture
def batch(images: Tensor) -> Batch:
    index = torch.arange(24)
    return Batch(images[:24], index, factors=torch.stack([index % 3, index // 3 % 4, index % 2], 1))


def views_of(method: CMI, batch: Batch, seed: int = 0) -> CMIViews:
    return method.make_views(batch, torch.Generator().manual_seed(seed))


def row_by_row(method: CMI, views: CMIViews) -> tuple[Tensor, Tensor, Tensor]:
    """The cross-entropy, what the critics find, and what they find with both kinds of items exchanged."""
    latents = method.to_latent(method.encoder(views.inputs))
    S = method.config.subspace_dim
    cross_entropy = found = mistaken = torch.zeros(())
    for k in range(len(method.names)):
        own, values = slice(k * S, (k + 1) * S), views.attributes[:, k]
        read = [n for n in range(len(latents)) if values[n] != UNKNOWN]
        for n in read:
            chances = list(method.classifiers)[k](latents[n, own]).softmax(0)
            cross_entropy = cross_entropy - chances[values[n]].log() / len(read)
        kept = [n for n in range(len(latents)) if views.partners[k][n] != n]
        if not len(method.critics):
            continue
        for n in kept:
            other = latents[views.partners[k][n]].clone()
            other[own] = latents[n, own]
            code = torch.zeros(0)
            if method.config.given == "attribute":
                code = torch.eye(method.values[k])[values[n]]
            real, fake = (
                list(method.critics)[k](torch.cat([row, code])[None]).squeeze() for row in (latents[n], other)
            )
            found = found + (2 * math.log(2) - F.softplus(-real) - F.softplus(fake)) / len(kept)
            mistaken = mistaken + (2 * math.log(2) - F.softplus(real) - F.softplus(-fake)) / len(kept)
    return cross_entropy, found, mistaken


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"weight": 0.3, "subspace_dim": 2},
        {"attributes": ("hue", "form", "place")},
        {"given": "nothing"},
        {"labelled": 0.5},
        {"weight": 0.0},
    ],
)
def test_losses_are_those_written_row_by_row(make: Make, data: DataSpec, batch: Batch, values: Any) -> None:
    method = make(CMI, data, **values).eval()
    views = views_of(method, batch)
    loss = method(views)
    cross_entropy, found, mistaken = row_by_row(method, views)
    expected = cross_entropy - method.config.weight * mistaken
    torch.testing.assert_close(loss.total, expected, rtol=1e-4, atol=1e-5)
    assert loss.parts["cross_entropy"].item() == pytest.approx(cross_entropy.item(), rel=1e-4)
    if method.config.weight:
        critic = method(views, "critic")
        torch.testing.assert_close(critic.total, -found, rtol=1e-4, atol=1e-5)
        assert loss.parts["information"].item() == pytest.approx(found.item(), abs=1e-5)
        assert critic.ceilings == {"information": pytest.approx(len(method.names) * 2 * math.log(2))}
    else:
        assert [player.name for player in method.players()] == ["main"]
        assert "information" not in loss.parts


def test_a_critic_without_an_answer_finds_nothing_and_costs_nothing(make: Make, data: DataSpec, batch: Batch) -> None:
    method = make(CMI, data)
    for last in (list(critic.children())[-1] for critic in method.critics):
        for weight in last.parameters():
            torch.nn.init.zeros_(weight)
    views = views_of(method, batch)
    assert method(views, "critic").total.item() == pytest.approx(0, abs=1e-6)
    loss = method(views)
    assert loss.total.item() == pytest.approx(loss.parts["cross_entropy"].item(), abs=1e-6)


def test_separation_is_the_jensen_shannon_estimate_of_the_items_that_are_read() -> None:
    rng = torch.Generator().manual_seed(0)
    joint, shuffled, is_kept = torch.randn(50, generator=rng), torch.randn(50, generator=rng), torch.arange(50) % 3 > 0
    expected = jensen_shannon(joint[is_kept], shuffled[is_kept])
    torch.testing.assert_close(separation(joint, shuffled, is_kept), expected)
    assert separation(joint, shuffled, torch.zeros(50, dtype=torch.bool)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_partners_are_other_items_of_the_same_value_each_once(seed: int) -> None:
    values = torch.randint(7, (60,), generator=torch.Generator().manual_seed(seed))
    values[:5] = UNKNOWN
    values[5] = 20  # alone
    partner = partners(values, torch.Generator().manual_seed(seed))
    assert sorted(partner.tolist()) == list(range(60))
    for n in range(60):
        assert values[partner[n]] == values[n]
        others = int((values == values[n]).sum()) - 1
        assert (partner[n] == n) == (others == 0 or values[n] == UNKNOWN)


def test_each_other_item_of_a_value_is_equally_often_the_partner() -> None:
    rng, counts = torch.Generator().manual_seed(0), torch.zeros(6)
    values = torch.tensor([0, 1, 0, 0, 1, 0])
    for _ in range(900):
        counts[partners(values, rng)[0]] += 1
    assert counts[[0, 1, 4]].sum() == 0
    assert chisquare(counts[[2, 3, 5]].numpy()).pvalue > 0.01


def test_shuffling_within_a_value_keeps_both_distributions_given_the_value(make: Make, data: DataSpec) -> None:
    rng = torch.Generator().manual_seed(0)
    values = torch.randint(3, (300,), generator=rng)
    latent = torch.randn(300, 6, generator=rng) + values[:, None]
    shuffled = exchanged(latent, partners(values, rng), slice(0, 2))
    assert torch.equal(shuffled[:, :2], latent[:, :2])
    assert not torch.equal(shuffled[:, 2:], latent[:, 2:])
    for value in range(3):
        before, after = (rows[values == value, 2:] for rows in (latent, shuffled))
        assert sorted(map(tuple, before.tolist())) == sorted(map(tuple, after.tolist()))


def test_each_subspace_is_shuffled_among_items_of_its_own_attribute(make: Make, data: DataSpec, batch: Batch) -> None:
    assert batch.factors is not None
    views = views_of(make(CMI, data, attributes=("place", "hue")), batch)
    for k, column in enumerate((1, 2)):
        values = batch.factors[:, column]
        assert torch.equal(views.attributes[:, k], values)
        assert torch.equal(values[views.partners[k]], values)
        assert not torch.equal(batch.factors[:, 0][views.partners[k]], batch.factors[:, 0])
    free = views_of(make(CMI, data, given="nothing"), batch)
    assert not any(torch.equal(batch.factors[partner], batch.factors) for partner in free.partners)


def test_other_items_of_the_batch_matter_only_as_partners(make: Make, data: DataSpec, batch: Batch) -> None:
    method = make(CMI, data).eval()
    views = views_of(method, batch)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))
    place = order.argsort()
    moved = CMIViews(views.inputs[order], views.attributes[order], place[views.partners[:, order]])
    for player in ("main", "critic"):
        torch.testing.assert_close(method(moved, player).total, method(views, player).total)


def test_a_tenth_of_each_attribute_is_read_and_the_others_change_nothing(
    make: Make, data: DataSpec, images: Tensor
) -> None:
    method = make(CMI, data, labelled=0.1).eval()
    assert method.is_read.sum(0).tolist() == [10, 10]
    assert not torch.equal(method.is_read[:, 0], method.is_read[:, 1])
    assert torch.equal(method.is_read, make(CMI, data, labelled=0.1, seed=5).is_read)  # whatever the seed
    index = torch.arange(96)
    factors = torch.stack([index % 3, index % 4, index % 2], 1)
    other = factors.clone()
    other[:, :2] = other[:, :2].where(method.is_read, torch.zeros_like(other[:, :2]))
    losses = [method(views_of(method, Batch(images, index, factors=each))).total for each in (factors, other)]
    assert torch.equal(*losses)


def test_a_tenth_contains_what_a_twentieth_does() -> None:
    twentieth, tenth = drawn_attributes(1000, 2, 0.05), drawn_attributes(1000, 2, 0.1)
    assert (int(twentieth.sum()), int(tenth.sum())) == (100, 200)
    assert bool((tenth | ~twentieth).all())


def test_a_batch_without_a_known_attribute_has_no_loss(make: Make, data: DataSpec, batch: Batch) -> None:
    method = make(CMI, data)
    unknown = Batch(batch.inputs, batch.index, factors=torch.full((24, 3), UNKNOWN))
    views = views_of(method, unknown)
    assert method(views).total.item() == 0
    assert method(views, "critic").total.item() == 0


def test_the_critics_loss_does_not_reach_the_encoder(make: Make, data: DataSpec, batch: Batch) -> None:
    method = make(CMI, data)
    method(views_of(method, batch), "critic").total.backward()
    assert all(weight.grad is None for weight in method.encoder.parameters())
    assert all(weight.grad is not None for weight in method.critics.parameters())


def test_each_latent_belongs_to_one_subspace(make: Make, data: DataSpec, batch: Batch) -> None:
    method = make(CMI, data, attributes=("hue", "place"), subspace_dim=3)
    assert isinstance(method, FactorSubspaces)
    assert method.subspaces() == {"hue": slice(0, 3), "place": slice(3, 6)}
    assert method.eval().embed(batch.inputs)["latent"].shape == (24, 6)


class Linear(NamedTuple):
    """Linear-Gaussian data: two targets of variance 1 with a correlation, seen with independent noise of a variance."""

    correlation: float
    noise: float = 0.1

    def targets(self) -> Matrix:
        return np.array([[1, self.correlation], [self.correlation, 1]])

    def latents(self, weights: Matrix) -> Matrix:
        """Covariance (4, 4) of the targets and of the two latents that the rows of `weights` make of the data."""
        sees = np.concatenate([np.eye(2), weights])
        hidden: Matrix = sees @ self.targets() @ sees.T
        hidden[2:, 2:] += self.noise * weights @ weights.T
        return hidden

    def information(self, weights: Matrix, given: int | None) -> float:
        """Information of the two latents in nats; conditional on a target where one is given."""
        covariance = self.latents(weights)
        if given is not None:
            known = covariance[:, given]
            covariance = covariance - np.outer(known, known) / covariance[given, given]
        latents = covariance[2:, 2:]
        return float(-0.5 * np.log(np.linalg.det(latents) / np.diag(latents).prod()))

    def explained(self, weights: Matrix, fitted: "Linear") -> float:
        """Part of the targets' variance that each latent's own regression explains; it was fitted to other data."""
        there, here = fitted.latents(weights), self.latents(weights)
        error = 0.0
        for k in (0, 1):
            slope = there[k, 2 + k] / there[2 + k, 2 + k]
            error += 1 - 2 * slope * here[k, 2 + k] + slope**2 * here[2 + k, 2 + k]
        return 1 - error / 2


def best(train: Linear, penalty: Callable[[Linear, Matrix], float]) -> Matrix:
    """Weights (2, 2), rows (cos a, sin a), of the least regression error among those whose penalty is about 0."""
    angles = np.linspace(0, np.pi, 121)[:-1]
    rows = [np.array([np.cos(a), np.sin(a)]) for a in angles]
    allowed = [w for a in rows for b in rows if abs(np.linalg.det(w := np.stack([a, b]))) > 0.01]
    independent = [w for w in allowed if penalty(train, w) < 2e-4]
    return max(independent, key=lambda w: train.explained(w, train))


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8, 0.95])
def test_without_conditional_information_a_linear_encoder_is_right_at_any_correlation(correlation: float) -> None:
    train, test = Linear(correlation), Linear(0.0)
    conditional = best(train, lambda data, w: max(data.information(w, 0), data.information(w, 1)))
    assert np.abs(conditional) == pytest.approx(np.eye(2), abs=1e-6)  # each latent is the data of its own target
    assert test.explained(conditional, train) == pytest.approx(1 / 1.1, abs=1e-6)  # of the signal, 1, and noise, .1
    assert train.explained(conditional, train) == pytest.approx(1 / 1.1, abs=1e-6)


def test_without_any_information_a_linear_encoder_is_the_worse_the_more_targets_are_correlated() -> None:
    scores = []
    for correlation in (0.0, 0.5, 0.8, 0.95):
        train = Linear(correlation)
        unconditional = best(train, lambda data, w: data.information(w, None))
        assert train.information(unconditional, None) < 2e-4
        scores.append(train.explained(unconditional, train))
    assert scores[0] == pytest.approx(1 / 1.1, abs=1e-3)
    assert all(later < earlier - 0.02 for earlier, later in itertools.pairwise(scores))
    # Paper, appendix: whitened principal components, turned by 45 degrees.
    c, n = 0.8, 0.1
    roots = [math.sqrt(1 + s * c + n) for s in (1, -1)]
    covariance = sum((1 + s * c) / root for s, root in zip((1, -1), roots, strict=True)) / 2
    assert scores[2] == pytest.approx(covariance**2, abs=2e-3)


def two_attributes(n: int, correlation: float, seed: int) -> tuple[Tensor, Tensor]:
    """Items (n, 2) of two binary attributes, each seen in a coordinate of its own, with noise; and the attributes."""
    rng = torch.Generator().manual_seed(seed)
    first = torch.randint(2, (n,), generator=rng)
    second = torch.randint(2, (n,), generator=rng)
    second = torch.where(torch.rand(n, generator=rng) < correlation, first, second)
    factors = torch.stack([first, second], 1)
    return 2.0 * factors - 1 + 0.8 * torch.randn(n, 2, generator=rng), factors


class Given(Encoder):
    """Encoder without parameters: items are their own features."""

    dim = 2

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {}


def shifted_accuracy(**variant: Any) -> float:
    """Mean accuracy without correlation, of probes of each subspace that were fitted with a correlation of .9."""
    inputs, factors = two_attributes(2000, 0.9, 0)
    data = DataSpec(shape=(2,), splits={"train": 2000}, factors={"a": 2, "b": 2})
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        method = CMI(Given(data, NoConfig()), data, CMIConfig(subspace_dim=1, units=16, **{"weight": 1.0, **variant}))
    players = [player for player in method.players() if list(player.parameters)]
    optimizers = {player.name: torch.optim.Adam(player.parameters, lr=0.01) for player in players}
    rng = torch.Generator().manual_seed(0)
    for _ in range(600):
        index = torch.randint(2000, (200,), generator=rng)
        views = method.make_views(Batch(inputs[index], index, factors=factors[index]), rng)
        for player in players:
            loss = method(views, player.name).total
            optimizers[player.name].zero_grad()
            loss.backward(inputs=list(player.parameters))
            optimizers[player.name].step()
    shifted, values = two_attributes(2000, 0.0, 1)
    accuracies = []
    with torch.no_grad():
        train, test = standardise(method.to_latent(inputs), method.to_latent(shifted))
    for k in (0, 1):
        fit = fit_probe(train[:, k : k + 1], factors[:, k], 2, torch.Generator().manual_seed(0)).fit
        accuracies.append(float((fit.logits(test[:, k : k + 1]).argmax(1) == values[:, k]).float().mean()))
    return sum(accuracies) / 2


def test_trained_subspaces_keep_their_attribute_when_the_correlation_goes() -> None:
    plain, conditional = shifted_accuracy(weight=0.0), shifted_accuracy()
    assert conditional > 0.87  # .894 is the best possible: normal noise of deviation .8 around -1 and 1
    assert conditional > plain + 0.05


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"factors": None}, "needs two known factors or more"),
        ({"factors": {"form": 3}}, "needs two known factors or more"),
        ({"factors": {"form": 3, "b": 2}}, "has no factor 'hue'; there are: form, b; set cmi.attributes"),
        ({"transductive": True, "splits": {"train": 9}}, "learns from factors, so it needs a test split"),
        ({}, None),
    ],
)
def test_data_without_the_attributes_are_skipped(data: DataSpec, changes: Any, reason: str | None) -> None:
    told = CMI.skip_reason(replace(data, **changes), CMIConfig(attributes=("form", "hue")))
    assert told is None if reason is None else reason in str(told)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": -1.0}, "weight must be >= 0, got -1.0"),
        ({"labelled": 0.0}, r"labelled must be in \(0, 1\], got 0.0"),
        ({"attributes": ("form",)}, "attributes must be two or more different names"),
        ({"attributes": ("form", "form")}, "attributes must be two or more different names"),
    ],
)
def test_parameters_out_of_range_are_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CMIConfig(**values)


def test_losses_of_seeded_weights_stay_the_same(make: Make, data: DataSpec, batch: Batch) -> None:
    method = make(CMI, data).eval()
    views = views_of(method, batch)
    assert [method(views, player).total.item() for player in ("main", "critic")] == pytest.approx(
        [2.556592226, 0.0003922780], rel=1e-4
    )


def test_it_is_registered() -> None:
    assert bench_objectives() == {"cmi": CMI}
