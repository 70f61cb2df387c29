"""The options of `bench run` that say where and how chains run, and the call of the engine that they choose."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from bench_core.cli.options import names
from bench_core.output import say
from bench_core.store.claims import BEAT_S, STALE_S

if TYPE_CHECKING:
    from bench_core.planning.chains import Plan
    from bench_core.running.failures import UnfinishedCell
    from bench_core.running.progress import Progress
    from bench_core.running.setting import RunSetting
    from bench_core.store import Store
    from bench_core.training.stopping import Stop

WORDS = "bench.words"  # key in a click context's `meta`: the arguments of `bench` as they were typed
_NAMES = (
    "device", "workers", "checkpoint_every", "resume_anyway", "compiled", "isolate", "jobs", "time_limit", "rerun",
    "log", "probe_every", "keep_every", "data_cache", "memory", "engine", "slurm", "wait", "ranks",
    "claim_beat", "claim_stale",
)  # fmt: skip


def _several_names(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """Parse the names of an option that may be left out; none is an empty tuple."""
    return tuple(names(ctx, param, values) or ())


def _number_or_word(ctx: click.Context, param: click.Parameter, value: str) -> int | str:
    """Read a number; other text is left for `RunSetting`, which knows auto and refuses the rest."""
    try:
        return int(value)
    except ValueError:
        return value


def engine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that `make_setting` reads. Ranges are not given here: `RunSetting` checks every value."""
    options = [
        click.option(
            "--device", default="auto", show_default=True, metavar="DEVICE",
            help="Train, embed and evaluate on this device: cpu, cuda, cuda:1 or mps. auto takes CUDA where there is "
            "one, else MPS, else the CPU. With cuda:0,cuda:1 chains that run at the same time are divided among these.",
        ),
        click.option(
            "--workers", type=int, default=0, show_default=True, metavar="N",
            help="Read streamed data in N processes. With 0 the training process reads it.",
        ),
        click.option(
            "--data-cache", type=click.Path(path_type=Path), metavar="FOLDER",
            help="Keep large decoded data in this folder, as files that chains on one machine share in memory: a disk "
            "of the machine, say. Default: the variable BENCH_DATA_CACHE, else a cache folder.",
        ),
        click.option(
            "--memory", metavar="SIZE",
            help="Let the tasks of a chain use this much memory, such as 8G, beside the files that they map. With less "
            "they compute more; scores stay the same. Default: what the cgroup or the machine has left.",
        ),
        click.option(
            "--checkpoint-every", type=float, default=120.0, show_default=True, metavar="SECONDS",
            help="Save a checkpoint this often. So much training is lost at most when the machine dies.",
        ),
        click.option(
            "--resume-anyway", is_flag=True,
            help="Go on from checkpoints of other code. By default a training whose code has changed starts anew.",
        ),
        click.option(
            "--compile", "compiled", is_flag=True,
            help="Train through torch.compile, for GPUs. It takes minutes before the first step, and the last digits "
            "of the results differ. Off by default.",
        ),
        click.option(
            "--engine", type=click.Choice(["local", "slurm"]), default="local", show_default=True,
            help="Run chains on this machine, or submit each as an element of a job array to Slurm, after the chains "
            "that it needs. The extra bench-core[slurm] brings what slurm takes.",
        ),
        click.option(
            "--slurm", multiple=True, metavar="KEY=VALUE",
            help="What an element asks Slurm for, as often as needed: time=04:00:00, partition=gpu, gpus=1. Keys are "
            "those of sbatch, and setup=COMMAND, which runs first. They win over the table [slurm] of ./bench.toml, "
            "else of ~/.config/bench/config.toml.",
        ),
        click.option(
            "--wait", is_flag=True,
            help="With --engine slurm: show the progress of the elements until all have ended, and the table. By "
            "default the command ends when all are submitted, and `bench status` shows what they do.",
        ),
        click.option(
            "--isolate", is_flag=True,
            help="Run each chain (one training and its tasks) in its own process, so that a crash ends one chain only. "
            "Off by default.",
        ),
        click.option(
            "--jobs", default="auto", show_default=True, metavar="N", callback=_number_or_word,
            help="Run N chains at the same time, each in its own process. auto runs as many as fit into the cores, the "
            "memory and the devices, and work that is short in this process.",
        ),
        click.option(
            "--ranks", default="1", show_default=True, metavar="N", callback=_number_or_word,
            help="Train each chain by N processes that share out the rows of a batch, on a GPU each or on the CPU. "
            "auto takes several GPUs for a chain where fewer chains are missing than there are GPUs.",
        ),
        click.option(
            "--time-limit", type=float, metavar="SECONDS",
            help="Stop a chain that takes longer. It saves a checkpoint and counts as failed; the same command resumes "
            "it. Not with --jobs 1, unless --isolate is given. Default: no limit.",
        ),
        click.option(
            "--rerun", multiple=True, callback=_several_names, metavar="A,B",
            help="Run finished cells again: of a task on the stored embeddings, of a method from its training on. The "
            "new results replace the old ones when they are complete; the old ones go to superseded/.",
        ),
        click.option(
            "--log", multiple=True, callback=_several_names, metavar="A,B",
            help="Also log trainings to csv (log.csv in the chain's folder), tensorboard (STORE/tensorboard) or wandb. "
            "Default: only the store's own log.",
        ),
        click.option(
            "--probe-every", type=int, default=0, show_default=True, metavar="EPOCHS",
            help="Measure kNN and RankMe on two parts of the train split this often while training, and log them. They "
            "choose nothing, and weights and scores stay the same. 0 is never.",
        ),
        click.option(
            "--keep-every", type=int, default=0, show_default=True, metavar="EPOCHS",
            help="Keep the weights this often while training, so that --at epochs=... can measure them. 0 is never.",
        ),
        # Few need them, and docs/schedulers.md says when.
        click.option("--claim-beat", type=float, default=BEAT_S, metavar="SECONDS", hidden=True),
        click.option("--claim-stale", type=float, default=STALE_S, metavar="SECONDS", hidden=True),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class SlurmElement:
    """Task of `bench run` inside an element of Slurm.

    Attributes:
        key: Key of the chain.
        part: Part of the work on it, see `bench_core.store.slurm_jobs`.
        device: Device for which the request was planned when it was submitted.
        gives_up: Reason why the element ends for good, which is recorded; None runs the chain.
    """

    key: str
    part: str
    device: str
    gives_up: str | None = None


def element_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the hidden options of a process inside an element of Slurm; together they are a `SlurmElement`."""
    for option in (
        click.option("--element", "element_key", metavar="KEY", hidden=True),
        click.option("--element-part", metavar="PART", hidden=True, default="whole"),
        click.option("--element-device", metavar="DEVICE", hidden=True, default="auto"),
        click.option("--element-gives-up", metavar="REASON", hidden=True),
    ):
        command = option(command)
    return command


def pop_element(options: dict[str, Any]) -> SlurmElement | None:
    """Return what the options of `element_options` say, and remove them from `options`."""
    key = options.pop("element_key")
    part, device, gives_up = (options.pop(f"element_{name}") for name in ("part", "device", "gives_up"))
    return SlurmElement(key, part, device, gives_up) if key else None


def planning_device(setting: "RunSetting", element: SlurmElement | None) -> str:
    """Return the device for which a request is planned: it decides the precision where that is auto.

    A login node has no GPU. What elements of Slurm ask for counts.
    """
    if element:
        return element.device
    if setting.engine != "slurm" or setting.device != "auto":
        return setting.device
    from bench_core.engines.slurm_config import slurm_config

    return "cuda" if slurm_config(setting.slurm).training.gpus else "cpu"


def make_setting(
    options: dict[str, Any], stop: "Stop", only_chain: str | None, element: SlurmElement | None = None
) -> "RunSetting":
    """Make a RunSetting from the options of `engine_options`, which are removed from `options`.

    Args:
        options: Options of the command by name.
        stop: Receives the stop signals of this process.
        only_chain: Key of the chain if this process was started for one chain. It got the options of the process that
            started it, and `--isolate`, `--jobs` and `--time-limit` are for that one.
        element: What this process does in an element of Slurm, in which chains run as on any machine.

    Raises:
        RequestError: A value is out of its range, or two options do not fit together.
    """
    from bench_core.devices import split_devices
    from bench_core.engines.ranks import device_of_rank, rank_place
    from bench_core.running.setting import RunSetting

    values = {name: options.pop(name) for name in _NAMES}
    if place := rank_place(values["ranks"]):
        values.update(ranks=place.size, device=device_of_rank(values["device"], place))
        if place.rank:
            values.update(
                isolate=False, jobs=1, time_limit=None, log=(), rerun=(), engine="local", slurm=(), wait=False
            )
            return RunSetting(**values, stop=stop)
        if only_chain is None and element is None and values["jobs"] == "auto":
            values.update(jobs=1)
    if only_chain is not None:
        device = values["device"] if values["ranks"] != 1 else split_devices(values["device"])[0]
        values.update(isolate=False, jobs=1, time_limit=None, device=device)
    elif element is not None:
        values.update(isolate=True, jobs=1)
    if only_chain is not None or element is not None:
        values.update(engine="local", slurm=(), wait=False)
    return RunSetting(**values, stop=stop)


def run_with_engine(
    plan: "Plan",
    store: "Store",
    setting: "RunSetting",
    words: Sequence[str],
    *,
    quiet: bool,
    only_chain: str | None,
    element: SlurmElement | None = None,
) -> "list[UnfinishedCell]":
    """Run what is missing of a plan with the engine that the setting chooses, and announce it in the store.

    Args:
        plan: What is run.
        store: Store of the records.
        setting: Where and how chains run.
        words: Arguments of `bench` as they were typed; a process for one chain is started with the same.
        quiet: Show no progress.
        only_chain: Key of the chain if this process was started for one chain.
        element: What this process, or the one that started it, does in an element of Slurm.

    Returns:
        The cells that did not finish.
    """
    from bench_core.engines.child_process import leave_with_parent, restart_command
    from bench_core.engines.command_line import with_option
    from bench_core.engines.processes import run_in_processes
    from bench_core.engines.ranks import leading, rank_place, settle_ranks
    from bench_core.engines.sizes import expected_jobs, settle_jobs
    from bench_core.running.chain_bars import choose_chain_progress
    from bench_core.running.pending import to_run
    from bench_core.running.planned import Announcement, planned
    from bench_core.running.progress import ChildLogLines, LogLines, NoProgress, choose_progress
    from bench_core.running.runner import run_plan
    from bench_core.running.threads import fewer_threads

    place, command = rank_place(setting.ranks), [*restart_command(), *words]
    if only_chain is not None:
        leave_with_parent()
        with leading(setting, command, place) as leading_setting:
            if element and element.part in ("train", "source"):
                _train_in_element(plan, store, leading_setting, element)
            # With --quiet, too: the process that started this one reads the lines, and then shows none.
            return run_plan(plan, store, leading_setting, ChildLogLines())
    if element is not None:
        leave_with_parent()
        from bench_core.engines.slurm_supervisor import run_element

        key, part, gives_up = element.key, element.part, element.gives_up
        return run_element(plan, store, setting, command, ChildLogLines(), key=key, part=part, gives_up=gives_up)
    chains = [chain for chain, _ in to_run(plan, store)]
    typed = shlex.join(["bench", *words])
    if setting.engine == "slurm":
        jobs = max(1, len(chains)) if setting.jobs == "auto" else int(setting.jobs)
        lines = NoProgress() if quiet else LogLines()
        with Announcement(planned(plan, typed, jobs), store) as announcement:
            return _run_in_slurm(plan, store, setting, words, lines, announcement.write)
    if place is None:
        setting = settle_ranks(setting, len(chains))
    setting = settle_jobs(setting, chains, store)
    for line in [] if quiet else fewer_threads(chains):
        say(line, err=True)
    jobs = expected_jobs(setting, chains)
    with Announcement(planned(plan, typed, jobs), store) as announcement:
        if setting.uses_processes:
            single = NoProgress() if quiet else LogLines()
            progress = single if setting.jobs == 1 else choose_chain_progress(quiet)
            command = with_option(command, "--ranks", setting.ranks)
            return run_in_processes(plan, store, setting, command, progress, announcement.write)
        with leading(setting, command, place) as leading_setting:
            return run_plan(plan, store, leading_setting, choose_progress(quiet), announcement.write)


def _train_in_element(plan: "Plan", store: "Store", setting: "RunSetting", element: SlurmElement) -> NoReturn:
    """Train the chain of an element without its tasks, and end this process."""
    from bench_core.engines.slurm_supervisor import find_chain
    from bench_core.running.progress import ChildLogLines
    from bench_core.running.train_only import train_only

    chain = find_chain(plan, element.key)
    raise SystemExit(not train_only(chain, store, setting, ChildLogLines(), embed=element.part == "train"))


def _run_in_slurm(
    plan: "Plan",
    store: "Store",
    setting: "RunSetting",
    words: Sequence[str],
    progress: "Progress",
    on_start: Callable[[], None],
) -> "list[UnfinishedCell]":
    """Submit what is missing, say what was submitted and how it is cancelled, and follow it with `--wait`."""
    from bench_core.engines.child_process import restart_command
    from bench_core.engines.slurm import submit
    from bench_core.engines.slurm_follow import follow, last_attempts, tails_of
    from bench_core.store.slurm_jobs import cancel_lines

    before = last_attempts(plan, store)
    command = [*restart_command(), *words, f"--element-device={planning_device(setting, None)}"]
    submission = submit(plan, store, setting, command)
    if not submission.elements:
        return []
    on_start()
    tails = tails_of(store, submission)
    if submission.submitted:
        say(f"submitted {len(submission.submitted)} elements to Slurm, jobs {' '.join(submission.job_ids)}", err=True)
    if submission.queued:
        say(f"{len(submission.queued)} elements of this request were in Slurm's queue before", err=True)
    for line in cancel_lines(submission.names):
        say(f"to cancel: {line}", err=True)
    if not setting.wait:
        say(f"`bench status --store {store.path}` shows what they do", err=True)
        return []
    return follow(plan, store, setting, submission, progress, tails, before)
