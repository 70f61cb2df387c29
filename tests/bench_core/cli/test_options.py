"""Options: lists given several times are joined, single ones given twice are refused, seeds may be ranges."""

import gc
import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from bench_core.cli.group import main
from bench_core.cli.options import Command, make_request, reads_a_store

Bench = Callable[..., Result]
DRY = ("run", "--dry-run", "--json", "--quiet")
OPTIONS = [
    (name, param)
    for name, command in main.commands.items()
    for param in command.params
    if isinstance(param, click.Option)
]
SINGLE = [(name, param.opts[0]) for name, param in OPTIONS if not (param.multiple or param.is_flag)]
LISTS = {param.opts[0] for _, param in OPTIONS if param.multiple}


def cells(result: Result) -> list[tuple[str, str, str, str, int]]:
    return [
        tuple(cell[axis] for axis in ("dataset", "encoder", "method", "task", "seed"))
        for cell in json.loads(result.stdout)
    ]


def test_lists_are_the_options_that_may_be_given_several_times() -> None:
    names = {"--methods", "--tasks", "--datasets", "--encoders", "--seeds", "--rerun", "--log", "--columns"}
    assert {*names, "--set", "--slurm", "--sweep", "--without-cell", "--board"} == LISTS  # --board of two alone
    assert [name for name, param in OPTIONS if param.multiple and "--board" in param.opts] == ["site", "serve"]
    assert all(isinstance(command, Command) for command in main.commands.values())


@pytest.mark.parametrize(("name", "option"), SINGLE, ids=" ".join)
def test_single_option_given_twice_is_refused(bench: Bench, tmp_path: Path, name: str, option: str) -> None:
    for words in ([option, "1", option, "2"], [f"{option}=1", f"{option}=1"]):
        assert f"{option} is given 2 times; give it once." in bench(name, *words, code=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_completion_of_an_unfinished_line_refuses_nothing() -> None:
    words = ["--epochs", "1", "--epochs", "2"]
    with main.commands["run"].make_context("run", words, resilient_parsing=True) as context:
        assert context.params["epochs"] == 2


def test_request_has_the_folder_of_the_datasets_that_is_given_else_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", "/data")
    for given, root in ((tmp_path, tmp_path), (None, Path("/data"))):
        assert make_request({"settings": (), "sweeps": (), "data_root": given}).data_root == root


def test_plugins_that_are_left_out_are_not_loaded(bench: Bench) -> None:
    for words in ([], ["-p", "no:nac"]):
        assert ("nac" in {line["name"] for line in json.loads(bench(*words, "list", "--json").stdout)}) == (not words)


def test_flag_given_twice_is_given(bench: Bench) -> None:
    assert bench("list", "--json", "--json").stdout == bench("list", "--json").stdout


@pytest.mark.parametrize(
    ("option", "first", "second"),
    [
        ("--methods", "nac", "vae"),
        ("--tasks", "knn", "linear"),
        ("--seeds", "0,3", "1"),
        ("--encoders", "convnet", "dim_conv"),
    ],
)
def test_list_given_twice_is_joined(bench: Bench, option: str, first: str, second: str) -> None:
    usual = {"--methods": "nac", "--tasks": "knn"}
    words = [*DRY, *(word for other, value in usual.items() if other != option for word in (other, value))]
    joined = bench(*words, option, first, option, second)
    assert cells(joined) == cells(bench(*words, option, f"{first},{second}"))
    assert len(cells(joined)) == len(f"{first},{second}".split(","))


def test_lists_of_rerun_and_of_datasets_are_joined() -> None:
    words = ["--rerun", "nac", "--rerun", "knn,vae", "--datasets", "mnist", "--datasets", "digits"]
    with main.commands["run"].make_context("run", words) as context:
        assert context.params["rerun"] == ("nac", "knn", "vae")
        assert context.params["datasets"] == ["mnist", "digits"]


def test_empty_name_in_one_of_several_lists_is_refused_with_that_list(bench: Bench) -> None:
    assert "'vae,' has an empty name" in bench("run", "--methods", "nac", "--methods", "vae,", code=2).stderr


@pytest.mark.parametrize(
    ("texts", "seeds"),
    [
        (["0-4"], [0, 1, 2, 3, 4]), (["0-2,7"], [0, 1, 2, 7]), (["7,0-2", "1-3"], [7, 0, 1, 2, 1, 2, 3]),
        (["5-5"], [5]), (["0-9999"], list(range(10000))), (["999999999"], [999999999]), ([], None),
    ],
)  # fmt: skip
def test_seeds_may_be_ranges(texts: list[str], seeds: list[int] | None) -> None:
    with main.commands["run"].make_context("run", [f"--seeds={text}" for text in texts]) as context:
        assert context.params["seeds"] == seeds


def test_seed_of_two_ranges_is_run_once(bench: Bench) -> None:
    result = bench(*DRY, "--methods", "nac", "--tasks", "knn", "--seeds", "0-2", "--seeds", "1-3")
    assert [seed for *_, seed in cells(result)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4-0", "4-0 goes backwards; write 0-4"), ("0,4-3", "4-3 goes backwards"),
        ("0-10000", "0-10000 has more than 10000 seeds"), ("0-999999999", "has more than 10000 seeds"),
        *((text, "must be whole numbers from 0") for text in ("0-", "-4", "0-1-2", "0--1", "0 - 4", "0-4,")),
    ],
)  # fmt: skip
def test_range_of_seeds_that_is_none_is_refused(bench: Bench, text: str, message: str) -> None:
    assert message in bench("run", "--methods", "nac", f"--seeds={text}", code=2).stderr


def test_a_command_that_reads_a_store_leaves_the_search_for_cycles_as_it_was() -> None:
    seen = []

    @reads_a_store
    def command(error: Exception | None) -> None:
        seen.append(gc.isenabled())
        if error:
            raise error

    assert gc.isenabled()
    command(None)
    with pytest.raises(ValueError, match="no such row"):
        command(ValueError("no such row"))
    assert gc.isenabled()
    assert seen == [False, False]
