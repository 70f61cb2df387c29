"""`bench list`, `bench show`, `bench why`: what is printed of components, boards and keys."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bench_core.planning.describe import print_listing

SHORT = ["--methods", "random,nac", "--tasks", "knn", "--epochs", "1"]


def test_list_names_everything_with_its_package(bench: Callable[..., Result]) -> None:
    lines = json.loads(bench("list", "--json").stdout)
    assert {line["kind"] for line in lines} == {"encoder", "method", "dataset", "task", "board"}
    nac = next(line for line in lines if line["name"] == "nac")
    assert (nac["package"], bool(nac["version"]), bool(nac["summary"])) == ("bench-core", True, True)
    assert any(line.startswith("  nac ") and "bench-core" not in line for line in bench("list").stdout.splitlines())
    assert bench("list", "--broken").stdout == ""
    left = json.loads(bench("-p", "no:nac", "list", "--json").stdout)
    assert "nac" not in {line["name"] for line in left}


def test_list_takes_a_kind_and_indents_variants_under_their_method(bench: Callable[..., Result]) -> None:
    methods = bench("list", "methods").stdout.splitlines()
    assert methods[0] == "Methods"
    assert "Tasks" not in methods
    nac = next(number for number, line in enumerate(methods) if line.startswith("  nac "))
    assert methods[nac + 1].startswith("    :")
    assert "'methods', 'tasks', 'encoders', 'datasets', 'boards'" in bench("list", "method", code=2).stderr


def test_list_shows_the_rows_of_boards_under_their_board(bench: Callable[..., Result]) -> None:
    methods = bench("list", "methods").stdout.splitlines()
    of_digits = methods[methods.index("  in board digits:") + 1 :]
    assert of_digits[0].split()[:4] == ["nac_without_noise", "nac", "with", "code_dim=32,"]
    assert any(line.startswith("    linear_5 ") for line in bench("list", "tasks").stdout.splitlines())
    lines = json.loads(bench("list", "methods", "--json").stdout)
    assert {line["board"] for line in lines if line["name"] in ("nac", "nac:hashing")} == {""}
    assert {line["board"] for line in lines if line["name"] == "vae_from_nac"} == {"mnist", "mnist_vae"}
    assert all(len(line) <= 120 for line in methods)


@pytest.mark.parametrize("board", [[], ["--board", "mnist"], ["--board", "cifar10_hashing"]])
@pytest.mark.parametrize("left_out", [[], ["-p", "no:nac", "-p", "no:linear"]])
@pytest.mark.parametrize("kind", ["methods", "tasks", "encoders", "datasets"])
def test_errors_name_nothing_that_is_not_listed(
    bench: Callable[..., Result], kind: str, board: list[str], left_out: list[str]
) -> None:
    listed = {line["name"] for line in json.loads(bench(*left_out, "list", kind, "--json").stdout)}
    request = {"methods": "simclr", kind: "nothing_like_it"}
    words = [word for option, value in request.items() for word in (f"--{option}", value)]
    message = bench(*left_out, "run", *board, *words, code=2).stderr
    known = re.search(r"Known: (.*)\. See `bench list`\.", message)
    assert known, message
    assert set(known[1].split(", ")) <= listed


def test_a_component_of_another_package_is_listed_with_package_and_version() -> None:
    line = {"kind": "method", "name": "echo", "package": "bench-echo", "version": "0.3.0", "summary": "Echo (A 2020)."}
    assert print_listing([{**line, "board": ""}]) == "Methods\n  echo  Echo (A 2020).  (bench-echo 0.3.0)"


def test_show_gives_paper_parameters_defaults_and_their_sources(bench: Callable[..., Result]) -> None:
    shown = bench("show", "nac").stdout
    assert "https://arxiv.org/abs/2112.04014" in shown
    assert "--set nac.flip=0.1  (float, in (0, 0.5))" in shown
    assert "[README" in shown
    assert "--set nac.recipe.epochs=" in shown
    assert json.loads(bench("show", "knn", "--json").stdout)[0]["kind"] == "task"


def test_show_tells_what_a_board_holds_fixed(bench: Callable[..., Result]) -> None:
    shown = bench("show", "digits").stdout
    assert "dataset bench-core/digits" in shown
    assert "board digits: Handwritten digits, 8x8" in shown
    assert "methods.nac_without_noise: nac {'code_dim': 32" in shown


def test_show_tells_what_a_board_changes_of_a_component(bench: Callable[..., Result]) -> None:
    shown = bench("show", "nac", "--board", "digits").stdout
    assert "[methods.nac_without_noise] of board digits: bench-core/nac" in shown
    assert '--set nac.recipe.optimizer="adamw"' in shown
    assert 'instead of "lars" [recipe]' in shown
    assert json.loads(bench("show", "linear_5", "--board", "digits", "--json").stdout)[0]["section"] == "tasks"
    assert "board 'digits' does not use 'gan'" in bench("show", "gan", "--board", "digits", code=2).stderr
    assert "shortened with --epochs" in bench("show", "simclr").stdout


def test_why_prints_the_key_and_what_differs_from_the_nearest_cell(bench: Callable[..., Result]) -> None:
    bench("run", *SHORT, "--quiet")
    done = bench("why", "nac/knn", "--epochs", "1").stdout
    assert "done: a record has this key." in done
    assert "embed.pretrain.recipe.epochs = 1" in done
    other = bench("why", "nac/knn/0", "--epochs", "1", "--set", "nac.flip=0.3").stdout
    assert re.search(r"embed\.pretrain\.method\.config\.flip: there 0\.\d+, here 0\.3", other)
    assert other.count(": there ") == 1


def test_why_looks_at_the_methods_of_the_request_and_without_any_at_all(bench: Callable[..., Result]) -> None:
    assert "key" in bench("why", "nac/knn").stdout
    assert "no cell 'nac/knn' in this request" in bench("why", "nac/knn", "--methods", "vae", code=2).stderr
    assert "no cell 'gan/knn' in this request" in bench("why", "gan/knn", "--board", "digits", code=2).stderr


def test_the_page_shows_all_that_is_in_the_store(bench: Callable[..., Result], tmp_path: Path) -> None:
    for method in ("random", "pixels"):
        bench("run", "--methods", method, "--tasks", "knn", "--quiet")
    page = (tmp_path / "runs" / "leaderboard.md").read_text()
    assert "| random" in page
    assert "| pixels" in page


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("supervised", "Uses labels in training."),
        ("mimkd", "Needs a teacher: --set NAME.teacher=ROW"),
        ("dgi", "Ends with the weights of the least training loss."),
        ("gcn", "Reads nodes."),
    ],
)
def test_show_says_what_a_component_needs(bench: Callable[..., Result], name: str, line: str) -> None:
    assert any(shown.startswith(line) for shown in bench("show", name).stdout.splitlines())
    without = bench("show", "simclr").stdout
    assert line not in without
