"""Plans: their chains and cells, what is in a key, and which requests are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench_core import DataSpec, Evaluation, Evaluator, Frozen, NoConfig, Objective
from bench_core.data.files import NO_FOLDER
from bench_core.errors import AmbiguousNameError, ConfigError, RequestError, UnknownNameError
from bench_core.planning.boards import load_board
from bench_core.planning.chains import Plan
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import Component, Registry

PlanOf = Callable[..., Plan]


def keys(plan: Plan) -> list[str]:
    return [cell.key for cell in plan.cells]


def test_a_plan_has_a_chain_for_each_seed_and_a_cell_for_each_task(plan_of: PlanOf) -> None:
    plan = plan_of(seeds=[0, 1, 2])
    assert [chain.seed for chain in plan.chains] == [0, 1, 2]
    assert len({chain.key for chain in plan.chains}) == len(set(keys(plan))) == 3
    assert plan.cells[0].names == {"dataset": "blobs", "encoder": "tiny", "method": "shrink", "task": "spread"}


def test_without_a_board_the_seed_is_0(plan_of: PlanOf) -> None:
    assert [chain.seed for chain in plan_of().chains] == [0]


@pytest.mark.parametrize(
    "options",
    [
        {"settings": {"shrink.factor": 2.0}},
        {"settings": {"shrink.recipe.learning_rate": 0.5}},
        {"settings": {"blobs.train_size": 47}},
        {"epochs": 3},
        {"batch_size": 8},
        {"precision": "bf16"},
        {"seeds": [1]},
    ],
)
def test_whatever_defines_a_number_is_in_its_key(plan_of: PlanOf, options: dict[str, Any]) -> None:
    assert keys(plan_of(**options)) != keys(plan_of())


def test_a_default_that_is_given_as_an_option_changes_no_key(plan_of: PlanOf) -> None:
    assert keys(plan_of(settings={"shrink.factor": 1.0}, epochs=2)) == keys(plan_of())


def test_a_higher_revision_changes_the_key(
    plan_of: PlanOf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan_of()
    monkeypatch.setattr(registry.get("evaluator", "spread").cls, "revision", 2)
    after = plan_of()
    assert keys(before) != keys(after)
    assert before.chains[0].embed_key == after.chains[0].embed_key  # a corrected task retrains nothing


def test_tasks_share_a_chain(plan_of: PlanOf, registry: Registry) -> None:
    spread = registry.get("evaluator", "spread")
    registry.components.append(Component("evaluator", "spread2", "toys", "1.0", spread.cls))
    both, one = plan_of(tasks=["spread", "spread2"]), plan_of()
    assert both.chains[0].key == one.chains[0].key
    assert keys(both)[0] == keys(one)[0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"methods": ["shrnk"]}, UnknownNameError, r"no method named 'shrnk'; did you mean 'shrink'\? Known: shrink\."),
        ({"methods": None}, RequestError, r"say which methods: --methods .* Known: shrink\."),
        ({"methods": []}, RequestError, r"--methods is empty"),
        ({"precision": "fp8"}, RequestError, r"precision must be one of auto, fp32, bf16, got 'fp8'"),
        ({"settings": {"shrnk.factor": 1}}, UnknownNameError, r"in this request named 'shrnk'; did you mean 'shrink'"),
        ({"settings": {"shrink.factr": 1}}, ConfigError, r"shrink\.factr does not exist; did you mean 'factor'"),
        ({"settings": {"shrink.factor": "1"}}, ConfigError, r"shrink\.factor must be float, got '1'"),
        ({"settings": {"shrink.factor": -1}}, ConfigError, r"shrink: factor must be >= 0, got -1"),
        ({"settings": {"shrink.recipe.lr": 1}}, ConfigError, r"shrink\.recipe\.lr does not exist"),
        ({"board": "nowhere.toml"}, UnknownNameError, r"no board named 'nowhere\.toml'"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_with_what_would(
    plan_of: PlanOf, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan_of(**options)


def test_a_task_that_cannot_run_on_the_data_is_skipped_with_its_reason(
    plan_of: PlanOf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reason(self: Any, data: DataSpec, objective: type[Objective]) -> str:
        return f"needs more than {data.num_classes} classes"

    monkeypatch.setattr(registry.get("evaluator", "spread").cls, "skip_reason", reason)
    assert plan_of().cells[0].skip == "needs more than 2 classes"


def test_a_setting_of_a_name_in_two_sections_needs_its_section(plan_of: PlanOf, registry: Registry) -> None:
    shrink = registry.get("objective", "shrink")
    registry.components.append(Component("objective", "blobs", "toys", "1.0", shrink.cls))
    with pytest.raises(ConfigError, match=r"write datasets\.blobs\.train_size or methods\.blobs\.train_size"):
        plan_of(methods=["blobs"], settings={"blobs.train_size": 47})
    plan = plan_of(methods=["blobs"], settings={"datasets.blobs.train_size": 47})
    assert plan.chains[0].data.num_train == 47


def test_a_name_of_two_packages_must_be_given_in_full(plan_of: PlanOf, registry: Registry) -> None:
    shrink = registry.get("objective", "shrink")
    registry.components.append(Component("objective", "shrink", "rival", "1.0", shrink.cls))
    with pytest.raises(AmbiguousNameError, match=r"name it in full: rival/shrink, toys/shrink"):
        plan_of()
    assert plan_of(methods=["rival/shrink"]).chains[0].method.plugin.distribution == "rival"


def test_a_board_gives_rows_budget_and_seeds_and_the_request_replaces_them(plan_of: PlanOf, tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(
        "seeds = [3, 4]\n[recipe]\nepochs = 5\n[datasets.blobs]\n[encoders.tiny]\n[methods.shrink]\n"
        '[methods.half]\nuse = "shrink"\nfactor = 0.5\nrecipe.epochs = 7\n[tasks.spread]\n'
    )
    whole_board = {"datasets": None, "encoders": None, "methods": None, "tasks": None}
    plan = plan_of(**whole_board, board=str(path))
    assert [(c.method.name, c.seed, c.recipe.epochs) for c in plan.chains] == [
        ("shrink", 3, 5), ("shrink", 4, 5), ("half", 3, 7), ("half", 4, 7),
    ]  # fmt: skip
    half = plan_of(**{**whole_board, "methods": ["half"]}, board=str(path), seeds=[0], epochs=9)
    assert [(c.method.name, c.seed, c.recipe.epochs, c.method.config.factor) for c in half.chains] == [
        ("half", 0, 9, 0.5)
    ]


def test_the_digits_board_is_the_default_for_its_own_dataset_only(plan_of: PlanOf) -> None:
    assert load_board("digits").recipe["epochs"] != 2
    assert plan_of().chains[0].recipe.epochs == 2  # blobs: the method's own recipe


def test_auto_precision_depends_on_the_device_and_is_replaced_before_the_key_is_made(plan_of: PlanOf) -> None:
    on_cpu, on_cuda = plan_of(device="cpu"), plan_of(device="cuda")
    assert (on_cpu.chains[0].precision, on_cuda.chains[0].precision) == ("fp32", "bf16")
    assert keys(on_cpu) == keys(plan_of(device="cpu", precision="fp32")) != keys(on_cuda)


@pytest.mark.parametrize("seeds", ["0,1", [0.5], [True], [-1], []])
def test_seeds_are_whole_numbers_from_zero(plan_of: PlanOf, seeds: Any) -> None:
    with pytest.raises(RequestError, match="seeds"):
        plan_of(seeds=seeds)


def test_a_board_without_a_section_is_refused_with_what_to_add(plan_of: PlanOf, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[methods.shrink]\n")
    with pytest.raises(RequestError, match=r"board 'x' has no \[encoders\]; add it, or say --encoders"):
        plan_of(board=str(tmp_path / "x.toml"), encoders=None)


def test_the_recipe_of_a_method_with_0_epochs_is_checked_too(
    plan_of: PlanOf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench_core import Recipe

    monkeypatch.setattr(registry.get("objective", "shrink").cls, "recipe", Recipe(epochs=0))
    with pytest.raises(ConfigError, match=r"shrink\.recipe\.bogus does not exist"):
        plan_of(settings={"shrink.recipe.bogus": 1})
    assert keys(plan_of(epochs=7)) == keys(plan_of())  # no budget makes it a trained one


def test_the_full_id_of_a_boards_row_is_that_row(plan_of: PlanOf, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[methods.shrink]\nfactor = 0.5\n")
    board = str(tmp_path / "x.toml")
    assert keys(plan_of(board=board, methods=["toys/shrink"])) == keys(plan_of(board=board))


def test_the_default_boards_dataset_is_not_mixed_with_others(plan_of: PlanOf) -> None:
    with pytest.raises(RequestError, match=r"digits has a board, which fixes its recipes; request it without blobs"):
        plan_of(datasets=["digits", "blobs"])


def test_a_plugin_that_breaks_while_planning_is_named(
    plan_of: PlanOf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(registry.get("objective", "shrink").cls, "skip_reason", broken)
    with pytest.raises(RequestError, match=r"method toys/shrink breaks while planning: ZeroDivisionError: oops"):
        plan_of()


class ReadsFar(Evaluator):
    """Reads the dataset `far` beside the chain's (a toy)."""

    Config = NoConfig

    def __init__(self, config: NoConfig) -> None:
        self.config = config

    def datasets(self, data: DataSpec) -> list[str]:
        return ["far"]

    def evaluate(self, frozen: Frozen) -> Evaluation:
        raise NotImplementedError


def test_a_dataset_that_a_task_reads_is_in_the_key_of_that_cell_only(plan_of: PlanOf, registry: Registry) -> None:
    blobs = registry.get("dataset", "blobs").cls
    registry.components.append(Component("evaluator", "reads_far", "toys", "1.0", ReadsFar))
    far = type("Far", (blobs,), {"digest": lambda self: "far-1"})
    registry.components.append(Component("dataset", "far", "toys", "1.0", far))
    before = plan_of(tasks=["spread", "reads_far"])
    assert before.cells[1].document["others"]["far"] == {
        "id": "toys/far", "revision": 1, "digest": "far-1", "config": {"train_size": 48},
    }  # fmt: skip
    assert len(before.cells[1].other_datasets["far"].load("test")) == 16
    assert "others" not in before.cells[0].document
    far.digest = lambda self: "far-2"  # type: ignore[attr-defined]  # mypy does not know the class that type() made
    after = plan_of(tasks=["spread", "reads_far"])
    assert [a == b for a, b in zip(keys(before), keys(after), strict=True)] == [True, False]
    assert before.chains[0].embed_key == after.chains[0].embed_key


def test_a_spec_has_the_name_of_its_dataset(plan_of: PlanOf, registry: Registry) -> None:
    registry.components.append(Component("evaluator", "reads_far", "toys", "1.0", ReadsFar))
    registry.components.append(Component("dataset", "far", "toys", "1.0", registry.get("dataset", "blobs").cls))
    (chain,) = plan_of(tasks=["reads_far"]).chains
    assert chain.data.name == "blobs"
    assert chain.cells[0].other_datasets["far"].data.name == "far"


def test_a_task_that_reads_an_unknown_dataset_is_refused(plan_of: PlanOf, registry: Registry) -> None:
    registry.components.append(Component("evaluator", "reads_far", "toys", "1.0", ReadsFar))
    with pytest.raises(UnknownNameError, match="no dataset named 'far'"):
        plan_of(tasks=["reads_far"])


def test_chains_know_what_they_start_from_whatever_the_order_of_the_rows(plan_of: PlanOf, registry: Registry) -> None:
    for name in ("second", "third"):
        registry.components.append(Component("objective", name, "toys", "1.0", registry.get("objective", "shrink").cls))
    third, second, first = plan_of(
        methods=["third", "second", "shrink"], settings={"third.init": "second", "second.init": "shrink"}
    ).chains
    assert third.lineage == [first, second, third]
    assert first.lineage == [first]
    assert (first.starts_from, second.starts_from, third.starts_from) == ("", "shrink, 2 epochs", "second, 2 epochs")


def test_rows_that_start_from_each_other_are_refused(plan_of: PlanOf, registry: Registry) -> None:
    for name in ("second", "third"):
        registry.components.append(Component("objective", name, "toys", "1.0", registry.get("objective", "shrink").cls))
    circle = {"shrink.init": "second", "second.init": "third", "third.init": "second"}
    with pytest.raises(RequestError, match="init goes in a circle: second <- third <- second"):
        plan_of(methods=["shrink", "second", "third"], settings=circle)


def test_an_init_that_is_no_row_is_told_the_other_rows(plan_of: PlanOf, registry: Registry) -> None:
    registry.components.append(Component("objective", "second", "toys", "1.0", registry.get("objective", "shrink").cls))
    with pytest.raises(RequestError, match=r"is no row of this request \(second\)"):
        plan_of(methods=["shrink", "second"], settings={"shrink.init": "nowhere"})


@pytest.mark.parametrize(("hook", "option"), [("download", "download"), ("check_files", "check_data")])
def test_data_are_fetched_or_read_again_only_where_that_is_asked_for(
    hook: str, option: str, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = list[str]()
    monkeypatch.setattr(registry.get("dataset", "blobs").cls, hook, lambda self: called.append(hook))
    request = Request(datasets=["blobs"], encoders=["tiny"], methods=["shrink"], tasks=["spread"], data_root=tmp_path)
    make_plan(request, registry)
    assert called == []
    make_plan(request, registry, **{option: True})
    assert called == [hook]


def test_a_data_root_may_be_missing_but_is_no_file(plan_of: PlanOf, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match=r"the data folder '.*file' is no folder"):
        plan_of(data_root=tmp_path / "file")
    assert plan_of(data_root=tmp_path / "missing").chains
    assert plan_of(data_root=NO_FOLDER).chains  # a user without a home runs what reads no file


def test_a_chain_uses_labels_if_its_method_or_one_that_it_starts_from_does(plan_of: PlanOf, registry: Registry) -> None:
    taught = type("Taught", (registry.get("objective", "shrink").cls,), {"uses_labels": True})
    registry.components.append(Component("objective", "taught", "toys", "1.0", taught))
    chains = plan_of(methods=["taught", "shrink"]).chains
    assert [chain.uses_labels for chain in chains] == [True, False]
    started = plan_of(methods=["taught", "shrink"], settings={"shrink.init": "taught"}).chains
    assert [chain.uses_labels for chain in started] == [True, True]
