"""Files of a chain are checked where they are read; what older ones lack is allowed."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import StoreError
from bench_core.files import sealed, write_over
from bench_core.keys import key_of
from bench_core.store.chain_files import (
    is_finished,
    read_embedded,
    read_finished_log,
    read_recipe,
    read_summary,
    recipe_of,
    write_chain,
)
from tests.chain_forms import make_older

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


LINES = [{"epoch": 1, "loss": 2.5, "part": math.nan}, {"epoch": 2, "loss": 1.0, "part": -math.inf, "warnings": ["a"]}]


def write(folder: Path) -> Path:
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    write_chain(folder, {"doc": DOC, "label": "a"}, SUMMARY)
    return folder


@pytest.mark.parametrize("form", [Path, make_older])
def test_both_forms_of_a_chain_are_read_alike(form: Callable[[Path], Path], tmp_path: Path) -> None:
    assert not is_finished(tmp_path)
    folder = form(write(tmp_path))
    assert is_finished(folder)
    assert read_recipe(folder, key_of(DOC)) == {"doc": DOC, "label": "a"}
    assert read_summary(folder) == SUMMARY
    assert repr(read_finished_log(folder)) == repr(LINES)  # nan is not equal to itself


def test_a_trained_chain_has_one_file_beside_weights_and_embeddings(tmp_path: Path) -> None:
    assert [path.name for path in write(tmp_path).iterdir()] == ["chain.json"]
    json.loads((tmp_path / "chain.json").read_text(), parse_constant=pytest.fail)  # no NaN, which is no JSON


def test_a_folder_under_way_has_recipe_and_log_and_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(json.dumps({"doc": DOC}))
    (tmp_path / "log.jsonl").write_text('{"epoch": 1}\n{"epo')
    assert not is_finished(tmp_path)
    assert read_recipe(tmp_path) == {"doc": DOC}
    assert read_finished_log(tmp_path) == [{"epoch": 1}]


@pytest.mark.parametrize(
    ("changes", "read", "message"),
    [
        ({"recipe": None}, read_recipe, "recipe cannot be None"),
        ({"recipe": {"doc": {**DOC, "seed": -1}}}, read_recipe, "doc.seed cannot be -1"),
        ({"summary": {**SUMMARY, "parameters": 1.5}}, read_summary, "parameters cannot be 1.5"),
        ({"log": [1]}, read_finished_log, "log must be a list of objects"),
    ],
)
def test_wrong_part_of_the_file_is_named(
    changes: dict[str, Any], read: Callable[[Path], Any], message: str, tmp_path: Path
) -> None:
    content = json.loads((write(tmp_path) / "chain.json").read_text())
    del content["sha256"]
    write_over(tmp_path / "chain.json", sealed({**content, **changes}))
    with pytest.raises(StoreError, match=f"chain.json is not what it must be: {message}"):
        read(tmp_path)


@pytest.mark.parametrize("longer", [{}, {"more": "x" * 2**16}, {"more": ["\u00e4" * 2**15]}])
@pytest.mark.parametrize("indent", [1, None])
def test_what_was_trained_is_read_however_long_it_is_and_however_the_file_is_written(
    longer: dict[str, Any], indent: int | None, tmp_path: Path
) -> None:
    recipe = {"doc": DOC, **longer}
    content = {"recipe": recipe, "summary": SUMMARY, "log": []}
    (tmp_path / "chain.json").write_text(json.dumps(sealed(content), indent=indent, ensure_ascii=False))
    assert read_recipe(tmp_path) == recipe


def test_a_log_that_is_damaged_costs_the_name_of_a_chain_nothing(tmp_path: Path) -> None:
    file = write(tmp_path) / "chain.json"
    file.write_text(file.read_text().replace('"log": [', '"log": {'))
    assert read_recipe(tmp_path)["doc"] == DOC
    with pytest.raises(StoreError, match=r"chain\.json cannot be read"):
        read_finished_log(tmp_path)


@pytest.mark.parametrize("read", [read_summary, read_finished_log])
def test_a_number_that_was_edited_breaks_the_seal(read: Callable[[Path], Any], tmp_path: Path) -> None:
    file = write(tmp_path) / "chain.json"
    file.write_text(file.read_text().replace('"loss": 2.5', '"loss": 2.4'))
    with pytest.raises(StoreError, match=r"chain\.json is not as it was written"):
        read(tmp_path)
