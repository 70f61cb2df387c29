from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench_core import DataSpec, Embedded, Evaluation, Frozen, NoConfig, Split
from bench_core.conformance.toys import TinyEncoder, Untrained
from bench_core.errors import BenchError
from bench_evaluators.geometry.evaluator import Geometry, GeometryConfig

Look = Callable[[Tensor], Tensor]


def images(n: int) -> Tensor:
    """Draw one bright square of 3 x 3 at a random place of 8 x 8."""
    places = torch.randint(0, 6, (n, 2), generator=torch.Generator().manual_seed(0))
    squares = torch.zeros(n, 1, 8, 8, dtype=torch.uint8)
    for image, (top, left) in zip(squares, places.tolist(), strict=True):
        image[0, top : top + 3, left : left + 3] = 200
    return squares


def frozen(look: Look, n: int = 100, labels: Tensor | None = None, **spec: Any) -> Frozen:
    """Make a method whose features are `look` of the images in [0, 1]."""
    trained: dict[str, Any] = {"shape": (1, 8, 8), "splits": {"train": n, "test": n}, "views": "glyph"} | spec
    data = DataSpec(**trained)

    class Looking(Untrained):
        def embed(self, inputs: Tensor) -> dict[str, Tensor]:
            return {"features": look(inputs)}

    method = Looking(TinyEncoder(data), data, NoConfig()).eval()
    whole = Split(images(n), labels)
    part = Embedded({"features": look(images(n) / 255)}, labels)
    return Frozen({"train": part, "test": part}, data, 0, torch.device("cpu"), lambda: method, lambda name: whole)


def pixels(inputs: Tensor) -> Tensor:
    return inputs.flatten(1)


def constant(inputs: Tensor) -> Tensor:
    return torch.full((len(inputs), 16), 0.1)


def noise(inputs: Tensor) -> Tensor:
    return torch.randn(len(inputs), 16, generator=torch.Generator().manual_seed(int(1e6 * inputs.double().sum())))


def evaluate(trained: Frozen, **config: Any) -> Evaluation:
    return Geometry(GeometryConfig(**config)).evaluate(trained)


def values(evaluation: Evaluation) -> dict[str, float]:
    return {score.metric: score.value for score in evaluation.scores}


def test_all_is_measured_and_the_sum_comes_first() -> None:
    evaluation = evaluate(frozen(pixels, labels=torch.arange(100) % 4))
    scores = values(evaluation)
    assert list(scores) == [
        "alignment_plus_uniformity", "alignment", "cka_pixels", "uniformity", "mean_cosine", "rankme",
        "effective_rank", "participation_ratio", "class_separation", "cka_labels",
    ]  # fmt: skip
    assert scores["alignment_plus_uniformity"] == pytest.approx(scores["alignment"] + scores["uniformity"])
    assert scores["cka_pixels"] == pytest.approx(1)
    assert {s.metric for s in evaluation.scores if s.higher_is_better} == {
        "rankme", "effective_rank", "participation_ratio", "class_separation", "cka_labels",
    }  # fmt: skip
    assert "preset glyph for all methods" in evaluation.protocol


def test_neither_a_constant_nor_noise_has_the_best_sum() -> None:
    plain, equal, random = (values(evaluate(frozen(look))) for look in (pixels, constant, noise))
    assert equal["alignment"] == equal["alignment_plus_uniformity"] == pytest.approx(0, abs=1e-9)
    assert random["rankme"] > 12
    assert random["uniformity"] < plain["uniformity"] < -0.5
    assert 0.1 < plain["alignment"] < random["alignment"] == pytest.approx(2, abs=0.2)
    still = frozen(pixels)
    calm = values(evaluate(still, augmentation="none"))
    assert calm["alignment"] == pytest.approx(0, abs=1e-6)
    assert calm["alignment_plus_uniformity"] < random["alignment_plus_uniformity"]


def test_flips_of_a_code_are_counted_between_views_beside_those_of_different_images() -> None:
    def with_code(trained: Frozen, code_of: Look) -> Frozen:
        method = trained.method()
        embed = method.embed
        method.embed = lambda inputs: embed(inputs) | {"code": code_of(inputs)}  # type: ignore[method-assign]  # a toy
        return trained

    def halves(inputs: Tensor) -> Tensor:
        """Say which halves of an image are brighter than the other: two bits."""
        return torch.stack([inputs.diff(dim=axis).flatten(1).sum(1) > 0 for axis in (2, 3)], 1)

    scores = {s.metric: s for s in evaluate(with_code(frozen(pixels), halves), augmentation="none").scores}
    assert (scores["code_flips"].value, scores["code_flips"].embedding) == (0.0, "code")
    first, second = halves(images(100) / 255).float().mean(0).tolist()
    expected = (2 * first * (1 - first) + 2 * second * (1 - second)) / 2
    assert scores["code_flips"].chance == pytest.approx(expected, abs=0.1)
    random = values(evaluate(with_code(frozen(pixels), lambda inputs: noise(inputs) > 0)))
    assert random["code_flips"] == pytest.approx(0.5, abs=0.1)
    assert "code_flips" not in values(evaluate(frozen(pixels)))


def test_chance_of_alignment_is_that_of_pairs_of_different_images() -> None:
    score = next(s for s in evaluate(frozen(noise)).scores if s.metric == "alignment")
    assert score.chance == pytest.approx(score.value, abs=0.3)
    score = next(s for s in evaluate(frozen(pixels), augmentation="none").scores if s.metric == "alignment")
    assert score.chance is not None
    assert score.chance > 0.5 > score.value


def test_only_labels_that_features_contain_give_class_separation() -> None:
    labels = (images(400).flatten(1).float().argmax(1) // 8).clamp(max=5)  # the row of the square

    def row(inputs: Tensor) -> Tensor:
        return F.one_hot(((inputs.flatten(1) > 0).float().argmax(1) // 8).clamp(max=5), 6).float()

    scores = values(evaluate(frozen(row, 400, labels)))
    assert (scores["class_separation"], scores["cka_labels"]) == pytest.approx((1, 1))
    shuffled = evaluate(frozen(row, 400, labels[torch.randperm(400, generator=torch.Generator().manual_seed(1))]))
    assert values(shuffled)["class_separation"] < 0.04
    assert abs(values(shuffled)["cka_labels"]) < 0.05
    chance = next(s.chance for s in shuffled.scores if s.metric == "class_separation")
    assert chance == pytest.approx(5 / 400, abs=0.015)


def test_collapse_is_noted() -> None:
    evaluation = evaluate(frozen(constant, labels=torch.arange(100) % 2))
    assert evaluation.notes[0].startswith("collapsed: all features are equal")
    assert evaluation.curves == {}
    scores = values(evaluation)
    assert scores["effective_rank"] == scores["cka_labels"] == scores["class_separation"] == 0
    assert (scores["rankme"], scores["mean_cosine"]) == pytest.approx((1, 1), abs=1e-4)
    dead = evaluate(frozen(lambda x: 0 * constant(x)))
    assert dead.notes[0].startswith("collapsed")
    assert values(dead)["rankme"] == 0


def test_dimensional_collapse_is_noted() -> None:
    narrow = evaluate(frozen(lambda x: pixels(x)[:, :2] @ torch.ones(2, 40)))
    assert narrow.notes[0] == "dimensional collapse: effective rank 1.0 of 40"
    wide = evaluate(frozen(noise))
    assert not any("collapse" in note for note in wide.notes)
    assert wide.notes == [
        "the uniform law on the sphere of 16 features has uniformity -3.5130",
        "100 items for 16 features: ranks read low (10 a feature are advised)",
    ]


def test_curve_is_the_spectrum_of_the_features() -> None:
    spectrum = evaluate(frozen(lambda x: noise(x) * torch.arange(16, 0, -1))).curves["spectrum"]
    assert list(spectrum) == ["direction", "variance"]
    assert sum(spectrum["variance"]) == pytest.approx(1)
    assert list(spectrum["variance"]) == sorted(spectrum["variance"], reverse=True)
    assert spectrum["direction"][:2] == [1, 2]


def test_a_seed_draws_the_same_items() -> None:
    first, second = (evaluate(frozen(pixels, 200), items=150, pairs=50) for _ in range(2))
    assert first == second
    assert "150 items of test" in first.protocol
    assert {s.metric: s.n for s in first.scores}["uniformity"] == 50
    another_seed = evaluate(replace(frozen(pixels, 200), seed=1), items=150, pairs=50)
    assert values(another_seed)["uniformity"] != values(first)["uniformity"]


def test_large_images_are_compared_at_32_pixels() -> None:
    def small(inputs: Tensor) -> Tensor:
        return F.avg_pool2d(inputs, 2).flatten(1)

    trained = frozen(small, 20, shape=(1, 64, 64))
    large = images(20).repeat_interleave(8, 2).repeat_interleave(8, 3)
    part = Embedded({"features": small(large / 255)})
    trained = replace(trained, splits={"test": part}, inputs=lambda name: Split(large))
    assert values(evaluate(trained))["cka_pixels"] == pytest.approx(1)


def test_inputs_that_are_not_images_have_no_view_scores() -> None:
    features = Embedded({"features": torch.randn(50, 4, generator=torch.Generator().manual_seed(0))})
    trained = replace(
        frozen(pixels), data=DataSpec(shape=(5,), splits={"train": 9, "test": 50}), splits={"test": features}
    )
    assert next(iter(values(evaluate(trained)))) == "uniformity"


def test_data_with_several_labels_an_item_has_no_class_scores() -> None:
    scores = values(evaluate(frozen(pixels, labels=torch.ones(100, 3, dtype=torch.bool))))
    assert not {"class_separation", "cka_labels"} & set(scores)


def test_few_items_and_unknown_embeddings_are_refused() -> None:
    evaluator = Geometry(GeometryConfig())
    spec = DataSpec(shape=(1, 8, 8), splits={"train": 9, "test": 3})
    assert evaluator.skip_reason(spec, Untrained) == "needs a test split of 4 items or more"
    assert evaluator.skip_reason(replace(spec, splits={"train": 9, "test": 4}), Untrained) is None
    assert len(evaluate(frozen(pixels, 4, labels=torch.arange(4) % 2)).scores) == 10
    with pytest.raises(BenchError, match=r"no embedding named 'latent'\. This method has: features"):
        evaluate(frozen(pixels), embedding="latent")


def test_parameters_out_of_range_are_refused() -> None:
    for name in ("items", "pairs"):
        with pytest.raises(ValueError, match=f"{name} must be >= 4, got 3"):
            replace(GeometryConfig(), **{name: 3})  # type: ignore[arg-type]  # either
    with pytest.raises(ValueError, match=r"augmentation must be one of .*, got 'simcl'"):
        GeometryConfig(augmentation="simcl")


def test_ten_items_a_feature_are_enough() -> None:
    notes = evaluate(frozen(lambda x: noise(x)[:, :10])).notes  # 100 items
    assert not any("ranks read low" in note for note in notes)
