"""The older form of a chain's folder, for tests: three files in the place of `chain.json`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_core.files import read_sealed, sealed, write_over
from bench_core.store.chain_files import CHAIN, LOG, RECIPE, SUMMARY, read_finished_log
from bench_core.store.training_log import storable


def make_older(folder: Path) -> Path:
    """Write the files of a trained chain as older code did, delete `chain.json`, and return the folder."""
    if not (folder / CHAIN).is_file():
        return folder
    content = read_sealed(folder / CHAIN)
    write_over(folder / RECIPE, content["recipe"])
    (folder / LOG).write_text("".join(json.dumps(line) + "\n" for line in read_finished_log(folder)))
    write_over(folder / SUMMARY, sealed(content["summary"]))
    (folder / CHAIN).unlink()
    return folder


def rewrite(folder: Path, part: str, **changes: object) -> None:
    """Change fields of a part of `chain.json`, `recipe` or `summary`, and seal it anew."""
    content = read_sealed(folder / CHAIN)
    write_over(folder / CHAIN, sealed({**content, part: {**content[part], **changes}}))


def write_log(folder: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Give a trained chain another log."""
    write_over(folder / CHAIN, sealed({**read_sealed(folder / CHAIN), "log": storable(list(lines))}))
