"""A first-in first-out queue, and batches in parts."""

from collections import deque

import pytest
import torch
from torch import Tensor, nn

from bench_core.contrast import enqueue, in_parts


class Record(nn.Module):
    """Returns its inputs and keeps what came together."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images.flatten().int().tolist())
        return images.flatten(1)


@pytest.mark.parametrize("size", [1, 3, 4, 7, 50])
def test_a_queue_keeps_the_last_rows_whatever_their_number_and_its_size(size: int) -> None:
    queue, position = torch.full((size, 1), -1.0), torch.tensor(0)
    expected = deque([-1.0] * size, maxlen=size)
    for step in range(12):
        rows = 10 * step + torch.arange(4.0)[:, None]
        enqueue(queue, position, rows)
        expected.extend(rows.flatten().tolist())
        assert queue.roll(-int(position), 0).flatten().tolist() == list(expected)  # the oldest first
    assert int(position) == 48 % size


def test_no_rows_change_nothing() -> None:
    queue, position = torch.rand(5, 2), torch.tensor(3)
    before = queue.clone()
    enqueue(queue, position, torch.empty(0, 2))
    assert torch.equal(queue, before)
    assert int(position) == 3


@pytest.mark.parametrize("dealt", [False, True])
@pytest.mark.parametrize(("n", "parts"), [(8, 4), (9, 4), (7, 8), (3, 8), (1, 8), (16, 1)])
def test_rows_come_back_in_order_and_no_part_is_one_image_alone(n: int, parts: int, dealt: bool) -> None:
    network, images = Record(), torch.arange(float(n))[:, None, None, None]
    assert in_parts(network, images, parts, dealt=dealt).flatten().tolist() == list(range(n))
    assert len(network.seen) == max(1, min(parts, n // 2))
    assert min(map(len, network.seen)) >= min(2, n)


def test_dealt_parts_take_every_so_manieth_image() -> None:
    network, images = Record(), torch.arange(9.0)[:, None, None, None]
    in_parts(network, images, 4)
    in_parts(network, images, 4, dealt=True)
    assert network.seen[:4] == [[0, 1, 2], [3, 4], [5, 6], [7, 8]]
    assert network.seen[4:] == [[0, 4, 8], [1, 5], [2, 6], [3, 7]]


def test_each_part_has_batch_statistics_of_its_own() -> None:
    norm = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3, affine=False))
    images = torch.randn(12, 3, 1, 1, generator=torch.Generator().manual_seed(0)) + torch.arange(12.0).view(-1, 1, 1, 1)
    assert in_parts(norm, images, 1).mean(0).abs().max() < 1e-6
    for part in in_parts(norm, images, 3).view(3, 4, 3):
        assert part.mean(0).abs().max() < 1e-6


def test_statistics_remember_as_many_batches_in_parts_as_whole() -> None:
    images = torch.randn(32, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + 2
    whole, parts = (nn.Sequential(nn.BatchNorm2d(3), nn.Flatten()) for _ in range(2))
    in_parts(whole, images, 1)
    in_parts(parts, images, 8)
    norms = [network[0] for network in (whole, parts)]
    means = [norm.running_mean for norm in norms if isinstance(norm, nn.BatchNorm2d)]
    assert means[0] is not None
    assert means[1] is not None
    assert torch.allclose(means[0], means[1], rtol=0.06)
    assert all(norm.momentum == 0.1 for norm in norms if isinstance(norm, nn.BatchNorm2d))
