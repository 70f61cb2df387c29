"""The page of claims among the generated pages: written and checked with the others, from claim files and records."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError, StoreError

HEAD = 'title = "Toys"\npaper = "Author, A Title, 2020"\nurl = "https://example.org/toys"\n'
CLAIM = """
[claims.spread]
claim = "A larger factor spreads more."
source = "Table 1"
by = "paper"
paper_scale = "large toys"
scale = "cpu"
board = "toys"
left = "strong"
right = "weak"
score = "spread:spread"
relation = "higher"
"""


@pytest.fixture
def claims(project: Any) -> Path:
    """The folder of a project's claims, with one claim of its published board, which has two seeds."""
    folder: Path = project.root / "leaderboards" / "claims"
    folder.mkdir()
    (folder / "toys.toml").write_text(HEAD + CLAIM)
    return folder


def test_the_page_is_written_and_checked_with_the_others(project: Any, claims: Path) -> None:
    with pytest.raises(StoreError, match=r"claims/README\.md differ.*does not exist"):
        project.check()
    assert project.write_pages() == [claims / "README.md"]
    assert claims / "README.md" in project.check()
    text = (claims / "README.md").read_text()
    assert "1 claim of 1 paper: 1 not measured" in text
    assert f"`bench run --board {(project.folder / 'board.toml').as_posix()} --methods strong,weak --tasks" in text


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda folder: _replace(folder / "toys.toml", "larger", "smaller"), id="claim"),
        pytest.param(lambda folder: _replace(folder / "README.md", "not measured", "supported"), id="page"),
        pytest.param(lambda folder: (folder / "toys.toml").rename(folder / "games.toml"), id="name"),
    ],
)
def test_a_page_that_differs_from_claims_or_records_is_told(
    project: Any, claims: Path, edit: Callable[[Path], object]
) -> None:
    project.write_pages()
    edit(claims)
    with pytest.raises(StoreError, match=r"claims/README\.md differ from their records; run `bench publish --pages`"):
        project.check()
    project.write_pages()
    project.check()


def test_publishing_a_board_with_more_seeds_gives_its_claims_a_verdict(project: Any, claims: Path) -> None:
    _replace(project.folder / "board.toml", "seeds = [0, 1]", "seeds = [0, 1, 2]")
    project.run("spread", "look", seeds=(2,))
    published = project.publish()
    assert claims / "README.md" in published.pages
    text = (claims / "README.md").read_text()
    assert "1 not measured" not in text
    assert re.search(r"strong - weak: -?[\d.]+ \\\[-?[\d.]+, -?[\d.]+\\\], 3 seeds", text)
    project.check()


def test_a_wrong_claim_file_is_named_and_nothing_is_written(project: Any, claims: Path) -> None:
    _replace(claims / "toys.toml", '"higher"', '"above"')
    before = project.files()
    with pytest.raises(RequestError, match=r"toys\.toml: claims\.spread"):
        project.write_pages()
    assert project.files() == before


def test_a_claim_of_a_row_that_its_board_does_not_have_is_told_by_the_check(project: Any, claims: Path) -> None:
    project.write_pages()
    _replace(claims / "toys.toml", '"weak"', '"weaker"')
    with pytest.raises(RequestError, match=r"toys\.toml: claims\.spread: .*'weaker'; did you mean 'weak'"):
        project.check()


def test_a_project_without_claims_has_no_such_page(project: Any) -> None:
    project.write_pages()
    assert not (project.root / "leaderboards" / "claims").exists()
    assert all(path.parent.name != "claims" for path in project.check())


def _replace(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
