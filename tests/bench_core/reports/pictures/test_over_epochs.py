"""Scores after epochs are drawn against compute."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench_core.planning.at_epochs import at_epochs
from bench_core.planning.boards import Picture
from bench_core.planning.chains import Plan
from bench_core.reports.pictures.draw import draw, fingerprint, fingerprint_in
from bench_core.reports.pictures.model import NothingToDrawError, PlotRequest
from bench_core.reports.pictures.over_epochs import OverEpochs
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.reports.tables.entries import Entry
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store

PICTURE = Picture(name="epochs", kind="epochs")


@pytest.fixture
def of_epochs(plan_of: Callable[..., Plan], store: Store) -> list[Entry]:
    """One row after 1, 2 and 3 epochs, at two seeds."""
    plan = at_epochs(plan_of(seeds=[0, 1], epochs=3), [1, 2, 3])
    assert run_plan(plan, store, RunSetting(device="cpu", keep_every=1)) == []
    return plan_entries(plan, store.records())


def test_points_are_the_scores_of_the_records_over_epochs_and_seconds(of_epochs: list[Entry]) -> None:
    data = OverEpochs().read(of_epochs, PICTURE)
    assert (data.methods, data.tasks) == (["shrink"], [("spread", "spread")])
    assert [point.epoch for point in data.points] == [1, 2, 3]
    for point in data.points:
        records = [
            entry.finished_record
            for entry in of_epochs
            if entry.finished_record and entry.finished_record.document.embed["epoch"] == point.epoch
        ]
        assert list(point.values) == [record.scores["spread"].value for record in records]
    seconds = [point.seconds for point in data.points if point.seconds is not None]
    assert 0 < seconds[0] < seconds[1] < seconds[2]


def test_the_picture_says_what_it_shows_and_carries_its_fingerprint(of_epochs: list[Entry], tmp_path: Path) -> None:
    draw(of_epochs, PICTURE, tmp_path / "epochs.svg")
    text = (tmp_path / "epochs.svg").read_text()
    assert all(words in text for words in ("means over 2 seeds", "seconds of training", "epochs", "shrink"))
    assert fingerprint_in(tmp_path / "epochs.svg") == fingerprint(of_epochs, PICTURE)


def test_rows_are_chosen_with_or_without_their_epoch(of_epochs: list[Entry]) -> None:
    one = Picture(name="epochs", kind="epochs", methods=("shrink @ 2 epochs",))
    assert [point.epoch for point in OverEpochs().read(of_epochs, one).points] == [2]
    all_of_it = Picture(name="epochs", kind="epochs", methods=("shrink",))
    assert len(OverEpochs().read(of_epochs, all_of_it).points) == 3


def test_rows_without_epochs_give_no_picture(entries: list[Entry]) -> None:
    assert list(OverEpochs().possible_pictures(entries, PlotRequest())) == []
    with pytest.raises(NothingToDrawError, match=r"bench run --keep-every 10 --at epochs=10,20"):
        OverEpochs().read(entries, PICTURE)
