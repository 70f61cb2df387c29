"""Values that a parameter may take: the range that is checked, and the search space that a tuner may draw from."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Choices(Collection[Any]):
    """Choices that may be written in more ways than can be listed, such as a name with an ending.

    Attributes:
        listed: The choices that are listed wherever the parameter is shown.
        why_not: Function that says why a value is no choice: None if it is one, "" if the list says enough.
    """

    listed: tuple[Any, ...]
    why_not: Callable[[object], str | None]

    def __contains__(self, value: object) -> bool:
        """Return whether a value is a choice, listed or not."""
        return value in self.listed or self.why_not(value) is None

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the choices that are listed."""
        return iter(self.listed)

    def __len__(self) -> int:
        """Return the number of choices that are listed."""
        return len(self.listed)


@dataclass(frozen=True, kw_only=True)
class Range:
    """Bounds or choices of one parameter; of a tuple each element must be in range, and None always is.

    Attributes:
        gt: The value must be greater than this.
        ge: The value must be this or greater.
        lt: The value must be less than this.
        le: The value must be this or less.
        choices: The value must be one of these.
    """

    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    choices: Collection[Any] | None = None

    def __post_init__(self) -> None:
        """Refuse two lower or two upper bounds, and bounds beside choices."""
        if self.gt is not None and self.ge is not None:
            raise ValueError(f"give gt or ge, not both: {self.gt} and {self.ge}")
        if self.lt is not None and self.le is not None:
            raise ValueError(f"give lt or le, not both: {self.lt} and {self.le}")
        if self.choices is not None and self.has_bounds:
            raise ValueError("give bounds or choices, not both")
        if isinstance(self.choices, str):  # of which each part would be a choice
            raise ValueError(f"choices must be a tuple, like ({self.choices!r},), got {self.choices!r}")

    def __str__(self) -> str:
        """Text that completes "must be ...": `>= 1`, `in [0, 1)`, `one of 'a', 'b'`; empty where there is no range."""
        if self.choices is not None:
            return f"one of {', '.join(map(repr, self.choices))}"
        low, high = self._low(), self._high()
        if low and high:
            opening, closing = "[" if self.ge is not None else "(", "]" if self.le is not None else ")"
            return f"in {opening}{_number(low[1])}, {_number(high[1])}{closing}"
        bound = low or high
        return f"{bound[0]} {_number(bound[1])}" if bound else ""

    @property
    def has_bounds(self) -> bool:
        """True if values are compared with a bound, so that they must be numbers."""
        return bool(self._low() or self._high())

    def holds(self, value: Any) -> bool:
        """Say whether a value, or each element of a tuple, is in range; NaN is in no range with bounds."""
        if value is None:
            return True
        if isinstance(value, tuple):
            return all(map(self.holds, value))
        if self.choices is not None:
            return value in self.choices
        return (
            (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )

    def why_not(self, value: Any) -> str:
        """Return more about a value that is out of range, ": it has no crop", where the choices say more."""
        more = self.choices.why_not(value) if isinstance(self.choices, Choices) else None
        return f": {more}" if more else ""

    def _low(self) -> tuple[str, float] | None:
        if self.gt is not None:
            return ">", self.gt
        return (">=", self.ge) if self.ge is not None else None

    def _high(self) -> tuple[str, float] | None:
        if self.lt is not None:
            return "<", self.lt
        return ("<=", self.le) if self.le is not None else None


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


@dataclass(frozen=True)
class SearchSpace:
    """Values that a tuner may try for a parameter; made by `log`, `uniform` or `choice`.

    Attributes:
        kind: How values are drawn: evenly in the logarithm, evenly, or one of a list.
        values: The two ends, or the list.
    """

    kind: Literal["log", "uniform", "choice"]
    values: tuple[Any, ...]


def log(low: float, high: float) -> SearchSpace:
    """Space of a positive number whose logarithm is drawn evenly: `log(1e-4, 1e-1)` for a learning rate."""
    if not 0 < low < high:
        raise ValueError(f"log(low, high) needs 0 < low < high, got {low} and {high}")
    return SearchSpace("log", (low, high))


def uniform(low: float, high: float) -> SearchSpace:
    """Space of a number that is drawn evenly between two ends."""
    if not low < high:
        raise ValueError(f"uniform(low, high) needs low < high, got {low} and {high}")
    return SearchSpace("uniform", (low, high))


def choice(*values: Any) -> SearchSpace:
    """Space of a parameter that takes one of the given values: `choice(64, 128, 256)`."""
    if len(values) < 2:
        raise ValueError(f"choice(...) needs two values or more, got {len(values)}")
    return SearchSpace("choice", values)
