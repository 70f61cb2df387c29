"""The state that the page "Live" shows: the last run, trainings under way, curves and lines of logs."""

import json
from pathlib import Path
from typing import Any

import pytest

import bench_core.serving.live_state as live_state
from bench_core.running.planned import Announcement, Planned, PlannedChain
from bench_core.serving.live_state import LiveState, curves
from bench_core.store import Store
from bench_core.store.under_way import LiveLog, under_way_folder

KEYS = ["a" * 64, "b" * 64]
NAMES = {"dataset": "digits", "encoder": "convnet", "method": "nac"}
LINE = {"step": 7, "loss": 5.25, "contrast": 5.0, "learning_rate": 0.01, "images_per_s": 3000.4, "seconds": 2.0}
PAGES = {"built": "2026-11-30 15:00:00", "building": False, "error": ""}


def chain(key: str, seed: int) -> PlannedChain:
    label = f"nac on digits with convnet, seed {seed}"
    return PlannedChain(key, "c" * 64, label, NAMES, 400, {key[::-1].replace(key[0], "d"): "knn"})


def training(store: Store, key: str) -> LiveLog:
    parts = {part: {"id": f"bench-core/{NAMES[part]}", "revision": 1} for part in NAMES}
    doc = {**parts, "recipe": {"epochs": 400}, "seed": 0}
    description = {"doc": doc, "names": {**NAMES, "task": "knn"}, "label": "nac on digits with convnet, seed 0"}
    return LiveLog(under_way_folder(store.chain_folder(key)), description)


def test_a_run_that_goes_on_is_told_with_its_curves(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store.create()
    run = Planned("bench run --methods nac", 1, (chain(KEYS[0], 0),))
    with Announcement(run, store) as announcement, training(store, KEYS[0]) as log:
        announcement.write()
        log.write({"epoch": 1, **LINE})
        log.write({"epoch": 2, **LINE, "loss": float("nan"), "contrast": 4.5, "warnings": ["the loss is not finite"]})
        live = LiveState(store.path)
        body, tag = live.answer(PAGES)
        state = json.loads(body)
        assert (state["command"], state["goes_on"], state["done"], state["total"]) == (run.command, True, 0, 1)
        assert state["counts"] == {"running": 1, "failed": 0, "left": 0}
        assert state["left"] == "at least 13 min"  # 398 epochs of 2 s, and a task of which nothing is known
        assert (state["chains"][0]["state"], state["chains"][0]["epoch"]) == ("running", 2)
        [under_way] = state["trainings"]
        assert (under_way["label"], under_way["epoch"], under_way["epochs"]) == (chain(KEYS[0], 0).label, 2, 400)
        assert under_way["curves"] == [
            {"name": "loss", "points": [[1, 5.25]]},
            {"name": "contrast", "points": [[1, 5.0], [2, 4.5]]},
        ]
        assert under_way["log"][-1] == "  warning: the loss is not finite"
        assert live.answer(PAGES) == (body, tag)
        assert live.answer({**PAGES, "building": True})[1] != tag
    body, _ = LiveState(store.path).answer(PAGES)
    state = json.loads(body)
    assert (state["goes_on"], state["trainings"], state["chains"][0]["state"]) == (False, [], "stopped")


def test_a_store_in_which_nothing_changes_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "runs")
    store.create()
    live, reads = LiveState(store.path), []
    plain = live_state.state_of
    monkeypatch.setattr(live_state, "state_of", lambda store: reads.append(1) or plain(store))  # type: ignore[func-returns-value]  # counts
    monkeypatch.setattr(live_state, "_SHARE", float("inf"))  # as if computing took no time
    live.answer(PAGES)
    live.answer(PAGES)
    assert len(reads) == 1
    with training(store, KEYS[0]) as log:
        log.write({"epoch": 1, **LINE})
        live.answer(PAGES)
        assert len(reads) == 2
        log.write({"epoch": 2, **LINE})
        live.answer(PAGES)
        assert len(reads) == 3


@pytest.mark.parametrize("damage", ["missing", "planned", "newer"])
def test_what_is_missing_or_damaged_is_said_and_ends_nothing(tmp_path: Path, damage: str) -> None:
    store = tmp_path / "runs"
    if damage != "missing":
        Store(store).create()
    if damage == "planned":
        (store / "planned.json").write_text("{")
    if damage == "newer":
        (store / "bench-store.json").write_text('{"format": 2}')
    state = json.loads(LiveState(store).answer(PAGES)[0])
    words = {"missing": "no store", "planned": "planned.json", "newer": "format 2"}
    assert words[damage] in state["error"]
    assert state["pages"] == PAGES


def test_long_curves_are_thinned_and_keep_their_last_point() -> None:
    lines: list[dict[str, Any]] = [{"epoch": epoch, "loss": 1 / epoch} for epoch in range(1, 1001)]
    [curve] = curves(lines)
    assert len(curve["points"]) == 200
    assert curve["points"][0] == [5, 0.2]
    assert curve["points"][-1] == [1000, 0.001]
