import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import UnknownNameError
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import Entry, entries_of
from bench_core.reports.tables.escape import latex, markdown, one_line, with_code
from bench_core.reports.tables.model import Table
from bench_core.reports.tables.render import FORMATS, render
from bench_core.store.record import record_from_json

Make = Callable[..., dict[str, Any]]


def entries_from(records: Iterable[dict[str, Any]]) -> list[Entry]:
    """Return the entries of records that are given as JSON objects."""
    return entries_of(map(record_from_json, records))


GOLDEN = Path(__file__).parent / "golden"
SUFFIX = {"md": "md", "text": "txt", "latex": "tex", "csv": "csv", "json": "json"}
FID = {"unit": "", "higher_is_better": False, "chance": None}
NASTY = ("a|b", "1e5", "x_y", "two\nlines", "<script>", "100%", "`tick`", "*_[z](u)_*")


@pytest.fixture
def tables(make_record: Make, make_score: Make, packed: Make) -> list[Table]:
    """Tables of two tasks (in one lower is better) and three seeds, with every kind of cell and of name."""
    records, items = [], packed([13.5, 12.0, 15.0, 13.5])
    for number, name in enumerate(NASTY):
        for seed in range(3):
            value = 0.9 - number / 10 + (seed + number) % 3 / 50
            records.append(make_record(name, "linear", seed, value, protocol="probe | of <features>\n5 % held out"))
        caveat = {"caveat": "by | 5 % others"} if name == "x_y" else {}
        for seed in range((3, 1, 3, 2, 0, 0, 0, 0)[number]):
            fid = make_score("fid", 12.5 + number + seed * 3 % 4, **FID, **caveat)
            records.append(make_record(name, "fid_", seed, [fid], items={"fid": items} if name == "1e5" else {}))
    records += [make_record("supervised", "linear", seed, 0.99, uses_labels=True) for seed in range(3)]

    def other(method: str, seed: int, state: Any, reason: str) -> Entry:
        names = {"dataset": "digits", "encoder": "convnet", "method": method, "task": "fid_"}
        return Entry(names, seed, state, reason)

    others = [other("<script>", seed, "skipped", "cannot | sample\nat all") for seed in range(3)]
    others += [other("100%", 0, "failed", "error: <b>boom</b>")]
    old = record_from_json(make_record("`tick`", "fid_", 0, [make_score("fid", 11.0, **FID)]))
    others += [replace(other("`tick`", 0, "stale", "revision was 1, is 2"), record=old)]
    others += [other("a|b", 3, "failed", "oom"), other("*_[z](u)_*", 0, "missing", "")]
    return build([*entries_from(records), *others])


@pytest.mark.parametrize("format", SUFFIX)
def test_each_format_equals_its_golden_file(tables: list[Table], format: str) -> None:
    golden = (GOLDEN / f"board.{SUFFIX[format]}").read_text(encoding="utf-8")
    assert render(tables, format) == golden


def test_there_is_a_golden_file_for_each_format() -> None:
    assert set(SUFFIX) == set(FORMATS)


def test_every_row_of_a_markdown_table_has_the_same_number_of_cells(tables: list[Table]) -> None:
    lines = [line for line in render(tables, "md").splitlines() if line.startswith("|")]
    bars = {line.replace(r"\|", "").count("|") for line in lines}
    assert bars == {len(tables[0].columns) + 2}
    assert len(lines) == 2 + len(tables[0].rows)


def test_all_formats_show_the_same_cells(tables: list[Table]) -> None:
    [table] = tables
    shown = list(csv.DictReader(io.StringIO(render(tables, "csv"))))
    cells = json.loads(render(tables, "json"))["tables"][0]["rows"]
    flat = [cell for row in cells for cell in row["cells"]]
    assert [line["shown"] for line in shown] == [cell["text"] for cell in flat]
    for format, safe in (("md", markdown), ("text", one_line), ("latex", latex)):
        drawn = render(tables, format)
        cost = [format == "latex" and column.kind == "cost" for column in table.columns]
        cells = [cell for row in table.rows for cell, left_out in zip(row.cells, cost, strict=True) if not left_out]
        footer = [note for note in table.footer if format != "latex" or not note.startswith("Cost")]
        assert all(safe(cell.text) in drawn for cell in cells)
        assert all(safe(note).rstrip(".") in drawn for note in (*table.notes, *footer))


def test_names_survive_a_round_trip_through_csv_and_json(tables: list[Table]) -> None:
    lines = csv.DictReader(io.StringIO(render(tables, "csv")))
    assert {one_line(name) for name in NASTY} <= {line["method"] for line in lines}
    rows = json.loads(render(tables, "json"))["tables"][0]["rows"]
    assert set(NASTY) <= {row["name"] for row in rows}


def test_csv_and_json_hold_raw_numbers(tables: list[Table]) -> None:
    [line] = [
        line
        for line in csv.DictReader(io.StringIO(render(tables, "csv")))
        if (line["method"], line["column"]) == ("supervised", "linear")
    ]
    assert (line["shown"], float(line["mean"]), float(line["halfwidth"]), line["n"]) == ("99.0 ± 0.0", 0.99, 0.0, "3")
    data = json.loads(render(tables, "json"))["tables"][0]
    [row] = [row for row in data["rows"] if row["name"] == "supervised"]
    column = [c["name"] for c in data["columns"]].index("linear")
    assert row["cells"][column]["mean"] == 0.99
    assert data["columns"][column]["title"] == "linear top1 % ↑ (n = 3)"


def test_several_tables_are_drawn_one_after_the_other(make_record: Make) -> None:
    records = [make_record("a", "t", 0, 0.5, names={"dataset": d}, config={"d": d}) for d in ("x", "y")]
    drawn = render(build(entries_from(records)), "md")
    assert drawn.index("**x, convnet**") < drawn.index("**y, convnet**")
    assert drawn.count("| method") == 2


def test_a_table_in_which_all_is_skipped_is_one_line_beside_others(make_record: Make) -> None:
    def skipped(method: str, reason: str) -> Entry:
        names = {"dataset": "cora", "encoder": "conv|net", "method": method, "task": "linear"}
        return Entry(names, 0, "skipped", reason)

    alone = [skipped("nac", "reads images"), skipped("simclr", "reads images")]
    beside = [*entries_from([make_record("nac", "linear", 0, 0.5)]), *alone]
    assert "\n\ncora, conv|net: skipped, reads images\n" in render(build(beside), "text")
    assert "\n\n**cora, conv\\|net**: skipped, reads images\n" in render(build(beside), "md")
    assert "nac" in render(build(alone), "text")  # the only table shows its rows
    half = [*beside, *entries_from([{**make_record("nac", "knn", 0, 0.5), "names": {**alone[0].names, "task": "knn"}}])]
    assert "skipped, reads images" not in render(build(half), "text")
    csv_lines = list(csv.DictReader(io.StringIO(render(build(beside), "csv"))))
    assert {line["reason"] for line in csv_lines if line["dataset"] == "cora"} >= {"reads images"}


@pytest.mark.parametrize("format", SUFFIX)
def test_no_tables_give_a_line_that_says_so(format: str) -> None:
    drawn = render([], format)
    assert drawn.endswith("\n")
    assert drawn.strip() in {"No records.", "% No records."} or format in {"csv", "json"}
    if format == "json":
        assert json.loads(drawn) == {"tables": []}
    if format == "csv":
        assert list(csv.DictReader(io.StringIO(drawn))) == []


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="no format named 'mdx'; did you mean 'md'"):
        render([], "mdx")


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a|b", r"a\|b"),
        ("x_y", "x_y"),
        ("_x_", r"\_x\_"),
        ("a\nb\t c", "a b c"),
        ("<script>&", "&lt;script&gt;&amp;"),
        ("`*~[]\\", r"\`\*\~\[\]" + "\\\\"),
        ("1. first", r"1\. first"),
        ("# head", r"\# head"),
        ("- item", r"\- item"),
        ("-1.5", "-1.5"),
        ("1e5", "1e5"),
        ("\x1b[31mred\u202e", r"\[31mred"),
    ],
)
def test_markdown_is_escaped(text: str, safe: str) -> None:
    assert markdown(text) == safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("100% of x_y & $3", r"100\% of x\_y \& \$3"),
        ("a\\b{c}", r"a\textbackslash{}b\{c\}"),
        ("~^#|<>", r"\textasciitilde{}\textasciicircum{}\#\textbar{}\textless{}\textgreater{}"),
        ("1 ± 2 ↑↓–", r"1 $\pm$ 2 $\uparrow$$\downarrow$--"),  # noqa: RUF001  # an en dash is meant
        ("[x]*`", r"{[}x]{*}\textasciigrave{}"),
    ],
)
def test_latex_is_escaped(text: str, safe: str) -> None:
    assert latex(text) == safe


def test_latex_names_its_package_tells_the_protocol_in_the_caption_and_has_no_cost(tables: list[Table]) -> None:
    drawn = render(tables, "latex")
    assert drawn.startswith("% In the preamble: \\usepackage{booktabs}\n")
    (caption,) = (line for line in drawn.splitlines() if line.startswith("\\caption{"))
    assert "5 \\% held out" in caption
    assert "peak memory" not in drawn
    assert "Cost: medians" not in drawn


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a row `am|dim_x` on *mnist*", r"a row `am\|dim_x` on \*mnist\*"),
        ("no code < 3", "no code &lt; 3"),
        ("an odd ` tick", r"an odd \` tick"),
        ("`<b>`", "`<b>`"),
    ],
)
def test_only_what_stands_between_backticks_is_code(text: str, shown: str) -> None:
    assert with_code(text) == shown
