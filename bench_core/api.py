"""What the command line does, for notebooks: `from bench_core import run, leaderboard, results`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_core.data import default_data_root
from bench_core.devices import check_device
from bench_core.engines.child_process import itself
from bench_core.engines.command_line import command_of
from bench_core.engines.processes import Apart, run_apart
from bench_core.errors import BenchError, RequestError
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import Registry, load_plugins
from bench_core.reports.tables.build import build
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.reports.tables.frames import tidy
from bench_core.running.failures import describe
from bench_core.running.progress import Plain, Silent, choose_progress
from bench_core.store import Store
from bench_core.training.stopping import Stop

if TYPE_CHECKING:
    import pandas as pd
from bench_core.engines.processes import check_engine
from bench_core.reports.tables.cell_states import table_entries
from bench_core.running.runner import execute

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
    from bench_core.reports.tables.frames import wide

    return wide(build(table_entries(Store(store), board), metric=metric, sort=sort))


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
