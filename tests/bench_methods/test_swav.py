import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightly.loss import SwaVLoss
from lightly.loss.swav_loss import sinkhorn as lightly_sinkhorn
from torch import Tensor

from bench_core import Batch, DataSpec, EpochContext, Recipe, Split
from bench_core.config import build
from bench_core.conformance.toys import TinyEncoder
from bench_core.contracts import Clustering
from bench_core.data import open_split
from bench_core.errors import ConfigError
from bench_core.training.pretrain import pretrain
from bench_methods.swav import SwAV, SwAVConfig, prototypes_used, sinkhorn_codes, swav_loss

DIGITS = DataSpec(shape=(1, 8, 8), splits={"train": 256}, num_classes=10, views="glyph")
NATURAL = DataSpec(shape=(3, 32, 32), splits={"train": 96}, num_classes=10)
SMALL: dict[str, Any] = {"hidden_dim": 32, "output_dim": 16, "prototypes": 16, "queue": 0, "frozen_epochs": 0}


def cosines(rows: int, prototypes: int, seed: int = 0) -> Tensor:
    """Return scores of unit vectors with unit prototypes."""
    rng = torch.Generator().manual_seed(seed)
    z, c = (torch.nn.functional.normalize(torch.randn(n, 8, generator=rng), dim=1) for n in (rows, prototypes))
    return z @ c.T


def at(step: int, *, num_steps: int = 100, epoch: int = 0) -> EpochContext:
    return EpochContext(epoch, 4, step, num_steps, lambda: iter(()), torch.Generator())


def train(method: SwAV, images: Tensor, *, steps: int) -> list[Any]:
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    rng = torch.Generator().manual_seed(3)
    losses = []
    for step in range(steps):
        method.train().before_step(at(step, num_steps=steps))
        losses.append(method(method.make_views(Batch(images, torch.arange(len(images))), rng)))
        optimizer.zero_grad()
        losses[-1].total.backward()
        optimizer.step()
        method.after_step()
    return losses


def test_codes_equal_sinkhorn_knopp_with_columns_first() -> None:
    scores = cosines(9, 4).double()
    q = (scores / 0.05).exp()
    for _ in range(3):
        for k in range(4):
            q[:, k] = q[:, k] / q[:, k].sum()
        for n in range(9):
            q[n] = q[n] / q[n].sum()
    assert torch.allclose(sinkhorn_codes(scores.float(), 0.05, 3).double(), q, atol=1e-5)


@pytest.mark.parametrize(("rows", "prototypes", "epsilon"), [(64, 16, 0.05), (16, 64, 0.05), (32, 8, 0.5)])
def test_codes_equal_lightlys(rows: int, prototypes: int, epsilon: float) -> None:
    scores = cosines(rows, prototypes)
    assert torch.allclose(sinkhorn_codes(scores, epsilon, 3), lightly_sinkhorn(scores, 3, epsilon), atol=1e-5)


def test_rows_of_codes_sum_to_one_and_columns_nearly_to_their_share() -> None:
    scores = 0.2 * cosines(128, 16) + torch.linspace(-0.1, 0.1, 16)  # some prototypes are nearer to all rows
    codes = sinkhorn_codes(scores, 0.05, 3)
    assert torch.allclose(codes.sum(1), torch.ones(128), atol=1e-5)
    assert torch.allclose(codes.sum(0), torch.full((16,), 8.0), rtol=0.1)
    assert (scores / 0.05).softmax(1).sum(0).max() > 16


def test_columns_come_closer_to_their_share_with_every_iteration() -> None:
    scores = cosines(128, 16)
    errors = [float((sinkhorn_codes(scores, 0.05, count).sum(0) - 8).norm()) for count in (1, 3, 10, 300)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-2


def test_scores_with_exponentials_beyond_float32_have_codes() -> None:
    scores = 40 * cosines(32, 8)  # exp(800)
    log_q = scores.double() / 0.05
    for _ in range(3):
        log_q = log_q - log_q.logsumexp(0)
        log_q = log_q - log_q.logsumexp(1, keepdim=True)
    codes = sinkhorn_codes(scores, 0.05, 3)
    assert torch.allclose(codes.double(), log_q.exp(), atol=1e-3)
    assert codes.isfinite().all()


def test_codes_of_equal_rows_are_uniform_and_an_added_constant_changes_none() -> None:
    assert torch.allclose(sinkhorn_codes(cosines(1, 7).repeat(5, 1), 0.05, 3), torch.full((5, 7), 1 / 7))
    scores = cosines(12, 6)
    same = sinkhorn_codes(scores + torch.linspace(-1, 1, 6) + 3, 0.05, 3)
    assert torch.allclose(same, sinkhorn_codes(scores, 0.05, 3), atol=1e-4)


def test_the_loss_is_cross_entropy_over_all_pairs_of_different_views() -> None:
    scores = torch.stack([cosines(5, 4, seed) for seed in range(4)])
    codes = torch.stack([sinkhorn_codes(view, 0.05, 3) for view in scores[:2]])
    total = 0.0
    for a in range(2):
        for v in range(4):
            for n in range(5):
                log_p = scores[v, n] / 0.1 - (scores[v, n] / 0.1).exp().sum().log()
                total -= float((codes[a, n] * log_p).sum()) * (v != a) / 5
    assert float(swav_loss(scores, codes, 0.1)) == pytest.approx(total / 6, rel=1e-5)


def test_the_loss_equals_lightlys_with_and_without_small_crops() -> None:
    scores = torch.stack([cosines(16, 12, seed) for seed in range(5)])
    codes = torch.stack([sinkhorn_codes(view, 0.05, 3) for view in scores[:2]])
    for count in (2, 5):
        theirs = SwaVLoss()(list(scores[:2]), list(scores[2:count]))
        assert torch.allclose(swav_loss(scores[:count], codes, 0.1), theirs, rtol=1e-5)


def test_uniform_scores_have_the_loss_log_of_the_number_of_prototypes() -> None:
    scores = torch.full((3, 6, 11), 0.3)
    codes = sinkhorn_codes(scores[0], 0.05, 3).repeat(2, 1, 1)
    assert float(swav_loss(scores, codes, 0.1)) == pytest.approx(math.log(11), rel=1e-6)


def test_the_gradient_of_the_loss_is_prediction_minus_code() -> None:
    scores = torch.stack([cosines(5, 4, seed) for seed in range(2)]).double().requires_grad_()
    codes = torch.stack([sinkhorn_codes(view, 0.05, 3) for view in scores.detach()]).double()
    assert torch.autograd.gradcheck(lambda s: swav_loss(s, codes, 0.1), scores)
    (gradient,) = torch.autograd.grad(swav_loss(scores, codes, 0.1), scores)
    expected = ((scores.detach() / 0.1).softmax(2) - codes.flip(0)) / 0.1 / 5 / 2
    assert torch.allclose(gradient, expected, atol=1e-7)


@pytest.mark.parametrize("prototypes", [2, 4, 16])
def test_a_single_prototype_in_use_is_below_the_floor(make: Any, batch: Batch, rng: Any, prototypes: int) -> None:
    method = make(SwAV, DIGITS, **SMALL | {"prototypes": prototypes})
    torch.nn.init.zeros_(method.projector[-1].weight)  # all rows become the bias
    loss = method(method.make_views(batch, rng))
    assert float(loss.parts["prototypes_used"]) < loss.floors["prototypes_used"] <= 0.75
    assert float(loss.parts["spread"]) < loss.floors["spread"]


def test_prototypes_used_counts_those_nearest_to_some_row() -> None:
    scores = torch.eye(6)[[0, 0, 3, 3]]
    assert float(prototypes_used(scores)) == 2 / 4
    assert float(prototypes_used(torch.eye(6))) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_dim": 0},
        {"output_dim": 0},
        {"prototypes": 1},
        {"temperature": 0.0},
        {"epsilon": -0.1},
        {"iterations": 0},
        {"frozen_epochs": -1},
        {"queue": -1},
        {"queue_start": 1.5},
        {"small_crops": -1},
        {"small_size": 0.0},
        {"small_scale": (0.2, 0.1)},
    ],
)
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        SwAVConfig(**values)


def test_the_variants_have_small_crops_and_no_equipartition() -> None:
    configs = {name: build(SwAVConfig, variant.config, name) for name, variant in SwAV.variants.items()}
    assert configs["multicrop"].small_crops == 6
    assert not configs["no_equipartition"].equipartition


def test_small_crops_are_a_part_of_the_side_and_never_below_four_pixels(rng: Any) -> None:
    for spec, side in ((NATURAL, 14), (DIGITS, 4)):
        method = SwAV(TinyEncoder(spec), spec, SwAVConfig(**SMALL, small_crops=3))
        batch = Batch(torch.rand(6, *spec.shape), torch.arange(6))
        large, small = method.make_views(batch, rng)
        assert large.shape == (12, *spec.shape)
        assert small.shape == (18, spec.shape[0], side, side)
        loss = method([large, small])
        loss.total.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    assert method.small == method.large
    assert SwAV(TinyEncoder(NATURAL), NATURAL, SwAVConfig()).small.crop_scale == (0.05, 0.14)


def test_the_loss_of_all_views_equals_lightlys_on_the_same_scores(rng: Any) -> None:
    method = SwAV(TinyEncoder(NATURAL), NATURAL, SwAVConfig(**SMALL, small_crops=2)).eval()
    views = method.make_views(Batch(torch.rand(6, 3, 32, 32), torch.arange(6)), rng)
    scores = []
    for images in (*views[0].chunk(2), *views[1].chunk(2)):
        z = torch.nn.functional.normalize(method.projector(method.encoder(images)), dim=1)
        scores.append((z @ method.prototypes.weight.T).detach())
    assert float(method(views).total.detach()) == pytest.approx(float(SwaVLoss()(scores[:2], scores[2:])), rel=1e-4)


def test_the_queue_keeps_the_newest_projections_and_a_state_restores_it(make: Any, images: Tensor, rng: Any) -> None:
    method = make(SwAV, DIGITS, **SMALL | {"queue": 20})
    newest = []
    for start in (0, 12, 24):
        batch = Batch(images[start : start + 12], torch.arange(12))
        method(method.make_views(batch, rng))
        newest.append(method._newest)
        method.after_step()
    assert torch.equal(method.queue, torch.cat((newest[2], newest[1][:, :8]), 1))
    assert torch.allclose(method.queue.norm(dim=2), torch.ones(2, 20))
    loaded = make(SwAV, DIGITS, seed=1, **SMALL | {"queue": 20})
    loaded.load_state_dict(method.state_dict())
    assert torch.equal(loaded.queue, method.queue)
    views = method.make_views(batch, rng)
    for one in (method, loaded):
        one.before_step(at(50))
    assert torch.equal(loaded(views).total, method(views).total)


def test_the_queue_is_used_once_it_is_full_and_its_start_has_passed(
    make: Any, batch: Batch, images: Tensor, rng: Any
) -> None:
    method = make(SwAV, DIGITS, **SMALL | {"queue": 24, "queue_start": 0.1}).eval()
    for start in (12, 24):
        method(method.make_views(Batch(images[start : start + 12], torch.arange(12)), rng))
        method.after_step()
    views = method.make_views(batch, rng)
    z = torch.nn.functional.normalize(method.projector(method.encoder(views[0])), dim=1).detach()
    high, low = [list((rows @ method.prototypes.weight.T).detach()) for rows in (z.view(2, 12, -1), method.queue)]
    without, along = float(SwaVLoss()(high, [])), float(SwaVLoss()(high, [], low))
    assert abs(without - along) > 1e-3
    losses = []
    for step, num_steps in ((1, 10), (2, 30), (2, 20), (15, 20)):
        method.before_step(at(step, num_steps=num_steps))
        losses.append(float(method(views).total.detach()))
    assert losses == pytest.approx([without, without, along, along], rel=1e-4)


def test_prototypes_are_frozen_in_the_first_epochs_and_stay_unit_vectors(
    make: Any, digits: Tensor, tmp_path: Path
) -> None:
    source = open_split(Split((digits[:128] * 255).to(torch.uint8)), torch.device("cpu"))
    recipe = Recipe(learning_rate=1e-2, weight_decay=0.1, epochs=4, batch_size=64)
    moved = {}
    for frozen in (0, 2, 4):
        method = make(SwAV, DIGITS, **SMALL | {"frozen_epochs": frozen})
        before = method.prototypes.weight.detach().clone()
        snapshots: list[float] = []

        def look(*_: Any, method: SwAV = method, before: Tensor = before, moves: list[float] = snapshots) -> None:
            moves.append(float((method.prototypes.weight.detach() - before).abs().max()))

        pretrain(
            method, source, recipe, seed=0, device=torch.device("cpu"), precision="fp32",
            log=tmp_path / f"{frozen}.jsonl", on_epoch=look,
        )  # fmt: skip
        moved[frozen] = [change > 1e-5 for change in snapshots]
        assert torch.allclose(method.prototypes.weight.norm(dim=1), torch.ones(16), atol=1e-5)
    assert moved == {0: [True] * 4, 2: [False, False, True, True], 4: [False] * 4}


def test_scores_are_computed_in_float32_under_autocast(make: Any, batch: Batch, rng: Any) -> None:
    method = make(SwAV, DIGITS, **SMALL).eval()
    method.projector = torch.nn.Identity()  # what comes before may be rounded
    method.encoder = torch.nn.Flatten()
    method.prototypes = torch.nn.Linear(64, 16, bias=False)
    views = method.make_views(batch, rng)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = method(views).total
    assert torch.equal(inside, method(views).total)


def test_gradients_reach_every_parameter_but_frozen_prototypes(make: Any, batch: Batch, rng: Any) -> None:
    for frozen in (0, 1):
        method = make(SwAV, DIGITS, **SMALL | {"frozen_epochs": frozen})
        method(method.make_views(batch, rng)).total.backward()
        assert {n for n, p in method.named_parameters() if p.grad is None} == (
            {"prototypes.weight"} if frozen else set()
        )


def test_images_of_one_pixel_are_skipped_with_a_reason() -> None:
    one_pixel = DataSpec(shape=(3, 1, 1), splits={"train": 8})
    assert SwAV.skip_reason(one_pixel, SwAVConfig()) == "needs images of at least 2 x 2 pixels, these have 1 x 1"
    assert SwAV.skip_reason(DataSpec(shape=(3, 2, 2), splits={"train": 8}), SwAVConfig()) is None
    assert SwAV.skip_reason(DataSpec(shape=(5,), splits={"train": 8}), SwAVConfig()) == "needs images"


def test_an_image_belongs_to_its_nearest_prototype(make: Any, images: Tensor) -> None:
    method = make(SwAV, DIGITS, **SMALL).eval()
    labels = method.assign(images)
    z = method.projector(method.encoder(images))
    assert issubclass(SwAV, Clustering)
    assert labels.shape == (1, 96)
    assert torch.equal(labels[0], (z / z.norm(dim=1, keepdim=True) @ method.prototypes.weight.T).argmax(1))


def test_the_loss_falls_on_a_few_images(make: Any, digits: Tensor) -> None:
    losses = train(make(SwAV, DIGITS, **SMALL), digits[:64], steps=80)
    first, last = (float(losses[k].total.detach()) for k in (0, -1))
    assert last < 0.7 * first


def test_without_equipartition_training_collapses_below_the_floor(make: Any, digits: Tensor) -> None:
    runs = {}
    for equipartition in (True, False):
        method = make(SwAV, DIGITS, **SMALL, equipartition=equipartition)
        losses = train(method, digits[:256], steps=60)[-5:]
        runs[equipartition] = sum(float(loss.parts["prototypes_used"]) for loss in losses) / 5
        floor = losses[-1].floors["prototypes_used"]
    assert runs[False] < floor < 0.2 * runs[True]


def test_other_data_than_images_are_skipped() -> None:
    assert SwAV.skip_reason(DataSpec(shape=(7,), splits={"train": 5}), SwAVConfig()) == "needs images"


def test_small_crops_are_refused_if_the_encoder_reads_one_size(make: Any, data: DataSpec) -> None:
    with pytest.raises(ConfigError, match="small_crops needs an encoder of images of any size; TinyEncoder is of one"):
        make(SwAV, data, small_crops=2, prototypes=8)
