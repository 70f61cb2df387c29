"""No published record is lost while revisions rise, rows go and cells fail; pages show the old numbers as stale."""

import re
from pathlib import Path
from typing import Any

import pytest

from bench_core import Evaluator
from bench_core.errors import RequestError, StoreError
from bench_core.plugins import Registry
from bench_core.reports.pages.published_records import typed_command
from bench_core.reports.pictures.draw import fingerprint_in
from bench_core.store import Store

Project = Any  # of conftest.py, which tests cannot import


@pytest.fixture
def spread(registry: Registry) -> type[Evaluator]:
    """Class of the task `spread`, whose revision a test may raise."""
    cls: type[Evaluator] = registry.get("evaluator", "spread").cls
    return cls


def cells(text: str, row: str) -> list[str]:
    """Return the cells of the first line of a Markdown table that begins with this row."""
    (line, *_) = re.findall(rf"^\| {re.escape(row)} .*$", text, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_pages_of_a_raised_revision_show_the_old_numbers_as_stale_and_are_green_again(
    project: Project, look: type[Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = project.files()
    number = cells(project.page(), "weak")[1].partition(" ")[0]
    assert number == "56.2"
    monkeypatch.setattr(look, "revision", 2)
    with pytest.raises(StoreError, match=r"differ from their records; run `bench publish --pages`"):
        project.check()
    changed = project.write_pages()
    assert set(changed) == {
        project.folder / "README.md", project.root / "README.md", project.root / "docs" / "tasks" / "look.md",
    }  # fmt: skip
    assert project.check()
    for path in changed:
        row = cells(path.read_text(), "weak")
        (shown,) = [cell for cell in row if number in cell]
        assert "stale" in shown
        assert "**" not in shown
    assert "task.revision was 1, is 2" in project.page()
    kept = {path: content for path, content in project.files().items() if path not in changed}
    assert kept == {path: content for path, content in before.items() if path not in changed}  # records and pictures
    assert project.write_pages() == []


def test_a_picture_without_valid_numbers_keeps_its_last_drawing_and_the_page_says_so(
    project: Project, look: type[Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (project.folder / "plane.svg").read_bytes(), (project.folder / "both.svg").read_bytes()
    assert "stale" not in project.page()
    monkeypatch.setattr(look, "revision", 2)
    project.write_pages()
    assert before == ((project.folder / "plane.svg").read_bytes(), (project.folder / "both.svg").read_bytes())
    for name in ("plane", "both"):
        assert (
            f"![{name}]({name}.svg)\n\nDrawn from stale records of look (task.revision was 1, is 2).\n"
            in project.page()
        )
    (project.folder / "plane.svg").write_text("<svg/>")
    with pytest.raises(StoreError, match=r"plane\.svg does not show what its records say"):
        project.check()
    assert project.write_pages() == [project.folder / "plane.svg"]
    assert (project.folder / "plane.svg").read_bytes() == before[0]


def test_publishing_one_column_replaces_its_records_and_keeps_those_of_the_other_stale_column(
    project: Project, spread: type[Evaluator], look: type[Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = {record.key: record.stored for record in project.records("look")}
    spreads = {record.key for record in project.records("spread")}
    monkeypatch.setattr(spread, "revision", 2)
    monkeypatch.setattr(look, "revision", 2)
    project.run("spread")
    published = project.publish()
    assert list(published.records.report()) == [
        "replaced: 4 older records of the same cells",
        "stale: 4 records of an older revision; each stays until a new one of its cell comes",
    ]
    assert {record.key: record.stored for record in project.records("look")} == looks
    assert len(project.records("spread")) == 4
    assert not spreads & {record.key for record in project.records("spread")}
    assert project.check()
    assert "stale" not in cells(project.page(), "weak")[0]
    assert "stale" in cells(project.page(), "weak")[1]
    assert "Drawn from stale records of look (task.revision was 1, is 2)." in project.page()
    project.run("look")
    project.publish()
    assert "stale" not in project.page()
    assert not looks.keys() & {record.key for record in project.records("look")}
    assert project.check()


def test_a_picture_of_some_valid_rows_shows_these_and_names_the_others(
    project: Project, look: type[Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint_in(project.folder / "plane.svg")
    monkeypatch.setattr(look, "revision", 2)
    project.run("look", methods=("strong",))
    project.publish()
    for name in ("plane", "both"):
        assert f"({name}.svg)\n\nWithout weak: their records are stale.\n" in project.page()
    assert "weak" not in (project.folder / "plane.svg").read_text()
    assert fingerprint_in(project.folder / "plane.svg") != before
    assert project.check()


def test_the_first_seed_of_the_new_revision_keeps_its_projection_beside_a_stale_lower_seed(
    project: Project, look: type[Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "revision", 2)
    project.run("look", seeds=(1,))
    project.publish()
    kept = {(record.seed, record.document.component("task")["revision"]) for record in project.records("look")}
    assert kept == {(0, 1), (1, 2)}
    assert all("projection_pca" in record.curves for record in project.records("look"))
    assert "(seed 1)" in (project.folder / "plane.svg").read_text()
    assert project.check()


def test_records_of_a_row_that_was_taken_out_stay_in_the_folder_and_in_no_table(project: Project) -> None:
    before = {record.key for task in ("look", "spread") for record in project.records(task)}
    board = project.folder / "board.toml"
    board.write_text(board.read_text().replace('[methods.weak]\nuse = "shrink"\n', ""))
    published = project.publish()
    assert list(published.records.report()) == [
        "not of this board as it is now: 4 records; they stay, and no table shows them"
    ]
    assert {record.key for task in ("look", "spread") for record in project.records(task)} == before
    assert "weak" not in project.page()
    assert project.check()


def test_an_earlier_drawing_stays_when_the_parameters_of_the_board_change(project: Project) -> None:
    before = (project.folder / "plane.svg").read_bytes()
    board = project.folder / "board.toml"
    board.write_text(board.read_text().replace('use = "shrink"', 'use = "shrink"\nbroken = false\nfactor = 3.0', 1))
    board.write_text(board.read_text().replace("factor = 5.0", "factor = 6.0"))
    project.run("spread")
    project.publish(partial=True)
    assert (project.folder / "plane.svg").read_bytes() == before
    assert "This is an earlier drawing: no record holds a projection; " in project.page()
    assert len(project.records("look")) == 4
    assert project.check()


def test_a_picture_that_was_never_drawn_and_has_no_numbers_is_refused_before_anything_is_written(
    project: Project,
) -> None:
    board = project.folder / "board.toml"
    board.write_text(board.read_text() + '[pictures.ball]\nkind = "pr"\n')
    before = project.files()
    for write in (project.publish, project.write_pages, project.check):
        with pytest.raises(RequestError, match="no record holds a precision-recall curve; `bench run"):
            write()
    assert project.files() == before


def test_a_failure_stays_published_until_its_cell_is_done_or_fails_anew(
    project: Project, look: type[Evaluator], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(self: Evaluator, frozen: object) -> None:
        raise ValueError("too dark")

    def failures() -> list[str]:
        return sorted(path.stem for path in (project.folder / "failed").glob("*.json"))

    evaluate = look.evaluate
    monkeypatch.setattr(look, "revision", 2)
    monkeypatch.setattr(look, "evaluate", fails)
    project.run("look", methods=("weak",), seeds=(0,))
    project.publish()
    (failed,) = failures()
    assert "too dark" in project.page()
    assert len(project.records("look")) == 4  # the old record of the failed cell stays, too
    other_machine = type(project)(project.root, project.registry, Store(tmp_path / "other"))
    other_machine.run("spread")
    other_machine.publish()
    assert failures() == [failed]
    monkeypatch.setattr(look, "revision", 3)
    project.run("look", methods=("weak",), seeds=(0,))
    project.publish()
    assert len(failures()) == 1
    assert failures() != [failed]
    monkeypatch.setattr(look, "evaluate", evaluate)
    project.run("look", methods=("weak",), seeds=(0,))
    project.publish()
    assert failures() == []
    assert project.check()


@pytest.mark.parametrize(
    ("command", "published"),
    [
        ("/usr/bin/bench run --methods nac --store /home/me/runs", "bench run --methods nac"),
        ("/usr/bin/python -m bench_core run --methods nac --data-root=/data", "bench run --methods nac"),
        ("bench_core.run(['nac'], ['knn'])", "bench_core.run(['nac'], ['knn'])"),
        (None, None),
    ],
)
def test_a_command_is_published_as_anybody_would_type_it(command: str | None, published: str | None) -> None:
    assert typed_command(command) == published
