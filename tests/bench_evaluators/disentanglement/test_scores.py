"""Scores against golden values of an independent implementation, for 10,000 perfect codes of dSprites' factors."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from sklearn.neighbors import NearestCentroid
from sklearn.svm import LinearSVC
from torch import Tensor

from bench_evaluators.disentanglement.scores import (
    binned,
    disentanglement,
    entropies,
    mean_gap,
    med,
    mutual_information,
    nearest_mean_accuracy,
    svm_accuracy,
    tree_importance,
)

SIZES = (3, 6, 40, 32, 32)


def factors(count: int = 10_000, seed: int = 0, sizes: tuple[int, ...] = SIZES) -> Tensor:
    rng = np.random.RandomState(seed)
    return torch.from_numpy(np.stack([rng.randint(0, size, count) for size in sizes], 1))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def turned(codes: Tensor, seed: int) -> Tensor:
    standard = (codes.double() - codes.double().mean(0)) / codes.double().std(0)
    basis: Tensor = torch.linalg.qr(torch.randn(5, 5, generator=rng(seed), dtype=torch.float64))[0]
    return standard @ basis


def mig(codes: Tensor, known: Tensor) -> float:
    return mean_gap(mutual_information(codes, known) / entropies(known))


def test_mutual_information_is_that_of_scikit_learn_on_numpys_histogram() -> None:
    known = factors(2000)
    codes = torch.cat([turned(known, 1), torch.randn(2000, 2, generator=rng()) ** 3], 1)
    information = mutual_information(codes, known, bins=20)
    for j, code in enumerate(codes.T.numpy()):
        cells = np.digitize(code, np.histogram(code, 20)[1][:-1])
        for k, values in enumerate(known.T.numpy()):
            assert float(information[j, k]) == pytest.approx(mutual_info_score(values, cells), abs=1e-9)
    assert entropies(known).tolist() == pytest.approx([mutual_info_score(v, v) for v in known.T.numpy()])


def test_wide_embeddings_are_counted_in_parts_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    known, codes = factors(500), torch.randn(500, 9, generator=rng())
    whole = mutual_information(codes, known)
    monkeypatch.setattr("bench_evaluators.disentanglement.scores._CHUNK", 1000)
    assert torch.equal(mutual_information(codes, known), whole)


def test_bins_have_equal_width_and_the_largest_value_is_in_the_last() -> None:
    assert binned(torch.arange(6.0)[:, None], 20).squeeze(1).tolist() == [0, 4, 8, 12, 16, 19]
    assert binned(torch.tensor([[3.0], [3.0]]), 20).squeeze(1).tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_perfect_codes_have_the_known_mig_and_med(seed: int) -> None:
    known = factors(seed=seed)
    information = mutual_information(known.double(), known)
    assert mig(known.double(), known) == pytest.approx(0.896, abs=0.003)  # not 1: 20 bins for 32 and 40 values
    assert med(information) == pytest.approx(0.935, abs=0.005)  # not 1: the bias of information
    assert med(information, 1) == pytest.approx(med(information))


def test_duplicated_code_has_no_mig_and_the_same_med_and_half_the_completeness() -> None:
    known = factors()
    expected, twice = (mutual_information(known.repeat(1, n).double(), known) for n in (1, 2))
    assert mean_gap(twice / entropies(known)) == 0
    assert med(twice) == pytest.approx(med(expected))
    assert med(twice, 1) == pytest.approx(med(expected))
    weights = [part / part.sum(0) for part in (expected, twice)]
    assert disentanglement(weights[0].T) == pytest.approx(med(expected), abs=0.01)
    assert disentanglement(weights[1].T) < 0.7


def test_independent_gaussians_have_the_known_mig_and_med() -> None:
    known = factors()
    for dims, expected in ((10, 0.005), (128, 0.004)):
        codes = torch.randn(10_000, dims, generator=rng(1))
        assert mig(codes, known) == pytest.approx(0.0002, abs=0.0003)
        assert med(mutual_information(codes, known)) == pytest.approx(expected, abs=0.001)


def test_rotated_codes_are_between_perfect_and_independent_ones() -> None:
    known = factors()
    information = [mutual_information(turned(known, seed), known) for seed in range(8)]
    gaps, meds = ([f(i) for i in information] for f in (lambda i: mean_gap(i / entropies(known)), med))
    assert 0.01 < min(gaps) < max(gaps) < 0.4
    assert 0.1 < min(meds) < max(meds) < 0.6


def test_order_sign_and_scale_of_codes_change_nothing() -> None:
    known = factors()
    codes = turned(known, 0)
    changed = codes[:, [3, 1, 4, 0, 2]] * torch.tensor([2.0, -1.0, 0.1, -5.0, 3.0])
    a, b = (mutual_information(c, known) for c in (codes, changed))
    assert mean_gap(b / entropies(known)) == pytest.approx(mean_gap(a / entropies(known)), abs=1e-3)
    assert med(b) == pytest.approx(med(a), abs=1e-3)
    assert med(b, 1) == pytest.approx(med(a, 1), abs=1e-3)


def test_constant_codes_and_factors_are_measured() -> None:
    known = factors()
    codes = torch.cat([known.double(), torch.ones(10_000, 3, dtype=torch.float64)], 1)
    assert mig(codes, known) == pytest.approx(mig(known.double(), known))
    noise = mutual_information(torch.zeros(10_000, 4), known)
    assert float(noise.max()) == 0
    assert [med(noise), med(noise, 1), mean_gap(noise)] == [0, 0, 0]


def test_disentanglement_by_hand() -> None:
    importance = torch.tensor([[3.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    # code 0 is used for one factor, code 1 for both equally: (3 * 1 + 2 * 0) / 5
    assert disentanglement(importance) == pytest.approx(0.6)
    # completeness: factor 0 is 3:1 in three codes, factor 1 in one code
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(3)
    assert disentanglement(importance.T) == pytest.approx((4 * (1 - entropy) + 1) / 5)
    assert disentanglement(torch.eye(4)) == 1
    assert disentanglement(torch.ones(4, 4)) == 0
    assert disentanglement(torch.zeros(4, 4)) == 0


def test_med_of_the_best_codes_by_hand() -> None:
    information = torch.tensor([[0.6, 0.0], [0.3, 0.1], [0.1, 0.3], [0.0, 0.6]], dtype=torch.float64)
    assert med(information, 1) == 1  # codes 0 and 3
    assert med(information, 2) == pytest.approx(med(information))  # all
    assert med(information, 9) == pytest.approx(med(information))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    assert med(information) == pytest.approx((1.2 * 1 + 0.8 * (1 - entropy)) / 2)


def test_factor_that_no_code_knows_has_no_influence() -> None:
    information = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    assert med(information) == 1
    assert med(information, 1) == 1


def test_nearest_mean_equals_scikit_learns_nearest_centroid() -> None:
    known, test = factors(1000, sizes=(3, 7)), factors(400, seed=1, sizes=(3, 7))
    codes, test_codes = (k.double() @ torch.ones(2, 3, dtype=torch.float64) for k in (known, test))
    codes, test_codes = (c + torch.randn(c.shape, generator=rng(2)) for c in (codes, test_codes))
    for k in range(2):
        accuracy = nearest_mean_accuracy(codes, known[:, k], test_codes, test[:, k])
        for j in range(3):
            fit = NearestCentroid().fit(codes[:, j : j + 1].numpy(), known[:, k].numpy())
            assert float(accuracy[j]) == pytest.approx(fit.score(test_codes[:, j : j + 1].numpy(), test[:, k].numpy()))


def test_nearest_mean_never_answers_with_an_unseen_value() -> None:
    codes, values = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([5, 1, 5])
    assert nearest_mean_accuracy(codes, values, codes, torch.tensor([3, 3, 3])).tolist() == [0]
    assert nearest_mean_accuracy(torch.zeros(3, 1), values, codes, values).isfinite().all()


def test_sap_of_perfect_codes_is_1_minus_chance() -> None:
    known, test = factors(), factors(5000, seed=1)
    accuracy = torch.stack([nearest_mean_accuracy(known, known[:, k], test, test[:, k]) for k in range(5)], 1)
    assert accuracy.diagonal().tolist() == [1] * 5
    assert mean_gap(accuracy) == pytest.approx(1 - np.mean([1 / size for size in SIZES]), abs=0.02)


def test_support_vectors_equal_those_of_the_published_code() -> None:
    known, test = factors(300, sizes=(3, 4)), factors(100, seed=1, sizes=(3, 4))
    accuracy = svm_accuracy(known.float(), known[:, 0], test.float(), test[:, 0])
    svm = LinearSVC(C=0.01, class_weight="balanced").fit(known[:, :1].numpy(), known[:, 0].numpy())
    assert float(accuracy[0]) == svm.score(test[:, :1].numpy(), test[:, 0].numpy())
    assert float(accuracy[0]) > float(accuracy[1])


@pytest.mark.parametrize("boosting", [False, True])
def test_trees_find_perfect_codes(boosting: bool) -> None:
    sizes = (3, 4) if boosting else SIZES
    known, test = factors(1000, sizes=sizes), factors(300, seed=1, sizes=sizes)
    codes, test_codes = (torch.cat([k.float(), torch.randn(len(k), 2, generator=rng())], 1) for k in (known, test))
    importance, right = tree_importance(codes, known, test_codes, test, 0, boosting=boosting)
    assert importance.shape == (len(sizes) + 2, len(sizes))
    assert importance.sum(0).tolist() == pytest.approx([1.0] * len(sizes))
    assert disentanglement(importance) > 0.95
    assert disentanglement(importance.T) > 0.95
    assert right > 0.95


def test_trees_find_nothing_in_noise_and_in_constants() -> None:
    known, test = factors(1000), factors(300, seed=1)
    noise = torch.randn(1000, 6, generator=rng())
    importance, right = tree_importance(noise, known, noise[:300], test, 0)
    assert disentanglement(importance) < 0.02
    assert right < 0.2
    importance, right = tree_importance(torch.zeros(1000, 6), known, torch.zeros(300, 6), test, 0)
    assert float(importance.sum()) == 0
    assert right < 0.2


def test_fewer_items_than_values_are_learned_from_without_a_warning() -> None:
    known = factors(40)
    importance, _ = tree_importance(known.float(), known, known.float(), known, 0)
    assert importance.shape == (5, 5)


def test_items_of_an_unknown_factor_are_left_out_for_this_factor_only() -> None:
    """Counting by scikit-learn on the items whose value is known, factor by factor."""
    whole, codes = factors(2000), torch.randn(2000, 3, generator=rng(4))
    codes[:, 0] += whole[:, 1]
    partly = whole.clone()
    partly[::3, 1] = -1
    information = mutual_information(codes, partly)
    assert torch.equal(information[:, [0, 2]], mutual_information(codes, whole)[:, [0, 2]])
    chosen = partly[:, 1] >= 0
    expected = [mutual_info_score(column[chosen], whole[chosen, 1]) for column in binned(codes, 20).T]
    assert information[:, 1].tolist() == pytest.approx(expected, abs=1e-12)
    assert torch.equal(entropies(partly)[1:2], entropies(whole[chosen])[1:2])


def test_trees_learn_from_the_items_whose_value_is_known() -> None:
    whole = factors(600, sizes=(3, 4))
    codes, partly = whole.float(), whole.clone()
    partly[:200] = -1
    found = tree_importance(codes, partly, codes, partly, seed=0)
    expected = tree_importance(codes[200:], whole[200:], codes[200:], whole[200:], seed=0)
    assert torch.equal(found[0], expected[0])
    assert found[1] == expected[1]
