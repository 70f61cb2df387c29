"""Pictures hold the numbers of the records, and say so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bench_core import Evaluation, Evaluator, Frozen, NoConfig, Score
from bench_core.boards import Picture, read_board
from bench_core.errors import RequestError, UnknownNameError
from bench_core.pictures import draw, drawn, fingerprint, points
from bench_core.plan import Plan
from bench_core.runner import Setting, run_plan
from bench_core.state import plan_entries
from bench_core.store import Store
from bench_core.tables.entries import Entry

PICTURE = Picture(name="tradeoff", x="spread:spread", y="size:top1", connect=True)


class Size(Evaluator):
    """A fraction."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        self.config = config

    def evaluate(self, frozen: Frozen) -> Evaluation:
        size = float(frozen.splits["test"].embeddings["features"].abs().mean()) % 1
        return Evaluation(scores=[Score(metric="top1", value=size, n=16)], protocol="mean")


@pytest.fixture
def entries(plan_of: Callable[..., Plan], add: Callable[[str, str, type], None], tmp_path: Path) -> list[Entry]:
    add("evaluator", "size", Size)
    plan = plan_of(tasks=["spread", "size"], sweeps={"shrink.factor": [0.0, 1.0, 5.0]}, seeds=[0, 1])
    store = Store(tmp_path / "runs")
    assert run_plan(plan, store, Setting(torch.device("cpu"))) == []
    return plan_entries(plan, store.records())


def test_a_picture_has_a_point_for_each_row_in_the_boards_order(entries: list[Entry], tmp_path: Path) -> None:
    found = points(entries, PICTURE)
    assert list(found) == ["shrink (factor=0.0)", "shrink (factor=1.0)", "shrink (factor=5.0)"]
    draw(entries, PICTURE, tmp_path / "tradeoff.svg")
    text = (tmp_path / "tradeoff.svg").read_text()
    assert "shrink (factor=5.0)" in text
    assert drawn(tmp_path / "tradeoff.svg") == fingerprint(found, PICTURE)


def test_the_same_numbers_give_the_same_bytes_and_others_another_fingerprint(
    entries: list[Entry], tmp_path: Path
) -> None:
    for name in ("a.svg", "b.svg"):
        draw(entries, PICTURE, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    fewer = points([entry for entry in entries if entry.seed == 0], PICTURE)
    assert fingerprint(fewer, PICTURE) != drawn(tmp_path / "a.svg")
    assert drawn(tmp_path / "none.svg") == ""


def test_a_score_that_nobody_has_is_refused(entries: list[Entry]) -> None:
    with pytest.raises(UnknownNameError, match="no metric named 'size:top5'"):
        points(entries, Picture(name="p", x="spread:spread", y="size:top5"))


@pytest.mark.parametrize(
    ("table", "message"),
    [({"x": "a:b"}, "needs x and y"), ({"x": "a:b", "y": "c:d", "z": 1}, "z does not exist"), (3, "must be a table")],
)
def test_a_board_says_what_its_pictures_need(table: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_board({"pictures": {"p": table}}, "b", "b.toml")
