"""A task with curves and images, and a project with a board whose revisions rise."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from bench_core import Evaluation, Evaluator, Frozen, NoConfig, Score
from bench_core.planning.chains import Plan, narrowed
from bench_core.planning.plan import board_plan
from bench_core.plugins import Registry
from bench_core.reports.pages.publish import Published, check_pages, publish_board, write_pages
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.record import Record
from bench_core.store.store import read_records

BOARD = """
title = "Two tasks"
seeds = [0, 1]
[datasets.blobs]
[encoders.tiny]
[methods.weak]
use = "shrink"
[methods.strong]
use = "shrink"
factor = 5.0
[tasks.spread]
[tasks.look]
[pictures.plane]
kind = "projection"
[pictures.both]
x = "spread:spread"
y = "look:top1"
"""


@pytest.fixture
def look(add: Callable[[str, str, type], None]) -> type[Evaluator]:
    """Add the task `look` to the tiny plugins and return its class, whose revision a test may raise."""

    class Look(Evaluator):
        """Task with a grid of images, a curve that is averaged over seeds, and one that is not (ours)."""

        Config = NoConfig

        def __init__(self, config: NoConfig) -> None:
            self.config = config

        def evaluate(self, frozen: Frozen) -> Evaluation:
            """Return one score."""
            return Evaluation(
                scores=[Score(metric="top1", value=0.5 + frozen.seed / 8, n=16)],
                protocol="none",
                curves={
                    "projection_pca": {"x": [0, 1], "y": [1, frozen.seed]},
                    "layers": {"layer": [0, 1], "a": [0, 1]},
                },
                images={"samples": torch.zeros(2, 1, 4, 4, dtype=torch.uint8)},
            )

    add("evaluator", "look", Look)
    return Look


@dataclass(frozen=True)
class Project:
    """A checkout with a board `toys`, a README with its table, and a page of each task."""

    root: Path
    registry: Registry
    store: Store

    @property
    def folder(self) -> Path:
        return self.root / "leaderboards" / "toys"

    @property
    def plan(self) -> Plan:
        return board_plan(str(self.folder), self.registry)

    def run(self, *tasks: str, methods: tuple[str, ...] = ("weak", "strong"), seeds: tuple[int, ...] = (0, 1)) -> None:
        """Run some cells of the board as its code is now."""
        plan = narrowed(
            self.plan,
            lambda chain, cell: cell.names["task"] in tasks and chain.method.name in methods and chain.seed in seeds,
        )
        run_plan(plan, self.store, RunSetting(device="cpu", command="bench run --board toys"))

    def publish(self, *, partial: bool = False) -> Published:
        boards, readme = self.root / "leaderboards", self.root / "README.md"
        return publish_board(str(self.folder), self.store, boards, readme, self.registry, partial=partial)

    def write_pages(self) -> list[Path]:
        return write_pages(self.root / "leaderboards", self.root / "README.md", self.registry)

    def check(self) -> list[Path]:
        return check_pages(self.root / "leaderboards", self.root / "README.md", self.registry)

    def page(self) -> str:
        return (self.folder / "README.md").read_text()

    def records(self, task: str) -> list[Record]:
        return [record for record in read_records(self.folder / "records") if record.names["task"] == task]

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture(scope="package")
def finished_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a store that the first test runs and the others copy."""
    return tmp_path_factory.mktemp("finished") / "runs"


@pytest.fixture
def project(
    look: type[Evaluator], registry: Registry, finished_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """A project whose board is run and published by clean, committed code of revision 1."""
    monkeypatch.setattr("bench_core.running.provenance._commit", lambda: ("abc1234", False))
    project = Project(tmp_path / "project", registry, Store(tmp_path / "runs"))
    project.folder.mkdir(parents=True)
    (project.folder / "board.toml").write_text(BOARD)
    (project.root / "README.md").write_text("<!-- bench:begin toys -->\n<!-- bench:end toys -->\n")
    for task in ("look", "spread"):
        page = project.root / "docs" / "tasks" / f"{task}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(
            "".join(f"<!-- bench:begin {m} -->\n<!-- bench:end {m} -->\n" for m in ("parameters", "numbers"))
        )
    if not finished_store.exists():
        Project(project.root, registry, Store(finished_store)).run("spread", "look")
    shutil.copytree(finished_store, project.store.path)
    project.publish()
    return project
