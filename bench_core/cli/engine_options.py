"""The options of `bench run` that say where and how chains run, and the call of the engine that they choose."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench_core.cli.options import names

if TYPE_CHECKING:
    from bench_core.planning.chains import Plan
    from bench_core.running.failures import UnfinishedCell
    from bench_core.running.setting import RunSetting
    from bench_core.store import Store
    from bench_core.training.stopping import Stop

WORDS = "bench.words"  # key in a click context's `meta`: the arguments of `bench` as they were typed
_NAMES = (
    "device", "workers", "checkpoint_every", "resume_anyway", "compiled", "isolate", "jobs", "time_limit", "rerun",
    "log", "probe_every", "keep_every", "data_cache",
)  # fmt: skip


def _several_names(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    """Parse the names of an option that may be left out; none is an empty tuple."""
    return tuple(names(ctx, param, values) or ())


def engine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that `make_setting` reads. Ranges are not given here: `RunSetting` checks every value."""
    options = [
        click.option(
            "--device", default="auto", show_default=True, metavar="DEVICE",
            help="Train, embed and evaluate on this device: cpu, cuda, cuda:1 or mps. auto takes CUDA where there is "
            "one, else MPS, else the CPU.",
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
            "--isolate", is_flag=True,
            help="Run each chain (one training and its tasks) in its own process, so that a crash ends one chain only. "
            "Off by default.",
        ),
        click.option(
            "--jobs", type=int, default=1, show_default=True, metavar="N",
            help="Run N chains at the same time, each in its own process. Cores and GPUs are divided among them.",
        ),
        click.option(
            "--time-limit", type=float, metavar="SECONDS",
            help="Stop a chain that takes longer. It saves a checkpoint and counts as failed; the same command resumes "
            "it. Needs --isolate or --jobs 2. Default: no limit.",
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
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def make_setting(options: dict[str, Any], stop: "Stop", only_chain: str | None) -> "RunSetting":
    """Make a RunSetting from the options of `engine_options`, which are removed from `options`.

    Args:
        options: Options of the command by name.
        stop: Receives the stop signals of this process.
        only_chain: Key of the chain if this process was started for one chain. It got the options of the process that
            started it, and `--isolate`, `--jobs` and `--time-limit` are for that one.

    Raises:
        RequestError: A value is out of its range, or two options do not fit together.
    """
    from bench_core.running.setting import RunSetting

    values = {name: options.pop(name) for name in _NAMES}
    if only_chain is not None:
        values.update(isolate=False, jobs=1, time_limit=None)
    return RunSetting(**values, stop=stop)


def run_with_engine(
    plan: "Plan",
    store: "Store",
    setting: "RunSetting",
    words: Sequence[str],
    *,
    quiet: bool,
    only_chain: str | None,
) -> "list[UnfinishedCell]":
    """Run what is missing of a plan with the engine that the setting chooses, and announce it in the store.

    Args:
        plan: What is run.
        store: Store of the records.
        setting: Where and how chains run.
        words: Arguments of `bench` as they were typed; a process for one chain is started with the same.
        quiet: Show no progress.
        only_chain: Key of the chain if this process was started for one chain.

    Returns:
        The cells that did not finish.
    """
    from bench_core.engines.child_process import leave_with_parent, restart_command
    from bench_core.engines.processes import run_in_processes
    from bench_core.running.planned import Announcement, planned
    from bench_core.running.progress import ChildLogLines, LogLines, NoProgress, choose_progress
    from bench_core.running.runner import run_plan

    if only_chain is not None:
        leave_with_parent()
        # With --quiet, too: the process that started this one reads the lines, and then shows none.
        return run_plan(plan, store, setting, ChildLogLines())
    with Announcement(planned(plan, shlex.join(["bench", *words]), setting.jobs), store) as announcement:
        if setting.uses_processes:
            lines = NoProgress() if quiet else LogLines()
            command = [*restart_command(), *words]
            return run_in_processes(plan, store, setting, command, lines, announcement.write)
        return run_plan(plan, store, setting, choose_progress(quiet), announcement.write)
