"""Licences of the built-in datasets: names of SPDX's list, each with its source, and none that nobody has looked up."""

import pytest

from bench_core.planning.describe import describe_component, print_component
from bench_core.plugins import Component, load_plugins
from bench_core.reports.site.plots.thumbnails import SHARED

STATED = {
    "CC-BY-4.0": {"digits", "digit_pairs"},
    "CC-BY-SA-3.0": {"mnist", "mnist_halves", "colour_digits"},
    "MIT": {"fashion_mnist", "cora", "citeseer"},
    "Apache-2.0": {"dsprites", "shapes3d", "sprites", "made_bands", "gaussian_ring", "gaussian_pairs"},
}
DATASETS = [component for component in load_plugins().of_kind("dataset") if component.distribution == "bench-core"]


@pytest.mark.parametrize("component", DATASETS, ids=lambda component: component.name)
def test_licence_is_the_one_that_was_looked_up(component: Component) -> None:
    name, _, source = component.cls.licence.partition(", ")
    assert name == next((licence for licence, names in STATED.items() if component.name in names), "")
    assert bool(source) == bool(name)


def test_all_of_them_let_pages_hold_items() -> None:
    assert set(STATED) <= SHARED


def test_show_prints_the_licence() -> None:
    digits, _ = describe_component("digits", load_plugins())  # and the board
    assert "\nLicence: CC-BY-4.0, Alpaydin" in print_component(digits)
    (cifar,) = describe_component("cifar10", load_plugins())
    assert "Licence" not in print_component(cifar)
