"""Values of each trial of a row: the row as it is, then points of a Sobol sequence over the row's search space.

Trial i follows from the method and its space alone, not from the number of trials, of processes or of other rows. A
control has the points of its method where their spaces are equal.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from bench_core.errors import ConfigError, RequestError
from bench_core.planning.boards import Board, NamedComponent
from bench_core.planning.components import configure, find_component
from bench_core.planning.recipes import recipe_of, with_values
from bench_core.planning.spaces import row_digest, space_of, value_of, written_space
from bench_core.plugins import Registry
from bench_core.ranges import SearchSpace
from bench_core.seeds import stream_seed

Point = Mapping[str, float]  # parameter -> place in its search space, in [0, 1)


@dataclass(frozen=True)
class RowTrials:
    """The trials of one row.

    Attributes:
        row: The row as its board writes it.
        space: Parameter -> its search space.
        written_space: The same as files hold it.
        digest: Digest of what is tuned, see `bench_core.planning.spaces.row_digest`.
        points: Point of each trial; the first has none.
        values: Values of each trial, where they differ from the row's; none of the first.
        refused: Number of a trial -> why the method does not take its values.
    """

    row: NamedComponent
    space: Mapping[str, SearchSpace]
    written_space: Mapping[str, Any]
    digest: str
    points: Sequence[Point]
    values: Sequence[Mapping[str, Any]]
    refused: Mapping[int, str]

    @cached_property
    def rows(self) -> dict[int, NamedComponent]:
        """Number of a trial -> its row, "nac-3"; without the trials that are refused."""
        return {
            number: with_values(trial_name(self.row, number), "methods", values)
            for number, values in enumerate(self.values)
            if number not in self.refused
        }


def trial_name(row: NamedComponent, number: int) -> NamedComponent:
    """Return a row under the name of a trial of it."""
    return replace(row, name=f"{row.name}-{number}")


def trials_of(row: NamedComponent, board: Board, registry: Registry, count: int) -> RowTrials:
    """Return the first trials of a row, of which the first is the row as it is; a row that is not trained has only it.

    Raises:
        RequestError: A value of the row does not fit, or Optuna is not installed.
    """
    space = space_of(row, board, registry)
    method = find_component("objective", row.use, registry)[0]
    own = {name: value_of(row, name, board, registry) for name in space}
    points: list[Point] = [{}, *(sobol_points(method.id, sorted(space), count - 1) if space else ())]
    values = []
    for point in points:
        tried = {name: space[name].at(place, own[name]) for name, place in point.items()}
        values.append({name: _plain(value) for name, value in tried.items() if value != own[name]})
    refused = {}
    for number, changed in enumerate(values):
        try:
            trial = with_values(row, "methods", changed)
            configure(trial, "methods", registry)
            recipe_of(trial, board, registry)
        except ConfigError as error:
            refused[number] = str(error)
    if 0 in refused:
        raise ConfigError(refused[0])
    return RowTrials(
        row=row,
        space=space,
        written_space=written_space(space, row, board, registry),
        digest=row_digest(row, board, registry),
        points=points,
        values=values,
        refused=refused,
    )


def sobol_points(method: str, names: Sequence[str], count: int) -> list[Point]:
    """Return the first points of the scrambled Sobol sequence of a method, by Optuna's sampler.

    Args:
        method: Id of the method, from which the scrambling follows.
        names: Names of the coordinates, sorted.
        count: Number of points; of a larger number the first are the same.

    Raises:
        RequestError: Optuna is not installed.
    """
    optuna = import_optuna()
    unit = {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        seed = stream_seed(0, "tuning", method) % 2**32
        sampler = optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed)
    study = optuna.create_study(sampler=sampler)
    # The sampler draws at random until a study has a finished trial, which tells it the coordinates.
    study.add_trial(optuna.trial.create_trial(value=0.0, params=dict.fromkeys(names, 0.5), distributions=unit))
    points = [study.ask(unit).params for _ in range(count)]
    return [{name: min(point[name], 1 - 2**-53) for name in names} for point in points]


def import_optuna() -> Any:
    """Import Optuna, and let it print nothing but warnings.

    Raises:
        RequestError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise RequestError("optuna is not installed; type: pip install 'bench-core[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _plain(value: Any) -> Any:
    """Return a value as TOML has it."""
    if value is None:
        return "none"
    return list(value) if isinstance(value, tuple) else value
