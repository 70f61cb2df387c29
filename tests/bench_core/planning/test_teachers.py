"""Teachers: a row of the request, a chain's folder or a file, trained before, in the key, with its own encoder."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, Loss, NoConfig, Objective, Recipe
from bench_core.errors import RequestError, StoreError
from bench_core.planning.chains import Chain, Plan, narrowed
from bench_core.planning.teachers import TeacherWeights
from bench_core.plugins import Registry
from bench_core.running.pending import to_train
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.running.verify import plan_again, verify
from bench_core.store import Store
from bench_core.store.chain_files import read_summary
from bench_core.store.tensors import save_tensors

PlanOf = Callable[..., Plan]
Add = Callable[[str, str, type], None]
CPU = RunSetting(device="cpu", command="test")


class Learner(Objective):
    """Method that makes its features those of its teacher, by their mean (ours)."""

    recipe = Recipe(optimizer="sgd", learning_rate=0.1, epochs=2, batch_size=16)

    def __init__(self, encoder: Encoder, data: DataSpec, config: NoConfig, *, teacher: Objective) -> None:
        super().__init__(encoder, data, config)
        self.hidden = (teacher,)  # a tuple, so that it is no part of this module
        SEEN.append(teacher)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        return batch.inputs

    def forward(self, views: Tensor, player: str = "main") -> Loss:
        with torch.no_grad():
            goal = self.hidden[0].embed(views)["features"].mean(1)
        return Loss((self.encoder(views).mean(1) - goal).square().mean())


class Curious(Learner):
    """Method that can do without a teacher (ours)."""

    def __init__(  # a teacher with a default is not needed
        self, encoder: Encoder, data: DataSpec, config: NoConfig, *, teacher: Objective | None = None
    ) -> None:
        Objective.__init__(self, encoder, data, config)
        self.hidden = (teacher or self,)


SEEN: list[Objective] = []  # the teachers that were given


@pytest.fixture(autouse=True)
def learner(add: Add, registry: Registry) -> None:
    class Labelled(registry.get("objective", "shrink").cls):  # type: ignore[misc]  # a class that is known at run time
        uses_labels = True

    SEEN.clear()
    add("objective", "learner", Learner)
    add("objective", "curious", Curious)
    add("objective", "labelled", Labelled)


def taught(plan_of: PlanOf, teacher: str = "shrink", **request: Any) -> Plan:
    settings = {"learner.teacher": teacher, **request.pop("settings", {})}
    return plan_of(**{"methods": [teacher, "learner"], **request}, settings=settings)


def test_a_row_is_trained_before_and_given_whole_frozen_and_in_eval_mode(plan_of: PlanOf, tmp_path: Path) -> None:
    plan = taught(plan_of, methods=["learner", "shrink"])
    [learner, shrink] = plan.chains
    assert learner.teacher == shrink
    assert [link.key for link in learner.lineage] == [shrink.key, learner.key]
    store = Store(tmp_path / "runs")
    assert run_plan(plan, store, CPU) == []
    weights = load_file(store.chain_folder(shrink.key) / "weights.safetensors")
    teacher = SEEN[0]
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert all(torch.equal(weights[name], value) for name, value in teacher.state_dict().items())
    own = load_file(store.chain_folder(learner.key) / "weights.safetensors")
    assert {name.split(".")[0] for name in own} == {"encoder"}  # the teacher is not saved with it
    [facts] = [record.stored["facts"] for record in store.records() if record.names["method"] == "learner"]
    assert facts["taught_by"] == "shrink with tiny, 2 epochs"


def test_the_teacher_is_in_the_key(plan_of: PlanOf) -> None:
    def key(**options: Any) -> str:
        return taught(plan_of, **options).chains[-1].key

    assert key() != key(settings={"shrink.factor": 2.0})
    assert key() != key(settings={"shrink.recipe.learning_rate": 0.5})
    without = plan_of(methods=["curious"]).chains[0].key
    assert without != plan_of(methods=["curious", "shrink"], settings={"curious.teacher": "shrink"}).chains[0].key


def test_labels_of_the_teacher_are_carried_over(plan_of: PlanOf) -> None:
    assert not taught(plan_of).chains[-1].uses_labels
    assert taught(plan_of, "labelled").chains[-1].uses_labels


@pytest.mark.parametrize(
    ("methods", "settings", "message"),
    [
        (["shrink"], {"shrink.teacher": "elsewhere"}, "shrink takes no teacher"),
        (["learner", "shrink"], {"learner.teacher": "nowhere"}, r"is no row of this request \(shrink\)"),
        (["learner"], {"learner.teacher": 3}, "learner.teacher must be a row's name"),
        (
            ["learner", "curious"],
            {"learner.teacher": "curious", "curious.init": "learner"},
            "init and teacher go in a circle: learner <- curious <- learner",
        ),
    ],
)
def test_a_wrong_teacher_is_refused_before_anything_is_trained(
    plan_of: PlanOf, methods: list[str], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        plan_of(methods=methods, settings=settings)


def test_a_method_that_needs_a_teacher_is_skipped_without_one(plan_of: PlanOf) -> None:
    plan = plan_of(methods=["learner", "curious"])
    assert [cell.skip for cell in plan.cells] == [
        "needs a teacher: --set learner.teacher=ROW, such as supervised, or a chain's folder",
        None,
    ]


def test_a_teacher_that_cannot_read_the_data_skips_its_row(plan_of: PlanOf, add: Add, registry: Registry) -> None:
    class Never(registry.get("objective", "shrink").cls):  # type: ignore[misc]  # a class that is known at run time
        @classmethod
        def skip_reason(cls, data: DataSpec, config: Any) -> str | None:
            return "needs sound"

    add("objective", "never", Never)
    plan = taught(plan_of, "never")
    assert [cell.skip for cell in plan.cells] == ["needs sound", "learns from never: needs sound"]


@pytest.fixture
def trained(plan_of: PlanOf, tmp_path: Path) -> Path:
    """Folder of a trained chain of shrink."""
    plan = plan_of()
    store = Store(tmp_path / "before")
    assert run_plan(plan, store, CPU) == []
    return store.chain_folder(plan.chains[0].key)


def test_a_chains_folder_is_rebuilt_and_gives_the_same_student_as_the_row(
    plan_of: PlanOf, trained: Path, tmp_path: Path
) -> None:
    plan = plan_of(methods=["learner"], settings={"learner.teacher": str(trained)})
    [chain] = plan.chains
    assert isinstance(chain.teacher, TeacherWeights)
    assert chain.key == taught(plan_of).chains[-1].key
    assert run_plan(plan, Store(tmp_path / "a"), CPU) == []
    assert run_plan(taught(plan_of), Store(tmp_path / "b"), CPU) == []
    first, second = (load_file(Store(tmp_path / name).chain_folder(chain.key) / "weights.safetensors") for name in "ab")
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_folder_of_other_data_or_code_is_refused(
    plan_of: PlanOf, trained: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"learner.teacher": str(trained)}
    with pytest.raises(RequestError, match="was trained on toys/blobs of other content or parameters"):
        plan_of(methods=["learner"], settings={**settings, "blobs.train_size": 32})
    monkeypatch.setattr(registry.get("objective", "shrink").cls, "revision", 2)
    with pytest.raises(RequestError, match="revision 1 of toys/shrink, which is now 2; train it again"):
        plan_of(methods=["learner"], settings=settings)


def test_a_file_of_weights_needs_its_encoder(plan_of: PlanOf, trained: Path, tmp_path: Path) -> None:
    settings = {"learner.teacher": str(trained / "weights.safetensors")}
    with pytest.raises(RequestError, match=r"add --set learner\.teacher_encoder=NAME"):
        plan_of(methods=["learner"], settings=settings)
    plan = plan_of(methods=["learner"], settings={**settings, "learner.teacher_encoder": "tiny"})
    assert run_plan(plan, Store(tmp_path / "runs"), CPU) == []
    expected = load_file(trained / "weights.safetensors")
    assert all(torch.equal(expected[name], value) for name, value in SEEN[0].state_dict().items())


def test_a_file_that_holds_no_weights_or_others_is_refused(plan_of: PlanOf, tmp_path: Path) -> None:
    text, other = tmp_path / "a.txt", tmp_path / "other.safetensors"
    text.write_text("no weights")
    save_tensors(other, {"layer": torch.zeros(2)})
    settings = {"learner.teacher_encoder": "tiny"}
    with pytest.raises(RequestError, match="it is no safetensors file"):
        plan_of(methods=["learner"], settings={**settings, "learner.teacher": str(text)})
    plan = plan_of(methods=["learner"], settings={**settings, "learner.teacher": str(other)})
    [unfinished] = run_plan(plan, Store(tmp_path / "runs"), CPU)
    assert StoreError.__name__ in unfinished.error
    assert "does not hold the weights of this encoder" in unfinished.error


def test_a_record_with_a_teacher_comes_back_exactly(plan_of: PlanOf, registry: Registry, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    assert run_plan(taught(plan_of), store, CPU) == []
    [record] = [record for record in store.records() if record.names["method"] == "learner"]
    plan = plan_again(record, registry, tmp_path)
    assert isinstance(plan.chains[0].teacher, Chain)
    assert verify(plan, record, "cpu").largest == 0


def test_a_method_that_names_it_gets_the_class_of_its_teacher(plan_of: PlanOf, add: Add, registry: Registry) -> None:
    class Picky(Curious):
        @classmethod
        def skip_reason(
            cls, data: DataSpec, config: Any, *, teacher_class: type[Objective] | None = None
        ) -> str | None:
            return None if teacher_class is None else f"dislikes {teacher_class.__name__}"

    add("objective", "picky", Picky)
    plan = plan_of(methods=["picky", "shrink"], sweeps={"picky.teacher": ["none", "shrink"]})
    assert [cell.skip for cell in plan.cells] == [None, "dislikes Shrink", None]


def test_a_chain_needs_what_it_starts_from_until_it_is_trained_and_its_teacher_always(
    plan_of: PlanOf, tmp_path: Path
) -> None:
    settings = {"learner.teacher": "shrink", "learner.init": "labelled", "labelled.init": "curious"}
    plan = plan_of(methods=["learner", "shrink", "labelled", "curious"], settings=settings)
    learner, shrink, labelled, curious = plan.chains
    store = Store(tmp_path / "runs")

    def needed() -> list[str]:
        return [link.method.name for link in to_train(learner, store)]

    assert needed() == ["curious", "labelled", "shrink", "learner"]
    assert run_plan(narrowed(plan, lambda chain, cell: chain in (shrink, labelled)), store, CPU) == []
    shutil.rmtree(store.chain_folder(curious.key))  # labelled is trained, so nothing needs it any more
    assert needed() == ["learner"]
    assert run_plan(narrowed(plan, lambda chain, cell: chain is learner), store, CPU) == []
    sources = read_summary(store.chain_folder(learner.key))["provenance"]["start_sources"]
    assert len(sources) == len(learner.lineage) - 1
    for chain in (shrink, labelled):
        shutil.rmtree(store.chain_folder(chain.key))
    assert needed() == ["shrink"]
