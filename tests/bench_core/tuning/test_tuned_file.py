"""tuned.toml: written row by row, and read back as it was."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench_core.errors import RequestError
from bench_core.planning.tuning import Trial, Tuned, TunedRow, Tuning, read_tuned
from bench_core.tuning.tuned_file import add_row, toml_text

ROW = TunedRow(
    values={"flip": 0.3, "recipe.learning_rate": 0.000333, "sizes": [8, 8]},
    metrics=("knn:top1", "generation:fid"),
    trials=2,
    best=1,
    digest="sha256:ab",
    space={"flip": [0.1, 0.3], "recipe.learning_rate": "0.0001 to 0.09 (log)"},
    tried=[
        Trial({}, {"knn:top1": 0.5, "generation:fid": 40.0}),
        Trial(
            {"flip": 0.3, "recipe.learning_rate": 0.000333, "sizes": [8, 8]},
            {"knn:top1": 0.6, "generation:fid": 12.5},
        ),
        Trial({"flip": 0.1, "recipe.learning_rate": 1e-05}, {}),
    ],
    seeds=(0, 1),
    validation=0.25,
    epochs=20,
    datasets={"mnist": {"train_size": 1000}},
    lower=("generation:fid",),
    commits=("1a2b3c4", "5d6e7f8"),
)
HEAD = Tuned("bench tune --board toys", Tuning(trials=3, epochs=20, datasets={"mnist": {"train_size": 9}}), {})
ORDER = ["simclr", "nac", "vae"]


def add(path: Path, name: str, row: TunedRow = ROW) -> Tuned:
    """Put a row into the file."""
    return add_row(path, name, row, HEAD, ORDER, path.parent / "locks" / "lock")


def test_a_row_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "tuned.toml"
    written = add(path, "nac")
    assert read_tuned(path) == written == replace(HEAD, rows={"nac": ROW})


def test_a_row_is_read_without_what_may_be_left_out(tmp_path: Path) -> None:
    row = replace(ROW, epochs=None, datasets={}, lower=(), values={}, best=0, commits=())
    add(tmp_path / "tuned.toml", "nac", row)
    assert read_tuned(tmp_path / "tuned.toml").rows["nac"] == row


def test_rows_that_are_there_stay_in_the_boards_order(tmp_path: Path) -> None:
    path = tmp_path / "tuned.toml"
    for name in ("vae", "gone", "simclr", "nac"):
        add(path, name)
    assert list(read_tuned(path).rows) == ["simclr", "nac", "vae", "gone"]
    better = replace(ROW, trials=3, digest="sha256:cd")
    add(path, "nac", better)
    assert read_tuned(path).rows["nac"] == better
    assert read_tuned(path).rows["gone"] == ROW


def test_same_outcome_is_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "tuned.toml"
    add(path, "nac")
    before = path.read_text()
    add(path, "nac")
    assert path.read_text() == before


def test_file_is_short_enough_to_read(tmp_path: Path) -> None:
    add(tmp_path / "tuned.toml", "nac", replace(ROW, tried=[Trial({}, {"knn:top1": 1 / 3}), *ROW.tried[1:]]))
    lines = (tmp_path / "tuned.toml").read_text().splitlines()
    assert '    {values = {}, scores = {"knn:top1" = 0.333333}},' in lines
    assert 'values = {flip = 0.3, "recipe.learning_rate" = 0.000333, sizes = [8, 8]}' in lines
    assert len(lines) < 40


def test_a_file_that_is_no_tuned_toml_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "tuned.toml"
    path.write_text("[rows.nac]\nbest = 'one'\n")
    with pytest.raises(RequestError, match=r"tuned\.toml: rows\.nac"):
        add(path, "nac")
    assert path.read_text() == "[rows.nac]\nbest = 'one'\n"


def test_without_tomlkit_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomlkit", None)
    with pytest.raises(RequestError, match=r"pip install 'bench-core\[tune\]'"):
        toml_text({})
