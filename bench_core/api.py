"""What the command line does, for notebooks: `from bench_core import run, leaderboard, results`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_core.attempts import Failure, describe
from bench_core.command import command_of
from bench_core.data import default_data_root
from bench_core.engines.process import Apart, run_apart
from bench_core.engines.watch import itself
from bench_core.errors import BenchError, RequestError, shown
from bench_core.plan import Plan, make_plan
from bench_core.plugins import Registry, load_plugins
from bench_core.progress import Plain, Progress, Silent, choose_progress
from bench_core.provenance import check_device, find_device
from bench_core.request import Request
from bench_core.runner import Setting, run_plan
from bench_core.state import plan_entries
from bench_core.stopping import Stop
from bench_core.store import Store
from bench_core.tables.entries import Entry, entries_of
from bench_core.tables.frame import tidy
from bench_core.tables.table import build

if TYPE_CHECKING:
    import pandas as pd

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
    isolate: bool = False,
    jobs: int = 1,
    time_limit: float | None = None,
    progress: bool = True,
    registry: Registry | None = None,
) -> "pd.DataFrame":
    """Train each method once, embed once, run every task; what is done already is not done again.

    Args:
        methods: Names, or "all"; None takes the board's.
        tasks: Names, or "all"; None takes the board's.
        datasets: Names; None takes the board's (`digits`).
        encoders: Names; None takes the board's (`convnet`).
        seeds: One chain each; None takes the board's if a board is named, else seed 0.
        board: A shipped board's name or the path of a board.toml.
        epochs: Instead of what the board or the method says.
        batch_size: Likewise.
        precision: "fp32", "bf16", or "auto": bf16 on CUDA, fp32 elsewhere.
        settings: {"nac.flip": 0.2, "nac.recipe.learning_rate": 1e-3}.
        sweeps: {"noisy_dim.noise": [0, 0.1, 0.3]}, {"vae.init": ["none", "nac"]}: a row for each value.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        store: Folder of the records.
        data_root: Where data sets lie; None is `BENCH_DATA` or a cache folder.
        download: Fetch data sets that are missing.
        isolate: Each chain in a process of its own, which runs `bench run`: a crash ends one chain. Ctrl-C ends them at
            once; the same call goes on from their last checkpoints.
        jobs: Chains at once, each in a process of its own; cores and GPUs are shared out.
        time_limit: Seconds that a chain may take; it then saves a checkpoint and counts as failed. Needs a process of
            its own.
        progress: Show where it stands, on stderr.
        registry: Plugins to use, for tests; None loads what is installed.

    Returns:
        One line a score of this request's finished cells, see `results`.

    Raises:
        RequestError: What is asked for cannot be done as asked, or (`isolate`, `jobs`) cannot be said in the words of a
            command; nothing was run.
        BenchError: Some cells failed; the others are in the store.
    """
    apart = check_engine(isolate=isolate, jobs=jobs, time_limit=time_limit)
    if not apart:  # who only watches leaves the device alone
        check_device(device)
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
        data_root=Path(data_root) if data_root is not None else default_data_root(),
    )
    opened = Store(store)
    plan = make_plan(request, registry or load_plugins(), download=download)
    if apart:
        if registry is not None:
            raise RequestError("registry= cannot be passed to a process of its own; leave out isolate and jobs.")
        how = Apart([*itself(), *command_of(request, opened.path)], device, time_limit, Stop(), jobs)
        failures = run_apart(plan, opened, how, Plain() if progress else Silent())
    else:
        failures = execute(plan, opened, device, choose_progress(quiet=not progress), command=_call(request))
    if failures:
        raise BenchError(f"{len(failures)} cells failed; the others are in {store}. " + "; ".join(describe(failures)))
    return tidy([entry.record for entry in plan_entries(plan, opened.records()) if entry.record is not None])


def check_engine(*, isolate: bool, jobs: int, time_limit: float | None) -> bool:
    """Whether chains run in processes of their own; RequestError where what is asked of them does not fit."""
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise RequestError(f"jobs must be a whole number from 1, got {shown(jobs)}.")
    is_number = isinstance(time_limit, int | float) and not isinstance(time_limit, bool)
    if time_limit is not None and not (is_number and time_limit > 0):
        raise RequestError(f"time_limit must be seconds above 0, got {shown(time_limit)}.")
    if time_limit is not None and not isolate and jobs == 1:
        raise RequestError("time_limit needs isolate or jobs above 1: only a process of its own can be ended.")
    return isolate or jobs > 1


def execute(
    plan: Plan,
    store: Store,
    device: str = "auto",
    progress: Progress | None = None,
    command: str | None = None,
    workers: int = 0,
    checkpoint_every: float = 120.0,
    compiled: bool = False,
    stop: Stop | None = None,
) -> list[Failure]:
    """Run what is missing of a plan and take the progress display away, whatever happens."""
    progress = progress or Silent()
    try:
        setting = Setting(find_device(device), workers, command, checkpoint_every, compiled, stop or Stop())
        return run_plan(plan, store, setting, progress)
    finally:
        progress.close()


def results(store: str | Path = DEFAULT_STORE) -> "pd.DataFrame":
    """All records of a store as a tidy DataFrame: one line a score, with names, seed, unit, direction, chance and cost.

    Raises:
        StoreError: The folder is no store, or a record is damaged.
    """
    return tidy(Store(store).records())


def leaderboard(
    store: str | Path = DEFAULT_STORE, *, board: str | None = None, metric: str | None = None, sort: str | None = None
) -> "pd.DataFrame":
    """The table that `bench table` prints, one line a method and the tasks' means as columns.

    Args:
        store: Folder of the records.
        board: Only this board's cells; None takes all that is in the store.
        metric: Instead of each task's first.
        sort: Column to sort by, instead of the mean rank.

    Returns:
        Columns dataset, encoder, method, then `<task>`, `<task>_halfwidth` (95 % t over seeds) and `<task>_n` for
        each task, and the mean rank; fractions stay fractions.
    """
    from bench_core.tables.wide import wide

    return wide(build(table_entries(Store(store), board), metric=metric, sort=sort))


def table_entries(store: Store, board: str | None = None, registry: Registry | None = None) -> list[Entry]:
    """The cells of a board as the store knows them; without a board, all that is in the store."""
    if board is None:
        return entries_of(store.records(), store.attempts())
    return plan_entries(board_plan(board, registry), store.records(), store.attempts())


def board_plan(board: str, registry: Registry | None = None) -> Plan:
    """Everything that a board asks for."""
    return make_plan(Request(board=board, data_root=default_data_root()), registry or load_plugins())


def _names(value: Sequence[str] | str | None) -> Sequence[str] | None:
    """Both "nac,sela" and ["nac", "sela"]."""
    if value is None:
        return None
    names = [n.strip() for n in value.split(",")] if isinstance(value, str) else list(value)
    if not all(isinstance(n, str) and n for n in names):
        raise RequestError(f"names must be text, got {value!r}")
    return names


def _call(request: Request) -> str:
    """The call, as a record's command."""
    asked = {k: v for k, v in vars(request).items() if v not in (None, {}) and k != "data_root"}
    return f"bench_core.run({', '.join(f'{k}={v!r}' for k, v in asked.items())})"
