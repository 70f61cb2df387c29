"""The functions of the command line for scripts and notebooks: `from bench_core import run, evaluate, results`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench_core.data import default_data_root
from bench_core.engines.child_process import restart_command
from bench_core.engines.command_line import run_command
from bench_core.engines.processes import run_in_processes
from bench_core.engines.ranks import leading, settle_ranks
from bench_core.engines.sizes import expected_jobs, settle_jobs
from bench_core.errors import BenchError, RequestError, shown
from bench_core.planning.changed_code import changed_code
from bench_core.planning.plan import make_plan
from bench_core.planning.recipe_lines import recipe_lines
from bench_core.planning.request import Request
from bench_core.plugins import Registry, load_plugins
from bench_core.reports.tables.build import build
from bench_core.reports.tables.cell_states import plan_entries, table_entries
from bench_core.reports.tables.frames import tidy, wide
from bench_core.running.chain_bars import choose_chain_progress
from bench_core.running.failures import describe
from bench_core.running.given_module import ENCODER, given_module
from bench_core.running.pending import begin_lines, to_run
from bench_core.running.planned import Announcement, planned
from bench_core.running.progress import LogLines, NoProgress, choose_progress
from bench_core.running.rerun import finish_moves, prepare_rerun
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.running.threads import fewer_threads
from bench_core.store import Store

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

DEFAULT_STORE = "runs"


def run(
    methods: Sequence[str] | str | None = None,
    tasks: Sequence[str] | str | None = None,
    *,
    datasets: Sequence[str] | str | None = None,
    encoders: Sequence[str] | str | None = None,
    seeds: Sequence[int] | None = None,
    board: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    precision: str | None = None,
    settings: Mapping[str, Any] | None = None,
    sweeps: Mapping[str, Sequence[Any]] | None = None,
    device: str = "auto",
    store: str | Path = DEFAULT_STORE,
    data_root: str | Path | None = None,
    download: bool = False,
    check_data: bool = False,
    workers: int = 0,
    data_cache: str | Path | None = None,
    memory: str | None = None,
    checkpoint_every: float = 120.0,
    resume_anyway: bool = False,
    compile: bool = False,
    isolate: bool = False,
    jobs: int | Literal["auto"] = 1,
    ranks: int | Literal["auto"] = 1,
    time_limit: float | None = None,
    rerun: Sequence[str] | str = (),
    log: Sequence[str] | str = (),
    probe_every: int = 0,
    keep_every: int = 0,
    at_epochs: Sequence[int] = (),
    validation: float | None = None,
    progress: bool = True,
    registry: Registry | None = None,
) -> "pd.DataFrame":
    """Train each method once, embed once, and run every task. Cells that have a record in the store are not run again.

    Args:
        methods: Names, or "all"; None takes the board's.
        tasks: Names, or "all"; None takes the board's.
        datasets: Names; None takes the board's (`digits`).
        encoders: Names; None takes the board's (`convnet`).
        seeds: Seeds; each gives a chain of its own. None takes the board's if a board is named, else seed 0.
        board: Name of a shipped board, or path of a board.toml.
        epochs: Replaces the epochs of the board or method; fewer of them shorten the warm-up by the same ratio.
        batch_size: Replaces the batch size of the board or method.
        precision: "fp32", "bf16", or "auto": bf16 on CUDA, fp32 elsewhere.
        settings: Parameter values: {"nac.flip": 0.2, "nac.recipe.learning_rate": 1e-3}.
        sweeps: Several values of a parameter, each of which makes a row: {"noisy_dim.noise": [0, 0.1, 0.3],
            "vae.init": ["none", "nac"]}.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps"; "auto" is CUDA where there is one, else MPS, else the CPU.
        store: Folder of the records.
        data_root: Folder of the datasets; None is the environment variable `BENCH_DATA`, or a cache folder.
        download: Download datasets that are missing.
        check_data: Read all images again, also those of large folders whose sizes, times and inodes are the same.
        workers: Number of processes that read streamed data; 0 reads it in the training process.
        data_cache: Folder of the files of large decoded data that processes share; None is the variable
            BENCH_DATA_CACHE, else a cache folder.
        memory: Memory that the tasks of a chain may use, such as "8G"; None is what the system has left. Scores do not
            depend on it.
        checkpoint_every: Seconds between two checkpoints of a training.
        resume_anyway: Go on from checkpoints of other code; by default a training whose code has changed starts anew.
        compile: Train through `torch.compile`, for GPUs. It takes minutes before the first step, and the last digits
            of the results differ.
        isolate: Run each chain in its own process, which is started as `bench run`: a crash ends one chain only. Ctrl-C
            ends the processes at once; the same call resumes from their last checkpoints.
        jobs: Number of chains that run at the same time. Above 1 each has its own process, and GPUs are divided.
            "auto" is as many as fit into the cores, the memory and the devices.
        ranks: Number of processes that train each chain together; each is started as `bench run`. "auto" is more than
            one where fewer chains are missing than there are GPUs.
        time_limit: Seconds that a chain may take. At the limit it saves a checkpoint and counts as failed; the same
            call resumes it. Needs `isolate`, or other `jobs` than 1.
        rerun: Methods and tasks of this request whose finished cells are run again. The new results replace the old
            ones when they are complete; the old ones go to the store's folder superseded/.
        log: Loggers of trainings beside the store's own log: "csv", "tensorboard", "wandb".
        probe_every: Number of epochs from one probe of a training (kNN and RankMe on parts of the train split) to the
            next; 0 for none.
        keep_every: Number of epochs from one copy of a training's weights to the next; 0 keeps none.
        at_epochs: Epochs after which each training is measured, in place of its end; their weights must be kept.
        validation: Part of the train split that is held out of training and scored in place of the test split, such as
            0.2; None takes the board's if a board is named, else 0, which scores on the test split.
        progress: Show recipes and progress on stderr.
        registry: Plugins to use, for tests; None loads those that are installed.

    Returns:
        One line for each score of the finished cells of this request, see `results`.

    Raises:
        RequestError: An argument is wrong, data is missing, or (with `isolate` or `jobs`) an argument cannot be written
            on a command line. Nothing was run.
        BenchError: Some cells did not finish; the others are in the store.
    """
    request = Request(
        datasets=_names(datasets),
        encoders=_names(encoders),
        methods=_names(methods),
        tasks=_names(tasks),
        seeds=seeds,
        board=board,
        epochs=epochs,
        batch_size=batch_size,
        precision=precision,
        device=device,
        settings=settings or {},
        sweeps=sweeps or {},
        at_epochs=tuple(at_epochs),
        validation=validation,
        data_root=Path(data_root) if data_root is not None else default_data_root(),
    )
    setting = RunSetting(
        device=device,
        workers=workers,
        data_cache=None if data_cache is None else Path(data_cache),
        memory=memory,
        checkpoint_every=checkpoint_every,
        resume_anyway=resume_anyway,
        compiled=compile,
        isolate=isolate,
        jobs=jobs,
        ranks=ranks,
        time_limit=time_limit,
        rerun=tuple(_names(rerun) or ()),
        log=tuple(_names(log) or ()),
        probe_every=probe_every,
        keep_every=keep_every,
        command=_call(
            request,
            workers=workers,
            checkpoint_every=checkpoint_every,
            resume_anyway=resume_anyway,
            compile=compile,
            rerun=tuple(_names(rerun) or ()),
            log=tuple(_names(log) or ()),
            probe_every=probe_every,
            keep_every=keep_every,
        ),
    )
    if registry is not None and setting.jobs == "auto":
        setting = replace(setting, jobs=1)
    if (setting.uses_processes or setting.ranks != 1) and registry is not None:
        raise RequestError("registry= cannot be passed to another process; leave out isolate, jobs and ranks.")
    record_store = Store(store)
    registry = registry or load_plugins()
    plan = make_plan(request, registry, download=download, check_data=check_data)
    if setting.rerun:
        finish_moves(record_store)
    again = prepare_rerun(plan, record_store, setting.rerun, registry, request.data_root)
    changed = [changed.line for changed in changed_code(again.plan, again.store)]
    lines = LogLines() if progress else NoProgress()
    for line in (*recipe_lines(plan), *again.remarks, *changed, *begin_lines(again.plan, again.store)):
        lines.log(line)
    chains = [chain for chain, _ in to_run(again.plan, again.store)]
    setting = settle_jobs(settle_ranks(setting, len(chains)), chains, again.store)
    for line in fewer_threads(chains):
        lines.log(line)
    expected = expected_jobs(setting, chains)
    with Announcement(planned(again.plan, setting.command or "", expected), again.store) as announcement:
        needs_command = setting.uses_processes or setting.ranks != 1
        command = [*restart_command(), *run_command(request, setting, record_store.path)] if needs_command else []
        if setting.uses_processes:
            several = choose_chain_progress(quiet=not progress) if setting.jobs != 1 else lines
            unfinished = run_in_processes(again.plan, again.store, setting, command, several, announcement.write)
        else:
            shown_progress = choose_progress(quiet=not progress)
            with leading(setting, command, None) as leading_setting:
                unfinished = run_plan(again.plan, again.store, leading_setting, shown_progress, announcement.write)
    lines = LogLines() if progress else NoProgress()  # those before are closed
    for line in again.finish():
        lines.log(line)
    if unfinished:
        reasons = "; ".join(describe(unfinished))
        raise BenchError(f"{len(unfinished)} cells did not finish; the others are in {store}. {reasons}")
    entries = plan_entries(plan, record_store.records())
    return tidy([entry.finished_record for entry in entries if entry.finished_record is not None])


def evaluate(
    module: "nn.Module",
    datasets: Sequence[str] | str | None = None,
    tasks: Sequence[str] | str | None = None,
    *,
    name: str,
    trained_on: str = "",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    store: str | Path = DEFAULT_STORE,
    data_root: str | Path | None = None,
    download: bool = False,
    progress: bool = True,
    registry: Registry | None = None,
) -> "pd.DataFrame":
    """Measure a network of this Python session; its row stands beside those of the same store.

        bench_core.evaluate(model, datasets="digits", tasks="knn,linear", name="mine")

    Args:
        module: Takes images (N, C, H, W) in [0, 1], or what the dataset gives, and returns features (N, D); maps
            (N, D, h, w) are averaged. Channels, size and standardising are its own affair. It is copied and not
            changed, and its weights are the key: the same network gives the same records.
        datasets: Names; None takes the default board's (`digits`).
        tasks: Names; None takes the default board's.
        name: Name of the row.
        trained_on: The data that the network was trained on, for readers of the records.
        seed: Seed of the tasks that draw random numbers.
        settings: Parameter values of datasets and tasks: {"knn.k": 20}.
        device: As for `run`.
        store: Folder of the records.
        data_root: As for `run`.
        download: As for `run`.
        progress: Show progress on stderr.
        registry: Plugins to use, for tests; None loads those that are installed.

    Returns:
        One line for each score, see `results`.

    Raises:
        RequestError: An argument is wrong, or data is missing.
        BenchError: Some cells did not finish; the others are in the store.
    """
    plugins = registry or load_plugins()
    return run(
        methods="frozen",
        tasks=tasks,
        datasets=datasets,
        encoders=[ENCODER],
        seeds=[seed],
        settings=settings,
        device=device,
        store=store,
        data_root=data_root,
        download=download,
        progress=progress,
        registry=Registry([*plugins.components, given_module(module, name, trained_on)], plugins.broken),
    )


def results(store: str | Path = DEFAULT_STORE) -> "pd.DataFrame":
    """Return all records of a store as a tidy DataFrame.

    Args:
        store: Folder of the records.

    Returns:
        One line for each score, with names, seed, unit, direction, chance and cost.

    Raises:
        RequestError: There is no store.
        StoreError: A record is damaged.
    """
    return tidy(Store.existing(store).records())


def leaderboard(
    store: str | Path = DEFAULT_STORE,
    *,
    board: str | None = None,
    columns: Sequence[str] | str | None = None,
    sort: str | None = None,
) -> "pd.DataFrame":
    """Return the table that `bench table` prints: one line for each method, the means of the tasks as columns.

    Args:
        store: Folder of the records.
        board: Name of a board, to show its cells only; None shows everything in the store.
        columns: What is shown, in this order: "knn", "linear:top1", "outliers:*", "mean"; None shows each task's first
            metric and all computed columns.
        sort: Column to sort by; None sorts by the mean rank.

    Returns:
        Columns dataset, encoder, method, then for each task `<task>`, `<task>_halfwidth` (95 % t interval over seeds),
        `<task>_n` and `<task>_ranked` (False for a row that lacks a seed, say), and the mean rank. Fractions are not
        turned into per cent; stale numbers are left out.

    Raises:
        RequestError: There is no store, no such board, or no record has the metric or column.
        StoreError: A record is damaged.
    """
    return wide(
        build(
            table_entries(Store.existing(store), board),
            columns=_names(columns),
            sort=sort,
            hold_encoder=board is not None,
        )
    )


def _names(value: Sequence[str] | str | None) -> Sequence[str] | None:
    """Return names as a list: both "nac,sela" and ["nac", "sela"] give ["nac", "sela"]."""
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else list(value)
    if not all(isinstance(name, str) and name for name in names):
        raise RequestError(f"names must be text, like ['nac', 'sela'], got {shown(value)}.")
    return names


def _call(request: Request, **run_settings: Any) -> str:
    """Write the call of `run` as text, for the records; arguments that have their defaults are left out."""
    arguments = {}
    for name, value in vars(request).items():
        if value not in (None, {}, ()) and name != "data_root":
            arguments[name] = value
    for name, value in run_settings.items():
        if value != getattr(RunSetting, "compiled" if name == "compile" else name):
            arguments[name] = value
    return f"bench_core.run({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
