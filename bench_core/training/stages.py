"""Stages of a training: their names and players, checked, and how the epochs are divided among them.

A method with two stages of share 1 and 2 that is trained for 30 epochs has 10 in the first and 20 in the second, each
with optimisers of its own, whose learning rates run through their whole schedule.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch.optim import Optimizer

from bench_core.config import build
from bench_core.contracts import Objective, Recipe, Stage
from bench_core.errors import CheckError, RequestError
from bench_core.training.players import PlayerOptimizers, make_player_optimizers

_OF_THE_TRAINING = ("epochs", "batch_size")  # fields of Recipe that no stage changes


@dataclass(frozen=True)
class TrainedStage:
    """A stage with the optimisers of its players, and its number of epochs.

    Attributes:
        name: Name of the stage.
        trainers: The players with their optimisers, in the order in which they move.
        num_epochs: Number of epochs of the stage, unless it ends early.
    """

    name: str
    trainers: Sequence[PlayerOptimizers]
    num_epochs: int

    @property
    def optimizers(self) -> list[Optimizer]:
        """All optimisers of all players, in the same order in every process."""
        return [optimizer for trainer in self.trainers for _, optimizer in trainer.optimizers]


def stages_of(objective: Objective) -> list[Stage]:
    """Return the stages of a method, checked.

    A method that trains nothing has one stage without players.

    Raises:
        CheckError: There is no stage, a name is used twice, a share is not positive, one of several stages has no
            players, or its recipe sets what holds for the whole training.
    """
    stages = objective.stages()
    if fault := _fault(stages):
        raise CheckError(f"stages() of {type(objective).__name__}: {fault}")
    return stages


def stage_recipe(stage: Stage, recipe: Recipe) -> Recipe:
    """Return the recipe of a stage: the method's, changed by the stage's own."""
    return build(Recipe, dict(stage.recipe), f"stage {stage.name}", base=recipe)


def make_stages(objective: Objective, recipe: Recipe) -> list[TrainedStage]:
    """Build the optimisers of all stages and divide the epochs of the recipe among the stages.

    Raises:
        CheckError: The stages contradict each other, see `stages_of`.
        RequestError: There are fewer epochs than stages, but not 0, which trains nothing.
    """
    stages = stages_of(objective)
    trainers = [
        [make_player_optimizers(player, stage_recipe(stage, recipe)) for player in stage.players] for stage in stages
    ]
    epochs = divide_epochs(recipe.epochs if any(trainers) else 0, [stage.share for stage in stages])
    return [TrainedStage(*fields) for fields in zip([stage.name for stage in stages], trainers, epochs, strict=True)]


def divide_epochs(epochs: int, shares: Sequence[float]) -> list[int]:
    """Divide epochs by shares: `divide_epochs(10, [1, 2])` is [3, 7].

    Each stage ends at its cumulated share of the epochs, rounded, and has at least one epoch.

    Raises:
        RequestError: There are fewer epochs than shares, but not 0.
    """
    if 0 < epochs < len(shares):
        raise RequestError(
            f"this method trains in {len(shares)} stages, each of at least one epoch, so {epochs} "
            f"{'epoch is' if epochs == 1 else 'epochs are'} too few; set its recipe.epochs to {len(shares)} or more, "
            "or to 0 to train nothing"
        )
    if epochs == 0:
        return [0] * len(shares)
    ends = [0]
    for number in range(1, len(shares) + 1):
        end = round(epochs * sum(shares[:number]) / sum(shares))
        ends.append(min(max(end, ends[-1] + 1), epochs - (len(shares) - number)))
    return [end - begin for begin, end in itertools.pairwise(ends)]


def _fault(stages: Sequence[Stage]) -> str | None:
    """Say in what way stages contradict each other or the training, or return None."""
    if not stages:
        return "it returned no stage; a method that trains nothing has one stage without players"
    if name := next(_repeated(stage.name for stage in stages), None):
        return f"two stages are named {name!r}"
    if name := next(_repeated(player.name for stage in stages for player in stage.players), None):
        return f"two players are named {name!r}; `forward` tells players apart by their names, also those of two stages"
    for stage in stages:
        if not stage.share > 0:
            return f"the share of stage {stage.name!r} must be > 0, got {stage.share}"
        if len(stages) > 1 and not stage.players:
            return f"stage {stage.name!r} has no players, so that it would train nothing; leave it out"
        for field in _OF_THE_TRAINING:
            if field in stage.recipe:
                return f"the recipe of stage {stage.name!r} sets {field}, which holds for the whole training"
    return None


def _repeated(names: Iterator[str]) -> Iterator[str]:
    """Yield the names that are there more than once."""
    return (name for name, count in Counter(names).items() if count > 1)
