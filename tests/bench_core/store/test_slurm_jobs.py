"""Elements in Slurm's queue, as files of the store and a program that stands in for squeue tell."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench_core.errors import StoreError
from bench_core.store import Store
from bench_core.store.slurm_jobs import (
    SlurmError,
    SubmittedElement,
    cancel_lines,
    failed_training,
    forget_ended,
    forget_failed_training,
    note_failed_training,
    queued_elements,
    write_job,
)

FIRST, SECOND = (SubmittedElement(letter * 64, "whole", f"chain {letter}", f"{letter}.log") for letter in "ab")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File of a shell script that is squeue."""
    program = tmp_path / "bin" / "squeue"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return program


def test_states_of_the_queue_belong_to_the_chains_of_the_elements(store: Store, squeue: Path) -> None:
    write_job(store, "12", "bench-1", [FIRST, SECOND])
    write_job(store, "14", "bench-2", [FIRST])
    squeue.write_text(
        '#!/bin/sh\necho "$@" > "$0.arguments"\n'
        "echo '12_0|RUNNING|n3|None'\necho '12_1|PENDING||Resources (and more)'\n"
        "echo '14|PENDING||BeginTime'\necho '99_0|RUNNING|n1|None'\necho '12_7|RUNNING|n1|None'\n"
    )
    found = queued_elements(store)
    assert [(queued.job, queued.element.chain[0], queued.text) for queued in found] == [
        ("12_0", "a", "running on n3 (job 12_0)"),
        ("12_1", "b", "pending in Slurm's queue (job 12_1, Resources (and more))"),
        ("14", "a", "pending in Slurm's queue (job 14, BeginTime)"),
    ]
    assert "--name=bench-1,bench-2" in squeue.with_name("squeue.arguments").read_text()
    assert cancel_lines(queued.name for queued in found) == ["scancel --name=bench-1", "scancel --name=bench-2"]


def test_slurm_is_not_asked_where_nothing_was_submitted(store: Store, squeue: Path) -> None:
    squeue.write_text("#!/bin/sh\nexit 1\n")
    assert queued_elements(store) == []


def test_slurm_that_does_not_answer_is_an_error_that_says_so(
    store: Store, squeue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_job(store, "12", "bench-1", [FIRST])
    squeue.write_text("#!/bin/sh\necho 'slurm_load_jobs error: no controller' >&2; exit 1\n")
    with pytest.raises(SlurmError, match=r"^squeue fails: slurm_load_jobs error: no controller"):
        queued_elements(store)
    monkeypatch.setenv("PATH", str(squeue.parent / "empty"))
    with pytest.raises(SlurmError, match=r"^squeue is not found: ask on a machine of the cluster"):
        queued_elements(store)


def test_damaged_job_file_is_an_error_that_says_what_to_do(store: Store, squeue: Path) -> None:
    write_job(store, "12", "bench-1", [FIRST])
    path = store.path / "slurm" / "jobs" / "12.json"
    path.write_text(path.read_text().replace('"part"', '"port"'))
    with pytest.raises(StoreError, match=r"12\.json is damaged; delete it"):
        queued_elements(store)


def test_files_of_jobs_that_left_the_queue_are_deleted_and_logs_stay(store: Store, squeue: Path) -> None:
    for job in ("12", "13"):
        write_job(store, job, f"bench-{job}", [FIRST])
    elements = store.path / "slurm" / "elements"
    elements.mkdir()
    log = store.path / "slurm" / "logs" / "a.log"
    log.parent.mkdir()
    for path in (elements / "12_0_submitted.pkl", elements / "13_submission.sh", log):
        path.touch()
    squeue.write_text("#!/bin/sh\necho '12|RUNNING|n3|None'\n")
    forget_ended(store, queued_elements(store))
    assert [path.name for path in elements.iterdir()] == ["12_0_submitted.pkl"]
    assert [path.name for path in (store.path / "slurm" / "jobs").iterdir()] == ["12.json"]
    assert log.exists()


def test_failed_training_is_kept_until_it_is_forgotten(store: Store) -> None:
    assert failed_training(store, FIRST.chain) is None
    note_failed_training(store, FIRST.chain, "nan", "the loss\nis nan")
    assert failed_training(store, FIRST.chain) == ("nan", "the loss is nan")
    forget_failed_training(store, FIRST.chain)
    forget_failed_training(store, FIRST.chain)
    assert failed_training(store, FIRST.chain) is None


def test_no_torch_is_imported_to_ask() -> None:
    script = (
        "import sys, bench_core.store.slurm_jobs, bench_core.engines.slurm_element; assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
