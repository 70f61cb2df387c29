"""Contests are measured, judged and written into the benchmark page as they should be."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import contest as contests
from benchmarks.contest import (
    Budget,
    Contender,
    Contest,
    Goal,
    Timing,
    as_text,
    cpu_seconds,
    exponent,
    measure,
    ratios,
    result,
)
from benchmarks.page import PAGE, page


def test_benchmark_page_matches_its_results() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_contenders_run_in_turns_after_one_warm_up_each() -> None:
    calls = list[str]()
    timings = measure([Contender("a", lambda: calls.append("a")), Contender("b", lambda: calls.append("b"))], rounds=3)
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert [(timing.name, len(timing.cpu_s), len(timing.wall_s)) for timing in timings] == [("a", 3, 3), ("b", 3, 3)]


def test_times_of_partial_work_are_scaled_to_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contests, "seconds", lambda run: (1.0, 2.0))
    whole, part = measure([Contender("whole", int), Contender("part", int, share=0.25)], rounds=1)
    assert (whole.cpu_s, whole.wall_s, part.cpu_s, part.wall_s) == ([1.0], [2.0], [4.0], [8.0])


def test_ratios_are_taken_within_a_round_and_judged_by_their_median() -> None:
    timings = [Timing("ours", 1.0, [1.0, 2.0, 4.0], [1.0] * 3), Timing("theirs", 1.0, [3.0, 8.0, 8.0], [1.0] * 3)]
    goals = [Goal("ours", "theirs", 3.0), Goal("ours", "theirs", 3.1)]
    assert ratios(timings, goals[0]) == [3.0, 4.0, 2.0]
    text = as_text(json.loads(json.dumps(result(Contest("work", [], goals, ["a note"]), timings))))
    assert "**3x** (2 to 4 in 3 rounds); goal 3x: reached" in text
    assert "goal 3.1x: NOT reached" in text
    assert text.endswith("- a note\n")


def test_budget_limits_the_difference_within_a_round() -> None:
    timings = [Timing("list", 1.0, [3.0, 5.0, 4.0], [1.0] * 3), Timing("import", 1.0, [2.5, 4.0, 2.0], [1.0] * 3)]
    budgets = [Budget("list", "import", 1.0), Budget("list", "import", 0.9)]
    text = as_text(json.loads(json.dumps(result(Contest("work", [], budgets=budgets), timings))))
    assert "- list beyond import: **1 s** (0.5 to 2 in 3 rounds); budget 1 s: kept" in text
    assert "budget 0.9 s: NOT kept" in text


def test_exponent_of_power_law_is_its_power() -> None:
    assert exponent([1, 2, 4, 8], [3 * size**1.5 for size in (1, 2, 4, 8)]) == pytest.approx(1.5)


def test_contest_with_growing_sizes_reports_the_exponent_of_each_round() -> None:
    timings = [
        Timing("100 items", 1.0, [1.0, 3.0, 2.0], [1.0] * 3),
        Timing("400 items", 1.0, [4.0, 48.0, 16.0], [1.0] * 3),
    ]
    content = result(Contest("work", [], sizes=[100, 400]), timings)
    assert content["exponents"] == pytest.approx([1.0, 2.0, 1.5])
    assert "grow as size to the power **1.50** (1.00 to 2.00 in 3 rounds)" in as_text(json.loads(json.dumps(content)))
    assert "power" not in as_text(result(Contest("work", []), timings))


def test_facts_and_seconds_relative_to_base_are_columns_of_the_table() -> None:
    timings = [
        Timing("a", 1.0, [1.0, 2.0, 4.0], [1.0] * 3, facts={"passes": "2"}),
        Timing("b", 1.0, [3.0, 4.0, 8.0], [1.0] * 3, 7.4, facts={"passes": "4"}),
    ]
    text = as_text(json.loads(json.dumps(result(Contest("work", [], base="a"), timings))))
    assert "| contender | CPU s | wall s | peak MiB | CPU s / a's | passes |\n|:--|--:|--:|--:|--:|--:|\n" in text
    assert "| a | 2 | 1 |  | 1 | 2 |\n| b | 4 | 1 | 7 | 2 | 4 |\n" in text


def test_cpu_seconds_include_finished_child_processes() -> None:
    busy_process = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"]
    before = cpu_seconds()
    subprocess.run(busy_process, check=True)
    assert cpu_seconds() - before >= 0.2


def test_every_result_file_belongs_to_a_script() -> None:
    for file in contests.RESULTS.glob("*.json"):
        assert (Path(contests.__file__).parent / f"{file.stem}.py").is_file(), file
