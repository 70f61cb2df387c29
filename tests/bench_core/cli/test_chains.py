"""`bench path`, `bench convert` and `bench embed` on a store with trained chains."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from bench_core import run

Bench = Callable[..., Result]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("trained") / "runs"
    settings = {"convnet.widths": [4], "digits.train_size": 100}
    for seed in (1, 0):
        run("nac", "knn", seeds=[seed], epochs=1, device="cpu", store=path, progress=False, settings=settings)
    return str(path)


def test_path_prints_folders_newest_last(bench: Bench, store: str) -> None:
    lines = bench("path", "nac", "--store", store, "--names").output.splitlines()
    assert [line.split("\t")[1] for line in lines] == ["digits/convnet/nac/seed-1", "digits/convnet/nac/seed-0"]
    [folder] = bench("path", "nac", "--seed", "0", "--store", store).output.splitlines()
    assert folder == lines[1].split("\t")[0]
    assert (Path(folder) / "weights.safetensors").is_file()
    assert bench("path", "nac/seed-0", "--store", store).output.strip() == folder


def test_path_refuses_what_is_not_there(bench: Bench, store: str) -> None:
    assert "did you mean 'nac'" in bench("path", "nax", "--store", store, code=2).output
    assert "no such chain" in bench("path", "nac", "--seed", "7", "--store", store, code=2).output
    assert "there is no store" in bench("path", "--store", "none", code=2).output


def test_convert_writes_a_folder_and_prints_it(bench: Bench, store: str) -> None:
    result = bench("convert", "nac/seed-0", "--to", "huggingface", "-o", "out", "--store", store)
    assert result.stdout.splitlines()[-1] == "out"
    assert sorted(path.name for path in Path("out").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert "| knn | top1 |" in Path("out/README.md").read_text()
    again = bench("convert", "nac/seed-0", "--to", "huggingface", "-o", "out", "--store", store, code=2)
    assert "is not empty" in again.output


def test_embed_writes_features_and_names(bench: Bench, store: str) -> None:
    Image.fromarray(np.zeros((12, 12, 3), np.uint8)).save("a.png")
    bench("embed", "nac/seed-0", "a.png", "a.png", "-o", "f.npy", "--store", store)
    features = np.load("f.npy")
    assert features.shape[0] == 2
    assert np.array_equal(features[0], features[1])
    assert Path("f.txt").read_text() == "a.png\na.png\n"
