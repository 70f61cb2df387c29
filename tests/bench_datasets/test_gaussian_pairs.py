import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from bench_core.data import Pair
from bench_core.errors import ConfigError, RequestError
from bench_datasets.gaussian_pairs import GaussianPairs, GaussianPairsConfig, true_information


def made(split: str = "train", **config: Any) -> Pair:
    inputs = GaussianPairs(Path("nowhere"), GaussianPairsConfig(**config)).load(split).inputs
    assert isinstance(inputs, Pair)
    return inputs


def test_the_information_is_that_of_the_covariance_matrix() -> None:
    """I = log det(cov x) / 2 + log det(cov y) / 2 - log det(cov of both) / 2, for any Gaussian."""
    dim, rho = 3, 0.8
    eye = np.eye(dim)
    both = np.block([[eye, rho * eye], [rho * eye, eye]])
    assert true_information(dim, rho) == pytest.approx(-0.5 * np.linalg.slogdet(both)[1])


def test_the_information_of_one_coordinate_is_known_by_hand() -> None:
    assert true_information(1, math.sqrt(0.75)) == pytest.approx(math.log(2))
    assert true_information(20, 0.0) == 0
    assert true_information(20, -0.9) == true_information(20, 0.9) == pytest.approx(16.607, abs=1e-3)


@pytest.mark.parametrize("rho", [-0.9, 0.0, 0.5])
def test_coordinates_correlate_with_their_partners_only(rho: float) -> None:
    pairs = made(dim=4, rho=rho, train_size=20_000)
    both = torch.cat([pairs.first, pairs.second], 1).double()
    eye = torch.eye(4, dtype=torch.float64)
    expected = torch.cat([torch.cat([eye, rho * eye], 1), torch.cat([rho * eye, eye], 1)])
    assert torch.allclose(torch.cov(both.T), expected, atol=0.04)


def test_the_cube_is_of_the_second_vector_and_changes_no_information() -> None:
    configs: list[Literal["none", "cubic"]] = ["none", "cubic"]
    plain, cubic = (made(transform=transform, dim=2, train_size=50) for transform in configs)
    assert torch.equal(plain.first, cubic.first)
    assert torch.allclose(cubic.second.sign() * cubic.second.abs().pow(1 / 3), plain.second, atol=1e-5)
    specs = [GaussianPairs(Path(), GaussianPairsConfig(transform=transform)).spec() for transform in configs]
    assert specs[0].information == specs[1].information == pytest.approx(2.8768, abs=1e-4)


def test_splits_differ_and_a_small_split_begins_a_large_one() -> None:
    small, large, test = made(train_size=5), made(train_size=50), made("test", test_size=50)
    assert torch.equal(small.second, large.second[:5])
    assert not torch.isin(test.first, large.first).any()


def test_the_first_values_never_change() -> None:
    pair = made(dim=2, rho=0.5, train_size=1)
    assert pair.first[0].tolist() == pytest.approx([1.7640524, 0.4001572])  # the first draws of numpy's seed 0
    assert pair.second[0].tolist() == pytest.approx([1.7296381, 2.1407490])


def test_the_digest_names_every_parameter() -> None:
    changed: list[dict[str, Any]] = [{}, {"dim": 2}, {"rho": 0.1}, {"transform": "cubic"}, {"train_size": 9}]
    digests = {GaussianPairs(Path(), GaussianPairsConfig(**each)).digest() for each in changed}
    assert len(digests) == len(changed)


def test_a_correlation_of_one_and_an_unknown_split_are_refused() -> None:
    with pytest.raises((ConfigError, ValueError), match="rho"):
        GaussianPairsConfig(rho=1.0)
    with pytest.raises(RequestError, match="there are: train, test"):
        made("validation")
