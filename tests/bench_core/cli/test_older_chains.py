"""Commands on a store whose chains have the older form, three files in the place of `chain.json`: nothing differs."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from bench_core import run
from bench_core.store import Store
from bench_core.store.chain_names import find_chain
from tests.chain_forms import make_older

Bench = Callable[..., Result]

SETTINGS = {"convnet.widths": [4], "digits.train_size": 100}
SHAPE = ("--set", "convnet.widths=[4]", "--set", "digits.train_size=100")
RUN = ("run", "--methods", "nac", "--tasks", "knn", "--epochs", "2", "--device", "cpu", "--quiet", *SHAPE)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two chains with kept weights."""
    path = tmp_path_factory.mktemp("newer") / "runs"
    for seed in (0, 1):
        run("nac", "knn", seeds=[seed], epochs=2, device="cpu", store=path, progress=False, settings=SETTINGS,
            keep_every=1)  # fmt: skip
    return path


@pytest.fixture(scope="module")
def older(newer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same store as older code wrote it."""
    path = shutil.copytree(newer, tmp_path_factory.mktemp("older") / "runs", symlinks=True)
    for folder in (path / "chains").iterdir():
        make_older(folder)
    assert not list(path.glob("chains/*/chain.json"))
    return path


@pytest.fixture(params=["newer", "older"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of either store, to change it."""
    return shutil.copytree(request.getfixturevalue(request.param), tmp_path / "runs", symlinks=True)


@pytest.mark.parametrize(
    "line",
    [
        "table", "table --format json", "compare", "status", "status --json", "logs nac/seed-1", "path --names",
        "path nac/seed-0", "rm nac/seed-0 --dry-run", "rm --embeddings --dry-run",
        "plot --kind training", "plot --kind filters",
    ],
)  # fmt: skip
def test_a_command_that_reads_says_the_same_of_both_forms(
    line: str, bench: Bench, newer: Path, older: Path, tmp_path: Path
) -> None:
    shown = []
    for store in (newer, older):
        shutil.copytree(store, tmp_path / "runs", symlinks=True)
        out = ["--out", "pictures"] if line.startswith("plot") else []
        result = bench(*line.split(), "--store", "runs", *out)
        sizes = r"\d[\d.]* (bytes|[KM]iB)"
        pictures = {path.name: path.read_bytes() for path in Path("pictures").glob("*.svg")}
        shown.append((re.sub(sizes, "SIZE", result.output), pictures))
        shutil.rmtree("runs")
        shutil.rmtree("pictures", ignore_errors=True)
    assert shown[0] == shown[1]
    assert shown[0][0]


def test_nothing_is_trained_again_and_a_further_task_runs_on_what_is_there(
    bench: Bench, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench_core.running.chain.pretrain", None)
    bench(*RUN, "--seeds", "0,1", "--store", str(store))
    bench(*RUN[:4], "retrieval", *RUN[5:], "--seeds", "0", "--store", str(store))
    bench(*RUN, "--seeds", "0", "--at", "epochs=1", "--store", str(store))
    assert len(Store(store).records()) == 4
    (at,) = [record for record in Store(store).records() if record.document.embed.get("epoch")]
    assert 0 < (at.cost.pretrain_s or 0) < max(record.cost.pretrain_s or 0 for record in Store(store).records())


def test_a_chain_starts_from_one_and_learns_from_one(bench: Bench, store: Path) -> None:
    folder = find_chain(Store(store), "nac/seed-0")
    words = ("run", "--methods", "vae", "--tasks", "knn", "--epochs", "1", "--device", "cpu", "--quiet", *SHAPE)
    bench(*words, "--set", f"vae.init={folder}", "--store", str(store))
    assert "nac, 2 epochs" in [record.starts_from for record in Store(store).records()]


def test_a_method_is_trained_again_beside_what_it_had(bench: Bench, store: Path) -> None:
    before = {path.name for path in (store / "chains").iterdir()}
    bench(*RUN, "--seeds", "0", "--rerun", "nac", "--store", str(store))
    assert {path.name for path in (store / "chains").iterdir()} == before
    (superseded,) = store.glob("superseded/*/chains/*")
    assert superseded.name in before
    assert (find_chain(Store(store), "nac/seed-0") / "chain.json").is_file()


def test_its_encoder_is_converted_and_its_files_are_removed(bench: Bench, store: Path) -> None:
    bench("convert", "nac/seed-0", "--to", "safetensors", "-o", "out", "--store", str(store))
    assert json.loads(Path("out/config.json").read_text())["encoder"]["id"] == "bench-core/convnet"
    bench("rm", "nac/seed-0", "--yes", "--store", str(store))
    assert len(list((store / "chains").iterdir())) == 1
    assert bench("path", "--names", "--store", str(store)).output.count("nac") == 1


def test_a_damaged_chain_is_named_and_trained_again_when_it_is_moved_away(bench: Bench, store: Path) -> None:
    folder = find_chain(Store(store), "nac/seed-0")
    (file,) = [path for path in folder.iterdir() if path.name in ("chain.json", "summary.json")]
    file.write_text(file.read_text().replace('"weights_sha256": "', '"weights_sha256": "0'))
    for record in (store / "cells").rglob("*.json"):
        record.unlink()
    words = (*RUN, "--seeds", "0", "--store", str(store))
    assert f"{file.name} is not as it was written" in bench(*words, code=1).output
    shutil.move(folder, folder.with_name("away"))
    bench(*words)
