"""Texts of `--set` and `--sweep` are parsed as TOML, or refused with an example."""

import pytest

from bench_core.errors import ConfigError
from bench_core.planning.settings import parse_settings, parse_sweeps


def test_settings_are_toml_and_a_bare_word_is_text() -> None:
    assert parse_settings(["a.b=0.2", "a.c=true", "a.d=[1, 2]", "a.e=none", 'a.f="x y"', "a.g=3"]) == {
        "a.b": 0.2, "a.c": True, "a.d": [1, 2], "a.e": "none", "a.f": "x y", "a.g": 3,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["a.b", "ab=1", "a.b=[1", "a.b=1 2"])
def test_a_text_without_a_path_or_a_toml_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_settings([text])


def test_sweeps_are_lists_of_values() -> None:
    assert parse_sweeps(["a.noise=0,0.1, 1", "vae.init=none,nac", "b.sizes=[1, 2],[3]", "c.on=true,false"]) == {
        "a.noise": [0, 0.1, 1], "vae.init": ["none", "nac"], "b.sizes": [[1, 2], [3]], "c.on": [True, False],
    }  # fmt: skip


def test_a_sweep_without_values_or_a_path_or_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--sweep takes NAME\.PARAM=VALUE, got 'noise'; for example --sweep"):
        parse_sweeps(["noise"])
    with pytest.raises(ConfigError, match=r"--sweep a\.noise is given twice"):
        parse_sweeps(["a.noise=0", "a.noise=1"])
    with pytest.raises(ConfigError, match=r"--sweep a\.noise: '{' is not a TOML value"):
        parse_sweeps(["a.noise=0,{"])
