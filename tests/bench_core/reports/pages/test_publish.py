import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_core import Evaluator
from bench_core.errors import BenchError, RequestError, StoreError
from bench_core.files import write_over
from bench_core.planning.plan import board_plan
from bench_core.plugins import Registry
from bench_core.reports.pages.publish import Published, check_pages, publish_board
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.store import read_records
from tests.bench_core.reports.pages.conftest import BOARD as OF_PROJECT
from tests.bench_core.reports.pages.conftest import Project

BOARD = """
title = "Tiny"
description = "For tests."
seeds = [0, 1]
[datasets.blobs]
[encoders.tiny]
[methods.shrink]
[methods.broken]
use = "shrink"
broken = true
[tasks.spread]
"""
Publish = Callable[[], Published]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def publish(registry: Registry, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Return a function that publishes the board, which was run by clean, committed code."""
    folder = tmp_path / "leaderboards" / "tiny"
    folder.mkdir(parents=True)
    (folder / "board.toml").write_text(BOARD)
    (tmp_path / "README.md").write_text("# Hello\n\n<!-- bench:begin tiny -->\n<!-- bench:end tiny -->\n\nBye.\n")
    monkeypatch.setattr("bench_core.running.provenance._commit", lambda: ("abc1234", False))
    run_plan(board_plan(str(folder), registry), store, RunSetting(device="cpu", command="bench run --board tiny"))

    def call() -> Published:
        return publish_board(str(folder), store, tmp_path / "leaderboards", tmp_path / "README.md", registry)

    return call


def check(tmp_path: Path, registry: Registry) -> list[Path]:
    return check_pages(tmp_path / "leaderboards", tmp_path / "README.md", registry)


def change_records(store: Store, **provenance: Any) -> None:
    """Write other provenance into all records of a store."""
    for path in (store.path / "cells").rglob("*.json"):
        record = json.loads(path.read_text())
        del record["sha256"]
        record["provenance"] |= provenance
        write_over(path, record)


def test_publishing_copies_records_and_writes_both_pages_from_them(
    publish: Publish, store: Store, tmp_path: Path, registry: Registry
) -> None:
    published = publish()
    folder, pages = tmp_path / "leaderboards" / "tiny", published.pages
    assert published.copied == 2
    assert pages == [folder / "README.md", tmp_path / "README.md"]
    assert {p.stem for p in (folder / "records").glob("*.json")} == {record.key for record in store.records()}
    page = (folder / "README.md").read_text()
    assert "# Tiny" in page
    assert "tiny/board.toml" in page  # the command of a board that is not shipped names its file
    assert "nan: the loss of main is inf at step 0" in page  # what failed is shown with its reason
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("# Hello\n")
    assert readme.endswith("\n\nBye.\n")
    assert "shrink" in readme
    assert check(tmp_path, registry) == sorted(pages)


@pytest.mark.parametrize(
    "command",
    [
        "/x/bench run --store /home/me/runs --board tiny --data-root=/data --seeds 0,1",
        "python -m bench_core run --board tiny --seeds 0,1 --store /home/me/runs --only-chain 0a1b --without-cell 2c3d",
    ],
)
def test_paths_of_the_machine_are_removed_from_published_commands(
    publish: Publish, store: Store, tmp_path: Path, command: str
) -> None:
    change_records(store, command=command, pretrain={"command": command})
    publish()
    for record in read_records(tmp_path / "leaderboards" / "tiny" / "records"):
        assert record.provenance.pretrain is not None
        assert record.provenance.command == record.provenance.pretrain.command == "bench run --board tiny --seeds 0,1"


def test_record_with_an_odd_command_or_without_one_is_published(publish: Publish, store: Store, tmp_path: Path) -> None:
    change_records(store, command="bench run --board 'tiny", pretrain=None)
    publish()
    for record in read_records(tmp_path / "leaderboards" / "tiny" / "records"):
        assert record.provenance.command == "bench run --board 'tiny"
        assert record.provenance.pretrain is None


def test_publishing_twice_changes_nothing(publish: Publish, tmp_path: Path) -> None:
    publish()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert list(publish().records.report()) == []
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def test_publishing_says_how_many_records_of_the_same_keys_come_from_another_run(
    publish: Publish, store: Store, tmp_path: Path
) -> None:
    publish()
    change_records(store, ended="2027-01-01T00:00:00+00:00")
    assert list(publish().records.report()) == ["run again: 2 records took the places of earlier ones of the same keys"]
    (newest,) = {r.provenance.ended for r in read_records(tmp_path / "leaderboards" / "tiny" / "records")}
    assert newest == "2027-01-01T00:00:00+00:00"


def test_check_finds_an_edited_page_and_an_edited_record(publish: Publish, tmp_path: Path, registry: Registry) -> None:
    publish()
    readme = tmp_path / "README.md"
    readme.write_text(readme.read_text().replace("| shrink", "| shrunk"))
    with pytest.raises(StoreError, match=r"README\.md differ from their records"):
        check(tmp_path, registry)
    publish()
    record = next((tmp_path / "leaderboards" / "tiny" / "records").glob("*.json"))
    changed = json.loads(record.read_text())
    changed["scores"][0]["value"] += 0.1
    write_over(record, changed)
    with pytest.raises(StoreError, match="differ from their records"):
        check(tmp_path, registry)


def test_records_of_changed_code_are_not_published(publish: Publish, store: Store, tmp_path: Path) -> None:
    change_records(store, dirty=True)
    with pytest.raises(RequestError, match=r"changed, uncommitted code: 2 \([0-9a-f]{12}, [0-9a-f]{12}\); commit"):
        publish()
    assert not (tmp_path / "leaderboards" / "tiny" / "records").exists()


@pytest.mark.parametrize(
    "provenance",
    [
        {"commit": None, "dirty": True},
        {"commit": None, "dirty": False},
        {"pretrain": {"commit": None, "dirty": True}},
    ],
)
def test_records_of_a_checkout_without_a_commit_are_not_published(
    publish: Publish, store: Store, tmp_path: Path, provenance: dict[str, Any]
) -> None:
    change_records(store, **provenance)
    with pytest.raises(RequestError, match=r"records made by a checkout without a commit: 2 .*git rev-parse HEAD"):
        publish()
    assert not (tmp_path / "leaderboards" / "tiny" / "records").exists()


def test_records_of_a_wheel_are_published_without_a_commit(publish: Publish, store: Store) -> None:
    change_records(store, commit=None, dirty=None, pretrain={"commit": None, "dirty": None})
    assert publish().copied == 2


def test_record_published_before_stays_if_the_store_lacks_it(
    publish: Publish, store: Store, tmp_path: Path, registry: Registry
) -> None:
    publish()
    next((tmp_path / "runs" / "cells").rglob("*.json")).unlink()
    assert publish().copied == 1
    assert len(list((tmp_path / "leaderboards" / "tiny" / "records").glob("*.json"))) == 2
    assert check(tmp_path, registry)


def test_board_published_to_another_folder_is_copied_with_its_file(
    publish: Publish, store: Store, tmp_path: Path, registry: Registry
) -> None:
    board = str(tmp_path / "leaderboards" / "tiny" / "board.toml")
    publish_board(board, store, tmp_path / "elsewhere", tmp_path / "none.md", registry)
    pages = check_pages(tmp_path / "elsewhere", tmp_path / "none.md", registry)
    assert pages == [tmp_path / "elsewhere" / "tiny" / "README.md"]
    assert "elsewhere/tiny/board.toml" in pages[0].read_text()


def test_tuned_board_published_to_another_folder_is_copied_with_its_values(project: Project, tmp_path: Path) -> None:
    (project.folder / "board.toml").write_text(f'tuned = "tuned.toml"\n{OF_PROJECT}')
    (project.folder / "tuned.toml").write_text("")
    publish_board(str(project.folder), project.store, tmp_path / "elsewhere", tmp_path / "none.md", project.registry)
    for name in ("board.toml", "tuned.toml"):
        assert (tmp_path / "elsewhere" / "toys" / name).read_bytes() == (project.folder / name).read_bytes()


def test_board_without_records_in_the_store_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(BOARD)
    with pytest.raises(RequestError, match=r"has no cell of board 'tiny'; run `bench run --board .*` first"):
        publish_board(str(tmp_path / "tiny.toml"), Store(tmp_path / "runs"), tmp_path, tmp_path / "README.md", registry)


def test_board_with_missing_cells_is_refused_and_nothing_is_written(project: Project) -> None:
    add_a_row(project)
    before = project.files()
    with pytest.raises(RequestError) as raised:
        project.publish()
    message = str(raised.value)
    assert message.startswith(
        "4 of 12 cells of this board have no record, the first is blobs/tiny/added/spread seed 0;"
    )
    assert f"run `bench run --board {project.folder}`" in message
    assert "with --partial" in message
    assert project.files() == before


def test_partial_board_says_on_page_and_readme_how_much_is_missing_until_nothing_is(project: Project) -> None:
    complete = "Partial" not in project.page()
    add_a_row(project)
    assert project.publish(partial=True).missing == 4
    sentence = "Partial: 8 of 12 cells; the other 4 have no record yet."
    assert complete
    assert project.page().count(sentence) == (project.root / "README.md").read_text().count(sentence) == 1
    assert project.check()
    project.run("spread", "look", methods=("added",), seeds=(0,))
    assert project.publish(partial=True).missing == 2
    assert "Partial: 10 of 12 cells; the other 2 have no record yet." in project.page()
    project.run("spread", "look", methods=("added",))
    assert project.publish().missing == 0
    assert "Partial" not in project.page()


def test_cells_that_were_published_before_are_not_missing(project: Project, tmp_path: Path) -> None:
    """The board's numbers may come from several stores, one after the other."""
    add_a_row(project)
    others = replace(project, store=Store(tmp_path / "another machine"))
    others.run("spread", "look", methods=("added",))
    assert others.publish().missing == 0
    assert len(project.records("spread")) == 6


def test_cells_that_are_skipped_failed_or_stale_are_not_missing(
    project: Project, look: type[Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Evaluator, frozen: object) -> None:
        raise RuntimeError("no such layer")

    monkeypatch.setattr(look, "revision", 2)  # the records of `look` are stale
    assert project.publish().missing == 0
    add_a_row(project, "factor = 2.0\nbroken = true\n")  # its training fails
    project.run("spread", "look", methods=("added",))
    assert project.publish().missing == 0
    monkeypatch.setattr(look, "skip_reason", lambda *_: "never")
    add_a_row(project)
    project.run("spread", methods=("added",))
    assert project.publish().missing == 0
    assert "Partial" not in project.page()


def add_a_row(project: Project, values: str = "factor = 2.0\n") -> None:
    """Give the board the row `added`, which has no record yet."""
    (project.folder / "board.toml").write_text(f'{OF_PROJECT}[methods.added]\nuse = "shrink"\n{values}')


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_board_file_that_is_a_link_or_a_pipe_is_not_copied(
    publish: Publish, store: Store, tmp_path: Path, registry: Registry, kind: str
) -> None:
    board = tmp_path / "leaderboards" / "tiny" / "board.toml"
    text = board.read_text()
    published = tmp_path / "elsewhere"
    board.unlink()
    if kind == "link":
        (tmp_path / "secret.toml").write_text(text)
        board.symlink_to(tmp_path / "secret.toml")
    else:
        os.mkfifo(board)
    with pytest.raises(BenchError, match=r"board\.toml cannot be read \(it is a link|no board named"):
        publish_board(str(board), store, published, tmp_path / "none.md", registry)
    assert not published.exists()


def test_check_without_a_published_board_is_refused(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(RequestError, match="holds no published board; `bench publish BOARD` makes one"):
        check(tmp_path, registry)


def test_pictures_and_pages_of_methods_are_written_and_checked(
    publish: Publish, tmp_path: Path, registry: Registry
) -> None:
    folder, page = tmp_path / "leaderboards" / "tiny", tmp_path / "docs" / "methods" / "shrink.md"
    toml = (folder / "board.toml").read_text()
    (folder / "board.toml").write_text(f'{toml}[pictures.itself]\nx = "spread:spread"\ny = "spread:spread"\n')
    page.parent.mkdir(parents=True)
    marks = "".join(
        f"<!-- bench:begin {m} -->\n<!-- bench:end {m} -->\n" for m in ("parameters", "numbers", "published")
    )
    page.write_text(f"# Shrink\n\n{marks}")
    pages = publish().pages
    assert page in pages
    assert folder / "itself.svg" in pages
    assert "![itself](itself.svg)" in (folder / "README.md").read_text()
    text = page.read_text()
    assert "| `shrink.factor`" in text
    assert "[tiny](../../leaderboards/tiny/README.md)" in text
    assert "None that we could verify." in text
    assert check(tmp_path, registry) == sorted(pages)
    (folder / "itself.svg").write_text("<svg/>")
    with pytest.raises(StoreError, match=r"itself\.svg does not show what its records say"):
        check(tmp_path, registry)


@pytest.mark.usefixtures("look")
def test_board_draws_curves_and_images_and_publishes_the_images_of_one_seed_only(
    store: Store, tmp_path: Path, registry: Registry, publish: Publish
) -> None:
    folder = tmp_path / "leaderboards" / "tiny"
    sections = {name: f'[pictures.{name}]\nkind = "{name}"\n' for name in ("projection", "layers", "samples")}
    (folder / "board.toml").write_text(f"{BOARD}[tasks.look]\n{''.join(sections.values())}")
    run_plan(board_plan(str(folder), registry), store, RunSetting(device="cpu", command="bench run --board tiny"))
    publish()
    pictures = [folder / f"{name}.svg" for name in sections]
    assert set(pictures) < set(check(tmp_path, registry))
    assert "![samples](samples.svg)" in (folder / "README.md").read_text()
    records = {r.seed: r for r in read_records(folder / "records") if r.names["task"] == "look"}
    assert {seed: (*record.curves, *record.images) for seed, record in records.items()} == {
        0: ("projection_pca", "layers", "samples"), 1: ("layers",),
    }  # fmt: skip
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    publish()
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    path = folder / "records" / f"{records[0].key}.json"
    changed = json.loads(path.read_text())
    changed["curves"]["projection_pca"]["x"][0] = 0.5
    write_over(path, changed)
    with pytest.raises(StoreError, match=r"projection\.svg does not show what its records say"):
        check(tmp_path, registry)


def test_page_named_after_no_method_is_refused(publish: Publish, tmp_path: Path) -> None:
    page = tmp_path / "docs" / "methods" / "shrunk.md"
    page.parent.mkdir(parents=True)
    page.write_text("# Shrunk\n")
    with pytest.raises(RequestError, match="no component or board named 'shrunk'; did you mean 'shrink'"):
        publish()


def test_a_board_whose_picture_cannot_be_drawn_is_refused_before_anything_is_written(
    publish: Publish, tmp_path: Path
) -> None:
    folder = tmp_path / "leaderboards" / "tiny"
    (folder / "board.toml").write_text(f'{BOARD}[pictures.bad]\nx = "spread:nothing"\ny = "spread:spread"\n')
    with pytest.raises(RequestError, match="spread:nothing"):
        publish()
    assert [path.name for path in folder.iterdir()] == ["board.toml"]
