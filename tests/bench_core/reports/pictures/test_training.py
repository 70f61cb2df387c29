"""Curves of trainings are read from the logs of a store's chains."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from bench_core.errors import RequestError
from bench_core.keys import key_of
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.draw import draw
from bench_core.reports.pictures.model import PlotRequest
from bench_core.reports.pictures.training import Training, TrainingData
from bench_core.reports.tables.entries import Entry
from bench_core.store import Store
from tests.chain_forms import make_older, write_log

ROWS = ("shrink (factor=0.0)", "shrink (factor=1.0)", "shrink (factor=5.0)")
PICTURE = Picture(name="training", kind="training")


def chain_folder(entry: Entry, store: Store) -> Path:
    assert entry.document is not None
    return store.chain_folder(key_of(entry.document.pretrain))


def write_logs(entries: list[Entry], store: Store) -> None:
    """Give the first row logs whose curves are known: at epoch e the loss of seed s is e + s."""
    for entry in entries:
        if entry.names["method"] == ROWS[0]:
            lines: list[dict[str, Any]] = [
                {
                    "step": 2 * epoch, "epoch": epoch, "loss": float(epoch + entry.seed), "pull": 1.0,
                    "pull_above_ceiling": 0.5, "learning_rate": 0.1, "images_per_s": 50.0, "seconds": 1.0,
                    "peak_memory_gib": None, "probe": {"knn": 0.25 * epoch, "rankme": 3.0}, "odd": math.nan,
                }
                for epoch in (1, 2)
            ]  # fmt: skip
            if entry.seed == 1:
                lines[1]["warnings"] = ["pull is above its ceiling"]
            write_log(chain_folder(entry, store), [*lines, {"step": 4, "after_training": {"done": 1}}])


def read(entries: list[Entry], store: Store) -> TrainingData:
    return Training().read(entries, PICTURE, store)


def test_a_line_is_the_mean_over_seeds_and_the_band_goes_from_the_least_to_the_largest(
    entries: list[Entry], store: Store
) -> None:
    write_logs(entries, store)
    data = read(entries, store)
    assert (data.seeds[ROWS[0]], data.warned[ROWS[0]]) == ((0, 1), (2,))
    curves = {curve.name: curve for curve in data.curves if curve.method == ROWS[0]}
    assert list(curves) == ["loss", "pull", "learning_rate", "images_per_s", "probe.knn", "probe.rankme"]
    loss = curves["loss"]
    assert (loss.epochs, loss.mean, loss.low, loss.high) == ((1, 2), (1.5, 2.5), (1.0, 2.0), (2.0, 3.0))
    assert curves["probe.knn"].mean == (0.25, 0.5)


def test_loss_stands_first_then_parts_probes_rate_and_speed(entries: list[Entry], store: Store) -> None:
    write_logs(entries, store)
    names = read([entry for entry in entries if entry.names["method"] == ROWS[0]], store).names
    assert names == ["loss", "pull", "probe.knn", "probe.rankme", "learning_rate", "images_per_s"]


def test_the_picture_says_what_its_band_and_its_crosses_are(entries: list[Entry], store: Store, tmp_path: Path) -> None:
    write_logs(entries, store)
    assert draw(entries, PICTURE, tmp_path / "training.svg", store) == []
    text = (tmp_path / "training.svg").read_text()
    assert "lines: means over 2 seeds, bands: least to largest seed; x: an epoch with a warning" in text
    assert all(words in text for words in ("probe: RankMe", "images/s", *ROWS))


def test_one_seed_has_no_band(entries: list[Entry], store: Store) -> None:
    figure = Figure()
    data = read([entry for entry in entries if entry.seed == 0], store)
    Training().paint(figure, data, PICTURE)
    assert all(not axes.collections for axes in figure.axes)
    assert "(seed 0)" in figure.get_suptitle()


def test_a_row_without_a_log_is_named(entries: list[Entry], store: Store) -> None:
    for entry in entries:
        if entry.names["method"] == ROWS[0]:
            (make_older(chain_folder(entry, store)) / "log.jsonl").unlink(missing_ok=True)
        if entry.names["method"] == ROWS[1]:
            write_log(chain_folder(entry, store), [])
    reasons = " ".join(read(entries, store).reasons)
    assert f"{ROWS[0]}: no log under" in reasons
    assert f"{ROWS[1]}: it trains nothing" in reasons


def test_the_picture_is_drawn_only_if_asked_for_and_never_on_a_board(entries: list[Entry]) -> None:
    assert list(Training().possible_pictures(entries, PlotRequest())) == []
    asked = Training().possible_pictures(entries, PlotRequest(kind="training", methods=("a",)))
    assert list(asked) == [replace(PICTURE, methods=("a",))]
    with pytest.raises(RequestError, match="bench plot --kind training"):
        Training().check(PICTURE)
