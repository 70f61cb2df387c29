"""`bench eval`: judge embeddings that any program has made. It is short for a call of `bench run`."""

from pathlib import Path

import click

from bench_core.cli.engine_options import WORDS
from bench_core.cli.options import DATA_ROOT, STORE, Command
from bench_core.cli.run import run

TASKS = "knn,linear,retrieval,clustering,geometry"  # they read embeddings alone


@click.command(name="eval", cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the row.")
@click.option(
    "--dataset",
    help="The features are those of this dataset, item by item: the row stands in its table. Default: the file's own "
    "items and labels make a table.",
)
@click.option("--tasks", default=TASKS, show_default=True, metavar="A,B", help="Tasks to evaluate.")
@click.option("--device", default="auto", show_default=True, help="Device, as for `bench run`.")
@click.option("--set", "settings", multiple=True, metavar="NAME.PARAM=VALUE", help="As for `bench run`.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@DATA_ROOT
@STORE
@click.pass_context
def eval_(
    ctx: click.Context,
    file: Path,
    name: str,
    dataset: str | None,
    tasks: str,
    device: str,
    settings: tuple[str, ...],
    quiet: bool,
    data_root: Path | None,
    store: Path,
) -> None:
    """Judge embeddings that any model made.

    FILE is npz with the arrays train, train_labels, test and test_labels, or parquet with the columns split, label and
    feature. Features are float (N, D); labels may be left out, and are compared where --dataset has them, too.

    \b
    The same as
      bench run --methods frozen --datasets arrays --encoders identity
      bench run --methods frozen --datasets DATASET --encoders stored
    """  # noqa: D301  # click keeps the lines of a paragraph that begins with \b as they are
    encoder = "stored" if dataset else "identity"
    path = f"{'stored' if dataset else 'arrays'}.path={file.expanduser().absolute()}"
    words = [
        *("--methods", "frozen", "--datasets", dataset or "arrays", "--encoders", encoder, "--tasks", tasks),
        *("--set", path, "--set", f"{encoder}.name={name}", "--device", device, "--store", str(store)),
        *(word for setting in settings for word in ("--set", setting)),
        *(["--data-root", str(data_root)] if data_root else []),
        *(["--quiet"] if quiet else []),
    ]
    ctx.meta[WORDS] = ("run", *words)
    with run.make_context("run", words, parent=ctx.parent) as context:
        run.invoke(context)
