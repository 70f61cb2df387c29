import pytest
import torch
from torch import Tensor

from bench_methods.stacked.corruption import corrupt

KINDS = ["masking", "gaussian", "salt_pepper"]


def made(corruption: str, level: float, bounded: bool = True, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return clean inputs (400, 50) in [0.2, 0.8] and corrupted ones."""
    clean = 0.2 + 0.6 * torch.rand(400, 50, generator=torch.Generator().manual_seed(9))
    return clean, corrupt(clean, corruption, level, bounded, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("corruption", KINDS)
def test_at_level_0_the_inputs_stay_as_they_are(corruption: str) -> None:
    clean, corrupted = made(corruption, 0.0)
    assert torch.equal(clean, corrupted)


@pytest.mark.parametrize("corruption", KINDS)
def test_clean_inputs_are_not_changed_and_a_seed_gives_the_same_noise(corruption: str) -> None:
    clean, corrupted = made(corruption, 0.3)
    assert 0.2 <= clean.min() <= clean.max() <= 0.8
    assert torch.equal(corrupted, made(corruption, 0.3)[1])
    assert not torch.equal(corrupted, made(corruption, 0.3, seed=1)[1])


def test_masking_sets_a_share_of_the_inputs_to_zero_and_leaves_the_others() -> None:
    clean, corrupted = made("masking", 0.3)
    hit = corrupted == 0
    assert float(hit.float().mean()) == pytest.approx(0.3, abs=0.015)  # four standard errors of 20,000 draws
    assert torch.equal(corrupted[~hit], clean[~hit])


@pytest.mark.parametrize(("bounded", "ends"), [(True, (0.0, 1.0)), (False, None)])
def test_salt_and_pepper_sets_inputs_to_both_ends_equally_often(bounded: bool, ends: tuple[float, float]) -> None:
    clean, corrupted = made("salt_pepper", 0.4, bounded)
    least, largest = ends or (float(clean.min()), float(clean.max()))
    changed = corrupted != clean
    assert set(corrupted[changed].tolist()) == {least, largest}
    for end in (least, largest):
        assert float((corrupted == end).float().mean()) == pytest.approx(0.2, abs=0.015)


def test_gaussian_noise_has_mean_zero_and_the_given_deviation() -> None:
    clean, corrupted = made("gaussian", 0.5)
    noise = corrupted - clean
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.015)
    assert float(noise.std()) == pytest.approx(0.5, abs=0.01)
