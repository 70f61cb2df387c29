"""Elements of a store's runs that wait or run in Slurm's queue: `STORE/slurm/jobs/<job>.json`, and what squeue says.

    slurm/jobs/12.json      the elements of a job array, in their order: chain, part of the work, log
    slurm/logs/             the log of each chain, by its name: digits/convnet/nac/seed-0.log
    slurm/failed/           why a training failed on which others wait, until it is submitted again
    slurm/elements/         what submitit keeps of each element

A job file is written right after its array was submitted. It says nothing about how elements ended: records and
attempts do. No torch is imported here, so that `bench status` begins at once.
"""

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench_core.errors import BenchError, StoreError, one_line
from bench_core.files import paths_in, read_json, write_over
from bench_core.store.fields import Test, field_errors, is_digest, is_text
from bench_core.store.store import Store

FOLDER = "slurm"
WHOLE, TRAIN, SOURCE, EVALUATE = "whole", "train", "source", "evaluate"  # parts of the work on a chain
PARTS = (WHOLE, TRAIN, SOURCE, EVALUATE)
_ELEMENT: dict[str, Test] = {"chain": is_digest, "part": is_text, "label": is_text, "log": is_text}
_FORMAT = "%i|%T|%N|%r"  # id, state, nodes, reason
_ANSWER_S = 60.0


class SlurmError(BenchError):
    """Slurm does not answer, or not in its words."""


@dataclass(frozen=True)
class SubmittedElement:
    """One element of a job array.

    Attributes:
        chain: Key of its chain.
        part: The work on it: "whole" trains and runs the tasks, "train" trains and embeds, "source" only trains,
            "evaluate" runs the tasks of a chain that is trained.
        label: The chain's name in messages.
        log: File of its log, below STORE/slurm/logs.
    """

    chain: str
    part: str
    label: str
    log: str


@dataclass(frozen=True)
class QueuedElement:
    """An element that waits or runs.

    Attributes:
        element: What was submitted.
        name: Name of the job, which all arrays of one command share.
        job: Its id: "12_3", or "12" of an array of one.
        state: State as Slurm spells it: PENDING, RUNNING, COMPLETING, SUSPENDED, ...
        node: Where it runs; "" while it waits.
        reason: Why it waits: Priority, Resources, Dependency, BeginTime (it was queued again), ...
    """

    element: SubmittedElement
    name: str
    job: str
    state: str
    node: str
    reason: str

    @property
    def text(self) -> str:
        """The state for people: "runs on n0 (job 12_3)"."""
        if self.node:
            return f"{self.state.lower()} on {self.node} (job {self.job})"
        return f"{self.state.lower()} in Slurm's queue (job {self.job}, {self.reason})"


def write_job(store: Store, job: str, name: str, elements: Sequence[SubmittedElement]) -> None:
    """Write the file of a job array that was submitted."""
    content = {"job": job, "name": name, "elements": [asdict(element) for element in elements]}
    write_over(_job_folder(store) / f"{job}.json", content)


def log_file(store: Store, element: SubmittedElement) -> Path:
    """Return the file of an element's log."""
    return store.path / FOLDER / "logs" / element.log


def queued_elements(store: Store) -> list[QueuedElement]:
    """Return the elements of a store that are in Slurm's queue now; squeue is asked once, and only if there are jobs.

    Raises:
        SlurmError: Slurm does not answer.
    """
    jobs = _jobs(store)
    if not jobs:
        return []
    found = []
    names = ",".join(sorted({str(job["name"]) for job in jobs.values()}))
    for line in ask_slurm(["squeue", "--array", "--noheader", f"--format={_FORMAT}", f"--name={names}"]):
        job, state, node, reason = (*line.split("|", 3), "", "", "")[:4]
        array, _, index = job.partition("_")
        content = jobs.get(array)
        if content and (place := int(index or 0)) < len(content["elements"]):
            element = SubmittedElement(**content["elements"][place])
            found.append(QueuedElement(element, content["name"], job, state, node, reason.strip()))
    return found


def cancel_lines(names: Iterable[str]) -> list[str]:
    """Return the commands that cancel all elements of these names. Never with --full, which ends the requeue, too."""
    return [f"scancel --name={name}" for name in dict.fromkeys(names)]


def forget_ended(store: Store, queued: Sequence[QueuedElement]) -> None:
    """Delete the files of jobs of which nothing is in the queue; logs of chains stay."""
    alive = {element.job.partition("_")[0] for element in queued}
    elements = store.path / FOLDER / "elements"
    ended = _jobs(store).keys() - alive
    for path in elements.iterdir() if elements.is_dir() else ():
        if path.name.partition("_")[0] in ended:
            path.unlink(missing_ok=True)
    for job in ended:
        (_job_folder(store) / f"{job}.json").unlink(missing_ok=True)


def failed_training(store: Store, key: str) -> tuple[str, str] | None:
    """Return kind and reason of the training of a chain that failed in an element; None where none did."""
    path = _failed_file(store, key)
    if not path.is_file():
        return None
    content = read_json(path)
    if any(field_errors(content, "", {"kind": is_text, "error": is_text})):
        return "error", f"{path} is damaged"
    return content["kind"], content["error"]


def note_failed_training(store: Store, key: str, kind: str, error: str) -> None:
    """Keep why the training of a chain failed, for the elements that wait for it."""
    write_over(_failed_file(store, key), {"kind": kind, "error": one_line(error)})


def forget_failed_training(store: Store, key: str) -> None:
    """Delete what `note_failed_training` wrote: the training is tried again."""
    _failed_file(store, key).unlink(missing_ok=True)


def _failed_file(store: Store, key: str) -> Path:
    return store.path / FOLDER / "failed" / f"{key}.json"


def _job_folder(store: Store) -> Path:
    return store.path / FOLDER / "jobs"


def _jobs(store: Store) -> dict[str, dict[str, Any]]:
    """Return id -> content of the job files."""
    jobs = {}
    for path in paths_in(_job_folder(store), ".json"):
        content = read_json(path)
        errors = list(field_errors(content, "", {"job": is_text, "name": is_text}))
        elements = content.get("elements")
        if errors or not isinstance(elements, list) or not all(_is_element(element) for element in elements):
            raise StoreError(f"{path} is damaged; delete it: its elements go on, and are submitted again.")
        jobs[content["job"]] = content
    return jobs


def _is_element(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == _ELEMENT.keys() and not list(field_errors(value, "", _ELEMENT))


def ask_slurm(command: Sequence[str]) -> list[str]:
    """Run one of Slurm's programs, and return its lines.

    Raises:
        SlurmError: It is missing, fails, or does not answer.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=True)
    except FileNotFoundError as error:
        raise SlurmError(f"{command[0]} is not found: ask on a machine of the cluster.") from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{command[0]} does not answer within {_ANSWER_S:g} s; ask again later.") from error
    except subprocess.CalledProcessError as error:
        raise SlurmError(f"{command[0]} fails: {one_line(error.stderr)}") from error
    return [str(line) for line in done.stdout.splitlines() if line.strip()]
