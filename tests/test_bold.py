"""Bold keeps its promise on simulated boards, and the page of the simulation shows what the script simulates."""

import re

import numpy as np
import pytest

from benchmarks import bold

CASES = {case.name: case for group in bold.cases().values() for case in group}


@pytest.mark.parametrize("name", ["20 | 10 | deviations alike", "20 | 5 | deviations wide"])
def test_true_best_is_bold_in_95_percent_of_boards_as_it_was_not_pair_by_pair(name: str) -> None:
    boards = 300
    assert bold.best_is_bold(bold.comparisons_with_best, CASES[name], boards)[0] >= bold.least(boards)
    assert bold.best_is_bold(bold.pair_by_pair, CASES[name], boards)[0] < bold.least(boards)


def test_two_rows_are_told_apart_as_by_a_one_sided_t_test_of_5_percent() -> None:
    share, _ = bold.best_is_bold(bold.comparisons_with_best, CASES["2 | 3 | deviations alike"], 300)
    assert abs(share - 0.95) < 2.5 * np.sqrt(0.95 * 0.05 / 300)


def test_scores_near_their_bound_keep_the_promise() -> None:
    case = CASES["10 | 5 | hits of 500 items, mean 0.99"]
    assert bold.best_is_bold(bold.comparisons_with_best, case, 200)[0] >= bold.least(200)


def test_losers_far_behind_are_found() -> None:
    near, _, far = bold.found(bold.comparisons_with_best, CASES["10 | 3 | deviations alike"], 50)
    assert near < 0.2
    assert far > 0.85


def test_page_has_a_line_for_each_case_in_their_order() -> None:
    shown = re.findall(r"^\| (\d+ \| \d+ \| .+?) \|", bold.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert shown == list(CASES)


def test_page_shows_the_present_rule_within_the_error_of_its_simulation() -> None:
    """A rule changed without the page is seen, in a case with narrow errors: its first boards are the page's."""
    name = "10 | 5 | deviations wide"
    [line] = [line for line in bold.PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {name} |")]
    published = float(line.split("|")[5].split("±")[0].strip(" *"))
    share, _ = bold.best_is_bold(bold.comparisons_with_best, CASES[name], 300)
    assert abs(share - published) < 3 * np.sqrt(0.05 * 0.95 / 300)
