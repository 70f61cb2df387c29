"""Pictures become files."""

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest
from matplotlib.figure import Figure

from bench_core.reports.pictures.style import (
    add_caption,
    legend_below,
    legend_beside,
    line_style,
    make_panels,
    point_style,
    readable_name,
    svg_figure,
)


def test_picture_that_cannot_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with svg_figure(tmp_path / "a.svg", "picture 'a'", "first"):
        pass
    before = (tmp_path / "a.svg").read_bytes()

    def write_half(self: Figure, path: Path, **_: object) -> NoReturn:
        path.write_bytes(before[: len(before) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Figure, "savefig", write_half)
    with pytest.raises(OSError, match="No space left"), svg_figure(tmp_path / "a.svg", "picture 'a'", "second"):
        pass
    assert (tmp_path / "a.svg").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]


def test_no_two_of_the_first_40_lines_or_classes_look_alike() -> None:
    for style in (line_style, point_style):
        looks = [tuple(style(index).values()) for index in range(41)]
        assert len(set(looks[:40])) == 40
        assert looks[40] == looks[0]
    assert [line_style(index)["linestyle"] for index in (0, 9, 10, 39)] == ["-", "-", "--", "-."]


@pytest.mark.parametrize(
    ("rows", "columns", "inches", "panels"),
    [(6, 1, (8.0, 6.7), 8), (4, 1, (8.0, 3.7), 4), (3, 1, (6.0, 3.7), 3), (1, 1, (2.0, 3.7), 1), (2, 3, (6.0, 6.7), 6),
     (3, 2, (4.0, 9.7), 6)],
)  # fmt: skip
def test_panels_of_one_column_lie_side_by_side_and_four_fill_a_row(
    rows: int, columns: int, inches: tuple[float, float], panels: int
) -> None:
    figure = Figure()
    grid = make_panels(figure, rows, columns, (2.0, 3.0))
    assert [len(row) for row in grid] == [columns] * rows
    assert tuple(figure.get_size_inches()) == pytest.approx(inches)
    assert len(figure.axes) == panels
    assert [axes for axes in figure.axes if axes.get_visible()] == [axes for row in grid for axes in row]


def test_names_of_curves_are_readable() -> None:
    assert readable_name("pr_32_bits") == "precision-recall, 32 bits"
    assert readable_name("codes_used") == "codes used"
    assert readable_name("price_of_pr") == "price of pr"


def test_caption_has_the_seeds_below_a_title_that_fits_the_width() -> None:
    figure = Figure(figsize=(3.0, 2.0))
    add_caption(figure, "word " * 20, "3 seeds")
    *lines, seeds = figure.get_suptitle().splitlines()
    assert seeds == "(3 seeds)"
    assert len(lines) == 4
    assert max(map(len, lines)) <= 33


@pytest.mark.parametrize("count", [1, 4, 40])
def test_legend_lies_inside_the_figure(count: int) -> None:
    for width, add in ((2.3, legend_below), (9.2, legend_below), (5.6, legend_beside)):
        figure = Figure(figsize=(width, 3.0), layout="constrained")
        axes = figure.add_subplot()
        name = "a row (with = parameters, that = are, longer = than a line)"
        handles = {f"{k} {name}" if add is legend_beside else str(k): axes.plot([], [])[0] for k in range(count)}
        if add is legend_below:
            legend_below(figure, handles, "class")
        else:
            legend_beside(figure, handles)
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box, page = legend.get_window_extent(), figure.bbox
        assert len(legend.get_texts()) == count
        assert page.x0 <= box.x0
        assert page.y0 <= box.y0
        assert box.x1 <= page.x1
        assert box.y1 <= page.y1
        assert axes.get_window_extent().width > 0.4 * 100 * width
