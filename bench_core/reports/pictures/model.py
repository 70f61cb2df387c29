"""What a picture is drawn from: curves and grids of images in records, a part for each row of a board."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, Any]  # of a curve: key -> numbers, x first; of a grid of images: {"png": base64}


@dataclass(frozen=True)
class Part:
    """One curve, or one grid of images, of one row.

    Attributes:
        method: The row.
        name: Of the curve or grid in its records.
        values: What is drawn.
        seeds: Over which it is a mean; one where it is that seed's.
    """

    method: str
    name: str
    values: Values
    seeds: tuple[int, ...]

    def figures(self) -> list[Any]:
        """All that is drawn, numbers to 9 figures, for the fingerprint."""
        shown = {key: values if isinstance(values, str) else list(map(_figure, values)) for key, values in self.axes}
        return [self.method, self.name, list(self.seeds), list(shown.items())]

    @property
    def axes(self) -> list[tuple[str, Any]]:
        """Keys with their values, x first."""
        return list(self.values.items())


@dataclass(frozen=True)
class Found:
    """The parts of one picture: of one task, on one data set, with one encoder."""

    dataset: str
    encoder: str
    task: str
    parts: tuple[Part, ...]

    @property
    def methods(self) -> list[str]:
        """Rows, in order."""
        return list(dict.fromkeys(part.method for part in self.parts))

    @property
    def names(self) -> list[str]:
        """Of curves or grids, in order."""
        return list(dict.fromkeys(part.name for part in self.parts))

    def seeds(self) -> str:
        """Which seeds are shown, for people."""
        shown = {part.seeds for part in self.parts}
        if all(len(seeds) == 1 for seeds in shown):
            return f"seed {next(iter(shown))[0]}" if len(shown) == 1 else "the first seed of each row"
        counts = sorted({len(seeds) for seeds in shown})
        return f"means over {counts[0]} seeds" if len(counts) == 1 else f"means over {counts[0]} to {counts[-1]} seeds"


def _figure(value: Any) -> Any:
    return f"{value:.9g}" if isinstance(value, int | float) else value
