"""Pictures of kind `epochs`: the quality of trainings against their compute, from rows of `--at epochs=A,B`.

A pair of panels for each task: its first score over the epochs, and over the seconds of training that they took. A line
is the mean over seeds, its band reaches from the least seed to the largest.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import NothingToDrawError, PictureKind, PlotRequest
from bench_core.reports.pictures.style import add_caption, line_style, make_panels, readable_name
from bench_core.reports.tables.entries import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench_core.store import Store


@dataclass(frozen=True)
class Point:
    """One task on one row after one epoch, over its seeds.

    Attributes:
        task: Name of the task.
        metric: Its first score.
        method: Name of the row, without the epoch.
        epoch: The epoch.
        values: The score of each seed; fractions in per cent, as in tables.
        unit: What stands behind the metric on the axis: ", %" or nothing.
        seconds: Mean seconds of the training until then; None where a record does not know them.
    """

    task: str
    metric: str
    method: str
    epoch: int
    values: tuple[float, ...]
    unit: str
    seconds: float | None


@dataclass(frozen=True)
class EpochData:
    """The points of one dataset with one encoder, those of one line after each other."""

    dataset: str
    encoder: str
    points: tuple[Point, ...]

    @property
    def methods(self) -> list[str]:
        """Names of the rows, in order."""
        return list(dict.fromkeys(point.method for point in self.points))

    @property
    def tasks(self) -> list[tuple[str, str]]:
        """Tasks with their first metric, in order."""
        return list(dict.fromkeys((point.task, point.metric) for point in self.points))


class OverEpochs(PictureKind[EpochData]):
    """First score of each task over epochs and over seconds of training."""

    name = "epochs"
    noun = "a score after an epoch"
    hint = "`bench run --keep-every 10 --at epochs=10,20` makes some"

    def possible_pictures(self, entries: Sequence[Entry], request: PlotRequest) -> Iterator[Picture]:
        """Yield one picture of all tasks, where there are rows of epochs."""
        if any(map(_epoch_of, entries)):
            yield Picture(name=self.name, kind=self.name, methods=request.methods)

    def read(self, entries: Sequence[Entry], picture: Picture, store: "Store | None" = None) -> EpochData:
        """Read the first score of each task after each epoch.

        Raises:
            NothingToDrawError: No record is of an epoch.
        """
        found: dict[tuple[str, str, str, int], list[tuple[float, float | None]]] = {}
        names: Mapping[str, str] = {}
        units = {}
        for entry in entries:
            record, epoch = entry.finished_record, _epoch_of(entry)
            method = entry.names["method"].rpartition(" @ ")[0]
            chosen = not picture.methods or {method, entry.names["method"]} & set(picture.methods)
            if record is None or epoch is None or not chosen:
                continue
            names = entry.names
            metric, score = next(iter(record.scores.items()))
            key = (entry.names["task"], metric, method, epoch)
            if score.value is not None:
                in_per_cent = score.unit == "fraction"
                units[key] = ", %" if in_per_cent else ""
                value = 100 * score.value if in_per_cent else score.value
                found.setdefault(key, []).append((value, record.cost.pretrain_s))
        if not found:
            raise NothingToDrawError(f"no record holds {self.noun}; {self.hint}.")
        points = []
        for key, seeds in sorted(found.items(), key=lambda item: item[0][3]):
            seconds = [seconds for _, seconds in seeds if seconds is not None]
            values = tuple(value for value, _ in seeds)
            points.append(Point(*key, values, units[key], fmean(seconds) if seconds else None))
        return EpochData(names["dataset"], names["encoder"], tuple(points))

    def shown(self, data: EpochData) -> list[tuple[str, str]]:
        """Return the rows as records name them, each with its task."""
        return [(f"{p.method} @ {p.epoch} epoch{'s' if p.epoch > 1 else ''}", p.task) for p in data.points]

    def fingerprint_values(self, data: EpochData) -> list[Any]:
        """Return names and numbers, as text with 9 significant digits."""
        return [
            [p.task, p.metric, p.method, p.epoch, [f"{value:.9g}" for value in (*p.values, p.seconds or 0.0)]]
            for p in data.points
        ]

    def paint(self, figure: "Figure", data: EpochData, picture: Picture) -> None:
        """Draw a row of two panels for each task: over epochs, and over seconds."""
        panels = make_panels(figure, len(data.tasks), 2, (3.6, 2.7))
        for row, (task, metric) in zip(panels, data.tasks, strict=True):
            for axes, label in zip(row, ("epochs", "seconds of training"), strict=True):
                for k, method in enumerate(data.methods):
                    points = [p for p in data.points if (p.task, p.metric, p.method) == (task, metric, method)]
                    of_x = [(p.epoch if label == "epochs" else p.seconds, p) for p in points]
                    points = [p for value, p in of_x if value is not None]
                    x = [value for value, _ in of_x if value is not None]
                    style = line_style(k)
                    axes.plot(x, [fmean(p.values) for p in points], marker="o", markersize=3, linewidth=1.3, **style)
                    if any(len(p.values) > 1 for p in points):
                        low, high = ([edge(p.values) for p in points] for edge in (min, max))
                        axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
                axes.set_xlabel(label)
                unit = next(p.unit for p in data.points if (p.task, p.metric) == (task, metric))
                axes.set_ylabel(f"{task} {readable_name(metric)}{unit}")
                axes.grid(alpha=0.3)
        handles = [panels[0][0].plot([], [], label=method, **line_style(k))[0] for k, method in enumerate(data.methods)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
        seeds = max(len(point.values) for point in data.points)
        text = f"means over {seeds} seeds, bands: least to largest seed" if seeds > 1 else "one seed"
        add_caption(figure, picture.title or f"quality against compute on {data.dataset}, {data.encoder}", text)


def _epoch_of(entry: Entry) -> int | None:
    """Return the epoch after which the weights of a cell were taken; None for those of the end."""
    return entry.document.embed.get("epoch") if entry.document else None
