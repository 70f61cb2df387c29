"""`bench run --validation`: the test split is never opened, in this process nor in those that it starts."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench_core.cli.group import main
from bench_core.engines.command_line import run_command
from bench_core.errors import RequestError
from bench_core.planning.request import Request
from bench_core.plugins import load_plugins
from bench_core.reports.pages.publish import publish_board
from bench_core.running.setting import RunSetting
from bench_core.running.verify import plan_again, verify
from bench_core.store import Store

CLOSED = '''
"""A dataset whose test split cannot be opened."""

import torch

from bench_core import Dataset, DataSpec, NoConfig, Split, hookimpl


class Closed(Dataset):
    """Bright and dark images, and a test split that raises."""

    Config = NoConfig

    def __init__(self, root, config):
        pass

    def spec(self):
        return DataSpec(shape=(1, 8, 8), splits={"train": 100, "test": 50, "more": 50}, num_classes=2)

    def digest(self):
        return "closed-1"

    def load(self, split):
        if split != "train":
            raise RuntimeError(f"the split {split} was opened")
        labels = torch.arange(100) % 2
        noise = torch.randint(0, 60, (100, 1, 8, 8), generator=torch.Generator().manual_seed(0))
        return Split((noise + 150 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels)


@hookimpl
def bench_datasets():
    return {"closed": Closed}
'''
NAME = "closed (20 % of train held out)"
PLUGINS = "closed-toys,convnet,simclr,references,knn,linear,transfer"
Bench = Callable[..., Result]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """`bench(..., code=0)` with the closed dataset, installed for this process and those that it starts."""
    info = tmp_path / "site" / "closed_toys-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: closed-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench]\nclosed_toys = closed_toys\n")
    (tmp_path / "site" / "closed_toys.py").write_text(CLOSED)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_PLUGINS", PLUGINS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=":")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "closed_toys", raising=False)
    importlib.invalidate_caches()

    def call(*words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, words)
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result

    return call


RUN = (
    "run",
    "--datasets",
    "closed",
    "--methods",
    "simclr",
    "--tasks",
    "knn,linear",
    "--epochs",
    "1",
    "--batch-size",
    "32",
    "--device",
    "cpu",
)


def test_trains_and_scores_without_the_test_split_here_and_in_other_processes(bench: Bench, tmp_path: Path) -> None:
    opened = bench(*RUN, "--store", "usual", code=1)
    assert str(opened.exception) == "the split test was opened"
    bench(*RUN, "--validation", "0.2", "--quiet")
    bench(*RUN, "--validation", "0.2", "--quiet", "--jobs", "2", "--store", "apart")
    here, apart = (Store(tmp_path / name).records() for name in ("runs", "apart"))
    assert {record.names["task"]: record.names["dataset"] for record in here} == {"knn": NAME, "linear": NAME}
    assert {record.key: record.scores for record in here} == {record.key: record.scores for record in apart}
    for record in here:
        assert record.document.held_out == 0.2
        assert record.stored["facts"]["splits"] == {"train": 80, "test": 20}
        assert record.scores["top1"].n == 20
    table = " ".join(bench("table").output.split())
    assert NAME in table
    assert "Scores are of a held-out 20 % of train, on which nothing was trained; the test split was not" in table
    assert json.loads(bench(*RUN, "--validation", "0.2", "--quiet", "--json").output)[0]["dataset"] == NAME


def test_few_labels_a_class_are_drawn_from_what_is_left(bench: Bench, tmp_path: Path) -> None:
    words = ("--methods", "random", "--tasks", "linear", "--set", "linear.labels_per_class=5")
    bench("run", "--datasets", "closed", *words, "--device", "cpu", "--validation", "0.2", "--quiet")
    [record] = Store(tmp_path / "runs").records()
    assert record.scores["top1"].n == 20


def test_record_is_verified_with_the_same_part(bench: Bench, tmp_path: Path) -> None:
    bench("run", "--datasets", "closed", "--methods", "random", "--tasks", "knn", "--validation", "0.2", "--quiet")
    [record] = Store(tmp_path / "runs").records()
    plan = plan_again(record, load_plugins(), tmp_path)
    assert [(cell.key, cell.names) for cell in plan.cells] == [(record.key, record.names)]
    assert verify(plan, record, "cpu").largest == 0.0


def test_parts_that_are_none_are_refused_on_the_command_line(bench: Bench) -> None:
    for part in ("1", "-0.1", "much"):
        assert "--validation" in bench(*RUN, "--validation", part, code=2).output
    assert "both parts need items" in bench(*RUN, "--validation", "0.001", code=2).output


def test_processes_are_started_with_the_part(tmp_path: Path) -> None:
    request = Request(methods=["nac"], validation=0.2, data_root=tmp_path)
    assert "--validation=0.2" in run_command(request, RunSetting(device="cpu"), tmp_path / "runs")


def test_board_with_a_part_is_not_published(bench: Bench, tmp_path: Path) -> None:
    board = tmp_path / "trials.toml"
    board.write_text(
        "validation = 0.2\nseeds = [0]\n[datasets.closed]\n[encoders.convnet]\n[methods.random]\n[tasks.knn]\n"
    )
    bench("run", "--board", str(board), "--quiet")
    with pytest.raises(RequestError, match=r"validation = 0\.2.*trials are not published"):
        publish_board(str(board), Store(tmp_path / "runs"), tmp_path / "leaderboards", tmp_path / "README.md")
    assert not (tmp_path / "leaderboards").exists()
