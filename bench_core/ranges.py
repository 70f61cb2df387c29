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
    """Values that a tuner may try for a parameter; made by `log`, `uniform`, `choice`, `around` or `zero_or`.

    Attributes:
        kind: How values are drawn: evenly in the logarithm, evenly, one of a list, evenly in the logarithm about the
            value that the parameter has, or 0 for a quarter and else from another space.
        values: The two ends, the list, the factor, or the other space.
    """

    kind: Literal["log", "uniform", "choice", "around", "zero_or"]
    values: tuple[Any, ...]

    def at(self, u: float, default: Any) -> Any:
        """Return the value at a point of [0, 1): 0 is the lower end or the first choice.

        Numbers are rounded to three significant digits, and to whole numbers where the parameter is one.

        Args:
            u: At least 0 and below 1.
            default: The value that the parameter has without a tuner.

        Raises:
            ValueError: u is outside.
        """
        if not 0 <= u < 1:
            raise ValueError(f"a point of a search space must be in [0, 1), got {u}")
        if self.kind == "choice":
            return self.values[int(u * len(self.values))]
        if self.kind == "zero_or":
            space: SearchSpace = self.values[0]
            return type(default)(0) if u < _ZERO else space.at((u - _ZERO) / (1 - _ZERO), default)
        low, high = self._ends(default)
        if low == high:  # about zero there is nothing else
            return default
        value = low + u * (high - low) if self.kind == "uniform" else low * (high / low) ** u
        rounded = min(max(float(f"{value:.3g}"), low), high)
        return round(rounded) if isinstance(default, int) else rounded

    def text(self, default: Any) -> str:
        """Return the space in words: "0.05 to 1 (log)", "one of 64, 128", "0, or 1e-06 to 0.01 (log)".

        Args:
            default: The value that the parameter has without a tuner.
        """
        if self.kind == "choice":
            return f"one of {', '.join(repr(list(v) if isinstance(v, tuple) else v) for v in self.values)}"
        if self.kind == "zero_or":
            return f"0, or {self.values[0].text(default)}"
        low, high = self._ends(default)
        if low == high:
            return _number(low)
        return f"{low:.3g} to {high:.3g}" + (" (log)" if self.kind != "uniform" else "")

    def holds(self, value: Any, default: Any) -> bool:
        """Return whether a tuner may come upon a value.

        Args:
            value: The value.
            default: The value that the parameter has without a tuner.
        """
        if self.kind == "choice":
            return value in self.values
        if self.kind == "zero_or":
            return value == 0 or bool(self.values[0].holds(value, default))
        if not isinstance(value, int | float):
            return False
        low, high = self._ends(default)
        return bool(low <= value <= high)

    def _ends(self, default: Any) -> tuple[float, float]:
        if self.kind == "around":
            return default / self.values[0], default * self.values[0]
        return self.values[0], self.values[1]


_ZERO = 0.25  # part of the points of `zero_or` that are 0


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


def around(factor: float) -> SearchSpace:
    """Space of a positive number, from its own value divided by the factor to its own value times the factor.

    The logarithm is drawn evenly.
    """
    if not factor > 1:
        raise ValueError(f"around(factor) needs a factor above 1, got {factor}")
    return SearchSpace("around", (factor,))


def zero_or(space: SearchSpace) -> SearchSpace:
    """Space of a number that is 0 for a quarter of the trials, and else in the given space."""
    if space.kind not in ("log", "uniform"):
        raise ValueError(f"zero_or(space) needs log(...) or uniform(...), got {space.kind}(...)")
    return SearchSpace("zero_or", (space,))
