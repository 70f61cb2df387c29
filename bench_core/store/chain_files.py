"""The JSON files of a chain's folder: each is checked where it is read, because a store may come from anybody.

read_recipe      `recipe.json`: the document that defines the training
read_summary     `summary.json`: the digest of its weights, cost and code
read_embedded    `done.json` of embeddings: their digests

The functions `..._of` check content that has been read already.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench_core.errors import StoreError
from bench_core.files import read_json, unsealed
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

RECIPE, SUMMARY, WEIGHTS, LOG = "recipe.json", "summary.json", "weights.safetensors", "log.jsonl"
EMBEDDED = "done.json"
EPOCHS = "epochs"  # folder of the weights along the way

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


def read_recipe(folder: Path) -> dict[str, Any]:
    """Read `recipe.json` of a chain; StoreError where it is damaged or does not define a training."""
    return recipe_of(read_json(folder / RECIPE), folder / RECIPE)


def recipe_of(recipe: dict[str, Any], path: Path, key: str | None = None) -> dict[str, Any]:
    """Check the content of a `recipe.json`; with a key, it must be the key of its document."""
    _check(path, training_errors(recipe.get("doc"), "doc"))
    found = key_or_none(recipe["doc"])
    if found is None or key not in (None, found):
        raise StoreError(f"{path.parent} is not what its key says: it was edited or damaged; move it away.")
    return recipe


def read_summary(folder: Path) -> dict[str, Any]:
    """Read `summary.json` of a chain; StoreError where it is damaged or lacks something."""
    return summary_of(read_json(folder / SUMMARY), folder / SUMMARY)


def summary_of(summary: dict[str, Any], path: Path) -> dict[str, Any]:
    """Check the content of a `summary.json`, and remove its seal."""
    summary = unsealed(summary, path)
    _check(path, _summary_errors(summary))
    return summary


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
