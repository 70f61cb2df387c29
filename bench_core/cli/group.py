"""The command group `bench`: its help, its exit codes, and the commands `check` and `completion`.

Nothing heavy is imported before a command needs it.
"""

import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench_core.cli.chains import convert, embed, path
from bench_core.cli.claims import claims
from bench_core.cli.compare import compare
from bench_core.cli.engine_options import WORDS
from bench_core.cli.eval import eval_
from bench_core.cli.look import list_, show, why
from bench_core.cli.new import new
from bench_core.cli.options import DATA_ROOT, Command, load
from bench_core.cli.options import names as parse_names
from bench_core.cli.program import run_as_program
from bench_core.cli.records import merge, verify
from bench_core.cli.rm import rm
from bench_core.cli.run import run
from bench_core.cli.serve import serve
from bench_core.cli.site import site
from bench_core.cli.status import logs, status
from bench_core.cli.tables import export, plot, publish, table
from bench_core.cli.tune import tune
from bench_core.errors import BenchError, RequestError, did_you_mean, one_line
from bench_core.output import own_stdout, say
from bench_core.store.claims import LostClaim
from bench_core.training.stopping import CALL_AGAIN, Stopped

if TYPE_CHECKING:
    from bench_core.plugins import Registry

# Before torch is imported: OpenMP's threads that wait for work give up their core soon, not after millions of turns.
# On a busy machine small networks otherwise stall; docs/decisions.md says what was measured.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

_STOPPED = "stopped; what was finished is kept, and the same command resumes from there"
_DISK_ERRORS = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN,
    errno.ENODEV, errno.ENXIO, errno.ENOLCK,
)  # fmt: skip
_HEADINGS = {  # of `bench --help`, with the commands below each
    "Run": ("run", "tune", "eval", "why", "status", "logs", "rm"),
    "Look": ("list", "show", "table", "plot"),
    "Compare": ("compare", "claims", "verify"),
    "Take home": ("path", "embed", "convert"),
    "Publish": ("publish", "site", "serve", "export", "merge"),
    "Author": ("new", "check", "completion"),
}


class Bench(click.Group):
    """The group of all commands; shows errors that are meant for users as one plain line.

    Exit code 2 for a wrong request, 1 for any other BenchError or an error of the disk. Any other exception is a defect
    of the code and keeps its traceback.
    """

    command_class = Command

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run as a program and end the process. Tests call `main`, which leaves the streams of the process alone."""
        sys.exit(run_as_program(lambda: self.main(*args, **options)))

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line and raise SystemExit; messages of click are printed as all others are."""
        try:
            code = super().main(*args, **{**options, "standalone_mode": False})
        except click.ClickException as error:
            message = io.StringIO()
            _with_suggestion(error).show(message)
            say(message.getvalue(), err=True, nl=False)
            code = error.exit_code
        except click.Abort:  # Ctrl-C before a command began
            code = 130
        sys.exit(code or 0)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words that were typed: a chain that runs in its own process gets the same ones."""
        ctx.meta[WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command; while it runs, stdout is its own, and what plugins print goes to stderr."""
        if cmd.callback is not None:
            cmd.callback = own_stdout()(cmd.callback)
        super().add_command(cmd, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the first word; an unknown one ends with the most similar one, whatever its case."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}{did_you_mean(args[0], self.commands)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under headings, each with its short help."""
        for heading, names in _HEADINGS.items():
            rows = [(name, self.commands[name].get_short_help_str(limit=80)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and turn errors that are meant for users into messages and exit codes."""
        try:
            return super().invoke(ctx)
        except BenchError as error:
            shown = WrongRequest if isinstance(error, RequestError) else click.ClickException
            raise shown(one_line(str(error))) from error
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            where = error.filename or "the disk"
            raise click.ClickException(one_line(f"{where}: {error.strerror}. What was finished is kept.")) from error
        except KeyboardInterrupt:
            say(_STOPPED, err=True)
            ctx.exit(130)
        except Stopped as stopped:
            say(f"{stopped}: {_STOPPED}", err=True)
            ctx.exit(stopped.code)
        except LostClaim:
            say("another process has taken over this chain, as this one slept; the same command goes on", err=True)
            ctx.exit(CALL_AGAIN)


def _with_suggestion(error: click.ClickException) -> click.ClickException:
    """Return an error of click; an unknown option ends with the most similar one, whatever its case."""
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return error
    options = [option for parameter in error.ctx.command.get_params(error.ctx) for option in parameter.opts]
    meant = did_you_mean(error.option_name, options)
    return click.UsageError(f"No such option {error.option_name!r}{meant}", error.ctx)


class WrongRequest(click.ClickException):
    """Message for a request that cannot be done as it was given."""

    exit_code = 2


@click.group(cls=Bench, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bench-core", prog_name="bench")
@click.option(
    "-p", "plugins", multiple=True, metavar="no:NAME", help="Do not load this plugin, or the plugins of this package."
)
@click.pass_context
def main(ctx: click.Context, plugins: tuple[str, ...]) -> None:
    """Train self-supervised methods once, embed once, run every task, write leaderboards.

    A first run: bench run --methods nac,sela --tasks linear,retrieval,hashing
    """
    for plugin in plugins:
        if not plugin.startswith("no:"):
            raise click.BadParameter(f"{plugin!r} must be no:NAME, for example -p no:nac", param_hint="-p")
    ctx.obj = [plugin.removeprefix("no:") for plugin in plugins]


@main.command()
@click.argument("names", nargs=-1, metavar="[NAME_OR_PACKAGE...]")
@click.option(
    "--datasets",
    multiple=True,
    callback=parse_names,
    metavar="A,B",
    help="Check data of your own: read all files of these datasets again, and compare their splits with what they say.",
)
@click.option("--set", "settings", multiple=True, metavar="NAME.PARAM=VALUE", help="Set a parameter of these datasets.")
@DATA_ROOT
@click.pass_context
def check(
    ctx: click.Context,
    names: Sequence[str],
    datasets: Sequence[str] | None,
    settings: Sequence[str],
    data_root: Path | None,
) -> None:
    """Check plugins, or data of your own.

    Tries all that the contract asks of a plugin, on tiny data on the CPU, and says which capabilities it has and, for
    each failure, the line to look at. NAME_OR_PACKAGE is a component, an id or a package. With --datasets, reads your
    own data instead; of webdataset that makes the index. Exit code: 0 all checks passed, 1 a check failed.
    """
    from bench_core.conformance import check_component, select
    from bench_core.conformance.check import capabilities

    if sys.flags.optimize > 1:
        raise RequestError("python -OO drops docstrings, which are checked, too; run without -OO and PYTHONOPTIMIZE.")
    if not names and not datasets:
        raise click.UsageError("Missing argument 'NAME_OR_PACKAGE...', or --datasets NAME.", ctx)
    registry = load(ctx)
    failed = _check_own_data(datasets or (), settings, data_root, registry)
    for component in [c for name in names for c in select(name, registry)]:
        for outcome in check_component(component, registry):
            failed += outcome.error is not None
            mark = "FAIL" if outcome.error else "ok  " if outcome.tried else "skip"
            say(
                f"{mark}  {component.word} {component.id}: {outcome.check}"
                + (f": {outcome.error}" if outcome.error else "")
                + (f" (look at {outcome.where})" if outcome.where else "")
            )
        if can := capabilities(component):
            say(f"      {component.word} {component.id} can: {', '.join(can)}")
    if failed:
        ctx.exit(1)


def _check_own_data(names: Sequence[str], settings: Sequence[str], root: Path | None, registry: "Registry") -> int:
    """Check datasets with parameters of one's own, print what comes out, and return the number of failures."""
    from bench_core.cli.own_data import check_data, own_datasets
    from bench_core.data import default_data_root
    from bench_core.planning.settings import parse_settings

    failed = 0
    for dataset in own_datasets(names, parse_settings(settings), registry):
        for sentence, fault in check_data(dataset, root or default_data_root()):
            failed += fault is not None
            say(f"{'FAIL' if fault else 'ok  '}  dataset {dataset.name}: {fault or sentence}")
    return failed


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a script for shell completion.

    For example: bench completion bash >> ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    cls = get_completion_class(shell)
    assert cls is not None  # click ships all three
    say(cls(main, {}, "bench", "_BENCH_COMPLETE").source())


_COMMANDS = (
    new, eval_, run, tune, why, list_, show, table, plot, publish, site, serve, export, merge, compare, claims, verify,
    status, logs, rm, path, embed, convert,
)  # fmt: skip
for command in _COMMANDS:
    main.add_command(command)
