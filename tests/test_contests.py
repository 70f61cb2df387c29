"""Each contest on a small scale: its checks hold, and every contender runs."""

import importlib
import warnings
from typing import Any

import pytest

from benchmarks.contest import measure, ratios, result

SMALL: dict[str, dict[str, Any]] = {
    "neighbours": {"queries": 40, "bank": 400, "dims": 16, "k": 20},
    "probe": {"items": 400, "dims": 16, "classes": 3},
    "retrieval": {"queries": 50, "database": 300, "bits": 16, "timed": 20},
    "sinkhorn": {"items": 400, "clusters": 8, "dims": 8},
}


@pytest.mark.parametrize("script", SMALL)
def test_contenders_of_contest_agree_and_run(script: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of imported packages
        contests = importlib.import_module(f"benchmarks.{script}").contests(**SMALL[script])
        for contest in contests:
            timings = measure(contest.contenders, rounds=1)
            assert all(len(ratios(timings, goal)) == 1 for goal in contest.goals)
            assert bool(result(contest, timings)["exponents"]) == bool(contest.sizes)
