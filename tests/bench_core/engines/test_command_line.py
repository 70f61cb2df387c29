"""What is asked for in Python, in the words of a command."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench_core.cli.group import main
from bench_core.cli.options import make_request
from bench_core.engines.command_line import command_of
from bench_core.errors import RequestError
from bench_core.planning.request import Request

REQUESTS: list[dict[str, Any]] = [
    {"methods": ["nac"]},
    {"methods": ["nac", "nac:hashing"], "tasks": ["all"], "datasets": ["digits"], "encoders": ["convnet"]},
    {"board": "boards/my board.toml", "seeds": [0, 12], "epochs": 3, "batch_size": 32, "precision": "fp32"},
    {"methods": ["-odd"], "device": "cuda:1"},
    {"settings": {"nac.flip": 0.2, "nac.recipe.epochs": 7, "a.b": True, "vae.init": "none", "x.y": 1e-7, "x.z": 1e16}},
    {"settings": {"image_folder.path": 'C:\\a "b" = \u00e9\n', "a.list": [1, 2.0, [3]], "a.text": "0.2"}},
    {
        "sweeps": {
            "noisy_dim.noise": [0, 0.1, 0.3],
            "vae.init": ["none", "nac"],
            "a.b": [True],
            "c.d": [[1, 2], ["e,f"]],
        }
    },
]


@pytest.mark.parametrize("asked", REQUESTS, ids=range(len(REQUESTS)))
def test_the_command_asks_for_the_same(asked: dict[str, Any], tmp_path: Path) -> None:
    request = Request(**asked, data_root=tmp_path / "data")
    name, *words = command_of(request, Path("my runs"))
    with main.commands[name].make_context(name, words) as context:
        options = context.params
    assert options["store"] == Path("my runs")
    said = {key: options[key] for key in options if key in ("settings", "sweeps") or key in vars(request)}
    assert make_request(said) == request


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"nac.flip": np.float32(0.2)}, r"nac\.flip = .*0\.2"),
        ({"nac.flip": None}, "nac.flip = None"),
        ({"nac.flip": float("nan")}, "nac.flip = nan"),
        ({"nac.flip": {"a": 1}}, r"nac.flip = \{'a': 1\}"),
        ({"nac.flip": object}, "nac.flip = <class 'object'>"),
        ({"a=b.c": 1}, "a=b.c = 1"),
    ],
)
def test_what_no_command_can_say_is_named(settings: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match=rf"^{named}\S* cannot be said in the words of a command, .* leave out isolate"
    ):
        command_of(Request(settings=settings, data_root=tmp_path), tmp_path)


def test_a_name_that_would_be_two_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^methods: 'a,b' cannot be said"):
        command_of(Request(methods=["a,b"], data_root=tmp_path), tmp_path)


def test_a_tuple_is_said_as_a_list_which_serves_as_well(tmp_path: Path) -> None:
    words = command_of(Request(settings={"a.b": (1, 2)}, sweeps={"c.d": (1, 2)}, data_root=tmp_path), tmp_path)
    assert "--set=a.b=[1, 2]" in words
    assert "--sweep=c.d=1, 2" in words
