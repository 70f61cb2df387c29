"""FactorVAE and beta-VAE scores: tell from the codes of a few items which factor these items share.

In the papers a generator makes items that share a factor. Here such items are drawn from the embedded ones, with
replacement: all have the same value of the factor. The other factors vary as they do among these items.

Papers: Kim and Mnih, ICML 2018, https://arxiv.org/abs/1802.05983 (FactorVAE); Higgins et al., ICLR 2017,
        https://openreview.net/forum?id=Sy2fzU9gl (beta-VAE)
Code:   https://github.com/google-research/disentanglement_lib (86a644d)

Shapes: N items of train, M of test, D codes, F factors, T trials, B items a trial.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench_core.evaluation.logistic_regression import LogisticProblem

_CHUNK = 2**23  # values of codes that are held at once


@dataclass(frozen=True)
class FactorData:
    """Codes of items with their known factors, of the train and the test split.

    Attributes:
        train: (N, D) floats, the codes to learn from.
        train_factors: (N, F) int64; -1 is unknown.
        test: (M, D) floats, the codes to score.
        test_factors: (M, F) int64; -1 is unknown.
    """

    train: Tensor
    train_factors: Tensor
    test: Tensor
    test_factors: Tensor

    def shuffled(self, rng: torch.Generator) -> "FactorData":
        """Return the same codes with the factors of random other items, so that codes know nothing of them."""
        train_factors = self.train_factors[torch.randperm(len(self.train_factors), generator=rng)]
        test_factors = self.test_factors[torch.randperm(len(self.test_factors), generator=rng)]
        return FactorData(self.train, train_factors, self.test, test_factors)


@dataclass(frozen=True)
class Trials:
    """Numbers of trials, and items in a trial.

    Attributes:
        train: Number of trials to learn from.
        test: Number of trials to score.
        batch: B, the items of a trial, which share a value (pairs of items, for the beta-VAE score).
    """

    train: int = 10_000
    test: int = 5_000
    batch: int = 64


def same_value(values: Tensor, items: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Draw, for each given item, items with the same value of one factor, with replacement.

    Args:
        values: (N,) int64, each item's value of the factor; -1 is unknown, and never drawn.
        items: (T,) int64 positions in `values`, of items whose value is known.
        count: B, the items drawn for each.
        rng: Generator on the CPU.

    Returns:
        (T, B) int64 positions in `values`.
    """
    order, sizes = values.argsort(stable=True), values[values >= 0].bincount()
    starts = int((values < 0).sum()) + sizes.cumsum(0) - sizes  # where the items of each value begin in `order`
    start, size = starts[values[items], None], sizes[values[items], None]
    offset = torch.rand(len(items), count, generator=rng, dtype=torch.float64) * size
    return order[start + offset.long()]


def scale_codes(data: FactorData) -> tuple[FactorData, int]:
    """Keep the active codes, and divide each by its deviation on train.

    A code is active if its deviation is at least .05 of the largest deviation. The published code drops deviations
    below .05; active latents of a VAE have a deviation of about 1, so there the cut is the same. Features on a sphere
    of D dimensions have 1 / sqrt(D), and must not be dropped for that.

    Returns:
        Codes (N, A) and (M, A) float32 with the same factors, and A, the number of active codes. If all codes are
        constant, the first one is kept and A is 0.
    """
    deviation = data.train.double().std(0)
    active = (deviation >= 0.05 * deviation.max()) & (deviation > 0)
    kept = active if bool(active.any()) else torch.arange(len(active)) == 0
    unit = deviation[kept].clamp(min=torch.finfo(torch.float64).tiny)
    train, test = ((codes[:, kept] / unit).float() for codes in (data.train, data.test))
    return replace(data, train=train, test=test), int(active.sum())


def factor_vae_score(data: FactorData, trials: Trials, rng: torch.Generator) -> float:
    """Return the accuracy of a table from codes to factors.

    The code that varies least among the B items of a trial is looked up in the table, which names the factor that these
    items share. The table is learned on train, by majority over trials, and scored on test.

    Args:
        data: Codes of deviation 1, from `scale_codes`.
        trials: Numbers of trials.
        rng: Generator on the CPU.
    """
    num_codes, num_factors = data.train.shape[1], data.train_factors.shape[1]
    fixed, winner = _least_varying(data.train, data.train_factors, trials.train, trials.batch, rng)
    votes = torch.bincount(winner * num_factors + fixed, minlength=num_codes * num_factors)
    table = votes.view(num_codes, -1).argmax(1)
    fixed, winner = _least_varying(data.test, data.test_factors, trials.test, trials.batch, rng)
    return float((table[winner] == fixed).double().mean())


def _least_varying(
    codes: Tensor, factors: Tensor, count: int, batch: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw trials; return the fixed factor and the code that varies least in each, (T,) both."""
    fixed, index = _trials(factors, count, batch, rng)
    parts = torch.split(index, max(1, _CHUNK // (batch * codes.shape[1])))
    return fixed, torch.cat([codes[part].var(1).argmin(1) for part in parts])


def beta_vae_score(data: FactorData, trials: Trials, rng: torch.Generator) -> float:
    """Return the accuracy of logistic regression that reads mean |z - z'| over B pairs which share a factor.

    It tells the shared factor; it is fitted on train with scikit-learn's penalty at C = 1, and scored on test.

    Args:
        data: Codes of deviation 1, from `scale_codes`.
        trials: Numbers of trials.
        rng: Generator on the CPU.
    """
    fixed, differences = _differences(data.train, data.train_factors, trials.train, trials.batch, rng)
    fit = LogisticProblem(differences, fixed, data.train_factors.shape[1]).solve(1 / trials.train)
    fixed, differences = _differences(data.test, data.test_factors, trials.test, trials.batch, rng)
    return float((fit.logits(differences).argmax(1) == fixed).double().mean())


def _differences(codes: Tensor, factors: Tensor, count: int, batch: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw trials of pairs; return the fixed factor (T,) and the mean |z - z'| of each code (T, D)."""
    first = torch.randint(len(codes), (count * batch,), generator=rng)
    fixed = torch.randint(factors.shape[1], (count,), generator=rng)
    second = torch.empty_like(first)
    for factor, values in enumerate(factors.T):
        in_trials = (fixed == factor).repeat_interleave(batch)
        first[in_trials] = _with_known(values, first[in_trials])
        second[in_trials] = same_value(values, first[in_trials], 1, rng).squeeze(1)
    size = max(1, _CHUNK // (batch * codes.shape[1]))
    pairs = zip(*(torch.split(index.view(count, batch), size) for index in (first, second)), strict=True)
    return fixed, torch.cat([(codes[a] - codes[b]).abs().mean(1) for a, b in pairs])


def _trials(factors: Tensor, count: int, batch: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw the fixed factor (T,) and the items (T, B) of each trial; they share the value of a random item."""
    fixed = torch.randint(factors.shape[1], (count,), generator=rng)
    items = torch.randint(len(factors), (count,), generator=rng)
    index = torch.empty(count, batch, dtype=torch.int64)
    for factor, values in enumerate(factors.T):
        index[fixed == factor] = same_value(values, _with_known(values, items[fixed == factor]), batch, rng)
    return fixed, index


def _with_known(values: Tensor, items: Tensor) -> Tensor:
    """Replace uniform draws of items (T,) by draws of the items whose value (N,) is known; equal where all are."""
    known = (values >= 0).nonzero().squeeze(1)
    return known[items * len(known) // len(values)]
