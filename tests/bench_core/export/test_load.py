"""`load_encoder`: by name, key, folder and record; frozen; the features are those that the run embedded."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import bench_core
from bench_core.data.kinds import as_float
from bench_core.errors import RequestError, StoreError
from bench_core.plugins import load_plugins
from bench_core.store import Store
from bench_core.store.chain_files import read_recipe, read_summary
from bench_core.store.chain_names import find_chain
from bench_core.store.tensors import load_tensors
from tests.chain_forms import make_older


def test_an_encoder_is_loaded_by_name_key_folder_and_record(trained_store: Path) -> None:
    store = Store(trained_store)
    folder = find_chain(store, "nac/seed-1")
    images = torch.rand(3, 1, 8, 8)
    wanted = bench_core.load_encoder("digits/convnet/nac/seed-1", store=trained_store)(images)
    record = next(record for record in store.records() if record.seed == 1)
    for source in (folder.name[:12], folder, record, record.key, store.record_file(record.key)):
        assert torch.equal(bench_core.load_encoder(source, store=trained_store)(images), wanted)
    other = bench_core.load_encoder("nac/seed-0", store=trained_store)(images)
    assert not torch.equal(other, wanted)


def test_it_is_frozen(trained_store: Path) -> None:
    state = torch.get_rng_state()
    encoder = bench_core.load_encoder("nac/seed-0", store=trained_store)
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_its_weights_are_those_that_were_trained(trained_store: Path) -> None:
    folder = find_chain(Store(trained_store), "nac/seed-0")
    digest = read_summary(folder)["weights_sha256"]
    tensors = load_tensors(folder / "weights.safetensors", digest)
    for name, tensor in bench_core.load_encoder(folder).state_dict().items():
        assert torch.equal(tensor, tensors[f"encoder.{name}"])


def test_a_record_without_weights_says_what_is_missing(trained_store: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_store / "cells", tmp_path / "runs" / "cells")
    shutil.copy(trained_store / "bench-store.json", tmp_path / "runs")
    record = Store(trained_store).records()[0]
    with pytest.raises(RequestError, match="holds no weights of record"):
        bench_core.load_encoder(record, store=tmp_path / "runs")


def test_damaged_weights_are_refused(trained_store: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(find_chain(Store(trained_store), "nac/seed-0"), tmp_path / "chain")
    (folder / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(StoreError, match="missing or damaged"):
        bench_core.load_encoder(folder)


def test_a_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RequestError, match="no encoder that bench can build"):
        bench_core.load_encoder(tmp_path)


def test_it_sees_images_as_the_run_did(trained_store: Path) -> None:
    folder = find_chain(Store(trained_store), "nac/seed-0")
    [embedded] = (folder / "embeddings").glob("*/test.safetensors")
    digest = json.loads((embedded.parent / "done.json").read_text())["digests"]["test"]
    features = load_tensors(embedded, digest)["features"]
    digits = load_plugins().get("dataset", "digits")
    split = digits.cls(folder, digits.cls.Config(train_size=200)).load("test")
    assert isinstance(split.inputs, torch.Tensor)
    mine = bench_core.load_encoder(folder)(as_float(split.inputs))
    torch.testing.assert_close(mine, features, rtol=1e-4, atol=1e-5)


def test_a_chain_needs_no_dataset(trained_store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = find_chain(Store(trained_store), "nac/seed-0")
    recipe = read_recipe(folder)
    assert recipe["data"]["shape"] == [1, 8, 8]
    old = make_older(shutil.copytree(folder, tmp_path / "old"))  # as chains were before their recipes had this
    (old / "recipe.json").write_text(json.dumps({"doc": recipe["doc"]}))
    images = torch.rand(2, 1, 8, 8)
    wanted = bench_core.load_encoder(old)(images)

    def refuse(*args: object) -> None:
        raise AssertionError("the dataset was asked")

    monkeypatch.setattr(load_plugins().get("dataset", "digits").cls, "spec", refuse)
    assert torch.equal(bench_core.load_encoder(folder)(images), wanted)
