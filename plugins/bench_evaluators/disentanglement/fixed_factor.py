"""Which factor is held fixed in a few items, told from their codes: the FactorVAE and the beta-VAE score.

The papers ask a generator for items that share a factor. Here they are drawn from items that were embedded: those that
have the same value of the factor, with replacement, so no generator is needed; the other factors vary as they do there.

Papers: Kim and Mnih, ICML 2018, https://arxiv.org/abs/1802.05983 (FactorVAE); Higgins et al., ICLR 2017,
        https://openreview.net/forum?id=Sy2fzU9gl (beta-VAE)
Code:   https://github.com/google-research/disentanglement_lib (86a644d)

Shapes: N items of train, M of test, D codes, F factors, T trials, B items a trial.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench_core.evaluation.logistic_regression import LogisticProblem

_AT_ONCE = 2**23  # values of codes that are gathered at once


@dataclass(frozen=True)
class Known:
    """Codes of items whose factors are known: some to learn from, others to score on.

    Attributes:
        train: (N, D) floats.
        train_factors: (N, F) int64, >= 0.
        test: (M, D).
        test_factors: (M, F).
    """

    train: Tensor
    train_factors: Tensor
    test: Tensor
    test_factors: Tensor

    def shuffled(self, rng: torch.Generator) -> "Known":
        """The same codes with other items' factors."""
        first, second = (f[torch.randperm(len(f), generator=rng)] for f in (self.train_factors, self.test_factors))
        return Known(self.train, first, self.test, second)


@dataclass(frozen=True)
class Trials:
    """How often, and with how many items.

    Attributes:
        train: Trials from which the answers are learned.
        test: Trials on which they are scored.
        batch: B, items that share a value in a trial (pairs, for the beta-VAE score).
    """

    train: int = 10_000
    test: int = 5_000
    batch: int = 64


def same_value(values: Tensor, items: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """For each of these items so many others with the same value, with replacement.

    Args:
        values: (N,) int64 of one factor, >= 0.
        items: (T,) int64.
        count: B.
        rng: On the CPU.

    Returns:
        (T, B) int64 in [0, N).
    """
    order, sizes = values.argsort(stable=True), values.bincount()
    first, size = (per_value[values[items], None] for per_value in (sizes.cumsum(0) - sizes, sizes))
    place = torch.rand(len(items), count, generator=rng, dtype=torch.float64) * size
    return order[first + place.long()]


def scaled(known: Known) -> tuple[Known, int]:
    """Active codes in units of their deviation on train: those whose deviation is .05 of the largest one's or more.

    The code drops deviations below .05; active latents of a VAE have about 1, so there the cut is the same. Features
    on a sphere of D dimensions have 1 / sqrt(D), which must not drop them.

    Returns:
        Codes (N, A) and (M, A) float32 with the same factors, and A, the number of active codes. Where all are constant
        the first is kept and A is 0.
    """
    deviation = known.train.double().std(0)
    active = (deviation >= 0.05 * deviation.max()) & (deviation > 0)
    kept = active if bool(active.any()) else torch.arange(len(active)) == 0
    unit = deviation[kept].clamp(min=torch.finfo(torch.float64).tiny)
    train, test = ((codes[:, kept] / unit).float() for codes in (known.train, known.test))
    return replace(known, train=train, test=test), int(active.sum())


def factor_vae_score(known: Known, trials: Trials, rng: torch.Generator) -> float:
    """Accuracy of a table from codes to factors: the code that varies least among B items says what they share.

    Args:
        known: As `scaled` gives it: codes of deviation 1.
        trials: On train the table is learned, by majority; on test it is scored.
        rng: On the CPU.
    """
    num_codes, num_factors = known.train.shape[1], known.train_factors.shape[1]
    fixed, winner = _least_varying(known.train, known.train_factors, trials.train, trials.batch, rng)
    votes = torch.bincount(winner * num_factors + fixed, minlength=num_codes * num_factors)
    table = votes.view(num_codes, -1).argmax(1)
    fixed, winner = _least_varying(known.test, known.test_factors, trials.test, trials.batch, rng)
    return float((table[winner] == fixed).double().mean())


def _least_varying(
    codes: Tensor, factors: Tensor, count: int, batch: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    fixed, index = _trials(factors, count, batch, rng)
    parts = torch.split(index, max(1, _AT_ONCE // (batch * codes.shape[1])))
    return fixed, torch.cat([codes[part].var(1).argmin(1) for part in parts])


def beta_vae_score(known: Known, trials: Trials, rng: torch.Generator) -> float:
    """Accuracy of logistic regression at telling the shared factor from mean |z - z'| over B pairs that share it.

    Args:
        known: As `scaled` gives it: codes of deviation 1.
        trials: On train the classifier is fitted, with scikit-learn's penalty at C = 1; on test it is scored.
        rng: On the CPU.
    """
    fixed, differences = _differences(known.train, known.train_factors, trials.train, trials.batch, rng)
    fit = LogisticProblem(differences, fixed, known.train_factors.shape[1]).solve(1 / trials.train)
    fixed, differences = _differences(known.test, known.test_factors, trials.test, trials.batch, rng)
    return float((fit.logits(differences).argmax(1) == fixed).double().mean())


def _differences(codes: Tensor, factors: Tensor, count: int, batch: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    first = torch.randint(len(codes), (count * batch,), generator=rng)
    fixed = torch.randint(factors.shape[1], (count,), generator=rng)
    second = torch.empty_like(first)
    for factor, values in enumerate(factors.T):
        mine = (fixed == factor).repeat_interleave(batch)
        second[mine] = same_value(values, first[mine], 1, rng).squeeze(1)
    size = max(1, _AT_ONCE // (batch * codes.shape[1]))
    pairs = zip(*(torch.split(index.view(count, batch), size) for index in (first, second)), strict=True)
    return fixed, torch.cat([(codes[a] - codes[b]).abs().mean(1) for a, b in pairs])


def _trials(factors: Tensor, count: int, batch: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which factor is fixed (T,), and the items (T, B) of each trial; the value is a random item's."""
    fixed = torch.randint(factors.shape[1], (count,), generator=rng)
    items = torch.randint(len(factors), (count,), generator=rng)
    index = torch.empty(count, batch, dtype=torch.int64)
    for factor, values in enumerate(factors.T):
        index[fixed == factor] = same_value(values, items[fixed == factor], batch, rng)
    return fixed, index
