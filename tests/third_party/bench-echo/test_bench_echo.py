"""An example of a plugin's own tests; they run in an environment where the plugin is installed."""

import pytest

from bench_core.conformance import assert_conforms


@pytest.mark.parametrize("name", ["echo", "feature_norm"])
def test_conforms(name: str) -> None:
    assert_conforms(name)
