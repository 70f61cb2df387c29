"""`bench path`, `bench convert` and `bench embed`: find a trained encoder, and take it home."""

from pathlib import Path

import click

from bench_core.cli.options import STORE, Command, load
from bench_core.output import say

_SET = click.option(
    "--set", "settings", multiple=True, metavar="NAME.PARAM=VALUE",
    help="Set a parameter of the encoder that is in no key, such as timm.weights: weights from elsewhere that it was "
    "built on.",
)  # fmt: skip

_FORMATS = ("safetensors", "torch_export", "onnx", "timm", "huggingface")  # as in bench_core/export/formats.py


@click.command(cls=Command)
@click.argument("name", required=False)
@click.option("--seed", type=click.IntRange(0), help="Only chains of this seed.")
@click.option("--dataset", help="Only chains of this data set.")
@click.option("--encoder", help="Only chains of this encoder.")
@click.option("--names", is_flag=True, help="Print the chain's name behind each folder, after a tab.")
@STORE
def path(
    name: str | None, seed: int | None, dataset: str | None, encoder: str | None, names: bool, store: Path
) -> None:
    """Print the folders of trained chains.

    The newest is last, one folder a line, for scripts: bench path nac --seed 0 | tail -1

    NAME is a method, or a chain's name or key; without it all chains are printed.
    """
    from bench_core.errors import RequestError, did_you_mean, shown
    from bench_core.store import Store
    from bench_core.store.chain_names import find_chain, select_chains

    chains = Store.existing(store)
    every = select_chains(chains)
    found = select_chains(chains, method=name, seed=seed, dataset=dataset, encoder=encoder)
    if not found and name is not None and not any(chain.method == name for chain in every):
        if "/" not in name and len(name) < 4:
            known = {chain.method for chain in every}
            raise RequestError(f"{store} has no chain of method {shown(name)}{did_you_mean(name, known)}")
        folder = find_chain(chains, name)
        found = [chain for chain in select_chains(chains, None, seed, dataset, encoder) if chain.folder == folder]
    if not found:
        raise RequestError(f"{store} has no such chain; `bench path --names --store {store}` prints all.")
    for chain in found:
        say(f"{chain.folder}\t{chain.name}" if names else str(chain.folder))


@click.command(cls=Command)
@click.argument("chain")
@click.option("--to", required=True, type=click.Choice(_FORMATS), help="The format.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder that is made.")
@STORE
@_SET
@click.pass_context
def convert(ctx: click.Context, chain: str, to: str, output: Path, store: Path, settings: tuple[str, ...]) -> None:
    """Write a trained encoder for other libraries.

    CHAIN is a chain's name (bench path --names), the beginning of its key, or its folder. The folder gets the weights,
    config.json and a model card with recipe, scores and provenance. It is loaded back, and the features of 64 inputs
    must agree to 1e-5 of the largest; else nothing is written. Scores leave by `bench export`.
    """
    from bench_core.export.convert import convert as write
    from bench_core.export.load import chain_of, load_trained, name_of, records_of
    from bench_core.planning.settings import parse_settings
    from bench_core.store import Store

    chains, registry = Store(store), load(ctx)
    folder = chain_of(chain, chains)
    trained = load_trained(folder, registry, parse_settings(settings))
    off = write(trained, name_of(folder, chains), to, output, registry, records_of(folder, chains))
    say(f"{output}: loaded back, features differ by at most {off:.1g} of the largest", err=True)
    say(str(output))


@click.command(cls=Command)
@click.argument("chain")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path),
    help="FILE.parquet with the columns file and feature, or FILE.npy, beside which FILE.txt has the names.",
)  # fmt: skip
@STORE
@_SET
@click.pass_context
def embed(
    ctx: click.Context, chain: str, images: tuple[Path, ...], output: Path, store: Path, settings: tuple[str, ...]
) -> None:
    """Write the features of image files.

    CHAIN is a chain's name (bench path --names), the beginning of its key, or its folder. IMAGES are files, and folders
    of which all images are taken. The largest centred square of each is resized to the size of the encoder's images
    and has their colours, as image_folder does it.
    """
    from bench_core.export.images import check_ending, embed_images, find_images, write_features
    from bench_core.export.load import chain_of, load_trained
    from bench_core.planning.settings import parse_settings
    from bench_core.store import Store

    check_ending(output)
    files = find_images(images)
    trained = load_trained(chain_of(chain, Store(store)), load(ctx), parse_settings(settings))
    features = embed_images(trained, files)
    names = write_features(output, [str(file) for file in files], features)
    beside = f", names in {names}" if names else ""
    say(f"{output}: {features.shape[1]} features of {len(files)} images{beside}", err=True)
