"""`bench rm`: what it deletes, what it never deletes, and when it refuses."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench_core.cli import main
from bench_core.running.removal import size_text
from bench_core.store.claims import Claims
from bench_core.store.under_way import hold

Bench = Callable[..., Result]
SHORT = ["--methods", "random,nac", "--tasks", "knn", "--epochs", "1", "--quiet"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two finished chains, which no test changes."""
    path = tmp_path_factory.mktemp("trained") / "runs"
    result = CliRunner().invoke(main, ["run", *SHORT, "--store", str(path)])
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture
def store(bench: Bench, trained: Path, tmp_path: Path) -> Path:
    """A copy of that store in the working folder."""
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for part in ("cells", "chains", "attempts")
        for path in (folder / part).rglob("*")
        if path.is_file()
    }


def test_a_chain_goes_and_its_records_stay(bench: Bench, store: Path) -> None:
    before = files(store)
    dry = bench("rm", "nac/seed-0", "--dry-run").stdout.splitlines()
    assert dry[0].endswith("  chain digits/convnet/nac/seed-0")
    assert dry[1].endswith("  would be deleted")
    assert files(store) == before
    assert bench("rm", "nac/seed-0", "--yes").stdout.splitlines()[-1].endswith("  deleted")
    gone = before - files(store)
    assert {name.split("/")[0] for name in gone} == {"chains"}
    assert len({name.split("/")[1] for name in gone}) == 1
    assert not [path for path in (store / "chains").iterdir() if path.name.startswith(".")]
    assert "2 of 2 cells done" in bench("status").stdout
    assert "has no chain" in bench("rm", "nac/seed-0", "--yes", code=2).stderr


def test_embeddings_go_and_weights_stay(bench: Bench, store: Path) -> None:
    bench("rm", "--embeddings", "nac/seed-0", "--yes")
    assert len({name.split("/")[1] for name in files(store) if "/embeddings/" in name}) == 1
    bench("rm", "--embeddings", "--yes")
    assert not [name for name in files(store) if "/embeddings/" in name]
    assert len([name for name in files(store) if name.endswith("weights.safetensors")]) == 2
    assert bench("rm", "--embeddings", "--yes").stdout == "there is nothing to delete\n"


def test_records_go_only_where_that_is_asked(bench: Bench, store: Path) -> None:
    shown = bench("rm", "nac/seed-0", "--records", "--yes").stdout
    assert "  1 record\n" in shown
    assert len([name for name in files(store) if name.startswith("cells/")]) == 1


def test_failed_attempts_go(bench: Bench, tmp_path: Path) -> None:
    bad = ["run", *SHORT, "--set", "nac.recipe.learning_rate=1e30"]
    bench(*bad, code=1)
    assert "attempts on 1 cell\n" in bench("rm", "--failed", "--dry-run").stdout
    bench("rm", "--failed", "--yes")
    assert not list((tmp_path / "runs" / "attempts").iterdir())
    assert len(list((tmp_path / "runs" / "cells").rglob("*.json"))) == 1


def test_nothing_goes_where_nobody_can_be_asked(bench: Bench, store: Path) -> None:
    before = files(store)
    assert "add --yes" in bench("rm", "nac/seed-0", code=2).stderr
    assert files(store) == before


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("Yes", 0), ("n\n", 1), ("", 1)])
def test_the_answer_decides(bench: Bench, store: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int) -> None:
    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

        @staticmethod
        def readline() -> str:
            return answer

    monkeypatch.setattr("bench_core.cli.rm.sys", type("sys", (), {"stdin": Terminal}))
    assert "[y/N]" in bench("rm", "nac/seed-0", code=code).stderr
    assert len(list((store / "chains").iterdir())) == (2 if code else 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [([], "say what to delete"), (["--records"], "name them"), (["nac/seed-0", "--failed", "--records"], "name them")],
)
def test_what_does_not_fit_is_refused(bench: Bench, store: Path, words: list[str], message: str) -> None:
    assert message in bench("rm", *words, "--yes", code=2).stderr


def test_a_chain_that_is_being_trained_is_refused(bench: Bench, store: Path) -> None:
    key = next(path.name for path in (store / "chains").iterdir())
    under_way = store / "chains" / f"{key}.under-way"
    under_way.mkdir()
    with (under_way / "log.jsonl").open("w") as log:
        hold(log)
        assert "is being trained or measured now" in bench("rm", key[:8], "--yes", code=2).stderr
        assert "is being trained or measured now" in bench("rm", "--embeddings", "--yes", code=2).stderr
    bench("rm", key[:8], "--yes")
    assert not under_way.exists()


def test_a_chain_that_a_process_has_claimed_is_refused_with_what_to_do(bench: Bench, store: Path) -> None:
    key = next(path.name for path in (store / "chains").iterdir())
    with Claims(store) as claims:
        assert claims.try_claim(key)
        for words in ([key[:8]], ["--embeddings"]):
            error = bench("rm", *words, "--yes", code=2).stderr
            assert f"measured now by process {os.getpid()} on " in error
            assert str(Path("claims") / f"{key}.json") in error
    bench("rm", key[:8], "--yes")
    assert not (store / "chains" / key).exists()


def test_a_folder_of_another_store_is_refused(bench: Bench, store: Path) -> None:
    folder = next((store / "chains").iterdir())
    stolen = folder.rename(store.parent / "chain")
    assert "is no chain of runs" in bench("rm", str(stolen), "--yes", code=2).stderr
    assert stolen.exists()


def test_sizes_are_written_for_people() -> None:
    assert list(map(size_text, [0, 1023, 1024, 1024 * 300, 1024**2 * 5, 1024**5])) == [
        "0 bytes", "1023 bytes", "1.0 KiB", "300 KiB", "5.0 MiB", "1024 TiB",
    ]  # fmt: skip
