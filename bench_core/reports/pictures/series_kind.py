"""Base of the kinds that are drawn from curves and grids of images in records."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from bench_core.errors import RequestError
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import (
    Columns,
    NothingToDrawError,
    PictureData,
    PictureKind,
    PlotRequest,
    Series,
    SeveralTablesError,
)
from bench_core.reports.pictures.select import MeanIf, mean_over_seeds, select_rows
from bench_core.reports.tables.entries import Entry, with_distinct_names
from bench_core.reports.tables.folds import in_one_entry
from bench_core.store.record import Record

if TYPE_CHECKING:
    from bench_core.store import Store

_BySeed = dict[int, Columns]


class SeriesKind(PictureKind[PictureData]):
    """A kind that shows curves or grids of images, chosen by their names in the records.

    Attributes:
        prefix: The kind reads the curves whose names begin with this.
        needs: Keys that a curve must have; a curve that lacks one is not read.
        mean_if: When the picture shows the mean over seeds, see `select.mean_over_seeds`; "never": the first seed's.
        fractions: Keys that are fractions of one in any record.
        one_picture_per_name: Whether `bench plot` draws a picture for each name, not one of all names.
    """

    prefix: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()
    mean_if: ClassVar[MeanIf]
    fractions: ClassVar[frozenset[str]] = frozenset()
    one_picture_per_name: ClassVar[bool] = False

    def series_in(self, record: Record) -> Mapping[str, Columns]:
        """Return the curves or grids of this kind in a record, by name."""
        return {
            name: curve
            for name, curve in record.curves.items()
            if name.startswith(self.prefix) and curve and self.needs <= curve.keys()
        }

    def point_names(self, record: Record, columns: Columns) -> tuple[str, ...]:
        """Return the names of a curve's points, or nothing where they have none, as by default."""
        return ()

    def fractions_of(self, record: Record, columns: Columns) -> frozenset[str]:
        """Return the keys of a curve that tables show in per cent, by the units of the record's scores.

        A key belongs to the scores of its name and to those with a suffix: `map` to `map_itq_32_bits`.
        """
        found = set(self.fractions & columns.keys())
        for key in columns:
            units = {score.unit for name, score in record.scores.items() if f"{name}_".startswith(f"{key}_")}
            if units == {"fraction"}:
                found.add(key)
        return frozenset(found)

    def possible_pictures(self, entries: Sequence[Entry], request: PlotRequest) -> Iterator[Picture]:
        """Yield a picture for each task that left series of this kind; for each name, where names have their own."""
        tasks_and_curves: dict[tuple[str, str], None] = {}
        for entry in entries:
            if entry.finished_record:
                for name in self.series_in(entry.finished_record):
                    tasks_and_curves[entry.names["task"], name if self.one_picture_per_name else ""] = None
        for task, curve in tasks_and_curves:
            name = "_".join(dict.fromkeys((task, curve or self.name)))
            yield Picture(name=name, kind=self.name, task=task, curve=curve, methods=request.methods)

    def read(self, entries: Sequence[Entry], picture: Picture, store: "Store | None" = None) -> PictureData:
        """Read the series of one task, on one dataset, with one encoder, rows in the order of the entries.

        Raises:
            NothingToDrawError: The records hold none.
            RequestError: They hold those of several tasks, datasets or encoders.
        """
        groups: dict[tuple[str, str, str], dict[tuple[str, str], _BySeed]] = {}  # names -> row and curve -> by seed
        records: dict[tuple[str, str], Record] = {}  # row and curve -> the first record
        for entry in select_rows(with_distinct_names(in_one_entry(list(entries))), picture.methods):
            if entry.finished_record is None or (picture.task and picture.task not in entry.task_names):
                continue
            names = (entry.names["dataset"], entry.names["encoder"], entry.names["task"])
            for curve, columns in self.series_in(entry.finished_record).items():
                if picture.curve in ("", curve):
                    row = (entry.names["method"], curve)
                    records.setdefault(row, entry.finished_record)
                    groups.setdefault(names, {}).setdefault(row, {})[entry.seed] = columns
        self._check_one_group(list(groups), picture)
        ((names, rows),) = groups.items()
        series = []
        for (method, curve), by_seed in rows.items():
            columns, seeds = mean_over_seeds(by_seed, self.mean_if)
            record = records[method, curve]
            fractions, points = self.fractions_of(record, columns), self.point_names(record, columns)
            series.append(Series(method, curve, columns, seeds, fractions, points))
        return PictureData(*names, tuple(series))

    def _check_one_group(self, groups: Sequence[tuple[str, str, str]], picture: Picture) -> None:
        """Raise an error unless there are series of exactly one dataset, encoder and task."""
        if not groups:
            named = f" named {picture.curve!r}" if picture.curve else ""
            task = f" of task {picture.task!r}" if picture.task else ""
            raise NothingToDrawError(f"no record{task} holds {self.noun}{named}; {self.hint}.")
        if len({(dataset, encoder) for dataset, encoder, _ in groups}) > 1:
            raise SeveralTablesError(picture.name)
        if len(groups) > 1:
            tasks = ", ".join(repr(task) for _, _, task in groups)
            raise RequestError(f"picture {picture.name!r}: several tasks have {self.noun}; say task = one of {tasks}.")

    def shown(self, data: PictureData) -> list[tuple[str, str]]:
        """Return each row with the task of the picture."""
        return [(method, data.task) for method in data.methods]

    def fingerprint_values(self, data: PictureData) -> list[Any]:
        """Return the values of all series."""
        return [series.fingerprint_values() for series in data.series]
