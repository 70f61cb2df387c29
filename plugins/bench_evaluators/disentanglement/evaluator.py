"""Disentanglement: whether each code (a coordinate of the embedding) is about one known factor, and each factor in one.

MIG ranks. It asks that one code knows a factor and no other does, so wide embeddings that say everything several times
score about 0; MED of the best code of each factor, made for those, forgives that.

Papers: those of `bench_evaluators.disentanglement.scores` and `bench_evaluators.disentanglement.fixed_factor`;
settings of the study of Locatello et al., ICML
        2019, https://arxiv.org/abs/1811.12359
Code:   https://github.com/google-research/disentanglement_lib (86a644d)
Note:   the code's learners take minutes on wide embeddings; cheap ones are the default here, and the names of their
        metrics say so. Where the code asks a generator for items that share a factor, they are drawn from the split.

Shapes: N items, D codes, F factors.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bench_core import (
    BenchError,
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Frozen,
    Objective,
    Score,
    hookimpl,
    param,
    stream,
    stream_seed,
)
from bench_core.evaluation.embeddings import embedding_of, own_embedding

from .fixed_factor import Known, Trials, beta_vae_score, factor_vae_score, scaled
from .scores import (
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


@dataclass(frozen=True, kw_only=True)
class DisentanglementConfig(Config):
    """Parameters of the scores. Defaults are those of disentanglement_lib ("code"), except for the learners."""

    embedding: str | None = param(
        None,
        "name of the embedding that is evaluated; none uses the first that exists of embedding, latent, features",
        "ours: the narrowest",
    )
    items: int = param(10_000, "maximal number of train items and of test items, drawn at random", "code: 10000", ge=10)
    bins: int = param(20, "number of bins of equal width of each code, for mutual information", "code", ge=2)
    top: int = param(1, "number of codes that top-k MED keeps for each factor", "Cao et al.'s configuration", ge=1)
    learners: Literal["fast", "published"] = param(
        "fast",
        "learners of SAP and DCI: fast is nearest mean and randomised trees, published is support vectors and boosting",
        "ours: seconds instead of hours for 128 codes",
    )
    tree_items: int = param(
        2000, "maximal number of train items from which DCI's trees learn", "ours: seconds; the code has 10000", ge=10
    )
    train_trials: int = param(
        10_000, "number of trials from which the FactorVAE and beta-VAE scores learn", "code", ge=1
    )
    test_trials: int = param(
        5_000, "number of trials on which the FactorVAE and beta-VAE scores are measured", "code", ge=1
    )
    batch_size: int = param(64, "items, or pairs, that share a factor's value in one trial", "code", ge=2)
    max_codes: int = param(
        256, "maximal number of codes (coordinates) that are read, drawn at random", "ours: seconds", ge=2
    )


class Disentanglement(Evaluator):
    """Alignment of single latents with known factors.

    Each code is one coordinate of the embedding. MIG, the first score, asks for each factor how much more the best
    code tells of it than the second best. MED, SAP, DCI, FactorVAE and beta-VAE scores follow. All are 1 for codes
    that each follow one factor, and about their chance for codes that know nothing. Needs data with known factors
    (sprites, dsprites, shapes3d), of which at least two vary.
    """

    Config = DisentanglementConfig

    def __init__(self, config: DisentanglementConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Known factors, two of which vary, in train and test."""
        if data.factors is None:
            return "needs data with known factors (sprites, dsprites, shapes3d)"
        if sum(size > 1 for size in data.factors.values()) < 2:
            return "needs two factors that vary"
        missing = [split for split in ("train", "test") if split not in data.splits]
        return f"needs a {missing[0]} split" if missing else None

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Everything that is fitted is fitted on train; all numbers are of test."""
        config = self.config
        name, known, notes = self._known(frozen)
        floor = known.shuffled(stream(frozen.seed, "disentanglement", "shuffle"))
        measured, floors = ({**self._by_information(k), **self._by_learners(k, frozen.seed)} for k in (known, floor))
        scores = [
            Score(metric=metric, value=value, chance=floors[metric], embedding=name, n=len(known.test))
            for metric, value in measured.items()
        ]
        unit, active = scaled(known)
        trials = Trials(config.train_trials, config.test_trials, config.batch_size)
        for metric, score in {"factor_vae_score": factor_vae_score, "beta_vae_score": beta_vae_score}.items():
            rng = stream(frozen.seed, "disentanglement", metric)
            value = score(unit, trials, rng)
            chance = 1 / known.test_factors.shape[1]
            scores.append(Score(metric=metric, value=value, chance=chance, embedding=name, n=trials.test))
        learned = {
            "fast": "SAP: nearest class mean; DCI: 20 extremely randomised trees, all codes at each split, leaves of 5",
            "published": "SAP: LinearSVC, C=.01, balanced; DCI: gradient boosting of scikit-learn",
        }[config.learners]
        return Evaluation(
            scores=scores,
            protocol=(
                f"fitted on {len(known.train):,} items of train, measured on {len(known.test):,} of test; {name}; "
                f"MIG, MED: plug-in mutual information, {config.bins} bins of equal width, test; top-{config.top} MED "
                f"keeps {config.top} a factor; {learned}, on {min(config.tree_items, len(known.train)):,} items; "
                f"FactorVAE and beta-VAE score: {trials.train:,} and {trials.test:,} trials of {trials.batch} items "
                "(pairs) that share a factor's value, drawn from the split with replacement, codes in units of their "
                "deviation, those below .05 of the largest left out; beta-VAE: logistic regression, C=1; chance: "
                "factors shuffled over items, of the last two scores 1 / number of factors"
            ),
            notes=[*notes, f"{active:,} of {known.train.shape[1]:,} codes are active", *self._remarks(known)],
        )

    def _known(self, frozen: Frozen) -> tuple[str, Known, list[str]]:
        """The embedding's name, its codes with the factors that vary, and what was left out."""
        name = self.config.embedding or own_embedding(frozen.splits["test"])
        codes, factors, notes = [], [], []
        width = embedding_of(frozen.splits["test"], name).shape[1]
        some = torch.randperm(width, generator=stream(frozen.seed, "disentanglement", "codes"))[: self.config.max_codes]
        if len(some) < width:
            notes.append(f"{len(some):,} of {width:,} codes, drawn at random")
        for split in ("train", "test"):
            part = frozen.splits[split]
            if part.factors is None:
                raise BenchError(f"the {split} split has no factors")
            order = torch.randperm(len(part.factors), generator=stream(frozen.seed, "disentanglement", split))
            chosen = order[: self.config.items].sort().values
            codes.append(_two_at_least(part.embeddings[name][chosen][:, some.sort().values].float()))
            factors.append(part.factors[chosen])
        varies = [all(int(f[:, k].min()) < int(f[:, k].max()) for f in factors) for k in range(factors[0].shape[1])]
        if sum(varies) < 2:
            raise BenchError("fewer than two factors vary in the items that were drawn; take more")
        names = list(frozen.data.factors or {})
        constant = [name for name, moves in zip(names, varies, strict=True) if not moves]
        if constant:
            notes.append(f"left out, constant: {', '.join(constant)}")
        kept = torch.tensor(varies)
        return name, Known(codes[0], factors[0][:, kept], codes[1], factors[1][:, kept]), notes

    def _by_information(self, known: Known) -> dict[str, float]:
        information = mutual_information(known.test, known.test_factors, self.config.bins)
        return {
            "mig": mean_gap(information / entropies(known.test_factors)),
            "med": med(information),
            f"top_{self.config.top}_med": med(information, self.config.top),
        }

    def _by_learners(self, known: Known, seed: int) -> dict[str, float]:
        fast = self.config.learners == "fast"
        single = nearest_mean_accuracy if fast else svm_accuracy
        pairs = zip(known.train_factors.T, known.test_factors.T, strict=True)
        accuracy = torch.stack([single(known.train, of, known.test, asked) for of, asked in pairs], 1)
        some = torch.randperm(len(known.train), generator=stream(seed, "disentanglement", "trees"))
        some = some[: self.config.tree_items]
        importance, right = tree_importance(
            known.train[some], known.train_factors[some], known.test, known.test_factors,
            stream_seed(seed, "disentanglement", "trees") % 2**32, boosting=not fast,
        )  # fmt: skip
        sap, dci = ("nearest_mean", "trees") if fast else ("svm", "boosting")
        return {
            f"sap_{sap}": mean_gap(accuracy),
            f"dci_disentanglement_{dci}": disentanglement(importance),
            f"dci_completeness_{dci}": disentanglement(importance.T),
            f"dci_informativeness_{dci}": right,
        }

    def _remarks(self, known: Known) -> list[str]:
        """What perfect codes would score on so many items, and what makes some numbers less than they seem."""
        perfect = mutual_information(known.test_factors, known.test_factors, self.config.bins)
        best = mean_gap(perfect / entropies(known.test_factors))
        notes = [f"perfect codes of these items: mig {best:.3f}, med {med(perfect):.3f}"]
        cells = binned(known.test, self.config.bins)
        fullest = torch.stack([column.bincount().max() for column in cells.T]) / len(cells)
        moving = known.test.amin(0) < known.test.amax(0)
        if crowded := int((moving & (fullest > 0.95)).sum()):
            notes.append(
                f"outliers put .95 of the items into one bin of {crowded:,} codes: MIG and MED see little there"
            )
        splits = (known.train_factors, known.test_factors)
        rarest = min(int(v.unique(return_counts=True)[1].min()) for f in splits for v in f.T)
        if rarest < self.config.batch_size:
            notes.append(f"some value is shared by {rarest:,} items only: trials repeat items, other factors vary less")
        return notes


def _two_at_least(codes: Tensor) -> Tensor:
    """A single code gets a rival that says nothing."""
    return codes if codes.shape[1] > 1 else torch.cat([codes, torch.zeros_like(codes)], 1)


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"disentanglement": Disentanglement}
