"""AMDIM: its three terms and their penalty, its locations and maps, its views, and what it learns from digits."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench_core import Batch, ConfigError, DataSpec, Encoder
from bench_core.conformance.toys import TinyEncoder
from bench_core.views import preset
from bench_encoders.amdim_net import AMDIMNet, AMDIMNetConfig
from bench_methods.amdim.local_maps import LocationHead, choose_maps, map_shapes, rows_of
from bench_methods.amdim.location_scores import location_scores, soft_clip
from bench_methods.amdim.objective import AMDIM, AMDIMConfig, AMDIMViews, bench_objectives
from bench_methods.amdim.view_pairs import move, view_pair

SHAPES = {"conv1": (8, 14, 14), "conv2": (16, 7, 7), "conv3": (32, 4, 4)}


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def amdim(data: DataSpec) -> Callable[..., AMDIM]:
    """Function that builds AMDIM on two convolutions: maps `first` (8, 4, 4) and `second` (12, 4, 4)."""
    return lambda **values: AMDIM(TinyEncoder(data), data, AMDIMConfig(**values))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def swapped(views: AMDIMViews) -> AMDIMViews:
    return AMDIMViews(views.second, views.first, views.second_locations, views.first_locations)


def location_nce_written_slowly(scores: Tensor) -> Tensor:
    B, _, L = scores.shape
    losses = []
    for a in range(B):
        negatives = sum(scores[a, b, j].exp() for b in range(B) if b != a for j in range(L))
        losses += [-(scores[a, a, i].exp() / (scores[a, a, i].exp() + negatives)).log() for i in range(L)]
    return torch.stack(losses).mean()


def test_scores_are_inner_products_over_the_root_of_the_units() -> None:
    sources, locations = draw(3, 6), draw(3, 4, 6, seed=1)
    scores = location_scores(sources, locations)
    assert scores.shape == (3, 3, 4)
    torch.testing.assert_close(scores[0, 2, 3], (sources[0] * locations[2, 3]).sum() / math.sqrt(6))


def test_clipping_keeps_small_scores_and_bounds_large_ones() -> None:
    assert soft_clip(torch.tensor(0.1), 20.0).item() == pytest.approx(0.1, abs=1e-5)
    assert soft_clip(torch.tensor([-1e6, 1e6]), 20.0).tolist() == [-20.0, 20.0]
    assert soft_clip(torch.tensor(20.0), 20.0).item() == pytest.approx(20 * math.tanh(1))


def test_the_loss_is_the_three_terms_in_both_directions_and_the_penalty(
    amdim: Callable[..., AMDIM], batch: Batch, rng: torch.Generator
) -> None:
    method = amdim(units=6, clip=2.0).eval()
    views = method.make_views(batch, rng)
    embedded = []
    for view in (views.first, views.second):
        maps = method.encoder.maps(view)
        rows = [rows_of(maps[name]) for name in (method.shallow_map, method.deep_map)]
        assert method.feature_head is not None
        features = method.feature_head(method.encoder(view)[:, None])[:, 0]
        embedded.append((features, method.shallow_head(rows[0]), method.deep_head(rows[1])))
    expected = torch.zeros(())
    picks = (views.first_locations, views.second_locations)
    for here, there in ((0, 1), (1, 0)):
        features, _, deep = embedded[here]
        location = torch.stack([deep[i, picks[here][i]] for i in range(12)])
        for source, target in (
            (features, embedded[there][2]),
            (features, embedded[there][1]),
            (location, embedded[there][2]),
        ):
            scores = torch.einsum("au,blu->abl", source, target) / math.sqrt(6)
            clipped = 2 * torch.tanh(scores / 2)
            expected = expected + 0.5 * (location_nce_written_slowly(clipped) + 0.05 * scores.square().mean())
    torch.testing.assert_close(method(views).total, expected)


def test_loss_of_zero_scores_is_the_log_of_the_candidates_of_each_term(
    amdim: Callable[..., AMDIM], batch: Batch, rng: torch.Generator
) -> None:
    method = amdim(units=6)
    for head in (method.feature_head, method.deep_head, method.shallow_head):
        assert isinstance(head, LocationHead)
        nn.init.zeros_(head.norm.weight)
    loss = method(method.make_views(batch, rng))
    assert loss.total.item() == pytest.approx(3 * math.log(1 + 11 * 16), rel=1e-5)
    assert all(abs(loss.parts[name].item()) < 1e-5 for name in loss.ceilings)


def test_swapped_views_have_the_same_loss(amdim: Callable[..., AMDIM], batch: Batch, rng: torch.Generator) -> None:
    method = amdim(units=6)
    views = method.make_views(batch, rng)
    torch.testing.assert_close(method(swapped(views)).total, method(views).total)


def test_the_penalty_is_of_scores_before_they_are_clipped(
    amdim: Callable[..., AMDIM], batch: Batch, rng: torch.Generator
) -> None:
    method, tighter = amdim(units=6), amdim(units=6, clip=0.01)
    tighter.load_state_dict(method.state_dict())
    views = method.make_views(batch, rng)
    assert torch.equal(tighter(views).parts["penalty"], method(views).parts["penalty"])
    assert method(views).parts["penalty"] > 0.01**2


def test_gradients_reach_the_encoder_from_both_views(
    amdim: Callable[..., AMDIM], batch: Batch, rng: torch.Generator
) -> None:
    method = amdim(units=6)
    views = method.make_views(batch, rng)
    views.first.requires_grad_()
    views.second.requires_grad_()
    method(views).total.backward()
    for view in (views.first, views.second):
        assert view.grad is not None
        assert bool((view.grad.flatten(1).abs().sum(1) > 0).all())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.encoder.parameters())


def test_each_image_has_a_location_of_its_own(
    amdim: Callable[..., AMDIM], images: Tensor, rng: torch.Generator
) -> None:
    views = amdim().make_views(Batch(images, torch.arange(96)), rng)
    for locations in (views.first_locations, views.second_locations):
        assert locations.shape == (96,)
        assert set(locations.tolist()) == set(range(16))
    assert not torch.equal(views.first_locations, views.second_locations)


def test_features_are_compared_as_they_are_unless_units_are_given(amdim: Callable[..., AMDIM]) -> None:
    assert amdim().feature_head is None
    assert amdim().deep_head.hidden.out_features == 12
    assert amdim(units=6).feature_head is not None


def test_a_head_starts_as_a_copy_of_its_channels_then_batch_norm() -> None:
    head, locations = LocationHead(5, 8), draw(6, 9, 5)
    embedded = head(locations)
    assert embedded.shape == (6, 9, 8)
    rows = locations.flatten(0, 1)
    expected = (rows - rows.mean(0)) / (rows.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(embedded.flatten(0, 1)[:, :5], expected, atol=0.15, rtol=0)  # the others are within .01
    assert LocationHead(8, 5)(draw(6, 9, 8)).shape == (6, 9, 5)


def test_default_maps_are_the_pair_nearest_to_7_and_5_locations() -> None:
    assert choose_maps(SHAPES, None, None) == ("conv2", "conv3")
    code = {f"map{side}": (4, side, side) for side in (30, 14, 7, 5, 3)}
    assert choose_maps(code, None, None) == ("map7", "map5")
    small = {"conv1": (8, 4, 4), "conv2": (8, 2, 2), "conv3": (8, 2, 2)}
    assert choose_maps(small, None, None) == ("conv1", "conv3")
    assert choose_maps(SHAPES, "conv1", None) == ("conv1", "conv3")
    assert choose_maps(SHAPES, None, "conv2") == ("conv1", "conv2")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((None, "conv9"), "deep_map: the encoder has no map named 'conv9'. Its maps: conv1, conv2, conv3."),
        (("conv0", None), "shallow_map: the encoder has no map named 'conv0'"),
        (("conv3", None), "shallow_map must lie before deep_map, got shallow_map='conv3'"),
        (("conv2", "conv1"), "shallow_map must lie before deep_map"),
    ],
)
def test_maps_that_are_not_there_or_in_the_wrong_order_are_refused(names: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_maps(SHAPES, *names)


def test_an_encoder_without_two_maps_is_refused(make: Callable[..., Any], data: DataSpec) -> None:
    class OneMap(TinyEncoder):
        def maps(self, inputs: Tensor) -> dict[str, Tensor]:
            return {"first": super().maps(inputs)["first"]}

    with pytest.raises(ConfigError, match=r"amdim needs two maps .* OneMap has 1; take an encoder of convolutions"):
        AMDIM(OneMap(data), data, AMDIMConfig())


def test_reading_the_sizes_of_maps_changes_nothing_of_the_encoder() -> None:
    data = DataSpec(shape=(1, 28, 28), splits={"train": 1})
    encoder: Encoder = AMDIMNet(data, AMDIMNetConfig(width=2, output_dim=8, batch_norm=True)).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    assert map_shapes(encoder, data)["map7"] == (8, 7, 7)
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_both_views_are_mirrored_or_neither_is() -> None:
    ramp = torch.linspace(0.2, 0.8, 16).expand(40, 1, 16, 16).clone()
    first, second = view_pair(ramp, torch.Generator().manual_seed(0))
    rises = [(view[..., 8:].mean((1, 2, 3)) > view[..., :8].mean((1, 2, 3))) for view in (first, second)]
    assert torch.equal(*rises)
    assert 0 < rises[0].sum() < 40
    assert not torch.equal(first, second)


def test_moved_images_are_windows_of_the_mirrored_image(rng: torch.Generator) -> None:
    images = torch.rand(200, 2, 9, 12, generator=rng)
    moved = move(images, rng)
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4), mode="reflect")
    places = []
    for k in range(200):
        found = [
            (y, x) for y in range(9) for x in range(9) if torch.equal(padded[k, :, y : y + 9, x : x + 12], moved[k])
        ]
        assert len(found) == 1
        places += found
    still = sum(place == (4, 4) for place in places)
    assert 20 <= still <= 70  # .2 are not moved, and 1 / 81 of the others move by 0
    assert {y for y, _ in places} == {x for _, x in places} == set(range(9))


def test_large_images_are_cropped_and_images_of_one_pixel_stay(rng: torch.Generator) -> None:
    first, second = view_pair(torch.rand(3, 3, 40, 40), rng)
    assert first.shape == second.shape == (3, 3, 40, 40)
    pixel = torch.rand(2, 1, 1, 1)
    assert torch.equal(move(pixel, rng), pixel)


def test_digits_are_not_mirrored_and_other_presets_can_be_chosen(data: DataSpec) -> None:
    assert AMDIM(TinyEncoder(data), data, AMDIMConfig()).augmentation == preset("glyph", data)
    natural = replace(data, views="natural")
    assert AMDIM(TinyEncoder(natural), natural, AMDIMConfig()).augmentation is None
    chosen = AMDIM(TinyEncoder(natural), natural, AMDIMConfig(augmentation="simclr"))
    assert chosen.augmentation == preset("simclr", natural)


@pytest.mark.parametrize("values", [{"units": 0}, {"clip": 0.0}, {"penalty_weight": -1.0}])
def test_values_out_of_range_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(values))} must be"):
        AMDIMConfig(**values)


def test_other_data_than_images_are_skipped() -> None:
    vectors = DataSpec(shape=(7,), splits={"train": 8})
    assert AMDIM.skip_reason(vectors, AMDIMConfig()) == "needs images"


def test_the_recipe_is_that_of_the_code() -> None:
    recipe = AMDIM.recipe
    assert (recipe.optimizer, recipe.learning_rate, recipe.momentum, recipe.weight_decay) == ("adam", 2e-4, 0.8, 1e-5)
    assert recipe.warmup_epochs * 50_000 / recipe.batch_size == 500


def test_all_terms_rise_on_digits(data: DataSpec, digits: Tensor) -> None:
    method = AMDIM(TinyEncoder(data), data, AMDIMConfig(units=16, augmentation="none")).train()
    optimizer = torch.optim.Adam(method.parameters(), 1e-2)
    rng, parts = torch.Generator().manual_seed(0), []
    for step in range(40):
        index = torch.arange(32) + 32 * (step % 8)
        loss = method(method.make_views(Batch(digits[index], index), rng))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        parts.append({name: value.item() for name, value in loss.parts.items()})
        assert all(parts[-1][name] <= ceiling for name, ceiling in loss.ceilings.items())
    for name in ("global_to_deep", "global_to_shallow", "deep_to_deep"):
        start, end = (sum(each[name] for each in some) / 5 for some in (parts[:5], parts[-5:]))
        assert end > start + 0.1, (name, start, end)


def test_it_is_registered() -> None:
    assert bench_objectives() == {"amdim": AMDIM}
