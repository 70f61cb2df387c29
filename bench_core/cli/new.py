"""`bench new`: write a package with one component that works at once."""

import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from bench_core.cli.options import Command, load
from bench_core.files import write_text
from bench_core.output import say

KINDS = ("method", "encoder", "dataset", "task")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RUN = {  # the command that the README of a new package shows
    "method": "bench run --methods $name,random --tasks knn --epochs 5",
    "encoder": "bench run --encoders $name --methods simclr,random --tasks knn --epochs 5",
    "dataset": "bench run --datasets $name --methods simclr,random --tasks knn --epochs 5",
    "task": "bench run --methods simclr,random --tasks $name,knn --epochs 5",
}


@click.command(cls=Command)
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@click.argument("name")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), help="Folder of the package; it must not exist. Default: "
    "bench-NAME.",
)  # fmt: skip
@click.pass_context
def new(ctx: click.Context, kind: str, name: str, folder: Path | None) -> None:
    """Write a package of your own.

    KIND is method, encoder, dataset or task. The package works at once: its module holds a small component under NAME,
    with a test, a README and a workflow for GitHub. Replace its formulas by yours. The manual is
    docs/write-a-method.md, and so on.
    """
    from bench_core.errors import RequestError, shown
    from bench_core.plugins import OF_WORD

    if not _NAME.fullmatch(name):
        raise RequestError(f"NAME {shown(name)} must be small letters, digits and _, like my_{kind}.")
    known = {component.name for component in load(ctx).of_kind(OF_WORD[kind].name)}
    if name in known:
        raise RequestError(f"{name!r} is the name of a {kind} already (`bench show {name}`); choose another.")
    folder = folder or Path(f"bench-{name.replace('_', '-')}")
    if folder.exists():
        raise RequestError(f"{folder} exists; choose another with --dir, or move it away.")
    written = write_package(kind, name, folder)
    for path in written:
        say(str(path))
    command = Template(_RUN[kind]).substitute(name=name)
    say(f"\nnext: pip install -e {folder} && bench check {name} && {command}")


def write_package(kind: str, name: str, folder: Path) -> list[Path]:
    """Write a package into a new folder, and return its files.

    Args:
        kind: "method", "encoder", "dataset" or "task".
        name: Name of the component.
        folder: The folder; it does not exist yet.
    """
    module, package = f"bench_{name}", f"bench-{name.replace('_', '-')}"
    words = {
        "kind": kind,
        "name": name,
        "module": module,
        "package": package,
        "Class": "".join(part.capitalize() for part in name.split("_")),
        "command": Template(_RUN[kind]).substitute(name=name),
    }
    contents = {
        "pyproject.toml": "pyproject.toml.txt",
        "README.md": "README.md.txt",
        f"{module}.py": f"{kind}.py.txt",
        f"tests/test_{module}.py": "test.py.txt",
        ".github/workflows/test.yml": "ci.yml.txt",
    }
    templates = files("bench_core.cli").joinpath("templates")
    for path, template in contents.items():
        text = templates.joinpath(template).read_text(encoding="utf-8")
        write_text(folder / path, Template(text).substitute(words))
    return [folder / path for path in contents]
