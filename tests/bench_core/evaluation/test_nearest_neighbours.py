"""Exact search against a full sort."""

import pytest
import torch
from torch import Tensor

from bench_core.evaluation import nearest_neighbours
from bench_core.evaluation.nearest_neighbours import _top_k_by_products, top_k, top_k_hamming


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_top_k_equals_the_first_k_of_a_full_sort() -> None:
    queries, database = draw(5, 16), draw(60, 16, seed=1)
    similarity, index = top_k(queries, database, 7)
    expected = (queries @ database.T).sort(1, descending=True)
    assert torch.equal(index, expected.indices[:, :7])
    torch.testing.assert_close(similarity, expected.values[:, :7])


@pytest.mark.parametrize("chunk_pairs", [1, 130, 2**20])
def test_products_in_chunks_of_any_size_find_the_same_as_faiss(chunk_pairs: int) -> None:
    queries, database = draw(9, 8), draw(60, 8, seed=1)
    similarity, index = _top_k_by_products(queries, database, 5, chunk_pairs)
    expected = top_k(queries, database, 5)
    assert torch.equal(index, expected[1])
    torch.testing.assert_close(similarity, expected[0])


@pytest.mark.parametrize("bits", [3, 16, 21])
def test_top_k_hamming_is_ordered_by_the_number_of_differing_bits(bits: int) -> None:
    queries, database = draw(4, bits) > 0, draw(50, bits, seed=1) > 0
    distance, index = top_k_hamming(queries, database, 50)
    brute = (queries[:, None] ^ database[None]).sum(2)
    assert torch.equal(distance, brute.sort(1).values)
    assert torch.equal(distance, brute.gather(1, index))


def test_the_cpu_searches_with_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    def products(*_: object) -> None:
        raise AssertionError("the search by products is for GPUs")

    monkeypatch.setattr(nearest_neighbours, "_top_k_by_products", products)
    assert top_k(torch.eye(3), torch.eye(3), 1)[1].tolist() == [[0], [1], [2]]
