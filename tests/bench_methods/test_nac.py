"""The closed forms of the objective, by enumeration of all received words where there are few bits."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec
from bench_methods.nac import NAC, NACConfig, information, information_ceiling, nac_loss


def draw(seed: int, rows: int = 12, bits: int = 6) -> Tensor:
    return torch.randn(rows, bits, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def signs(seed: int, rows: int = 12, bits: int = 6) -> Tensor:
    return torch.where(draw(seed, rows, bits) > 0, 1.0, -1.0).double()


def beta(flip: float) -> float:
    return 0.5 * math.log((1 - flip) / flip)


def mean_information(codes: Tensor, logits: Tensor, flip: float) -> float:
    """Mean over all 2^P patterns of flips, each the same for all rows, with their chances."""
    total = 0.0
    for pattern in itertools.product((1.0, -1.0), repeat=codes.shape[1]):
        flipped = sum(bit < 0 for bit in pattern)
        chance = flip**flipped * (1 - flip) ** (len(pattern) - flipped)
        flips = torch.tensor(pattern, dtype=torch.float64).expand_as(codes)
        total += chance * float(information(codes, logits, flips, flip))
    return total


def test_nac_loss_is_the_formula_row_by_row() -> None:
    codes, logits, flips, flip, n = draw(0).tanh(), draw(1), signs(2), 0.2, 6
    losses = []
    for i in range(2 * n):
        y, answer = flips[i] * codes[i], logits[(i + n) % (2 * n)]
        q = torch.sigmoid(answer)
        log_q = (0.5 * (1 + y) * (2 * q).log() + 0.5 * (1 - y) * (2 * (1 - q)).log()).sum()
        mixture = sum(torch.exp(beta(flip) * (y * codes[j]).sum()) for j in range(2 * n))
        losses.append(torch.as_tensor(mixture).log() - log_q)
    assert torch.allclose(nac_loss(codes, logits, flips, flip), torch.stack(losses).mean(), atol=1e-12)


@pytest.mark.parametrize("flip", [0.01, 0.1, 0.4])
@pytest.mark.parametrize(("rows", "bits"), [(8, 3), (512, 128)])
def test_zero_codes_and_logits_give_log_of_the_number_of_rows(flip: float, rows: int, bits: int) -> None:
    zero = torch.zeros(rows, bits)
    assert nac_loss(zero, zero, torch.ones_like(zero), flip).item() == pytest.approx(math.log(rows), rel=1e-6)


def test_hard_bits_pay_the_log_of_the_sigmoid() -> None:
    codes, logits, flips = signs(0), draw(1), signs(2)
    log_q = torch.nn.functional.logsigmoid(flips * codes * logits.roll(6, 0)) + math.log(2)
    mixture = torch.logsumexp(beta(0.3) * (flips * codes) @ codes.T, 1)
    assert torch.allclose(nac_loss(codes, logits, flips, 0.3), (mixture - log_q.sum(1)).mean(), atol=1e-12)


@pytest.mark.parametrize(("flip", "expected"), [(0.1, 1.8403), (0.4, 0.1007)])
def test_information_of_all_words_of_five_bits_is_the_channels_capacity(flip: float, expected: float) -> None:
    words = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=5)), dtype=torch.float64).repeat(2, 1)
    found = mean_information(words, 2 * beta(flip) * words, flip)
    assert found == pytest.approx(expected, abs=5e-5)
    assert found == pytest.approx(information_ceiling(64, 5, flip), abs=1e-9)


@pytest.mark.parametrize("flip", [0.1, 0.3])
def test_information_with_the_exact_decoder_is_the_true_mutual_information(flip: float) -> None:
    codes = signs(3, rows=7, bits=4)
    words = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)), dtype=torch.float64)
    same = (words[:, None] * codes[None] > 0).sum(2).double()  # (16 words, 7 codes)
    channel = flip ** (4 - same) * (1 - flip) ** same  # P(y | c)
    received = channel.mean(1)
    entropy = float(-(received * received.log()).sum())
    noise = -4 * (flip * math.log(flip) + (1 - flip) * math.log(1 - flip))
    pairs = codes.repeat(2, 1)
    assert mean_information(pairs, 2 * beta(flip) * pairs, flip) == pytest.approx(entropy - noise, abs=1e-9)


@pytest.mark.parametrize(("flip", "expected"), [(0.1, 3.9892), (0.4, 2.0276)])
def test_equal_codes_carry_no_information(flip: float, expected: float) -> None:
    codes = torch.ones(14, 4, dtype=torch.float64)
    assert mean_information(codes, 2 * beta(flip) * codes, flip) == pytest.approx(0.0, abs=1e-9)
    log_cosh = math.log(math.cosh(beta(flip)))
    assert math.log(14) + 4 * log_cosh == pytest.approx(expected + math.log(2), abs=1e-4)  # notes: 7 rows


@pytest.mark.parametrize("flip", [0.1, 0.3, 0.4])
def test_information_stays_under_its_ceiling(flip: float) -> None:
    for seed in range(5):
        codes = signs(seed, rows=20, bits=6)
        codes[10:] = codes[:10]
        for logits in (2 * beta(flip) * codes, 3 * beta(flip) * codes, draw(seed, 20)):
            found = mean_information(codes, logits, flip)
            assert found <= information_ceiling(20, 6, flip) + 1e-9
            assert found <= math.log(len(set(map(tuple, codes.tolist())))) + 1e-9


def test_ceilings_are_the_batch_or_the_channel() -> None:
    assert information_ceiling(2000, 128, 0.1) == pytest.approx(math.log(2000))
    assert information_ceiling(2000, 128, 0.4) == pytest.approx(2.58, abs=0.01)


def test_information_of_relaxed_codes_is_that_of_their_signs_and_of_logits_for_whole_bits() -> None:
    codes, logits, flips = draw(0).tanh(), draw(1), signs(2)
    size = codes.abs().mean()
    assert torch.allclose(information(codes, logits * size, flips, 0.2), information(codes.sign(), logits, flips, 0.2))
    assert information(0 * codes, logits, flips, 0.2).isfinite()


def test_two_beta_is_the_best_logit_of_a_bit_that_is_certain() -> None:
    codes = signs(4).roll(6, 0)
    codes[6:] = codes[:6]
    best, *others = (mean_information(codes, scale * beta(0.2) * codes, 0.2) for scale in (2.0, 1.8, 2.2, -2.0))
    assert all(best > other for other in others)


def test_the_loss_ignores_signs_and_order_of_units_and_the_order_of_views() -> None:
    codes, logits, flips = draw(0).tanh(), draw(1), signs(2)
    expected = nac_loss(codes, logits, flips, 0.1)
    unit, order = torch.tensor([1.0, -1, 1, -1, -1, 1]).double(), torch.tensor([2, 0, 1, 5, 3, 4])
    assert torch.allclose(nac_loss(codes * unit, logits * unit, flips, 0.1), expected)
    assert torch.allclose(nac_loss(codes[:, order], logits[:, order], flips[:, order], 0.1), expected)
    assert torch.allclose(nac_loss(codes.roll(6, 0), logits.roll(6, 0), flips.roll(6, 0), 0.1), expected)


def test_own_logits_are_not_the_partners() -> None:
    codes, logits, flips = draw(0).tanh(), draw(1), signs(2)
    assert not torch.allclose(nac_loss(codes, logits.roll(6, 0), flips, 0.1), nac_loss(codes, logits, flips, 0.1))


def test_keys_and_anchors_both_get_gradients() -> None:
    codes, logits, flips = draw(0).tanh().requires_grad_(), draw(1).requires_grad_(), signs(2)
    both, answer = torch.autograd.grad(nac_loss(codes, logits, flips, 0.1), (codes, logits))
    received = flips * codes
    keys_held = torch.logsumexp(beta(0.1) * received @ codes.detach().T, 1) - 0.5 * (received * logits.roll(6, 0)).sum(
        1
    )
    (anchors,) = torch.autograd.grad(keys_held.mean(), codes)
    assert answer.abs().min() > 0
    assert (both - anchors).abs().max() > 1e-4


def test_huge_logits_stay_finite() -> None:
    codes, flips = signs(0).float(), signs(2).float()
    assert nac_loss(codes, 1e4 * signs(1).float(), flips, 0.1).isfinite()


@pytest.mark.parametrize("flip", [0.0, 0.5, -0.1, 0.9])
def test_a_channel_without_or_with_only_noise_is_refused(flip: float) -> None:
    with pytest.raises(ValueError, match=r"flip must be in \(0, 0.5\)"):
        NACConfig(flip=flip)


def test_a_code_needs_a_bit() -> None:
    with pytest.raises(ValueError, match="code_dim must be >= 1"):
        NACConfig(code_dim=0)


def test_flips_come_at_the_rate_of_the_channel_and_differ_between_views_and_steps(
    make: Any, data: DataSpec, images: Tensor, rng: torch.Generator
) -> None:
    method = make(NAC, data, flip=0.2)
    first, second = (method.make_views(Batch(images, torch.arange(96)), rng).flips for _ in range(2))
    assert first.shape == (192, 128)
    assert set(first.unique().tolist()) == {-1.0, 1.0}
    rate, n = (first < 0).float().mean().item(), first.numel()
    assert abs(rate - 0.2) < 3 * math.sqrt(0.2 * 0.8 / n)
    assert not torch.equal(first[:96], first[96:])
    assert not torch.equal(first, second)


def test_without_noise_the_loss_ignores_the_flips(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    losses = {}
    for noise in (True, False):
        method = make(NAC, data, noise=noise, flip=0.3).eval()
        views = method.make_views(batch, rng)
        losses[noise] = [method(views._replace(flips=s * views.flips)).total.item() for s in (1, -1)]
    assert losses[False][0] == losses[False][1]
    assert losses[True][0] != losses[True][1]


def test_forward_is_the_loss_of_scaled_codes_and_tells_norm_and_information(
    make: Any, data: DataSpec, batch: Batch, rng: Any
) -> None:
    method = make(NAC, data, code_dim=9, flip=0.2).eval()
    views = method.make_views(batch, rng)
    features = method.encoder(views.images)
    codes, logits = torch.tanh(method.code_head(features) / 3), method.inference(features) / 3
    loss = method(views)
    assert torch.allclose(loss.total, nac_loss(codes, logits, views.flips, 0.2))
    assert torch.allclose(loss.parts["code_norm"], codes.square().sum(1).mean())
    assert torch.allclose(loss.parts["information"], information(codes, logits, views.flips, 0.2))
    assert loss.ceilings["information"] == information_ceiling(24, 9, 0.2)
    assert not any(part.requires_grad for part in loss.parts.values())


def test_gradients_reach_the_encoder_and_both_heads(make: Any, data: DataSpec, batch: Batch, rng: Any) -> None:
    method = make(NAC, data)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_the_code_is_which_units_are_on_without_noise(make: Any, data: DataSpec, images: Tensor) -> None:
    method = make(NAC, data, code_dim=9).eval()
    embedded = method.embed(images)
    assert torch.equal(embedded["features"], method.encoder(images))
    assert torch.equal(embedded["code"], method.code_head(method.encoder(images)) > 0)


def test_data_that_are_no_images_are_skipped() -> None:
    assert NAC.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), NACConfig()) == "needs images"
