"""Plots of a board's page: numbers by hand, no plot without records, bounded sizes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core.planning.boards import Board, NamedComponent, Picture, with_tuned
from bench_core.planning.tuning import Trial, Tuned, TunedRow, Tuning
from bench_core.reports.site.content import SiteBoard
from bench_core.reports.site.plots import plots_of, write_board_plots
from bench_core.reports.site.plots.model import PlotSource, SitePlot, rounded, score_name
from bench_core.reports.site.plots.planes import MOST_POINTS
from bench_core.reports.site.plots.quality import pareto_front
from bench_core.reports.site.plots.rows import groups_of
from bench_core.reports.site.writer import SiteWriter
from bench_core.reports.tables.entries import entries_of
from bench_core.reports.tables.model import Column
from bench_core.store.record import record_from_json

MakeRecord = Callable[..., dict[str, Any]]


def board_of(records: list[dict[str, Any]], board: Board | None = None) -> SiteBoard:
    read = [record_from_json(record) for record in records]
    return SiteBoard("toys", "Toys", "", "", entries_of(read), board=board)


def plots(records: list[dict[str, Any]], board: Board | None = None) -> dict[str, SitePlot]:
    return {plot.kind: plot for plot in plots_of(PlotSource(board_of(records, board)))}


def test_pareto_front_of_five_points_by_hand() -> None:
    points = [(3.0, 90.0), (1.0, 70.0), (2.0, 60.0), (2.5, 85.0), (4.0, 90.0)]
    assert pareto_front(points) == [1, 3, 0]
    assert pareto_front(points, lower=True) == [1, 2]


def test_pareto_front_keeps_equal_points_and_the_better_of_equal_costs() -> None:
    assert pareto_front([(1.0, 5.0), (1.0, 5.0), (1.0, 4.0)]) == [0, 1]
    assert pareto_front([]) == []


def test_groups_that_cannot_be_told_apart_by_hand() -> None:
    assert groups_of([1.0, 2.0, 2.4, 5.0], critical=1.5) == [(0, 2), (3, 3)]
    assert groups_of([1.0, 2.0, 3.0], critical=1.5) == [(0, 1), (1, 2)]
    assert groups_of([1.0, 2.0], critical=1.0) == [(0, 0), (1, 1)]  # the critical difference itself counts


def test_numbers_have_few_digits_and_axes_say_unit_and_direction() -> None:
    assert (rounded(0.12345678), rounded(12.0), rounded(123456.7)) == (0.12346, 12, 123460)
    column = Column(name="knn", kind="task", task="knn", metric="top_1", unit="fraction", higher_is_better=True)
    assert score_name(column) == "knn top 1, % ↑"


def test_no_records_make_no_plot(tmp_path: Path) -> None:
    site = SiteWriter(tmp_path)
    assert write_board_plots(site, board_of([])) == []
    assert site.written == {}


def test_quality_against_cost_has_the_front_and_what_is_measured(make_record: MakeRecord) -> None:
    cost = {"images_per_s": 1.0, "peak_memory_gib": 1.0, "embed_s": 0.0, "task_s": 0.0}
    rows = {"nac": (10.0, 0.9), "random": (0.0, 0.5), "slow": (50.0, 0.8)}
    records = [
        make_record(name, "knn", seed, score, cost={**cost, "pretrain_s": seconds})
        for name, (seconds, score) in rows.items()
        for seed in range(3)
    ]
    records += [make_record("given", "knn", seed, 0.99, uses_labels=True) for seed in range(3)]
    plot = plots(records)["quality_cost"]
    view = plot.views[0]
    assert view.picked == ("digits, convnet", "knn top1, % ↑", "seconds of training")
    title, cost, score = view.values["of"]
    numbers = plot.shared[title]
    assert [numbers["names"][k] for k in view.values["front"]] == ["random", "nac"]
    x, y = (dict(zip(numbers["names"], numbers["columns"][of]["value"], strict=True)) for of in (cost, score))
    assert {name: (x[name], y[name]) for name in rows} == {"nac": (10, 90), "random": (0, 50), "slow": (50, 80)}
    assert dict(zip(numbers["names"], numbers["kinds"], strict=True))["given (labels)"] == "labels"
    assert view.values["chance"] == 10
    assert "random, nac" in view.label


def test_rows_that_lack_seeds_are_not_on_the_front_and_the_plot_says_so(make_record: MakeRecord) -> None:
    records = [make_record("nac", "knn", 0, 0.9), make_record("random", "knn", 1, 0.5)]
    records += [make_record("given", "knn", seed, 0.99, uses_labels=True) for seed in range(3)]
    view = plots(records)["quality_cost"].views[0]
    assert view.values["front"] == []
    assert view.notes == ("No row without labels has all seeds of this score, so there is no front.",)
    assert view.label.endswith("On the Pareto front: no row.")


def test_seeds_are_those_of_the_records_with_the_tables_mean_and_marks(make_record: MakeRecord) -> None:
    records = [make_record("nac", "knn", seed, 0.9 + seed / 100) for seed in range(3)]
    records += [make_record("random", "knn", seed, 0.5) for seed in range(3)]
    (view,) = plots(records)["seeds"].views
    first, second = view.values["rows"]
    assert (first["name"], first["values"], first["mean"], first["bold"]) == ("nac", [90, 91, 92], 91, True)
    assert first["half"] == pytest.approx(2.4841, abs=1e-4)  # 4.3027 / sqrt(3)
    assert (second["name"], second["mean"], second["bold"]) == ("random", 50, False)


def test_ranks_without_families_enough_say_why_there_is_no_critical_difference(make_record: MakeRecord) -> None:
    records = [make_record(name, "knn", 0, score) for name, score in {"a": 0.9, "b": 0.8, "c": 0.7}.items()]
    (view,) = plots(records)["ranks"].views
    assert [row["name"] for row in view.values["rows"]] == ["a", "b", "c"]
    assert view.values["critical"] is None
    assert view.notes[0].startswith("No critical difference:")


def test_curves_are_read_from_records_and_curves_of_one_point_are_no_lines(make_record: MakeRecord) -> None:
    curves = {
        "pr_32_bits": {"recall": [0.1, 1.0], "precision": [0.9, 0.25]},
        "code": {"bits": [32], "map": [0.5]},
        "itq": {"bits": [16, 32], "map": [0.123456789, 0.5]},
    }
    found = plots([make_record(name, "hashing", 0, 0.5, curves=curves) for name in ("nac", "random")])
    (view,) = found["precision_recall"].views
    assert view.values["series"][0] == {"name": "nac", "x": [10, 100], "y": [90, 25]}
    assert [view.picked[1:] for view in found["curves"].views] == [("hashing: itq", "map")]
    assert found["curves"].views[0].values["series"][1]["y"] == [0.12346, 0.5]


def test_planes_are_thinned_and_keep_their_classes(make_record: MakeRecord) -> None:
    many = list(range(2 * MOST_POINTS + 1))
    curve = {"x": many, "y": many, "label": [k % 10 for k in many]}
    (view,) = plots([make_record("nac", "projection", 0, 0.5, curves={"projection_pca": curve})])["projection"].views
    (panel,) = view.values["panels"]
    assert panel["x"][:2] == [0, 3]
    assert len(panel["x"]) <= MOST_POINTS
    assert panel["classes"][:3] == [0, 3, 6]
    assert "No images of items: the dataset is not installed" in view.notes[1]


def test_grids_of_images_stay_below_a_megabyte_and_say_what_is_left_out(make_record: MakeRecord) -> None:
    png = "A" * 600_000
    records = [make_record(name, "generation", 0, 0.5, images={"samples": png}) for name in ("nac", "random")]
    (view,) = plots(records)["samples"].views
    assert [panel["name"] for panel in view.values["panels"]] == ["nac"]
    assert view.notes[1].endswith("random.")


def test_tuning_curves_are_the_expected_best_by_hand() -> None:
    tried = [Trial({}, {"knn:top1": score}) for score in (1.0, 4.0, 2.0)]
    rows = {"nac": TunedRow({}, ("knn:top1",), 3, 0, "sha256:0", {}, tried, epochs=20)}
    board = Board(name="toys", methods={"nac": NamedComponent("nac", "nac")})
    board = with_tuned(board, Tuned("bench tune --board toys", Tuning(), rows))
    (view,) = plots([], board)["tuning"].views
    assert view.values["series"] == [{"name": "nac", "x": [1, 2, 3], "y": [2.3333, 3.3333, 4], "first": 1}]


def test_tradeoffs_are_those_that_the_board_names(make_record: MakeRecord) -> None:
    records = [make_record(name, task, 0, 0.5) for name in ("nac", "random") for task in ("knn", "linear")]
    picture = Picture(name="both", x="knn:top1", y="linear:top1", connect=True)
    assert "tradeoff" not in plots(records)
    (view,) = plots(records, Board(name="toys", pictures={"both": picture}))["tradeoff"].views
    assert [(p["name"], p["x"], p["y"]) for p in view.values["points"]] == [("nac", 50, 50), ("random", 50, 50)]
    lacking = Picture(name="both", x="mi:labels", y="linear:top1")
    assert "tradeoff" not in plots(records, Board(name="toys", pictures={"both": lacking}))


def test_data_are_scripts_in_which_names_cannot_end_the_script(make_record: MakeRecord, tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)"
    records = [make_record(name, "knn", 0, 0.5, names={"method": name}) for name in (hostile, "nac")]
    site = SiteWriter(tmp_path)
    figures = write_board_plots(site, board_of(records))
    text = (tmp_path / figures[0]["data_address"]).read_text()
    assert "<" not in text
    value = json.loads(text.partition(",")[2].strip().removesuffix(");"))
    assert hostile in value["shared"]["digits, convnet"]["names"]
