"""A board of tiny plugins, one of which another package brings, and its tuning without a command line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench_core import Recipe, param
from bench_core.planning.chains import Plan
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.planning.tuning import TunedRow
from bench_core.plugins import Registry
from bench_core.ranges import choice, log
from bench_core.running.progress import NoProgress
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.tuning.outcome import find_trials, outcome
from bench_core.tuning.search import Search, make_search, trial_store, written_board
from tests.conftest import Shrink, ShrinkConfig, toy

BOARD = """\
precision = "fp32"
[recipe]
epochs = 4
warmup_epochs = 2
[datasets.blobs]
[encoders.tiny]
[methods.still]
[methods.shrink]
[methods.tinted]
[methods.tinted_control]
use = "tinted"
kind = "control"
[methods.after]
use = "shrink"
init = "tinted"
[tasks.spread]
[tuning]
trials = 4
epochs = 2
metrics.features = "spread:spread"
datasets.blobs.train_size = 40
"""


@dataclass(frozen=True, kw_only=True)
class TintedConfig(ShrinkConfig):
    """Parameters of Tinted."""

    kind: str = param("idea", "what it is", "ours: tiny", choices=("idea", "control"), tune=choice("idea", "control"))
    tint: float = param(0.5, "how much", "ours: tiny", gt=0, tune=log(0.1, 10))
    steps: int = param(4, "how often", "ours: tiny", ge=1, tune=choice(2, 4, 8))


class Tinted(Shrink):
    """Method of another package (ours)."""

    Config = TintedConfig
    recipe = Recipe(optimizer="sgd", learning_rate=0.02, epochs=2, batch_size=16)


class Still(Shrink):
    """Method that is not trained (ours)."""

    recipe = Recipe(epochs=0)


@pytest.fixture
def plugins(registry: Registry) -> Registry:
    """The tiny plugins, a method that is not trained, and a method of another package."""
    registry.components.append(toy("objective", "still", Still))
    registry.components.append(toy("objective", "tinted", Tinted, "elsewhere"))
    return registry


def swap(plugins: Registry, kind: str, name: str, cls: type) -> None:
    """Put another class in place of a component."""
    kept = [part for part in plugins.components if (part.kind, part.name) != (kind, name)]
    plugins.components[:] = [*kept, toy(kind, name, cls)]


@pytest.fixture
def board_file(tmp_path: Path) -> Path:
    """File of a board of the tiny plugins."""
    path = tmp_path / "toys" / "board.toml"
    path.parent.mkdir()
    path.write_text(BOARD)
    return path


@dataclass
class Tuner:
    """Tunes a board's rows in one process."""

    board_file: Path
    store: Path
    plugins: Registry

    def search(self, methods: Sequence[str] | None = None, **given: Any) -> Search:
        """Draw the trials."""
        return make_search(str(self.board_file), methods, given, self.plugins)

    def plan(self, search: Search) -> tuple[Plan, Store]:
        """Plan all trials of the rows that were asked for."""
        store = trial_store(self.store, search.board)
        names = [trial.name for name in search.asked for trial in search.rows[name].rows.values()]
        with written_board(search, self.store, store) as path:
            request = Request(board=str(path), methods=names, device="cpu", data_root=self.store.parent)
            return make_plan(request, self.plugins), store

    def tune(self, methods: Sequence[str] | None = None, **given: Any) -> dict[str, TunedRow]:
        """Run all trials and choose."""
        search = self.search(methods, **given)
        plan, store = self.plan(search)
        run_plan(plan, store, RunSetting(device="cpu"), NoProgress())
        found = {name: find_trials(search.rows[name], plan, store) for name in search.asked}
        return {name: outcome(trials, search.tuning, self.plugins) for name, trials in found.items()}


@pytest.fixture
def tuner(board_file: Path, tmp_path: Path, plugins: Registry) -> Tuner:
    """Tuning of the board of the tiny plugins."""
    return Tuner(board_file, tmp_path / "runs", plugins)


@pytest.fixture
def change(board_file: Path) -> Callable[[str, str], None]:
    """Function that replaces a text in the board's file."""

    def replace(old: str, new: str) -> None:
        text = board_file.read_text()
        assert old in text
        board_file.write_text(text.replace(old, new))

    return replace
