"""Links with readable names: they lead to the chains, follow what changes, and are never needed."""

import shutil
from pathlib import Path

import pytest

from bench_core import run
from bench_core.store import Store
from bench_core.store.merge import compare_stores
from bench_core.store.name_links import FOLDER, link_names

NAME = "digits/convnet/random/seed-0"


def train(store: Path, train_size: int = 100) -> None:
    settings = {"convnet.widths": [4], "digits.train_size": train_size}
    run("random", "knn", device="cpu", store=store, progress=False, settings=settings)


def links(store: Path) -> dict[str, Path]:
    found = (path for path in (store / FOLDER).rglob("*") if path.is_symlink())
    return {str(path.relative_to(store / FOLDER)): path.resolve() for path in found}


def test_a_run_links_its_chains_and_a_second_one_of_the_same_name_gets_digits(tmp_path: Path) -> None:
    train(tmp_path / "runs")
    [chain] = (tmp_path / "runs" / "chains").iterdir()
    assert links(tmp_path / "runs") == {NAME: chain}
    train(tmp_path / "runs", train_size=120)
    chains = list((tmp_path / "runs" / "chains").iterdir())
    assert links(tmp_path / "runs") == {f"{NAME}~{chain.name[:8]}": chain for chain in chains}

    shutil.rmtree(chains[0])
    link_names(Store(tmp_path / "runs"))
    assert links(tmp_path / "runs") == {NAME: chains[1]}
    merge = compare_stores(tmp_path / "runs", Store(tmp_path / "other"))
    assert [folder.name for folder in merge.chains] == [chains[1].name]

    shutil.rmtree(tmp_path / "runs" / "chains")
    link_names(Store(tmp_path / "runs"))
    assert not (tmp_path / "runs" / FOLDER).exists()


def test_a_file_system_without_links_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    train(tmp_path / "runs")
    assert not (tmp_path / "runs" / FOLDER).exists()


def test_only_chains_without_a_link_are_read_and_a_second_link_to_one_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "runs")
    before = links(tmp_path / "runs")
    with monkeypatch.context() as patch:
        patch.setattr("bench_core.store.chain_names.read_recipe", None)
        link_names(Store(tmp_path / "runs"))
        assert links(tmp_path / "runs") == before
    (tmp_path / "runs" / FOLDER / "mine").symlink_to(Path("..") / "chains" / before[NAME].name)
    (tmp_path / "runs" / FOLDER / "other").symlink_to(tmp_path)
    link_names(Store(tmp_path / "runs"))
    assert links(tmp_path / "runs") == before
