"""Check of the search spaces that a method's parameters have for `bench tune`."""

import dataclasses
import re
from typing import Any

from bench_core.config import build, plain
from bench_core.conformance.toys import require

MOST = 4  # parameters of one method, so that no method gains by a larger space
POINTS = (0.0, 0.25, 0.5, 0.999)
# What a row is, or how large: a board decides it, for all rows alike.
_OF_THE_BOARD = re.compile(
    r"(.*_)?(dim|dims|units|width|widths|depth|layers|heads|clusters|prototypes|epochs|batch_size|queue|queue_size|"
    r"augmentation|encoder|teacher|labelled|seed)"
)


def check_search_spaces(cls: Any) -> None:
    """At most four parameters have a search space, of valid values and of no sizes."""
    fields = {field.name: field for field in dataclasses.fields(cls.Config) if field.metadata.get("tune") is not None}
    require(len(fields) <= MOST, f"{len(fields)} parameters have tune=..., more than {MOST}: {', '.join(fields)}")
    default = cls.Config()
    for name, field in fields.items():
        require(
            _OF_THE_BOARD.fullmatch(name) is None,
            f"parameter {name} is the same for all rows of a board and never tuned; leave out its tune=...",
        )
        require(
            field.metadata.get("in_key", True), f"parameter {name} is not part of a key, so its trials would be one"
        )
    own = {name: getattr(default, name) for name in fields}
    for u in POINTS:
        drawn = {name: fields[name].metadata["tune"].at(u, own[name]) for name in fields}
        for values in ({}, *({name: value} for name, value in drawn.items()), drawn):
            plain(build(cls.Config, values, f"a value at {u} of a search space: {cls.Config.__name__}", base=default))
