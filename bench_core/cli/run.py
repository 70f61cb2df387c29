"""`bench run`: train, embed, run every task, and print the table of the request."""

import errno
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench_core.cli.engine_options import (
    WORDS,
    element_options,
    engine_options,
    make_setting,
    planning_device,
    pop_element,
    run_with_engine,
)
from bench_core.cli.options import Command, load, make_request, request_options, terminal_width
from bench_core.errors import RequestError
from bench_core.output import say
from bench_core.training.stopping import CALL_AGAIN, Stop

if TYPE_CHECKING:
    from bench_core.planning.chains import Plan
    from bench_core.reports.tables.entries import Entry
    from bench_core.running.failures import UnfinishedCell
    from bench_core.store import Store

_LARGEST_PAGE = 10_000  # records of a store whose page each run writes: of more it takes longer than many a run

_EXAMPLES = """\b
Examples:
  bench run --methods nac,sela --tasks knn,linear --seeds 0,1,2
  bench run --board digits --jobs 4
"""


@click.command(cls=Command, epilog=_EXAMPLES)
@request_options
@engine_options
@element_options
@click.option("--retry-failed", is_flag=True, help="Run only cells that were tried before and did not finish.")
@click.option(
    "--only-chain",
    metavar="KEY",
    help="Run only this chain of the request, and print no table; for schedulers, see --commands. By default all run.",
)
@click.option("--without-cell", metavar="KEY", multiple=True, hidden=True)  # for such a process: skip this cell
@click.option("--download", is_flag=True, help="Download datasets that are missing. By default they are an error.")
@click.option(
    "--check-data",
    is_flag=True,
    help="Read all images again. By default large folders are trusted while sizes, times and inodes are the same.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would run, and the time and memory that finished cells let expect. Nothing is run or written.",
)
@click.option(
    "--cells", "every_cell", is_flag=True, help="With --dry-run: a line for each cell, however many there are."
)
@click.option(
    "--commands",
    is_flag=True,
    help="With --dry-run: print a command for each chain that is left, sources first, for a scheduler of any kind.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON. By default they are a table.")
@click.option("--quiet", is_flag=True, help="Show neither recipes nor progress. By default both are on stderr.")
@click.pass_context
def run(
    ctx: click.Context,
    /,
    retry_failed: bool,
    only_chain: str | None,
    without_cell: Sequence[str],
    download: bool,
    check_data: bool,
    dry_run: bool,
    every_cell: bool,
    commands: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train, embed, evaluate, and print the table.

    Cells that have a record in the store are not run again, unless --rerun names their task or method. A training
    that was stopped resumes from its last checkpoint when you give the same command again, unless its code has
    changed. Cells that failed are tried again, after all others.

    \b
    Exit codes:
      0    all cells are done, or (with --engine slurm) submitted
      1    a cell failed
      2    the request is wrong; nothing was run
      75   stopped by SIGTERM or SIGUSR1: this process, or (with --isolate or
           --jobs) the process of a chain; give the same command again
      130  stopped by Ctrl-C; give the same command again
    """  # noqa: D301  # click keeps the lines of a paragraph that begins with \b as they are
    with Stop().listening() as stop:  # before torch is imported, which takes seconds
        from bench_core.engines.ranks import follow_place, rank_place
        from bench_core.engines.sizes import expected_jobs, settle_jobs
        from bench_core.planning.changed_code import changed_code
        from bench_core.planning.plan import make_plan
        from bench_core.planning.recipe_lines import recipe_lines
        from bench_core.reports.pictures.kinds import check_pictures
        from bench_core.running.dry_run import cells_of, chain_commands, lists_cells, screen
        from bench_core.running.pending import begin_lines, missing
        from bench_core.running.progress import LogLines
        from bench_core.running.rerun import finish_moves, prepare_rerun
        from bench_core.store import Store

        element = pop_element(options)
        setting = make_setting(options, stop, only_chain, element)
        for_one_chain = only_chain is not None or element is not None
        store = Store(options.pop("store"))
        if commands and (not dry_run or setting.engine != "local"):
            raise RequestError(
                "--commands prints lines for other schedulers: add --dry-run, and leave out --engine slurm, which "
                "submits chains by itself."
            )
        # A process that runs one chain finds the data that the process before it has downloaded.
        download = download and not dry_run and not for_one_chain
        request, registry = make_request({**options, "device": planning_device(setting, element)}), load(ctx)
        plan = make_plan(request, registry, download=download, check_data=check_data and not for_one_chain)
        place = rank_place(setting.ranks)
        if place and place.rank:
            if not dry_run:
                follow_place(plan, place, setting)
            return
        check_pictures(plan.board)
        if retry_failed:
            plan = _unfinished_part(plan, store)
            if not plan.chains:
                say(f"nothing of this request failed before in {store.path}; nothing to retry", err=True)
                return
        if (
            not quiet
            and not commands
            and not for_one_chain
            and not (dry_run and not as_json and not lists_cells(plan, every_cell))
        ):
            for line in recipe_lines(plan):
                LogLines().log(line)
        if setting.rerun and not dry_run and not for_one_chain:
            finish_moves(store)
        rerun = prepare_rerun(plan, store, setting.rerun, registry, request.data_root)
        trains_only = element is not None and element.part in ("train", "source")
        to_run = rerun.plan
        if only_chain is not None and not trains_only:
            to_run = _one_chain(to_run, only_chain, without_cell)
        if not for_one_chain:
            for line in (*rerun.remarks, *(changed.line for changed in changed_code(to_run, rerun.store))):
                say(line, err=True)
        if dry_run:
            if commands:
                for line in chain_commands(to_run, rerun.store, ctx.meta[WORDS]):
                    say(line)
                return
            if as_json:
                say(json.dumps(cells_of(to_run, store, store.records(), rerun.again), indent=1))
                return
            width = terminal_width()
            chains = [chain for chain in to_run.chains if missing(chain, rerun.store)]
            jobs = expected_jobs(settle_jobs(setting, chains, rerun.store), chains)
            for line in screen(to_run, store, rerun.again, width=width, jobs=jobs, every_cell=every_cell):
                say(line)
            return
        for line in [] if quiet or for_one_chain else begin_lines(to_run, rerun.store):
            say(line, err=True)
        unfinished = run_with_engine(
            to_run, rerun.store, setting, ctx.meta[WORDS], quiet=quiet, only_chain=only_chain, element=element
        )
        if setting.engine == "slurm" and not setting.wait and any(missing(chain, store) for chain in plan.chains):
            return
        if not for_one_chain:
            for line in rerun.finish():
                say(line, err=True)
            _print_outcome(plan, store, as_json)
            _print_unfinished(plan, store, unfinished)
    ctx.exit(_exit_code(unfinished))


def _unfinished_part(plan: "Plan", store: "Store") -> "Plan":
    """Return the part of a plan that was tried before and has no record."""
    from bench_core.planning.chains import narrowed

    return narrowed(plan, lambda _, cell: store.last_attempt(cell.key) is not None and store.record(cell.key) is None)


def _one_chain(plan: "Plan", key: str, without_cell: Sequence[str]) -> "Plan":
    """Return the part of a plan that is one chain, without the cells whose keys are in `without_cell`.

    Raises:
        RequestError: The plan has no such chain.
    """
    from bench_core.planning.chains import narrowed

    part = narrowed(plan, lambda chain, cell: chain.key == key and cell.key not in without_cell)
    if not part.chains:
        raise RequestError(
            f"chain {key[:12]} is not in this request any more: code or data changed during the run; start again."
        )
    return part


def _print_outcome(plan: "Plan", store: "Store", as_json: bool) -> None:
    """Print the table of the request's cells, write pictures and page of the store, and print where they are.

    A store that is read-only still has all that was asked for: its page and pictures are left as they are.
    """
    from bench_core.reports.tables.build import build
    from bench_core.reports.tables.cell_states import plan_entries
    from bench_core.reports.tables.entries import entries_of
    from bench_core.reports.tables.frames import tidy
    from bench_core.reports.tables.render import render
    from bench_core.reports.tables.screen import Screen, on_screen
    from bench_core.store.done_cells import last_attempts

    records = store.records()
    entries = plan_entries(plan, records, last_attempts(store, (cell.key for cell in plan.cells)))
    if as_json:
        frame = tidy([entry.finished_record for entry in entries if entry.finished_record is not None])
        say(frame.to_json(orient="records", indent=1, double_precision=15))
        return
    tables = build(entries, hold_encoder=bool(plan.board.name))
    say(on_screen(tables, Screen(terminal_width(), protocols=False, cost=False)))
    try:
        for path in _draw_pictures(plan, entries, store):
            say(f"picture: {path}")
        page = None
        if len(records) <= _LARGEST_PAGE:
            all_entries = entries_of(records, store.attempts())
            page = store.write_page(render(build(all_entries, hold_encoder=False), "md"))
    except (OSError, RequestError) as error:
        if not _is_read_only(error):
            raise
        say(f"{store.path} is read-only: its page and pictures stay as they are", err=True)
        say(f"records: {store.path / 'cells'}")
    else:
        say(f"records: {store.path / 'cells'}")
        say(f"page:    {page or f'none of more than {_LARGEST_PAGE:,} records; bench table --format md writes one'}")


def _is_read_only(error: Exception) -> bool:
    """Return whether an error says that nobody may write here; a full or broken disk is another matter."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM, errno.EROFS)


def _draw_pictures(plan: "Plan", entries: "Sequence[Entry]", store: "Store") -> list[Path]:
    """Draw the board's pictures into the store and return their files; say on stderr which cannot be drawn, and why.

    Those that show the board and no record are left to `bench publish`.
    """
    from bench_core.reports.pictures.draw import draw
    from bench_core.reports.pictures.kinds import get_kind

    paths = []
    for picture in plan.board.pictures.values():
        path = store.path / f"{picture.name}.svg"
        try:
            if get_kind(picture.kind).of_board:
                continue
            draw(entries, picture, path)
            paths.append(path)
        except RequestError as error:
            say(f"no picture {picture.name!r}: {error}", err=True)
    return paths


def _print_unfinished(plan: "Plan", store: "Store", unfinished: "Sequence[UnfinishedCell]") -> None:
    """Print on stderr why cells did not finish, and how many cells of the plan have which state."""
    from bench_core.reports.tables.cell_states import plan_entries
    from bench_core.running.failures import describe, failed_cells
    from bench_core.store.done_cells import last_attempts

    if not unfinished:
        return
    failed = failed_cells(unfinished)
    for line in describe(failed):
        say(f"failed: {line}", err=True)
    for line in describe([cell for cell in unfinished if cell not in failed]):
        say(f"not done: {line}", err=True)
    attempts = last_attempts(store, (cell.key for cell in plan.cells))
    states = [entry.state for entry in plan_entries(plan, store.records(), attempts)]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    say(f"{len(states)} cells: {counts}", err=True)


def _exit_code(unfinished: "Sequence[UnfinishedCell]") -> int:
    """Return 0 if all cells are done, 1 if a cell failed, and 75 if cells were only preempted."""
    from bench_core.running.failures import failed_cells

    if failed_cells(unfinished):
        return 1
    return CALL_AGAIN if unfinished else 0
