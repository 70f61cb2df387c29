"""Example: data on which a plugin asks to be checked, where made data would not fit it."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench_core.contracts.dataset import DataSpec, Split
from bench_core.contracts.encoder import Encoder
from bench_core.contracts.objective import Objective


@dataclass(frozen=True, kw_only=True)
class Example:
    """Small data that `bench check` tries a plugin on, in place of data that it makes.

    An encoder, method or task returns one from a class method `example()`:

        @classmethod
        def example(cls) -> Example:
            data = DataSpec(shape=(), splits={"train": 40, "test": 40}, kind="sound")
            return Example(data=data, splits={name: Split(Sounds(40)) for name in data.splits}, encoder=TinySounds)

    Attributes:
        data: Description of the data.
        splits: The splits by name. `train` has at least 8 items.
        encoder: Encoder that a method is built with, or a task's method; its default parameters are used. None takes
            a small one of the harness, which there is for image, vector, nodes, graphs and pairs. Encoders leave it.
        method: For tasks, a method that the task can measure. None takes one that trains nothing.
    """

    data: DataSpec
    splits: Mapping[str, Split]
    encoder: type[Encoder] | None = None
    method: type[Objective] | None = None
