"""Each chain in its own process: the records and attempts in the store, for every way in which a process ends."""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from click.testing import CliRunner, Result

from bench_core.cli.group import main
from bench_core.engines import processes, resources, sizes
from bench_core.engines.child_process import Ended
from bench_core.engines.failure_reason import failure_reason
from bench_core.engines.processes import run_in_processes
from bench_core.engines.resources import Machine, Place
from bench_core.errors import RequestError
from bench_core.planning.chains import Chain, Plan
from bench_core.plugins import Registry
from bench_core.running.failures import attempt
from bench_core.running.pending import to_run
from bench_core.running.progress import NoProgress
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.training.stopping import CALL_AGAIN, Stop, Stopped

PlanOf = Callable[..., Plan]
TOYS = '''
"""A dataset, an encoder, and methods of which one crashes below Python."""

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


ISOLATED = RunSetting(device="cpu", isolate=True)


def python(script: str, *arguments: str) -> list[str]:
    """A command that stands in for `bench run`."""
    return [sys.executable, "-S", "-c", script, *arguments]


@pytest.mark.parametrize(
    ("script", "kind", "error"),
    [
        ("import os; os.abort()", "killed", "its process was killed by SIGABRT"),
        ("import os; os._exit(3)", "killed", "its process ended with exit code 3 and printed no reason"),
        ("import os; os._exit(0)", "killed", "its process ended with exit code 0 and printed no reason"),
        ("import sys; sys.exit('Error: the disk is full')", "error", "the disk is full"),
        ("import sys; sys.exit(75)", "preempted", "its process got a stop signal; "),
        ("import os; os.kill(os.getpid(), 15)", "preempted", "its process got a stop signal; "),
        ("import os; os.kill(os.getpid(), 9)", "killed", "killed by SIGKILL; if nobody did that, the machine's memory"),
    ],
)
def test_attempt_of_a_process_that_ended_early_has_kind_reason_and_last_lines(
    plan_of: PlanOf, store: Store, script: str, kind: str, error: str
) -> None:
    command = python("print('hello', flush=True);" + script)
    unfinished = run_in_processes(plan_of(seeds=[0, 1]), store, ISOLATED, command)
    assert [(cell.seed, cell.kind) for cell in unfinished] == [(0, kind), (1, kind)]  # the second was started, too
    assert error in unfinished[0].error
    kept = json.loads(unfinished[0].log.read_text())
    assert (kept["kind"], kept["log_tail"][0]) == (kind, "hello")
    assert kept["seconds"] > 0
    assert kept["provenance"]["device"] == "cpu"


def test_chain_exceeding_time_limit_is_recorded_as_timeout(plan_of: PlanOf, store: Store) -> None:
    setting = replace(ISOLATED, time_limit=0.5)
    (cell,) = run_in_processes(plan_of(), store, setting, python("import time; time.sleep(60)"))
    assert (cell.kind, cell.error) == ("timeout", "not done within 0.5 s; run again to resume from its last checkpoint")


def test_timeout_in_a_task_fails_that_task_only_and_it_runs_last_the_next_time(
    plan_of: PlanOf, add: Callable[..., None], store: Store, registry: Registry
) -> None:
    add("evaluator", "second", registry.get("evaluator", "spread").cls)
    plan = plan_of(tasks=["spread", "second"])
    first, second = plan.chains[0].cells
    command = python("import time; print('  spread', flush=True); time.sleep(60)")
    (cell,) = run_in_processes(plan, store, replace(ISOLATED, time_limit=0.5), command)
    assert (cell.names["task"], cell.kind) == ("spread", "timeout")
    assert store.last_attempt(second.key) is None
    assert [cell.key for _, cells in to_run(plan, store) for cell in cells] == [second.key, first.key]


def test_command_of_a_process_names_its_chain(plan_of: PlanOf, store: Store) -> None:
    plan = plan_of()
    (cell,) = run_in_processes(plan, store, ISOLATED, python("import sys; sys.exit(' '.join(sys.argv[1:]))"))
    assert cell.error == f"--only-chain {plan.chains[0].key}"


@pytest.mark.parametrize("jobs", [1, 2])
def test_request_refused_by_the_first_process_is_an_error_and_leaves_no_store(
    plan_of: PlanOf, store: Store, jobs: int
) -> None:
    command = python("import sys; print('Error: device cuda:9 cannot be used here'); sys.exit(2)")
    with pytest.raises(RequestError, match=r"^device cuda:9 cannot be used here$"):
        run_in_processes(plan_of(seeds=[0, 1]), store, replace(ISOLATED, jobs=jobs), command)
    assert not store.path.exists()


def test_processes_that_still_run_end_with_an_error_of_the_engine(plan_of: PlanOf, store: Store) -> None:
    plan = plan_of(seeds=[0, 1])
    script = f"""
import os, pathlib, sys, time
pid = pathlib.Path({str(store.path.parent)!r}, "pid")
if sys.argv[2] == {plan.chains[0].key!r}:
    while not pid.exists() or not pid.read_text():
        time.sleep(0.01)
    print("Error: refused")
    sys.exit(2)
pid.write_text(str(os.getpid()))
time.sleep(600)
"""
    with pytest.raises(RequestError, match="refused"):
        run_in_processes(plan, store, TWO_JOBS, python(script))
    with pytest.raises(ProcessLookupError):
        os.kill(int((store.path.parent / "pid").read_text()), 0)


def test_batches_that_are_too_small_are_refused_before_a_process_starts(
    plan_of: PlanOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(chains: Iterable[Chain]) -> None:
        asked.extend(chain.label for chain in chains)
        raise RequestError("too small")

    monkeypatch.setattr("bench_core.engines.processes.refuse_small_batches", refuse)
    with pytest.raises(RequestError, match="too small"):
        run_in_processes(plan_of(batch_size=2), store, ISOLATED, ["a-command-that-does-not-exist"])
    assert asked == ["shrink on blobs with tiny, seed 0"]


# Scripts that stand in for the process of a chain. sys.argv is: store, "--only-chain", key of the chain, ...
WAITS_FOR_ANOTHER = """
import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1]).parent
(folder / sys.argv[3]).touch()
while len([path for path in folder.iterdir() if len(path.name) == 64]) < 2:
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
chain, log = store / "chains" / sys.argv[3], store.parent / "log"
with log.open("a") as file:
    print("begins", sys.argv[3], file=file, flush=True)
time.sleep(0.3)
chain.mkdir(parents=True)
(chain / "chain.json").touch()
while log.read_text().count("begins") < 2:
    time.sleep(0.01)
with log.open("a") as file:
    print("ends", sys.argv[3], file=file)
"""
CRASHES = """
import os, pathlib, sys
trained = pathlib.Path(sys.argv[1]) / "chains" / sys.argv[3]
trained.mkdir(parents=True, exist_ok=True)
(trained / "chain.json").touch()
tasks = {"second", "third"} if "--without-cell" in sys.argv else {"spread", "second", "third"}
print("  spread" if "spread" in tasks else "  third", flush=True)
"""


TWO_JOBS = RunSetting(device="cpu", jobs=2)


class KeptLines(NoProgress):
    """Keeps the lines of the log."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def chain(self, number: int, total: int, label: str) -> None:
        self.lines.append(f"[{number}/{total}] {label}")

    def log(self, text: str) -> None:
        self.lines.append(text)


def test_two_jobs_run_at_the_same_time_with_the_threads_of_their_steps_and_name_the_chain_of_each_line(
    plan_of: PlanOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    progress = KeptLines()
    command = python(WAITS_FOR_ANOTHER, str(store.path))
    unfinished = run_in_processes(plan_of(seeds=[0, 1]), store, TWO_JOBS, command, progress)
    assert [(cell.seed, cell.error) for cell in unfinished] == [(0, "met"), (1, "met")]
    labels = [f"shrink on blobs with tiny, seed {seed}" for seed in (0, 1)]
    assert progress.lines[:2] == [f"[1/2] {labels[0]}", f"[2/2] {labels[1]}"]
    for label in labels:
        lines = [line.removeprefix(f"{label}: ") for line in progress.lines if line.startswith(label)]
        assert lines == ["None", "Error: met", "error: met"]  # the process itself finds the number of threads
    assert {kept["provenance"]["threads"] for kept in store.attempts()} == {1}


def test_source_of_two_chains_is_trained_once_and_the_second_chain_starts_when_its_weights_are_there(
    plan_of: PlanOf, add: Callable[..., None], store: Store, registry: Registry
) -> None:
    add("objective", "second", registry.get("objective", "shrink").cls)
    plan = plan_of(methods=["shrink", "second"], settings={"second.init": "shrink"})
    first, second = (chain.key for chain in plan.chains)
    store.create()
    run_in_processes(plan, store, TWO_JOBS, python(TRAINS, str(store.path)))
    log = (store.path.parent / "log").read_text().split()
    assert log[:4] == ["begins", first, "begins", second]  # the first did not end before that
    times = [(store.chain_folder(key) / "chain.json").stat().st_mtime for key in (first, second)]
    assert times[1] - times[0] > 0.29  # the second had not begun to train


def test_training_whose_failure_its_process_has_recorded_fails_the_chains_that_start_from_it(
    plan_of: PlanOf, add: Callable[..., None], store: Store, registry: Registry
) -> None:
    add("objective", "second", registry.get("objective", "shrink").cls)
    plan = plan_of(methods=["shrink", "second"], settings={"second.init": "shrink"})
    source = plan.chains[0]

    class Records(KeptLines):
        def log(self, text: str) -> None:
            if text == "now":  # instead of the process, which this test has no code for
                store.add_attempt(attempt(source.cells[0], "nan", "the loss is inf", [], 1.0, {}))
            super().log(text)

    progress = Records()
    command = python("import sys; print('now', flush=True); sys.exit('Error: some cells failed')")
    first, second = run_in_processes(plan, store, ISOLATED, command, progress)
    assert (first.kind, first.error) == ("nan", "the loss is inf")
    assert (second.kind, second.error) == ("nan", f"its source chain ({source.label}) failed: the loss is inf")
    assert progress.lines.count("now") == 1
    assert len(store.attempts()) == 2


@pytest.mark.parametrize(("jobs", "ends"), [(1, ["[1/1] {0}"]), (2, ["[1/1] {0}", "{0}: done"])])
def test_chain_that_is_done_says_so_where_several_run_at_once_and_progress_is_closed(
    plan_of: PlanOf, store: Store, jobs: int, ends: list[str]
) -> None:
    plan = plan_of()

    class RunsIt(KeptLines):
        def chain(self, number: int, total: int, label: str) -> None:
            super().chain(number, total, label)
            assert run_plan(plan, store, RunSetting(device="cpu")) == []  # instead of the process

        def close(self) -> None:
            self.lines.append("closed")

    progress = RunsIt()
    setting = RunSetting(device="cpu", isolate=True, jobs=jobs)
    assert run_in_processes(plan, store, setting, python("pass"), progress) == []
    assert progress.lines == [*(end.format(plan.chains[0].label) for end in ends), "closed"]


def test_source_chain_that_crashes_is_tried_once_and_fails_the_chains_that_start_from_it(
    plan_of: PlanOf, add: Callable[..., None], store: Store, registry: Registry
) -> None:
    for name in ("second", "third"):
        add("objective", name, registry.get("objective", "shrink").cls)
    inits = {"second.init": "shrink", "third.init": "second"}
    plan = plan_of(methods=["third", "shrink", "second"], settings=inits)
    progress = KeptLines()
    third, source, second = run_in_processes(plan, store, TWO_JOBS, python("import os; os.abort()"), progress)
    assert source.error == "its process was killed by SIGABRT"
    reason = f"its source chain (shrink on blobs with tiny, seed 0) failed: {source.error}"
    assert third.error == second.error == reason
    assert {cell.kind for cell in (third, source, second)} == {"killed"}
    seconds = [json.loads(cell.log.read_text())["seconds"] for cell in (third, source, second)]
    assert seconds[0] > 0
    assert seconds[1:] == [0, 0]  # no process was started
    assert sum(line.startswith("[") for line in progress.lines) == 3


@pytest.mark.parametrize(
    ("end", "kind", "error"),
    [
        ("os.abort()", "killed", "its process was killed by SIGABRT"),
        ("os._exit(2)", "killed", "its process ended with exit code 2 and printed no reason"),  # no wrong request
        ("sys.exit('Error: the disk is full')", "error", "the disk is full"),
    ],
)
def test_tasks_after_a_crashed_one_run_in_another_process(
    plan_of: PlanOf, add: Callable[..., None], store: Store, registry: Registry, end: str, kind: str, error: str
) -> None:
    for name in ("second", "third"):
        add("evaluator", name, registry.get("evaluator", "spread").cls)
    progress = KeptLines()
    plan = plan_of(tasks=["spread", "second", "third"])
    unfinished = run_in_processes(plan, store, ISOLATED, python(CRASHES + end, str(store.path)), progress)
    assert [cell.names["task"] for cell in unfinished] == ["spread", "third", "second"]
    assert {(cell.kind, cell.error) for cell in unfinished} == {(kind, error)}
    assert [line for line in progress.lines if line.startswith("  continue")] == [
        "  continue with second, third", "  continue with second"
    ]  # fmt: skip
    assert len(store.attempts()) == 3  # the last process began none of its tasks, so that was the end


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", CALL_AGAIN), ("SIGINT", 130), ("SIGUSR1", CALL_AGAIN)])
def test_stop_signal_reaches_all_processes_and_their_checkpoints_are_awaited(
    plan_of: PlanOf, store: Store, name: str, code: int
) -> None:
    class SendsSignal(KeptLines):
        def log(self, text: str) -> None:
            super().log(text)
            if len(self.lines) == 4:  # both have begun and are ready
                os.kill(os.getpid(), getattr(signal, name))

    plan = plan_of(seeds=[0, 1, 2])
    with pytest.raises(Stopped) as stopped, Stop().listening() as stop:
        run_in_processes(plan, store, replace(TWO_JOBS, stop=stop), python(SAVES, str(store.path)), SendsSignal())
    assert stopped.value.code == code
    saved = {path.stem for path in store.path.parent.glob("*.saved")}
    assert saved == {chain.key for chain in plan.chains[:2]}  # the third has not begun
    assert store.attempts() == []


# sys.argv is: folder, end of the first try, "--only-chain", key. The chain FIRST fails beside another, then alone.
RUNS_OUT_OF_MEMORY = """
import os, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
def wait_for(name):
    while not (folder / name).exists():
        time.sleep(0.01)
if sys.argv[4] != FIRST:
    (folder / "begun").touch()
    wait_for("failed")
    time.sleep(0.5)
    (folder / "ended").touch()
    sys.exit("Error: other")
if not (folder / "failed").exists():
    wait_for("begun")
    print("now", flush=True)
    time.sleep(0.2)
    (folder / "failed").touch()
    exec(sys.argv[2])
sys.exit(f"Error: second try, beside another: {not (folder / 'ended').exists()}")
"""


@pytest.mark.parametrize("jobs", [2, "auto"])
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "sys.exit('Error: some cells failed')"])
def test_chain_that_runs_out_of_memory_beside_another_is_tried_once_more_alone(
    plan_of: PlanOf,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    jobs: int | Literal["auto"],
) -> None:
    counts = iter((5, 5, 6))  # as the two begin, and after the first try
    monkeypatch.setattr(resources, "memory_kills", lambda: next(counts))
    monkeypatch.setattr(processes, "memory_kills", lambda: next(counts, 6))
    plan = plan_of(seeds=[0, 1])
    first = plan.chains[0]

    class Records(KeptLines):
        def log(self, text: str) -> None:
            if text.endswith(": now") and "exit" in end:  # instead of the process, which this test has no code for
                store.add_attempt(attempt(first.cells[0], "oom", "memory ran out", [], 1.0, {}))
            super().log(text)

    progress = Records()
    command = python(RUNS_OUT_OF_MEMORY.replace("FIRST", repr(first.key)), str(tmp_path), end)
    setting = RunSetting(device="cpu", jobs=jobs)
    unfinished = run_in_processes(plan, store, setting, command, progress, machine=Machine(2, 9.0, [Place()]))
    assert {cell.seed: cell.error for cell in unfinished} == {0: "second try, beside another: False", 1: "other"}
    line = f"{first.label}: memory ran out beside another chain; it is tried once more, alone"
    assert progress.lines.count(line) == 1


def test_chain_that_a_person_killed_beside_another_is_not_tried_again(
    plan_of: PlanOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (resources, processes):
        monkeypatch.setattr(module, "memory_kills", lambda: 5)
    script = "import os, time; time.sleep(0.5); os.kill(os.getpid(), 9)"
    unfinished = run_in_processes(plan_of(seeds=[0, 1]), store, TWO_JOBS, python(script))
    assert [cell.kind for cell in unfinished] == ["killed", "killed"]
    assert len(store.attempts()) == 2


def test_chain_that_was_alone_is_not_tried_again(plan_of: PlanOf, store: Store) -> None:
    (cell,) = run_in_processes(plan_of(), store, TWO_JOBS, python("import os; os.kill(os.getpid(), 9)"))
    assert (cell.kind, len(store.attempts())) == ("killed", 1)


@pytest.mark.parametrize(("device_gib", "together"), [(80, 2), (40, 1)])
def test_second_chain_joins_a_gpu_once_both_first_steps_are_known_to_fit(
    plan_of: PlanOf, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device_gib: int, together: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    script = f"""
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
(folder / f"{{sys.argv[-1]}}.runs").touch()
print("    memory of the first step: 30.000 of {device_gib}.000 GiB", flush=True)
end = time.monotonic() + (20 if {together} == 2 else 0.7)
while (count := len(list(folder.glob("*.runs")))) < 2 and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.3)
(folder / f"{{sys.argv[-1]}}.runs").unlink()
sys.exit(f"Error: {{count}} at once by {{' '.join(sys.argv[2:-2])}}")
"""
    gpu = Machine(8, 90.0, [Place(device="cuda:1", has_own_memory=True)])
    setting = RunSetting(device="cuda:1,cuda:2", jobs="auto")
    command = python(script, str(tmp_path), "--device", "cuda:1,cuda:2")
    progress = KeptLines()
    unfinished = run_in_processes(plan_of(seeds=[0, 1]), store, setting, command, progress, machine=gpu)
    assert {cell.error for cell in unfinished} == {f"{together} at once by --device=cuda:1"}
    assert not any("first step" in line for line in progress.lines)  # it is for the engine alone


def test_reason_after_the_time_limit_is_a_timeout_whatever_the_exit_code() -> None:
    assert failure_reason(Ended(-signal.SIGKILL, True, 7.0, []), 5)[0] == "timeout"


@pytest.mark.parametrize("last_lines", [[], [""], ["Error: of a library", "  epoch 1/3  loss 6.1  3400 images/s"]])
def test_progress_lines_are_not_taken_for_the_reason_of_an_exit_code(last_lines: list[str]) -> None:
    assert failure_reason(Ended(2, False, 1.0, last_lines), None) == (
        "killed", "its process ended with exit code 2 and printed no reason"
    )  # fmt: skip


Bench = Callable[..., Result]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """`bench("run", ..., code=0)` with the toys alone, installed for this process and those that it starts."""
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


def test_crash_below_python_ends_one_task_or_chain_and_other_scores_are_those_of_a_run_in_one_process(
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
    assert result.stderr.count("plain on dots with tiny, seed 0: continue with width\n") == 1

    bench("--methods", "plain", "--tasks", "mean,width", "--store", "alone")
    together, alone = ({r.key: r for r in Store(tmp_path / name).records()} for name in ("runs", "alone"))
    assert len(alone) == 2
    assert {key: r.scores for key, r in together.items()} == {key: r.scores for key, r in alone.items()}
    threads = {r.provenance.threads for r in (*together.values(), *alone.values())}
    assert threads == {torch.get_num_threads()}


def test_numbers_are_the_same_one_by_one_and_side_by_side(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(sizes, "_WORTH_S", 0.0)
    monkeypatch.setattr(resources, "cpu_count", lambda: 2)
    words = ["--methods", "plain,other", "--seeds", "0,1", "--tasks", "mean,width"]
    side_by_side = bench(*words, "--jobs", "auto", "--store", "auto").stderr
    assert "other on dots with tiny, seed 1: done" in side_by_side
    assert "4 of 4 chains have ended\n" in side_by_side
    bench(*words, "--jobs", "1", "--store", "one")
    auto, one = ({r.key: r for r in Store(tmp_path / name).records()} for name in ("auto", "one"))
    assert len(one) == 8
    assert {key: r.scores for key, r in auto.items()} == {key: r.scores for key, r in one.items()}
    assert {r.provenance.threads for r in (*auto.values(), *one.values())} == {1}
    for chain in (tmp_path / "one" / "chains").iterdir():
        weights = chain / "weights.safetensors"
        assert (tmp_path / "auto" / "chains" / chain.name / weights.name).read_bytes() == weights.read_bytes()


def test_short_chains_run_in_this_process_by_default(bench: Bench) -> None:
    result = bench("--methods", "plain,other")
    assert "[2/2] other on dots with tiny, seed 0\n" in result.stderr
    assert "chains have ended" not in result.stderr


def test_process_of_one_chain_trains_its_source_chain_too(bench: Bench, tmp_path: Path) -> None:
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
    assert result.stdout == ""  # the process that started this one prints the table
    assert [record.names["method"] for record in Store(tmp_path / "runs").records()] == ["other"]
    assert len(list((tmp_path / "runs" / "chains").iterdir())) == 2


def test_retry_failed_runs_only_cells_that_failed_before(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert [record.names["method"] for record in Store(tmp_path / "runs").records()] == ["crashing"]


def test_time_limit_without_isolate_or_jobs_is_refused(bench: Bench) -> None:
    result = bench("--methods", "plain", "--jobs", "1", "--time-limit", "5", code=2)
    assert "time-limit works only where each chain has its own process" in result.stderr


def test_exit_code_is_75_if_chains_were_only_preempted(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-S", "-c", "import sys; sys.exit(75)"]
    monkeypatch.setattr("bench_core.engines.child_process.restart_command", lambda: command)
    result = bench("--methods", "plain", "--isolate", "--quiet", code=CALL_AGAIN)
    assert result.stderr.startswith("not done: dots/tiny/plain/width seed 0: preempted: ")
    assert result.stderr.endswith("1 cells: 1 missing\n")
