"""`bench eval`: embeddings of any program as a row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bench_core.api import results
from bench_core.cli.group import main
from bench_core.plugins import load_plugins


def bench(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    cls = load_plugins().get("dataset", "digits").cls
    dataset = cls(Path(), cls.Config())
    arrays = {}
    for name in ("train", "test"):
        split = dataset.load(name)
        arrays[name] = split.inputs.flatten(1).float().numpy()
        arrays[f"{name}_labels"] = split.labels.numpy()
    return arrays


def test_a_file_alone_makes_a_table(digits: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "features.npz", **digits)
    done = bench(
        "eval", tmp_path / "features.npz", "--name", "mine", "--tasks", "knn", "--store", tmp_path / "runs", "--quiet"
    )
    assert done.exit_code == 0, done.output
    frame = results(tmp_path / "runs")
    assert set(frame["method"]) == {"mine"}
    assert set(frame["dataset"]) == {"arrays"}


def test_with_a_dataset_the_row_stands_beside_others(digits: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "features.npz", **digits)
    store = ("--store", tmp_path / "runs", "--quiet")
    features = ("eval", tmp_path / "features.npz", "--name", "mine", "--dataset", "digits", "--tasks", "knn")
    assert bench(*features, *store).exit_code == 0
    assert bench("run", "--methods", "pixels", "--tasks", "knn", *store).exit_code == 0
    frame = results(tmp_path / "runs").query("metric == 'top1'").set_index("method")
    values = frame["value"].to_dict()
    assert values["mine"] == values["pixels"]
    assert set(frame["dataset"]) == {"digits"}


def test_features_of_other_items_are_refused(digits: dict[str, Any], tmp_path: Path) -> None:
    turned = {**digits, "test": digits["test"][::-1], "test_labels": digits["test_labels"][::-1]}
    for name, arrays, words in (
        ("turned", turned, "the labels of 'test' in the file are not the dataset's, first at item"),
        ("short", {**digits, "test": digits["test"][:5], "test_labels": digits["test_labels"][:5]}, "of 5 items"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        done = bench(
            "eval", tmp_path / f"{name}.npz", "--name", name, "--dataset", "digits", "--tasks", "knn", "--store",
            tmp_path / "runs", "--quiet",
        )  # fmt: skip
        assert done.exit_code == 1
        assert words in done.output


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    done = bench("eval", tmp_path / "no.npz", "--name", "x", "--dataset", "digits", "--store", tmp_path / "runs")
    assert done.exit_code == 2
    assert "is no file" in done.output
    assert not (tmp_path / "runs").exists()
