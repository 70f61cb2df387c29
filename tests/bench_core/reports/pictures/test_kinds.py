"""Each kind finds its curves and images in records, and refuses a board's options that do not fit it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError, UnknownNameError
from bench_core.planning.boards import Picture, read_board
from bench_core.reports.pictures.draw import draw, fingerprint
from bench_core.reports.pictures.kinds import KINDS, check_pictures, has_never_averaged, without_never_averaged
from bench_core.reports.pictures.model import PictureData
from bench_core.reports.pictures.series_kind import SeriesKind
from bench_core.reports.tables.entries import Entry
from bench_core.store import Store

ROWS = ["shrink (factor=0.0)", "shrink (factor=1.0)", "shrink (factor=5.0)"]


def read(entries: list[Entry], kind: str, **options: Any) -> PictureData:
    data = KINDS[kind].read(entries, Picture(name="p", kind=kind, **options), None)
    assert isinstance(data, PictureData)
    return data


def test_the_table_lists_each_kind_under_its_name() -> None:
    assert list(KINDS) == [
        "tradeoff", "projection", "pr", "histogram", "layers", "lines", "samples", "similarity", "filters",
        "training", "epochs", "tuning",
    ]  # fmt: skip
    assert all(kind.name == name and kind.noun and kind.hint for name, kind in KINDS.items())


def test_the_name_of_a_curve_decides_its_kind(entries: list[Entry]) -> None:
    record = next(entry.record for entry in entries if entry.names["task"] == "size")
    assert record is not None
    curve = {key: [0.0] for key in ("x", "y", "recall", "precision", "centre", "density", "prior")}
    names = ["projection_umap", "pr_32_bits", "histogram_prior", "layers", "over_k", "probability"]
    record = replace(record, stored={**record.stored, "curves": dict.fromkeys(names, curve)})
    kinds = {
        kind.name: list(kind.series_in(record))
        for kind in KINDS.values()
        if isinstance(kind, SeriesKind) and kind.name != "samples"
    }
    assert kinds == {
        "projection": ["projection_umap"],
        "pr": ["pr_32_bits"],
        "histogram": ["histogram_prior"],
        "layers": ["layers"],
        "lines": ["over_k", "probability"],
    }


def test_curves_are_means_over_seeds_where_their_points_are_the_same(entries: list[Entry]) -> None:
    data = read(entries, "layers")
    assert (data.dataset, data.encoder, data.task, data.methods) == ("blobs", "tiny", "size", ROWS)
    assert data.series[0].columns == {"layer": [0, 1], "accuracy": [0.5, pytest.approx(0.75)]}
    assert data.seeds_text == "means over 2 seeds"
    columns = read(entries, "pr").series[0].columns  # its points are radii, whatever their recall
    assert columns == {"recall": pytest.approx([0.15, 0.5, 1.0]), "precision": [1.0, 0.5, 0.1]}


def test_the_caption_names_rows_whose_mean_is_over_fewer_seeds(entries: list[Entry]) -> None:
    some = [entry for entry in entries if entry.names["method"] != ROWS[1] or entry.seed == 0]
    assert read(some, "layers").seeds_text == f"means over 2 seeds, of {ROWS[1]} over 1"


def test_a_curve_keeps_its_x_first_on_disk(entries: list[Entry], store: Store) -> None:
    curves = next(record.curves for record in store.records() if record.curves)
    assert list(curves["over_k"]) == ["neighbours", "accuracy", "again"]


def test_records_without_the_data_are_refused_with_what_to_run(entries: list[Entry]) -> None:
    other_task = [entry for entry in entries if entry.names["task"] == "spread"]
    with pytest.raises(RequestError, match=r"no record holds a projection; `bench run --tasks projection` makes"):
        read(other_task, "projection")
    with pytest.raises(RequestError, match="no record of task 'spread' holds a precision-recall curve"):
        read(entries, "pr", task="spread")
    with pytest.raises(RequestError, match="a histogram named 'histogram_3'"):
        read(entries, "histogram", curve="histogram_3")
    with pytest.raises(UnknownNameError, match="no metric named 'size:top5'"):
        KINDS["tradeoff"].read(entries, Picture(name="p", x="spread:spread", y="size:top5"), None)


def test_curves_of_several_tasks_or_datasets_need_a_choice(entries: list[Entry]) -> None:
    size = [entry for entry in entries if entry.names["task"] == "size"]
    size2 = [replace(entry, names={**entry.names, "task": "size2"}) for entry in size]
    with pytest.raises(RequestError, match="several tasks have a projection; say task = one of 'size', 'size2'"):
        read([*size, *size2], "projection")
    assert read([*size, *size2], "projection", task="size2").task == "size2"
    other_dataset = [replace(entry, names={**entry.names, "dataset": "other"}) for entry in size]
    with pytest.raises(RequestError, match="a picture shows one dataset with one encoder"):
        read([*size, *other_dataset], "projection")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": "a:b"}, "picture 'p': a trade-off needs x and y, each TASK:METRIC"),
        ({"kind": "pr", "x": "a:b"}, "x, y and connect are of the kind tradeoff, not of pr"),
        (
            {"kind": "pie"},
            r"no kind of picture named 'pie'.* Known: epochs, filters, .*training, tuning\. \(picture 'p'\)",
        ),
        ({"kind": "similarity"}, "not published; draw it from a store with `bench plot --kind similarity`"),
    ],
)
def test_a_picture_of_a_board_is_refused_where_its_options_do_not_fit_its_kind(
    options: dict[str, Any], message: str
) -> None:
    board = read_board({"pictures": {"p": options}}, "b", "b.toml")
    with pytest.raises(RequestError, match=message):
        check_pictures(board)


def test_series_that_pictures_show_of_the_first_seed_are_taken_out_of_the_records_of_others(
    entries: list[Entry], store: Store
) -> None:
    record = next(record for record in store.records() if record.images)
    light = without_never_averaged(record)
    assert has_never_averaged(record)
    assert not has_never_averaged(light)
    assert light.images == {}
    assert record.curves.keys() - light.curves.keys() == {"projection_pca"}
    restored = {**light.stored, "curves": record.stored["curves"], "images": record.stored["images"]}
    assert restored == record.stored


def with_scores(entries: list[Entry], metrics: dict[str, str]) -> list[Entry]:
    """Give the records of task `size` scores of these names and units."""

    def changed(entry: Entry) -> Entry:
        if entry.record is None or entry.names["task"] != "size":
            return entry
        first = next(iter(entry.record.scores.values()))
        scores = {name: replace(first, metric=name, unit=unit) for name, unit in metrics.items()}
        return replace(entry, record=replace(entry.record, scores=scores))

    return [changed(entry) for entry in entries]


def test_fractions_are_drawn_in_per_cent_by_the_units_of_scores_of_their_name(
    entries: list[Entry], tmp_path: Path
) -> None:
    picture = Picture(name="p", kind="lines")
    fractions = with_scores(entries, {"accuracy_conv1": "fraction", "again": "nats", "accuracy_conv2": "fraction"})
    series = read(fractions, "lines").series[0]
    assert series.fractions == {"accuracy"}
    assert series.shown_values("accuracy") == pytest.approx([50.0, 70.0])
    assert series.shown_values("again") == pytest.approx([0.1, 0.2])
    draw(fractions, picture, tmp_path / "p.svg")
    assert "accuracy, %<" in (tmp_path / "p.svg").read_text()
    mixed = with_scores(entries, {"accuracy_conv1": "fraction", "accuracy_conv2": "count"})
    assert read(mixed, "lines").series[0].fractions == frozenset()
    assert read(entries, "pr").series[0].fractions == {"recall", "precision"}


def test_layers_have_their_names_on_the_axis(entries: list[Entry], tmp_path: Path) -> None:
    named = with_scores(entries, {"accuracy": "fraction", "accuracy_conv1": "fraction", "accuracy_last": "fraction"})
    picture = Picture(name="p", kind="layers")
    assert read(named, "layers").series[0].points == ("conv1", "last")
    draw(named, picture, tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    assert all(name in text for name in (">conv1<", ">last<", ">layer<", ">accuracy, %<"))
    assert read(entries, "layers").series[0].points == ()


def test_names_and_units_leave_the_fingerprint(entries: list[Entry]) -> None:
    picture = Picture(name="p", kind="layers")
    named = with_scores(entries, {"accuracy_conv1": "fraction", "accuracy_last": "fraction"})
    assert fingerprint(named, picture) == fingerprint(entries, picture)
