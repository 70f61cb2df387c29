"""Options that several commands share: the request, --store, --leaderboards, --readme, --data-root, and the plugins."""

import gc
import re
import shutil
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import click

if TYPE_CHECKING:
    from bench_core.planning.request import Request
    from bench_core.plugins import Registry

_Options = ParamSpec("_Options")

_SEEDS = re.compile(r"[0-9]{1,9}(-[0-9]{1,9})?(,[0-9]{1,9}(-[0-9]{1,9})?)*")
_MOST_SEEDS = 10_000  # of one range

STORE = click.option(
    "--store",
    default="runs",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder with the result records.",
)
BOARDS = click.option(
    "--leaderboards", default="leaderboards", show_default=True, type=click.Path(path_type=Path),
    help="Folder with the published boards.",
)  # fmt: skip
README = click.option(
    "--readme", default="README.md", show_default=True, type=click.Path(path_type=Path),
    help="Page with tables of boards; docs/ lies beside it.",
)  # fmt: skip
DATA_ROOT = click.option(
    "--data-root", type=click.Path(path_type=Path),
    help="Folder with the datasets. Default: the variable BENCH_DATA, else a cache folder.",
)  # fmt: skip


class Command(click.Command):
    """A command that refuses an option given twice, of which click takes the last in silence.

    Options that are lists, such as --methods and --set, may be given several times; flags may, too.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; an option given twice is a UsageError."""
        if not ctx.resilient_parsing:  # completion asks about an unfinished line
            _, _, given = self.make_parser(ctx).parse_args(list(args))
            for param in given:
                is_single = isinstance(param, click.Option) and not (param.multiple or param.is_flag or param.count)
                if is_single and given.count(param) > 1:
                    raise click.UsageError(f"{param.opts[0]} is given {given.count(param)} times; give it once.", ctx)
        return super().parse_args(ctx, args)


def reads_a_store(command: Callable[_Options, None]) -> Callable[_Options, None]:
    """Run a command without Python's search for cycles of objects.

    A large store becomes millions of objects which stay, and going through them again and again takes a quarter of the
    time.
    """

    @wraps(command)
    def run(*args: _Options.args, **options: _Options.kwargs) -> None:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            command(*args, **options)
        finally:
            if was_enabled:
                gc.enable()

    return run


def terminal_width() -> int:
    """Return the characters of a line: those of the terminal, or of COLUMNS, or 100."""
    return shutil.get_terminal_size((100, 24)).columns


def names(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> list[str] | None:
    """Parse names between commas, and join those of an option given several times.

    `--methods nac,sela --methods vae` -> ["nac", "sela", "vae"]; None where the option is not given.
    """
    parts = [name.strip() for value in values for name in value.split(",")]
    if not all(parts):
        wrong = next(value for value in values if not all(map(str.strip, value.split(","))))
        raise click.BadParameter(f"{wrong!r} has an empty name; write them like nac,sela")
    return parts or None


SHOWN_BOARDS = click.option(
    "--board", "boards", multiple=True, callback=names, metavar="A,B",
    help="Only these published boards, and no store unless --store names it. Default: all.",
)  # fmt: skip


def seeds(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> list[int] | None:
    """Parse seeds and ranges of seeds between commas: `0-2,7` -> [0, 1, 2, 7]; None where the option is not given."""
    parsed: list[int] = []
    for value in values:
        if not _SEEDS.fullmatch(value):
            raise click.BadParameter(f"{value!r} must be whole numbers from 0, like 0,1,2 or 0-4")
        for part in value.split(","):
            first, _, last = part.partition("-")
            parsed += _seed_range(int(first), int(last or first), part)
    return parsed or None


def epochs_of(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Parse `epochs=10,20`: (10, 20); nothing where the option is not given."""
    if value is None:
        return ()
    name, _, numbers = value.partition("=")
    parts = numbers.split(",")
    if name.strip() != "epochs" or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{value!r} must be epochs from 1, like epochs=10,20,50")
    return tuple(int(part) for part in parts)


def _seed_range(first: int, last: int, typed: str) -> range:
    if last < first:
        raise click.BadParameter(f"{typed} goes backwards; write {last}-{first}")
    if last - first >= _MOST_SEEDS:
        raise click.BadParameter(f"{typed} has more than {_MOST_SEEDS} seeds, and each is one training")
    return range(first, last + 1)


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select cells; they are the same for `run` and `why`."""
    options = [
        click.option(
            "--methods", multiple=True, callback=names, metavar="A,B",
            help="Methods to train, or 'all'. Default: those of the board.",
        ),
        click.option(
            "--tasks", multiple=True, callback=names, metavar="A,B",
            help="Tasks to evaluate, or 'all'. Default: those of the board.",
        ),
        click.option(
            "--datasets", multiple=True, callback=names, metavar="A,B",
            help="Datasets to train on. Default: those of the board, else digits.",
        ),
        click.option(
            "--encoders", multiple=True, callback=names, metavar="A,B",
            help="Encoders to train. Default: those of the board, else convnet.",
        ),
        click.option(
            "--seeds", multiple=True, callback=seeds, metavar="0,1|0-4",
            help="Seeds, like 0,1,2 or 0-4; each is one training. Default: those of the board, else 0.",
        ),
        click.option(
            "--board", metavar="FILE_OR_NAME",
            help="Board that fixes what the options above leave out: a name of `bench list boards`, or a board.toml.",
        ),
        click.option(
            "--epochs", type=click.IntRange(1),
            help="Epochs of training. Default: the board's or method's; with fewer the warm-up is shorter, too.",
        ),
        click.option("--batch-size", type=click.IntRange(1), help="Batch size. Default: the board's or method's."),
        click.option(
            "--at", "at_epochs", callback=epochs_of, metavar="epochs=A,B",
            help="Measure each training after these epochs, in place of its end: epochs=10,20,50. Their weights are "
            "kept by --keep-every.",
        ),
        click.option(
            "--validation", type=click.FloatRange(0, 1, max_open=True), metavar="FRACTION",
            help="Hold this part of the train split out of training, and score on it in place of the test split, which "
            "stays closed: 0.2. Default: the board's, else 0, which scores on the test split.",
        ),
        click.option(
            "--precision", type=click.Choice(["auto", "fp32", "bf16"]),
            help="Arithmetic of training. Default: the board's, else auto: bf16 on CUDA and fp32 elsewhere.",
        ),
        click.option(
            "--set", "settings", multiple=True, metavar="NAME.PARAM=VALUE",
            help="Set a parameter to a TOML value: nac.flip=0.2, nac.recipe.learning_rate=1e-3; a parameter that is "
            "text takes what is typed. `bench show NAME` lists the parameters of NAME.",
        ),
        click.option(
            "--sweep", "sweeps", multiple=True, metavar="NAME.PARAM=A,B",
            help="Make one row for each value: noisy_dim.noise=0,0.1,0.3, or vae.init=none,nac. Several sweeps give "
            "all combinations.",
        ),
        DATA_ROOT,
        STORE,
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def make_request(asked: dict[str, Any]) -> "Request":
    """Build a Request from the options of `request_options`."""
    from bench_core.data import default_data_root
    from bench_core.planning.request import Request
    from bench_core.planning.settings import parse_settings, parse_sweeps

    settings, sweeps = parse_settings(asked.pop("settings")), parse_sweeps(asked.pop("sweeps"))
    root = asked.pop("data_root") or default_data_root()
    return Request(settings=settings, sweeps=sweeps, data_root=root, **asked)


def load(ctx: click.Context) -> "Registry":
    """Load the plugins, without those that -p leaves out."""
    from bench_core.plugins import load_plugins

    return load_plugins(block=ctx.obj or [])
