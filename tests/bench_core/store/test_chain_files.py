"""Files of a chain are checked where they are read; what older ones lack is allowed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import StoreError
from bench_core.files import sealed
from bench_core.keys import key_of
from bench_core.store.chain_files import read_embedded, read_recipe, read_summary, recipe_of

DIGEST = "0123456789abcdef" * 4
DOC = {"seed": 0, **{part: {"id": f"toys/{part}", "revision": 1} for part in ("dataset", "encoder", "method")}}
SUMMARY: dict[str, Any] = {"weights_sha256": DIGEST, "parameters": 3, "cost": {"pretrain_s": 1.5}, "provenance": {}}
DONE: dict[str, Any] = {"digests": {"train": DIGEST, "test": DIGEST}, "embed_s": 0.5}

Read = Callable[[Path], dict[str, Any]]


@pytest.mark.parametrize(
    ("read", "name", "content"),
    [
        (read_recipe, "recipe.json", {"doc": DOC}),
        (read_summary, "summary.json", SUMMARY),
        (read_embedded, "done.json", DONE),
    ],
)
def test_content_is_returned_without_its_seal(read: Read, name: str, content: dict[str, Any], tmp_path: Path) -> None:
    for written in (content, sealed(content)):
        if name != "recipe.json" or written is content:
            (tmp_path / name).write_text(json.dumps(written))
            assert read(tmp_path) == content


WRONG: list[tuple[Read, str, dict[str, Any], str]] = [
    (read_recipe, "recipe.json", {}, "doc must be an object"),
    (read_recipe, "recipe.json", {"doc": {**DOC, "seed": -1}}, "doc.seed cannot be -1"),
    (read_recipe, "recipe.json", {"doc": {**DOC, "method": {"id": "a"}}}, "method.revision is missing"),
    (read_recipe, "recipe.json", {"doc": {**DOC, "init": 1}}, "doc.init cannot be 1"),
    (read_summary, "summary.json", {**SUMMARY, "weights_sha256": DIGEST.upper()}, "weights_sha256 cannot be"),
    (read_summary, "summary.json", {**SUMMARY, "parameters": 1.5}, "parameters cannot be 1.5"),
    (read_summary, "summary.json", {**SUMMARY, "cost": {"steps": "a"}}, "cost cannot be"),
    (read_summary, "summary.json", {**SUMMARY, "provenance": {"resumed": -1}}, "provenance.resumed cannot be -1"),
    (read_summary, "summary.json", {**SUMMARY, "warnings": [1]}, "warnings cannot be"),
    (read_embedded, "done.json", {**DONE, "digests": {}}, "digests cannot be"),
    (read_embedded, "done.json", {**DONE, "digests": {"a/b": DIGEST}}, "digests cannot be"),
    (read_embedded, "done.json", {**DONE, "digests": {".": DIGEST}}, "digests cannot be"),
    (read_embedded, "done.json", {**DONE, "digests": {"a": DIGEST, "A": DIGEST}}, "digests cannot be"),
    (read_embedded, "done.json", {**DONE, "digests": {"ä" * 101: DIGEST}}, "digests cannot be"),
    (read_embedded, "done.json", {**DONE, "embed_s": True}, "embed_s cannot be True"),
    (read_embedded, "done.json", {**DONE, "sources": {"kitchen": "a"}}, "sources cannot be"),
]


@pytest.mark.parametrize(("read", "name", "content", "message"), WRONG)
def test_wrong_field_is_named_with_its_file(
    read: Read, name: str, content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(StoreError, match=f"{name} is not what it must be: {message}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("read", "name", "content"),
    [(read_summary, "summary.json", SUMMARY), (read_embedded, "done.json", DONE)],
)
def test_sealed_file_with_a_number_that_is_not_finite_is_refused(
    read: Read, name: str, content: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(json.dumps({**content, "more": float("nan"), "sha256": DIGEST}))
    with pytest.raises(StoreError, match=f"{name} is not as it was written"):
        read(tmp_path)


def test_recipe_under_another_key_is_refused() -> None:
    path = Path("chains") / "x" / "recipe.json"
    assert recipe_of({"doc": DOC}, path, key_of(DOC))
    with pytest.raises(StoreError, match="is not what its key says"):
        recipe_of({"doc": DOC}, path, DIGEST)
    with pytest.raises(StoreError, match="is not what its key says"):
        recipe_of({"doc": {**DOC, "epochs": float("nan")}}, path)
