"""Every board in leaderboards/ can be planned and is shipped, and its published records show what the board is for."""

import tomllib
from pathlib import Path

import pandas as pd
import pytest

from bench_core.planning.boards import load_board
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import load_plugins
from bench_core.reports.pages.published_board import read_published
from bench_core.reports.pictures.kinds import check_pictures
from bench_core.reports.tables.frames import tidy
from bench_core.store.store import read_records

ROOT = Path(__file__).parents[1]
NOT_RUN = ("cifar10_hashing",)  # their descriptions say so
ALLOWED_SKIP_REASONS = {
    "has no likelihood",
    "does not decode or sample",
    "needs data with known factors (sprites, dsprites, shapes3d)",
    "does not embed each modality by itself",
    "does not make one modality from the other",
}  # for a row or a whole board; any other reason would be a mistake of the board
BOARDS = sorted(path.parent.name for path in (ROOT / "leaderboards").glob("*/board.toml"))


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_can_be_planned_without_its_data_and_is_shipped_in_the_wheel(name: str, tmp_path: Path) -> None:
    plan = make_plan(Request(board=str(ROOT / "leaderboards" / name), data_root=tmp_path), load_plugins())
    assert len(plan.cells) >= 15
    assert {cell.skip for cell in plan.cells if cell.skip} <= ALLOWED_SKIP_REASONS
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert f"leaderboards/{name}/board.toml" in build["targets"]["wheel"]["force-include"]
    assert load_board(name).methods.keys() == load_board(str(ROOT / "leaderboards" / name)).methods.keys()


def test_the_tuned_values_of_boards_are_in_sdist_and_wheel() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    for path in (ROOT / "leaderboards").glob("*/tuned.toml"):
        name = path.parent.name
        shipped = build["wheel"]["force-include"].get(f"leaderboards/{name}/tuned.toml")
        assert shipped == f"bench_core/shipped/{name}.tuned.toml"
        assert any(path.relative_to(ROOT).match(pattern) for pattern in build["sdist"]["include"])


@pytest.mark.parametrize("name", BOARDS)
def test_pictures_of_a_board_have_a_kind_and_the_options_that_it_needs(name: str) -> None:
    check_pictures(load_board(name))


@pytest.mark.parametrize("name", [name for name in BOARDS if name not in NOT_RUN])
def test_published_records_come_from_committed_code_and_carry_their_provenance(name: str) -> None:
    records = read_records(ROOT / "leaderboards" / name / "records")
    assert records
    for record in records:
        assert record.provenance.dirty is False
        assert record.provenance.commit
        assert (record.provenance.command or "").startswith("bench run ")
        assert record.document.component("dataset")["digest"]


@pytest.mark.parametrize(
    ("name", "method", "task", "metric", "reported", "tolerance"),
    [
        ("cora", "dgi", "node_classification", "top1", 0.823, 0.01),
        ("citeseer", "dgi", "node_classification", "top1", 0.718, 0.01),
        ("ptc", "infograph", "graph_classification", "top1_svm", 0.6165, 0.02),
    ],
)
def test_a_board_at_full_size_has_the_number_of_the_paper(
    name: str, method: str, task: str, metric: str, reported: float, tolerance: float
) -> None:
    frame = tidy(read_records(ROOT / "leaderboards" / name / "records"))
    rows = frame[(frame["method"] == method) & (frame["task"] == task) & (frame["metric"] == metric)]
    assert rows["seed"].nunique() == len(rows) >= 5
    assert rows["value"].mean() == pytest.approx(reported, abs=tolerance)


@pytest.fixture(scope="module")
def digits() -> "pd.Series[float]":
    """(method, task, metric) -> mean over the five seeds, of rows as the board has them."""
    entries = read_published(ROOT / "leaderboards" / "digits", load_plugins()).entries
    frame = tidy([entry.finished_record for entry in entries if entry.finished_record])
    assert set(frame["seed"]) == {0, 1, 2, 3, 4}
    return frame.groupby(["method", "task", "metric"])["value"].mean()


@pytest.mark.parametrize("method", ["simclr", "nac", "sela", "supervised"])
def test_on_digits_trained_methods_are_clearly_better_than_the_untrained_network(
    digits: "pd.Series[float]", method: str
) -> None:
    for task, metric in (("retrieval", "map_cosine"), ("hashing", "map_code"), ("linear_5", "top1")):
        assert digits[method, task, metric] > digits["random", task, metric] + 0.05


@pytest.mark.parametrize(
    ("method", "control", "task", "metric"),
    [
        ("nac", "nac_without_noise", "hashing", "map_code"),
        ("sela", "sela_argmax", "retrieval", "map_cosine"),
        ("sela", "sela_fixed_labels", "retrieval", "map_cosine"),
    ],
)
def test_on_digits_each_control_is_worse_than_its_method(
    digits: "pd.Series[float]", method: str, control: str, task: str, metric: str
) -> None:
    assert digits[method, task, metric] > digits[control, task, metric] + 0.02


def test_the_hashing_board_has_the_papers_splits_encoder_and_parameters() -> None:
    plan = make_plan(Request(board="cifar10_hashing", data_root=Path("nowhere")), load_plugins())
    assert dict(plan.chains[0].data.splits) == {"train": 5000, "query": 10_000, "database": 50_000}
    assert {chain.encoder.name for chain in plan.chains} == {"vgg16_bn"}
    nac = next(chain for chain in plan.chains if chain.method.name == "nac")
    assert (nac.method.config.flip, nac.method.config.code_dim, nac.recipe.epochs) == (0.4, 128, 2000)


def test_the_description_of_a_board_without_records_says_that_it_was_not_run() -> None:
    for name in NOT_RUN:
        assert "Not run yet" in load_board(name).description
        assert not (ROOT / "leaderboards" / name / "records").exists()


def test_moderate_noise_moves_an_embedding_towards_its_prior_and_much_noise_costs_accuracy() -> None:
    frame = tidy(read_records(ROOT / "leaderboards" / "mnist_noisy_dim" / "records"))
    mean = frame.groupby(["method", "task", "metric"])["value"].mean()
    assert mean["noise_0_3", "distribution", "sliced_ks"] < 0.8 * mean["noise_0", "distribution", "sliced_ks"]
    assert mean["noise_1_0", "knn", "top1"] < mean["noise_0", "knn", "top1"] - 0.03
    gaps = [mean[f"noise_{noise}", "distribution", "gap"] for noise in ("0_1", "0_2", "0_3", "0_5", "1_0")]
    assert gaps == sorted(gaps, reverse=True)  # the certificate tightens
