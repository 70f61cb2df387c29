import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from bench_core import BenchError, DataSpec, Embedded, Encoder, Evaluation, Frozen, NoConfig
from bench_core.conformance.toys import Untrained
from bench_evaluators.correlation_shift import CorrelationShift, CorrelationShiftConfig, bench_evaluators

FACTORS = {"form": 3, "hue": 4}
DATA = DataSpec(shape=(4,), splits={"train": 900, "test": 300, "test_uncorrelated": 600}, factors=FACTORS, name="made")
FORM, HUE = slice(0, 3), slice(3, 7)


class Nothing(Encoder):
    dim = 1

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {}


class Split(Untrained):
    """Method with a subspace for each factor."""

    owned: ClassVar[Mapping[str, slice]] = {"form": FORM, "hue": HUE}

    def subspaces(self) -> Mapping[str, slice]:
        return self.owned


def factors_of(split: str, n: int) -> Tensor:
    """Factors (n, 2); in train and test nine of ten hues are those of the form."""
    rng = torch.Generator().manual_seed(len(split))
    form, hue = torch.randint(3, (n,), generator=rng), torch.randint(4, (n,), generator=rng)
    if split != "test_uncorrelated":
        hue = torch.where(torch.rand(n, generator=rng) < 0.9, form, hue)
    return torch.stack([form, hue], 1)


def one_hot(factors: Tensor, swapped: bool = False, noise: float = 0.0, seed: int = 0) -> Tensor:
    """Latents (N, 7): the form and then the hue; swapped gives the form's subspace the hue and the reverse."""
    form, hue = torch.eye(4)[factors[:, 0]][:, :3], torch.eye(4)[factors[:, 1]]
    if swapped:
        form, hue = hue[:, :3], torch.cat([form, torch.zeros(len(factors), 1)], 1)
    latents = torch.cat([form, hue], 1)
    return latents + noise * torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))


def frozen_of(method: type[Untrained] = Split, embedding: str = "latent", **options: Any) -> Frozen:
    splits = {}
    for seed, (name, count) in enumerate(DATA.splits.items()):
        factors = factors_of(name, count)
        latents = one_hot(factors, seed=seed, **options)
        splits[name] = Embedded({"features": torch.zeros(count, 2), embedding: latents}, factors=factors)
    built = method(Nothing(DATA, NoConfig()), DATA, NoConfig()).eval()
    return Frozen(splits, DATA, 0, torch.device("cpu"), lambda: copy.deepcopy(built), lambda name: pytest.fail("reads"))


def measured(frozen: Frozen, **config: Any) -> tuple[Evaluation, dict[str, float]]:
    result = CorrelationShift(CorrelationShiftConfig(**config)).evaluate(frozen)
    return result, {score.metric: score.value for score in result.scores}


def test_subspaces_of_their_own_factor_alone_are_right_everywhere_and_leak_nothing() -> None:
    result, scores = measured(frozen_of())
    assert result.scores[0].metric == "uncorrelated_accuracy"
    for metric in ("uncorrelated_accuracy", "correlated_accuracy_form", "uncorrelated_accuracy_hue"):
        assert scores[metric] == 1
    assert scores["gap"] == 0
    assert abs(scores["leak"]) < 0.05  # chance, of 600 items


def test_subspaces_of_the_other_factor_are_right_only_with_the_correlation() -> None:
    _, scores = measured(frozen_of(swapped=True))
    assert scores["correlated_accuracy_form"] > 0.9
    assert scores["uncorrelated_accuracy_form"] == pytest.approx(1 / 3, abs=0.06)
    assert scores["gap"] > 0.5
    assert scores["leak"] > 0.6  # 1 - 1/4 and 1 - 1/3: each subspace tells the other factor, but for the fourth hue


def test_accuracies_are_those_of_scikit_learn_on_each_subspace() -> None:
    frozen = frozen_of(noise=0.6)
    result, scores = measured(frozen)
    means = []
    for column, (name, columns) in enumerate({"form": FORM, "hue": HUE}.items()):
        train, shifted = (frozen.splits[split] for split in ("train", "test_uncorrelated"))
        assert train.factors is not None
        assert shifted.factors is not None
        probe = LogisticRegression(C=1e3).fit(train.embeddings["latent"][:, columns], train.factors[:, column])
        expected = probe.score(shifted.embeddings["latent"][:, columns], shifted.factors[:, column])
        assert scores[f"uncorrelated_accuracy_{name}"] == pytest.approx(expected, abs=0.02)
        means.append(scores[f"uncorrelated_accuracy_{name}"])
    assert scores["uncorrelated_accuracy"] == pytest.approx(sum(means) / 2)
    items = result.items["uncorrelated_accuracy"]
    assert float(items.values.mean()) == pytest.approx(scores["uncorrelated_accuracy"])
    assert (items.split, len(items.values)) == ("test_uncorrelated", 600)


def test_other_methods_are_read_whole_and_have_no_leak() -> None:
    result, scores = measured(frozen_of(Untrained), embedding="latent")
    assert scores["uncorrelated_accuracy"] > 0.99  # each probe finds its own factor beside the other
    assert "leak" not in scores
    assert result.notes[0].startswith("form: from latent")
    assert {score.embedding for score in result.scores} == {"latent"}
    _, of_nothing = measured(frozen_of(Untrained))  # features, all 0
    assert of_nothing["uncorrelated_accuracy"] == pytest.approx((1 / 3 + 1 / 4) / 2, abs=0.05)


def test_a_factor_without_a_subspace_is_read_from_the_features() -> None:
    class OfForm(Split):
        owned: ClassVar[Mapping[str, slice]] = {"form": FORM}

    result, scores = measured(frozen_of(OfForm))
    assert scores["uncorrelated_accuracy_form"] == 1
    assert scores["uncorrelated_accuracy_hue"] < 0.4
    assert [note.split(";")[0] for note in result.notes] == [
        "form: from its subspace, 3 latents", "hue: from features",
    ]  # fmt: skip
    assert scores["leak"] < 0.05


def test_chance_is_the_most_frequent_train_value() -> None:
    frozen = frozen_of()
    result, _ = measured(frozen)
    chances = {score.metric: score.chance for score in result.scores}
    train, shifted = (frozen.splits[split].factors for split in ("train", "test_uncorrelated"))
    assert train is not None
    assert shifted is not None
    often = train[:, 0].bincount().argmax()
    assert chances["uncorrelated_accuracy_form"] == pytest.approx(float((shifted[:, 0] == often).double().mean()))


def test_scaling_and_shifting_the_latents_changes_nothing() -> None:
    frozen = frozen_of(noise=0.6)
    moved = {
        name: replace(part, embeddings={"latent": part.embeddings["latent"] * 64 + 8})
        for name, part in frozen.splits.items()
    }
    assert measured(frozen)[1] == pytest.approx(measured(replace(frozen, splits=moved))[1], abs=5e-3)


def test_fewer_train_items_may_be_read_and_factors_chosen() -> None:
    result, scores = measured(frozen_of(noise=0.6), items=200, factors=("hue", "form"))
    assert "fitted to 200 train items" in result.protocol
    assert "factors hue, form" in result.protocol
    assert 0.5 < scores["uncorrelated_accuracy"] < 1


def test_unknown_values_are_refused() -> None:
    frozen = frozen_of()
    test = frozen.splits["test"]
    assert test.factors is not None
    unknown = test.factors.clone()
    unknown[3, 1] = -1
    splits = {**frozen.splits, "test": replace(test, factors=unknown)}
    with pytest.raises(BenchError, match="the test split has unknown values of the factor 'hue'"):
        measured(replace(frozen, splits=splits))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"factors": None}, "needs two known factors or more"),
        ({"factors": {"form": 3}}, "needs two known factors or more"),
        ({"factors": {"form": 3, "b": 2}}, "has no factor 'hue'; there are: form, b; set correlation_shift.factors"),
        ({"splits": {"train": 9, "test": 9}}, "needs a test_uncorrelated split"),
        ({"splits": {"train": 9, "test_uncorrelated": 9}}, "needs a test split"),
    ],
)
def test_data_without_the_shift_are_skipped(changes: Any, reason: str | None) -> None:
    task = CorrelationShift(CorrelationShiftConfig(factors=("form", "hue")))
    assert task.skip_reason(replace(DATA, **changes), Untrained) == reason


@pytest.mark.parametrize("factors", [("form",), ("form", "form")])
def test_fewer_than_two_factors_are_refused(factors: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="factors must be two or more different names, got"):
        CorrelationShiftConfig(factors=factors)


def test_it_is_registered() -> None:
    assert bench_evaluators() == {"correlation_shift": CorrelationShift}
