"""`bench claims`: from claim files and a store to verdicts on the screen, as JSON and Markdown; and `--run`."""

import json
import shutil
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from bench_core.cli import main
from bench_core.store import Store

Bench = Callable[..., Result]

BOARD = """
seeds = [0, 1, 2]
[datasets.digits]
train_size = 64
[encoders.convnet]
[methods.random]
[methods.pixels]
[tasks.knn]
[tasks.linear]
"""
CLAIM = """
claim = "{sentence}"
source = "Table 1"
by = "{by}"
paper_scale = "all digits"
scale = "cpu"
board = "boards/tiny.toml"
left = "{left}"
right = {right}
score = "knn:top1"
relation = "higher"
"""
NUMBER = CLAIM.format(sentence="Pixels find more than chance.", by="paper", left="pixels", right="0.2")
ROWS = CLAIM.format(sentence="Random networks are better | than [pixels].", by="ours", left="random", right='"pixels"')
HEAD = 'title = "Digits"\npaper = "Author, A Title, 2020"\nurl = "https://example.org/digits"\n'
NEEDS = """
claim = "It works on films."
source = "abstract"
by = "paper"
paper_scale = "films"
needs = "a board of films, about 3 core-hours"
"""


COMMAND = "bench run --board {} --methods pixels --tasks knn"


def write_claims(folder: Path) -> Path:
    """Write the claims of one paper, and the board that they name."""
    (folder / "boards").mkdir(parents=True)
    (folder / "boards" / "tiny.toml").write_text(BOARD)
    claims = {"number": NUMBER, "rows": ROWS, "films": NEEDS}
    (folder / "digits.toml").write_text(HEAD + "".join(f"[claims.{name}]{claim}" for name, claim in claims.items()))
    return folder


@pytest.fixture
def files(tmp_path: Path, bench: Bench) -> str:
    """The folder of the claims, below the one that commands are called in."""
    return write_claims(tmp_path / "mine").name


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A store with all that the claims need, and what the run of them printed."""
    folder = tmp_path_factory.mktemp("finished")
    claims = write_claims(folder / "mine")
    result = CliRunner().invoke(main, ["claims", "--claims", str(claims), "--run", "--store", str(folder / "runs")])
    assert result.exit_code == 0, result.output
    return folder / "runs", result


@pytest.fixture
def store(finished: tuple[Path, Result]) -> str:
    return str(finished[0])


def verdicts(result: Result) -> dict[str, dict[str, Any]]:
    (paper,) = json.loads(result.stdout)
    return {claim["name"]: claim for claim in paper["claims"]}


def test_a_run_measures_exactly_what_the_claims_need_and_prints_the_verdicts_alone(
    finished: tuple[Path, Result],
) -> None:
    records = Store(finished[0]).records()
    cells = sorted((record.names["method"], record.names["task"], record.seed) for record in records)
    assert cells == [(row, "knn", seed) for row in ("pixels", "random") for seed in (0, 1, 2)]
    assert finished[1].stdout.startswith("Digits (digits): 1 supported at CPU size, 1 contradicted at CPU size")
    assert "records:" not in finished[1].stdout
    assert "2 claims need cells that the store lacks; 1 command" in finished[1].stderr


def test_a_second_run_finds_nothing_to_do(bench: Bench, files: str, store: str) -> None:
    result = bench("claims", "--claims", files, "--run", "--store", store)
    assert "nothing to run" in result.stderr


def test_the_table_fits_80_columns(bench: Bench, files: str, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = bench("claims", "--claims", files, "--store", store).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = (line for line in lines if line.startswith("number"))
    assert row.split()[1:4] == ["supported", "at", "CPU"]
    assert any(line.startswith("rows (ours)") for line in lines)
    assert any(line.startswith("(ours): neither") for line in lines)


def test_a_paper_is_shown_in_full_with_the_command_that_measures_it(
    bench: Bench, files: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = bench("claims", "digits", "--claims", files, "--store", store).stdout
    lines = text.splitlines()
    assert "rows: contradicted at CPU size" in lines
    assert "  test      random higher than pixels in knn:top1" in lines
    assert f"  command   {COMMAND.format('mine/boards/tiny.toml')}" in lines
    assert "  missing   needs a board of films, about 3 core-hours" in lines
    assert max(len(line) for line in lines if not line.startswith("  command")) <= 80


def test_json_has_all_that_is_known_of_a_claim(bench: Bench, files: str, store: str) -> None:
    found = verdicts(bench("claims", "--claims", files, "--store", store, "--json"))
    keys = {
        "name", "verdict", "word", "note", "differences", "unit", "p", "p_reverse", "p_holm", "p_reverse_holm",
        "claim", "source", "by", "paper_scale", "scale", "board", "dataset", "encoder", "left", "right", "score",
        "relation", "margin", "control", "needs", "left_cells", "seconds", "commands",
    }  # fmt: skip
    assert {frozenset(claim) for claim in found.values()} == {frozenset(keys)}
    assert found["number"]["word"] == "supported"
    assert found["number"]["right"] == 0.2
    (difference,) = found["rows"]["differences"]
    assert difference["mean"] == pytest.approx(difference["left"] - difference["right"])
    assert found["rows"]["right"] == ["pixels"]
    assert found["films"]["commands"] == []


def test_without_records_every_verdict_is_not_measured_and_names_the_command(bench: Bench, files: str) -> None:
    found = verdicts(bench("claims", "--claims", files, "--json"))
    assert {claim["verdict"] for claim in found.values()} == {"not measured"}
    assert found["number"]["note"] == "no records of pixels"
    assert found["number"]["commands"] == [COMMAND.format("mine/boards/tiny.toml")]
    assert found["number"]["seconds"] is None
    full = bench("claims", "digits", "--claims", files).stdout
    assert "3 cells, time unknown" in full


def test_two_seeds_are_not_measured_and_the_time_of_the_third_is_estimated(
    bench: Bench, files: str, store: str, tmp_path: Path
) -> None:
    shutil.copytree(store, tmp_path / "less")
    for record in (less := Store(tmp_path / "less")).records():
        if record.seed == 2:
            less.record_file(record.key).unlink()
    found = verdicts(bench("claims", "--claims", files, "--store", "less", "--json"))
    assert found["rows"]["note"] == "random has 2 of 3 seeds (0, 1); pixels has 2 of 3 seeds (0, 1)"
    assert found["rows"]["left_cells"] == 2
    assert found["rows"]["seconds"] > 0
    assert (
        "2 cells, about 1 min in one process" in bench("claims", "digits", "--claims", files, "--store", "less").stdout
    )


def test_a_dry_run_prints_commands_and_cells_and_leaves_no_store(bench: Bench, files: str, tmp_path: Path) -> None:
    result = bench("claims", "--claims", files, "--run", "--dry-run", "--store", "new", "--device", "cpu")
    assert result.stdout.startswith("bench run --board mine/boards/tiny.toml --methods pixels,random --tasks knn")
    assert result.stdout.count("would run  ") == 6
    assert "supported" not in result.stdout
    assert not (tmp_path / "new").exists()


def test_a_process_for_one_chain_gets_the_words_of_a_run_with_the_options_of_engines(
    bench: Bench, files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def run_with_engine(plan: object, store: object, setting: Any, words: list[str], **more: object) -> list[object]:
        assert setting.jobs == 2
        assert setting.device == "cpu"
        started.append(list(words))
        return []

    monkeypatch.setattr("bench_core.cli.run.run_with_engine", run_with_engine)
    engine = ["--jobs", "2", "--device", "cpu", "--log", "csv", "--quiet", "--compile"]
    result = CliRunner().invoke(
        main, ["-p", "no:sela", "claims", "--claims", files, "--run", "--store", "new", *engine]
    )
    assert result.exit_code == 0, result.output
    assert started == [
        [
            "-pno:sela", "run", "--board", "mine/boards/tiny.toml", "--methods", "pixels,random", "--tasks", "knn",
            "--store", "new", "--quiet", "--device=cpu", "--compile", "--jobs=2", "--log=csv",
        ]
    ]  # fmt: skip


def test_a_claim_that_needs_more_than_time_is_left_to_the_user(bench: Bench, files: str, tmp_path: Path) -> None:
    (tmp_path / files / "digits.toml").write_text(f'{HEAD}[claims.large]{NUMBER}needs = "a GPU"')
    result = bench("claims", "--claims", files, "--run", "--dry-run", "--store", "new")
    assert result.stdout == ""
    command = COMMAND.format("mine/boards/tiny.toml")
    assert f"large is not run, as it needs a GPU. To run it: {command}" in result.stderr


def test_markdown_escapes_what_others_wrote(bench: Bench, files: str, store: str) -> None:
    text = bench("claims", "--claims", files, "--store", store, "--markdown").stdout
    (line,) = (line for line in text.splitlines() if "Random networks" in line)
    assert r"better \| than \[pixels\]." in line
    assert '<a id="digits-rows"></a>' in line
    assert "**contradicted at CPU size**" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digit"], "no paper named 'digit'; did you mean 'digits'?"),
        (["--jobs", "2"], "--jobs says how cells are run: add --run."),
        (["--dry-run"], "--dry-run says how cells are run: add --run."),
        (["--json", "--markdown"], "give one of them"),
        (["--run", "--rerun", "pixels"], "for finished cells type `bench run --rerun A,B`"),
        (["--store", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_request_says_what_to_type(bench: Bench, files: str, words: list[str], message: str) -> None:
    assert message in bench("claims", "--claims", files, *words, code=2).stderr


def test_a_row_that_cannot_run_keeps_no_other_from_running(
    bench: Bench, files: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_data = BOARD.replace("[datasets.digits]\ntrain_size = 64", "[datasets.mnist]")
    (tmp_path / files / "boards" / "another.toml").write_text(without_data)
    other = NUMBER.replace("tiny.toml", "another.toml")
    (tmp_path / files / "a.toml").write_text(f"{HEAD}[claims.first]{other}[claims.second]{NUMBER}")
    words = ["claims", "a", "--claims", files, "--run", "--store", "runs", "--data-root", str(tmp_path / "data")]
    result = bench(*words, code=2)
    assert "not run: bench run --board mine/boards/another.toml" in result.stderr
    assert "second: supported at CPU size" in result.stdout
    assert "first: not measured" in result.stdout


def test_claims_of_packages_stand_behind_our_own_and_broken_ones_are_named(
    bench: Bench, files: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench_games" / "claims").mkdir(parents=True)
    (tmp_path / "bench_games" / "claims" / "games.toml").write_text(f"{HEAD}[claims.films]{NEEDS}")
    monkeypatch.syspath_prepend(tmp_path)
    values = {"games": "bench_games.claims", "nothing": "bench_games.nothing"}
    entries = [EntryPoint(name, value, "bench.claims") for name, value in values.items()]
    monkeypatch.setattr("bench_core.reports.claims.folders.entry_points", lambda group: entries)
    monkeypatch.setattr("bench_core.reports.claims.folders.shipped_claims", lambda: tmp_path / files)
    result = bench("claims", "--json")
    assert [paper["key"] for paper in json.loads(result.stdout)] == ["digits", "games"]
    assert "claims 'nothing' of unknown cannot be read" in result.stderr


def test_completion_offers_the_papers(bench: Bench) -> None:
    offered = ShellComplete(main, {}, "bench", "_BENCH_COMPLETE").get_completions(["claims"], "na")
    assert [item.value for item in offered] == ["nac"]
