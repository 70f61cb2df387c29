"""Say who moves which parameters in a training: players and their losses, and the stages of a run.

Shapes: () is a scalar.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Loss:
    """Loss of one player on one batch, and what the log says about it.

    Attributes:
        total: Scalar () that the player minimises.
        parts: Named scalars () for the log, which shows their means over an epoch.
        ceilings: Analytic upper bounds of parts, by name. A mean above its bound is logged as a defect.
        floors: Values, by name of a part, below which the method has collapsed. A mean below is logged as a collapse.
        warnings: Sentences for the user of such a run; give the same words at every step. They are printed and kept
            with the results.
        hints: What to do about a part that is beyond its bound, by its name: the end of that warning.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    ceilings: Mapping[str, float] = field(default_factory=dict)
    floors: Mapping[str, float] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    hints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters of a player that are trained by another recipe, such as SimSiam's predictor at a constant rate.

    Attributes:
        parameters: A subset of the player's parameters.
        recipe: Fields of Recipe that differ from the player's (optimiser, rate, schedule, decay), by name.
    """

    parameters: Sequence[nn.Parameter]
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class Player:
    """One side of a game, such as a generator and its critic: its own parameters, optimiser and loss.

    Attributes:
        name: Name of the player, passed to `Objective.forward`; logged losses carry it.
        parameters: Parameters that its optimiser moves. The losses of other players do not reach them.
        steps: Optimiser steps on each batch.
        recipe: Fields of Recipe that differ from the method's recipe (optimiser, rate, decay), by name.
        groups: Groups of its parameters that are trained by another recipe.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    _: KW_ONLY
    steps: int = 1
    recipe: Mapping[str, Any] = field(default_factory=dict)
    groups: Sequence[ParameterGroup] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a training with its own players, such as one layer of a stack of autoencoders.

    The schedule of the learning rate runs from the beginning of the stage to its end, and optimisers start anew.

    Attributes:
        name: Name of the stage; hooks find it in `EpochContext.stage`, and the log carries it.
        players: The players of the stage. Parameters of no player stay as they are.
        share: Share of the epochs; the shares of all stages are divided by their sum. Each stage gets at least one
            epoch where there are as many epochs as stages.
        recipe: Fields of Recipe that differ from the method's recipe, by name; not `epochs` or `batch_size`.
    """

    name: str
    players: Sequence[Player]
    share: float = 1.0
    recipe: Mapping[str, Any] = field(default_factory=dict)
