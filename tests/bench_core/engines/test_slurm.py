"""Chains divided among elements of Slurm, and one element's work; tests/slurm has a real Slurm."""

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench_core.engines import slurm, slurm_element
from bench_core.engines.slurm import submit, works
from bench_core.engines.slurm_element import Element
from bench_core.engines.slurm_supervisor import run_element
from bench_core.errors import RequestError
from bench_core.planning.chains import Chain, Plan, narrowed
from bench_core.plugins import Registry
from bench_core.running.progress import NoProgress
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.slurm_jobs import EVALUATE, SOURCE, TRAIN, WHOLE, failed_training, note_failed_training

PlanOf = Callable[..., Plan]
CPU = RunSetting(device="cpu", isolate=True)
PROGRAMS = {
    "sbatch": 'case "$1" in --help) echo "--partition=p --time=t --requeue --cpus-per-task=n";; *)\n'
    'echo "$1" >> "$0.calls"; grep -h SBATCH "$1" >> "$0.calls"; n=$(grep -c "^#SBATCH --time" "$0.calls")\n'
    'grep -q "partition=no" "$1" && [ $n -gt 1 ] && { echo "sbatch: error: no such partition" >&2; exit 1; }\n'
    'echo "Submitted batch job $((n + 10))";; esac',
    "squeue": 'cat "$0.lines" 2>/dev/null; exit 0',
    "scontrol": 'echo "MaxArraySize            = 2"',
    "srun": "",
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that stand in for those of Slurm, which have arrays of two elements at most."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in PROGRAMS.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return folder


def second_of(chain: Chain, plan: Plan) -> Chain:
    (other,) = [other for other in plan.chains if other.method.name == "second" and other.seed == chain.seed]
    return other


@pytest.fixture
def two_methods(plan_of: PlanOf, add: Callable[..., None], registry: Registry) -> Plan:
    """Two seeds of a method, and of another that starts from it."""
    add("objective", "second", registry.get("objective", "shrink").cls)
    return plan_of(methods=["shrink", "second"], settings={"second.init": "shrink"}, seeds=[0, 1])


def trained(store: Store, chain: Chain) -> None:
    folder = store.chain_folder(chain.key)
    folder.mkdir(parents=True)
    (folder / "chain.json").touch()


def test_chain_waits_for_those_that_it_needs(two_methods: Plan, store: Store) -> None:
    found = works(two_methods, store, evaluation_apart=False)
    assert [(work.chain.method.name, work.part, len(work.needs)) for work in found] == [
        ("shrink", WHOLE, 0), ("shrink", WHOLE, 0), ("second", WHOLE, 1), ("second", WHOLE, 1),
    ]  # fmt: skip
    assert found[2].needs == {found[2].chain.needed[0].key}


def test_source_that_nobody_asked_for_has_an_element_that_only_trains_it_once(two_methods: Plan, store: Store) -> None:
    plan = narrowed(two_methods, lambda chain, _: chain.method.name == "second" and chain.seed == 0)
    source, asked = works(plan, store, evaluation_apart=False)
    assert (source.chain.method.name, source.part, source.cells) == ("shrink", SOURCE, ())
    assert asked.needs == {source.chain.key}
    trained(store, source.chain)
    assert [work.chain.method.name for work in works(plan, store, evaluation_apart=False)] == ["second"]


def test_tasks_run_apart_after_the_training_where_evaluation_has_its_own_nodes(plan_of: PlanOf, store: Store) -> None:
    plan = plan_of()
    training, evaluation = works(plan, store, evaluation_apart=True)
    assert (training.part, evaluation.part) == (TRAIN, EVALUATE)
    assert (training.cells, evaluation.cells) == ((), plan.chains[0].cells)
    assert evaluation.needs == {training.chain.key}
    trained(store, training.chain)
    assert [work.part for work in works(plan, store, evaluation_apart=True)] == [EVALUATE]


def test_arrays_are_cut_and_wait_for_their_sources_and_are_submitted_once(
    two_methods: Plan, store: Store, programs: Path
) -> None:
    setting = RunSetting(device="cpu", engine="slurm", slurm=("time=60", "cpus-per-task=3"))
    submission = submit(two_methods, store, setting, [sys.executable, "-m", "bench_core", "run"])
    calls = (programs / "sbatch.calls").read_text()
    assert calls.count("--array=0-1%") == 1  # both sources; each of the others waits for another one
    assert "--dependency=afterany:11_0" in calls
    assert "--dependency=afterany:11_1" in calls
    assert "--requeue" in calls
    assert "wckey" not in calls
    assert [job for job, _ in submission.submitted] == ["11_0", "11_1", "12", "13"]
    script = next((store.path / "slurm" / "elements").glob("*11*.sh")).read_text()
    assert "srun --unbuffered" in script
    assert "--cpus-per-task=3" in script.partition("srun")[2]
    (programs / "squeue.lines").write_text("11_0|RUNNING|n0|None\n11_1|PENDING||Priority\n12|PENDING||Dependency\n")
    again = submit(two_methods, store, setting, [sys.executable, "-m", "bench_core", "run"])
    assert [element.label for _, element in again.submitted] == ["second on blobs with tiny, seed 1"]
    assert len(again.queued) == 3
    last = (programs / "sbatch.calls").read_text()[len(calls) :]
    assert "--dependency=afterany:11_1" in last


def test_arrays_have_at_most_as_many_elements_as_the_site_allows(plan_of: PlanOf, store: Store, programs: Path) -> None:
    setting = RunSetting(device="cpu", engine="slurm", slurm=("time=60",), jobs=4)
    submission = submit(plan_of(seeds=[0, 1, 2]), store, setting, [sys.executable, "-m", "bench_core", "run"])
    assert [job for job, _ in submission.submitted] == ["11_0", "11_1", "12"]


def test_what_slurm_refuses_is_said_with_what_was_submitted_before(
    plan_of: PlanOf, store: Store, programs: Path
) -> None:
    setting = RunSetting(device="cpu", engine="slurm", slurm=("time=60", "partition=no"))
    with pytest.raises(RequestError, match=r"^2 of 3 elements are in the queue; Slurm refused the others: no such pa"):
        submit(plan_of(seeds=[0, 1, 2]), store, setting, [sys.executable, "-m", "bench_core", "run"])


def test_missing_programs_and_unknown_options_are_refused_before_anything_is_written(
    plan_of: PlanOf, store: Store, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = RunSetting(device="cpu", engine="slurm", slurm=("time=60", "partion=a"))
    with pytest.raises(RequestError, match="did you mean 'partition'"):
        submit(plan_of(), store, setting, ["python"])
    (programs / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(RequestError, match="sbatch is not found; submit on a machine of the cluster"):
        submit(plan_of(), store, setting, ["python"])
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(RequestError, match=r"submitit is not installed; type: pip install 'bench-core\[slurm\]'"):
        submit(plan_of(), store, setting, ["python"])
    assert not store.path.exists()


def test_missing_data_is_said_before_anything_is_submitted(
    plan_of: PlanOf, store: Store, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def refuse(chain: Chain, cache: Path | None) -> None:
        read.append(chain.dataset.name)
        raise RequestError("blobs are missing")

    monkeypatch.setattr(slurm, "load_splits", refuse)
    setting = RunSetting(device="cpu", engine="slurm", slurm=("time=60",))
    with pytest.raises(RequestError, match="blobs are missing"):
        submit(plan_of(seeds=[0, 1]), store, setting, ["python"])
    assert read == ["blobs"]
    assert not store.path.exists()
    assert not (programs / "sbatch.calls").exists()


def test_variables_of_a_job_around_this_command_are_hidden_from_those_that_it_submits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_CPU_BIND", "quiet")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    with slurm._without_outer_job():
        assert os.environ["SLURM_CPU_BIND"] == "quiet"  # no job: the user has set it
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with slurm._without_outer_job():
        assert "SLURM_CPU_BIND" not in os.environ
        assert os.environ["SLURM_CONF"] == "/etc/slurm.conf"
    assert os.environ["SLURM_CPU_BIND"] == "quiet"


def test_element_of_a_chain_whose_source_failed_records_that_and_ends(two_methods: Plan, store: Store) -> None:
    source = two_methods.chains[0]
    chain = second_of(source, two_methods)
    note_failed_training(store, source.key, "nan", "the loss is nan")
    (cell,) = run_element(two_methods, store, CPU, ["no-command"], NoProgress(), key=chain.key, part=WHOLE)
    assert (cell.kind, cell.error) == ("nan", f"its source chain ({source.label}) failed: the loss is nan")
    assert failed_training(store, chain.key) == ("nan", cell.error)  # for chains that start from this one


def test_element_whose_source_was_cancelled_is_no_failure(two_methods: Plan, store: Store) -> None:
    chain = second_of(two_methods.chains[0], two_methods)
    (cell,) = run_element(two_methods, store, CPU, ["no-command"], NoProgress(), key=chain.key, part=WHOLE)
    assert cell.kind == "preempted"
    assert "give the same command again" in cell.error
    assert failed_training(store, chain.key) is None


def test_evaluation_of_a_chain_whose_training_failed_adds_nothing(plan_of: PlanOf, store: Store) -> None:
    plan = plan_of()
    (chain,) = plan.chains
    script = "import sys; sys.exit('Error: the node burns')"
    command = [sys.executable, "-c", script]
    (first,) = run_element(plan, store, CPU, command, NoProgress(), key=chain.key, part=TRAIN)
    assert (first.kind, first.error) == ("error", "the node burns")
    (second,) = run_element(plan, store, CPU, command, NoProgress(), key=chain.key, part=EVALUATE)
    assert second == first
    assert len(store.attempts()) == 1


def test_source_that_fails_records_no_attempt_for_cells_that_nobody_asked_for(two_methods: Plan, store: Store) -> None:
    source = two_methods.chains[0]
    plan = narrowed(two_methods, lambda chain, _: chain.method.name == "second")
    command = [sys.executable, "-c", "import os; os.abort()"]
    assert run_element(plan, store, CPU, command, NoProgress(), key=source.key, part=SOURCE) == []
    assert failed_training(store, source.key) == ("killed", "its process was killed by SIGABRT")
    assert not store.attempts()


def test_element_that_gives_up_records_its_reason(plan_of: PlanOf, store: Store) -> None:
    plan = plan_of()
    how = {"key": plan.chains[0].key, "part": WHOLE, "gives_up": "got no further in time=1"}
    (cell,) = run_element(plan, store, CPU, ["no-command"], NoProgress(), **how)
    assert (cell.kind, cell.error) == ("timeout", "got no further in time=1")


def test_chain_that_is_not_in_the_request_any_more_is_an_error(plan_of: PlanOf, store: Store) -> None:
    with pytest.raises(RequestError, match=r"chain 000000000000 is not in this request any more"):
        run_element(plan_of(), store, CPU, ["no-command"], NoProgress(), key="0" * 64, part=WHOLE)


@pytest.fixture
def own_handlers() -> Iterator[None]:
    """Handlers of signals as they were, after a test whose element sets its own."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def element_of(tmp_path: Path, script: str) -> Element:
    return Element(
        command=(sys.executable, "-S", "-c", script), log=str(tmp_path / "logs" / "a.log"),
        chain_folder=str(tmp_path / "chain"), records=(str(tmp_path / "record"),), time="1", time_s=60,
        signal_delay_s=20,
    )  # fmt: skip


@pytest.mark.usefixtures("own_handlers")
def test_element_is_words_and_writes_its_log(tmp_path: Path) -> None:
    element = element_of(tmp_path, "print('hello')")
    assert pickle.loads(pickle.dumps(element)) == element
    element()
    first, second = (tmp_path / "logs" / "a.log").read_text().splitlines()
    assert "start 1" in first
    assert second == "hello"


@pytest.mark.usefixtures("own_handlers")
def test_element_ends_with_the_code_of_its_command(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^3$"):
        element_of(tmp_path, "import sys; sys.exit(3)")()
    with pytest.raises(SystemExit, match=r"^134$"):
        element_of(tmp_path, "import os; os.abort()")()


@pytest.mark.usefixtures("own_handlers")
def test_element_that_is_stopped_is_queued_again_if_it_got_further_and_else_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = (
        "import pathlib, signal, sys, time\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "if sys.argv[1:]: (folder / 'gave_up').write_text(sys.argv[1]); sys.exit()\n"
        "def save(*_):\n"
        "    if (folder / 'progresses').exists(): (folder / 'record').touch()\n"
        "    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, save); print('ready', flush=True); time.sleep(60)"
    )
    element = element_of(tmp_path, waits)

    def stopped() -> object:
        slurm_element._running = running = slurm_element._Running(element)
        while "ready" not in (tmp_path / "logs" / "a.log").read_text():
            pass
        again = element.checkpoint()
        running.log.close()
        (tmp_path / "logs" / "a.log").unlink()
        return again

    (tmp_path / "progresses").touch()
    assert stopped().function == element  # type: ignore[attr-defined]  # of submitit
    (tmp_path / "progresses").unlink()
    assert stopped() is None
    assert (tmp_path / "gave_up").read_text().startswith("--element-gives-up=got no further in time=1;")
