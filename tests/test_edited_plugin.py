"""An author edits a plugin and repeats the command: the old number, or half a training, does not pass as today's."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench_core.cli.group import main

PLUGIN = '''
"""A method that makes features of two noisy views similar."""

import os
import signal

import torch
from bench_core import Loss, NoConfig, Objective, Recipe, hookimpl


class Near(Objective):
    """Makes the features of noisy images similar."""

    Config = NoConfig
    recipe = Recipe(optimizer="sgd", learning_rate=0.01, epochs=2, batch_size=16)
    recipe_source = "ours: tiny"
    revision = 1
    steps = 0

    def make_views(self, batch, rng):
        return batch.inputs + 0.1 * torch.rand(2, *batch.inputs.shape, generator=rng)

    def forward(self, views, player="main"):
        first, second = (self.encoder(view) for view in views)
        return Loss((first - second).square().mean() * 1.0)

    def after_step(self):
        self.steps += 1
        if self.steps == int(os.environ.get("STOP_AFTER", 0)):
            os.kill(os.getpid(), signal.SIGTERM)


@hookimpl
def bench_objectives():
    return {"near": Near}
'''
CELLS = [
    "--methods", "near", "--tasks", "knn", "--epochs", "2", "--batch-size", "16", "--set", "digits.train_size=64",
    "--set", "near.recipe.learning_rate=0.1",  # so large that an edit shows in the score with every version of torch
    "--set", "knn.k=5",
]  # fmt: skip
Bench = Callable[..., Result]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """File of an installed plugin that is one module, `near`; each command loads it anew."""
    information = tmp_path / "near-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: near\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[bench]\nnear = near\n")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a file may be edited twice within a second
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of a process that runs one chain
    path = tmp_path / "near.py"
    path.write_text(PLUGIN)
    yield path
    sys.modules.pop("near", None)


@pytest.fixture
def bench(tmp_path: Path, plugin: Path) -> Bench:
    """Function that runs `bench` as a new process would: the plugin is read from its file."""

    def call(*words: str, code: int = 0, store: str = "runs") -> Result:
        sys.modules.pop("near", None)
        where = ["--store", str(tmp_path / store)]
        result = CliRunner().invoke(main, [*words, *where])
        assert result.exit_code == code, result.output
        return result

    return call


def edit(plugin: Path, old: str, new: str) -> None:
    text = plugin.read_text()
    assert text.count(old) == 1
    plugin.write_text(text.replace(old, new))


def record(store: Path) -> dict[str, Any]:
    (path,) = store.glob("cells/*/*.json")
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def trained_weights(store: Path) -> bytes:
    (path,) = store.glob("chains/*/weights.safetensors")
    return path.read_bytes()


def test_an_old_number_of_edited_code_is_said_in_one_line_with_what_to_do(
    plugin: Path, bench: Bench, tmp_path: Path
) -> None:
    line = (
        "near's code changed since 1 of these records was made, and its revision is still 1: raise it if numbers may "
        "change, or run with --rerun near"
    )
    first = bench("run", *CELLS, "--quiet")
    assert "code changed" not in first.stderr
    plugin.write_text(f"# a comment\n{PLUGIN}")
    assert "code changed" not in bench("run", *CELLS, "--quiet").stderr

    edit(plugin, "* 1.0", "* 0.0")
    for words in (["run", *CELLS, "--quiet"], ["run", *CELLS, "--dry-run"]):
        assert bench(*words).stderr.splitlines().count(line) == 1
    assert bench("why", "near/knn", *CELLS).stdout.splitlines()[-1] == line
    key = record(tmp_path / "runs")["key"]
    verified = bench("verify", key, "--quiet", code=1)
    assert "near's code is not that of the record; its revision is 1 in both" in verified.stderr

    again = bench("run", *CELLS, "--rerun", "near", "--quiet")
    assert "code changed" not in again.stderr
    assert "code changed" not in bench("run", *CELLS, "--quiet").stderr
    edit(plugin, "* 0.0", "* 0.5")
    edit(plugin, "revision = 1", "revision = 2")
    assert "code changed" not in bench("run", *CELLS, "--quiet").stderr


def test_a_new_task_on_a_training_of_edited_code_is_said_before_it_is_run(plugin: Path, bench: Bench) -> None:
    bench("run", *CELLS, "--quiet")
    edit(plugin, "* 1.0", "* 0.0")
    cells = ["geometry" if word == "knn" else word for word in CELLS if not word.startswith("knn.")]
    cells.pop()  # the --set of knn
    result = bench("run", *cells, "--quiet")
    assert "near's code changed since 1 of the trainings that are used was made" in result.stderr


def stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch, store: str = "runs") -> None:
    """Begin the training and stop it after 3 of its 8 steps."""
    monkeypatch.setenv("STOP_AFTER", "3")
    bench("run", *CELLS, code=75, store=store)
    monkeypatch.delenv("STOP_AFTER")


def test_a_stopped_training_of_edited_code_starts_anew_and_says_so(
    plugin: Path, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(bench, monkeypatch)
    edit(plugin, "* 1.0", "* 3.0")
    result = bench("run", *CELLS)
    (line,) = (line for line in result.stderr.splitlines() if "of other code" in line)
    assert re.search(r"are of other code \(method\); training starts again from step 0 \(--resume-anyway goes on", line)
    assert "resumed" not in record(tmp_path / "runs")["provenance"]["pretrain"]
    bench("run", *CELLS, store="fresh")
    assert trained_weights(tmp_path / "runs") == trained_weights(tmp_path / "fresh")


def test_a_training_that_goes_on_is_counted_in_its_record(
    plugin: Path, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(bench, monkeypatch)
    stopped(bench, monkeypatch)
    result = bench("run", *CELLS)
    assert "of other code" not in result.stderr
    training = record(tmp_path / "runs")["provenance"]["pretrain"]
    assert training["resumed"] == 2
    assert "earlier_sources" not in training
    bench("run", *CELLS, store="fresh")
    assert trained_weights(tmp_path / "runs") == trained_weights(tmp_path / "fresh")


def test_with_resume_anyway_other_code_goes_on_and_the_record_names_both(
    plugin: Path, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(bench, monkeypatch)
    edit(plugin, "* 1.0", "* 3.0")
    result = bench("run", *CELLS, "--resume-anyway")
    assert "of other code" not in result.stderr
    made_by = record(tmp_path / "runs")["provenance"]
    training = made_by["pretrain"]
    assert training["resumed"] == 1
    (earlier,) = training["earlier_sources"]
    assert earlier["method"] != training["sources"]["method"] == made_by["sources"]["method"]
    assert earlier["encoder"] == training["sources"]["encoder"]
    assert made_by["sources"].keys() == {"dataset", "encoder", "method", "task"}
    bench("run", *CELLS, store="fresh")
    assert trained_weights(tmp_path / "runs") != trained_weights(tmp_path / "fresh")
    assert "2 codes of near at revision 1." in result.stdout
    assert "so that one training is of 2 codes: near." in result.stdout
    assert "code changed" in bench("run", *CELLS, "--quiet").stderr  # half of it is of other code


def test_an_edit_that_is_taken_back_goes_on_from_the_checkpoint_of_that_code(
    plugin: Path, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(bench, monkeypatch)
    edit(plugin, "* 1.0", "* 3.0")
    stopped(bench, monkeypatch)
    edit(plugin, "* 3.0", "* 1.0")
    bench("run", *CELLS)
    training = record(tmp_path / "runs")["provenance"]["pretrain"]
    assert training["resumed"] == 1
    assert "earlier_sources" not in training
    assert not list(tmp_path.glob("runs/chains/*.under-way"))


def test_a_process_that_runs_one_chain_is_told_to_resume_anyway(
    plugin: Path, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(bench, monkeypatch)
    edit(plugin, "* 1.0", "* 3.0")
    bench("run", *CELLS, "--isolate", "--resume-anyway")
    training = record(tmp_path / "runs")["provenance"]["pretrain"]
    assert (training["resumed"], len(training["earlier_sources"])) == (1, 1)
