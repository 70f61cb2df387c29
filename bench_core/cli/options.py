"""Options that several commands share: the request, --store, --leaderboards, --readme, --data-root, and the plugins."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bench_core.planning.request import Request
    from bench_core.plugins import Registry


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


def names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    """Parse names between commas: `nac,sela` -> ["nac", "sela"]."""
    if value is None:
        return None
    parts = [name.strip() for name in value.split(",")]
    if not all(parts):
        raise click.BadParameter(f"{value!r} has an empty name; write them like nac,sela")
    return parts


def seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """Parse seeds between commas: `0,1,2` -> [0, 1, 2]."""
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", value):
        raise click.BadParameter(f"{value!r} must be whole numbers from 0, like 0,1,2")
    return [int(seed) for seed in value.split(",")]


def request_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select cells; they are the same for `run` and `why`."""
    options = [
        click.option(
            "--methods", callback=names, metavar="A,B",
            help="Methods to train, or 'all'. Default: those of the board.",
        ),
        click.option(
            "--tasks", callback=names, metavar="A,B",
            help="Tasks to evaluate, or 'all'. Default: those of the board.",
        ),
        click.option(
            "--datasets", callback=names, metavar="A,B",
            help="Datasets to train on. Default: those of the board, else digits.",
        ),
        click.option(
            "--encoders", callback=names, metavar="A,B",
            help="Encoders to train. Default: those of the board, else convnet.",
        ),
        click.option(
            "--seeds", callback=seeds, metavar="0,1",
            help="Seeds; each is one training. Default: those of the board, else 0.",
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
            "--precision", type=click.Choice(["auto", "fp32", "bf16"]),
            help="Arithmetic of training. Default: the board's, else auto: bf16 on CUDA and fp32 elsewhere.",
        ),
        click.option(
            "--set", "settings", multiple=True, metavar="NAME.PARAM=VALUE",
            help="Set a parameter to a TOML value: nac.flip=0.2, nac.recipe.learning_rate=1e-3. `bench show NAME` "
            "lists the parameters of NAME.",
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
