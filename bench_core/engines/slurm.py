"""The engine that submits chains to Slurm: one array element for each chain, after those that it needs.

The chains are divided among elements here, and submitit submits them. Each runs `bench run` with the same words again,
for its chain alone (`slurm_element.py` on the node, `slurm_supervisor.py` in that command). Nothing is kept of them but
`store/slurm_jobs.py`: results are the records in the store, as with every engine.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench_core.engines.slurm_config import Resources, SlurmConfig, refuse_unknown, slurm_config
from bench_core.engines.slurm_element import Element
from bench_core.errors import RequestError, one_line
from bench_core.planning.chains import Cell, Chain, Plan
from bench_core.running.chain import load_splits
from bench_core.running.kept_epochs import check_kept_epochs
from bench_core.running.pending import is_trained, to_run, to_train
from bench_core.running.setting import RunSetting
from bench_core.running.small_batches import refuse_small_batches
from bench_core.store import Store
from bench_core.store.chain_names import names_of
from bench_core.store.slurm_jobs import (
    EVALUATE,
    FOLDER,
    SOURCE,
    TRAIN,
    WHOLE,
    QueuedElement,
    SubmittedElement,
    ask_slurm,
    forget_ended,
    forget_failed_training,
    log_file,
    queued_elements,
    write_job,
)

if TYPE_CHECKING:
    from submitit import SlurmExecutor

Place = tuple[str, str]  # key of a chain, and the part of the work on it
_ALL = 100_000  # elements of an array that run at a time, where nothing limits them
_ENDLESS = 10**6  # times that submitit queues an element again; `Element.checkpoint` says when that makes no sense


@dataclass(frozen=True)
class Work:
    """Work of one element.

    Attributes:
        chain: The chain.
        part: Part of the work, see `SubmittedElement`.
        cells: Cells whose records it makes.
        needs: Keys of chains whose training must have ended before it begins.
    """

    chain: Chain
    part: str
    cells: tuple[Cell, ...]
    needs: frozenset[str]

    @property
    def place(self) -> Place:
        """Key of the chain and part, which no other work shares."""
        return self.chain.key, self.part


@dataclass(frozen=True)
class Submission:
    """Elements of one command in Slurm.

    Attributes:
        name: Name of the jobs that were submitted now; "" where nothing was missing.
        submitted: Elements that were submitted now, with their ids.
        queued: Elements of the request that were in the queue before.
    """

    name: str
    submitted: tuple[tuple[str, SubmittedElement], ...]
    queued: tuple[QueuedElement, ...]

    @property
    def job_ids(self) -> list[str]:
        """Ids of the job arrays that were submitted now."""
        return list(dict.fromkeys(job.partition("_")[0] for job, _ in self.submitted))

    @property
    def names(self) -> list[str]:
        """Names of all jobs that work on the request."""
        return list(dict.fromkeys([*[self.name] * bool(self.name), *(element.name for element in self.queued)]))

    @property
    def elements(self) -> list[tuple[str, SubmittedElement]]:
        """All elements that work on the request, with their ids."""
        return [*((element.job, element.element) for element in self.queued), *self.submitted]


def works(plan: Plan, store: Store, *, evaluation_apart: bool) -> list[Work]:
    """Divide what is missing of a plan among elements.

    Args:
        plan: The chains.
        store: Store of the run; what it holds is not done again.
        evaluation_apart: Whether tasks run in elements of their own, after the training.
    """
    asked = dict(_to_run_by_key(plan, store))
    found: dict[Place, Work] = {}

    def sources_of(chain: Chain) -> frozenset[str]:
        """Return the keys of the trainings that a chain waits for; those that nobody asked for become works."""
        needed = [link for link in to_train(chain, store) if link.key != chain.key]
        for link in needed:
            if link.key not in asked and (link.key, SOURCE) not in found:
                found[link.key, SOURCE] = Work(link, SOURCE, (), sources_of(link))
        return frozenset(link.key for link in needed)

    for key, (chain, cells) in asked.items():
        needs = sources_of(chain)
        if evaluation_apart:
            if not is_trained(chain, store):
                found[key, TRAIN] = Work(chain, TRAIN, (), needs)
            found[key, EVALUATE] = Work(chain, EVALUATE, tuple(cells), needs | {key})
        else:
            found[key, WHOLE] = Work(chain, WHOLE, tuple(cells), needs)
    return list(found.values())


def _to_run_by_key(plan: Plan, store: Store) -> Iterator[tuple[str, tuple[Chain, list[Cell]]]]:
    """Yield key -> chain and its missing cells, as `to_run` orders them; cells of one chain come together."""
    joined: dict[str, tuple[Chain, list[Cell]]] = {}
    for chain, cells in to_run(plan, store):
        joined.setdefault(chain.key, (chain, []))[1].extend(cells)
    yield from joined.items()


def submit(plan: Plan, store: Store, setting: RunSetting, command: Sequence[str]) -> Submission:
    """Submit what is missing of a plan and not in the queue.

    Args:
        plan: The chains. Their data is read here first, so that what is missing is said at once.
        store: Store of the records.
        setting: `slurm` and `jobs` are used here; all else reaches the elements as options of `command`.
        command: Command that runs the whole request; each element runs it for its chain.

    Raises:
        RequestError: submitit or Slurm is missing, an option is none, data is missing, batches are too small for a
            method, or Slurm refuses the jobs.
        SlurmError: Slurm does not answer.
    """
    config = slurm_config(setting.slurm)
    _require(config)
    _check(plan, store, setting)
    store.create()
    queued = queued_elements(store)
    forget_ended(store, queued)
    wanted = works(plan, store, evaluation_apart=config.evaluation is not None)
    ids = {(element.element.chain, element.element.part): element.job for element in queued}
    keys = {work.chain.key for work in wanted}
    known = tuple(element for element in queued if element.element.chain in keys)
    # An element that does all of a chain also does what another table of options would have divided.
    new = [work for work in wanted if not ids.keys() & {work.place, (work.chain.key, WHOLE)}]
    new = [work for work in new if work.part != WHOLE or (work.chain.key, EVALUATE) not in ids]
    if not new:
        return Submission("", (), known)
    submitter = _Submitter(store, setting, config, command, new)
    submitter.submit_all(ids)
    return Submission(submitter.name, tuple(submitter.submitted), known)


class _Submitter:
    """Submits works in arrays: each array's elements wait for the same other elements, and ask for the same resources.

    Attributes:
        name: Name of all its jobs.
        submitted: Elements that were submitted, with their ids.
    """

    def __init__(
        self, store: Store, setting: RunSetting, config: SlurmConfig, command: Sequence[str], new: Sequence[Work]
    ) -> None:
        self.store, self.setting, self.config, self.command = store, setting, config, command
        self.name = f"bench-{os.urandom(4).hex()}"
        self.submitted: list[tuple[str, SubmittedElement]] = []
        self._left = list(new)
        self._total = len(self._left)
        recipes = {
            work.chain.key: {
                "doc": work.chain.document,
                "names": {**work.chain.cells[0].names, "method": work.chain.row_name},
            }
            for work in new
        }
        self._names = names_of(recipes)
        self._most = _max_array_size()

    def submit_all(self, ids: dict[Place, str]) -> None:
        """Submit all works, those that others wait for first.

        Args:
            ids: Place of each work in the queue -> its id in Slurm; the new ones are added.
        """
        while self._left:
            training = {work.chain.key for work in self._left if work.part != EVALUATE}
            ready = [work for work in self._left if not work.needs & training]
            arrays: dict[tuple[bool, frozenset[str]], list[Work]] = {}
            for work in ready:
                trainings = [(key, part) for key in {*work.needs, work.chain.key} for part in (WHOLE, TRAIN, SOURCE)]
                jobs = frozenset(ids[place] for place in trainings if place in ids)
                arrays.setdefault((work.part == EVALUATE, jobs), []).append(work)
            for (evaluates, jobs), group in arrays.items():
                for start in range(0, len(group), self._most):
                    self._submit(group[start : start + self._most], evaluates, sorted(jobs), ids)

    def _submit(self, array: Sequence[Work], evaluates: bool, jobs: Sequence[str], ids: dict[Place, str]) -> None:
        """Submit one array, and write down what its elements are."""
        resources = self.config.evaluation if evaluates else self.config.training
        assert resources is not None, "works are only divided where there is a table for evaluation"
        executor = self._executor(resources, jobs)
        for work in array:
            if not evaluates:
                forget_failed_training(self.store, work.chain.key)
        try:
            with _without_outer_job(), executor.batch():
                submitted = [executor.submit(self._element(work, resources)) for work in array]
        except RuntimeError as error:  # submitit's errors are such
            done = f"{len(self.submitted)} of {self._total} elements are in the queue; " if self.submitted else ""
            raise RequestError(
                f"{done}Slurm refused {'the others' if done else 'the jobs'}: {_reason(error)}; the same command "
                "submits what is missing."
            ) from error
        finally:
            for work in array:
                self._left.remove(work)
        described = [self._described(work) for work in array]
        write_job(self.store, submitted[0].job_id.partition("_")[0], self.name, described)
        for job, work, element in zip(submitted, array, described, strict=True):
            ids[work.place] = job.job_id
            self.submitted.append((job.job_id, element))

    def _described(self, work: Work) -> SubmittedElement:
        return SubmittedElement(work.chain.key, work.part, work.chain.label, f"{self._names[work.chain.key]}.log")

    def _element(self, work: Work, resources: Resources) -> Element:
        records = [self.store.record_file(cell.key).absolute() for cell in work.cells]
        return Element(
            command=(*self.command, f"--element={work.chain.key}", f"--element-part={work.part}"),
            log=str(log_file(self.store, self._described(work)).absolute()),
            chain_folder=str(self.store.chain_folder(work.chain.key).absolute()),
            records=tuple(map(str, records)),
            time=str(resources.options["time"]),
            time_s=resources.time_s,
            signal_delay_s=resources.signal_delay_s,
        )

    def _executor(self, resources: Resources, jobs: Sequence[str]) -> "SlurmExecutor":
        """Make submitit's executor of one array, whose elements wait for some jobs."""
        from submitit import SlurmExecutor

        options: dict[str, Any] = {**resources.options, "requeue": True}
        options.pop("signal", None)
        if jobs:
            options["dependency"] = f"afterany:{':'.join(jobs)}"
        if (ranks := resources.ranks_per_node(self.setting.ranks)) > 1:
            options["ntasks-per-node"] = ranks
        # srun does not take it over from sbatch since Slurm 22.05.
        srun = [f"--cpus-per-task={cores}"] if (cores := options.get("cpus-per-task")) else []
        python = shlex.join([self.command[0], *(["-P"] if "-P" in self.command[:3] else [])])
        executor = SlurmExecutor(self.store.path / FOLDER / "elements", max_num_timeout=_ENDLESS, python=python)
        executor.update_parameters(
            job_name=self.name,
            time=max(1, resources.time_s // 60),
            wckey=None,  # submitit's own default is refused where keys must exist
            signal_delay_s=resources.signal_delay_s,
            array_parallelism=self.setting.jobs if isinstance(self.setting.jobs, int) else _ALL,
            stderr_to_stdout=True,
            setup=list(resources.setup) or None,
            srun_args=srun,
            additional_parameters=options,
        )
        return executor


@contextmanager
def _without_outer_job() -> Iterator[None]:
    """Hide the variables of the job in which this command itself runs: jobs that it submits would take them over."""
    inner = "SLURM_JOB_ID" in os.environ
    starts = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_")
    hidden = {n: v for n, v in os.environ.items() if inner and n.startswith(starts) and n != "SLURM_CONF"}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _check(plan: Plan, store: Store, setting: RunSetting) -> None:
    """Refuse what every element would refuse; each dataset is read once, one at a time."""
    queue = to_run(plan, store)
    for chain, cells in queue:
        check_kept_epochs(chain, cells, store, setting.keep_every)
    refuse_small_batches(needed for chain, _ in queue for needed in to_train(chain, store))
    for chain in {id(chain.loader): chain for chain, _ in queue}.values():
        load_splits(chain, setting.data_cache)


def _require(config: SlurmConfig) -> None:
    """Refuse what cannot work on this machine before anything is submitted."""
    try:
        import submitit  # noqa: F401  # is it there?
    except ImportError as error:
        raise RequestError("submitit is not installed; type: pip install 'bench-core[slurm]'") from error
    for program in ("sbatch", "srun", "squeue", "scontrol"):
        if shutil.which(program) is None:
            raise RequestError(f"{program} is not found; submit on a machine of the cluster, such as its login node.")
    help_text = "\n".join(ask_slurm(["sbatch", "--help"]))
    for resources in (config.training, config.evaluation):
        if resources:
            refuse_unknown(resources, help_text)


def _max_array_size() -> int:
    """Ask how many elements an array of this site may have."""
    text = "\n".join(ask_slurm(["scontrol", "show", "config"]))
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", text, re.MULTILINE)
    return max(1, int(match[1])) if match else 1


def _reason(error: Exception) -> str:
    """Return what sbatch printed, without submitit's words around it."""
    lines = [line for line in str(error).splitlines() if "sbatch:" in line]
    return one_line(" ".join(line.partition("sbatch:")[2].replace("error:", "") for line in lines) or str(error))
