"""Merging two stores: new records are copied once, conflicting ones are left out and reported."""

import copy
import errno
import io
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench_core.cli.group import main
from bench_core.cli.records import merge
from bench_core.errors import RequestError, StoreError
from bench_core.files import LARGEST_JSON, file_digest, read_json, read_sealed, sealed, write_over
from bench_core.planning.chains import Plan
from bench_core.running.pending import missing
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.merge import apply, compare_stores
from bench_core.store.store import read_record
from tests.chain_forms import make_older, rewrite

CPU = RunSetting(device="cpu", command="test")
PlanOf = Callable[..., Plan]


def run(path: Path, plan: Plan) -> Store:
    store = Store(path)
    run_plan(plan, store, CPU)
    return store


def files(store: Store) -> dict[str, bytes]:
    return {str(p.relative_to(store.path)): p.read_bytes() for p in store.path.rglob("*") if p.is_file()}


def stored(store: Store, number: int = 0) -> dict[str, Any]:
    """Return a record of the store as JSON, to change it."""
    return copy.deepcopy(dict(store.records()[number].stored))


def change_score(store: Store, value: float) -> dict[str, Any]:
    """Write another score into the store's first record; return the record as JSON."""
    record = stored(store)
    record["scores"][0]["value"] = value
    write_over(store.record_file(record["key"]), record)
    return record


def test_merge_copies_records_chains_and_attempts_once(plan_of: PlanOf, tmp_path: Path) -> None:
    other = run(tmp_path / "b", plan_of(seeds=[1]))
    run_plan(plan_of(seeds=[2], settings={"shrink.broken": True}), other, CPU)
    shutil.rmtree(next(other.path.glob("chains/*.under-way")))  # the log of the training that failed stays where it is
    ours = run(tmp_path / "a", plan_of(seeds=[0]))
    merged = compare_stores(other.path, ours)
    assert (len(merged.records), merged.known, len(merged.attempts), len(merged.chains)) == (1, 0, 1, 1)
    apply(merged, ours)
    assert [missing(chain, ours) for chain in plan_of(seeds=[0, 1]).chains] == [[], []]
    assert set(files(other)) <= set(files(ours))
    assert not list(ours.path.rglob("*.tmp"))
    second = compare_stores(other.path, ours)
    assert (len(second.records), second.known, len(second.attempts), len(second.chains)) == (0, 1, 0, 0)


def test_chain_that_was_merged_is_not_trained_again(
    plan_of: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, ours = run(tmp_path / "b", plan_of()), Store(tmp_path / "a")
    apply(compare_stores(other.path, ours), ours)
    ours.record_file(plan_of().cells[0].key).unlink()
    monkeypatch.setattr("bench_core.running.chain.pretrain", None)
    assert run_plan(plan_of(), ours, CPU) == []


def test_records_that_differ_in_times_are_equal_and_in_scores_are_a_conflict(plan_of: PlanOf, tmp_path: Path) -> None:
    other, ours = run(tmp_path / "b", plan_of()), run(tmp_path / "a", plan_of())
    assert compare_stores(other.path, ours).known == 1  # each has its own seconds
    shutil.rmtree(ours.path / "chains")  # deleted to save space
    mine, theirs = ours.records()[0].scores["spread"].value, change_score(other, 123.0)
    before = files(ours)
    [conflict] = (merged := compare_stores(other.path, ours)).conflicts
    apply(merged, ours)
    assert conflict.values == (("spread", mine, 123.0),)
    assert (conflict.ours, conflict.theirs) == (ours.record_file(theirs["key"]), other.record_file(theirs["key"]))
    assert conflict.cell == "blobs/tiny/shrink/spread seed 0"
    assert files(ours) == before


def test_missing_score_and_score_over_other_items_are_conflicts(plan_of: PlanOf, tmp_path: Path) -> None:
    other, ours = run(tmp_path / "b", plan_of()), run(tmp_path / "a", plan_of())
    record = stored(other)
    score = record["scores"][0]
    record["scores"] = [{**score, "n": 3}, {**score, "metric": "another", "value": 0.5}]
    write_over(other.record_file(record["key"]), record)
    [conflict] = compare_stores(other.path, ours).conflicts
    assert conflict.values == (("spread", score, {**score, "n": 3}), ("another", None, 0.5))


def test_different_weights_of_one_chain_are_reported(plan_of: PlanOf, tmp_path: Path) -> None:
    other, ours = run(tmp_path / "b", plan_of()), run(tmp_path / "a", plan_of())
    key = plan_of().chains[0].key
    rewrite(other.chain_folder(key), "summary", weights_sha256="0" * 64)
    assert compare_stores(other.path, ours).other_weights == (other.chain_folder(key),)


def test_damaged_record_or_chain_is_not_merged(plan_of: PlanOf, tmp_path: Path) -> None:
    other, ours = run(tmp_path / "b", plan_of(seeds=[0, 1])), Store(tmp_path / "a")
    record = stored(other, 1)
    write_over(other.record_file(record["key"]), {**record, "doc": {"task": "another"}})
    with pytest.raises(StoreError, match="not what its key says"):
        compare_stores(other.path, ours)
    assert not ours.path.exists()
    write_over(other.record_file(record["key"]), record)
    key = plan_of().chains[0].key
    (other.chain_folder(key) / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(StoreError, match=r"weights.safetensors is damaged"):
        apply(compare_stores(other.path, ours), ours)
    assert not ours.chain_folder(key).exists()


def test_published_records_can_be_merged_into_a_store(plan_of: PlanOf, tmp_path: Path) -> None:
    other = run(tmp_path / "b", plan_of(seeds=[0, 1]))
    records = tmp_path / "leaderboards" / "toys" / "records"
    for record in other.records():
        write_over(records / f"{record.key}.json", record.stored)
    for folder in (records, records.parent):
        ours = Store(tmp_path / folder.name / "store")
        apply(compare_stores(folder, ours), ours)
        assert ours.records() == other.records()


def test_merge_refuses_a_missing_folder_and_the_store_itself(plan_of: PlanOf, tmp_path: Path) -> None:
    ours = run(tmp_path / "a", plan_of())
    with pytest.raises(RequestError, match=r"there is no store at .*nowhere"):
        compare_stores(tmp_path / "nowhere", ours)
    with pytest.raises(RequestError, match="is the store itself"):
        compare_stores(tmp_path / "a", ours)


def test_merge_command_prints_counts_and_both_values_and_exits_with_1_on_conflict(
    plan_of: PlanOf, tmp_path: Path
) -> None:
    other, ours = run(tmp_path / "b", plan_of(seeds=[0, 1])), run(tmp_path / "a", plan_of())
    words = [str(other.path), "--store", str(ours.path)]
    dry = CliRunner().invoke(merge, [*words, "--dry-run"])
    assert dry.output.startswith(f"1 records, 0 attempts and 1 chains would come into {ours.path}; 1 records were")
    assert len(ours.records()) == 1
    assert CliRunner().invoke(merge, words).exit_code == 0
    path = sorted((other.path / "cells").rglob("*.json"))[0]
    record = copy.deepcopy(dict(read_record(path).stored))
    mine = record["scores"][0]["value"]
    record["scores"][0]["value"] = 123.0
    write_over(path, record)
    result = CliRunner().invoke(merge, words)
    assert result.exit_code == 1
    assert f"spread: {mine!r} stays, 123.0 was left out" in result.output
    assert str(path) in result.output


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for the store of `other`, which is made by the first test."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def other(made: Path, plan_of: PlanOf, tmp_path: Path) -> Store:
    """A store with one record, one chain and one attempt, to be changed."""
    if not (made / "b").exists():
        store = run(made / "b", plan_of())
        run_plan(plan_of(seeds=[2], settings={"shrink.broken": True}), store, CPU)
        shutil.rmtree(next(store.path.glob("chains/*.under-way")))
    shutil.copytree(made / "b", tmp_path / "b")
    return Store(tmp_path / "b")


def refusal(other: Store, tmp_path: Path) -> str:
    """Return the one line with which a merge is refused; check that nothing was copied, and that --dry-run agrees."""
    lines = []
    for words in ([], ["--dry-run"]):
        result = CliRunner().invoke(main, ["merge", str(other.path), "--store", str(tmp_path / "a"), *words])
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert result.exit_code in (1, 2), result.output
        lines += result.output.splitlines()
    assert len(lines) == 2, lines
    assert lines[0] == lines[1]
    assert set(files(Store(tmp_path / "a"))) <= {"bench-store.json"}
    assert {path.name for path in (tmp_path / "a").glob("*")} <= {"bench-store.json"}
    return lines[0]


def rewritten(file: Path, **changes: Any) -> None:
    """Change fields of a JSON file; None deletes one. The seal is made new where the file had one."""
    content = read_json(file)
    was_sealed = content.pop("sha256", None) is not None
    content = {name: value for name, value in {**content, **changes}.items() if value is not None}
    file.write_text(json.dumps(sealed(content) if was_sealed else content))


OLDER = {"recipe": "chains/*/recipe.json", "summary": "chains/*/summary.json", "log": "chains/*/log.jsonl"}
COPIED = {  # every file and folder that a merge opens, by a pattern
    "record": "cells/*/*.json", "records": "cells", "records of a prefix": "cells/*", "attempt": "attempts/*/*.json",
    "attempts": "attempts", "attempts of a cell": "attempts/*", "chains": "chains", "chain": "chains/*",
    "chain file": "chains/*/chain.json", "weights": "chains/*/weights.safetensors",
    "all embeddings": "chains/*/embeddings", "embeddings": "chains/*/embeddings/*",
    "done": "chains/*/embeddings/*/done.json", "embedding": "chains/*/embeddings/*/test.safetensors",
    **OLDER,
}  # fmt: skip


def file_of(name: str, other: Store) -> Path:
    """Return the only file of a pattern; for a file of the older form the chain gets this form first."""
    if name in OLDER:
        (chain,) = other.path.glob("chains/*")
        make_older(chain)
    (file,) = other.path.glob(COPIED[name])
    return file


def as_link(path: Path, elsewhere: Path) -> None:
    """Move a file or folder away and put a link to it in its place."""
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def as_pipe(path: Path, elsewhere: Path) -> None:
    """Put a pipe in the place of a file or folder."""
    path.rename(elsewhere)
    os.mkfifo(path)


def as_socket(path: Path, elsewhere: Path) -> None:
    """Put a socket in the place of a file or folder."""
    path.rename(elsewhere)
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path has at most some hundred characters
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)
    os.chdir(here)


@pytest.mark.parametrize("place", [as_link, as_pipe, as_socket])
@pytest.mark.parametrize("name", COPIED)
def test_link_pipe_or_socket_in_a_strangers_store_is_refused(
    name: str, place: Callable[[Path, Path], None], other: Store, tmp_path: Path
) -> None:
    path = file_of(name, other)
    place(path, tmp_path / "elsewhere")
    assert f"{path.relative_to(tmp_path)}" in refusal(other, tmp_path)


def test_only_files_of_known_names_are_copied(other: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (chain,) = other.path.glob("chains/*")
    top = [other.path, *(other.path / name for name in ("cells", "chains", "attempts"))]
    for folder in (chain, chain / "embeddings", *chain.glob("embeddings/*"), *top):
        (folder / "link").symlink_to(tmp_path / "secret")
        (folder / "link.json").symlink_to(tmp_path / "secret")
        (folder / "linked").symlink_to(tmp_path)
        (folder / "dangling").symlink_to("nowhere")
        (folder / "note.txt").write_text("mine")
    ours = Store(tmp_path / "a")
    apply(compare_stores(other.path, ours), ours)
    names = {path.name for path in ours.path.rglob("*")}
    assert not names & {"link", "link.json", "linked", "dangling", "note.txt", "secret"}
    assert len(list(ours.path.rglob("*.safetensors"))) == 3


def test_the_named_store_itself_may_be_a_link(other: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(other.path)
    ours = Store(tmp_path / "a")
    apply(compare_stores(tmp_path / "link", ours), ours)
    assert ours.records() == other.records()


ATTEMPTS: dict[str, dict[str, Any]] = {
    "odd kind": {"kind": 5}, "odd names": {"names": {"method": 1}}, "no names": {"names": None}, "odd log": {"log": []},
    "odd error": {"error": ["x"]}, "path as key": {"key": "../../x"}, "absolute key": {"key": "/etc/passwd"},
    "null character": {"key": "a\0"}, "long key": {"key": "a" * 5000}, "another key": {"key": "0" * 64},
    "odd document": {"doc": 5}, "another document": {"doc": {"task": 1}},
}  # fmt: skip


@pytest.mark.parametrize("changes", ATTEMPTS.values(), ids=ATTEMPTS)
def test_attempt_with_odd_fields_is_not_merged(changes: dict[str, Any], other: Store, tmp_path: Path) -> None:
    (file,) = other.path.glob("attempts/*/*.json")
    rewritten(file, **changes)
    assert str(file.relative_to(tmp_path)) in refusal(other, tmp_path)


def test_attempt_of_older_code_without_its_document_is_merged(other: Store, tmp_path: Path) -> None:
    (file,) = other.path.glob("attempts/*/*.json")
    rewritten(file, doc=None, seed=2)
    ours = Store(tmp_path / "a")
    apply(compare_stores(other.path, ours), ours)
    assert len(ours.attempts()) == 1


def test_store_of_a_newer_format_is_not_merged(other: Store, tmp_path: Path) -> None:
    rewritten(other.path / "bench-store.json", format=2)
    assert "has format 2, this bench reads 1" in refusal(other, tmp_path)


def test_last_line_of_a_log_may_be_half_and_no_other(other: Store, tmp_path: Path) -> None:
    log = file_of("log", other)
    whole = log.read_bytes()
    log.write_bytes(whole + b"half\n{}\n")
    assert str(log.relative_to(tmp_path)) in refusal(other, tmp_path)
    log.write_bytes(whole + b'{"epoch": 3, "lo')
    ours = Store(tmp_path / "c")
    apply(compare_stores(other.path, ours), ours)
    (copied,) = ours.path.glob(COPIED["log"])
    assert copied.read_bytes() == log.read_bytes()


def test_two_attempts_whose_names_differ_in_case_alone_are_not_merged(other: Store, tmp_path: Path) -> None:
    (file,) = other.path.glob("attempts/*/*.json")
    for name in ("a.json", "A.json"):
        shutil.copy(file, file.parent / name)
    assert "a.json is not what its key says" in refusal(other, tmp_path)


FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "no weights' digest": ("summary", {"weights_sha256": None}), "odd digest": ("summary", {"weights_sha256": "x"}),
    "no provenance": ("summary", {"provenance": None}), "odd provenance": ("summary", {"provenance": {"device": 1}}),
    "odd cost": ("summary", {"cost": {"pretrain_s": "long"}}), "odd warnings": ("summary", {"warnings": "x"}),
    "no document": ("recipe", {"doc": None}), "odd document": ("recipe", {"doc": [1]}),
    "no recipe": ("chain file", {"recipe": None}), "no summary": ("chain file", {"summary": None}),
    "odd recipe": ("chain file", {"recipe": {"doc": [1]}}), "odd summary": ("chain file", {"summary": {}}),
    "no log": ("chain file", {"log": None}), "a line that is none": ("chain file", {"log": [1]}),
    "no digests": ("done", {"digests": None}), "no digest": ("done", {"digests": {}}),
    "path as split": ("done", {"digests": {"../../x": "0" * 64}}),
    "absolute split": ("done", {"digests": {"/etc/x": "0" * 64}}),
    "splits in two cases": ("done", {"digests": {"test": "0" * 64, "Test": "0" * 64}}),
    "split without file": ("done", {"digests": {"other": "0" * 64}}), "odd seconds": ("done", {"embed_s": "long"}),
    "odd sources": ("done", {"sources": ["x"]}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "changes"), FIELDS.values(), ids=FIELDS)
def test_chain_whose_files_lack_or_bend_a_field_is_not_merged(
    name: str, changes: dict[str, Any], other: Store, tmp_path: Path
) -> None:
    file = file_of(name, other)
    rewritten(file, **changes)
    assert str(file.parent.relative_to(tmp_path)) in refusal(other, tmp_path)


JSON_FILES = ("record", "attempt", "chain file", "recipe", "summary", "done", "log")
CONTENTS = {
    "nothing": b"", "half": b'{"a":', "bytes": b"\xff\xfe\n\n", "a list": b"[1]\n\n", "deep": b"[" * 10**6 + b"\n\n",
    "deep objects": b'{"a":' * 100 + b"1" + b"}" * 100 + b"\n\n", "half a character": b'{"a": "\\ud800"}\n\n',
    "a long number": b'{"a": ' + b"9" * 5000 + b"}\n\n",
}  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
@pytest.mark.parametrize("name", JSON_FILES)
def test_file_that_is_no_json_is_not_merged(name: str, content: bytes, other: Store, tmp_path: Path) -> None:
    if name == "log" and b"\n" not in content:
        pytest.skip("the last line of a log may be half")
    file = file_of(name, other)
    file.write_bytes(content)
    assert str(file.relative_to(tmp_path)) in refusal(other, tmp_path)


@pytest.mark.parametrize("name", JSON_FILES)
def test_huge_file_is_not_read(name: str, other: Store, tmp_path: Path) -> None:
    file = file_of(name, other)
    os.truncate(file, LARGEST_JSON + 1)  # takes no room on the disk
    assert "cannot be read (it is too large)" in refusal(other, tmp_path)


@pytest.mark.parametrize("name", ["recipe", "weights", "embedding"])
def test_missing_file_is_named(name: str, other: Store, tmp_path: Path) -> None:
    file = file_of(name, other)
    file.unlink()
    assert f"{file.relative_to(tmp_path)} cannot be read (No such file" in refusal(other, tmp_path)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["record", "attempt"])
def test_number_that_is_not_finite_is_not_merged(name: str, number: float, other: Store, tmp_path: Path) -> None:
    file = file_of(name, other)
    content = read_json(file)
    content.pop("sha256", None)
    content["seconds"] = number
    file.write_text(json.dumps(content))
    assert f"{file.name} holds a number that is not finite" in refusal(other, tmp_path)


@pytest.mark.parametrize("name", ["weights", "embedding"])
def test_tensors_that_do_not_open_are_not_merged_though_their_digest_is_right(
    name: str, other: Store, tmp_path: Path
) -> None:
    file = file_of(name, other)
    file.write_bytes(b"no tensors")
    digest = file_digest(file)
    if name == "weights":
        rewrite(file.parent, "summary", weights_sha256=digest)
    else:
        digests = read_sealed(file.parent / "done.json")["digests"]
        rewritten(file.parent / "done.json", digests={**digests, "test": digest})
    assert "no safetensors file" in refusal(other, tmp_path)


@pytest.mark.parametrize("name", ["record", "attempt", "chain file", "recipe", "weights", "embedding"])
def test_disk_error_of_the_other_store_is_one_line(
    name: str, other: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_of(name, other)
    status = file.stat()

    class Broken(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            if os.path.samestat(os.fstat(self.fileno()), status):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(-1 if size is None else size)

    monkeypatch.setattr("bench_core.regular_files.io.FileIO", Broken)
    assert f"{file.relative_to(tmp_path)} cannot be read (Input/output error)" in refusal(other, tmp_path)


def test_a_merge_that_was_killed_leaves_whole_files_and_the_next_one_completes_it(
    other: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Store(tmp_path / "whole")
    apply(compare_stores(other.path, whole), whole)
    for number in range(4):  # before each of: the chain, the attempt, the record; and after them
        ours, left = Store(tmp_path / f"a{number}"), number

        def counted(name: str, ours: Store = ours) -> Callable[..., Any]:
            import bench_core.store.merge as module

            rename = getattr(module, name)

            def call(*arguments: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise KeyboardInterrupt
                left -= 1
                return rename(*arguments)

            return call

        with monkeypatch.context() as patch:
            for name in ("move", "move_once"):
                patch.setattr(f"bench_core.store.merge.{name}", counted(name))
            patch.setattr("bench_core.store.merge.shutil.rmtree", lambda *_, **__: None)  # nobody tidies up
            try:
                apply(compare_stores(other.path, ours), ours)
            except KeyboardInterrupt:
                assert number < 3
        visible = {name: content for name, content in files(ours).items() if ".tmp/" not in name}
        assert visible.items() <= files(whole).items()
        apply(compare_stores(other.path, ours), ours)
        visible = {name: content for name, content in files(ours).items() if ".tmp/" not in name}
        assert visible == files(whole)


@pytest.mark.parametrize("older", ["ours", "theirs"])
def test_chains_of_the_two_forms_are_equal(older: str, plan_of: PlanOf, tmp_path: Path) -> None:
    stores = {name: run(tmp_path / name, plan_of()) for name in ("ours", "theirs")}
    make_older(stores[older].chain_folder(plan_of().chains[0].key))
    before = files(stores["ours"])
    merged = compare_stores(stores["theirs"].path, stores["ours"])
    assert (merged.known, merged.conflicts, merged.chains, merged.other_weights) == (1, (), (), ())
    apply(merged, stores["ours"])
    assert files(stores["ours"]) == before


def test_a_chain_of_the_older_form_is_copied_as_it_is(plan_of: PlanOf, tmp_path: Path) -> None:
    other, ours = run(tmp_path / "b", plan_of(seeds=[0, 1])), Store(tmp_path / "a")
    make_older(other.chain_folder(plan_of(seeds=[0]).chains[0].key))
    apply(compare_stores(other.path, ours), ours)
    assert {name: content for name, content in files(other).items() if name.startswith("chains")} == {
        name: content for name, content in files(ours).items() if name.startswith("chains")
    }
    ours.record_file(plan_of().cells[0].key).unlink()
    assert run_plan(plan_of(), ours, CPU) == []
