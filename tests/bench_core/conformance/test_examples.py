"""Components are tried on made data of the kinds that they read, or on their own example."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from bench_core import Batch, DataSpec, Encoder, Evaluator, Example, Loss, NoConfig, Objective, Split
from bench_core.conformance import check_component
from bench_core.conformance.capable import CapableOfImages, CapableOfPairs, CapableOfVectors
from bench_core.conformance.comparing import same
from bench_core.conformance.examples import build_method, examples_of, inputs_of, shortened
from bench_core.conformance.tiny_encoders import TINY_ENCODERS, TinyGraphEncoder, TinyVectorEncoder
from bench_core.conformance.toys import TinyEncoder, Untrained
from bench_core.contracts import CrossModal, Generative, LatentVariable, Sampling
from bench_core.data import Nodes
from bench_core.data.split_faults import split_fault
from bench_core.errors import CheckError
from bench_core.plugins import Component, Registry

ALL_KINDS = ["image", "vector", "nodes", "graphs", "pairs"]
NONE = Registry([])


class Method(Objective):
    """Trains nothing, on the kinds of data in `reads` (a toy)."""

    reads: Any = tuple(ALL_KINDS)

    def make_views(self, batch: Batch, rng: torch.Generator) -> Any:
        """Return the inputs."""
        return batch.inputs

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return a loss of 0."""
        return Loss(torch.zeros(()))

    @classmethod
    def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
        """Skip other kinds."""
        return None if data.kind in cls.reads else f"needs {cls.reads}"


class Task(Evaluator):
    """Measures nothing, of the methods that have a capability (a toy)."""

    needs: Any = Objective

    def __init__(self, config: NoConfig) -> None: ...

    def evaluate(self, frozen: Any) -> Any: ...

    def skip_reason(self, data: DataSpec, objective: type[Objective]) -> str | None:
        """Skip methods that lack the capability."""
        return None if issubclass(objective, self.needs) else "needs more"


def examples(kind: str, cls: Any, registry: Registry = NONE) -> list[Example]:
    return examples_of(Component(kind, "toy", "toys", "1.0", cls), registry)


def kinds(found: list[Example]) -> list[str]:
    return [example.data.kind for example in found]


def test_a_component_is_tried_on_every_kind_that_it_does_not_skip() -> None:
    assert kinds(examples("objective", Method)) == ALL_KINDS
    assert kinds(examples("objective", type("M", (Method,), {"reads": ("graphs", "vector")}))) == ["vector", "graphs"]
    assert kinds(examples("evaluator", Task)) == ALL_KINDS
    assert kinds(examples("encoder", TinyGraphEncoder)) == ["graphs", "nodes"]


def test_one_that_says_nothing_of_kinds_is_tried_on_images() -> None:
    assert kinds(examples("objective", Untrained)) == ["image"]
    assert kinds(examples("encoder", TinyEncoder)) == ["image"]


def test_made_data_have_no_fault_and_nodes_of_all_splits_lie_in_one_graph() -> None:
    for example in examples("objective", Method):
        assert example.encoder is TINY_ENCODERS[example.data.kind]
        for name, split in example.splits.items():
            assert split_fault(split, example.data, name) is None
            assert split.factors is not None
        if example.data.kind == "nodes":
            parts: list[Any] = [split.inputs for split in example.splits.values()]
            assert all(isinstance(part, Nodes) and part.adjacency is parts[0].adjacency for part in parts)
            assert torch.cat([part.index for part in parts]).tolist() == list(range(len(parts[0].features)))


def test_of_one_kind_the_first_data_are_tried_that_are_not_skipped() -> None:
    class Whole(Method):
        """Reads sets of graphs without a test part."""

        @classmethod
        def skip_reason(cls, data: DataSpec, config: NoConfig) -> str | None:
            return None if data.kind == "graphs" and "test" not in data.splits else "has a test part"

    (example,) = examples("objective", Whole)
    assert example.data.transductive
    assert list(example.splits) == ["train"]


def test_one_that_skips_everything_was_not_tried() -> None:
    sound = type("M", (Method,), {"reads": ("sound",)})
    with pytest.raises(CheckError, match=r"nothing was tried, .*image: needs \('sound',\); vector: .*an example\(\)"):
        examples("objective", sound)
    hears = type("E", (TinyVectorEncoder,), {"kinds": frozenset({"sound"})})
    with pytest.raises(CheckError, match=r"it reads sound, which cannot be made here\); give it an example\(\)"):
        examples("encoder", hears)


def test_a_method_that_refuses_the_tiny_encoder_is_tried_with_a_registered_one() -> None:
    class Wide(TinyVectorEncoder):
        """Another encoder of vectors."""

    class Picky(Method):
        """Reads vectors with Wide."""

        @classmethod
        def skip_reason(
            cls, data: DataSpec, config: NoConfig, *, encoder_class: Any = None, encoder_config: Any = None
        ) -> str | None:
            assert isinstance(encoder_config, encoder_class.Config)
            return None if encoder_class is Wide else "needs the encoder wide"

    registry = Registry([Component("encoder", "wide", "toys", "1.0", Wide)])
    (example,) = examples("objective", Picky, registry)
    assert (example.data.kind, example.encoder) == ("vector", Wide)
    with pytest.raises(CheckError, match="vector: needs the encoder wide"):
        examples("objective", Picky)


@pytest.mark.parametrize(
    ("needs", "method", "read"),
    [
        (Objective, Untrained, ALL_KINDS),
        (Generative, CapableOfImages, ["image"]),
        (LatentVariable, CapableOfImages, ["image"]),
        (CrossModal, CapableOfPairs, ["pairs"]),
    ],
)
def test_a_task_measures_a_method_that_can_do_what_it_needs(needs: type, method: type, read: list[str]) -> None:
    found = examples("evaluator", type("T", (Task,), {"needs": needs}))
    assert kinds(found) == read
    assert {example.method for example in found} == {method}


def test_a_task_that_needs_samples_is_tried_on_images_and_on_vectors() -> None:
    found = examples("evaluator", type("T", (Task,), {"needs": Sampling}))
    assert [(example.data.kind, example.method) for example in found] == [
        ("image", CapableOfImages),
        ("vector", CapableOfVectors),
    ]


class Sounds:
    """Items of a kind of its own: `count` rows of three values."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def select(self, index: Tensor) -> "Sounds":
        return Sounds(self.values[index])

    def to(self, device: Any) -> "Sounds":
        return self


class Ear(TinyVectorEncoder):
    """Encoder of sounds."""

    kinds = frozenset({"sound"})

    def maps(self, inputs: Any) -> dict[str, Tensor]:
        return super().maps(inputs.values)


def of_sounds(train: int = 20, items: int = 20, **fields: Any) -> Example:
    data = DataSpec(shape=(3,), splits={"train": train}, kind="sound")
    rows = torch.rand(items, 3, generator=torch.Generator().manual_seed(0))
    return Example(data=data, splits={"train": Split(Sounds(rows))}, **fields)


def test_an_example_takes_the_place_of_made_data() -> None:
    own = type("M", (Method,), {"example": classmethod(lambda cls: of_sounds(encoder=Ear))})
    (example,) = examples("objective", own)
    assert (example.data.kind, example.encoder) == ("sound", Ear)
    short = shortened(example, 6)
    assert (short.data.num_train, len(short.splits["train"])) == (6, 6)
    assert torch.equal(inputs_of(example, (2, 0)).values, inputs_of(short, range(3)).values[[2, 0]])
    (of_encoder,) = examples("encoder", type("E", (Ear,), {"example": classmethod(lambda cls: of_sounds())}))
    assert issubclass(of_encoder.encoder, Ear)  # type: ignore[arg-type]  # it is there


@pytest.mark.parametrize(
    ("example", "words"),
    [
        (None, "example() must return an Example, got NoneType"),
        (of_sounds(train=21, encoder=Ear), "example(), split 'train': it has 20 items, but spec() declares 21"),
        (of_sounds(train=7, items=7, encoder=Ear), "must have a split 'train' of at least 8 items"),
        (of_sounds(), "example() must name an encoder, because there is none of 'sound' here"),
    ],
)
def test_a_faulty_example_is_told(example: Any, words: str) -> None:
    with pytest.raises(CheckError) as caught:
        examples("objective", type("M", (Method,), {"example": classmethod(lambda cls: example)}))
    assert words in str(caught.value)


def test_a_method_gets_an_untrained_teacher_and_new_encoders_if_it_names_them() -> None:
    class Pupil(Method):
        """Keeps what it is given."""

        def __init__(self, encoder: Encoder, data: DataSpec, config: Any, *, teacher: Any, new_encoder: Any) -> None:
            super().__init__(encoder, data, config)
            self.given: Any = [teacher, new_encoder]

    example = examples("objective", Pupil)[0]
    state = torch.get_rng_state()
    first, second = (cast(Pupil, build_method(Pupil, example, seed=3)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    teacher, new_encoder = first.given
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert same(teacher.state_dict(), second.given[0].state_dict())
    assert same(dict(first.state_dict()), dict(build_method(Method, example, seed=3).state_dict()))
    other = new_encoder(DataSpec(shape=(5, 32, 32), splits={"train": 1}))
    assert isinstance(other, TinyEncoder)
    assert other(torch.rand(2, 5, 32, 32)).shape == (2, other.dim)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_values_of_every_kind_are_compared_by_value(kind: str) -> None:
    example = examples("objective", type("M", (Method,), {"reads": (kind,)}))[0]
    one, again, other = (inputs_of(example, index) for index in ((0, 1), (0, 1), (1, 2)))
    assert same({"a": [one]}, {"a": [again]})
    assert not same({"a": [one]}, {"a": [other]})
    assert not same((one,), (None,))


@pytest.mark.parametrize("cls", dict.fromkeys(TINY_ENCODERS.values()))
def test_tiny_encoders_pass_their_checks(cls: type[Encoder]) -> None:
    outcomes = list(check_component(Component("encoder", "tiny", "toys", "1.0", cls), NONE))
    assert [outcome.error for outcome in outcomes if outcome.error] == []


class Hum(Method):
    """Shrinks the features of sounds (ours)."""

    def forward(self, views: Any, player: str = "main") -> Loss:
        """Return the mean square of the features."""
        return Loss(self.encoder(views).square().mean())

    @classmethod
    def example(cls) -> Example:
        """Return 20 sounds."""
        return of_sounds(encoder=Ear)


def test_a_method_of_its_own_kind_of_data_is_checked_on_its_example() -> None:
    outcomes = list(check_component(Component("objective", "hum", "toys", "1.0", Hum), NONE))
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert sum("(on sound)" in outcome.check for outcome in outcomes) == 5
