import sys
import types
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from bench_core.contracts import Objective, Recipe
from bench_core.errors import AmbiguousNameError, PluginLoadError, UnknownNameError
from bench_core.plugins import Registry, load_plugins, recipe_source

GOOD = """
from bench_core import hookimpl, Evaluator, Evaluation, Score
class Zero(Evaluator):
    def __init__(self, config): pass
    def evaluate(self, frozen): return Evaluation(scores=[Score(metric="zero", value=0, n=1)], protocol="none")
@hookimpl
def bench_evaluators(): return {"zero": Zero}
"""
HALF = GOOD.replace("def evaluate", "def evaluat")


class Dist:
    """Stands in for an installed distribution."""

    def __init__(self, name: str | None) -> None:
        self.name, self.version, self.metadata = name, "1.2", {"Name": name}


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., EntryPoint]]:
    """`entry("name", source, "distribution")`: an entry point on a module made here."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def make(name: str, source: str, distribution: str | None = "toys") -> EntryPoint:
        module = f"made_{len(made)}_{name}"
        made.append(module)
        (tmp_path / f"{module}.py").write_text(source)
        point = EntryPoint(name, module, "bench")
        return point._for(Dist(distribution))  # type: ignore[attr-defined, no-any-return]  # how metadata sets `dist`

    yield make
    for module in made:
        sys.modules.pop(module, None)


def test_every_built_in_plugin_loads() -> None:
    registry = load_plugins()
    assert registry.broken == []
    names = {(c.kind, c.name) for c in registry.components if c.distribution == "bench-core"}
    assert {
        ("encoder", "convnet"), ("encoder", "resnet18"), ("encoder", "resnet50"), ("encoder", "vgg16_bn"),
        ("encoder", "alexnet"), ("dataset", "digits"), ("dataset", "mnist"), ("dataset", "fashion_mnist"),
        ("dataset", "cifar10"), ("dataset", "cifar100"), ("dataset", "svhn"), ("dataset", "stl10"),
        ("dataset", "image_folder"), ("dataset", "cifar10_jpeg"), ("objective", "simclr"), ("objective", "nac"),
        ("objective", "sela"), ("objective", "random"), ("objective", "supervised"), ("objective", "pixels"),
        ("evaluator", "linear"), ("evaluator", "knn"), ("evaluator", "retrieval"),
    } <= names  # fmt: skip


def test_a_component_knows_who_ships_it(entry: Callable[..., EntryPoint]) -> None:
    (component,) = load_plugins(entries=[entry("zero", GOOD, "Bench_Toys")]).components
    assert (component.id, component.version, component.kind) == ("bench-toys/zero", "1.2", "evaluator")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        (GOOD.replace("def bench_evaluators", "def bench_evaluator"), "did you mean 'bench_evaluators'"),
        (GOOD.replace("bench_evaluators()", "bench_evaluators(config=1)"), "bench_evaluators takes no arguments"),
        (GOOD.replace('"zero": Zero', '"Zero": Zero'), "'Zero' must be lower-case letters"),
        (GOOD.replace('"zero": Zero', '"zero": 3'), "must be a subclass of bench_core.Evaluator, got 3"),
        (GOOD.replace("bench_evaluators", "bench_encoders"), "must be a subclass of bench_core.Encoder"),
        (GOOD.replace('return {"zero": Zero}', "raise ValueError('half-way')"), "ValueError: half-way"),
        (GOOD.replace("@hookimpl", ""), "no function is marked @hookimpl"),
        (HALF, "'zero': Zero lacks evaluate"),
    ],
)
def test_a_broken_plugin_says_why_leaves_nothing_and_stops_nobody(
    entry: Callable[..., EntryPoint], source: str, reason: str
) -> None:
    registry = load_plugins(entries=[entry("a_broken", source), entry("zero", GOOD, "good")])
    assert [c.id for c in registry.components] == ["good/zero"]
    (broken,) = registry.broken
    assert broken.entry == "a_broken"
    assert reason in broken.reason


def test_a_plugin_that_takes_a_taken_name_of_its_own_distribution_is_broken(entry: Callable[..., EntryPoint]) -> None:
    registry = load_plugins(entries=[entry("a", GOOD), entry("b", GOOD)])
    assert len(registry.components) == 1
    assert "task toys/zero is taken" in registry.broken[0].reason


def test_two_owners_are_an_error_of_that_name_alone_and_order_does_not_decide(entry: Callable[..., EntryPoint]) -> None:
    entries = [entry("zero", GOOD, "b"), entry("zero", GOOD, "a")]
    for order in (entries, entries[::-1]):
        registry = load_plugins(entries=order)
        with pytest.raises(AmbiguousNameError, match="a/zero, b/zero"):
            registry.get("evaluator", "zero")
        assert registry.get("evaluator", "a/zero").distribution == "a"


def test_asking_for_what_a_broken_plugin_owns_says_why_it_is_not_there(entry: Callable[..., EntryPoint]) -> None:
    registry = load_plugins(entries=[entry("ijepa", "import timmm")])
    with pytest.raises(PluginLoadError, match=r"plugin 'ijepa' of toys did not load: .*timmm.*bench list --broken"):
        registry.get("objective", "ijepa")


def test_an_unknown_name_lists_what_there_is(entry: Callable[..., EntryPoint]) -> None:
    with pytest.raises(UnknownNameError, match=r"no task named 'zer'; did you mean 'zero'\? Known: zero\."):
        load_plugins(entries=[entry("zero", GOOD)]).get("evaluator", "zer")


def test_plugins_are_left_out_by_entry_or_distribution(
    entry: Callable[..., EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [entry("zero", GOOD, "a"), entry("other", GOOD, "b")]
    assert [c.id for c in load_plugins(block=["zero"], entries=entries).components] == ["b/zero"]
    assert [c.id for c in load_plugins(only=["a"], entries=entries).components] == ["a/zero"]
    monkeypatch.setenv("BENCH_DISABLE_PLUGINS", "b, zero")
    assert load_plugins(entries=entries).components == []
    monkeypatch.delenv("BENCH_DISABLE_PLUGINS")
    monkeypatch.setenv("BENCH_PLUGINS", "other")
    assert [c.id for c in load_plugins(entries=entries).components] == ["b/zero"]


def test_a_distribution_without_metadata_stops_nobody(entry: Callable[..., EntryPoint]) -> None:
    registry = load_plugins(entries=[entry("zero", GOOD, None), entry("zero", GOOD, "good")])
    assert {c.id for c in registry.components} == {"unknown/zero", "good/zero"}


def test_a_package_may_be_named_in_any_spelling(entry: Callable[..., EntryPoint]) -> None:
    entries = [entry("zero", GOOD, "Bench_Toys.two"), entry("other", GOOD, "b")]
    for spelling in ("bench-toys-two", "Bench_Toys.two", "BENCH--toys__two"):
        assert [c.id for c in load_plugins(block=[spelling], entries=entries).components] == ["b/zero"]
        registry = load_plugins(only=[spelling], entries=entries)
        assert registry.get("evaluator", f"{spelling}/zero").id == "bench-toys-two/zero"


def test_a_broken_plugin_is_told_of_where_its_package_is_named_in_another_spelling(
    entry: Callable[..., EntryPoint],
) -> None:
    registry = load_plugins(entries=[entry("ijepa", "import timmm", "Bench_Toys")])
    with pytest.raises(PluginLoadError, match="plugin 'ijepa' of bench-toys did not load"):
        registry.get("objective", "Bench_Toys/something")


@pytest.mark.parametrize("value", ["the same", "another module"])
def test_an_entry_point_that_is_announced_twice_is_loaded_once(entry: Callable[..., EntryPoint], value: str) -> None:
    first = entry("zero", GOOD)
    second = first if value == "the same" else entry("zero", GOOD.replace('{"zero"', '{"one"'))
    registry = load_plugins(entries=[first, second])
    assert registry.broken == []
    assert {c.name for c in registry.components} == ({"zero"} if value == "the same" else {"zero", "one"})


def test_a_module_that_two_packages_announce_belongs_to_the_first(entry: Callable[..., EntryPoint]) -> None:
    new = entry("zero", GOOD, "new-name")
    old = EntryPoint("zero", new.value, "bench")._for(Dist("old-name"))  # type: ignore[attr-defined]
    registry = load_plugins(entries=[old, new])
    assert [c.id for c in registry.components] == ["new-name/zero"]
    (broken,) = registry.broken
    assert (broken.distribution, broken.reason) == (
        "old-name", "its module is loaded already, for plugin 'zero' of new-name",
    )  # fmt: skip


class Damaged(Dist):
    """A distribution whose METADATA is not UTF-8."""

    @property
    def name(self) -> str:
        raise UnicodeDecodeError("utf-8", b"\xfc", 0, 1, "invalid start byte")

    @name.setter
    def name(self, value: str) -> None: ...


def test_a_package_whose_metadata_is_damaged_or_lacks_a_version_stops_nobody(entry: Callable[..., EntryPoint]) -> None:
    damaged = entry("zero", GOOD)._for(Damaged("toys"))  # type: ignore[attr-defined]
    unversioned = Dist("bare")
    unversioned.version = None  # type: ignore[assignment]
    bare = entry("zero", GOOD)._for(unversioned)  # type: ignore[attr-defined]
    components = load_plugins(entries=[damaged, bare, entry("zero", GOOD, "good")]).components
    assert {(c.id, c.version) for c in components} == {("unknown/zero", "0"), ("bare/zero", "0"), ("good/zero", "1.2")}


CHANGES = "import torch\ntorch.set_default_dtype(torch.float64)\ntorch.manual_seed(0)\n"


def test_a_plugin_that_changes_the_default_dtype_is_broken_each_time_and_stops_nobody(
    entry: Callable[..., EntryPoint],
) -> None:
    entries = [entry("a_changes", CHANGES + GOOD), entry("zero", GOOD, "good")]
    state = torch.get_rng_state()
    for _ in range(2):  # the second time its module is not imported any more
        registry = load_plugins(entries=entries)
        assert [c.id for c in registry.components] == ["good/zero"]
        assert registry.broken[0].reason == (
            "it changes torch's default dtype to torch.float64 when it is imported, and all others would compute with "
            "that; set it only where it is needed"
        )
        assert torch.get_default_dtype() == torch.float32
        assert torch.equal(torch.get_rng_state(), state)


def test_what_a_hook_or_a_broken_import_changes_is_put_back(entry: Callable[..., EntryPoint]) -> None:
    in_hook = GOOD.replace("def bench_evaluators():", "def bench_evaluators():\n    torch.set_grad_enabled(False);")
    entries = [entry("a", f"import torch\n{in_hook}", "a"), entry("b", f"{CHANGES}1 / 0", "b")]
    reasons = [broken.reason for broken in load_plugins(entries=entries).broken]
    assert "it changes torch's gradient mode to False" in reasons[0]
    assert reasons[1] == "ZeroDivisionError: division by zero"
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_ctrl_c_during_an_import_is_the_users_and_not_the_plugins(entry: Callable[..., EntryPoint]) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_plugins(entries=[entry("a", "raise KeyboardInterrupt")])


def test_each_call_gives_a_registry_of_its_own() -> None:
    first, second = load_plugins(only=[]), load_plugins(only=[])
    first.components.append(types.SimpleNamespace())  # type: ignore[arg-type]  # any object will do
    assert second == Registry()


def test_a_name_that_no_plugin_has_is_refused_wherever_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownNameError, match="no plugin or package of plugins named 'nacc'; did you mean 'nac'"):
        load_plugins(block=["nacc"])
    with pytest.raises(UnknownNameError, match="named 'knnn'"):
        load_plugins(only=["knnn"])
    for variable in ("BENCH_DISABLE_PLUGINS", "BENCH_PLUGINS"):
        with monkeypatch.context() as patch:
            patch.setenv(variable, "nac,typo")
            with pytest.raises(UnknownNameError, match=rf"named 'typo'.* It stands in {variable}\."):
                load_plugins()


def test_the_source_of_a_recipe_belongs_to_the_class_that_sets_the_recipe() -> None:
    class Bare(Objective):
        pass

    class Unsourced(Objective):
        recipe = Recipe(epochs=3)

    class Sourced(Unsourced):
        recipe_source = "paper, Sec. 1"

    assert recipe_source(Bare) == Objective.recipe_source
    assert recipe_source(Unsourced) is None
    assert recipe_source(Sourced) == "paper, Sec. 1"
