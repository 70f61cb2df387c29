from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bench_core
from bench_core.config import build, param, parameters, plain, read_toml, shortened
from bench_core.errors import ConfigError, RequestError


@dataclass(frozen=True, kw_only=True)
class Config:
    rate: float = param(0.5, "a rate", "paper, Sec. 1")
    count: int = param(3, "a count", "ours: tiny")
    on: bool = param(True, "a switch", "ours: tiny")
    sizes: tuple[int, ...] = param((1, 2), "sizes", "ours: tiny")
    pair: tuple[float, float] = param((0.0, 1.0), "a range", "ours: tiny")
    limit: int | None = param(None, "a limit", "ours: tiny")
    kind: Literal["a", "b"] = param("a", "a kind", "ours: tiny")

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError(f"rate must be >= 0, got {self.rate}")


def test_values_go_over_defaults_and_whole_numbers_serve_as_floats() -> None:
    config = build(Config, {"rate": 2, "sizes": [4, 5, 6], "pair": [1, 2], "limit": 7}, "x")
    assert plain(config) == {
        "rate": 2.0, "count": 3, "on": True, "sizes": [4, 5, 6], "pair": [1.0, 2.0], "limit": 7, "kind": "a",
    }  # fmt: skip
    assert type(config.rate) is float


def test_none_is_spelled_none_because_toml_has_no_null() -> None:
    assert build(Config, {"limit": "none"}, "x", base=Config(limit=3)).limit is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rat": 1}, r"x\.rat does not exist; did you mean 'rate'\? Parameters: rate, count"),
        ({"RATE": 1}, r"x\.RATE does not exist; did you mean 'rate'\?"),
        ({"rate": "1"}, r"x\.rate must be float, got '1'"),
        ({"rate": True}, r"x\.rate must be float, got True"),
        ({"rate": float("nan")}, r"x\.rate must be float, got nan"),
        ({"count": 1.5}, r"x\.count must be int, got 1\.5"),
        ({"count": True}, r"x\.count must be int, got True"),
        ({"on": 1}, r"x\.on must be bool, got 1"),
        ({"sizes": 4}, r"x\.sizes must be list of int, got 4"),
        ({"sizes": ["4"]}, r"x\.sizes must be int, got '4'"),
        ({"pair": [1.0]}, r"x\.pair must be \[float, float\], got \[1\.0\]"),
        ({"limit": 1.5}, r"x\.limit must be int \| none, got 1\.5"),
        ({"kind": "c"}, r"x\.kind must be 'a' \| 'b', got 'c'"),
        ({"rate": -1.0}, r"x: rate must be >= 0, got -1\.0"),
    ],
)
def test_a_bad_value_is_refused_with_what_would_be_right(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(Config, values, "x")


def test_parameters_carry_type_default_help_and_source() -> None:
    first = parameters(Config)[0]
    assert (first.name, first.type, first.default, first.help, first.source) == (
        "rate", "float", 0.5, "a rate", "paper, Sec. 1",
    )  # fmt: skip


def test_a_default_that_is_made_anew_is_shown_as_its_value() -> None:
    @dataclass(frozen=True)
    class Made:
        sizes: tuple[int, ...] = field(default_factory=lambda: (1, 2))

    assert [(parameter.name, parameter.default) for parameter in parameters(Made)] == [("sizes", (1, 2))]


@given(st.floats(0, 1e9), st.integers(-5, 5), st.booleans(), st.lists(st.integers(0, 9)))
def test_plain_values_build_the_same_config_again(rate: float, count: int, on: bool, sizes: list[int]) -> None:
    config = Config(rate=rate, count=count, on=on, sizes=tuple(sizes))
    assert build(Config, plain(config), "x") == config


def test_a_whole_number_and_the_same_float_are_one_value_in_a_key() -> None:
    assert str(plain(Config(rate=2))["rate"]) == "2.0"


def test_a_parameter_that_is_kept_out_of_the_key_is_not_in_the_plain_values() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Place:
        path: str = param("here", "a folder", "ours: tiny", in_key=False)
        size: int = param(3, "a size", "ours: tiny")

    assert plain(Place()) == {"size": 3}


@dataclass(frozen=True, kw_only=True)
class Named:
    label: str | None = "a"
    name: str = "a"


def test_none_is_none_before_it_is_text_and_text_where_there_is_no_none() -> None:
    made = build(Named, {"label": "none", "name": "none"}, "x")
    assert (made.label, made.name) == (None, "none")


@dataclass(frozen=True, kw_only=True)
class Grown:
    old: int = param(1, "there from the start", "ours")
    new: int = param(2, "came later", "ours", added=True)


def test_a_parameter_that_came_later_is_in_no_key_while_it_has_its_default() -> None:
    assert plain(Grown()) == {"old": 1}
    assert plain(Grown(new=3)) == {"old": 1, "new": 3}


@dataclass(frozen=True, kw_only=True)
class Timed:
    rise: float = param(10, "epochs of a rise", "ours", ge=0, in_epochs=True)
    still: int = param(3, "epochs at rest", "ours", ge=0, in_epochs=True)
    every: int = param(5, "epochs between two updates", "ours", ge=1, in_epochs=True)
    updates: int = param(80, "updates of the run", "ours", ge=0)


def test_what_is_counted_in_epochs_is_shorter_in_a_shorter_run() -> None:
    assert shortened(Timed(), 10, 1000) == {"rise": 0.1, "still": 0, "every": 1}
    assert shortened(Timed(), 500, 1000) == {"rise": 5.0, "still": 1, "every": 2}
    assert shortened(Timed(rise=0, still=0, every=1), 10, 1000) == {}  # nothing is left to shorten


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_nothing_gets_longer_or_leaves_its_range(epochs: int, usual: int) -> None:
    config = build(Timed, shortened(Timed(), epochs, usual), "x")
    assert (config.rise <= 10, config.still <= 3, 1 <= config.every <= 5) == (True, True, True)
    assert (shortened(Timed(), epochs, usual) == {}) == (epochs >= usual)
    assert config.rise / epochs <= 10 / usual * (1 + 1e-12) or epochs >= usual


def test_a_parameter_in_epochs_says_its_least_value() -> None:
    with pytest.raises(ValueError, match="in_epochs needs ge, the least that a short run may have"):
        param(10, "epochs of a rise", "ours", gt=0, in_epochs=True)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_bytes("title = 'Zürich'\r\nseeds = [0]\r\n".encode("utf-8-sig"))
    assert read_toml(path) == {"title": "Zürich", "seeds": [0]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_a_file_of_another_encoding_is_refused_and_the_right_one_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "board.toml"
    path.write_bytes("title = 'Zürich'".encode(encoding))
    with pytest.raises(RequestError, match=r"board\.toml is not TOML: .*; save it as UTF-8\."):
        read_toml(path)


def test_a_config_that_is_made_by_hand_is_checked_too() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Positive(bench_core.Config):
        rate: float = param(0.5, "a rate", "paper, Sec. 1", gt=0)

    with pytest.raises(ValueError, match=r"rate must be > 0, got -1"):
        Positive(rate=-1)
