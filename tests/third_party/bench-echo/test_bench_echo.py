"""What a plugin's own tests may look like; run in the plugin's environment."""

import pytest

from bench_core.conformance import assert_conforms


@pytest.mark.parametrize("name", ["echo", "feature_norm"])
def test_conforms(name: str) -> None:
    assert_conforms(name)
