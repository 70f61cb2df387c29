"""Encoders that start from the weights of another chain or of a file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench_core import Batch, Loss, Objective, Recipe
from bench_core.errors import RequestError
from bench_core.planning.chains import Plan
from bench_core.planning.initial_weights import InitialWeights
from bench_core.plugins import Registry
from bench_core.running.chain import build_objective
from bench_core.running.progress import LogLines
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.chain_files import read_recipe
from tests.chain_forms import rewrite

PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]
CPU = RunSetting(device="cpu")


class Succeeds(Objective):
    """Trains without an error (a toy)."""

    recipe = Recipe(optimizer="sgd", learning_rate=0.01, epochs=1, batch_size=16)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        return Loss(self.encoder(views).square().mean())


class Fails(Succeeds):
    """Raises in training, and counts how often it was tried (a toy)."""

    trained = 0

    def forward(self, views: Any, player: str = "main") -> Loss:
        Fails.trained += 1
        raise ValueError("no luck")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def encoder_weights(store: Store, key: str) -> dict[str, torch.Tensor]:
    weights = load_file(store.chain_folder(key) / "weights.safetensors")
    return {name: value for name, value in weights.items() if name.startswith("encoder.")}


def are_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_a_row_starts_from_another_rows_encoder_at_the_same_seed(
    plan_of: PlanOf, add: Add, store: Store, registry: Registry
) -> None:
    add("objective", "second", registry.get("objective", "shrink").cls)
    untrained = {"second.init": "shrink", "second.recipe.learning_rate": 0}
    plan = plan_of(methods=["second", "shrink"], seeds=[0, 1], settings=untrained)
    assert run_plan(plan, store, CPU) == []
    keys = {(chain.method.name, chain.seed): chain.key for chain in plan.chains}
    for seed in (0, 1):
        assert are_equal(encoder_weights(store, keys["second", seed]), encoder_weights(store, keys["shrink", seed]))
    assert not are_equal(encoder_weights(store, keys["shrink", 0]), encoder_weights(store, keys["shrink", 1]))


def test_a_method_that_copies_its_encoder_copies_the_initial_weights(
    plan_of: PlanOf, add: Add, store: Store, registry: Registry
) -> None:
    from bench_methods.byol import BYOL

    add("objective", "byol", BYOL)
    run_plan(plan_of(), store, CPU)
    (chain,) = plan_of(
        methods=["byol"], settings={"byol.init": str(store.chain_folder(plan_of().chains[0].key))}
    ).chains
    assert isinstance(chain.init, InitialWeights)
    byol = build_objective(chain, chain.init)
    assert isinstance(byol, BYOL)
    target = dict(byol.target.named_parameters())
    for name, value in byol.encoder.named_parameters():
        assert torch.equal(target[f"0.{name}"], value)


def test_the_starting_chain_is_trained_again_even_if_its_cells_are_done(
    plan_of: PlanOf, add: Add, store: Store, registry: Registry
) -> None:
    add("objective", "second", registry.get("objective", "shrink").cls)
    run_plan(plan_of(), store, CPU)
    shutil.rmtree(store.path / "chains")
    assert run_plan(plan_of(methods=["shrink", "second"], settings={"second.init": "shrink"}), store, CPU) == []
    assert len(list((store.path / "chains").glob("*/chain.json"))) == 2


def test_a_sweep_of_init_compares_a_fresh_encoder_with_a_trained_one(
    plan_of: PlanOf, add: Add, registry: Registry
) -> None:
    add("objective", "second", registry.get("objective", "shrink").cls)
    plan = plan_of(methods=["shrink", "second"], sweeps={"second.init": ["none", "shrink"]}, seeds=[0, 1])
    rows = {chain.method.name: chain.document.get("init", {}) for chain in plan.chains}
    assert list(rows) == ["shrink", "second (init=none)", "second (init=shrink)"]
    assert rows["second (init=none)"] == {}
    assert rows["second (init=shrink)"].keys() == {"chain"}
    assert rows["second (init=shrink)"]["chain"].keys() == {"method", "recipe"}  # no seed: seeds make one row
    assert len({chain.key for chain in plan.chains}) == 6


def test_an_encoder_starts_from_a_chains_folder_or_a_file_of_weights(
    plan_of: PlanOf, store: Store, tmp_path: Path
) -> None:
    run_plan(plan_of(), store, CPU)
    key = plan_of().chains[0].key
    folder = store.chain_folder(key)
    bare = tmp_path / "encoder.safetensors"
    save_file({name.removeprefix("encoder."): value for name, value in encoder_weights(store, key).items()}, bare)
    for source in (folder, folder / "weights.safetensors", bare):
        plan = plan_of(settings={"shrink.init": str(source), "shrink.recipe.learning_rate": 0})
        assert run_plan(plan, store, CPU) == []
        assert are_equal(encoder_weights(store, plan.chains[0].key), encoder_weights(store, key))


def test_an_init_that_does_not_exist_is_refused_with_what_to_type(plan_of: PlanOf) -> None:
    with pytest.raises(
        RequestError, match=r"is no row of this request \(it has no other\), no chain's folder .* and no file"
    ):
        plan_of(settings={"shrink.init": "nac"})


def test_a_row_that_starts_from_itself_is_refused(plan_of: PlanOf) -> None:
    with pytest.raises(RequestError, match="init goes in a circle: shrink <- shrink"):
        plan_of(settings={"shrink.init": "shrink"})


def test_weights_of_another_encoder_make_that_chain_fail_and_no_other(
    plan_of: PlanOf, store: Store, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.safetensors"
    save_file({"first.weight": torch.zeros(1)}, wrong)
    (failure,) = run_plan(plan_of(settings={"shrink.init": str(wrong)}), store, CPU)
    assert "does not hold the weights of this encoder" in failure.error


def plan_with_failing_start(
    plan_of: PlanOf, add: Add, methods: list[str], third_starts_from: str
) -> tuple[Plan, type[Fails]]:
    """Return a plan in which `second` starts from the method `fails`, and the class that counts its trainings."""
    Fails.trained = 0
    for name, cls in {"fails": Fails, "second": Succeeds, "third": Succeeds}.items():
        add("objective", name, cls)
    inits = {"second.init": "fails", "third.init": third_starts_from}
    return plan_of(methods=methods, settings={k: v for k, v in inits.items() if k.split(".")[0] in methods}), Fails


def test_a_starting_chain_that_fails_is_tried_once_and_the_chains_after_it_name_it(
    plan_of: PlanOf, add: Add, store: Store
) -> None:
    plan, fails = plan_with_failing_start(plan_of, add, ["fails", "second", "third"], "second")
    failures = run_plan(plan, store, CPU)
    assert fails.trained == 1
    source = "its source chain (fails on blobs with tiny, seed 0) failed: "
    assert [one.error for one in failures] == ["ValueError: no luck", *[f"{source}ValueError: no luck"] * 2]
    assert [one.kind for one in failures] == ["error"] * 3
    assert len(run_plan(plan, store, CPU)) == 3
    assert fails.trained == 2  # the next run tries it again


def test_a_row_before_its_starting_row_tries_it_for_all_others(plan_of: PlanOf, add: Add, store: Store) -> None:
    plan, fails = plan_with_failing_start(plan_of, add, ["third", "fails", "second"], "fails")
    third, start, second = run_plan(plan, store, CPU)
    assert fails.trained == 1
    assert start.error == "ValueError: no luck"
    assert third.error == second.error == f"its source chain (fails on blobs with tiny, seed 0) failed: {start.error}"
    log_tail = json.loads(third.log.read_text())["log_tail"]
    assert log_tail[-1] == start.error  # the log with the traceback belongs to the cell that was tried first


def test_a_folder_of_another_encoder_is_refused_before_anything_runs(plan_of: PlanOf, store: Store) -> None:
    run_plan(plan_of(), store, CPU)
    folder = store.chain_folder(plan_of().chains[0].key)
    document = read_recipe(folder)["doc"]
    document["encoder"]["id"] = "toys/other"
    rewrite(folder, "recipe", doc=document)
    with pytest.raises(RequestError, match="was trained with encoder"):
        plan_of(settings={"shrink.init": str(folder)})


BOARD = """
[datasets.blobs]
[encoders.tiny]
[methods.shrink]
[methods.second]
use = "shrink"
factor = 2.0
init = "shrink"
[tasks.spread]
"""


def test_a_row_of_the_board_that_is_not_requested_is_trained_if_requested_rows_start_from_it(
    plan_of: PlanOf, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "board.toml").write_text(BOARD)
    options = {"board": str(tmp_path / "board.toml"), "seeds": [0]}
    alone, whole = plan_of(**options, methods=["second"]), plan_of(**options, methods=["shrink", "second"])
    assert [chain.method.name for chain in alone.chains] == ["second"]
    assert alone.chains[0].key == whole.chains[1].key
    assert run_plan(alone, store, CPU) == []
    assert len(list((store.path / "chains").glob("*/chain.json"))) == 2
    (record,) = store.records()
    assert record.starts_from == "shrink, 2 epochs"


def test_records_say_that_the_starting_chain_used_labels(
    plan_of: PlanOf, add: Add, store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink = registry.get("objective", "shrink").cls
    labelled = type("Labelled", (shrink,), {"uses_labels": True})
    add("objective", "labelled", labelled)
    plan = plan_of(methods=["labelled", "shrink"], settings={"shrink.init": "labelled"})
    assert run_plan(plan, store, CPU) == []
    assert {record.uses_labels for record in store.records()} == {True}
    folder = store.chain_folder(plan.chains[0].key)
    assert plan_of(settings={"shrink.init": str(folder)}).chains[0].uses_labels
    assert not plan_of().chains[0].uses_labels


def test_init_part_and_init_partial_are_in_the_key_only_if_set(plan_of: PlanOf, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"teacher": {"first.weight": torch.zeros(1)}}, path)
    start = {"shrink.init": str(path)}
    documents = [
        plan_of(settings={**start, **options}).chains[0].document["init"]
        for options in (
            {},
            {"shrink.init_part": "teacher"},
            {"shrink.init_partial": True},
            {"shrink.init_part": "none"},
        )
    ]
    digest = {"sha256": documents[0]["sha256"]}
    assert documents == [digest, {**digest, "part": "teacher"}, {**digest, "partial": True}, digest]


def test_a_torch_file_of_another_tool_is_loaded_and_what_was_left_over_is_shown(
    plan_of: PlanOf, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_plan(plan_of(), store, CPU)
    key = plan_of().chains[0].key
    weights = {name.removeprefix("encoder."): value for name, value in encoder_weights(store, key).items()}
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {**{f"module.{n}": v for n, v in weights.items()}, "fc.weight": torch.zeros(2)}}, path)
    plan = plan_of(settings={"shrink.init": str(path), "shrink.recipe.learning_rate": 0})
    assert run_plan(plan, store, CPU, progress=LogLines()) == []
    assert are_equal(encoder_weights(store, plan.chains[0].key), encoder_weights(store, key))
    shown = capsys.readouterr().err
    assert f"loaded {len(weights)} tensors from other.ckpt under state_dict.module" in shown
    assert "left over in the file: 1 tensor (state_dict.fc.weight)" in shown


@pytest.mark.parametrize(("option", "value"), [("init_part", 3), ("init_part", ""), ("init_partial", "yes")])
def test_wrong_values_of_init_options_are_refused(plan_of: PlanOf, option: str, value: object) -> None:
    with pytest.raises(RequestError, match=f"shrink.{option} must be"):
        plan_of(settings={"shrink.init": "weights.pt", f"shrink.{option}": value})


def test_init_options_without_a_file_are_refused(plan_of: PlanOf, store: Store) -> None:
    with pytest.raises(RequestError, match=r"give a file with --set shrink\.init=FILE"):
        plan_of(settings={"shrink.init_part": "teacher"})
    run_plan(plan_of(), store, CPU)
    folder = str(store.chain_folder(plan_of().chains[0].key))
    with pytest.raises(RequestError, match="whose encoder is loaded whole"):
        plan_of(settings={"shrink.init": folder, "shrink.init_partial": True})


def test_an_unknown_parameter_of_a_method_is_answered_with_what_every_row_takes(plan_of: PlanOf) -> None:
    with pytest.raises(
        RequestError, match=r"did you mean 'init_part'\? .* Also: init, teacher, init_part, init_partial"
    ):
        plan_of(settings={"shrink.init_prt": "teacher"})


def test_a_network_loaded_in_part_is_measured_at_every_seed(
    plan_of: PlanOf, add: Add, store: Store, tmp_path: Path
) -> None:
    from bench_methods.references import FrozenEncoder

    add("objective", "frozen", FrozenEncoder)
    run_plan(plan_of(), store, CPU)
    weights = encoder_weights(store, plan_of().chains[0].key)
    first = next(iter(weights))
    path = tmp_path / "part.safetensors"
    save_file({name: value for name, value in weights.items() if name != first}, path)
    settings = {"frozen.init": str(path), "frozen.init_partial": True}
    plan = plan_of(methods=["frozen"], settings=settings, seeds=[0, 1])
    assert run_plan(plan, store, CPU) == []
    loaded = [encoder_weights(store, chain.key) for chain in plan.chains]
    assert len(loaded) == 2
    assert not torch.equal(loaded[0][first], loaded[1][first])  # from the seed
    assert not any(chain.is_one_network for chain in plan.chains)
