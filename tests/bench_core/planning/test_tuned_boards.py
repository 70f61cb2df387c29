"""A board that names a tuned.toml has its values, in a checkout and in a wheel; boards based on it have not."""

from pathlib import Path

import pytest

from bench_core.errors import RequestError
from bench_core.planning import boards
from bench_core.planning.boards import board_names, files_of_board, load_board

BOARD = """
seeds = [0, 1]
tuned = "tuned.toml"
[recipe]
epochs = 3
[datasets.blobs]
[encoders.tiny]
[methods.shrink]
[methods.shrink_less]
use = "shrink"
factor = 0.5
recipe.learning_rate = 0.1
[tasks.spread]
[pictures.tuning]
kind = "tuning"
[pictures.plane]
kind = "projection"
"""
TUNED = """
command = "bench tune --board blobs"
commit = "1a2b3c4"
[tuning]
trials = 2
[rows.shrink_less]
metrics = ["spread:score"]
trials = 2
best = 1
digest = "sha256:0"
[rows.shrink_less.space]
factor = [0.25, 0.5]
[rows.shrink_less.values]
factor = 0.25
"recipe.weight_decay" = 0.01
[[rows.shrink_less.tried]]
scores = { "spread:score" = 0.5 }
[[rows.shrink_less.tried]]
values = { factor = 0.25, "recipe.weight_decay" = 0.01 }
scores = { "spread:score" = 0.75 }
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a board in a checkout that has no other."""
    folder = tmp_path / "leaderboards" / "blobs"
    folder.mkdir(parents=True)
    (folder / "board.toml").write_text(BOARD)
    monkeypatch.setattr(boards, "checkout", lambda: tmp_path)
    return folder


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a wheel's boards, of which there is one."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "blobs.toml").write_text(BOARD)
    (folder / "published.toml").write_text("")
    monkeypatch.setattr(boards, "checkout", lambda: None)
    monkeypatch.setattr(boards, "shipped_files", lambda: folder)
    return folder


def check_values(name: str) -> None:
    """The tuned row has its values over the board's, which stay where tuning found none."""
    board = load_board(name)
    assert board.methods["shrink_less"].values == {"factor": 0.25}
    assert board.methods["shrink_less"].recipe == {"learning_rate": 0.1, "weight_decay": 0.01}
    assert board.methods["shrink"] == load_board(name, tuned=False).methods["shrink"]
    assert board.tuned is not None
    assert board.tuned.rows["shrink_less"].trials == 2


def test_the_values_lie_beside_the_board_in_a_checkout(checkout: Path) -> None:
    (checkout / "tuned.toml").write_text(TUNED)
    check_values("blobs")
    check_values(str(checkout))
    assert files_of_board("blobs") == {name: checkout / name for name in ("board.toml", "tuned.toml")}


def test_the_values_of_a_wheels_board_have_its_name_and_are_no_board(wheel: Path) -> None:
    (wheel / "blobs.tuned.toml").write_text(TUNED)
    check_values("blobs")
    assert board_names() == ["blobs"]
    assert files_of_board("blobs") == {"board.toml": wheel / "blobs.toml", "tuned.toml": wheel / "blobs.tuned.toml"}


def test_a_missing_file_is_refused_with_the_command_that_makes_it(checkout: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"tuned\.toml does not exist; `bench tune --board blobs` makes it"):
        load_board("blobs")
    other = tmp_path / "other.toml"
    other.write_text(BOARD)
    with pytest.raises(RequestError, match=rf"`bench tune --board {other}` makes it"):
        load_board(str(other))
    assert load_board("blobs", tuned=False).tuned is None


def test_a_missing_file_of_a_wheel_is_refused_with_its_path(wheel: Path) -> None:
    with pytest.raises(
        RequestError, match=r"shipped/blobs\.tuned\.toml does not exist; `bench tune --board blobs` makes"
    ):
        load_board("blobs")


@pytest.mark.parametrize("value", ["3", "''", "'../other/tuned.toml'"])
def test_what_is_no_name_of_a_file_is_refused(value: str, checkout: Path) -> None:
    (checkout / "board.toml").write_text(BOARD.replace('"tuned.toml"', value))
    with pytest.raises(RequestError, match="tuned must be the name of a file beside the board"):
        load_board("blobs")


def test_a_board_with_a_base_has_neither_its_values_nor_its_picture_of_tuning(checkout: Path, tmp_path: Path) -> None:
    (checkout / "tuned.toml").write_text(TUNED)
    (tmp_path / "based.toml").write_text("base = 'blobs'\nseeds = [7]\n")
    based = load_board(str(tmp_path / "based.toml"))
    assert based.tuned is None
    assert based.methods["shrink_less"].values == {"factor": 0.5}
    assert list(based.pictures) == ["plane"]
    assert files_of_board(str(tmp_path / "based.toml")) == {"board.toml": tmp_path / "based.toml"}


def test_a_board_with_a_base_may_have_values_of_its_own(checkout: Path, tmp_path: Path) -> None:
    (checkout / "tuned.toml").write_text(TUNED)
    (tmp_path / "own.toml").write_text(TUNED.replace("0.25", "0.125"))
    (tmp_path / "based.toml").write_text("base = 'blobs'\ntuned = 'own.toml'\n")
    assert load_board(str(tmp_path / "based.toml")).methods["shrink_less"].values == {"factor": 0.125}
