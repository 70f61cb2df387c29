"""Task correlation_shift: predict factors that went together in train on a test split where they do not.

Example: in train most sevens are orange. A probe of the digit may read the colour. On digits whose colours are drawn
without regard to them it is then wrong. A method that gives each factor a subspace of its own can be right on both.

Paper: Funke, Vicol, Wang, Kümmerer, Zemel, Bethge, CoLLAs 2022, https://arxiv.org/abs/2112.14754
Code:  https://github.com/asteroidhouse/conditional-disentanglement/blob/a5b9666/train_correlated.py (evaluate)
Note:  The code scores the method's own classifiers, also on a test split with the opposite correlation. Here a probe is
       fitted to each frozen subspace, as to the features of any other method. The leak is ours.

Shapes: N items, D features of a subspace.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from bench_core import (
    BenchError,
    Config,
    DataSpec,
    Embedded,
    Evaluation,
    Evaluator,
    Example,
    FactorSubspaces,
    Frozen,
    Objective,
    PerItem,
    Score,
    Split,
    hookimpl,
    param,
    stream,
)
from bench_core.evaluation.classification import constant_accuracy, top_hits
from bench_core.evaluation.embeddings import embedding_of
from bench_core.evaluation.linear_probe import LOGISTIC, SOLVER, ChosenFit, convergence, fit_probe, standardise

SHIFTED = "test_uncorrelated"  # name of the split in which factors are drawn independently


@dataclass(frozen=True, kw_only=True)
class CorrelationShiftConfig(Config):
    """Parameters of the task: which factors are predicted, and from what."""

    factors: tuple[str, ...] = param(
        (), "names of the factors that are predicted; () takes the first two of the data", "ours: the paper has two"
    )
    embedding: str = param(
        "features", "name of the embedding that is read where a factor has no subspace of its own", "usual"
    )
    items: int = param(
        10_000, "maximal number of train items that a probe is fitted to, drawn at random", "ours: seconds", ge=2
    )

    def __post_init__(self) -> None:
        """Check ranges, and that the factors are two or more, each named once."""
        super().__post_init__()
        if self.factors and (len(self.factors) < 2 or len(set(self.factors)) < len(self.factors)):
            raise ValueError(f"factors must be two or more different names, got {self.factors}")


class CorrelationShift(Evaluator):
    """Factors predicted where their correlation is gone.

    A linear probe of each factor is fitted to train, where factors are correlated: to the factor's own subspace of a
    method that has subspaces, else to the features. The first score is its accuracy on the split `test_uncorrelated`, a
    mean over factors; then that on `test`, and the gap. `leak` says how much more than chance a subspace tells about
    the other factors. Needs data with known factors and a split `test_uncorrelated`.
    """

    Config = CorrelationShiftConfig
    family = "structure"

    def __init__(self, config: CorrelationShiftConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without the factors, or without one of the three splits."""
        factors = data.factors or {}
        if len(factors) < 2:
            return "needs two known factors or more"
        if unknown := [name for name in self.config.factors if name not in factors]:
            return f"has no factor {unknown[0]!r}; there are: {', '.join(factors)}; set correlation_shift.factors"
        missing = [split for split in ("train", "test", SHIFTED) if split not in data.splits]
        return f"needs a {missing[0]} split" if missing else None

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Fit a probe to each factor, and score it on both test splits."""
        names = self._names(frozen.data)
        subspaces = _subspaces(frozen)
        factors = [self._read(frozen, name, subspaces) for name in names]
        probes = [self._probe(factor, frozen) for factor in factors]
        scores, items = _accuracies(factors, probes, "latent" if subspaces else self.config.embedding)
        notes = [
            f"{factor.name}: from {factor.source}; {probe.note}; {convergence([probe.fit])}"
            for factor, probe in zip(factors, probes, strict=True)
        ]
        if owned := [factor for factor in factors if factor.name in subspaces]:
            scores.append(self._leak(owned, factors, frozen))
        return Evaluation(
            scores=scores,
            protocol=(
                f"factors {', '.join(names)}; linear probe of each, {LOGISTIC.text}, on its subspace of the latent if "
                f"the method has one, else on {self.config.embedding}, standardised on train; fitted to "
                f"{len(factors[0].train.values):,} train items; {probes[0].protocol}; {SOLVER}; scored on "
                f"{SHIFTED} (factors independent) and on test (correlated as train); without a factor's name: mean "
                "over factors; gap: accuracy on test minus that; leak: accuracy above chance of every other factor "
                f"from a subspace, a mean, fitted to one half of {SHIFTED} and scored on the other, both ways; chance: "
                "the most frequent value"
            ),
            notes=notes,
            items=items,
        )

    def _names(self, data: DataSpec) -> Sequence[str]:
        return self.config.factors or tuple(data.factors or {})[:2]

    def _read(self, frozen: Frozen, name: str, subspaces: Mapping[str, slice]) -> "Factor":
        """Read what a factor is predicted from, standardised on train, and its values, in all three splits."""
        of_factors = frozen.data.factors or {}
        column, columns = list(of_factors).index(name), subspaces.get(name)
        embedding = self.config.embedding if columns is None else "latent"
        parts = [
            _part(frozen.splits[split], split, embedding, columns, column, name) for split in ("train", "test", SHIFTED)
        ]
        train, test, shifted = parts
        if len(train.values) > self.config.items:
            rng = stream(frozen.seed, "correlation_shift", "items")
            index = torch.randperm(len(train.values), generator=rng)[: self.config.items]
            train = Part(train.rows[index], train.values[index])
        scaled = [standardise(train.rows, part.rows)[1] for part in (train, test, shifted)]
        train, test, shifted = (
            Part(rows, part.values) for rows, part in zip(scaled, (train, test, shifted), strict=True)
        )
        source = self.config.embedding if columns is None else f"its subspace, {train.rows.shape[1]} latents"
        return Factor(name, of_factors[name], source, train, test, shifted)

    def _probe(self, factor: "Factor", frozen: Frozen) -> ChosenFit:
        rng = stream(frozen.seed, "correlation_shift", "validation", factor.name)
        return fit_probe(factor.train.rows, factor.train.values, factor.num_values, rng, frozen.device)

    def _leak(self, owned: Sequence["Factor"], factors: Sequence["Factor"], frozen: Frozen) -> Score:
        """Return how much more than chance subspaces tell of other factors, by probes on the uncorrelated split."""
        excesses = []
        count = len(factors[0].shifted.values)
        order = torch.randperm(count, generator=stream(frozen.seed, "correlation_shift", "halves"))
        halves = order[: count // 2], order[count // 2 :]
        for own in owned:
            for other in factors:
                if other.name == own.name:
                    continue
                for fitted, scored in (halves, halves[::-1]):
                    values = other.shifted.values
                    rng = stream(frozen.seed, "correlation_shift", "leak", own.name, other.name)
                    rows, scored_rows = standardise(own.shifted.rows[fitted], own.shifted.rows[scored])
                    probe = fit_probe(rows, values[fitted], other.num_values, rng, frozen.device)
                    accuracy = float(top_hits(probe.fit.logits(scored_rows), values[scored]).mean())
                    chance = constant_accuracy(values[fitted], values[scored], other.num_values, 1)
                    excesses.append(accuracy - chance)
        return Score(
            metric="leak", value=fmean(excesses), higher_is_better=False, best=0.0, embedding="latent", n=count
        )

    @classmethod
    def example(cls) -> Example:
        """Return vectors that hold two factors, correlated in train and test."""
        splits = {name: _made(name) for name in ("train", "test", SHIFTED)}
        data = DataSpec(
            shape=(6,), splits={name: len(split) for name, split in splits.items()}, num_classes=3,
            factors={"form": 3, "hue": 3},
        )  # fmt: skip
        return Example(data=data, splits=splits)


class Part(NamedTuple):
    """Rows of one split from which a factor is predicted, and the values of the factor there.

    Attributes:
        rows: (N, D) float32.
        values: (N,) int64.
    """

    rows: Tensor
    values: Tensor


class Factor(NamedTuple):
    """A factor that is predicted, with the rows of the three splits that this needs.

    Attributes:
        name: Name of the factor.
        num_values: Number of its values.
        source: What it is predicted from, for the notes.
        train: Items that the probe is fitted to.
        test: Test items with the correlation of train.
        shifted: Test items without correlation.
    """

    name: str
    num_values: int
    source: str
    train: Part
    test: Part
    shifted: Part


def _subspaces(frozen: Frozen) -> Mapping[str, slice]:
    """Return the subspace of each factor, and none for a method without subspaces."""
    method = frozen.method()
    return method.subspaces() if isinstance(method, FactorSubspaces) else {}


def _part(embedded: Embedded, split: str, embedding: str, columns: slice | None, column: int, name: str) -> Part:
    """Return what a factor is predicted from in one split, and its values.

    Raises:
        BenchError: The split has no factors, or not all values of this one are known.
    """
    if embedded.factors is None:
        raise BenchError(f"the {split} split has no factors")
    rows, values = embedding_of(embedded, embedding).float(), embedded.factors[:, column]
    rows = rows if columns is None else rows[:, columns]
    if bool((values < 0).any()):
        raise BenchError(f"the {split} split has unknown values of the factor {name!r}; all must be known")
    return Part(rows, values)


def _accuracies(
    factors: Sequence[Factor], probes: Sequence[ChosenFit], embedding: str
) -> tuple[list[Score], dict[str, PerItem]]:
    """Return accuracies on both test splits, their gap, and the hits of each item without correlation."""
    scores, means, items = list[Score](), list[float](), dict[str, PerItem]()
    for kind, split in (("uncorrelated", SHIFTED), ("correlated", "test")):
        parts = [factor.shifted if kind == "uncorrelated" else factor.test for factor in factors]
        hits = [top_hits(probe.fit.logits(part.rows), part.values) for probe, part in zip(probes, parts, strict=True)]
        chances = [
            constant_accuracy(factor.train.values, part.values, factor.num_values, 1)
            for factor, part in zip(factors, parts, strict=True)
        ]
        accuracies = [float(each.mean()) for each in hits]
        means.append(fmean(accuracies))
        named = [f"{kind}_accuracy", *(f"{kind}_accuracy_{factor.name}" for factor in factors)]
        scores += [
            Score(metric=metric, value=value, chance=chance, n=len(hits[0]), embedding=embedding)
            for metric, value, chance in zip(named, [means[-1], *accuracies], [fmean(chances), *chances], strict=True)
        ]
        items[f"{kind}_accuracy"] = PerItem(torch.stack(hits).mean(0), split)
    gap = Score(
        metric="gap", value=means[1] - means[0], higher_is_better=False, best=0.0, embedding=embedding,
        n=len(factors[0].shifted.values),
    )  # fmt: skip
    return [*scores, gap], items


def _made(split: str) -> Split:
    """Make 120 vectors of two factors: one-hot, with noise; in train and test mostly equal."""
    rng = torch.Generator().manual_seed(len(split))
    form, hue = torch.arange(120) % 3, torch.randint(3, (120,), generator=rng)
    if split != SHIFTED:
        hue = torch.where(torch.rand(120, generator=rng) < 0.6, form, hue)
    clean = torch.cat([torch.eye(3)[form], torch.eye(3)[hue]], 1)
    return Split(clean + 0.3 * torch.randn(120, 6, generator=rng), form, torch.stack([form, hue], 1))


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"correlation_shift": CorrelationShift}
