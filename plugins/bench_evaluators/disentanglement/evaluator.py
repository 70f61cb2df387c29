"""Task disentanglement: measure whether each code follows one known factor, and each factor is in one code.

A code is one coordinate of the embedding. MIG ranks the methods. It is high if one code tells a factor and no other
code does, so wide embeddings that hold every factor several times score about 0. Top-k MED was made for wide
embeddings: it reads only the best codes of each factor.

Papers: those of `bench_evaluators.disentanglement.scores` and `bench_evaluators.disentanglement.fixed_factor`;
        settings of the study of Locatello et al., ICML 2019, https://arxiv.org/abs/1811.12359
Code:   https://github.com/google-research/disentanglement_lib (86a644d)
Note:   the code's learners take minutes on wide embeddings; cheap ones are the default here, and the names of their
        metrics say so. The code has a generator of items that share a factor; here these are drawn from the split.

Shapes: N items, D codes, F factors.
"""

from dataclasses import dataclass, replace
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
from bench_core.evaluation.embeddings import embedding_of, loss_embedding_name

from .fixed_factor import FactorData, Trials, beta_vae_score, factor_vae_score, scale_codes
from .scores import (
    binned,
    disentanglement,
    entropies,
    known,
    mean_gap,
    med,
    mutual_information,
    nearest_mean_accuracy,
    svm_accuracy,
    tree_importance,
)

_TREE_ITEMS = 2000  # train items of the fast learners
_PUBLISHED_TREE_ITEMS, _PUBLISHED_TEST_ITEMS = 10_000, 5_000  # the study's dci.num_train, {dci, sap_score}.num_test


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
        "learners of SAP and DCI: fast is nearest mean and randomised trees, published is support vectors and boosting "
        "with the published numbers of items",
        "ours: seconds instead of hours for 128 codes",
    )
    tree_items: int = param(
        _TREE_ITEMS,
        "maximal number of train items from which DCI's trees learn; 10000 for the published learners",
        "ours: seconds; the code has 10000",
        ge=10,
    )
    test_items: int | None = param(
        None,
        "maximal number of test items on which SAP and DCI are measured; none is all, 5000 for the published learners",
        "ours: as the other scores; the code has 5000",
        ge=10,
        added=True,
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

    def __post_init__(self) -> None:
        """Check ranges, and give the published learners the published numbers of items, unless others are set.

        The numbers become part of the config, hence of the key, so that no score of other numbers is taken for theirs.
        """
        super().__post_init__()
        if self.learners == "published":
            object.__setattr__(self, "test_items", self.test_items or _PUBLISHED_TEST_ITEMS)
            if self.tree_items == _TREE_ITEMS:
                object.__setattr__(self, "tree_items", _PUBLISHED_TREE_ITEMS)


class Disentanglement(Evaluator):
    """Alignment of single latents with known factors.

    Each code is one coordinate of the embedding. MIG, the first score, asks for each factor how much more the best
    code tells of it than the second best. MED, SAP, DCI, FactorVAE and beta-VAE scores follow. All are 1 for codes
    that each follow one factor, and about their chance for codes that know nothing. Needs data with known factors
    (sprites, dsprites, shapes3d), of which at least two vary.
    """

    Config = DisentanglementConfig
    family = "structure"

    def __init__(self, config: DisentanglementConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data without two known factors that vary, or without a train or test split."""
        if data.factors is None:
            return "needs data with known factors (sprites, dsprites, shapes3d)"
        if sum(size > 1 for size in data.factors.values()) < 2:
            return "needs two factors that vary"
        missing = [split for split in ("train", "test") if split not in data.splits]
        return f"needs a {missing[0]} split" if missing else None

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Fit all that learns on train, and measure all scores on test."""
        config = self.config
        name, data, notes = self._read(frozen)
        shuffled = data.shuffled(stream(frozen.seed, "disentanglement", "shuffle"))
        scores = []
        judged = min(config.test_items or len(data.test), len(data.test))  # test items of SAP and DCI
        for measure, n in ((self._by_information, len(data.test)), (self._by_learners, judged)):
            values, chances = (measure(factors, frozen.seed) for factors in (data, shuffled))
            for metric, value in values.items():
                scores.append(Score(metric=metric, value=value, chance=chances[metric], embedding=name, n=n))
        scaled, active = scale_codes(data)
        trials = Trials(config.train_trials, config.test_trials, config.batch_size)
        for metric, score in {"factor_vae_score": factor_vae_score, "beta_vae_score": beta_vae_score}.items():
            rng = stream(frozen.seed, "disentanglement", metric)
            value = score(scaled, trials, rng)
            chance = 1 / data.test_factors.shape[1]
            scores.append(Score(metric=metric, value=value, chance=chance, embedding=name, n=trials.test))
        learned = {
            "fast": "SAP: nearest class mean; DCI: 20 extremely randomised trees, all codes at each split, leaves of 5",
            "published": "SAP: LinearSVC, C=.01, balanced; DCI: gradient boosting of scikit-learn",
        }[config.learners]
        return Evaluation(
            scores=scores,
            protocol=(
                f"fitted on {len(data.train):,} items of train, measured on {len(data.test):,} of test; {name}; "
                f"MIG, MED: plug-in mutual information, {config.bins} bins of equal width, test; top-{config.top} MED "
                f"keeps {config.top} a factor; {learned}, on {min(config.tree_items, len(data.train)):,} items"
                f"{f', both measured on {judged:,} of test' if judged < len(data.test) else ''}; "
                f"FactorVAE and beta-VAE score: {trials.train:,} and {trials.test:,} trials of {trials.batch} items "
                "(pairs) that share a factor's value, drawn from the split with replacement, codes in units of their "
                "deviation, those below .05 of the largest left out; beta-VAE: logistic regression, C=1; chance: "
                "factors shuffled over items, of the last two scores 1 / number of factors"
            ),
            notes=[*notes, f"{active:,} of {data.train.shape[1]:,} codes are active", *self._remarks(data)],
        )

    def _read(self, frozen: Frozen) -> tuple[str, FactorData, list[str]]:
        """Draw items and codes.

        Returns:
            Name of the embedding, its codes with the factors that vary, and notes on what was left out.
        """
        name = self.config.embedding or loss_embedding_name(frozen.splits["test"])
        codes, factors, notes = [], [], []
        width = embedding_of(frozen.splits["test"], name).shape[1]
        order = torch.randperm(width, generator=stream(frozen.seed, "disentanglement", "codes"))
        columns = order[: self.config.max_codes].sort().values
        if len(columns) < width:
            notes.append(f"{len(columns):,} of {width:,} codes, drawn at random")
        for split in ("train", "test"):
            part = frozen.splits[split]
            if part.factors is None:
                raise BenchError(f"the {split} split has no factors")
            order = torch.randperm(len(part.factors), generator=stream(frozen.seed, "disentanglement", split))
            chosen = order[: self.config.items].sort().values
            codes.append(_two_at_least(part.embeddings[name][chosen][:, columns].float()))
            factors.append(part.factors[chosen])
        varies = []  # for each factor: does it vary in both splits?
        for column in range(factors[0].shape[1]):
            varies.append(all(len(torch.unique(known(f[:, column])[0])) > 1 for f in factors))
        if sum(varies) < 2:
            raise BenchError(
                "fewer than two factors vary in the items that were drawn; "
                f"raise the task's parameter `items` (now {self.config.items:,})"
            )
        names = list(frozen.data.factors or {})
        constant = [name for name, varying in zip(names, varies, strict=True) if not varying]
        if constant:
            notes.append(f"left out, constant: {', '.join(constant)}")
        unknown = torch.cat(factors).lt(0).sum(0).tolist()
        for factor, varying, count in zip(names, varies, unknown, strict=True):
            if varying and count:
                notes.append(f"{factor}: {count:,} items, whose value is unknown, are left out for it")
        kept = torch.tensor(varies)
        return name, FactorData(codes[0], factors[0][:, kept], codes[1], factors[1][:, kept]), notes

    def _by_information(self, data: FactorData, seed: int) -> dict[str, float]:
        """Return MIG and MED, from the mutual information of codes and factors on test; nothing is drawn."""
        information = mutual_information(data.test, data.test_factors, self.config.bins)
        return {
            "mig": mean_gap(information / entropies(data.test_factors)),
            "med": med(information),
            f"top_{self.config.top}_med": med(information, self.config.top),
        }

    def _by_learners(self, data: FactorData, seed: int) -> dict[str, float]:
        """Return SAP and DCI, from learners that are fitted on train and scored on test."""
        fast = self.config.learners == "fast"
        if self.config.test_items is not None:
            order = torch.randperm(len(data.test), generator=stream(seed, "disentanglement", "learners"))
            judged = order[: self.config.test_items]
            data = replace(data, test=data.test[judged], test_factors=data.test_factors[judged])
        single_code_accuracy = nearest_mean_accuracy if fast else svm_accuracy
        accuracies = []
        for train_values, test_values in zip(data.train_factors.T, data.test_factors.T, strict=True):
            values, codes = known(train_values, data.train)
            judged_values, judged_codes = known(test_values, data.test)
            accuracies.append(single_code_accuracy(codes, values, judged_codes, judged_values))
        order = torch.randperm(len(data.train), generator=stream(seed, "disentanglement", "trees"))
        chosen = order[: self.config.tree_items]
        importance, tree_accuracy = tree_importance(
            data.train[chosen], data.train_factors[chosen], data.test, data.test_factors,
            stream_seed(seed, "disentanglement", "trees") % 2**32, boosting=not fast,
        )  # fmt: skip
        sap, dci = ("nearest_mean", "trees") if fast else ("svm", "boosting")
        return {
            f"sap_{sap}": mean_gap(torch.stack(accuracies, 1)),
            f"dci_disentanglement_{dci}": disentanglement(importance),
            f"dci_completeness_{dci}": disentanglement(importance.T),
            f"dci_informativeness_{dci}": tree_accuracy,
        }

    def _remarks(self, data: FactorData) -> list[str]:
        """Note the scores of perfect codes on these items, and conditions under which scores are less reliable."""
        perfect = mutual_information(data.test_factors, data.test_factors, self.config.bins)
        best = mean_gap(perfect / entropies(data.test_factors))
        notes = [f"perfect codes of these items: mig {best:.3f}, med {med(perfect):.3f}"]
        cells = binned(data.test, self.config.bins)
        fullest = torch.stack([column.bincount().max() for column in cells.T]) / len(cells)
        varying = data.test.amin(0) < data.test.amax(0)
        if crowded := int((varying & (fullest > 0.95)).sum()):
            notes.append(
                f"outliers put .95 of the items into one bin of {crowded:,} codes: MIG and MED see little there"
            )
        columns = [known(values)[0] for values in (*data.train_factors.T, *data.test_factors.T)]
        rarest = min(int(torch.unique(values, return_counts=True)[1].min()) for values in columns)
        if rarest < self.config.batch_size:
            notes.append(f"some value is shared by {rarest:,} items only: trials repeat items, other factors vary less")
        return notes


def _two_at_least(codes: Tensor) -> Tensor:
    """Add a constant code beside a single one: scores compare the best code with the second best."""
    return codes if codes.shape[1] > 1 else torch.cat([codes, torch.zeros_like(codes)], 1)


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"disentanglement": Disentanglement}
