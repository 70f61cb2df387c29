"""Folders of datasets and caches, and the errors where there is none."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench_core.data import cache_root, default_data_root, missing_data
from bench_core.data.files import digest_of
from bench_core.errors import RequestError
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import load_plugins


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without HOME whom the system does not know, as in many containers."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for variable in ("HOME", "BENCH_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)


def test_datasets_lie_in_bench_data_else_in_the_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("BENCH_DATA", "~/sets")
    assert default_data_root() == Path("/home/me/sets")
    monkeypatch.setenv("BENCH_DATA", "sets")
    assert default_data_root() == Path("sets")
    monkeypatch.delenv("BENCH_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/tmp/caches")
    assert default_data_root() == Path("/tmp/caches/bench/data")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path("/home/me/.cache/bench")


@pytest.mark.parametrize("folder", ["", "caches", "./caches"])
def test_a_cache_folder_that_is_no_whole_path_is_passed_over(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", folder)
    assert cache_root() == Path("/home/me/.cache/bench")


@pytest.mark.parametrize("variable", ["BENCH_DATA", "XDG_CACHE_HOME"])
def test_a_variable_that_names_an_unknown_home_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "~nobody_of_this_name/x")
    with pytest.raises(RequestError, match=f"{variable} is '~nobody_of_this_name/x', and there is no such home folder"):
        default_data_root() if variable == "BENCH_DATA" else cache_root()


@pytest.mark.usefixtures("homeless")
def test_without_a_home_only_what_needs_a_folder_is_refused() -> None:
    registry = load_plugins()
    asked: dict[str, Any] = {"methods": ["random"], "tasks": ["knn"], "data_root": default_data_root()}
    assert make_plan(Request(**asked, datasets=["digits"]), registry).chains  # reads no files
    mnist = registry.get("dataset", "mnist").cls
    for read in (
        lambda: mnist(asked["data_root"], mnist.Config()).load("train"),
        lambda: make_plan(Request(**asked, datasets=["mnist"]), registry, download=True),
    ):
        with pytest.raises(RequestError, match=r"mnist: there is no folder of datasets: HOME is not set.* --data-root"):
            read()
    with pytest.raises(RequestError, match=r"there is no folder for caches.*Set HOME or XDG_CACHE_HOME"):
        cache_root()


@pytest.mark.usefixtures("homeless")
def test_without_a_home_nothing_can_be_written_below_the_folder_of_datasets() -> None:
    root = default_data_root()
    assert not (root / "mnist").exists()
    with pytest.raises(OSError, match="Not a directory"):
        (root / "mnist").mkdir(parents=True)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(("variable", "root"), [("BENCH_DATA", "/data"), ("XDG_CACHE_HOME", "/data/bench/data")])
def test_without_a_home_a_variable_is_enough(monkeypatch: pytest.MonkeyPatch, variable: str, root: str) -> None:
    monkeypatch.setenv(variable, "/data")
    assert default_data_root() == Path(root)
    assert "there is no folder" not in str(missing_data("mnist", Path(root), "does not exist", fetch=True))


@pytest.mark.parametrize("fetch", [True, False])
def test_only_data_that_can_be_downloaded_are_said_to_be(fetch: bool) -> None:
    message = str(missing_data("mnist", Path("/data"), "does not exist", fetch=fetch))
    assert ("add --download to `bench run` to fetch it, or " in message) == fetch


def test_digest_is_that_of_all_parts_each_with_its_length_or_its_type_and_shape() -> None:
    text = hashlib.sha256("bytes 2\n\u00e9bytes 1\nx".encode()).hexdigest()
    assert digest_of("\u00e9", b"x") == f"sha256:{text}"
    array = np.array([[1, 2], [3, 256]], np.int16)
    content = b"int16 (2, 2)\n" + bytes([1, 0, 2, 0, 3, 0, 0, 1])
    assert digest_of(array) == digest_of(torch.from_numpy(array)) == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert digest_of(array.astype(">i2")) == digest_of(array.T.copy().T) == digest_of(array)
    assert digest_of(array.reshape(4)) != digest_of(array)
