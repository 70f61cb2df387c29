"""Loggers get every epoch of a training, and none of them can end it."""

import csv
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]  # no stubs

from bench_core.errors import RequestError
from bench_core.planning.chains import Plan
from bench_core.running.loggers import CsvLogger, Logger, Loggers, TensorBoardLogger, check_loggers
from bench_core.running.progress import NoProgress
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.chain_files import read_finished_log

LINES: list[dict[str, Any]] = [
    {"step": 3 * epoch, "epoch": epoch, "loss": 1 / epoch, "probe": {"knn": 0.5}, "warnings": ["w"], "late": None}
    for epoch in (1, 2, 3)
]


class Said(NoProgress):
    """Keeps the lines that are shown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Weights & Biases without a network or a home; libraries set variables of their own, which end with the test."""
    before = dict(os.environ)
    for name, value in {"WANDB_MODE": "offline", "HOME": str(tmp_path), "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def run(plan: Plan, store: Store, *log: str) -> list[str]:
    said = Said()
    assert run_plan(plan, store, RunSetting(device="cpu", log=log), said) == []
    return said.lines


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_csv_has_a_column_for_each_number_of_the_log(tmp_path: Path) -> None:
    text = "".join(json.dumps(line) + "\n" for line in [*LINES, {"step": 9, "after_training": {"images": 4}}])
    (tmp_path / "log.jsonl").write_text(text)
    CsvLogger().finish(tmp_path)
    assert (tmp_path / "log.csv").read_text().splitlines() == [
        "epoch,step,loss,probe.knn", "1,3,1.0,0.5", "2,6,0.5,0.5", f"3,9,{1 / 3},0.5",
    ]  # fmt: skip


def test_tensorboard_has_each_number_over_epochs_and_a_resumed_training_replaces_what_it_does_again(
    tmp_path: Path,
) -> None:
    for lines in (LINES, [LINES[1] | {"loss": 7.0}, LINES[2] | {"loss": 8.0}]):
        logger = TensorBoardLogger(tmp_path)
        for line in lines:
            logger.write(line)
        logger.close()
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 7.0), (3, 8.0)]


def test_all_loggers_of_a_run_get_all_epochs_and_the_records_stay_the_same(
    plan_of: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = plan_of(seeds=[0, 1])
    plain, logged = Store(tmp_path / "plain"), Store(tmp_path / "logged")
    run(plan, plain)
    said = run(plan, logged, "csv", "tensorboard", "wandb")
    assert not any("stops" in line for line in said)
    for chain in plan.chains:
        folder = logged.chain_folder(chain.key)
        lines = read_finished_log(folder)
        with (folder / "log.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [float(row["difference"]) for row in rows] == [line["difference"] for line in lines]
        (board,) = (logged.path / "tensorboard").glob(f"*seed-{chain.seed}~{chain.key[:8]}")
        assert [value for _, value in scalars(board, "loss")] == pytest.approx([line["loss"] for line in lines])
        assert len(list((logged.path / "wandb").glob(f"wandb/offline-run-*{chain.key[:16]}/*.wandb"))) == 1
        weights = [store.chain_folder(chain.key) / "weights.safetensors" for store in (plain, logged)]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    assert [record.key for record in plain.records()] == [record.key for record in logged.records()]


def test_a_logger_that_fails_is_named_once_and_the_others_go_on() -> None:
    class Broken(Logger):
        def write(self, line: Mapping[str, Any]) -> None:
            raise OSError("disk full")

    class Kept(Logger):
        seen = 0

        def write(self, line: Mapping[str, Any]) -> None:
            self.seen += 1

    kept, said = Kept(), list[str]()
    loggers = Loggers({"csv": Broken(), "wandb": kept}, said.append)
    for line in LINES:
        loggers.write(line)
    loggers.close()
    assert kept.seen == 3
    assert said == ["--log csv stops, the training goes on: OSError: disk full"]


def test_an_unknown_logger_is_refused_with_those_that_exist() -> None:
    with pytest.raises(RequestError, match=r"no logger named 'mlflow'.*csv, tensorboard, wandb"):
        RunSetting(log=("mlflow",))


def test_a_missing_package_is_refused_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_loggers(["csv"])
    with pytest.raises(RequestError, match=r"wandb is not installed; type: pip install 'bench-core\[wandb\]'"):
        check_loggers(["csv", "wandb"])
