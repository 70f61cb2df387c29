"""Recipe: how a method is trained; Variant: a named set of a method's parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench_core.config import Config, param
from bench_core.ranges import around, log, zero_or


@dataclass(frozen=True, kw_only=True)
class Recipe(Config):
    """Optimiser, schedule and length of a training run.

    Each method has its own, with its source (`Objective.recipe`). A board or `--set NAME.recipe.X=` changes it.
    """

    optimizer: Literal["sgd", "adam", "adamw", "lars"] = param(
        "adamw", "update rule of the weights", "ours: robust at small size"
    )
    learning_rate: float = param(
        1e-3,
        "peak learning rate; the schedule sets it at each step",
        "ours: usual for AdamW",
        ge=0,
        tune=around(30),
    )
    weight_decay: float = param(
        0.0,
        "decoupled for AdamW, else added to the gradient; biases and norm layers have none",
        "ours",
        ge=0,
        tune=zero_or(log(1e-6, 1e-2)),
    )
    momentum: float = param(0.9, "momentum of SGD and LARS, first beta of Adam and AdamW", "usual", ge=0, lt=1)
    nesterov: bool = param(False, "use Nesterov momentum; SGD only", "usual")
    schedule: Literal["cosine", "constant", "steps", "linear"] = param(
        "cosine", "how the learning rate changes after warm-up, step by step", "usual"
    )
    milestones: tuple[float, ...] = param(
        (0.6, 0.8), "schedule 'steps': fractions of the run after which the rate falls tenfold", "usual", gt=0, lt=1
    )
    warmup_epochs: float = param(
        0.0, "epochs in which the rate rises linearly from 0, step by step", "usual", ge=0, in_epochs=True
    )
    epochs: int = param(100, "passes over the train split", "ours", ge=0)
    batch_size: int = param(256, "items in a step; a last, shorter batch is left out", "ours", ge=1)
    trust: float = param(
        1e-3, "LARS: a step of rate 1 moves a weight by this fraction of its norm", "usual", gt=0, added=True
    )
    trust_cap: bool = param(
        False, "LARS: keep each weight's rate at or below the rate", "usual; solo-learn: on", added=True
    )


@dataclass(frozen=True)
class Variant:
    """A named set of a method's parameters, which users select as `METHOD:VARIANT` (`nac:hashing`).

    Attributes:
        settings: Values of fields of the method's Config by name, and of fields of its Recipe as `recipe.NAME`.
        source: Where the values come from: paper section, README command, or "ours: why".
        help: One line that says what the variant is for.
    """

    settings: Mapping[str, Any]
    source: str
    help: str

    @property
    def config(self) -> dict[str, Any]:
        """Settings of the method's Config, by field name."""
        return {name: value for name, value in self.settings.items() if not name.startswith("recipe.")}

    @property
    def recipe(self) -> dict[str, Any]:
        """Settings of the method's Recipe, by field name."""
        prefix = "recipe."
        return {name.removeprefix(prefix): value for name, value in self.settings.items() if name.startswith(prefix)}
