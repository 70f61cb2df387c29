"""Trials as a study of Optuna in the store, for its tools: optuna-dashboard, plot_optimization_history.

    optuna-dashboard STORE/tuning/BOARD/optuna.log

A study is one row under one way of tuning; its parameters are places in the search spaces, from 0 to 1, and the values
themselves are attributes of the trials. Nothing is read back from it.
"""

import json
import warnings
from pathlib import Path

from bench_core.keys import key_of
from bench_core.planning.tuning import TunedRow
from bench_core.tuning.trials import RowTrials, import_optuna

_NUMBER = "trial"  # attribute of a trial of a study: the number of the row's trial


def add_to_study(path: Path, of_row: RowTrials, row: TunedRow) -> None:
    """Add the trials of a row that the study of this row does not have; hold a lock meanwhile.

    Args:
        path: File of Optuna's journal.
        of_row: The trials.
        row: What came out.
    """
    optuna = import_optuna()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
        study = optuna.create_study(
            storage=storage,
            study_name=study_name(of_row, row),
            load_if_exists=True,
            directions=["minimize" if metric in row.lower else "maximize" for metric in row.metrics],
        )
        study.set_metric_names(list(row.metrics))
    there = {trial.user_attrs.get(_NUMBER) for trial in study.get_trials(deepcopy=False)}
    for number, (point, trial) in enumerate(zip(of_row.points, row.tried, strict=True)):
        if number not in there:
            states = optuna.trial.TrialState
            study.add_trial(
                optuna.trial.create_trial(
                    state=states.COMPLETE if trial.scores else states.FAIL,
                    values=[trial.scores[metric] for metric in row.metrics] if trial.scores else None,
                    params=dict(point),
                    distributions={name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in point},
                    user_attrs={_NUMBER: number, **{name: json.dumps(value) for name, value in trial.values.items()}},
                )
            )


def study_name(of_row: RowTrials, row: TunedRow) -> str:
    """Return the name of the study of a row: another one where the row, its space or the way of tuning is another."""
    how = {
        "digest": row.digest,
        "metrics": list(row.metrics),
        "seeds": list(row.seeds),
        "validation": row.validation,
        "epochs": row.epochs,
        "datasets": {name: dict(values) for name, values in row.datasets.items()},
    }
    return f"{of_row.row.name} {key_of(how)[:8]}"
