"""Trials as studies of Optuna in the store."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from bench_core.planning.tuning import Trial
from bench_core.tuning.study import add_to_study, study_name
from tests.bench_core.tuning.conftest import Tuner


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_trials_are_added_once_and_optuna_finds_the_same_best(tuner: Tuner, tmp_path: Path) -> None:
    of_row, row, path = tuner.search().rows["tinted"], tuner.tune(["tinted"])["tinted"], tmp_path / "optuna.log"
    failed = replace(row, tried=[*row.tried[:3], Trial(row.tried[3].values, {})])
    for _ in range(2):
        add_to_study(path, of_row, failed)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name=study_name(of_row, failed), storage=storage)
    assert [trial.user_attrs["trial"] for trial in study.trials] == [0, 1, 2, 3]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "COMPLETE", "FAIL"]
    assert [trial.params for trial in study.trials] == [dict(point) for point in of_row.points]
    assert study.best_value == max(trial.scores["spread:spread"] for trial in failed.tried if trial.scores)
    assert study.metric_names == ["spread:spread"]


def test_another_way_of_tuning_is_another_study(tuner: Tuner) -> None:
    of_row, row = tuner.search().rows["tinted"], tuner.tune(["tinted"], trials=2)["tinted"]
    others = [replace(row, epochs=9), replace(row, seeds=(1,)), replace(row, validation=0.5), replace(row, digest="x")]
    names = {study_name(of_row, other) for other in (row, *others)}
    assert len(names) == 5
    assert study_name(of_row, row) == study_name(of_row, replace(row, trials=3, best=1))
