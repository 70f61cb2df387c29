"""Names of chains: what they are made of, and what finds a chain."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench_core.errors import RequestError
from bench_core.keys import key_of
from bench_core.store import Store
from bench_core.store.chain_names import chain_folders, chain_names, find_chain


def add_chain(store: Store, *, seed: int = 0, flip: float = 0.2, under_way: bool = False, **names: str) -> str:
    part = {"revision": 1, "config": {}}
    document = {
        "protocol": 1,
        "dataset": {"id": "bench-core/digits", "digest": "d", **part},
        "encoder": {"id": "bench-core/convnet", **part},
        "method": {"id": "bench-core/nac", **part, "config": {"flip": flip}},
        "recipe": {"epochs": 1},
        "precision": "fp32",
        "seed": seed,
    }
    recipe: dict[str, Any] = {"doc": document}
    if names:
        recipe["names"] = {"dataset": "digits", "encoder": "convnet", "method": "nac", **names}
    key = key_of(document)
    folder = store.path / "chains" / (f"{key}.under-way" if under_way else key)
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    return key


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "runs")
    store.create()
    return store


def test_a_name_is_dataset_encoder_method_fold_and_seed(store: Store) -> None:
    plain, fold, own = (
        add_chain(store),
        add_chain(store, seed=1, fold="3 of 10"),
        add_chain(store, seed=2, own_encoder="mlp"),
    )
    assert chain_names(store) == {
        plain: "digits/convnet/nac/seed-0",
        fold: "digits/convnet/nac/fold-3/seed-1",
        own: "digits/mlp/nac/seed-2",
    }


def test_a_chain_is_found_by_name_key_beginning_of_it_or_folder(store: Store) -> None:
    key = add_chain(store)
    add_chain(store, seed=1)
    folder = store.chain_folder(key)
    for text in ("digits/convnet/nac/seed-0", "nac/seed-0", key, key[:8], str(folder), f"{folder}/"):
        assert find_chain(store, text).resolve() == folder.resolve()


def test_chains_of_one_name_get_digits_and_an_ambiguous_name_lists_what_differs(store: Store) -> None:
    keys = [add_chain(store, flip=0.2), add_chain(store, flip=0.3)]
    assert set(chain_names(store).values()) == {f"digits/convnet/nac/seed-0~{key[:8]}" for key in keys}
    with pytest.raises(RequestError, match=r"fits 2 chains.*method\.config\.flip = 0\.2"):
        find_chain(store, "digits/convnet/nac/seed-0")
    assert find_chain(store, f"digits/convnet/nac/seed-0~{keys[1][:8]}") == store.chain_folder(keys[1])


def test_an_unknown_name_ends_with_the_most_similar_one(store: Store) -> None:
    add_chain(store)
    with pytest.raises(RequestError, match="did you mean 'digits/convnet/nac/seed-0'"):
        find_chain(store, "digits/convnet/nac/seed-00")
    with pytest.raises(RequestError, match="has no chain"):
        find_chain(store, "abc")


def test_a_damaged_folder_has_no_name_and_is_found_by_key(store: Store) -> None:
    damaged, whole = add_chain(store), add_chain(store, seed=1)
    (store.chain_folder(damaged) / "recipe.json").write_text("{")
    assert set(chain_names(store)) == {whole}
    assert find_chain(store, damaged) == store.chain_folder(damaged)


def test_a_chain_under_way_is_found_only_if_asked_for(store: Store) -> None:
    key = add_chain(store, under_way=True)
    assert chain_names(store) == {}
    assert chain_names(store, under_way=True) == {key: "digits/convnet/nac/seed-0"}
    assert find_chain(store, key[:8], under_way=True).name == f"{key}.under-way"
    shutil.copytree(find_chain(store, key, under_way=True), store.chain_folder(key))
    assert chain_folders(store, under_way=True) == {key: store.chain_folder(key)}


def test_no_name_leads_out_of_a_folder(store: Store) -> None:
    key = add_chain(store, dataset="..", method="nac[init=/etc/x]")
    assert chain_names(store)[key] == "-/convnet/nac[init=-etc-x]/seed-0"


def test_a_store_without_chains_has_no_names(store: Store) -> None:
    assert chain_names(store) == {}
