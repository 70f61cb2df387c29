from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bench_core import BenchError, leaderboard, results, run
from bench_core.plugins import Registry


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
    from bench_core.store import Store

    command = Store(tmp_path / "runs").records()[0]["provenance"]["command"]
    assert command.startswith("bench_core.run(datasets=['blobs']")
    assert "epochs=1" in command
