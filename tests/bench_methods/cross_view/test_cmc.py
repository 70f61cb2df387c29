import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from bench_core import Batch, DataSpec, Encoder, NoConfig
from bench_core.conformance.toys import TinyEncoder
from bench_methods.cross_view.cmc import CMC, CMCConfig, view_pairs

Build = Callable[..., Any]


def test_pairs_of_both_graphs() -> None:
    names = ["l", "a", "b"]
    assert view_pairs(names, "full") == [("l", "a"), ("l", "b"), ("a", "b")]
    assert view_pairs(names, "core") == [("l", "a"), ("l", "b")]
    assert view_pairs(names[:2], "full") == view_pairs(names[:2], "core")


@pytest.mark.parametrize("graph", ["full", "core"])
def test_loss_is_the_sum_over_pairs_and_directions(build: Build, batch: Batch, rng: Any, graph: str) -> None:
    method = build(CMC, views="l_a_b", graph=graph, temperature=0.2)
    views = method.make_views(batch, rng)
    encoders, heads = method.encoder.encoders, method.embeddings.heads
    z = {name: F.normalize(heads[name](encoders[name](views[name]))) for name in ("l", "a", "b")}
    expected = 0.0
    for one, other in [("l", "a"), ("l", "b"), ("a", "b")][: 3 if graph == "full" else 2]:
        for u, v in ((z[one], z[other]), (z[other], z[one])):
            scores = u @ v.T / 0.2
            expected += (scores.exp().sum(1).log() - scores.diagonal()).mean().item()
    assert method(views).total.item() == pytest.approx(expected, abs=1e-4)


def test_without_any_contrast_the_loss_is_log_of_the_batch_and_the_information_0(
    build: Build, batch: Batch, rng: Any
) -> None:
    method = build(CMC, temperature=1e9)
    loss = method(method.make_views(batch, rng))
    assert loss.total.item() == pytest.approx(2 * math.log(12), abs=1e-4)
    assert loss.parts["information_l_ab"].item() == pytest.approx(0, abs=1e-5)
    assert loss.ceilings == {"information_l_ab": math.log(12)}


def test_the_order_of_images_changes_no_loss(build: Build, batch: Batch, rng: Any) -> None:
    method = build(CMC)
    views = method.make_views(batch, rng)
    order = torch.tensor([3, 0, 5, 1, 4, 2, 11, 7, 8, 10, 9, 6])
    permuted = {name: view[order] for name, view in views.items()}
    assert torch.allclose(method(permuted).total, method(views).total, atol=1e-4)


def test_views_of_an_image_share_its_crop(build: Build, batch: Batch) -> None:
    red_green_blue = build(CMC, views="r_g_b")
    grey = replace(batch, inputs=batch.inputs[:, :1].expand(-1, 3, -1, -1).contiguous())
    views = red_green_blue.make_views(grey, torch.Generator().manual_seed(2))
    assert torch.equal(views["red"], views["green"])
    assert torch.equal(views["red"], views["blue"])
    assert not torch.equal(views["red"], grey.inputs[:, :1])


@pytest.mark.parametrize("loss", ["contrastive", "predictive"])
def test_gradients_reach_every_parameter(build: Build, batch: Batch, rng: Any, loss: str) -> None:
    method = build(CMC, views="l_a_b", loss=loss)
    method(method.make_views(batch, rng)).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_predictive_loss_is_the_sum_of_absolute_errors_in_deviations(build: Build, batch: Batch, rng: Any) -> None:
    method = build(CMC, loss="predictive", decoder_width=4)
    views = method.make_views(batch, rng)
    features = {name: method.encoder.encoders[name](view) for name, view in views.items()}
    l_error = (method.decoders["ab_l"](features["ab"]) - (views["l"] - 0.5) / 0.25).abs().mean()
    ab_error = (method.decoders["l_ab"](features["l"]) - (views["ab"] - 0.5) / 0.05).abs().mean()
    loss = method(views)
    assert loss.total.item() == pytest.approx((l_error + ab_error).item(), rel=1e-5)
    assert loss.parts["error_l_to_ab"].item() == pytest.approx(ab_error.item(), rel=1e-5)


def test_embeddings_are_the_features_of_all_views_and_of_each(build: Build, batch: Batch) -> None:
    method = build(CMC).eval()
    embedded = method.embed(batch.inputs)
    assert list(embedded) == ["features", "l", "ab"]
    assert torch.equal(embedded["features"], method.encoder(batch.inputs))
    assert torch.equal(torch.cat([embedded["l"], embedded["ab"]], 1), embedded["features"])


def test_views_that_share_a_shape_recognise_each_other_after_training(build: Build) -> None:
    """Red and green show the same bright square on noise of their own; its place tells images apart."""
    rng = torch.Generator().manual_seed(0)
    images = 0.3 * torch.rand(24, 3, 8, 8, generator=rng)
    for index, image in enumerate(images):
        row, column = divmod(index, 5)
        image[:, row : row + 3, column : column + 3] += 0.6
    method = build(CMC, views="r_g_b", augmentation="none", temperature=0.2)
    views = method.make_views(Batch(images, torch.arange(24)), rng)
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    for _ in range(80):
        loss = method(views)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    assert all(float(value.detach()) > 1.5 for value in method(views).parts.values())  # of log 24 = 3.18 nats


class OnlyThreeChannels(TinyEncoder):
    @classmethod
    def skip_reason(cls, data: DataSpec, config: Any) -> str | None:
        return None if data.shape[0] == 3 else "reads images of 3 channels"


@pytest.mark.parametrize(
    ("change", "encoder", "values", "reason"),
    [
        ({"shape": (1, 8, 8)}, TinyEncoder, {}, "needs images of 3 channels, these have 1"),
        ({}, OnlyThreeChannels, {}, "view l: the encoder reads images of 3 channels"),
        ({"shape": (3, 4, 4)}, TinyEncoder, {"loss": "predictive"}, "at least 8 x 8 pixels"),
    ],
)
def test_data_and_encoders_that_do_not_fit_are_skipped(
    colours: DataSpec, change: Any, encoder: type[Encoder], values: Any, reason: str
) -> None:
    data, config = replace(colours, **change), CMCConfig(**values)
    found = CMC.skip_reason(data, config, encoder_class=encoder, encoder_config=NoConfig())
    assert reason in (found or "")
    assert CMC.skip_reason(colours, config) is None


@pytest.mark.parametrize("values", [{"temperature": 0.0}, {"output_dim": 0}, {"views": "hsv"}, {"decoder_width": 0}])
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        CMCConfig(**values)


@pytest.mark.parametrize(("loss", "golden"), [("contrastive", 5.064345), ("predictive", 2.788813)])
def test_losses_keep_their_golden_values(build: Build, batch: Batch, loss: str, golden: float) -> None:
    method = build(CMC, loss=loss, temperature=0.002)
    views = method.make_views(batch, torch.Generator().manual_seed(7))
    assert method(views).total.item() == pytest.approx(golden, rel=1e-4)
