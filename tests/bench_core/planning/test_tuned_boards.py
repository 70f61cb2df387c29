"""A board that names a tuned.toml has its values, in a checkout and in a wheel; boards based on it have not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError
from bench_core.planning import board_files
from bench_core.planning.board_changes import board_changes
from bench_core.planning.board_files import board_names
from bench_core.planning.boards import files_of_board, load_board, load_with_trials
from bench_core.planning.chains import Plan
from bench_core.planning.describe import describe_component, print_component
from bench_core.planning.recipe_lines import recipe_lines
from bench_core.planning.spaces import row_digest
from bench_core.planning.tuned_before_change import tuned_before_change
from bench_core.planning.why import explain
from bench_core.plugins import Registry
from bench_core.store import Store

PlanOf = Callable[..., Plan]

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
[tuning]
trials = 2
metrics.features = "spread:score"
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
    monkeypatch.setattr(board_files, "checkout", lambda: tmp_path)
    return folder


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a wheel's boards, of which there is one."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "blobs.toml").write_text(BOARD)
    (folder / "published.toml").write_text("")
    monkeypatch.setattr(board_files, "checkout", lambda: None)
    monkeypatch.setattr(board_files, "shipped_files", lambda: folder)
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


@pytest.mark.parametrize(
    ("line", "changed", "message"),
    [
        ("best = 1", "best = 2", r"rows\.shrink_less\.best must be the number of a trial, 0 to 1, got 2"),
        ("best = 1\n", "best = 1\ncommits = '1a2b3c4'\n", r"commits must be a list of commits, got '1a2b3c4'"),
        ("best = 1\n", "best = 1\ncommits = [7]\n", r"commits must be a list of commits, got \[7\]"),
    ],
)
def test_a_file_that_was_changed_by_hand_is_refused_by_the_key(
    line: str, changed: str, message: str, checkout: Path
) -> None:
    (checkout / "tuned.toml").write_text(TUNED.replace(line, changed))
    with pytest.raises(RequestError, match=message):
        load_board("blobs")


def test_a_board_with_other_seeds_and_tasks_than_its_base_has_the_tuned_values(checkout: Path, tmp_path: Path) -> None:
    (checkout / "tuned.toml").write_text(TUNED)
    (tmp_path / "based.toml").write_text("base = 'blobs'\nonly = ['shrink_less']\nseeds = [7]\n[tasks.spread]\n")
    based, blobs = load_board(str(tmp_path / "based.toml")), load_board("blobs")
    assert based.methods["shrink_less"] == blobs.methods["shrink_less"]
    assert based.methods["shrink_less"].values == {"factor": 0.25}
    assert based.written == blobs.written  # with all rows: what tells rows apart there was not tuned
    assert list(based.pictures) == list(blobs.pictures)
    assert files_of_board(str(tmp_path / "based.toml")) == {"board.toml": tmp_path / "based.toml"}
    assert load_board(str(tmp_path / "based.toml"), tuned=False).methods["shrink_less"].values == {"factor": 0.5}


@pytest.mark.parametrize(
    "section", ["[recipe]\nlearning_rate = 0.5", "[datasets.blobs]", "[encoders.linear_map]", "[methods.shrink_less]"]
)
def test_a_board_with_a_section_of_its_own_that_was_tuned_for_has_neither_values_nor_picture_of_tuning(
    section: str, checkout: Path, tmp_path: Path
) -> None:
    (checkout / "tuned.toml").write_text(TUNED)
    (tmp_path / "based.toml").write_text(f"base = 'blobs'\n{section}\n")
    based = load_board(str(tmp_path / "based.toml"))
    assert based.tuned is None
    assert based.methods["shrink_less"].values == ({} if "methods" in section else {"factor": 0.5})
    assert list(based.pictures) == ["plane"]
    assert files_of_board(str(tmp_path / "based.toml")) == {"board.toml": tmp_path / "based.toml"}


def test_a_board_with_a_base_may_have_values_of_its_own(checkout: Path, tmp_path: Path) -> None:
    (checkout / "tuned.toml").write_text(TUNED)
    (tmp_path / "own.toml").write_text(TUNED.replace("0.25", "0.125"))
    (tmp_path / "based.toml").write_text("base = 'blobs'\ntuned = 'own.toml'\n")
    assert load_board(str(tmp_path / "based.toml")).methods["shrink_less"].values == {"factor": 0.125}


@pytest.fixture
def tuned_board(checkout: Path) -> str:
    """The name of a board whose row shrink_less is tuned."""
    (checkout / "tuned.toml").write_text(TUNED)
    return "blobs"


def method_of(plan: Plan) -> dict[str, Any]:
    """Parameters of the only row of a plan, those of its recipe with their prefix."""
    (chain,) = plan.chains
    return {**vars(chain.method.config), **{f"recipe.{name}": value for name, value in vars(chain.recipe).items()}}


def test_tuned_values_beat_the_row_and_are_beaten_by_options(tuned_board: str, plan_of: PlanOf) -> None:
    asked: dict[str, Any] = {"board": tuned_board, "methods": ["shrink_less"], "seeds": [0]}
    values = method_of(plan_of(**asked))
    assert (values["factor"], values["recipe.weight_decay"], values["recipe.learning_rate"]) == (0.25, 0.01, 0.1)
    assert values["recipe.epochs"] == 3
    settings = {"shrink_less.factor": 2.0, "shrink_less.recipe.weight_decay": 0.5}
    values = method_of(plan_of(**asked, settings=settings, epochs=1))
    assert (values["factor"], values["recipe.weight_decay"], values["recipe.epochs"]) == (2.0, 0.5, 1)


def test_the_recipe_of_a_tuned_row_says_so(tuned_board: str, plan_of: PlanOf) -> None:
    lines = list(recipe_lines(plan_of(board=tuned_board, methods=["shrink", "shrink_less"], epochs=1)))
    assert [line.partition(" (")[2] for line in lines] == [
        "the method; --epochs)",
        "the method; learning_rate, weight_decay from board blobs, tuned; --epochs)",
    ]


def test_the_key_of_a_row_is_that_of_its_values_wherever_they_stand(
    tuned_board: str, checkout: Path, plan_of: PlanOf
) -> None:
    keys = [cell.key for cell in plan_of(board=tuned_board, methods=["shrink", "shrink_less"]).cells]
    written = BOARD.replace('tuned = "tuned.toml"', "").replace(
        "factor = 0.5", "factor = 0.25\nrecipe.weight_decay = 0.01"
    )
    (checkout / "board.toml").write_text(written)
    assert [cell.key for cell in plan_of(board=tuned_board, methods=["shrink", "shrink_less"]).cells] == keys


def test_a_board_tells_what_was_chosen(tuned_board: str, registry: Registry) -> None:
    described = describe_component(tuned_board, registry)[-1]  # a dataset has this name, too
    assert described["tuned"] == [
        "Tuned: each row is the best of 2 trials on a held-out 20 % of train, by spread score; labels of the "
        "held-out part chose.",
        "Trials: the board's epochs, 1 seed.",
        "shrink_less: factor = 0.25, recipe.weight_decay = 0.01; best of 2 trials by spread score",
    ]
    assert described["tuned"][2] in print_component(described)


def test_a_value_of_a_row_is_from_tuning_where_that_set_it(tuned_board: str, registry: Registry) -> None:
    (described,) = board_changes("shrink_less", tuned_board, registry)
    assert {change["name"]: change["from"] for change in described["changes"]} == {
        "factor": "tuned.toml",
        "recipe.learning_rate": "methods.shrink_less.recipe",
        "recipe.weight_decay": "tuned.toml",
        "recipe.epochs": "recipe",
    }


def test_why_names_the_choice_and_what_the_request_overrules(tuned_board: str, plan_of: PlanOf, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    asked: dict[str, Any] = {"board": tuned_board, "methods": ["shrink", "shrink_less"], "seeds": [0]}
    lines = list(explain("shrink_less/spread", plan_of(**asked), store))
    chosen = "tuned by blobs: factor = 0.25, recipe.weight_decay = 0.01; best of 2 trials by spread score"
    assert chosen in lines
    assert not any("itself" in line for line in lines)
    lines = list(explain("shrink_less/spread", plan_of(**asked, settings={"shrink_less.factor": 2.0}), store))
    assert lines[lines.index(chosen) + 1] == "  of which this request sets factor itself"
    assert not any("tuned" in line for line in explain("shrink/spread", plan_of(**asked), store))


def test_rows_that_changed_since_they_were_tuned_are_found(
    tuned_board: str, checkout: Path, registry: Registry
) -> None:
    written = load_board(tuned_board, tuned=False)
    digest = row_digest(written.methods["shrink_less"], written, registry)
    (checkout / "tuned.toml").write_text(TUNED.replace("sha256:0", digest))
    assert tuned_before_change(load_board(tuned_board), registry) == []
    (checkout / "board.toml").write_text(BOARD.replace("factor = 0.5", "factor = 0.75"))
    assert tuned_before_change(load_board(tuned_board), registry) == ["shrink_less"]
    assert tuned_before_change(load_board(tuned_board, tuned=False), registry) == []


def test_trials_are_read_from_the_folder_of_a_board_that_does_not_name_them_yet(checkout: Path) -> None:
    (checkout / "board.toml").write_text(BOARD.replace('tuned = "tuned.toml"', ""))
    assert load_with_trials("blobs").tuned is None
    (checkout / "tuned.toml").write_text(TUNED)
    board = load_with_trials("blobs")
    assert board.tuned is not None
    assert list(board.tuned.rows) == ["shrink_less"]
    assert load_board("blobs").tuned is None
    (checkout / "board.toml").rename(checkout / "other.toml")  # several boards may lie there
    assert load_with_trials(str(checkout / "other.toml")).tuned is None
