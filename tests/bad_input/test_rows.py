"""Damaged records and attempts: cases from a table, and random ones."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench_core.api import results
from bench_core.errors import BenchError, StoreError
from bench_core.keys import key_of
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import entries_of
from bench_core.reports.tables.render import render
from bench_core.store import Store
from bench_core.store.store import read_record

RECORD = Path(__file__).parent / "d351bfa2621c0cb511f262dfd7407b59025c3aa71e04866aa1ed3209daceddde.json"
TEXT = RECORD.read_text()
LONG = "x" * 600
HALF = "\ud800"  # half a character: JSON can spell it, no file can hold it

# contents of the file of a record
TORN: list[bytes] = [
    b"", b" ", b"{", b"[]", b"null", b"1", b'"record"', b"{}", b"\xff\xfe", b"\x00" * 40, TEXT[:300].encode(),
    TEXT.encode()[:-3], TEXT.encode() + b"}", TEXT.encode("utf-16"), b"[" * 5000, b'{"format": ' + b"9" * 5000 + b"}",
    b'{"format": 1}', b'{"format": 2}', b'{"format": "1"}', b'{"format": null}', b"PK\x03\x04", b"\x80\x04K\x01.",
    TEXT.replace('"seed": 0', '"seed": 1').encode(), TEXT.replace('"d351b', '"e351b').encode(),
    TEXT.replace('"seed": 0', '"seed": NaN').encode(), TEXT.replace('"doc": {', '"doc": 1, "other": {').encode(),
    TEXT.replace('"knn"', '"\\ud800"').encode(), TEXT.replace('"notes": []', '"notes": ["\\uDC00"]').encode(),
]  # fmt: skip

HITS: dict[str, Any] = {"split": "test", "which": "all", "n": 8, "type": "hits", "values": "eNr7DwABAAEA"}

# field -> a wrong value; the key is computed again
CHANGED: list[tuple[str, Any]] = [
    ("names", None), ("names", []), ("names", {}), ("names.method", None), ("names.method", 3), ("names.method", ""),
    ("names.method", "a\nb"), ("names.method", "\x1b[2J"), ("names.method", "=1+1"), ("names.method", "../nac"),
    ("names.method", LONG), ("names.task", "\x00"), ("names.dataset", ["digits"]), ("names.encoder", {"a": 1}),
    ("scores", None), ("scores", {}), ("scores", "top1"), ("scores", [1]), ("scores", [None]), ("scores", [{}]),
    ("scores", 2 * [{"metric": "top1", "value": 0.5, "unit": "fraction", "higher_is_better": True}]),
    ("scores.0.metric", None), ("scores.0.metric", 1), ("scores.0.metric", ""), ("scores.0.metric", "to\np1"),
    ("scores.0.value", "0.9"), ("scores.0.value", True), ("scores.0.value", [0.9]), ("scores.0.value", 10**400),
    ("scores.0.unit", None), ("scores.0.unit", 7), ("scores.0.higher_is_better", "yes"), ("scores.0.n", 1.5),
    ("scores.0.n", -1), ("scores.0.n", 2**80), ("scores.0.chance", "low"), ("scores.0.embedding", 3),
    ("doc.embed", None), ("doc.embed", []), ("doc.embed.pretrain", "nac"), ("doc.embed.pretrain.seed", None),
    ("doc.embed.pretrain.seed", "0"), ("doc.embed.pretrain.seed", -1), ("doc.embed.pretrain.seed", 1.5),
    ("doc.embed.pretrain.seed", True), ("doc.embed.pretrain.dataset", None), ("doc.embed.pretrain.dataset.id", 5),
    ("doc.embed.pretrain.method", []), ("doc.embed.pretrain.method.id", "\n"), ("doc.embed.pretrain.recipe", [1]),
    ("doc.embed.pretrain.recipe.epochs", "many"), ("doc.embed.pretrain.recipe.optimizer", 3),
    ("doc.embed.pretrain.recipe.learning_rate", "fast"), ("facts.recipe_from", 3), ("facts.shortened", [1]),
    ("doc.embed.pretrain.precision", 32), ("doc.embed.pretrain.protocol", "1"), ("doc.embed.protocol", -1),
    ("doc.embed.pretrain.init", "nac"), ("doc.embed.pretrain.init", {"sha256": "x"}),
    ("doc.embed.pretrain.init", {"chain": [1]}), ("doc.embed.pretrain.init", {"chain": {"recipe": "x"}}),
    ("doc.embed.pretrain.init", {"chain": {"method": {"id": 1}}}),
    ("doc.embed.pretrain.init", {"chain": {"init": {"chain": {"init": 1}}}}), ("doc.protocol", "one"),
    ("doc.embed.pretrain.method.config", [1]), ("doc.task.config", "k"), ("doc.others", [1]),
    ("doc.others", {"a\nb": {"id": "a", "revision": 1}}), ("doc.others", {"a": {"id": "a"}}),
    ("doc.task", None), ("doc.task", {}), ("doc.task.id", None),
    ("doc.task.revision", "1"), ("facts", []), ("facts.parameters", "many"), ("facts.uses_labels", "no"),
    ("cost", 3), ("cost.pretrain_s", "fast"), ("cost.peak_memory_gib", []), ("provenance", "here"),
    ("provenance.device", 3), ("provenance.dirty", "no"), ("provenance.threads", "one"), ("provenance.command", [1]),
    ("provenance.pretrain", [1]), ("provenance.ended", 5), ("notes", "one"), ("notes", [1]), ("protocol", []),
    ("curves", []), ("curves", {"pr_a": []}), ("curves", {"pr_a": {"recall": 1}}), ("curves", {"l": {"x": ["a"]}}),
    ("curves", {"l": {"x": [1.0], "y": [1.0, 2.0]}}), ("curves", {"a\nb": {"x": [1.0]}}), ("images", []),
    ("images", {"samples": 5}), ("images", {"a\nb": "aGk="}),
    ("items", []), ("items", {"top1": 5}), ("items", {"top1": {}}), ("items", {"a\nb": HITS}),
    ("items", {"top1": {**HITS, "split": 1}}), ("items", {"top1": {**HITS, "which": ["all"]}}),
    ("items", {"top1": {**HITS, "n": 0}}), ("items", {"top1": {**HITS, "n": 10**9}}),
    ("items", {"top1": {**HITS, "n": 80}}), ("items", {"top1": {**HITS, "n": True}}),
    ("items", {"top1": {**HITS, "type": "int8"}}), ("items", {"top1": {**HITS, "type": {}}}),
    ("items", {"top1": {**HITS, "type": "float32"}}), ("items", {"top1": {**HITS, "values": None}}),
    ("items", {"top1": {**HITS, "values": "%"}}), ("items", {"top1": {**HITS, "values": HITS["values"][:-4]}}),
]  # fmt: skip

ATTEMPTS: list[Any] = [
    {}, {"key": 1}, {"key": "a", "kind": 1}, {"key": "a", "kind": "error"}, {"key": "a", "kind": "error", "names": {}},
    {"key": "a", "kind": "error", "names": dict.fromkeys(("dataset", "encoder", "method", "task"), "x")},
    {"key": "a", "kind": "error", "names": dict.fromkeys(("dataset", "encoder", "method", "task"), "x"), "doc": {}},
    {"key": "a", "error": 5},
    {"key": "a", "kind": ""}, {"key": "a/b"}, {"key": "../a"}, {"key": "a" * 300},
    {"key": "a", "log_tail": "killed"}, {"key": "a", "log_tail": [1]}, [], None, "x",
]  # fmt: skip

CASES = [*TORN, *CHANGED, *ATTEMPTS]


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the record with another value in one field, and the key that belongs to it."""
    record: Any = json.loads(TEXT)
    parent, (*names, last) = record, path.split(".")
    for name in names:
        parent = parent[int(name) if isinstance(parent, list) else name]
    parent[last] = value
    return {**record, "key": key_of(record["doc"])}


def put(world: Path, record: dict[str, Any]) -> None:
    """Write a record into the store, beside the valid one."""
    cell = world / "runs" / "cells" / record["key"][:2] / f"{record['key']}.json"
    cell.parent.mkdir(exist_ok=True)
    cell.write_text(json.dumps(record))


@pytest.mark.parametrize("content", TORN, ids=range(len(TORN)))
def test_torn_or_altered_record_is_named_and_nothing_is_printed(
    world: Path, refused: Callable[..., str], content: bytes
) -> None:
    (cell,) = (world / "runs").glob("cells/*/*.json")
    cell.write_bytes(content)
    assert cell.name in refused("table", code=1)


@pytest.mark.parametrize(("path", "value"), CHANGED, ids=[f"{p}={str(v)[:20]!r}" for p, v in CHANGED])
def test_error_of_a_record_names_the_field_with_the_wrong_type(
    world: Path, refused: Callable[..., str], path: str, value: Any
) -> None:
    put(world, changed(path, value))
    message = refused("table", code=1)
    assert "is no record: " in message
    assert path.removesuffix(".id").rpartition(".")[2].split("[")[0] in message


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=range(len(ATTEMPTS)))
def test_error_names_the_file_of_a_wrong_attempt(world: Path, refused: Callable[..., str], attempt: Any) -> None:
    path = world / "runs" / "attempts" / "a" / "20260101T000000000000-aaaaaaaa.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(attempt))
    assert path.name in refused("table", code=1)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path), lambda path: path.symlink_to("x")])
def test_folder_or_broken_link_in_place_of_a_record_is_named(
    world: Path, refused: Callable[..., str], make: Callable[[Path], None]
) -> None:
    make(world / "runs" / "cells" / f"{'a' * 64}.json")
    assert f"{'a' * 64}.json cannot be read" in refused("table", code=1)


@pytest.mark.parametrize("marker", ["", "{", "[]", "{}", '{"format": 2}', '{"format": []}', "\x00"])
def test_a_store_whose_marker_is_damaged_or_newer_is_not_read(
    world: Path, refused: Callable[..., str], marker: str
) -> None:
    (world / "runs" / "bench-store.json").write_text(marker)
    for words in (("table",), ("export", "--csv", "x.csv"), ("run", "--methods", "random", "--tasks", "knn")):
        assert "runs" in refused(*words, code=1)


def test_value_that_is_not_finite_is_shown_as_failed(world: Path) -> None:
    for path in (world / "runs").glob("cells/*/*.json"):
        path.unlink()
    for place, value in enumerate((float("nan"), float("inf"), None)):
        record = changed("doc.embed.pretrain.seed", place)
        record["scores"][0]["value"] = value
        put(world, record)
    shown = render(build(entries_of(Store("runs").records())), "text")
    assert "failed" in shown
    assert "nan" not in shown.lower()
    assert "inf" not in shown.lower()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deep for name, parent in items for deep in places(parent, (*path, name)))]


WHOLE = {**json.loads(TEXT), "items": {"top1": HITS}}
PLACES = [place for place in places(WHOLE) if place]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
QUICK = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def is_shown_or_refused(folder: Path) -> bool:
    """Return whether reading a store gives its table and frame, or an error of one line."""
    try:
        entries = entries_of(Store(folder).records())
        table = render(build(entries), "md")
        return bool(table.encode()) and len(results(folder)) == sum(len(e.record.scores) for e in entries if e.record)
    except BenchError as error:
        return len(str(error).splitlines()) == 1


@QUICK
@given(place=st.sampled_from(PLACES), value=JSON, deleted=st.booleans())
def test_any_value_at_any_place_gives_a_table_or_one_line(
    world: Path, place: tuple[Any, ...], value: Any, deleted: bool
) -> None:
    record: Any = copy.deepcopy(WHOLE)
    parent = record
    for name in place[:-1]:
        parent = parent[name]
    if deleted:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    for path in (world / "runs").glob("cells/*/*.json"):
        path.unlink()
    try:
        record["key"] = key_of(record["doc"])
    except (KeyError, ValueError):
        return
    put(world, record)
    assert is_shown_or_refused(world / "runs")


@QUICK
@given(place=st.integers(0, len(TEXT) - 1), byte=st.integers(0, 255))
def test_flipped_byte_is_refused_or_leaves_a_valid_record(world: Path, place: int, byte: int) -> None:
    content = bytearray(TEXT.encode())
    content[place] ^= byte or 1
    (cell,) = (world / "runs").glob("cells/*/*.json")
    cell.write_bytes(bytes(content))
    try:
        document = read_record(cell).document.content
    except StoreError:
        document = None
    assert document is None or key_of(document) == cell.stem
    assert is_shown_or_refused(world / "runs")
