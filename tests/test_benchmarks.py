import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import contest as contests
from benchmarks.contest import Budget, Contest, Goal, Took, Way, as_text, cpu_seconds, exponent, measure, ratios, result
from benchmarks.page import PAGE, page


def test_the_page_is_what_the_results_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_ways_take_turns_after_a_warm_up_each() -> None:
    calls = list[str]()
    took = measure([Way("a", lambda: calls.append("a")), Way("b", lambda: calls.append("b"))], rounds=3)
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert [(one.name, len(one.cpu_s), len(one.wall_s)) for one in took] == [("a", 3, 3), ("b", 3, 3)]


def test_a_part_of_the_work_counts_as_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contests, "_seconds", lambda run: (1.0, 2.0))
    whole, part = measure([Way("whole", int), Way("part", int, share=0.25)], rounds=1)
    assert (whole.cpu_s, whole.wall_s, part.cpu_s, part.wall_s) == ([1.0], [2.0], [4.0], [8.0])


def test_ratios_are_taken_within_a_round_and_judged_by_their_median() -> None:
    took = [Took("ours", 1.0, [1.0, 2.0, 4.0], [1.0] * 3), Took("theirs", 1.0, [3.0, 8.0, 8.0], [1.0] * 3)]
    goals = [Goal("ours", "theirs", 3.0), Goal("ours", "theirs", 3.1)]
    assert ratios(took, goals[0]) == [3.0, 4.0, 2.0]
    text = as_text(json.loads(json.dumps(result(Contest("work", [], goals, ["a note"]), took))))
    assert "**3x** (2 to 4 in 3 rounds); goal 3x: reached" in text
    assert "goal 3.1x: NOT reached" in text
    assert text.endswith("- a note\n")


def test_a_budget_is_of_the_difference_within_a_round() -> None:
    took = [Took("list", 1.0, [3.0, 5.0, 4.0], [1.0] * 3), Took("import", 1.0, [2.5, 4.0, 2.0], [1.0] * 3)]
    budgets = [Budget("list", "import", 1.0), Budget("list", "import", 0.9)]
    text = as_text(json.loads(json.dumps(result(Contest("work", [], budgets=budgets), took))))
    assert "- list beyond import: **1 s** (0.5 to 2 in 3 rounds); budget 1 s: kept" in text
    assert "budget 0.9 s: NOT kept" in text


def test_the_exponent_of_a_power_is_its_power() -> None:
    assert exponent([1, 2, 4, 8], [3 * size**1.5 for size in (1, 2, 4, 8)]) == pytest.approx(1.5)


def test_work_that_grows_has_the_exponent_of_each_round() -> None:
    took = [Took("100 items", 1.0, [1.0, 3.0, 2.0], [1.0] * 3), Took("400 items", 1.0, [4.0, 48.0, 16.0], [1.0] * 3)]
    found = result(Contest("work", [], sizes=[100, 400]), took)
    assert found["exponents"] == pytest.approx([1.0, 2.0, 1.5])
    assert "grow as size to the power **1.50** (1.00 to 2.00 in 3 rounds)" in as_text(json.loads(json.dumps(found)))
    assert "power" not in as_text(result(Contest("work", []), took))


def test_facts_and_seconds_over_those_of_the_base_are_columns() -> None:
    took = [
        Took("a", 1.0, [1.0, 2.0, 4.0], [1.0] * 3, facts={"passes": "2"}),
        Took("b", 1.0, [3.0, 4.0, 8.0], [1.0] * 3, 7.4, facts={"passes": "4"}),
    ]
    text = as_text(json.loads(json.dumps(result(Contest("work", [], base="a"), took))))
    assert "| way | CPU s | wall s | peak MiB | CPU s / a's | passes |\n|:--|--:|--:|--:|--:|--:|\n" in text
    assert "| a | 2 | 1 |  | 1 | 2 |\n| b | 4 | 1 | 7 | 2 | 4 |\n" in text


def test_processes_that_were_waited_for_count() -> None:
    busy = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.2: pass"]
    before = cpu_seconds()
    subprocess.run(busy, check=True)
    assert cpu_seconds() - before >= 0.2


def test_every_result_is_of_a_script_that_is_there() -> None:
    for file in contests.RESULTS.glob("*.json"):
        assert (Path(contests.__file__).parent / f"{file.stem}.py").is_file(), file
