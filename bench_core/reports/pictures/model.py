"""Classes that all pictures share: their series of numbers or images, the interface of a kind, and `PlotRequest`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from bench_core.errors import RequestError
from bench_core.planning.boards import Board, Picture
from bench_core.reports.tables.entries import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench_core.store import Store

Data = TypeVar("Data")
Columns = Mapping[str, Any]  # of a curve: key -> numbers, x first; of a grid of images: {"png": base64 text}


class NothingToDrawError(RequestError):
    """No record holds what a picture would show.

    The message says what to run.
    """


class SeveralTablesError(RequestError):
    """A picture shows one dataset with one encoder, and the records hold what it would show of more."""

    def __init__(self, picture: str) -> None:
        """Name the picture.

        Args:
            picture: Name of the picture.
        """
        super().__init__(f"picture {picture!r}: a picture shows one dataset with one encoder.")


@dataclass(frozen=True)
class Series:
    """One curve, or one grid of images, of one row.

    Attributes:
        method: The name of the row.
        name: The name of the curve or grid in the row's records.
        columns: The values. For a curve, key -> numbers, where the first key is x; for a grid, {"png": base64 text}.
        seeds: The seeds whose mean the values are, or the one seed that they are from.
        fractions: Keys of the columns that are drawn as per cent, as tables show them.
        points: Names of the points, where they have names.
    """

    method: str
    name: str
    columns: Columns
    seeds: tuple[int, ...]
    fractions: frozenset[str] = frozenset()
    points: tuple[str, ...] = ()

    @property
    def x_key(self) -> str:
        """Key of the first column, which holds x."""
        return next(iter(self.columns))

    @property
    def y_keys(self) -> list[str]:
        """Keys of the other columns."""
        return list(self.columns)[1:]

    def shown_values(self, key: str) -> list[float]:
        """Return a column as it is drawn: fractions in per cent."""
        return [100 * value if key in self.fractions else value for value in self.columns[key]]

    def fingerprint_values(self) -> list[Any]:
        """Return all that is drawn, as JSON values; numbers as text with 9 significant digits."""
        columns = [
            (key, values if isinstance(values, str) else [_nine_digits(value) for value in values])
            for key, values in self.columns.items()
        ]
        return [self.method, self.name, list(self.seeds), columns]


@dataclass(frozen=True)
class PictureData:
    """The series of one picture, all of one task on one dataset with one encoder."""

    dataset: str
    encoder: str
    task: str
    series: tuple[Series, ...]

    @property
    def methods(self) -> list[str]:
        """Names of the rows, in order."""
        return list(dict.fromkeys(series.method for series in self.series))

    @property
    def names(self) -> list[str]:
        """Names of the curves or grids, in order."""
        return list(dict.fromkeys(series.name for series in self.series))

    @property
    def title(self) -> str:
        """The title, unless the board gives one."""
        return f"{self.task} on {self.dataset}, {self.encoder}"

    @property
    def seeds_text(self) -> str:
        """The seeds that are shown, in words; rows with fewer seeds than others are named."""
        seeds_of_series = {series.seeds for series in self.series}
        if all(len(seeds) == 1 for seeds in seeds_of_series):
            if len(seeds_of_series) > 1:
                return "the first seed of each row"
            ((seed,),) = seeds_of_series
            return f"seed {seed}"
        most = max(map(len, seeds_of_series))
        fewer = {series.method: len(series.seeds) for series in self.series if len(series.seeds) < most}
        exceptions = [f"of {method} over {count}" for method, count in fewer.items()]
        return ", ".join([f"means over {most} seeds", *exceptions])


@dataclass(frozen=True, kw_only=True)
class PlotRequest:
    """Options of `bench plot`.

    Attributes:
        kind: The only kind to draw; "" for all that the records hold.
        methods: The rows to draw; empty for all.
        x: TASK:METRIC on the x axis of a trade-off.
        y: TASK:METRIC on its y axis.
    """

    kind: str = ""
    methods: tuple[str, ...] = ()
    x: str = ""
    y: str = ""

    def __post_init__(self) -> None:
        """Check that the options fit together."""
        if (self.x or self.y) and self.kind not in ("", "tradeoff"):
            raise RequestError(f"--x and --y are of the kind tradeoff, not of {self.kind}.")
        if bool(self.x) != bool(self.y):
            raise RequestError("a trade-off needs both --x TASK:METRIC and --y TASK:METRIC.")


class PictureKind(ABC, Generic[Data]):
    """One kind of picture, for example `projection`.

    A new kind is a subclass in a new file, and a line in `bench_core.reports.pictures.kinds`. `draw` calls `read` and
    passes the result to `fingerprint_values` and `paint`. `bench plot` first calls `possible_pictures`.

    Attributes:
        name: What a board's `kind = ...` and `--kind` call it.
        noun: Its data in words, for messages: "a projection".
        hint: How to get its data, for messages: "`bench run --tasks projection` makes one".
        published: Whether boards may have such pictures. They are drawn from records alone, and their files carry
            a fingerprint.
        of_board: Whether it shows a board and not its cells: one picture for all datasets and encoders, from no record.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    hint: ClassVar[str]
    published: ClassVar[bool] = True
    of_board: ClassVar[bool] = False

    def for_board(self, board: Board) -> Self:
        """Return the kind as it reads this board: most kinds read entries alone."""
        return self

    def check(self, picture: Picture) -> None:
        """Check a board's picture before anything is run or drawn.

        Raises:
            RequestError: An option of the picture does not fit this kind.
        """
        if picture.x or picture.y or picture.connect:
            raise RequestError(
                f"picture {picture.name!r}: x, y and connect are of the kind tradeoff, not of {self.name}."
            )

    @abstractmethod
    def possible_pictures(self, entries: Sequence[Entry], request: PlotRequest) -> Iterator[Picture]:
        """Yield the pictures of this kind that `bench plot` can draw from entries of one dataset and encoder."""

    @abstractmethod
    def read(self, entries: Sequence[Entry], picture: Picture, store: "Store | None") -> Data:
        """Read what the picture shows, rows in the order of the entries.

        Args:
            entries: Cells of a store or of a board; those that are done are read.
            picture: The options of the picture.
            store: The store of the entries; None where only published records are there.

        Raises:
            NothingToDrawError: The records do not hold what shall be drawn; says what to run.
            RequestError: The options of the picture do not fit the records.
        """

    @abstractmethod
    def shown(self, data: Data) -> list[tuple[str, str]]:
        """Return the row and the task of all that is drawn; the task is "" where no task measured it."""

    @abstractmethod
    def fingerprint_values(self, data: Data) -> list[Any]:
        """Return all numbers and names that are drawn, as JSON values; two equal pictures give equal values."""

    @abstractmethod
    def paint(self, figure: "Figure", data: Data, picture: Picture) -> None:
        """Draw the data onto an empty figure."""

    def notes(self, data: Data) -> list[str]:
        """Return what the picture lacks, for the user; empty where it shows all rows."""
        return []

    def nothing_to_draw(self, store_path: Path) -> str:
        """Return the message for a store in which `possible_pictures` finds nothing."""
        return f"no record in {store_path} holds {self.noun}; {self.hint}."


def _nine_digits(value: Any) -> Any:
    return f"{value:.9g}" if isinstance(value, int | float) else value
