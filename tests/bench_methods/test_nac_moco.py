"""Queue, copies and gradients of NAC with a queue; tests/bench_core/nn/test_activation_codes.py tests its formulas."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import Batch, DataSpec, Recipe
from bench_core.nn.activation_codes import CodeViews, information, information_ceiling
from bench_core.training.optimizers import make_optimizer
from bench_methods.nac_moco import NACMoCo, NACMoCoConfig

SMALL = {"code_dim": 4, "flip": 0.4, "queue_size": 30}


def views_of(method: NACMoCo, batch: Batch) -> CodeViews:
    return method.make_views(batch, torch.Generator().manual_seed(3))


@torch.no_grad()
def disturb(module: nn.Module) -> None:
    """Give the copies other weights than those of the trained networks."""
    for k, parameter in enumerate(module.parameters()):
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(k)))


def gradients(method: NACMoCo, total: Tensor) -> dict[str, Tensor | None]:
    names = [name for name, p in method.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(total, [method.get_parameter(n) for n in names], allow_unused=True)
    return dict(zip(names, gradients, strict=True))


def test_the_loss_equals_the_formula_row_by_row_on_a_queue_with_this_batch(
    make: Any, data: DataSpec, batch: Batch
) -> None:
    method = make(NACMoCo, data, **SMALL, l2_weight=0.3)
    disturb(method.copies)
    views, n = views_of(method, batch), 12
    queue = method.queue.clone()
    total = method(views).total

    features = method.encoder(views.images)  # batch norm in train mode: the batch's own statistics
    codes, logits = torch.tanh(method.code_head(features) / 2), method.inference(features) / 2
    encoder, head, inference = method.copies
    copied = encoder(views.images)
    queue[:24] = torch.tanh(head(copied) / 2)
    answers = inference(copied) / 2
    beta, losses = 0.5 * math.log(0.6 / 0.4), []
    for i in range(2 * n):
        y, partner = views.flips[i] * codes[i], (i + n) % (2 * n)
        mixture = torch.stack([torch.exp(beta * (y * key).sum()) for key in queue]).sum().log()
        q, p = torch.sigmoid(answers[partner]), torch.sigmoid(logits[partner])
        log_q, log_p = ((0.5 * (1 + y) * (2 * r).log() + 0.5 * (1 - y) * (2 * (1 - r)).log()).sum() for r in (q, p))
        losses.append(mixture - log_q - log_p + 0.3 * codes[i].square().sum())
    assert torch.allclose(total, torch.stack(losses).mean(), atol=1e-4)
    assert torch.allclose(method.queue, queue)


def test_zero_codes_and_logits_give_log_of_the_queues_length(make: Any, data: DataSpec, batch: Batch) -> None:
    method = make(NACMoCo, data, **SMALL, l2_weight=1.0)
    for head in (method.code_head, method.inference, *list(method.copies)[1:]):
        nn.init.zeros_(head[-1].weight)
        nn.init.zeros_(head[-1].bias)
    method.queue.zero_()
    loss = method(views_of(method, batch))
    assert loss.total.item() == pytest.approx(math.log(30), rel=1e-6)
    assert loss.parts["code_norm"].item() == 0
    assert loss.floors["code_norm"] > 0


def test_the_queue_is_a_ring_of_any_size(make: Any, data: DataSpec) -> None:
    method = make(NACMoCo, data, code_dim=1, queue_size=10)
    for step in range(3):
        method._enqueue(torch.full((4, 1), float(step)))
    assert method.queue[:, 0].tolist() == [2.0, 2.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0]
    assert int(method.oldest) == 2


def test_the_queue_starts_near_zero(make: Any, data: DataSpec) -> None:
    queue = make(NACMoCo, data, queue_size=5000).queue
    assert queue.shape == (5000, 128)
    assert queue.std().item() == pytest.approx(1e-3, rel=0.01)
    assert abs(queue.mean().item()) < 1e-5


def test_a_batch_that_is_longer_than_the_queue_is_refused(make: Any, data: DataSpec, batch: Batch) -> None:
    method = make(NACMoCo, data, queue_size=23)
    with pytest.raises(ValueError, match="queue_size must hold a batch's 24 codes, got 23"):
        method(views_of(method, batch))


def test_only_the_inference_network_learns_from_its_own_term(make: Any, data: DataSpec, batch: Batch) -> None:
    method = make(NACMoCo, data, **SMALL)
    views = views_of(method, batch)
    features = method.encoder(views.images).detach()
    received = views.flips * torch.tanh(method.code_head(features).detach() / 2)
    answer = (method.inference(features) / 2).roll(12, 0)
    log_q = 0.5 * (1 + received) * F.logsigmoid(answer) + 0.5 * (1 - received) * F.logsigmoid(-answer)
    expected = torch.autograd.grad(-log_q.sum(1).mean(), list(method.inference.parameters()))
    before = gradients(method, method(views).total)
    of_inference = [g for name, g in before.items() if name.startswith("inference")]
    for theirs, ours in zip(expected, of_inference, strict=True):
        assert ours is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    disturb(method.inference)
    method.oldest.zero_()  # the same codes take the same places
    after = gradients(method, method(views).total)
    for name, gradient in before.items():
        changed = after[name]
        assert gradient is not None
        assert changed is not None
        assert bool(gradient.any()), name
        assert torch.equal(gradient, changed) != name.startswith("inference"), name


def test_the_player_has_all_parameters_but_those_of_the_copies(make: Any, data: DataSpec, batch: Batch) -> None:
    method = make(NACMoCo, data, **SMALL)
    (player,) = method.players()
    names = {id(p): name for name, p in method.named_parameters()}
    assert {names[id(p)].partition(".")[0] for p in player.parameters} == {"encoder", "code_head", "inference"}
    method(views_of(method, batch)).total.backward()
    assert all(p.grad is None for p in method.copies.parameters())
    assert not method.queue.requires_grad


def test_copies_follow_in_their_parameters_and_keep_their_batch_statistics(
    make: Any, data: DataSpec, batch: Batch
) -> None:
    method = make(NACMoCo, data, **SMALL, momentum=0.9)
    encoder, head, inference = method.copies
    before = [copy[-1].weight.clone() for copy in (head, inference)]
    disturb(method.code_head)
    disturb(method.inference)
    method.encoder.layers[2].running_mean.fill_(5.0)
    method.after_step()
    for copy, source, old in zip((head, inference), (method.code_head, method.inference), before, strict=True):
        assert torch.allclose(copy[-1].weight, 0.9 * old + 0.1 * source[-1].weight)
    assert torch.equal(encoder.layers[2].running_mean, torch.zeros(16))
    method(views_of(method, batch))
    assert bool(encoder.layers[2].running_mean.any())  # in train mode, too


def test_the_logged_information_is_of_the_batch_alone(make: Any, data: DataSpec, batch: Batch) -> None:
    method = make(NACMoCo, data, **SMALL)
    views = views_of(method, batch)
    features = method.encoder(views.images)
    codes, logits = torch.tanh(method.code_head(features) / 2), method.inference(features) / 2
    loss = method(views)
    assert torch.allclose(loss.parts["information"], information(codes, logits, views.flips, 0.4), atol=1e-6)
    assert loss.ceilings["information"] == information_ceiling(24, 4, 0.4)
    assert not any(part.requires_grad for part in loss.parts.values())


def test_training_resumed_from_a_saved_state_has_the_same_losses(make: Any, data: DataSpec, batch: Batch) -> None:
    method = make(NACMoCo, data, **SMALL)
    for _ in range(2):
        method(views_of(method, batch))
    disturb(method.code_head)
    method.after_step()
    loaded = make(NACMoCo, data, seed=1, **SMALL)
    loaded.load_state_dict(method.state_dict())
    for _ in range(2):
        assert torch.equal(method(views_of(method, batch)).total, loaded(views_of(loaded, batch)).total)
        assert torch.equal(method.queue, loaded.queue)


def norms_and_losses(method: NACMoCo, digits: Tensor, steps: int) -> tuple[list[float], list[float]]:
    optimizer = make_optimizer(method.players()[0].parameters, Recipe(learning_rate=3e-3))
    rng, norms, losses = torch.Generator().manual_seed(0), [], []
    for step in range(steps):
        index = torch.arange(128) + 128 * (step % 5)
        loss = method.train()(method.make_views(Batch(digits[index], index), rng))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        method.after_step()
        norms.append(float(loss.parts["code_norm"]))
        losses.append(float(loss.total.detach()))
    return norms, losses


LIVELY = {"code_dim": 8, "flip": 0.1, "queue_size": 1000, "momentum": 0.5}


def test_training_leaves_the_plateau(make: Any, data: DataSpec, digits: Tensor) -> None:
    norms, losses = norms_and_losses(make(NACMoCo, data, **LIVELY, l2_weight=0.0), digits, 200)
    assert min(norms[:50]) < 0.1 < 0.3 < norms[-1]
    assert losses[50] == pytest.approx(math.log(1000), abs=0.02)
    assert losses[-1] < math.log(1000) - 0.05


def test_a_large_l2_weight_keeps_the_codes_at_zero(make: Any, data: DataSpec, digits: Tensor) -> None:
    norms, losses = norms_and_losses(make(NACMoCo, data, **LIVELY, l2_weight=0.4), digits, 200)  # > (1 - 2p)^2 / 2
    assert norms[-1] < 0.1
    assert losses[-1] == pytest.approx(math.log(1000), abs=0.02)


def test_the_code_is_the_positive_units_without_noise(make: Any, data: DataSpec, images: Tensor) -> None:
    method = make(NACMoCo, data, **SMALL).eval()
    embedded = method.embed(images)
    assert torch.equal(embedded["features"], method.encoder(images))
    assert torch.equal(embedded["code"], method.code_head(method.encoder(images)) > 0)


def test_hashing_is_a_noisier_channel_a_shorter_queue_and_a_longer_schedule() -> None:
    settings = NACMoCo.variants["hashing"].settings
    changes = {name: value for name, value in settings.items() if not name.startswith("recipe.")}
    recipe = {name.removeprefix("recipe."): value for name, value in settings.items() if name.startswith("recipe.")}
    assert NACMoCoConfig(**changes) == NACMoCoConfig(flip=0.4, queue_size=5000, l2_weight=0.0)
    assert replace(NACMoCo.recipe, **recipe) == replace(NACMoCo.recipe, epochs=2000, warmup_epochs=100)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"code_dim": 0}, "code_dim must be >= 1, got 0"),
        ({"queue_size": 1}, "queue_size must be >= 2, got 1"),
        ({"l2_weight": -0.1}, "l2_weight must be >= 0, got -0.1"),
        ({"flip": 0.5}, r"flip must be in \(0, 0.5\), got 0.5"),
        ({"momentum": 1.1}, r"momentum must be in \[0, 1\], got 1.1"),
    ],
)
def test_values_out_of_range_are_refused(values: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        NACMoCoConfig(**values)


def test_other_data_than_images_are_skipped() -> None:
    assert NACMoCo.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), NACMoCoConfig()) == "needs images"
