"""The options that say which cells are meant, and the Request they make."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bench_core.planning.request import Request
    from bench_core.plugins import Registry


def names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    """`nac,sela` -> ["nac", "sela"]."""
    if value is None:
        return None
    found = [name.strip() for name in value.split(",")]
    if not all(found):
        raise click.BadParameter(f"{value!r} has an empty name; write them like nac,sela")
    return found


def seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """`0,1,2` -> [0, 1, 2]."""
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", value):
        raise click.BadParameter(f"{value!r} must be whole numbers from 0, like 0,1,2")
    return [int(seed) for seed in value.split(",")]


def a_number(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Not NaN, which is in every range and reached by no time that passes."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number of seconds")
    return value


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say which cells are meant; the same for `run` and `why`."""
    options = [
        click.option("--methods", callback=names, metavar="A,B", help="Methods, or 'all'. Default: the board's."),
        click.option("--tasks", callback=names, metavar="A,B", help="Tasks, or 'all'. Default: the board's."),
        click.option("--datasets", callback=names, metavar="A,B", help="Data sets. Default: the board's (digits)."),
        click.option("--encoders", callback=names, metavar="A,B", help="Encoders. Default: the board's (convnet)."),
        click.option("--seeds", callback=seeds, metavar="0,1", help="Default: the board's if --board, else 0."),
        click.option("--board", metavar="FILE_OR_NAME", help="A shipped board or a board.toml: what is held fixed."),
        click.option("--epochs", type=click.IntRange(1), help="Instead of the board's."),
        click.option("--batch-size", type=click.IntRange(1), help="Instead of the board's."),
        click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), help="auto: bf16 on CUDA, else fp32."),
        click.option(
            "--set", "settings", multiple=True, metavar="NAME.PARAM=VALUE",
            help="A parameter, as TOML: nac.flip=0.2, nac.recipe.learning_rate=1e-3. `bench show NAME` lists them.",
        ),
        click.option(
            "--sweep", "sweeps", multiple=True, metavar="NAME.PARAM=A,B",
            help="A row for each value: noisy_dim.noise=0,0.1,0.3, or vae.init=none,nac. Several: all combinations.",
        ),
        click.option("--data-root", type=click.Path(path_type=Path), help="Where data sets lie. Default: BENCH_DATA."),
        click.option("--store", default="runs", show_default=True, type=click.Path(path_type=Path), help="Records."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def make_request(asked: dict[str, Any]) -> "Request":
    """A Request from the options of `request_options`."""
    from bench_core.data import default_data_root
    from bench_core.planning.request import Request
    from bench_core.planning.settings import parse_settings, parse_sweeps

    settings, sweeps = parse_settings(asked.pop("settings")), parse_sweeps(asked.pop("sweeps"))
    root = asked.pop("data_root") or default_data_root()
    return Request(settings=settings, sweeps=sweeps, data_root=root, **asked)


def load(ctx: click.Context) -> "Registry":
    """The plugins, without those left out by -p."""
    from bench_core.plugins import load_plugins

    return load_plugins(block=ctx.obj or [])


STORE = click.option("--store", default="runs", show_default=True, type=click.Path(path_type=Path), help="Records.")


BOARDS = click.option(
    "--leaderboards",
    default="leaderboards",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Published boards.",
)
