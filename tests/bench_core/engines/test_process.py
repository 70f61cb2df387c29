"""A process for each chain: what is on record however it ends."""

import importlib
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench_core.cli import main
from bench_core.engines.process import Apart, reason, run_apart
from bench_core.engines.watch import Ended
from bench_core.errors import RequestError
from bench_core.plan import Plan
from bench_core.stopping import CALL_AGAIN, Stop
from bench_core.store import Store

PlanOf = Callable[..., Plan]
TOYS = '''
"""A data set, an encoder and methods of which one crashes below Python."""

import os
import signal
import sys

import torch

from bench_core import *
from bench_core import hookimpl
from bench_core.checks.made import TinyEncoder


class Dots(Dataset):
    Config = NoConfig

    def __init__(self, root, config):
        pass

    def spec(self):
        return DataSpec(shape=(1, 8, 8), splits={"train": 32, "test": 16}, num_classes=2)

    def digest(self):
        return "dots"

    def load(self, split):
        count = self.spec().splits[split]
        return Split((torch.arange(count * 64) % 251).to(torch.uint8).view(count, 1, 8, 8), torch.arange(count) % 2)


class Plain(Objective):
    recipe = Recipe(optimizer="sgd", learning_rate=0.01, epochs=1, batch_size=16)

    def make_views(self, batch, rng):
        return batch.inputs

    def forward(self, views, player="main"):
        return Loss(self.encoder(views).square().mean())


class Crashing(Plain):
    def forward(self, views, player="main"):
        os.kill(os.getpid(), signal.SIGSEGV)


class Width(Evaluator):
    Config = NoConfig

    def __init__(self, config):
        pass

    def evaluate(self, frozen):
        features = frozen.splits["test"].embeddings["features"]
        return Evaluation(scores=[Score(metric="width", value=features.shape[1], unit="", n=1)], protocol="none")


@hookimpl
def bench_datasets():
    return {"dots": Dots}


@hookimpl
def bench_encoders():
    return {"tiny": TinyEncoder}


@hookimpl
def bench_objectives():
    return {"plain": Plain, "other": type("Other", (Plain,), {}), "crashing": Crashing}


@hookimpl
def bench_evaluators():
    return {"width": Width}
'''


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def apart(script: str, limit: float | None = None) -> Apart:
    return Apart([sys.executable, "-S", "-c", script], "cpu", limit, Stop())


@pytest.mark.parametrize(
    ("script", "kind", "error"),
    [
        ("import os; os.abort()", "killed", "its process was killed by SIGABRT"),
        ("import os; os._exit(3)", "killed", "its process left with exit code 3 and did not say why"),
        ("import os; os._exit(0)", "killed", "its process left with exit code 0 and did not say why"),
        ("import sys; sys.exit('Error: the disk is full')", "error", "the disk is full"),
        ("import sys; sys.exit(75)", "preempted", "its process was told to stop; "),
        ("import os; os.kill(os.getpid(), 15)", "preempted", "its process was told to stop; "),
        ("import os; os.kill(os.getpid(), 9)", "killed", "killed by SIGKILL; if nobody did that, the machine's memory"),
    ],
)
def test_every_end_of_a_process_is_on_record_with_what_it_said(
    plan_of: PlanOf, store: Store, script: str, kind: str, error: str
) -> None:
    failures = run_apart(plan_of(seeds=[0, 1]), store, apart("print('hello', flush=True);" + script))
    assert [(one.seed, one.kind) for one in failures] == [(0, kind), (1, kind)]  # the second had its turn
    assert error in failures[0].error
    attempt = json.loads(failures[0].log.read_text())
    assert (attempt["kind"], attempt["log_tail"][0]) == (kind, "hello")
    assert attempt["seconds"] > 0
    assert attempt["provenance"]["device"] == "cpu"


def test_who_is_late_is_on_record_as_a_timeout(plan_of: PlanOf, store: Store) -> None:
    (failure,) = run_apart(plan_of(), store, apart("import time; time.sleep(60)", limit=0.5))
    assert (failure.kind, failure.error) == (
        "timeout", "not done within 0.5 s; run again to go on from its last checkpoint"
    )  # fmt: skip


def test_the_command_is_told_which_chain(plan_of: PlanOf, store: Store) -> None:
    plan = plan_of()
    (failure,) = run_apart(plan, store, apart("import sys; sys.exit(' '.join(sys.argv[1:]))"))
    assert failure.error == f"--only-chain {plan.chains[0].key}"


def test_a_request_that_the_first_process_refuses_is_wrong(plan_of: PlanOf, store: Store) -> None:
    script = "import sys; print('Error: device cuda:9 cannot be used here'); sys.exit(2)"
    with pytest.raises(RequestError, match=r"^device cuda:9 cannot be used here$"):
        run_apart(plan_of(), store, apart(script))
    assert store.attempts() == []


def test_a_process_that_was_late_but_said_nothing_is_late_whatever_its_code() -> None:
    assert reason(Ended(-signal.SIGKILL, True, 7.0, []), 5)[0] == "timeout"


Bench = Callable[..., Result]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """`bench("run", ..., code=0)` with the toys alone, installed here and for processes of their own."""
    info = tmp_path / "site" / "crash_toys-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: crash-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bench]\ncrash_toys = crash_toys\n")
    (tmp_path / "site" / "crash_toys.py").write_text(TOYS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_PLUGINS", "crash-toys")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=":")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "crash_toys", raising=False)
    importlib.invalidate_caches()

    def call(*words: str, code: int = 0) -> Result:
        cells = ["--datasets", "dots", "--encoders", "tiny", "--tasks", "width"]
        result = CliRunner().invoke(main, ["run", *cells, *words])
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result

    return call


def test_a_crash_below_python_ends_one_chain_and_the_next_is_done(bench: Bench, tmp_path: Path) -> None:
    result = bench("--methods", "crashing,plain", "--isolate", code=1)
    (attempt,) = Store(tmp_path / "runs").attempts()
    assert attempt["kind"] == "killed"
    assert "Fatal Python error: Segmentation fault" in attempt["log_tail"]
    assert any(line.endswith(" in forward") for line in attempt["log_tail"])  # where in Python that was
    (record,) = Store(tmp_path / "runs").records()
    assert record["names"]["method"] == "plain"
    assert "failed: dots/tiny/crashing/width seed 0: killed: its process was killed by SIGSEGV (log: " in result.stderr
    assert result.stderr.endswith("2 cells: 1 done, 1 failed\n")
    assert result.stderr.count("[1/2]") == result.stderr.count("[2/2]") == 1
    assert "[1/1]" not in result.stderr


def test_a_chain_alone_trains_what_it_starts_from(bench: Bench, tmp_path: Path) -> None:
    words = ["--methods", "plain,other", "--set", "other.init=plain"]
    lines = json.loads(bench(*words, "--dry-run", "--json").stdout)
    assert [line["state"] for line in lines] == ["would run", "would run"]
    key = "0"
    result = bench(*words, "--only-chain", key, code=2)
    assert "chain 0 is not in this request any more" in result.stderr
    from bench_core.plan import make_plan
    from bench_core.plugins import load_plugins
    from bench_core.request import Request

    request = Request(
        datasets=["dots"], encoders=["tiny"], methods=["plain", "other"], tasks=["width"],
        settings={"other.init": "plain"}, data_root=tmp_path,
    )  # fmt: skip
    key = make_plan(request, load_plugins()).chains[1].key
    result = bench(*words, "--only-chain", key)
    assert result.stdout == ""  # the table is for the one that watches
    assert [record["names"]["method"] for record in Store(tmp_path / "runs").records()] == ["other"]
    assert len(list((tmp_path / "runs" / "chains").iterdir())) == 2


def test_only_what_failed_is_retried(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing of this request failed before" in bench("--methods", "plain", "--retry-failed").stderr
    import crash_toys  # type: ignore[import-not-found]  # written by the fixture

    def fail(*_: object) -> None:
        raise RuntimeError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr(crash_toys.Crashing, "forward", fail)
        bench("--methods", "crashing", "--quiet", code=1)
    monkeypatch.setattr(crash_toys.Crashing, "forward", crash_toys.Plain.forward)
    words = ["--methods", "plain,crashing", "--retry-failed"]
    assert "1 cells: 1 would run again" in bench(*words, "--dry-run").stdout
    bench(*words)
    assert [record["names"]["method"] for record in Store(tmp_path / "runs").records()] == ["crashing"]


def test_a_time_limit_needs_a_process_that_can_be_ended(bench: Bench) -> None:
    result = bench("--methods", "plain", "--time-limit", "5", code=2)
    assert "--time-limit needs --isolate" in result.stderr


def test_who_was_only_preempted_is_called_again(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-S", "-c", "import sys; sys.exit(75)"]
    monkeypatch.setattr("bench_core.engines.watch.itself", lambda: command)
    result = bench("--methods", "plain", "--isolate", code=CALL_AGAIN)
    assert "not done: dots/tiny/plain/width seed 0: preempted: " in result.stderr
    assert result.stderr.endswith("1 cells: 1 missing\n")
