from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from bench_core import BenchError, leaderboard, results, run
from bench_core.cli.group import main
from bench_core.engines.child_process import itself
from bench_core.engines.processes import Apart
from bench_core.errors import RequestError
from bench_core.planning.plan import Plan
from bench_core.plugins import Registry
from bench_core.running.failures import Failure
from bench_core.running.progress import Progress, Silent
from bench_core.store import Store


def toys(registry: Registry, path: Path, **asked: Any) -> pd.DataFrame:
    return run(
        "shrink", "spread", datasets="blobs", encoders="tiny", seeds=[0, 1], store=path / "runs", progress=False,
        registry=registry, **asked,
    )  # fmt: skip


def test_run_returns_one_line_a_score(registry: Registry, tmp_path: Path) -> None:
    frame = toys(registry, tmp_path)
    assert list(frame["seed"]) == [0, 1]
    assert set(frame["metric"]) == {"spread"}
    assert results(tmp_path / "runs")["value"].tolist() == frame["value"].tolist()


def test_a_request_returns_its_own_cells_only(registry: Registry, tmp_path: Path) -> None:
    toys(registry, tmp_path)
    assert len(toys(registry, tmp_path, settings={"shrink.factor": 2.0})) == 2
    assert len(results(tmp_path / "runs")) == 4


def test_the_leaderboard_is_a_frame_with_means_and_intervals(registry: Registry, tmp_path: Path) -> None:
    frame = toys(registry, tmp_path)
    board = leaderboard(tmp_path / "runs")
    row = board.set_index("method").loc["shrink"]
    assert row["spread"] == pytest.approx(frame["value"].mean())
    assert row["spread_n"] == 2
    assert row["spread_halfwidth"] == pytest.approx(12.7062 * frame["value"].std() / 2**0.5, rel=1e-4)


def test_failed_cells_are_an_error_that_names_them(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"2 cells failed.*blobs/tiny/shrink/spread seed 0: nan"):
        toys(registry, tmp_path, settings={"shrink.broken": True})


def test_a_record_made_from_python_carries_the_call(registry: Registry, tmp_path: Path) -> None:
    toys(registry, tmp_path, epochs=1)
    command = Store(tmp_path / "runs").records()[0]["provenance"]["command"]
    assert command.startswith("bench_core.run(datasets=['blobs']")
    assert "epochs=1" in command


def test_chains_apart_are_asked_for_in_words_and_give_the_same_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hows: list[Apart] = []

    def run_here(plan: Plan, store: Store, how: Apart, progress: Progress) -> list[Failure]:
        hows.append(how)
        assert isinstance(progress, Silent)
        for chain in plan.chains:
            words = [*how.command[len(itself()) :], "--only-chain", chain.key]
            assert CliRunner().invoke(main, words).exit_code == 0
        return []

    monkeypatch.setattr("bench_core.api.run_apart", run_here)
    monkeypatch.chdir(tmp_path)
    asked: dict[str, Any] = {"settings": {"digits.train_size": 64}, "seeds": range(2), "progress": False}
    apart = run("random", "knn", **asked, store="apart", jobs=2, time_limit=60)
    here = run("random", "knn", **asked, store="here")
    assert apart["value"].tolist() == here["value"].tolist()
    assert len(apart) > 1
    assert [(how.limit, how.jobs, how.device) for how in hows] == [(60, 2, "auto")]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"jobs": 0}, "jobs must be a whole number from 1, got 0"),
        ({"jobs": "2"}, "jobs must be a whole number from 1, got '2'"),
        ({"jobs": True}, "jobs must be a whole number from 1, got True"),
        ({"time_limit": 5}, "time_limit needs isolate or jobs above 1"),
        ({"time_limit": 0, "isolate": True}, "time_limit must be seconds above 0, got 0"),
        ({"time_limit": "5", "isolate": True}, "time_limit must be seconds above 0, got '5'"),
        ({"time_limit": True, "isolate": True}, "time_limit must be seconds above 0, got True"),
        ({"time_limit": float("nan"), "isolate": True}, "time_limit must be seconds above 0, got nan"),
        ({"isolate": True}, "registry= cannot be passed to a process of its own"),
    ],
)
def test_what_cannot_be_done_apart_is_refused(
    registry: Registry, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        toys(registry, tmp_path, **asked)
    assert not (tmp_path / "runs").exists()
