"""The ideas work, and with the idea taken out they do not: real training on the digits board's recipes, one seed."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from bench_core import run

ROWS = ["random", "nac", "nac_without_noise", "sela", "sela_argmax"]


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> "pd.Series[float]":
    """(method, metric) -> value, on the test split of digits."""
    store: Path = tmp_path_factory.mktemp("controls") / "runs"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as fast as two on these small batches, and much faster on a busy machine
    try:
        frame = run(ROWS, "retrieval", seeds=[0], store=store, progress=False)
    finally:
        torch.set_num_threads(threads)
    return frame.set_index(["method", "metric"])["value"]


@pytest.mark.slow
def test_nac_codes_retrieve_far_better_than_an_untrained_network(scores: "pd.Series[float]") -> None:
    assert scores["nac", "map_hamming"] >= scores["random", "map_hamming"] + 0.3


@pytest.mark.slow
def test_the_noisy_channel_is_what_makes_nacs_bits_good(scores: "pd.Series[float]") -> None:
    assert scores["nac", "map_hamming"] >= scores["nac_without_noise", "map_hamming"] + 0.1


@pytest.mark.slow
def test_sela_features_retrieve_better_than_an_untrained_network(scores: "pd.Series[float]") -> None:
    assert scores["sela", "map_cosine"] >= scores["random", "map_cosine"] + 0.1


@pytest.mark.slow
def test_without_equipartition_sela_falls_back(scores: "pd.Series[float]") -> None:
    assert scores["sela", "map_cosine"] >= scores["sela_argmax", "map_cosine"] + 0.1
