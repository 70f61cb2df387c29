"""Rows of networks that were trained elsewhere: their names, keys and seeds."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bench_core import Config, DataSpec, Encoder, OutsideWeights, param
from bench_core.errors import RequestError
from bench_core.files import file_digest
from bench_core.planning.chains import Plan
from bench_core.reports.tables.entries import entries_of
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store

PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]
CPU = RunSetting(device="cpu")


@dataclass(frozen=True, kw_only=True)
class BroughtConfig(Config):
    """Parameters of the toy."""

    path: str = param("", "file of the weights", "a toy", in_key=False)


class Brought(Encoder):
    """Scales pixels by a number from a file (a toy)."""

    Config = BroughtConfig

    def __init__(self, data: DataSpec, config: BroughtConfig) -> None:
        super().__init__(data, config)
        self.dim = 4
        scale = float(Path(config.path).read_text()) if config.path else 1.0
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)[:, :4] * self.get_buffer("scale")

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"pixels": inputs}

    @classmethod
    def outside_weights(cls, config: BroughtConfig) -> OutsideWeights | None:
        if not config.path:
            return None
        if not Path(config.path).is_file():
            raise RequestError(f"brought.path = {config.path!r} is no file")
        return OutsideWeights(
            name=f"scaler:{Path(config.path).stem}", digest=file_digest(Path(config.path)), trained_on="guesses"
        )


@pytest.fixture(autouse=True)
def brought(add: Add) -> None:
    from bench_methods.references import FrozenEncoder

    add("objective", "frozen", FrozenEncoder)
    add("encoder", "brought", Brought)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for seed in range(3):
        (tmp_path / f"run-{seed}.txt").write_text(str(seed + 1))
    return tmp_path


def frozen(plan_of: PlanOf, path: object, **request: Any) -> Plan:
    settings = {"brought.path": str(path)} if path else {}
    return plan_of(methods=["frozen"], encoders=["brought"], settings=settings, **request)


def test_a_file_is_one_row_at_one_seed_named_after_its_network(plan_of: PlanOf, weights: Path, tmp_path: Path) -> None:
    plan = frozen(plan_of, weights / "run-0.txt", seeds=[4, 5, 6])
    (chain,) = plan.chains
    assert (chain.seed, chain.row_name, chain.is_one_network) == (4, "scaler:run-0", True)
    assert chain.document["encoder"]["weights"] == {"sha256": file_digest(weights / "run-0.txt")}
    store = Store(tmp_path / "runs")
    assert run_plan(plan, store, CPU) == []
    (record,) = store.records()
    assert record.names["method"] == "scaler:run-0"
    assert record.names["encoder"] == "brought"
    facts = record.stored["facts"]
    assert facts["outside"]["one_network"]
    assert facts["outside"]["trained_on"] == "guesses"
    assert facts["starts_from"] == "scaler:run-0"


def test_the_key_follows_the_content_and_not_the_path(plan_of: PlanOf, weights: Path) -> None:
    (weights / "moved.txt").write_text((weights / "run-1.txt").read_text())
    keys = [frozen(plan_of, weights / name).chains[0].key for name in ("run-0.txt", "run-1.txt", "moved.txt")]
    assert keys[0] != keys[1] == keys[2]


def test_a_path_with_seed_makes_the_files_the_seeds_of_one_row(plan_of: PlanOf, weights: Path, tmp_path: Path) -> None:
    plan = frozen(plan_of, weights / "run-{seed}.txt", seeds=[0, 1, 2])
    assert [chain.seed for chain in plan.chains] == [0, 1, 2]
    assert not any(chain.is_one_network for chain in plan.chains)
    store = Store(tmp_path / "runs")
    assert run_plan(plan, store, CPU) == []
    entries = entries_of(store.records())
    assert {entry.names["method"] for entry in entries} == {"scaler:run-{seed}"}
    assert {entry.names["encoder"] for entry in entries} == {"brought"}
    assert len({record.scores["spread"].value for record in store.records()}) == 3


def test_a_missing_file_of_one_seed_is_refused(plan_of: PlanOf, weights: Path) -> None:
    with pytest.raises(RequestError, match=r"run-3\.txt"):
        frozen(plan_of, weights / "run-{seed}.txt", seeds=[2, 3])


def test_an_encoder_without_weights_is_skipped_with_what_to_type(plan_of: PlanOf) -> None:
    (chain,) = frozen(plan_of, None).chains
    assert chain.cells[0].skip is not None
    assert "--set frozen.init=FILE" in chain.cells[0].skip


def test_weights_of_a_file_can_be_measured_in_an_encoder_of_ours(plan_of: PlanOf, tmp_path: Path) -> None:
    save_file({"scale": torch.tensor(3.0)}, tmp_path / "mine.safetensors")
    settings = {"frozen.init": str(tmp_path / "mine.safetensors")}
    plan = plan_of(methods=["frozen"], encoders=["brought"], settings=settings, seeds=[0, 1])
    (chain,) = plan.chains
    assert chain.row_name == "mine.safetensors"
    assert chain.is_one_network
    assert "weights" not in chain.document["encoder"]


def test_files_of_init_are_the_seeds_of_one_row(plan_of: PlanOf, tmp_path: Path) -> None:
    for seed in range(2):
        save_file({"scale": torch.tensor(3.0 + seed)}, tmp_path / f"mine-{seed}.safetensors")
    settings = {"frozen.init": str(tmp_path / "mine-{seed}.safetensors")}
    plan = plan_of(methods=["frozen"], encoders=["brought"], settings=settings, seeds=[0, 1])
    assert [(chain.seed, chain.row_name) for chain in plan.chains] == [
        (0, "mine-{seed}.safetensors"), (1, "mine-{seed}.safetensors"),
    ]  # fmt: skip
    store = Store(tmp_path / "runs")
    assert run_plan(plan, store, CPU) == []
    assert {entry.names["method"] for entry in entries_of(store.records())} == {"mine-{seed}.safetensors"}


def test_a_trained_row_starts_from_the_weights_that_its_encoder_brings(plan_of: PlanOf, weights: Path) -> None:
    settings = {"brought.path": str(weights / "run-0.txt")}
    plan = plan_of(methods=["shrink"], encoders=["brought"], settings=settings, seeds=[0, 1])
    assert [chain.seed for chain in plan.chains] == [0, 1]  # trainings differ, so both are needed
    assert {(chain.row_name, chain.starts_from) for chain in plan.chains} == {("shrink", "scaler:run-0")}
