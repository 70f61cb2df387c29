"""The loss against closed forms; with few bits all received words are enumerated."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from bench_core.nn.activation_codes import (
    code_views,
    information,
    information_ceiling,
    log_posterior,
    nac_loss,
)
from bench_core.views import PRESETS, augment


def draw(seed: int, rows: int = 12, bits: int = 6) -> Tensor:
    return torch.randn(rows, bits, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def signs(seed: int, rows: int = 12, bits: int = 6) -> Tensor:
    return torch.where(draw(seed, rows, bits) > 0, 1.0, -1.0).double()


def beta(flip: float) -> float:
    return 0.5 * math.log((1 - flip) / flip)


def mean_information(codes: Tensor, logits: Tensor, flip: float) -> float:
    """Return the mean over all 2^P patterns of flips, each the same for all rows, weighted by probability."""
    total = 0.0
    for pattern in itertools.product((1.0, -1.0), repeat=codes.shape[1]):
        flipped = sum(bit < 0 for bit in pattern)
        probability = flip**flipped * (1 - flip) ** (len(pattern) - flipped)
        flips = torch.tensor(pattern, dtype=torch.float64).expand_as(codes)
        total += probability * float(information(codes, logits, flips, flip))
    return total


def test_nac_loss_equals_the_formula_row_by_row() -> None:
    codes, logits, flips, flip, n = draw(0).tanh(), draw(1), signs(2), 0.2, 6
    losses = []
    for i in range(2 * n):
        y, logit = flips[i] * codes[i], logits[(i + n) % (2 * n)]
        q = torch.sigmoid(logit)
        log_q = (0.5 * (1 + y) * (2 * q).log() + 0.5 * (1 - y) * (2 * (1 - q)).log()).sum()
        mixture = sum(torch.exp(beta(flip) * (y * codes[j]).sum()) for j in range(2 * n))
        losses.append(torch.as_tensor(mixture).log() - log_q)
    assert torch.allclose(nac_loss(codes, logits, flips, flip), torch.stack(losses).mean(), atol=1e-12)


@pytest.mark.parametrize("flip", [0.01, 0.1, 0.4])
@pytest.mark.parametrize(("rows", "bits"), [(8, 3), (512, 128)])
def test_zero_codes_and_logits_give_log_of_the_number_of_rows(flip: float, rows: int, bits: int) -> None:
    zero = torch.zeros(rows, bits)
    assert nac_loss(zero, zero, torch.ones_like(zero), flip).item() == pytest.approx(math.log(rows), rel=1e-6)


def test_posterior_of_binary_codes_is_the_log_of_the_sigmoid() -> None:
    codes, logits, flips = signs(0), draw(1), signs(2)
    log_q = torch.nn.functional.logsigmoid(flips * codes * logits.roll(6, 0)) + math.log(2)
    mixture = torch.logsumexp(beta(0.3) * (flips * codes) @ codes.T, 1)
    assert torch.allclose(nac_loss(codes, logits, flips, 0.3), (mixture - log_q.sum(1)).mean(), atol=1e-12)


@pytest.mark.parametrize(("flip", "expected"), [(0.1, 1.8403), (0.4, 0.1007)])
def test_information_of_all_words_of_five_bits_is_the_capacity_of_the_channel(flip: float, expected: float) -> None:
    words = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=5)), dtype=torch.float64).repeat(2, 1)
    value = mean_information(words, 2 * beta(flip) * words, flip)
    assert value == pytest.approx(expected, abs=5e-5)
    assert value == pytest.approx(information_ceiling(64, 5, flip), abs=1e-9)


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
def test_information_is_at_most_its_ceiling(flip: float) -> None:
    for seed in range(5):
        codes = signs(seed, rows=20, bits=6)
        codes[10:] = codes[:10]
        for logits in (2 * beta(flip) * codes, 3 * beta(flip) * codes, draw(seed, 20)):
            value = mean_information(codes, logits, flip)
            assert value <= information_ceiling(20, 6, flip) + 1e-9
            assert value <= math.log(len(set(map(tuple, codes.tolist())))) + 1e-9


def test_ceiling_is_the_limit_of_the_batch_or_of_the_channel() -> None:
    assert information_ceiling(2000, 128, 0.1) == pytest.approx(math.log(2000))
    assert information_ceiling(2000, 128, 0.4) == pytest.approx(2.58, abs=0.01)


def test_information_uses_the_signs_of_relaxed_codes_and_rescaled_logits() -> None:
    codes, logits, flips = draw(0).tanh(), draw(1), signs(2)
    size = codes.abs().mean()
    assert torch.allclose(information(codes, logits * size, flips, 0.2), information(codes.sign(), logits, flips, 0.2))
    assert information(0 * codes, logits, flips, 0.2).isfinite()


def test_best_logit_of_a_certain_bit_is_two_beta() -> None:
    codes = signs(4).roll(6, 0)
    codes[6:] = codes[:6]
    best, *worse = (mean_information(codes, scale * beta(0.2) * codes, 0.2) for scale in (2.0, 1.8, 2.2, -2.0))
    assert all(best > value for value in worse)


def test_loss_does_not_depend_on_signs_or_order_of_units_or_order_of_views() -> None:
    codes, logits, flips = draw(0).tanh(), draw(1), signs(2)
    expected = nac_loss(codes, logits, flips, 0.1)
    unit, order = torch.tensor([1.0, -1, 1, -1, -1, 1]).double(), torch.tensor([2, 0, 1, 5, 3, 4])
    assert torch.allclose(nac_loss(codes * unit, logits * unit, flips, 0.1), expected)
    assert torch.allclose(nac_loss(codes[:, order], logits[:, order], flips[:, order], 0.1), expected)
    assert torch.allclose(nac_loss(codes.roll(6, 0), logits.roll(6, 0), flips.roll(6, 0), 0.1), expected)


def test_rows_are_predicted_from_the_logits_of_their_partners() -> None:
    codes, logits, flips = draw(0).tanh(), draw(1), signs(2)
    assert not torch.allclose(nac_loss(codes, logits.roll(6, 0), flips, 0.1), nac_loss(codes, logits, flips, 0.1))


def test_mixture_is_over_the_given_keys() -> None:
    codes, logits, flips, keys = draw(0).tanh(), draw(1), signs(2), draw(3, rows=5).tanh()
    received = flips * codes
    mixture = (beta(0.4) * received @ keys.T).exp().sum(1).log()
    expected = (mixture - log_posterior(received, logits)).mean()
    assert torch.allclose(nac_loss(codes, logits, flips, 0.4, keys), expected, atol=1e-12)
    assert torch.equal(nac_loss(codes, logits, flips, 0.4, codes), nac_loss(codes, logits, flips, 0.4))
    zero_keys = torch.zeros(7, 6, dtype=torch.float64)
    assert nac_loss(0 * codes, 0 * logits, flips, 0.4, zero_keys).item() == pytest.approx(math.log(7))


def test_gradients_equal_finite_differences() -> None:
    codes, logits, flips = 0.5 * draw(0, 4, 3), draw(1, 4, 3), signs(2, 4, 3)
    assert torch.autograd.gradcheck(
        lambda c, z: nac_loss(c, z, flips, 0.2), (codes.requires_grad_(), logits.requires_grad_())
    )


def test_codes_get_gradients_from_both_terms_and_as_keys() -> None:
    codes, logits, flips = draw(0).tanh().requires_grad_(), draw(1), signs(2)
    (whole,) = torch.autograd.grad(nac_loss(codes, logits, flips, 0.1), codes)
    (anchors,) = torch.autograd.grad(nac_loss(codes, logits, flips, 0.1, codes.detach()), codes)
    (posterior,) = torch.autograd.grad(-log_posterior(flips * codes, logits).mean(), codes)
    assert torch.allclose(posterior, -0.5 * flips * logits.roll(6, 0) / 12)
    assert (whole - anchors).abs().max() > 1e-4
    assert (anchors - posterior).abs().max() > 1e-4


def test_loss_of_huge_logits_is_finite() -> None:
    codes, flips = signs(0).float(), signs(2).float()
    assert nac_loss(codes, 1e4 * signs(1).float(), flips, 0.1).isfinite()


@pytest.mark.parametrize(
    ("flip", "beta_", "temperature", "log_cosh", "capacity", "of_128_bits"),
    [
        (0.1, 1.0986, 0.910, 0.5108, 0.3681, 47.1),
        (0.2, 0.6931, 1.443, 0.2231, 0.1927, 24.7),
        (0.3, 0.4236, 2.360, 0.0872, 0.0823, 10.5),
        (0.4, 0.2027, 4.933, 0.0204, 0.0201, 2.58),
    ],
)
def test_constants_of_the_channel_equal_a_table(
    flip: float, beta_: float, temperature: float, log_cosh: float, capacity: float, of_128_bits: float
) -> None:
    bit, zero = torch.ones(2, 1, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64)
    value = float(nac_loss(bit, zero, bit, flip)) - math.log(2)  # two keys at a product of 1
    assert value == pytest.approx(beta_, abs=5e-5)
    assert 1 / value == pytest.approx(temperature, abs=5e-4)
    assert float(information(bit, zero, bit, flip)) + value == pytest.approx(log_cosh, abs=5e-5)
    assert information_ceiling(10**9, 1, flip) == pytest.approx(capacity, abs=5e-5)
    assert information_ceiling(10**30, 128, flip) == pytest.approx(of_128_bits, abs=0.05)


def test_trained_logit_of_a_bit_is_twice_the_artanh_of_its_received_mean() -> None:
    # Three kinds of images: in their other view the bit is on in 8, 6 and 3 of 8 cases. The codes are fixed.
    flip, on = 0.1, torch.tensor([8, 6, 3])
    codes = torch.cat([torch.cat([torch.ones(k), -torch.ones(8 - k)]) for k in on.tolist()]).double()
    # The second views give the logits; their own codes are 0.
    codes = torch.cat([codes, torch.zeros(24, dtype=torch.float64)])[:, None]
    kind = torch.arange(3).repeat_interleave(8)
    network = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for _ in range(100):
        logits = torch.cat([torch.zeros(24, dtype=torch.float64), network[kind]])[:, None]
        same = torch.ones_like(codes)
        mean = (1 - flip) * nac_loss(codes, logits, same, flip) + flip * nac_loss(codes, logits, -same, flip)
        (gradient,) = torch.autograd.grad(mean, network)
        network = (network - 20 * gradient).detach().requires_grad_()
    expected = 2 * torch.atanh((1 - 2 * flip) * (on.double() / 4 - 1))
    assert torch.allclose(network.detach(), expected, atol=1e-5)
    assert network[0].item() == pytest.approx(2 * beta(flip), abs=1e-5)  # a bit that is certain


def test_loss_of_an_almost_random_channel_is_that_of_the_plateau() -> None:
    codes, flips = draw(0).tanh(), signs(2)
    assert nac_loss(codes, 0 * codes, flips, 0.5 - 1e-9).item() == pytest.approx(math.log(12), abs=1e-7)


def test_loss_near_zero_codes_has_its_second_order_expansion() -> None:
    # log(2N) - (1 - 2p)^2 / 2 * mean |E[c | x']|^2, at the best logits, for small centred codes equal in both views
    codes = 1e-2 * signs(0, rows=512, bits=4)
    codes[256:] = codes[:256]
    codes = torch.cat([codes, -codes]).view(2, 2, 256, 4).transpose(0, 1).reshape(1024, 4)  # centred, pairs kept
    for flip in (0.1, 0.4):
        words = itertools.product((1.0, -1.0), repeat=4)
        mean = 0.0
        for word in words:
            wrong = sum(bit < 0 for bit in word)
            flips = torch.tensor(word, dtype=torch.float64).expand_as(codes)
            logits = 2 * torch.atanh((1 - 2 * flip) * codes)
            mean += flip**wrong * (1 - flip) ** (4 - wrong) * float(nac_loss(codes, logits, flips, flip))
        norm = float(codes.square().sum(1).mean())
        fall = math.log(1024) - mean
        assert fall == pytest.approx(0.5 * (1 - 2 * flip) ** 2 * norm, rel=0.01)


def test_views_are_drawn_before_the_flips_of_the_channel() -> None:
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    rng, rng_again = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    views = code_views(images, PRESETS["nac"], 5, 0.3, rng)
    first, second = (augment(images, rng_again, PRESETS["nac"]) for _ in range(2))
    assert torch.equal(views.images, torch.cat([first, second]))
    assert torch.equal(views.flips < 0, torch.rand(12, 5, generator=rng_again) < 0.3)
