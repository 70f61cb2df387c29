"""Batches that are too small for a method are refused before anything runs, by every engine."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from bench_core import Batch, DataSpec, Encoder, Loss, NoConfig, Objective, Recipe, Split
from bench_core.cli.group import main
from bench_core.engines.processes import run_in_processes
from bench_core.errors import RequestError
from bench_core.planning.chains import Plan
from bench_core.plugins import Registry
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.running.small_batches import refuse_small_batches
from bench_core.store import Store

PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]
CPU = RunSetting(device="cpu")


class Normed(Objective):
    """Has a batch norm before its loss (ours)."""

    recipe = Recipe(epochs=1, batch_size=1)

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig) -> None:
        super().__init__(encoder, data, config)
        self.norm = nn.BatchNorm1d(encoder.dim)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the inputs."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a loss of normalised features."""
        return Loss((self.norm(self.encoder(views)) - 1).square().mean())


class Broken(Normed):
    """Fails at every batch size (ours)."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Fail."""
        raise ValueError("this method is broken")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


@pytest.fixture
def normed_plan(plan_of: PlanOf, add: Add) -> PlanOf:
    add("objective", "normed", Normed)
    return lambda **request: plan_of(methods=["normed", "shrink"], **request)


def test_method_is_refused_by_name_and_told_a_size_that_works(normed_plan: PlanOf, store: Store) -> None:
    words = (
        r"^normed cannot train on batches of 1 item \(normed: ValueError: Expected more than 1 value per channel when "
        r"training, got input size torch\.Size\(\[1, 12\]\)\); type --batch-size 2 or more, or leave out normed\.$"
    )
    with pytest.raises(RequestError, match=words):
        run_plan(normed_plan(batch_size=1), store, CPU)
    assert not store.path.exists()


def test_engine_of_processes_refuses_before_it_starts_one(normed_plan: PlanOf, store: Store) -> None:
    setting = RunSetting(device="cpu", jobs=2)
    with pytest.raises(RequestError, match="normed cannot train on batches of 1 item"):
        run_in_processes(normed_plan(batch_size=1), store, setting, ["a-command-that-does-not-exist"])


def test_size_that_a_method_can_train_on_is_not_refused(normed_plan: PlanOf, store: Store) -> None:
    assert run_plan(normed_plan(batch_size=2), store, CPU) == []


def test_trial_changes_no_number(normed_plan: PlanOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = [Store(tmp_path / name) for name in ("with", "without")]
    state = torch.get_rng_state()
    run_plan(normed_plan(batch_size=2), stores[0], CPU)
    assert torch.equal(state, torch.get_rng_state())
    monkeypatch.setattr("bench_core.running.runner.refuse_small_batches", lambda chains: list(chains))
    monkeypatch.setattr("bench_core.running.chain.refuse_wrong_features", lambda *_: None)
    run_plan(normed_plan(batch_size=2), stores[1], CPU)
    with_trial, without = (
        [
            (store.chain_folder(chain.key) / "weights.safetensors").read_bytes()
            for chain in normed_plan(batch_size=2).chains
        ]
        for store in stores
    )
    assert with_trial == without


def test_train_split_of_one_item_is_named_as_the_cause(normed_plan: PlanOf, store: Store) -> None:
    plan = normed_plan(batch_size=16, settings={"blobs.train_size": 1})
    words = r"batches of 1 item \(.*\); the train split of blobs has no more; train on 2 items or more"
    with pytest.raises(RequestError, match=words):
        run_plan(plan, store, CPU)


def test_only_methods_that_will_be_trained_are_tried(
    normed_plan: PlanOf, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def step_fault(build: Any, recipe: Recipe, data: DataSpec, batch_size: int) -> None:
        tried.append(batch_size)

    monkeypatch.setattr("bench_core.running.small_batches.step_fault", step_fault)
    refuse_small_batches(normed_plan().chains[1:])  # batches of 16
    refuse_small_batches(normed_plan(batch_size=1, epochs=0).chains)
    assert tried == []
    refuse_small_batches(normed_plan(batch_size=3, seeds=[0, 1, 2]).chains)
    assert tried == [3, 3]  # each method once, whatever its seeds
    run_plan(normed_plan(batch_size=3), store, CPU)
    assert len(tried) == 4
    run_plan(normed_plan(batch_size=3), store, CPU)
    assert len(tried) == 4


def test_method_that_fails_at_every_size_is_left_to_its_training(plan_of: PlanOf, add: Add, store: Store) -> None:
    add("objective", "broken", Broken)
    (failure,) = run_plan(plan_of(methods=["broken"]), store, CPU)
    assert failure.error == "ValueError: this method is broken"


def test_encoder_of_another_width_fails_before_its_first_step(
    plan_of: PlanOf, add: Add, store: Store, registry: Registry
) -> None:
    tiny = registry.get("encoder", "tiny").cls

    class Narrow(tiny):  # type: ignore[misc, valid-type]  # a base that is known at run time
        """Declares 12 features and returns 3 (ours)."""

        def forward(self, inputs: Any) -> Any:
            """Leave features out."""
            return super().forward(inputs)[:, :3]

    add("encoder", "narrow", Narrow)
    (failure,) = run_plan(plan_of(encoders=["narrow"]), store, CPU)
    assert "CheckError: encoder narrow: features have shape (2, 3), expected (2, 12): its dim is 12." in failure.error


def test_labels_outside_the_classes_end_the_run_before_anything_is_trained(
    plan_of: PlanOf, store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs: Any = registry.get("dataset", "blobs").cls
    load = blobs.load
    monkeypatch.setattr(blobs, "load", lambda self, name: Split(load(self, name).inputs, load(self, name).labels * 2))
    with pytest.raises(
        RequestError, match=r"dataset blobs, split 'train': item 1 has the label 2, but spec\(\) declares"
    ):
        run_plan(plan_of(), store, CPU)
    assert not store.path.exists()


def test_command_that_asks_for_batches_of_one_names_all_methods_that_cannot(tmp_path: Path) -> None:
    arguments = ["run", "--methods", "byol,nac,simclr", "--tasks", "knn", "--batch-size", "1", "--quiet"]
    refused = CliRunner().invoke(main, [*arguments, "--store", str(tmp_path / "runs"), "--device", "cpu"])
    assert refused.exit_code == 2
    assert refused.output.startswith(
        "Error: byol, simclr cannot train on batches of 1 item (byol: ValueError: Expected"
    )
    assert "; type --batch-size 2 or more, or leave out byol, simclr." in refused.output
    assert not (tmp_path / "runs").exists()
