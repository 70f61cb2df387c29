"""Reported numbers: each has its source, and they are shown below ours."""

from pathlib import Path

import pytest

from bench_core.errors import RequestError, UnknownNameError
from bench_core.plugins import load_plugins
from bench_core.reports.pages.reported_numbers import (
    ReportedNumber,
    beside,
    load_reported,
    render_reported,
    shipped_numbers,
)
from bench_core.reports.tables.entries import Entry
from bench_core.store.record import Document

ENTRY = """
[[number]]
method = "dim"
dataset = "cifar10"
beside = ["cifar10_jpeg"]
setting = "conv | probe"
metric = "top1"
value = 0.7521
source = "paper, Table 1"
url = "https://arxiv.org/abs/1808.06670"
verified = "read"
"""


def entry(dataset: str, method: str, use: str) -> Entry:
    names = {"dataset": dataset, "encoder": "convnet", "method": method, "task": "linear"}
    pretrain = {"dataset": {"id": f"bench-core/{dataset}"}, "method": {"id": f"bench-core/{use}"}, "seed": 0}
    return Entry(names, 0, "missing", document=Document({"embed": {"pretrain": pretrain}}))


@pytest.fixture
def numbers(tmp_path: Path) -> list[ReportedNumber]:
    (tmp_path / "published.toml").write_text(ENTRY)
    return load_reported(tmp_path / "published.toml")


def test_reported_number_is_shown_with_its_method_under_any_row_name(numbers: list[ReportedNumber]) -> None:
    assert beside([entry("cifar10_jpeg", "dim_local", "dim")], numbers) == numbers
    assert beside([entry("cifar10", "dim", "dim")], numbers) == numbers
    assert beside([entry("mnist", "dim", "dim"), entry("cifar10", "nac", "nac")], numbers) == []


def test_table_of_reported_numbers_names_sources_and_escapes_text(numbers: list[ReportedNumber]) -> None:
    shown = render_reported(numbers, "md")
    assert "75.2 %" in shown
    assert "[paper, Table 1](https://arxiv.org/abs/1808.06670)" in shown
    assert "conv \\| probe" in shown
    assert "not run here" in shown
    assert "https://arxiv.org/abs/1808.06670" in render_reported(numbers, "text")
    assert render_reported([], "md") == ""


def test_another_format_is_refused(numbers: list[ReportedNumber]) -> None:
    with pytest.raises(UnknownNameError, match="no format of published numbers named 'csv'"):
        render_reported(numbers, "csv")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "paper, Table 1"\n', "", "number 1: .*source"),
        ("0.7521", "75.21", "value must be a fraction in \\[0, 1\\], got 75.21"),
        ('"https://arxiv', '"javascript:arxiv', "url must begin with https://"),
        ('verified = "read"', 'verified = ""', "verified must not be empty"),
        ("setting", "settings", "settings does not exist; did you mean 'setting'"),
        ("[[number]]", "[number]", "must hold \\[\\[number\\]\\] tables and nothing else"),
        ("[[number]]", "[[number]", "is not TOML"),
    ],
)
def test_a_number_without_its_source_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    (tmp_path / "published.toml").write_text(ENTRY.replace(old, new))
    with pytest.raises(RequestError, match=message):
        load_reported(tmp_path / "published.toml")


def test_every_shipped_number_is_of_an_existing_method() -> None:
    numbers = load_reported(shipped_numbers())
    methods = {component.name for component in load_plugins().of_kind("objective")}
    assert len(numbers) > 20
    assert {number.method for number in numbers} <= methods
    assert len({(n.method, n.dataset, n.setting, n.metric, n.source) for n in numbers}) == len(numbers)


def test_of_one_metric_the_highest_number_comes_first(tmp_path: Path) -> None:
    (tmp_path / "published.toml").write_text(ENTRY + ENTRY.replace("0.7521", "0.8").replace("probe", "other probe"))
    shown = beside([entry("cifar10", "dim", "dim")], load_reported(tmp_path / "published.toml"))
    assert [number.value for number in shown] == [0.8, 0.7521]
