"""A process for each chain: what is on record however it ends."""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from bench_core.cli.group import main
from bench_core.engines.child_process import Ended
from bench_core.engines.processes import Apart, reason, run_apart
from bench_core.engines.resources import threads_of
from bench_core.errors import RequestError
from bench_core.planning.plan import Plan
from bench_core.plugins import Registry
from bench_core.running.pending import to_run
from bench_core.running.progress import Silent
from bench_core.store import Store
from bench_core.training.stopping import CALL_AGAIN, Stop, Stopped

PlanOf = Callable[..., Plan]
TOYS = '''
"""A data set, an encoder and methods of which one crashes below Python."""

import os
import signal
import sys

import torch

from bench_core import *
from bench_core import hookimpl
from bench_core.conformance.toys import TinyEncoder


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


class Mean(Width):
    def evaluate(self, frozen):
        mean = float(frozen.splits["test"].embeddings["features"].mean())
        return Evaluation(scores=[Score(metric="mean", value=mean, unit="", n=16)], protocol="none")


class Segfault(Width):
    def evaluate(self, frozen):
        os.kill(os.getpid(), signal.SIGSEGV)


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
    return {"width": Width, "mean": Mean, "segfault": Segfault}
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


def test_a_task_that_hangs_is_late_alone_and_comes_last_the_next_time(
    plan_of: PlanOf, add: Callable[..., None], store: Store, registry: Registry
) -> None:
    add("evaluator", "second", registry.get("evaluator", "spread").cls)
    plan = plan_of(tasks=["spread", "second"])
    first, second = plan.chains[0].cells
    (failure,) = run_apart(plan, store, apart("import time; print('  spread', flush=True); time.sleep(60)", limit=0.5))
    assert (failure.names["task"], failure.kind) == ("spread", "timeout")
    assert store.last_attempt(second.key) is None
    assert [cell.key for _, cells in to_run(plan, store) for cell in cells] == [second.key, first.key]


def test_the_command_is_told_which_chain(plan_of: PlanOf, store: Store) -> None:
    plan = plan_of()
    (failure,) = run_apart(plan, store, apart("import sys; sys.exit(' '.join(sys.argv[1:]))"))
    assert failure.error == f"--only-chain {plan.chains[0].key}"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_request_that_the_first_process_refuses_is_wrong(plan_of: PlanOf, store: Store, jobs: int) -> None:
    script = "import sys; print('Error: device cuda:9 cannot be used here'); sys.exit(2)"
    with pytest.raises(RequestError, match=r"^device cuda:9 cannot be used here$"):
        run_apart(plan_of(seeds=[0, 1]), store, replace(apart(script), jobs=jobs))
    assert store.attempts() == []


# What stands in for a chain's process: sys.argv is the store, "--only-chain", the chain's key, and so on.
MEETS = """
import os, pathlib, sys, time
here = pathlib.Path(sys.argv[1]).parent
(here / sys.argv[3]).touch()
while len([path for path in here.iterdir() if len(path.name) == 64]) < 2:
    time.sleep(0.01)
print(os.environ.get("OMP_NUM_THREADS"))
sys.exit("Error: met")
"""
SAVES = """
import pathlib, signal, sys, time
def save(*_):
    (pathlib.Path(sys.argv[1]).parent / f"{sys.argv[3]}.saved").touch()
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(60)
"""
TRAINS = """
import pathlib, sys, time
store = pathlib.Path(sys.argv[1])
mine, log = store / "chains" / sys.argv[3], store.parent / "log"
with log.open("a") as file:
    print("begins", sys.argv[3], file=file, flush=True)
time.sleep(0.3)
mine.mkdir(parents=True)
(mine / "summary.json").touch()
while log.read_text().count("begins") < 2:
    time.sleep(0.01)
with log.open("a") as file:
    print("ends", sys.argv[3], file=file)
"""
CRASHES = """
import os, pathlib, sys
trained = pathlib.Path(sys.argv[1]) / "chains" / sys.argv[3]
trained.mkdir(parents=True, exist_ok=True)
(trained / "summary.json").touch()
tasks = {"second", "third"} if "--without-cell" in sys.argv else {"spread", "second", "third"}
print("  spread" if "spread" in tasks else "  third", flush=True)
"""


def side_by_side(script: str, store: Store, jobs: int = 2, stop: Stop | None = None) -> Apart:
    return Apart([sys.executable, "-S", "-c", script, str(store.path)], "cpu", None, stop or Stop(), jobs)


class Heard(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def chain(self, number: int, total: int, label: str) -> None:
        self.lines.append(f"[{number}/{total}] {label}")

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_chains_side_by_side_run_at_once_share_the_cores_and_say_whose_a_line_is(
    plan_of: PlanOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    heard = Heard()
    failures = run_apart(plan_of(seeds=[0, 1]), store, side_by_side(MEETS, store), heard)
    assert [(one.seed, one.error) for one in failures] == [(0, "met"), (1, "met")]
    labels = [f"shrink on blobs with tiny, seed {seed}" for seed in (0, 1)]
    threads = threads_of(2)
    assert heard.lines[:2] == [f"[1/2] {labels[0]}", f"[2/2] {labels[1]}"]
    for label in labels:
        own = [line.removeprefix(f"{label}: ") for line in heard.lines if line.startswith(label)]
        assert own == [str(threads), "Error: met", "error: met"]
    assert {attempt["provenance"]["threads"] for attempt in store.attempts()} == {threads}


def test_what_two_chains_start_from_is_trained_by_one_and_the_other_goes_on_as_soon_as_it_is_there(
    plan_of: PlanOf, add: Callable[..., None], store: Store, registry: Registry
) -> None:
    add("objective", "second", registry.get("objective", "shrink").cls)
    plan = plan_of(methods=["shrink", "second"], settings={"second.init": "shrink"})
    first, second = (chain.key for chain in plan.chains)
    store.create()
    run_apart(plan, store, side_by_side(TRAINS, store))
    log = (store.path.parent / "log").read_text().split()
    assert log[:4] == ["begins", first, "begins", second]  # the first did not end before that
    times = [(store.chain(key) / "summary.json").stat().st_mtime for key in (first, second)]
    assert times[1] - times[0] > 0.29  # the second had not begun to train


def test_a_source_that_crashes_does_so_once(
    plan_of: PlanOf, add: Callable[..., None], store: Store, registry: Registry
) -> None:
    for name in ("second", "third"):
        add("objective", name, registry.get("objective", "shrink").cls)
    inits = {"second.init": "shrink", "third.init": "second"}
    plan = plan_of(methods=["third", "shrink", "second"], settings=inits)
    heard = Heard()
    third, own, second = run_apart(plan, store, side_by_side("import os; os.abort()", store), heard)
    assert own.error == "its process was killed by SIGABRT"
    assert third.error == second.error == f"its source chain (shrink on blobs with tiny, seed 0) failed: {own.error}"
    assert {one.kind for one in (third, own, second)} == {"killed"}
    seconds = [json.loads(one.log.read_text())["seconds"] for one in (third, own, second)]
    assert seconds[0] > 0
    assert seconds[1:] == [0, 0]  # no process was started
    assert sum(line.startswith("[") for line in heard.lines) == 3


@pytest.mark.parametrize(
    ("end", "kind", "error"),
    [
        ("os.abort()", "killed", "its process was killed by SIGABRT"),
        ("os._exit(2)", "killed", "its process left with exit code 2 and did not say why"),  # no wrong request
        ("sys.exit('Error: the disk is full')", "error", "the disk is full"),
    ],
)
def test_tasks_after_the_one_that_crashed_are_tried_in_another_process(
    plan_of: PlanOf, add: Callable[..., None], store: Store, registry: Registry, end: str, kind: str, error: str
) -> None:
    for name in ("second", "third"):
        add("evaluator", name, registry.get("evaluator", "spread").cls)
    heard = Heard()
    plan = plan_of(tasks=["spread", "second", "third"])
    failures = run_apart(plan, store, side_by_side(CRASHES + end, store, jobs=1), heard)
    assert [one.names["task"] for one in failures] == ["spread", "third", "second"]
    assert {(one.kind, one.error) for one in failures} == {(kind, error)}
    assert [line for line in heard.lines if line.startswith("  goes on")] == [
        "  goes on with second, third", "  goes on with second"
    ]  # fmt: skip
    assert len(store.attempts()) == 3  # the last process began none of its tasks, so that was the end


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", CALL_AGAIN), ("SIGINT", 130), ("SIGUSR1", CALL_AGAIN)])
def test_who_is_told_to_stop_tells_all_chains_and_waits_until_they_have_saved(
    plan_of: PlanOf, store: Store, name: str, code: int
) -> None:
    class Tells(Heard):
        def say(self, text: str) -> None:
            super().say(text)
            if len(self.lines) == 4:  # both have begun and are ready
                os.kill(os.getpid(), getattr(signal, name))

    plan = plan_of(seeds=[0, 1, 2])
    with pytest.raises(Stopped) as stopped, Stop().listening() as stop:
        run_apart(plan, store, side_by_side(SAVES, store, stop=stop), Tells())
    assert stopped.value.code == code
    saved = {path.stem for path in store.path.parent.glob("*.saved")}
    assert saved == {chain.key for chain in plan.chains[:2]}  # the third has not begun
    assert store.attempts() == []


def test_a_process_that_was_late_but_said_nothing_is_late_whatever_its_code() -> None:
    assert reason(Ended(-signal.SIGKILL, True, 7.0, []), 5)[0] == "timeout"


@pytest.mark.parametrize("said", [[], [""], ["Error: of a library", "  epoch 1/3  loss 6.1  3400 images/s"]])
def test_a_process_that_went_on_or_said_nothing_did_not_say_why_it_left(said: list[str]) -> None:
    assert reason(Ended(2, False, 1.0, said), None) == (
        "killed", "its process left with exit code 2 and did not say why"
    )  # fmt: skip


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
        cells = ["--datasets", "dots", "--encoders", "tiny", *(() if "--tasks" in words else ("--tasks", "width"))]
        result = CliRunner().invoke(main, ["run", *cells, *words])
        assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
        return result

    return call


def test_a_crash_below_python_ends_one_task_or_chain_and_all_else_is_done_with_the_scores_of_one_process(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    result = bench("--methods", "crashing,plain", "--tasks", "mean,segfault,width", "--jobs", "2", code=1)
    attempts = Store(tmp_path / "runs").attempts()
    of_method = {(one["names"]["method"], one["names"]["task"]): one for one in attempts}
    assert sorted(of_method) == [("crashing", task) for task in ("mean", "segfault", "width")] + [("plain", "segfault")]
    assert {one["kind"] for one in attempts} == {"killed"}
    log = of_method["crashing", "mean"]["log_tail"]
    assert "Fatal Python error: Segmentation fault" in log
    assert any(line.endswith(" in forward") for line in log)  # where in Python that was
    why = "killed: its process was killed by SIGSEGV (log: "
    assert f"failed: dots/tiny/crashing/mean,segfault,width seed 0: {why}" in result.stderr
    assert f"failed: dots/tiny/plain/segfault seed 0: {why}" in result.stderr
    assert result.stderr.endswith("6 cells: 2 done, 4 failed\n")
    assert result.stderr.count("[1/2]") == result.stderr.count("[2/2]") == 1
    assert "[1/1]" not in result.stderr
    assert result.stderr.count("plain on dots with tiny, seed 0: goes on with width\n") == 1

    bench("--methods", "plain", "--tasks", "mean,width", "--store", "alone")
    together, alone = ({r["key"]: r for r in Store(tmp_path / name).records()} for name in ("runs", "alone"))
    assert len(alone) == 2
    assert {key: r["scores"] for key, r in together.items()} == {key: r["scores"] for key, r in alone.items()}
    threads = {r["provenance"]["threads"] for r in (*together.values(), *alone.values())}
    assert threads == {torch.get_num_threads()}


def test_a_chain_alone_trains_what_it_starts_from(bench: Bench, tmp_path: Path) -> None:
    words = ["--methods", "plain,other", "--set", "other.init=plain"]
    lines = json.loads(bench(*words, "--dry-run", "--json").stdout)
    assert [line["state"] for line in lines] == ["would run", "would run"]
    key = "0"
    result = bench(*words, "--only-chain", key, code=2)
    assert "chain 0 is not in this request any more" in result.stderr
    from bench_core.planning.plan import make_plan
    from bench_core.planning.request import Request
    from bench_core.plugins import load_plugins

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
    monkeypatch.setattr("bench_core.engines.child_process.itself", lambda: command)
    result = bench("--methods", "plain", "--isolate", "--quiet", code=CALL_AGAIN)
    assert result.stderr.startswith("not done: dots/tiny/plain/width seed 0: preempted: ")
    assert result.stderr.endswith("1 cells: 1 missing\n")
