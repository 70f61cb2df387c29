"""Histograms of Hamming distances against slow counts."""

import pytest
import torch
from torch import Tensor

from bench_core.evaluation.hamming import _count_by_products, hamming_histograms
from bench_core.evaluation.ranking import relevance


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_histograms_count_all_pairs_by_distance_and_relevance() -> None:
    code, labels = draw(50, 11) > 0.5, (draw(50, seed=1) * 3).long()
    items, relevant = hamming_histograms(code[:7], code[7:], labels[:7], labels[7:], chunk_pairs=100)
    for query in range(7):
        distance = [sum(a != b for a, b in zip(code[query].tolist(), c.tolist(), strict=True)) for c in code[7:]]
        for d in range(12):
            at_distance = [i for i, value in enumerate(distance, 7) if value == d]
            assert items[query, d] == len(at_distance)
            assert relevant[query, d] == sum(int(labels[i] == labels[query]) for i in at_distance)


def test_histograms_do_not_depend_on_chunks_order_of_the_database_or_complement() -> None:
    code, labels = draw(120, 16) > 0.5, (draw(120, seed=1) * 3).long()
    q, d, lq, ld = code[:20], code[20:], labels[:20], labels[20:]
    reference = torch.stack(hamming_histograms(q, d, lq, ld))
    order = torch.randperm(100, generator=torch.Generator().manual_seed(2))
    assert torch.equal(reference, torch.stack(hamming_histograms(q, d, lq, ld, chunk_pairs=1)))
    assert torch.equal(reference, torch.stack(hamming_histograms(q, d[order], lq, ld[order])))
    assert torch.equal(reference, torch.stack(hamming_histograms(~q, ~d, lq, ld)))


def test_codes_with_many_ones_are_not_nearer_than_codes_with_few() -> None:
    # By the product of {0, 1} codes the second item would be nearest to this query: it has the most ones in common.
    query, database = torch.tensor([[1, 1, 0, 0]]).bool(), torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]]).bool()
    items, relevant = hamming_histograms(query, database, torch.tensor([0]), torch.tensor([0, 1]))
    assert items.tolist() == [[0, 1, 1, 0, 0]]
    assert relevant.tolist() == [[0, 1, 0, 0, 0]]


@pytest.mark.parametrize("bits", [1, 8, 11, 64, 126, 127, 128, 200])
@pytest.mark.parametrize("items", [30, 31])
def test_histograms_for_any_number_of_bits_equal_a_count_of_different_bits(bits: int, items: int) -> None:
    query, code = draw(9, bits, seed=1) > 0.5, draw(items, bits) > 0.3
    query[0], code[0], code[-1] = True, False, True  # distances B and 0
    labels, classes = (draw(9, seed=2) * 3).long(), (draw(items, seed=3) * 3).long()
    histogram, relevant_histogram = hamming_histograms(query, code, labels, classes, chunk_pairs=4 * items)
    distance = (query[:, None] ^ code).sum(2)
    for q in range(9):
        assert torch.equal(histogram[q], distance[q].bincount(minlength=bits + 1).double())
        hits = distance[q, classes == labels[q]]
        assert torch.equal(relevant_histogram[q], hits.bincount(minlength=bits + 1).double())


@pytest.mark.parametrize("bits", [16, 130])
def test_products_of_signs_give_the_same_counts_as_popcounts(bits: int) -> None:
    code = draw(60, bits) > 0.5
    for labels in ((draw(60, seed=1) * 3).long(), draw(60, 4, seed=1) > 0.6):
        counts = torch.empty(20, 2 * (bits + 1), dtype=torch.int64)
        _count_by_products(code[:20], code[20:], labels[:20], labels[20:], 100, counts)
        items, relevant = hamming_histograms(code[:20], code[20:], labels[:20], labels[20:])
        assert torch.equal(items - relevant, counts[:, : bits + 1].double())
        assert torch.equal(relevant, counts[:, bits + 1 :].double())
        assert torch.equal(relevant.sum(1), relevance(labels[:20], labels[20:]).sum(1).double())
