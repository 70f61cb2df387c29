"""Logs stay beside published records: thinned, rounded, without folders, and gone with their training."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench_core import Evaluator
from bench_core.errors import StoreError
from bench_core.files import write_over
from bench_core.keys import key_of
from bench_core.reports.pages.published_logs import ChainLog, _as_file, chain_log, published_log, thinned
from bench_core.reports.pages.published_records import merge_records
from bench_core.store.chain_files import CHAIN
from bench_core.store.merge import apply, compare_stores
from bench_core.store.store import Store

Project = Any  # of conftest.py, which tests cannot import


def epochs(count: int, warned: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [{"epoch": epoch, "loss": 1 / epoch} for epoch in range(1, count + 1)]
    for epoch in warned:
        lines[epoch - 1]["warnings"] = ["low"]
    return lines


def log_files(project: Project) -> list[Path]:
    return sorted((project.folder / "logs").glob("*"))


def change_chain(store: Store, chain: str, **changes: Any) -> None:
    """Write other content into the file of a trained chain."""
    path = store.chain_folder(chain) / CHAIN
    content = json.loads(path.read_text())
    del content["sha256"]
    write_over(path, content | changes)


def a_chain(project: Project, task: str = "spread") -> str:
    return key_of(project.records(task)[0].document.pretrain)


def test_a_short_log_stays_whole_and_a_long_one_keeps_its_ends_and_warnings() -> None:
    assert thinned(epochs(200)) == epochs(200)
    kept = [line["epoch"] for line in thinned(epochs(1000, (7, 8, 500)))]
    assert len(kept) == 200
    assert {1, 7, 8, 500, 1000} <= set(kept)
    assert kept == sorted(kept)
    assert max(b - a for a, b in pairwise(kept)) <= 7  # 997 others in 195 equal steps: about 5
    assert [line["epoch"] for line in thinned(epochs(10), 4)] == [1, 4, 8, 10]  # of 2..9 those at 1/4 and 3/4: 4 and 8


def test_a_log_full_of_warnings_has_no_more_lines_than_others() -> None:
    kept = [line["epoch"] for line in thinned(epochs(900, tuple(range(1, 901))))]
    assert len(kept) == 200
    assert (kept[0], kept[-1]) == (1, 900)


def test_a_log_comes_back_from_its_file_with_five_digits_and_without_folders(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        {"step": 4, "epoch": 1, "loss": 2.302585092994046, "images_per_s": 5398.9, "seconds": 0.1, "part": math.nan},
        {"step": 8, "epoch": 2, "loss": 1.5, "probe": {"knn": 1 / 3}, "warnings": ["see /home/me/x/y.txt, 1/2 of it"]},
        {"step": 8, "after_training": {"prior": 0.123456789}},
    ]
    (tmp_path / "logs").mkdir()
    content = _as_file(ChainLog(lines, 3))
    (tmp_path / "logs" / "abc.jsonl").write_bytes(content)
    log = published_log(tmp_path, "abc")
    assert log is not None
    assert log.length == 3
    first, second, last = log.lines
    assert math.isnan(first["part"])
    assert {**first, "part": 0} == {"epoch": 1, "loss": 2.3026, "images_per_s": 5400, "part": 0}
    assert second == {"epoch": 2, "loss": 1.5, "probe": {"knn": 0.33333}, "warnings": ["see y.txt, 1/2 of it"]}
    assert last == {"after_training": {"prior": 0.12346}}
    assert log.epoch_lines == [first, second]
    assert content.splitlines()[0] == (
        b'{"lines":3,"columns":["epoch","loss","images_per_s","part","probe","warnings","after_training"]}'
    )
    assert content == _as_file(ChainLog(lines, 3))


def test_a_damaged_log_is_named_and_a_missing_one_is_none(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "abc.jsonl").write_text('{"lines": 3}\n')
    with pytest.raises(StoreError, match=r"abc\.jsonl is no published log: .*; delete it and publish again"):
        published_log(tmp_path, "abc")
    assert published_log(tmp_path, "def") is None


def test_publishing_keeps_a_log_for_each_chain_that_was_trained(project: Project) -> None:
    chains = {key_of(record.document.pretrain) for record in project.records("spread")}
    assert {path.stem for path in log_files(project)} == chains
    for path in log_files(project):
        assert published_log(project.folder, path.stem) is not None
        assert str(project.root.parent) not in path.read_text()
    before = project.files()
    project.publish()
    assert project.files() == before
    assert project.check()


def test_a_log_that_the_store_lacks_stays_until_its_training_is_another(project: Project) -> None:
    chain = a_chain(project)
    kept = (project.folder / "logs" / f"{chain}.jsonl").read_bytes()
    (project.store.chain_folder(chain) / CHAIN).unlink()
    project.publish()
    assert (project.folder / "logs" / f"{chain}.jsonl").read_bytes() == kept
    for record in project.store.records():
        if key_of(record.document.pretrain) == chain:
            content = json.loads(project.store.record_file(record.key).read_text())
            del content["sha256"]
            content["provenance"]["ended"] = "2030-01-01T00:00:00+00:00"
            write_over(project.store.record_file(record.key), content)
    project.publish()
    assert chain not in {path.stem for path in log_files(project)}
    assert len(log_files(project)) == 3


def test_a_replaced_training_loses_its_log(
    project: Project, look: type[Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.stem for path in log_files(project)}
    monkeypatch.setattr(project.registry.get("objective", "shrink").cls, "revision", 2)
    project.run("spread", "look")
    project.publish()
    assert len(log_files(project)) == 4
    assert not before & {path.stem for path in log_files(project)}


def test_a_damaged_chain_is_named_before_anything_is_written(project: Project) -> None:
    change_chain(project.store, a_chain(project), log=[3])
    before = project.files()
    with pytest.raises(StoreError, match="log must be a list of objects"):
        project.publish()
    assert project.files() == before


def test_a_row_that_trains_nothing_has_no_log(project: Project) -> None:
    chain = a_chain(project)
    change_chain(project.store, chain, log=[])
    assert chain_log(project.store, chain) is None


def test_a_board_with_logs_can_be_merged(project: Project, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    apply(compare_stores(project.folder, other), other)
    assert {record.key for record in other.records()} == {record.key for record in project.store.records()}
    merged = merge_records(project.plan, [], other.records())
    assert len(merged.kept) == 8
