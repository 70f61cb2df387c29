"""The benchmark of the proxy measures a tiny board, resumes, and says what the proxy's choice loses."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError
from bench_core.planning.tuning import Tuning
from bench_core.plugins import load_plugins
from benchmarks import proxy

BOARD = """
title = "Tiny"
seeds = [0]
precision = "fp32"

[recipe]
epochs = 2
batch_size = 128

[datasets.digits]
[encoders.convnet]
widths = [8]

[methods.simclr]
recipe.optimizer = "adamw"
recipe.learning_rate = 1e-3
recipe.weight_decay = 0.0

[tasks.knn]
"""


def entry(scores: list[tuple[list[float], list[float]]], **values: Any) -> dict[str, Any]:
    """Return a saved entry with the scores of each trial at both sizes."""
    usual = {
        "board": "tiny",
        "row": "nac",
        "metric": "knn:top1",
        "proxy": {"epochs": 1, "datasets": {}},
        "validation": 0.2,
        "seeds": [0, 1],
        "higher_is_better": True,
        "seconds": {"proxy": 0.5, "final": None},
        "measured": "2026-11-30T11:12+00:00",
        "provenance": {"commit": "1234567890", "dirty": False},
    }
    return {**usual, "trials": [{"values": {}, "proxy": a, "final": b} for a, b in scores], **values}


def test_tau_and_loss_by_hand() -> None:
    made = entry([([0.1], [0.1]), ([0.2], [0.3]), ([0.3], [0.2])])  # one of three pairs is turned round
    assert proxy.kendall(made) == pytest.approx(1 / 3)
    assert (proxy.pick(made, "proxy"), proxy.pick(made, "final")) == (2, 1)
    assert "Kendall's tau 0.33. The proxy's choice loses 0.1000 at the end." in proxy.as_text([made])


def test_lower_is_better_turns_the_choice_and_not_the_order() -> None:
    made = entry([([0.1], [0.1]), ([0.2], [0.3])], higher_is_better=False)
    assert proxy.pick(made, "proxy") == 0
    assert "Kendall's tau 1.00. Both sizes choose the same trial." in proxy.as_text([made])


def test_trial_that_failed_is_shown_and_counts_nowhere() -> None:
    made = entry([([0.1, 0.1], [0.1, 0.3]), ([], [0.9, 0.9]), ([0.2, 0.2], [0.4, 0.4])])
    text = proxy.as_text([made])
    assert "| 1 | the row as it is | failed | 0.9000 ± 0.0000 |" in text
    assert "| 0 | the row as it is | 0.1000 ± 0.0000 | 0.2000 ± 0.1414 |" in text
    assert proxy.pick(made, "final") == 2
    assert "No trial finished" in proxy.as_text([entry([([], [0.1])])])


def test_saving_replaces_the_entry_of_the_same_row_and_keeps_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy, "RESULTS", tmp_path / "proxy.json")
    for made in (entry([([0.1], [0.1])]), entry([([0.2], [0.2])], row="simclr"), entry([([0.3], [0.3])])):
        proxy.save(made)
    orders = json.loads(proxy.RESULTS.read_text())["orders"]
    assert [(one["row"], one["trials"][0]["proxy"]) for one in orders] == [("nac", [0.3]), ("simclr", [0.2])]


def test_trials_are_trained_at_both_sizes_once(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    board = tmp_path / "tiny" / "board.toml"
    board.write_text(BOARD)
    tuning = Tuning(epochs=1)
    options: dict[str, Any] = {"trials": 2, "store": tmp_path / "store", "jobs": 1, "registry": load_plugins()}
    made = proxy.measure(str(board), "simclr", tuning, **options)
    again = proxy.measure(str(board), "simclr", tuning, **options)
    assert again["trials"] == made["trials"]
    assert again["seconds"] == made["seconds"]  # those of the first trainings: nothing was trained again
    assert made["trials"][0]["values"] == {}
    assert {len(trial[size]) for trial in made["trials"] for size in ("proxy", "final")} == {1}
    assert "Proxy: epochs = 1; a training takes" in proxy.as_text([made])


def test_board_without_proxy_is_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"trials": 2, "store": tmp_path, "jobs": 1, "registry": load_plugins()}
    with pytest.raises(RequestError, match="board digits has no proxy: type --epochs N"):
        proxy.measure("digits", "simclr", Tuning(), **options)
    with pytest.raises(RequestError, match="board digits has no row 'nothing'"):
        proxy.measure("digits", "nothing", Tuning(), **options)
