"""Task known_information: compare estimates of mutual information with the truth, on pairs made by a formula.

The task reads the pairs of the dataset, not the embeddings, so every method gets the same scores. It tells how far an
estimator can be trusted: which information it finds, and at which it stops.

Papers: Belghazi et al., ICML 2018, https://arxiv.org/abs/1801.04062 (MINE, and the experiment); Nguyen, Wainwright,
        Jordan, 2010, https://arxiv.org/abs/0809.0853 (the f-form); van den Oord, Li, Vinyals, 2018,
        https://arxiv.org/abs/1807.03748 (InfoNCE); Kraskov et al., Phys. Rev. E 69, 2004,
        https://arxiv.org/abs/cond-mat/0305641 (neighbours)
Note:   Critics are fitted to pairs of train and measured on pairs of test. The step is chosen on a fifth of train; no
        value is the best of many.
Shapes: N train pairs, M test pairs, D and E values; K pairs of a batch.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bench_core import (
    Config,
    DataSpec,
    Evaluation,
    Evaluator,
    Example,
    Frozen,
    Objective,
    Score,
    Split,
    hookimpl,
    param,
    stream,
    stream_seed,
)
from bench_core.data import Pair
from bench_core.evaluation.linear_probe import standardise
from bench_core.evaluation.neighbour_information import pair_information
from bench_core.evaluation.pair_critics import PairCritic, Pairs, fit_best, held_out_info_nce, split_pairs
from bench_core.nn.joint_critic import JointCritic, shifted_scores
from bench_core.nn.mutual_information import donsker_varadhan, info_nce, mine, nwj

PRODUCTS = 4  # independent pairs for each held-out pair, where the step is chosen
MEASURES = 20  # times that a critic is measured on held-out pairs


@dataclass(frozen=True, kw_only=True)
class KnownInformationConfig(Config):
    """Parameters of the estimators: networks, training, and what they are measured on."""

    units: int = param(256, "units of each of the two hidden layers of a critic", "ours: seconds", ge=1)
    epochs: int = param(25, "passes over the train pairs for each of the three critics", "ours: seconds", ge=1)
    batch_size: int = param(
        512, "pairs of a step; also the candidates K of InfoNCE, which cannot exceed log K nats", "ours: seconds", ge=2
    )
    learning_rate: float = param(1e-3, "first learning rate of Adam; it falls to 0 along a cosine", "usual", gt=0)
    products: int = param(20, "independent pairs that are measured for each test pair", "ours: seconds", ge=1)
    neighbours: int = param(
        3, "number of neighbours k of the nearest-neighbour estimate", "Kraskov et al.: 2 to 4", ge=1
    )
    neighbour_items: int = param(
        5000, "maximal number of test pairs among which neighbours are searched", "ours: seconds", ge=2
    )

    def __post_init__(self) -> None:
        """Check that there are more items than neighbours."""
        super().__post_init__()
        if self.neighbour_items <= self.neighbours:
            raise ValueError(f"neighbour_items must be > neighbours = {self.neighbours}, got {self.neighbour_items}")


class KnownInformation(Evaluator):
    """Estimators of information against the truth.

    Estimates the mutual information of the two sides of each pair by MINE, its f-form, InfoNCE and nearest neighbours,
    in nats. The first score is the error of MINE. It measures estimators and data, not the method, so it does not
    rank. Needs pairs whose information is known, such as gaussian_pairs.
    """

    Config = KnownInformationConfig
    ranks = False

    def __init__(self, config: KnownInformationConfig) -> None:
        """Keep the config."""
        self.config = config

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip data whose information is not known, or with too few pairs."""
        if data.information is None:
            return "needs pairs whose information is known (gaussian_pairs)"
        if any(spec.kind not in ("image", "vector") for spec in (data.modalities or {}).values()):
            return "needs pairs of images or vectors"
        small = [name for name in ("train", "test") if data.splits.get(name, 0) < 40]
        return f"needs a {small[0]} split of 40 pairs or more" if small else None

    def evaluate(self, frozen: Frozen) -> Evaluation:
        """Fit critics to train pairs, and measure them on test pairs."""
        config, truth = self.config, frozen.data.information
        assert truth is not None, "see skip_reason"
        train, test = _standardised(*(_pairs(frozen.inputs(name), frozen.device) for name in ("train", "test")))
        order = torch.randperm(len(train[0]), generator=stream(frozen.seed, "known_information", "order"))
        order = order.to(frozen.device)
        held_out, rest = split_pairs((train[0][order], train[1][order]))
        fits = {
            "mine": self._joint(frozen, "mine", held_out, rest, test),
            "f_form": self._joint(frozen, "f_form", held_out, rest, test),
            "infonce": self._infonce(frozen, held_out, rest, test),
        }
        most = min(config.neighbour_items, len(test[0]))
        first, second = (side[:most].cpu() for side in test)
        near = pair_information(first, second, min(config.neighbours, most - 1))
        estimates = {name: value for name, (value, _) in fits.items()} | {"neighbours": near}
        M, K = len(test[0]), self._candidates(rest, test)
        products = _at_most(config.products, M)
        error = Score(
            metric="mine_error", value=abs(estimates["mine"] - truth), unit="nats", higher_is_better=False,
            chance=truth, best=0.0, embedding="none", n=M,
        )  # fmt: skip
        return Evaluation(
            scores=[error]
            + [
                Score(
                    metric=name, value=value, unit="nats", chance=0.0, best=truth, embedding="none",
                    n=most if name == "neighbours" else M,
                )
                for name, value in estimates.items()
            ],
            protocol=(
                f"information of both sides of the raw pairs, in nats, without any embedding; critics fitted to "
                f"{len(rest[0]):,} train pairs by Adam ({config.epochs} epochs, {config.learning_rate:g}, cosine) in "
                f"batches of {min(config.batch_size, len(rest[0]))}, weights of the step that is best on "
                f"{len(held_out[0]):,} other train pairs, 0 where none is above 0; measured on {M:,} test pairs; "
                "mine: Donsker and Varadhan's bound, f_form: Nguyen's, "
                f"both by a network of {config.units}-{config.units} ReLU units on both sides together, with "
                f"{products} independent pairs for each test pair; infonce: {K} candidates, distance of two maps of "
                f"{config.units} units; neighbours: Kraskov, k={config.neighbours}, {most:,} test pairs"
            ),
            notes=[
                f"truth: {truth:.3f} nats; mine and f_form compare with {M * products:,} products, whose log is "
                f"{math.log(M * products):.2f}; log K, the ceiling of infonce: {math.log(K):.2f}",
                "weights were kept of step " + ", ".join(f"{step} ({name})" for name, (_, step) in fits.items()),
            ],
        )  # fmt: skip

    def _joint(self, frozen: Frozen, name: str, held_out: Pairs, rest: Pairs, test: Pairs) -> tuple[float, int]:
        """Return the estimate by a JointCritic on test pairs, by MINE or by its f-form, and the step that was kept."""
        config, rng = self.config, stream(frozen.seed, "known_information", name)
        with torch.random.fork_rng([]):
            torch.manual_seed(stream_seed(frozen.seed, "known_information", "critic"))
            critic = JointCritic(rest[0].shape[1], rest[1].shape[1], config.units).to(frozen.device)
        bound = donsker_varadhan if name == "mine" else _f_form
        steps = self._steps(len(rest[0]))
        log_average = torch.tensor(-math.inf, device=frozen.device)

        def loss() -> Tensor:
            nonlocal log_average
            x, y = _batch(rest, config.batch_size, rng)
            joint, product = critic(x, y), shifted_scores(critic, x, y, 1)
            if name == "f_form":
                return -_f_form(joint, product)
            value, log_average = mine(joint, product, log_average)
            return -value

        step = fit_best(
            critic, loss, lambda: _measured(critic, held_out, PRODUCTS, bound),
            steps=steps, learning_rate=config.learning_rate, every=max(1, steps // MEASURES),
        )  # fmt: skip
        return (_measured(critic, test, config.products, bound) if step else 0.0), step

    def _infonce(self, frozen: Frozen, held_out: Pairs, rest: Pairs, test: Pairs) -> tuple[float, int]:
        """Return InfoNCE of a PairCritic on test pairs, and the step that was kept."""
        config, rng = self.config, stream(frozen.seed, "known_information", "infonce")
        with torch.random.fork_rng([]):
            torch.manual_seed(stream_seed(frozen.seed, "known_information", "critic"))
            critic = PairCritic(rest[0].shape[1], config.units, rest[1].shape[1]).to(frozen.device)
        steps, K = self._steps(len(rest[0])), self._candidates(rest, test)

        def loss() -> Tensor:
            return -info_nce(critic(*_batch(rest, K, rng)))

        step = fit_best(
            critic, loss, lambda: held_out_info_nce(critic, held_out, K),
            steps=steps, learning_rate=config.learning_rate, every=max(1, steps // MEASURES),
        )  # fmt: skip
        return (held_out_info_nce(critic, test, K) if step else 0.0), step

    def _candidates(self, rest: Pairs, test: Pairs) -> int:
        """Return the candidates K of InfoNCE, at most the batch size and the pairs that there are."""
        return min(self.config.batch_size, len(rest[0]), len(test[0]))

    def _steps(self, pairs: int) -> int:
        """Return the number of steps on this many pairs; a last, shorter batch is left out."""
        return self.config.epochs * max(1, pairs // self.config.batch_size)

    @classmethod
    def example(cls) -> Example:
        """Return correlated pairs of two values: pairs of other data have no known information."""
        rho, splits = 0.9, {"train": 200, "test": 100}
        vector = DataSpec(shape=(2,), splits=splits)
        data = DataSpec(
            shape=(), splits=splits, kind="pairs", modalities={"first": vector, "second": vector},
            information=-math.log1p(-(rho**2)),
        )  # fmt: skip
        rng = torch.Generator().manual_seed(0)
        made = dict[str, Split]()
        for name, size in splits.items():
            x, noise = torch.randn(2, size, 2, generator=rng)
            made[name] = Split(Pair(x, rho * x + math.sqrt(1 - rho**2) * noise))
        return Example(data=data, splits=made)


def _pairs(split: Split, device: torch.device) -> Pairs:
    """Read all pairs of a split as rows of numbers."""
    pairs = split.read(torch.arange(len(split)))
    return pairs.first.flatten(1).float().to(device), pairs.second.flatten(1).float().to(device)


def _standardised(train: Pairs, test: Pairs) -> tuple[Pairs, Pairs]:
    """Return both splits with each value of mean 0 and deviation 1 on train; that changes no information."""
    (x_train, x_test), (y_train, y_test) = (standardise(*side) for side in zip(train, test, strict=True))
    return (x_train, y_train), (x_test, y_test)


def _batch(pairs: Pairs, size: int, rng: torch.Generator) -> Pairs:
    """Draw pairs without replacement, in random order."""
    rows = torch.randperm(len(pairs[0]), generator=rng)[:size].to(pairs[0].device)
    return pairs[0][rows], pairs[1][rows]


def _f_form(joint: Tensor, product: Tensor) -> Tensor:
    """Return the f-form () of scores that are 0, not 1, where both sides are independent."""
    return nwj(joint + 1, product + 1)


def _at_most(shifts: int, rows: int) -> int:
    return min(shifts, rows - 1)


@torch.no_grad()
def _measured(critic: JointCritic, pairs: Pairs, products: int, bound: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Return a bound on pairs in float64, with some independent pairs for each."""
    joint, product = critic(*pairs), shifted_scores(critic, *pairs, _at_most(products, len(pairs[0])))
    return float(bound(joint.double(), product.double()))


@hookimpl
def bench_evaluators() -> dict[str, type[Evaluator]]:
    return {"known_information": KnownInformation}
