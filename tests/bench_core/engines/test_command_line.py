"""Requests made in Python, written as a command line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench_core.cli.engine_options import make_setting
from bench_core.cli.group import main
from bench_core.cli.options import make_request
from bench_core.engines.command_line import run_command, with_device, with_option
from bench_core.errors import RequestError
from bench_core.planning.request import Request
from bench_core.planning.settings import read_typed
from bench_core.running.setting import RunSetting

REQUESTS: list[dict[str, Any]] = [
    {"methods": ["nac"]},
    {"methods": ["nac", "nac:hashing"], "tasks": ["all"], "datasets": ["digits"], "encoders": ["convnet"]},
    {"board": "boards/my board.toml", "seeds": [0, 12], "epochs": 3, "batch_size": 32, "precision": "fp32"},
    {"methods": ["-odd"], "device": "cuda:1", "at_epochs": (10, 20), "validation": 0.2},
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


CPU = RunSetting(device="cpu")


def options_of(words: list[str]) -> dict[str, Any]:
    """The options that `bench` reads from these words."""
    name, *options = words
    with main.commands[name].make_context(name, options) as context:
        return context.params


@pytest.mark.parametrize("request_values", REQUESTS, ids=range(len(REQUESTS)))
def test_command_line_gives_the_same_request(request_values: dict[str, Any], tmp_path: Path) -> None:
    request = Request(**request_values, data_root=tmp_path / "data")
    setting = RunSetting(device=request.device, jobs=2)  # another process, so that "cuda:1" need not be here
    options = options_of(run_command(request, setting, Path("my runs")))
    assert options["store"] == Path("my runs")
    names = {"settings", "sweeps", *vars(request)} & options.keys()
    made = make_request({name: options[name] for name in names})
    assert replace(made, settings=read_typed(made.settings, {}), sweeps=read_typed(made.sweeps, {})) == request


def test_command_line_gives_the_same_run_setting_without_what_starts_processes(tmp_path: Path) -> None:
    setting = RunSetting(
        device="cpu",
        workers=3,
        memory="1.5G",
        checkpoint_every=1.5,
        resume_anyway=True,
        compiled=True,
        isolate=True,
        jobs=2,
        time_limit=60,
        log=("csv", "tensorboard"),
        probe_every=2,
        keep_every=5,
        claim_beat=0.5,
        claim_stale=4.0,
    )
    options = options_of(run_command(Request(methods=["nac"], data_root=tmp_path), setting, tmp_path))
    read = make_setting(options, setting.stop, only_chain=None)
    assert read == replace(setting, isolate=False, jobs="auto", time_limit=None)


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
def test_value_that_no_command_line_can_hold_is_named(settings: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=rf"^{named}\S* cannot be written on a command line, .* leave out isolate"):
        run_command(Request(settings=settings, data_root=tmp_path), CPU, tmp_path)


def test_name_with_a_comma_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^methods: 'a,b' cannot be written"):
        run_command(Request(methods=["a,b"], data_root=tmp_path), CPU, tmp_path)


def test_tuple_is_written_as_a_list(tmp_path: Path) -> None:
    words = run_command(Request(settings={"a.b": (1, 2)}, sweeps={"c.d": (1, 2)}, data_root=tmp_path), CPU, tmp_path)
    assert "--set=a.b=[1, 2]" in words
    assert "--sweep=c.d=1, 2" in words


@pytest.mark.parametrize(
    "typed", [["--device=cuda:0,cuda:1"], ["--device", "cuda:0,cuda:1"], []], ids=["one word", "two words", "default"]
)
def test_process_gets_another_device_than_was_typed(typed: list[str]) -> None:
    command = ["bench", "run", "--methods", "nac", *typed, "--epochs=3"]
    assert with_device(command, "cuda:1") == ["bench", "run", "--methods", "nac", "--epochs=3", "--device=cuda:1"]
    assert with_device(command, None) == command


@pytest.mark.parametrize("typed", [[], ["--ranks", "4"], ["--ranks=4"]])
def test_an_option_is_given_once_whatever_was_typed(typed: list[str]) -> None:
    assert with_option(["bench", "run", *typed, "-x"], "--ranks", 2) == ["bench", "run", "-x", "--ranks=2"]
