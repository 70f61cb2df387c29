"""Texts of `--set` and `--sweep`: what is read as TOML, what as text, and what is refused with an example."""

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_core.errors import ConfigError
from bench_core.planning.settings import parse_settings, parse_sweeps, read_typed


def read(text: str, declared: Any = None) -> Any:
    """Read a value as `--set a.b=TEXT` gives it to a parameter of a type."""
    return read_typed(parse_settings([f"a.b={text}"]), {"a.b": declared})["a.b"]


def read_sweep(text: str, declared: Any = None) -> Any:
    return read_typed(parse_sweeps([f"a.b={text}"]), {"a.b": declared})["a.b"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.2", 0.2), ("true", True), ("[1, 2]", [1, 2]), ("none", "none"), ('"x y"', "x y"), ("3", 3), (" 3 ", 3)],
)
def test_settings_are_toml_and_a_bare_word_is_text(text: str, value: Any) -> None:
    assert read(text) == value
    assert type(read(text)) is type(value)


TYPED = [
    "2024-05-01", "07:32:00", "1979-05-27T07:32:00Z", "1e5", "true", "inf", "nan", "007", "1_000", "0x10", "-3", "+1",
    "2024 photos", "/data/a=b", "/data/it's", "a,b", "[2024] photos", "2024 # 1", "é",
]  # fmt: skip


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize("declared", [str, str | None, None | str])
def test_text_is_taken_as_typed_where_the_parameter_is_text(text: str, declared: Any) -> None:
    assert read(text, declared) == text


@pytest.mark.parametrize("text", [text for text in TYPED if "," not in text])
def test_values_of_a_sweep_are_taken_as_typed_where_the_parameter_is_text(text: str) -> None:
    assert read_sweep(f"{text},{text}x", str) == [text, f"{text}x"]


def test_commas_in_parentheses_separate_no_values() -> None:
    assert read_sweep("beta(2, 5),gaussian", str) == ["beta(2, 5)", "gaussian"]


def test_quotes_are_of_toml_where_the_parameter_is_text() -> None:
    assert read('"2024-05-01"', str) == read("'2024-05-01'", str) == "2024-05-01"
    assert read(r'"a\tb"', str) == "a\tb"
    assert read_sweep('"a,b",2024-05-01', str) == ["a,b", "2024-05-01"]


@pytest.mark.parametrize(
    ("text", "declared", "value"),
    [
        ("8", Literal["auto", 8], 8), ("auto", Literal["auto", 8], "auto"), ("1e5", Literal["1e5"], "1e5"),
        ("8", int | str, 8), ("true", bool | str, True), ("1e5", float | str, 1e5), ("1e5", int | str, "1e5"),
        ("1", float, 1), ("[1, 2]", tuple[int, ...], [1, 2]), ("[1, 2]", str, [1, 2]), ("high", float, "high"),
    ],
)  # fmt: skip
def test_value_that_fits_as_toml_is_toml(text: str, declared: Any, value: Any) -> None:
    assert read(text, declared) == value
    assert type(read(text, declared)) is type(value)


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), st.dates()))
def test_whatever_toml_reads_is_text_as_typed_for_text_and_toml_for_its_own_type(value: Any) -> None:
    text = str(value).lower()
    assert read(text, str) == text
    assert read(text, type(value)) == value


@pytest.mark.parametrize("text", ["a.b", "ab=1"])
def test_a_text_without_a_path_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--set takes NAME\.PARAM=VALUE, got '.*'; for example --set nac\.flip=0\.2"):
        parse_settings([text])


@pytest.mark.parametrize("declared", [None, float, str])
@pytest.mark.parametrize("text", ["", '"x', "'x", "x\ny", "1\n2"])
def test_no_toml_value_and_no_line_of_text_is_refused(text: str, declared: Any) -> None:
    with pytest.raises(ConfigError, match=r"--set a\.b: .* is not a TOML value"):
        read(text, declared)


@pytest.mark.parametrize("text", ["[1", "1 2", "007", "a=b"])
def test_text_that_is_no_toml_is_refused_where_the_parameter_is_no_text(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--set a\.b: .* is not a TOML value"):
        read(text, float)


def test_a_parameter_set_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set a\.b is given twice; give it once, or .* --sweep a\.b=A,B"):
        parse_settings(["a.b=1", "a.c=1", " a.b=2"])


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0,0.1, 1", [0, 0.1, 1]), ("none,nac", ["none", "nac"]), ("[1, 2],[3]", [[1, 2], [3]]),
        ("true,false", [True, False]), ("0.1,", [0.1]), ("", []), ('"a,b",c', ["a,b", "c"]),
        ("[[1,2],[3]]", [[[1, 2], [3]]]), ("{a = 1, b = 2},3", [{"a": 1, "b": 2}, 3]),
    ],
)  # fmt: skip
def test_sweeps_are_lists_of_values(text: str, values: list[Any]) -> None:
    assert read_sweep(text) == values


def test_a_sweep_without_values_or_a_path_or_given_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--sweep takes NAME\.PARAM=VALUE, got 'noise'; for example --sweep"):
        parse_sweeps(["noise"])
    with pytest.raises(ConfigError, match=r"--sweep a\.noise is given twice"):
        parse_sweeps(["a.noise=0", "a.noise=1"])
    for bad in ("0,{", ",", "0,,1"):
        with pytest.raises(ConfigError, match=r"--sweep a\.b: '{?' is not a TOML value"):
            read_sweep(bad)
