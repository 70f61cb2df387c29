"""The JSON files of a chain's folder: each is checked where it is read, because a store may come from anybody.

A chain that is trained has one sealed file, `chain.json`: what defines the training (`recipe`), the digest of its
weights, cost and code (`summary`), and the line of each epoch (`log`). Older stores have three files in its place,
which stay readable: `recipe.json`, `summary.json` and `log.jsonl`. Whoever asks through the functions of this module
does not see the difference. A training that is under way has `recipe.json` and `log.jsonl`.

is_finished         whether a folder holds a trained chain; file_with says in which file a part of it is
read_recipe         the document that defines the training, also of one that is under way
read_summary        the digest of its weights, cost and code
read_finished_log   the lines of its epochs
write_chain         what a training leaves
read_embedded       `done.json` of embeddings: their digests

The functions `..._of` check content that has been read already.
"""

import codecs
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench_core.errors import StoreError
from bench_core.files import parse_json, read_json, sealed, unsealed, write_over
from bench_core.keys import key_or_none
from bench_core.store.fields import (
    Test,
    field_errors,
    is_bool,
    is_count,
    is_digest,
    is_digests,
    is_mapping,
    is_number,
    is_numbers,
    is_texts,
)
from bench_core.store.record_schema import PROVENANCE, is_sources, training_errors
from bench_core.store.training_log import from_stored, read_log, storable

CHAIN, WEIGHTS = "chain.json", "weights.safetensors"
RECIPE, SUMMARY, LOG = "recipe.json", "summary.json", "log.jsonl"  # of older stores, and of trainings under way
LAST = (CHAIN, SUMMARY)  # the file that is written last: a folder with one of them is that of a trained chain
EMBEDDED = "done.json"
EPOCHS = "epochs"  # folder of the weights along the way
_BEGINNING = '{\n "recipe": '  # of a `chain.json`
_HEAD = 2**15  # bytes; recipes take some thousands

_EPOCH = re.compile("[1-9][0-9]{0,8}")
_SUMMARY: dict[str, Test] = {
    "weights_sha256": is_digest, "parameters": is_count, "cost": is_numbers, "provenance": is_mapping,
}  # fmt: skip
_SUMMARY_OPTIONAL: dict[str, Test] = {"warnings": is_texts, "uses_labels": is_bool, "uses_factors": is_bool,
    "kept_epoch": is_count, "epochs": lambda value: is_digests(value) and all(map(_EPOCH.fullmatch, value)),
}  # fmt: skip


def epoch_weights(folder: Path, epoch: int) -> Path:
    """Return the file of a chain's weights after an epoch, counted from 1; it may not be there."""
    return folder / EPOCHS / f"{epoch:04}.safetensors"


def is_finished(folder: Path) -> bool:
    """Return whether a folder is that of a trained chain; its files may be damaged, and the path may be any text."""
    return any(os.path.isfile(folder / name) for name in LAST)


def file_with(part: str, folder: Path) -> Path:
    """Return the file that holds a part of a chain, RECIPE, SUMMARY or LOG, in either form; it may not be there."""
    return folder / CHAIN if os.path.isfile(folder / CHAIN) else folder / part


def write_chain(folder: Path, recipe: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    """Write the file of a trained chain; the log file in its folder goes into it and is deleted."""
    log = folder / LOG
    lines = storable(read_log(log)) if log.is_file() else []
    write_over(folder / CHAIN, sealed({"recipe": recipe, "summary": summary, "log": lines}))
    log.unlink(missing_ok=True)


def read_recipe(folder: Path, key: str | None = None) -> dict[str, Any]:
    """Read what was trained in a folder, or is being trained there.

    Args:
        folder: The folder.
        key: The key that its document must have; None takes any.

    Raises:
        StoreError: The file is damaged or does not define a training.
    """
    path = file_with(RECIPE, folder)
    return recipe_of(_recipe_in_chain(path) if path.name == CHAIN else read_json(path), path, key)


def _recipe_in_chain(path: Path) -> dict[str, Any]:
    """Return `recipe` of a `chain.json`: from its beginning alone where the file is as `write_chain` makes it.

    The log behind it may be long, and the names of all chains of a store are made from their recipes.
    """
    with suppress(OSError, ValueError, RecursionError):
        with path.open("rb") as file:
            head = codecs.getincrementaldecoder("utf-8")().decode(file.read(_HEAD))
        if head.startswith(_BEGINNING + "{"):
            _, end = json.JSONDecoder().raw_decode(head, len(_BEGINNING))
            return parse_json(head[len(_BEGINNING) : end].encode(), path)
    return _part(read_json(path), "recipe", path)


def recipe_of(recipe: dict[str, Any], path: Path, key: str | None = None) -> dict[str, Any]:
    """Check what defines a training; with a key, it must be the key of its document."""
    _check(path, training_errors(recipe.get("doc"), "doc"))
    found = key_or_none(recipe["doc"])
    if found is None or key not in (None, found):
        raise StoreError(f"{path.parent} is not what its key says: it was edited or damaged; move it away.")
    return recipe


def read_summary(folder: Path) -> dict[str, Any]:
    """Read the summary of a trained chain; StoreError where it is damaged or lacks something."""
    path = file_with(SUMMARY, folder)
    content = unsealed(read_json(path), path)
    return summary_of(_part(content, "summary", path) if path.name == CHAIN else content, path)


def summary_of(summary: dict[str, Any], path: Path) -> dict[str, Any]:
    """Check the content of a summary; its seal was removed."""
    _check(path, _summary_errors(summary))
    return summary


def read_finished_log(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of a chain's log, trained or under way; empty where it has none. StoreError for a damaged file."""
    path = file_with(LOG, folder)
    if path.name == CHAIN:
        return log_of(unsealed(read_json(path), path), path)
    return read_log(path) if path.is_file() else []


def log_of(content: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    """Check the log in the content of a `chain.json`, and return its lines."""
    lines = content.get("log")
    if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
        _check(path, iter(["log must be a list of objects"]))
    return [from_stored(line) for line in lines or ()]


def chain_of(content: dict[str, Any], path: Path, key: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Check all of a `chain.json`, as the functions that read a part of it do; return recipe and summary."""
    content = unsealed(content, path)
    log_of(content, path)
    recipe = recipe_of(_part(content, "recipe", path), path, key)
    return recipe, summary_of(_part(content, "summary", path), path)


def _part(content: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    """Return a part of a `chain.json`, which must be an object."""
    _check(path, field_errors(content, "", {name: is_mapping}))
    part: dict[str, Any] = content[name]
    return part


def read_embedded(folder: Path) -> dict[str, Any]:
    """Read `done.json` of a folder of embeddings; StoreError where it is damaged or lacks something."""
    return embedded_of(read_json(folder / EMBEDDED), folder / EMBEDDED)


def embedded_of(done: dict[str, Any], path: Path) -> dict[str, Any]:
    """Check the content of a `done.json`, and remove its seal."""
    done = unsealed(done, path)
    _check(path, field_errors(done, "", {"digests": is_digests, "embed_s": is_number}))
    _check(path, field_errors(done, "", {"sources": is_sources}, optional=True))
    return done


def _summary_errors(summary: Mapping[str, Any]) -> Iterator[str]:
    yield from field_errors(summary, "", _SUMMARY)
    yield from field_errors(summary, "", _SUMMARY_OPTIONAL, optional=True)
    yield from field_errors(summary["provenance"], "provenance", PROVENANCE, optional=True)


def _check(path: Path, errors: Iterator[str]) -> None:
    """Raise StoreError with the first error."""
    if error := next(errors, None):
        raise StoreError(f"{path} is not what it must be: {error}; move its folder away and run again.")
