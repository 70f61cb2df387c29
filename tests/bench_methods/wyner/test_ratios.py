import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import DataSpec
from bench_core.nn.mutual_information import jensen_shannon
from bench_methods.wyner.ratios import RatioNetworks, Sample

SPLITS = {"train": 4}
ONE = DataSpec(shape=(1,), splits=SPLITS)


def wyner_pairs(n: int, rho: float, rng: torch.Generator) -> Sample:
    """Gaussian pairs of correlation rho, independent given z: x = sqrt(rho) z + sqrt(1 - rho) u, and y alike."""
    z, u, v = (torch.randn(n, 1, generator=rng) for _ in range(3))
    return Sample(rho**0.5 * z + (1 - rho) ** 0.5 * u, rho**0.5 * z + (1 - rho) ** 0.5 * v, z, u, v)


def true_log_ratio(sample: Sample, rho: float) -> Tensor:
    """log p(x, y | z) / p(x, y) of such pairs, from their normal densities."""
    x, y, z = sample.first[:, 0], sample.second[:, 0], sample.z[:, 0]
    given = -((x - rho**0.5 * z) ** 2 + (y - rho**0.5 * z) ** 2) / (2 * (1 - rho)) - math.log(1 - rho)
    alone = -(x**2 - 2 * rho * x * y + y**2) / (2 * (1 - rho**2)) - 0.5 * math.log(1 - rho**2)
    ratio: Tensor = given - alone
    return ratio


def test_the_mean_true_log_ratio_is_wyners_common_information() -> None:
    rho = 0.8
    sample = wyner_pairs(200_000, rho, torch.Generator().manual_seed(0))
    common = 0.5 * math.log((1 + rho) / (1 - rho))
    assert common == pytest.approx(1.0986, abs=1e-4)
    assert true_log_ratio(sample, rho).mean().item() == pytest.approx(common, abs=0.01)


def test_a_trained_log_ratio_estimates_the_common_information() -> None:
    rho, rng = 0.8, torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    networks = RatioNetworks(ONE, ONE, {"information": ("z",)}, {"z": 1}, 4, 16)
    optimizer = torch.optim.Adam(networks.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, total_iters=200)

    def ratios(sample: Sample) -> tuple[Tensor, Tensor]:
        features = networks.features(sample)
        shuffled = sample._replace(z=sample.z.roll(1, 0))
        return networks("information", features, sample), networks("information", features, shuffled)

    for _ in range(200):
        loss: Any = -jensen_shannon(*ratios(wyner_pairs(512, rho, rng)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    fresh = wyner_pairs(20_000, rho, rng)
    with torch.no_grad():
        estimate = ratios(fresh)[0]
    assert estimate.mean().item() == pytest.approx(0.5 * math.log((1 + rho) / (1 - rho)), abs=0.1)
    assert torch.corrcoef(torch.stack([estimate, true_log_ratio(fresh, rho)]))[0, 1] > 0.95


def test_a_log_ratio_reads_the_latents_of_its_term_only() -> None:
    torch.manual_seed(0)
    terms = {"all": ("z", "u", "v"), "one": ("u",)}
    networks = RatioNetworks(ONE, ONE, terms, {"z": 1, "u": 1, "v": 1}, 4, 8)
    sample = wyner_pairs(5, 0.5, torch.Generator().manual_seed(1))
    features = networks.features(sample)
    moved = sample._replace(z=sample.z + 1)
    assert torch.equal(networks("one", features, sample), networks("one", features, moved))
    assert not torch.equal(networks("all", features, sample), networks("all", features, moved))
    other = networks.features(sample._replace(second=sample.second + 1))
    assert not torch.equal(networks("one", features, sample), networks("one", other, sample))


def test_noise_is_added_to_every_part_of_a_sample() -> None:
    sample = Sample(*(torch.full((2, 1), float(number)) for number in range(5)))
    noise = Sample(*(torch.full((2, 1), 10.0 * number) for number in range(5)))
    assert [part.tolist() for part in sample.plus(noise, 0.5)] == [[[6.0 * n], [6.0 * n]] for n in range(5)]
