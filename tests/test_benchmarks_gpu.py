import json
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import Measurement, as_text, measure, measurements, read
from benchmarks.gpu_setup import TINY, Bed


@pytest.fixture(scope="module")
def bed() -> Bed:
    return Bed(torch.device("cpu"), TINY)


def test_every_measurement_runs_in_tiny_and_stands_on_the_page(bed: Bed, tmp_path: Path) -> None:
    todo = [one for one in measurements(bed, tmp_path, full=False) if "compiled" not in one.key]
    file = tmp_path / "gpu.jsonl"
    assert measure(todo, bed, file, time.monotonic() + 1e6)
    lines = list(read(file).values())
    assert [line["key"] for line in lines] == [one.key for one in todo]
    assert [line for line in lines if "error" in line] == []
    text = as_text(lines)
    assert all(f"| {one.key} |" in text for one in todo)
    assert "SimCLR eager, part of its rate on fixed inputs: **" in text
    assert "200 epochs of SimCLR with three tasks, extrapolated: " in text


def test_a_compiled_step_is_measured_too(bed: Bed, tmp_path: Path) -> None:
    compiled = {one.key: one for one in measurements(bed, tmp_path, full=True)}
    assert compiled["simclr: compiled"].run(bed)["images_per_s"] > 0
    assert {"full: simclr, 200 epochs", "full: six methods, 100 epochs"} <= compiled.keys()


def test_what_is_there_is_not_measured_again_and_a_failure_stops_nothing(bed: Bed, tmp_path: Path) -> None:
    calls = list[str]()

    def run(name: str) -> Measurement:
        def numbers(bed: Bed) -> dict[str, Any]:
            calls.append(name)
            if name == "bad":
                raise ValueError("it does not fit")
            return {"ms": 1.0}

        return Measurement(name, numbers, 10.0)

    todo, file = [run("a"), run("bad"), run("b")], tmp_path / "gpu.jsonl"
    assert measure(todo, bed, file, time.monotonic() + 5)  # no time left for any
    assert calls == []
    file.write_text('{"key": "b", "numb', encoding="utf-8")  # a line that a kill cut
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    for _ in range(2):
        assert measure(todo, bed, file, time.monotonic() + 1e6)
    assert calls == ["a", "bad", "b"]
    assert read(file)["bad"]["error"] == "ValueError: it does not fit"
    assert "FAILED bad: ValueError: it does not fit" in as_text(list(read(file).values()))


def test_goals_are_said_to_be_reached_or_not() -> None:
    numbers: dict[str, dict[str, Any]] = {
        "simclr: eager": {"images_per_s": 20_000.0},
        "simclr: graph": {"images_per_s": 30_000.0},
        "simclr: eager, fixed inputs": {"images_per_s": 25_000.0},
        "run: simclr, 3 epochs": {"methods": {"simclr": {"embed_s": 10.0, "tasks_s": 50.0}}},
    }
    said = "\n".join(gpu.goals(numbers, 800.0))
    assert "the fastest (simclr: graph): **3e+04**; goal 2.5e+04: reached" in said
    assert "SimCLR's products run at 200 TFLOP/s, 25.0% of the bf16 product's rate" in said
    assert "on fixed inputs: **0.8**; goal 0.9: NOT reached" in said
    assert "extrapolated: 6.56 min; goal: under 7" in said


def test_what_is_saved_is_what_the_page_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "RESULTS", tmp_path)
    line = {"key": "views: one of a batch", "numbers": {"view_ms": 0.5}, "seconds": 1.0, "at": "2026-11-22T12:00:00"}
    (tmp_path / "gpu.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    for device in ("cpu: made", "cuda: made"):
        (tmp_path / "provenance.json").write_text(json.dumps({"device": device}), encoding="utf-8")
        with pytest.raises(SystemExit, match="nothing for the page") if device[:3] == "cpu" else nullcontext():
            gpu.save(tmp_path)
    content = json.loads((tmp_path / "gpu.json").read_text(encoding="utf-8"))
    assert (content["measurements"], content["contests"], content["measured"]) == ([line], [], "2026-11-22T12:00:00")
