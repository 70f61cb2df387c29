import numpy as np
import pytest
import torch
from torch import Tensor

from bench_evaluators.disentanglement.fixed_factor import (
    FactorData,
    Trials,
    _differences,
    _least_varying,
    _trials,
    beta_vae_score,
    factor_vae_score,
    same_value,
    scale_codes,
)

SIZES = (3, 6, 40, 32, 32)
FEW = Trials(train=600, test=400)


def factors(count: int = 3000, seed: int = 0) -> Tensor:
    rng = np.random.RandomState(seed)
    return torch.from_numpy(np.stack([rng.randint(0, size, count) for size in SIZES], 1))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def both(codes: Tensor, known: Tensor, test_codes: Tensor, test: Tensor) -> tuple[float, float]:
    unit, _ = scale_codes(FactorData(codes, known, test_codes, test))
    return factor_vae_score(unit, FEW, rng()), beta_vae_score(unit, FEW, rng())


def test_items_of_a_trial_share_the_value_and_every_such_item_is_drawn() -> None:
    values = torch.tensor([4, 0, 4, 2, 0, 4])
    drawn = same_value(values, torch.tensor([0, 1, 3]), 200, rng())
    assert [set(row.tolist()) for row in drawn] == [{0, 2, 5}, {1, 4}, {3}]
    share = (drawn[0][:, None] == torch.tensor([0, 2, 5])).double().mean(0)
    assert share.tolist() == pytest.approx([1 / 3] * 3, abs=0.1)


def test_the_least_varying_code_by_the_formula() -> None:
    known = factors(200)
    codes = torch.randn(200, 7, generator=rng(3))
    fixed, winner = _least_varying(codes, known, 50, 8, rng(4))
    draws = rng(4)
    assert torch.equal(fixed, torch.randint(5, (50,), generator=draws))
    items = torch.randint(200, (50,), generator=draws)
    for factor in range(5):
        mine = (fixed == factor).nonzero().squeeze(1)
        groups = same_value(known[:, factor], items[mine], 8, draws)
        for trial, group in zip(mine, groups, strict=True):
            assert len(set(known[group, factor].tolist())) == 1
            variances = [np.var(codes[group, j].numpy(), ddof=1) for j in range(7)]
            assert int(winner[trial]) == int(np.argmin(variances))


def test_trials_hold_items_whose_value_of_the_fixed_factor_is_known() -> None:
    whole = torch.arange(60)[:, None] % torch.tensor([2, 3])
    partly = whole.clone()
    partly[10:, 0] = -1
    fixed, index = _trials(partly, 400, 5, rng())
    for factor, most in ((0, 10), (1, 60)):
        drawn = index[fixed == factor]
        assert set(drawn.flatten().tolist()) == set(range(most))
        assert (whole[drawn, factor] == whole[drawn[:, :1], factor]).all()


def test_differences_are_small_only_in_the_code_of_the_shared_factor() -> None:
    known = factors()
    fixed, differences = _differences(known.float(), known, 100, 64, rng())
    assert differences.shape == (100, 5)
    assert bool((differences[torch.arange(100), fixed] == 0).all())
    assert int((differences == 0).sum()) == 100


def test_perfect_codes_score_one_and_independent_ones_chance() -> None:
    known, test = factors(), factors(2000, 1)
    assert both(known, known, test, test) == (1.0, 1.0)
    noise, test_codes = torch.randn(3000, 10, generator=rng(1)), torch.randn(2000, 10, generator=rng(2))
    assert both(noise, known, test_codes, test) == pytest.approx((0.2, 0.2), abs=0.06)


def test_rotated_codes_score_less() -> None:
    known, test = factors(), factors(2000, 1)
    mean, deviation = known.double().mean(0), known.double().std(0)
    basis = torch.linalg.qr(torch.randn(5, 5, generator=rng(1), dtype=torch.float64))[0]
    votes, regression = both(*(x for f in (known, test) for x in (((f - mean) / deviation) @ basis, f)))
    assert votes < 0.95
    assert votes < regression


def test_the_scale_of_an_embedding_changes_nothing_even_where_it_is_small() -> None:
    known, test = factors(), factors(2000, 1)
    small = 1e-4 / 20  # far below the code's cut of .05
    assert both(small * known.double(), known, small * test.double(), test) == both(known, known, test, test)


def test_dead_codes_are_left_out_and_counted() -> None:
    codes = torch.randn(500, 4, generator=rng()) * torch.tensor([1.0, 0.5, 0.04, 0.0])
    none = torch.zeros(500, 1, dtype=torch.int64)
    unit, active = scale_codes(FactorData(codes, none, codes[:100], none[:100]))
    assert active == 2
    assert unit.train.shape == (500, 2)
    assert unit.test.shape == (100, 2)
    assert unit.train.std(0).tolist() == pytest.approx([1.0, 1.0])


def test_constant_embeddings_score_chance() -> None:
    known, test = factors(), factors(2000, 1)
    _, active = scale_codes(FactorData(torch.ones(3000, 3), known, torch.ones(2000, 3), test))
    assert active == 0
    assert both(torch.ones(3000, 3), known, torch.ones(2000, 3), test) == pytest.approx((0.2, 0.2), abs=0.06)


def test_draws_do_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    known, test = factors(), factors(2000, 1)
    codes, test_codes = known + torch.randn(3000, 5, generator=rng()), test + torch.randn(2000, 5, generator=rng(1))
    expected = both(codes, known, test_codes, test)
    monkeypatch.setattr("bench_evaluators.disentanglement.fixed_factor._CHUNK", 1000)
    assert both(codes, known, test_codes, test) == expected
