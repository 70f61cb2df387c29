"""Images of few pixels and of odd channels: each method learns from them, or is skipped with a reason."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import pytest

from bench_core import DataSpec, NoConfig, Objective
from bench_core.conformance.toys import TinyEncoder
from bench_core.contracts.keywords import named_only, needs
from bench_core.plugins import Component, load_plugins
from bench_core.training.trial import step_fault

SHAPES = ((1, 1, 1), (2, 1, 1), (3, 2, 2), (4, 2, 2), (1, 3, 3), (3, 1, 9))
METHODS = load_plugins().of_kind("objective")


@pytest.mark.parametrize("views", ["natural", "glyph"])
@pytest.mark.parametrize("component", METHODS, ids=lambda component: component.name)
def test_method_learns_from_tiny_images_or_says_why_not(
    component: Component, views: Literal["natural", "glyph"], smaller: Callable[[Component], None]
) -> None:
    smaller(component)
    cls: Any = component.cls
    if needs(cls.__init__, "teacher"):
        pytest.skip("needs a teacher, which is trained on these images before")

    def build(data: DataSpec) -> Objective:
        offered = named_only(cls.__init__, new_encoder=TinyEncoder)
        objective: Objective = cls(TinyEncoder(data), data, cls.Config(), **offered)
        return objective

    for shape in SHAPES:
        data = DataSpec(shape=shape, splits={"train": 64, "test": 8}, num_classes=3, views=views)
        encoder = {"encoder_class": TinyEncoder, "encoder_config": NoConfig()}
        if cls.skip_reason(data, cls.Config(), **named_only(cls.skip_reason, **encoder)) is None:
            assert step_fault(build, cls.recipe, data, 4) is None, shape


@pytest.mark.parametrize("name", ["simclr", "byol", "vicreg", "nac"])
def test_views_with_blur_can_be_made_of_one_pixel(name: str) -> None:
    cls: Any = load_plugins().get("objective", name).cls
    settings: Mapping[str, Any] = {"augmentation": "simclr_imagenet"}

    def build(data: DataSpec) -> Objective:
        objective: Objective = cls(TinyEncoder(data), data, replace(cls.Config(), **settings))
        return objective

    data = DataSpec(shape=(3, 1, 1), splits={"train": 64}, num_classes=3)
    assert step_fault(build, cls.recipe, data, 4) is None
