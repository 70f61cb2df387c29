"""Measurements of benchmarks.gpu run at a tiny size on a CPU, resume, and are written into the page."""

import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import Measurement, as_text, measure, measurements, read
from benchmarks.gpu_setup import TINY, Setup


@pytest.fixture(scope="module")
def setup() -> Setup:
    return Setup(torch.device("cpu"), TINY)


def test_every_gpu_measurement_runs_at_tiny_size_and_is_shown_on_the_page(setup: Setup, tmp_path: Path) -> None:
    todo = [
        measurement for measurement in measurements(setup, tmp_path, full=False) if "compiled" not in measurement.key
    ]
    file = tmp_path / "gpu.jsonl"
    assert measure(todo, setup, file, time.monotonic() + 1e6)
    lines = list(read(file).values())
    assert [line["key"] for line in lines] == [measurement.key for measurement in todo]
    assert [line for line in lines if "error" in line] == []
    text = as_text(lines)
    assert all(f"| {measurement.key} |" in text for measurement in todo)
    assert "SimCLR eager, part of its rate on fixed inputs: **" in text
    assert "200 epochs of SimCLR with three tasks, extrapolated: " in text


def test_compiled_training_step_is_measured(setup: Setup, tmp_path: Path) -> None:
    by_key = {measurement.key: measurement for measurement in measurements(setup, tmp_path, full=True)}
    assert by_key["simclr: compiled"].run(setup)["images_per_s"] > 0
    assert {"full: simclr, 200 epochs", "full: six methods, 100 epochs"} <= by_key.keys()


def test_finished_measurements_are_not_repeated_and_a_failed_one_stops_no_other(setup: Setup, tmp_path: Path) -> None:
    calls = list[str]()

    def run(name: str) -> Measurement:
        def numbers(setup: Setup) -> dict[str, Any]:
            calls.append(name)
            if name == "bad":
                raise ValueError("it does not fit")
            return {"ms": 1.0}

        return Measurement(name, numbers, 10.0)

    todo, file = [run("a"), run("bad"), run("b")], tmp_path / "gpu.jsonl"
    assert measure(todo, setup, file, time.monotonic() + 5)  # no time is left for any
    assert calls == []
    file.write_text('{"key": "b", "numb', encoding="utf-8")  # a line that a kill cut
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    for _ in range(2):
        assert measure(todo, setup, file, time.monotonic() + 1e6)
    assert calls == ["a", "bad", "b"]
    assert read(file)["bad"]["error"] == "ValueError: it does not fit"
    assert "FAILED bad: ValueError: it does not fit" in as_text(list(read(file).values()))


def test_page_states_whether_each_goal_is_reached() -> None:
    numbers: dict[str, dict[str, Any]] = {
        "simclr: eager": {"images_per_s": 20_000.0},
        "simclr: graph": {"images_per_s": 30_000.0},
        "simclr: eager, fixed inputs": {"images_per_s": 25_000.0},
        "run: simclr, 3 epochs": {"methods": {"simclr": {"embed_s": 10.0, "tasks_s": 50.0}}},
    }
    text = "\n".join(gpu.goals(numbers, 800.0))
    assert "the fastest (simclr: graph): **3e+04**; goal 2.5e+04: reached" in text
    assert "SimCLR's products run at 200 TFLOP/s, 25.0% of the bf16 product's rate" in text
    assert "on fixed inputs: **0.8**; goal 0.9: NOT reached" in text
    assert "extrapolated: 6.56 min; goal: under 7" in text


def test_saving_writes_gpu_results_for_the_page_and_refuses_cpu_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    line = {"key": "views: one of a batch", "numbers": {"view_ms": 0.5}, "seconds": 1.0, "at": "2026-11-22T12:00:00"}
    (tmp_path / "gpu.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    for device in ("cpu: made", "cuda: made"):
        (tmp_path / "provenance.json").write_text(json.dumps({"device": device}), encoding="utf-8")
        with pytest.raises(SystemExit, match="nothing for the page") if device[:3] == "cpu" else nullcontext():
            gpu.save(tmp_path)
    content = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert (content["measurements"], content["contests"], content["measured"]) == ([line], [], "2026-11-22T12:00:00")
