"""Each method's idea works, and without the idea it does not: recipes of the board digits, one seed, fewer epochs."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from bench_core import results, run
from bench_core.store.chain_files import read_finished_log, read_recipe

EPOCHS = {  # with the board's 400 epochs the differences are larger
    280: ["random", "nac", "nac_without_noise"],  # NAC leaves its plateau at about 100
    60: ["sela", "sela_argmax"],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store in which all rows are trained and scored."""
    path: Path = tmp_path_factory.mktemp("controls") / "runs"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as fast as two on these small batches, and much faster on a busy machine
    try:
        for epochs, rows in EPOCHS.items():
            run(rows, "retrieval,hashing", seeds=[0], store=path, epochs=epochs, progress=False)
    finally:
        torch.set_num_threads(threads)
    return path


@pytest.fixture
def scores(store: Path) -> "pd.Series[float]":
    """Scores on the test split of digits, by method, task and metric."""
    return results(store).set_index(["method", "task", "metric"]).sort_index()["value"]


def empty_clusters(store: Path, method: str) -> int:
    """Return how many of the 32 clusters of a SeLa row are empty after its last update, in the worst head."""
    for file in store.glob("chains/*/chain.json"):
        if read_recipe(file.parent)["names"]["method"] == method:
            return int(
                [line for line in read_finished_log(file.parent) if "labels_empty_clusters" in line][-1][
                    "labels_empty_clusters"
                ]
            )
    raise AssertionError(f"{method} was not trained")


@pytest.mark.slow
def test_nac_codes_retrieve_far_better_than_an_untrained_network(scores: "pd.Series[float]") -> None:
    assert scores["nac", "hashing", "map_code"] >= scores["random", "hashing", "map_code"] + 0.2  # by ITQ


@pytest.mark.slow
def test_nac_codes_retrieve_worse_without_the_noisy_channel(scores: "pd.Series[float]") -> None:
    assert scores["nac", "hashing", "map_code"] >= scores["nac_without_noise", "hashing", "map_code"] + 0.1


@pytest.mark.slow
def test_sela_features_retrieve_better_than_an_untrained_network(scores: "pd.Series[float]") -> None:
    assert scores["sela", "retrieval", "map_cosine"] >= scores["random", "retrieval", "map_cosine"] + 0.1


@pytest.mark.slow
def test_without_equipartition_sela_collapses_and_retrieves_worse(store: Path, scores: "pd.Series[float]") -> None:
    assert empty_clusters(store, "sela") == 0
    assert empty_clusters(store, "sela_argmax") > 24  # of 32
    assert scores["sela", "retrieval", "map_cosine"] > scores["sela_argmax", "retrieval", "map_cosine"]
