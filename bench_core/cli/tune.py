"""`bench tune`: try values for every row of a board on a part of train, and write the best into tuned.toml."""

import shlex
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench_core.cli.engine_options import engine_options, make_setting, planning_device, run_with_engine
from bench_core.cli.options import DATA_ROOT, STORE, Command, load, names, seeds, terminal_width
from bench_core.errors import RequestError
from bench_core.files import write_text
from bench_core.output import say
from bench_core.planning.lines import hanging
from bench_core.training.stopping import CALL_AGAIN, Stop

if TYPE_CHECKING:
    from bench_core.planning.chains import Plan
    from bench_core.planning.request import Request
    from bench_core.planning.tuning import TunedRow
    from bench_core.plugins import Registry
    from bench_core.running.setting import RunSetting
    from bench_core.store import Store
    from bench_core.tuning.search import Search

_EXAMPLES = """\b
Examples:
  bench tune --board digits --methods nac,simclr --trials 4 --epochs 20
  bench tune --board digits --jobs 4
"""


@click.command(cls=Command, epilog=_EXAMPLES)
@click.option(
    "--board", required=True, metavar="FILE_OR_NAME",
    help="Board whose rows are tuned: a name of `bench list boards`, or a board.toml. Its table [tuning] gives what "
    "the options below leave out.",
)  # fmt: skip
@click.option(
    "--methods", multiple=True, callback=names, metavar="A,B",
    help="Rows to tune, or 'all'. Default: all rows of the board that are trained.",
)  # fmt: skip
@click.option(
    "--trials", type=click.IntRange(1), metavar="N",
    help="Trials of each row, the row as it is among them. Default: the board's, else 12.",
)  # fmt: skip
@click.option(
    "--validation", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="FRACTION",
    help="Score trials on this part of the train split, which they are not trained on. Default: the board's, else 0.2.",
)  # fmt: skip
@click.option(
    "--epochs", type=click.IntRange(1),
    help="Epochs of a trial; warm-ups get shorter, too. Default: those of [tuning], else the board's.",
)  # fmt: skip
@click.option(
    "--seeds", "seed_numbers", multiple=True, callback=seeds, metavar="0,1|0-4",
    help="Seeds of each trial, of which its score is the mean. Default: the board's, else 0.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the outcome there. Default: tuned.toml beside the board. Rows that are in it stay.",
)  # fmt: skip
@STORE
@DATA_ROOT
@engine_options
@click.option("--retry-failed", is_flag=True, help="Run failed trials again. By default they stay, and count as worst.")
@click.option("--download", is_flag=True, help="Download datasets that are missing. By default they are an error.")
@click.option(
    "--dry-run", is_flag=True,
    help="Print what would run, and the time that finished trials let expect. Nothing is run or written.",
)  # fmt: skip
@click.option("--quiet", is_flag=True, help="Show no progress. By default it is on stderr.")
@click.pass_context
def tune(
    ctx: click.Context,
    /,
    board: str,
    methods: Sequence[str] | None,
    out: Path | None,
    store: Path,
    data_root: Path | None,
    retry_failed: bool,
    download: bool,
    dry_run: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Tune the rows of a board on a part of train.

    Every row gets the same number of trials, and the values of its best one are written to tuned.toml. A trial is a
    row with other values: learning rate and weight decay, and what its method declares as decisive. Trial 0 is the row
    as it is. Trials train on a part of train and are scored on the rest of it; the test split stays closed. They are
    cells in STORE/tuning/BOARD: kept, resumed, shared by several processes, and never published.

    A board takes the values with `tuned = "tuned.toml"`.

    \b
    Exit codes:
      0    every row came out, or (with --engine slurm) trials are submitted
      1    a row has no trial that finished
      2    the request is wrong; nothing was run
      75   stopped, or trials are left; give the same command again
      130  stopped by Ctrl-C; give the same command again
    """  # noqa: D301  # click keeps the lines of a paragraph that begins with \b as they are
    given = _given(options)
    with Stop().listening() as stop:  # before torch is imported, which takes seconds
        from bench_core.data import default_data_root
        from bench_core.planning.plan import make_plan
        from bench_core.planning.request import Request
        from bench_core.tuning.search import make_search, trial_store, tuned_path

        setting = make_setting({**options, "rerun": ()}, stop, None)
        registry = load(ctx)
        search, path = make_search(board, methods, given, registry), tuned_path(board, out)
        trials = trial_store(store, search.board)
        for name, reason in search.left_out.items() if methods is None and not quiet else ():
            say(f"{name} is not tuned: {reason}", err=True)
        with _board_file(search, store, trials, dry_run) as board_file:
            request = Request(
                board=str(board_file),
                methods=_trial_names(search, search.asked),
                device=planning_device(setting, None),
                data_root=data_root or default_data_root(),
            )
            plan = make_plan(request, registry, download=download and not dry_run)
            if dry_run:
                _print_plan(_unfinished(plan, trials, retry_failed), trials, setting)
                return
            session = _Session(
                search=search,
                plan=plan,
                request=request,
                setting=setting,
                trials=trials,
                registry=registry,
                path=path,
                command=_command(board, given),
                blocked=[f"-pno:{name}" for name in ctx.obj or []],
                retry_failed=retry_failed,
                quiet=quiet,
            )
            code = session.run()
        _print_outcome(session.tuned, search, path, board)
    ctx.exit(code)


tune.params = [option for option in tune.params if option.name != "rerun"]  # a finished trial is never run again


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Return what replaces values of the board's [tuning], and remove it from the options."""
    given = {name: options.pop(name) for name in ("trials", "validation", "epochs")}
    given["seeds"] = tuple(dict.fromkeys(numbers)) if (numbers := options.pop("seed_numbers")) else None
    return {name: value for name, value in given.items() if value is not None}


def _command(board: str, given: dict[str, Any]) -> str:
    """Return the command that tunes the whole board like this, without what changes no number."""
    words = ["bench", "tune", "--board", board]
    for name, value in given.items():
        words += [f"--{name}", ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return shlex.join(words)


def _trial_names(search: "Search", rows: Sequence[str]) -> list[str]:
    return [trial.name for name in rows for trial in search.rows[name].rows.values()]


@contextmanager
def _board_file(search: "Search", store: Path, trials: "Store", dry_run: bool) -> Iterator[Path]:
    """Yield the file of the board of trials: in their store, or for a dry run in a folder that goes."""
    from bench_core.tuning.search import BOARD, written_board

    if not dry_run:
        with written_board(search, store, trials) as path:
            yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / BOARD
        write_text(path, search.text)
        yield path


def _unfinished(plan: "Plan", trials: "Store", retry_failed: bool) -> "Plan":
    """Return the part of a plan that has no record and, unless they are tried again, has not failed."""
    from bench_core.planning.chains import narrowed
    from bench_core.store.done_cells import done_keys, failed_cells

    keys = [cell.key for cell in plan.cells if cell.skip is None]
    over = done_keys(trials, keys)
    if not retry_failed:
        over |= set(failed_cells(trials, (key for key in keys if key not in over)))
    return narrowed(plan, lambda _, cell: cell.skip is None and cell.key not in over)


def _print_plan(plan: "Plan", trials: "Store", setting: "RunSetting") -> None:
    from bench_core.engines.sizes import expected_jobs, settle_jobs
    from bench_core.running.dry_run import cells_of, group_lines, summary_lines

    records, width = trials.records(), terminal_width()
    jobs = expected_jobs(settle_jobs(setting, plan.chains, trials), plan.chains)
    cells = cells_of(plan, trials, records, set())
    for line in (*group_lines(cells, width), *summary_lines(plan, trials, records, cells, jobs)):
        say(hanging("", line, width, indent=9))


@dataclass
class _Session:
    """Runs the trials row by row, and writes each row as it comes out.

    Attributes:
        search: The rows and their trials.
        plan: All trials that are asked for.
        request: The request of the plan.
        setting: Where and how chains run.
        trials: The store of the trials.
        registry: The plugins.
        path: File of the outcome.
        command: Command that is written into it.
        blocked: Options of `bench` that leave out plugins, for processes of their own.
        retry_failed: Whether failed trials are run again.
        quiet: Whether no progress is shown.
        tuned: Rows that came out.
    """

    search: "Search"
    plan: "Plan"
    request: "Request"
    setting: "RunSetting"
    trials: "Store"
    registry: "Registry"
    path: Path
    command: str
    blocked: Sequence[str]
    retry_failed: bool
    quiet: bool
    tuned: "dict[str, TunedRow]" = field(default_factory=dict)

    def run(self) -> int:
        """Run what is left of all asked rows, and return the exit code."""
        from bench_core.tuning.outcome import check_metrics

        code, first = 0, list[str]()
        parts = [[name] for name in self.search.asked]
        if self.setting.engine == "slurm":  # whose elements may all run at once
            parts = [self.search.asked]
        else:  # they show which metrics there are, and which rows have codes, before other trials are measured
            first = [name for name in _trial_names(self.search, self.search.asked) if name.endswith("-0")]
            self._run(first, self._tasks(self.search.asked))
            check_metrics(self.trials.records(), self.search.tuning)
        for part in parts:
            self._run([name for name in _trial_names(self.search, part) if name not in first], self._tasks(part))
            check_metrics(self.trials.records(), self.search.tuning)
            for name in part:
                code = max(code, self._finish(name), key=(0, CALL_AGAIN, 1).index)
        is_submitted = self.setting.engine == "slurm" and not self.setting.wait
        return 0 if is_submitted and code == CALL_AGAIN else code

    def _run(self, names: Sequence[str], tasks: Sequence[str]) -> None:
        """Run what is left of these trials; a process of its own gets them as arguments of `bench run`."""
        from bench_core.engines.command_line import run_command

        left = _unfinished(self._part(names, tasks), self.trials, self.retry_failed)
        if not left.chains:
            return
        if not self.quiet:
            for line in self._begin_lines({chain.method.name for chain in left.chains}):
                say(line, err=True)
        words = run_command(replace(self.request, methods=names, tasks=tasks), self.setting, self.trials.path)
        words = [*self.blocked, *words]
        run_with_engine(left, self.trials, self.setting, words, quiet=self.quiet, only_chain=None)

    def _begin_lines(self, names: Collection[str]) -> Iterator[str]:
        """Say how many trials of each row are run, and over which space."""
        for name, of_row in self.search.rows.items():
            if count := sum(trial.name in names for trial in of_row.rows.values()):
                yield f"{name}: {count} of {len(of_row.values)} trials to run, over {', '.join(of_row.space)}"

    def _part(self, names: Sequence[str], tasks: Sequence[str]) -> "Plan":
        """Return the part of the plan that is these trials and tasks."""
        from bench_core.planning.chains import narrowed

        return narrowed(self.plan, lambda chain, cell: chain.method.name in names and cell.names["task"] in tasks)

    def _tasks(self, rows: Sequence[str]) -> list[str]:
        """Return the tasks that the metrics of these rows need."""
        from bench_core.tuning.outcome import metrics_left

        of_rows = [self.search.rows[name] for name in rows]
        metrics = [
            metric
            for of_row in of_rows
            for metric in metrics_left(of_row, self.plan, self.trials, self.search.tuning, self.registry)
        ]
        return list(dict.fromkeys(metric.partition(":")[0] for metric in metrics))

    def _finish(self, name: str) -> int:
        """Choose among a row's trials and write it down; return 0, or the exit code where it did not come out."""
        from bench_core.planning.tuning import Tuned
        from bench_core.tuning.outcome import find_trials, outcome
        from bench_core.tuning.search import JOURNAL, LOCK
        from bench_core.tuning.study import add_to_study
        from bench_core.tuning.tuned_file import add_row, held

        part = self._part(_trial_names(self.search, [name]), self._tasks([name]))
        found = find_trials(self.search.rows[name], part, self.trials)
        if not found.is_finished:
            return CALL_AGAIN
        try:
            row = outcome(found, self.search.tuning, self.registry)
        except RequestError as error:
            say(f"{name} did not come out: {error}", err=True)
            return 1
        lock = self.trials.path / LOCK
        head = Tuned(self.command, self.search.board.tuning, {})
        add_row(self.path, name, row, head, list(self.search.board.methods), lock)
        with held(lock):
            add_to_study(self.trials.path / JOURNAL, self.search.rows[name], row)
        self.tuned[name] = row
        for number, reason in [] if self.quiet else found.failed_trials():
            say(f"{name}: trial {number} failed, which counts as worst: {reason}", err=True)
        return 0


def _print_outcome(tuned: "dict[str, TunedRow]", search: "Search", path: Path, board: str) -> None:
    """Print a table of what came out, and what to do next."""
    from bench_core.planning.board_files import board_file
    from bench_core.tuning.outcome_lines import outcome_lines

    left = [name for name in search.asked if name not in tuned]
    for line in outcome_lines(tuned, terminal_width()):
        say(line)
    if left:
        say(f"not finished: {', '.join(left)}; the same command goes on, and writes what has ended", err=True)
    if not tuned:
        return
    say(f"written: {path}")
    file, steps = board_file(board), []
    if path.resolve().parent != file.resolve().parent:
        steps.append(f"copy {path} beside {file}")
    if not _names_tuned_values(board):
        steps.append(f'write into {file}: tuned = "{path.name}"')
    for number, step in enumerate([*steps, f"bench run --board {shlex.quote(board)}"]):
        say(f"{'next:' if number == 0 else 'then:'}    {step}")


def _names_tuned_values(board: str) -> bool:
    """Return whether a board takes its values from a file, be it there or not."""
    from bench_core.planning.boards import load_board

    try:
        return load_board(board).tuned is not None
    except RequestError:
        return True
