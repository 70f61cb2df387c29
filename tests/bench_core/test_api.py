import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from bench_core import BenchError, Recipe, leaderboard, results, run
from bench_core.cli.group import main
from bench_core.engines.child_process import restart_command
from bench_core.errors import RequestError
from bench_core.planning.chains import Plan
from bench_core.plugins import Registry
from bench_core.running.failures import UnfinishedCell
from bench_core.running.progress import NoProgress, Progress
from bench_core.running.setting import RunSetting
from bench_core.store import Store


def toys(registry: Registry, path: Path, **arguments: Any) -> pd.DataFrame:
    return run(
        "shrink", "spread", datasets="blobs", encoders="tiny", seeds=[0, 1], store=path / "runs", progress=False,
        registry=registry, **arguments,
    )  # fmt: skip


def test_run_returns_one_line_for_each_score(registry: Registry, tmp_path: Path) -> None:
    frame = toys(registry, tmp_path)
    assert list(frame["seed"]) == [0, 1]
    assert set(frame["metric"]) == {"spread"}
    assert results(tmp_path / "runs")["value"].tolist() == frame["value"].tolist()


def test_run_returns_only_the_cells_of_its_request(registry: Registry, tmp_path: Path) -> None:
    toys(registry, tmp_path)
    assert len(toys(registry, tmp_path, settings={"shrink.factor": 2.0})) == 2
    assert len(results(tmp_path / "runs")) == 4


def test_leaderboard_has_means_and_intervals_over_seeds(registry: Registry, tmp_path: Path) -> None:
    toys(registry, tmp_path)
    run("shrink", "spread", datasets="blobs", encoders="tiny", seeds=[2], store=tmp_path / "runs", progress=False,
        registry=registry)  # fmt: skip
    values = results(tmp_path / "runs")["value"]
    board = leaderboard(tmp_path / "runs")
    row = board.set_index("method").loc["shrink"]
    assert row["spread"] == pytest.approx(values.mean())
    assert (row["spread_n"], row["spread_ranked"]) == (3, True)
    assert row["spread_halfwidth"] == pytest.approx(4.30265 * values.std() / 3**0.5, rel=1e-4)


def test_failed_cells_raise_an_error_that_names_them(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"2 cells did not finish.*blobs/tiny/shrink/spread seed 0: nan"):
        toys(registry, tmp_path, settings={"shrink.broken": True})


@pytest.mark.parametrize("progress", [True, False])
def test_run_begins_with_recipes_unless_progress_is_off(
    registry: Registry,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    progress: bool,
) -> None:
    recipe = Recipe(epochs=4, warmup_epochs=2, batch_size=16)
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "recipe", recipe)
    run(
        "shrink", "spread", datasets="blobs", encoders="tiny", epochs=1, store=tmp_path / "runs", progress=progress,
        registry=registry,
    )  # fmt: skip
    begin = [
        "shrink: adamw, rate 0.001, 1 epoch, batch 16 (the method; --epochs)",
        "shrink: warmup_epochs 2 -> 0.5, as 1 of 4 epochs were asked for",
    ]
    assert capsys.readouterr().err.splitlines()[:2] == (begin if progress else [])
    (record,) = Store(tmp_path / "runs").records()
    assert (record.document.recipe["warmup_epochs"], record.shortened) == (0.5, begin[1].removeprefix("shrink: "))


def test_record_made_from_python_holds_the_call(registry: Registry, tmp_path: Path) -> None:
    toys(registry, tmp_path, epochs=1)
    command = Store(tmp_path / "runs").records()[0].provenance.command
    assert command is not None
    assert command.startswith("bench_core.run(datasets=['blobs']")
    assert "epochs=1" in command


def test_record_made_from_python_names_run_settings_that_are_not_the_defaults(
    registry: Registry, tmp_path: Path
) -> None:
    toys(registry, tmp_path, workers=1, checkpoint_every=9.0)
    command = Store(tmp_path / "runs").records()[0].provenance.command
    assert command is not None
    assert command.endswith("device='auto', workers=1, checkpoint_every=9.0)")


def test_chains_in_processes_get_all_settings_and_give_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: list[RunSetting] = []
    commands: list[list[str]] = []

    def run_commands_here(
        plan: Plan, store: Store, setting: RunSetting, command: list[str], progress: Progress, on_start: object
    ) -> list[UnfinishedCell]:
        settings.append(setting)
        commands.append(command)
        assert isinstance(progress, NoProgress)
        for chain in plan.chains:
            arguments = [*command[len(restart_command()) :], "--only-chain", chain.key]
            assert CliRunner().invoke(main, arguments).exit_code == 0
        return []

    monkeypatch.setattr("bench_core.api.run_in_processes", run_commands_here)
    monkeypatch.chdir(tmp_path)
    request: dict[str, Any] = {"settings": {"digits.train_size": 64}, "seeds": range(2), "progress": False}
    in_processes = run("random", "knn", **request, store="processes", jobs=2, time_limit=60, workers=1)
    in_this_process = run("random", "knn", **request, store="one_process")
    assert in_processes["value"].tolist() == in_this_process["value"].tolist()
    assert len(in_processes) > 1
    assert [(setting.time_limit, setting.jobs, setting.device) for setting in settings] == [(60, 2, "auto")]
    assert "--workers=1" in commands[0]


def test_python_and_the_command_line_have_the_same_run_settings_and_defaults() -> None:
    python = {name: argument.default for name, argument in inspect.signature(run).parameters.items()}
    python["compiled"] = python.pop("compile")
    context = main.commands["run"].make_context("run", [])
    assert (python.pop("jobs"), context.params["jobs"]) == (1, "auto")  # a script says when it starts processes
    left_out = {"command", "stop", "jobs", "threads", "leader"}
    left_out |= {"engine", "slurm", "wait", "ranks", "claim_beat", "claim_stale"} - python.keys()
    for setting in dataclasses.fields(RunSetting):
        if setting.name not in left_out:
            assert python[setting.name] == context.params[setting.name] == setting.default, setting.name


def test_plugins_of_this_process_alone_run_in_it_whatever_fits_beside(registry: Registry, tmp_path: Path) -> None:
    frame = toys(registry, tmp_path, jobs="auto")
    assert len(frame) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jobs": 0}, "jobs must be auto or a whole number from 1, got 0"),
        ({"time_limit": 5}, "time-limit works only where each chain has its own process"),
        ({"device": "abacus"}, "device 'abacus' cannot be used here"),
        ({"isolate": True}, "registry= cannot be passed to another process"),
    ],
)
def test_refused_arguments_leave_no_store(
    registry: Registry, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        toys(registry, tmp_path, **arguments)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("progress", [True, False])
def test_a_rerun_replaces_the_results_and_says_so_unless_progress_is_off(
    progress: bool, registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = toys(registry, tmp_path)
    capsys.readouterr()
    arguments: dict[str, Any] = {"datasets": "blobs", "encoders": "tiny", "seeds": [0, 1], "rerun": "spread"}
    after = run("shrink", "spread", store=tmp_path / "runs", progress=progress, registry=registry, **arguments)
    assert after["value"].tolist() == before["value"].tolist()
    assert len(list((tmp_path / "runs" / "superseded").rglob("*.json"))) >= 2
    assert ("superseded" in capsys.readouterr().err) == progress


def test_a_rerun_first_completes_the_moves_of_one_that_was_killed(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = list[Path]()
    monkeypatch.setattr("bench_core.api.finish_moves", lambda store: finished.append(store.path))
    toys(registry, tmp_path)
    assert finished == []
    toys(registry, tmp_path, rerun="spread")
    assert finished == [tmp_path / "runs"]
