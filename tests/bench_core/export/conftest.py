"""A store with two chains of one epoch on digits, and a network that always answers that there is none."""

import socket
from pathlib import Path

import pytest

from bench_core import run
from bench_core.plugins import Registry, load_plugins


@pytest.fixture(scope="session")
def registry() -> Registry:
    return load_plugins()


@pytest.fixture(scope="session")
def trained_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("trained") / "runs"
    run("nac", "knn", seeds=[0, 1], epochs=1, device="cpu", store=store, progress=False,
        settings={"convnet.widths": [4, 8], "digits.train_size": 200})  # fmt: skip
    return store


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError("tests have no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
