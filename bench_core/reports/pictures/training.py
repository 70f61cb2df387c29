"""Pictures of kind `training`: the log of each row's training, epoch by epoch.

A panel for each number of the log: the loss and its parts, what probes measured along the way, the learning rate and
the speed. A line is the mean over the seeds whose log is in the store, its band reaches from the least seed to the
largest. Crosses on the loss mark epochs in which a seed had a warning.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench_core.errors import BenchError, RequestError
from bench_core.keys import key_of
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import PictureKind, PlotRequest
from bench_core.reports.pictures.select import select_rows
from bench_core.reports.pictures.style import add_caption, line_style, make_panels, readable_name
from bench_core.reports.tables.entries import Entry, with_distinct_names
from bench_core.store.chain_files import LOG, file_with, read_finished_log
from bench_core.store.log_numbers import log_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bench_core.store import Store

_FIRST, _LAST = ("loss",), ("learning_rate", "images_per_s")  # the panels before and after those of parts and probes
_NO_CURVES = ("epoch", "step", "seconds", "peak_memory_gib", "kept_epoch")
_MARKS = ("_above_ceiling", "_below_floor")  # the bound of a part that is beyond it; the warning says so in words


@dataclass(frozen=True)
class TrainingCurve:
    """One number of the log of one row, over its epochs.

    Attributes:
        method: Name of the row.
        name: Name of the number, such as `loss` or `probe.knn`.
        epochs: The epochs that have it, counted from 1.
        mean: Its mean over the seeds at each of these epochs.
        low: Its least value over the seeds.
        high: Its largest.
    """

    method: str
    name: str
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class TrainingData:
    """The logs of all rows, on one dataset with one encoder.

    Attributes:
        dataset: The dataset of all rows.
        encoder: The encoder of all rows that name no other.
        curves: The curves, rows in the order of the entries.
        seeds: Row -> the seeds whose logs are shown.
        warned: Row -> the epochs in which a seed had a warning.
        reasons: Why other rows are not drawn, each with the row's name.
    """

    dataset: str
    encoder: str
    curves: tuple[TrainingCurve, ...]
    seeds: Mapping[str, tuple[int, ...]]
    warned: Mapping[str, tuple[int, ...]]
    reasons: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Names of the numbers: the loss, its parts, the probes, the rate, the speed."""
        found = list(dict.fromkeys(curve.name for curve in self.curves))
        middle = [name for name in found if name not in (*_FIRST, *_LAST)]
        middle.sort(key=lambda name: name.startswith("probe."))
        return [*(n for n in _FIRST if n in found), *middle, *(n for n in _LAST if n in found)]


class Training(PictureKind[TrainingData]):
    """Loss, its parts, rate, speed and probes over the epochs, a panel for each."""

    name = "training"
    noun = "a row with the log of a training"
    hint = "`bench run --methods A` makes one"
    published = False

    def check(self, picture: Picture) -> None:
        """Refuse the picture: a board's page shows nothing that its published records do not hold."""
        raise _no_logs(picture)

    def possible_pictures(self, entries: Sequence[Entry], request: PlotRequest) -> Iterator[Picture]:
        """Yield one picture of all rows, only where the request names this kind: it reads the chains' logs."""
        if request.kind == self.name:
            yield Picture(name=self.name, kind=self.name, methods=request.methods)

    def read(self, entries: Sequence[Entry], picture: Picture, store: "Store | None") -> TrainingData:
        """Read the logs of each row, of every seed that is trained in the store.

        Raises:
            RequestError: No row has a log; says why for each.
        """
        if store is None:
            raise _no_logs(picture)
        done = [
            entry for entry in select_rows(with_distinct_names(list(entries)), picture.methods) if entry.state == "done"
        ]
        curves: list[TrainingCurve] = []
        seeds, warned, reasons = {}, {}, []
        for method in dict.fromkeys(entry.names["method"] for entry in done):
            try:
                logs = _logs([entry for entry in done if entry.names["method"] == method], store)
            except BenchError as error:
                reasons.append(f"{method}: {error}")
                continue
            curves += _curves(method, list(logs.values()))
            seeds[method] = tuple(sorted(logs))
            warned[method] = tuple(
                sorted({line["epoch"] for log in logs.values() for line in log if line.get("warnings")})
            )
        if not curves:
            raise RequestError(f"no row has a log to draw. {'; '.join(reasons) or 'No cell is done.'}")
        names = done[0].names
        return TrainingData(names["dataset"], names["encoder"], tuple(curves), seeds, warned, tuple(reasons))

    def shown(self, data: TrainingData) -> list[tuple[str, str]]:
        """Return the rows; a log is of no task."""
        return [(method, "") for method in data.seeds]

    def fingerprint_values(self, data: TrainingData) -> list[Any]:
        """Return rows, seeds and numbers, as text with 9 significant digits."""
        return [
            [curve.method, curve.name, list(data.seeds[curve.method]), list(curve.epochs),
             [[f"{value:.9g}" for value in values] for values in (curve.mean, curve.low, curve.high)]]
            for curve in data.curves
        ]  # fmt: skip

    def paint(self, figure: "Figure", data: TrainingData, picture: Picture) -> None:
        """Draw a panel for each number, and one legend of the rows."""
        methods = list(data.seeds)
        panels = make_panels(figure, len(data.names), 1, (3.2, 2.5))
        for (axes,), name in zip(panels, data.names, strict=True):
            for curve in data.curves:
                if curve.name != name:
                    continue
                style = line_style(methods.index(curve.method))
                marker = "o" if len(curve.epochs) <= 3 else ""
                axes.plot(curve.epochs, curve.mean, linewidth=1.3, marker=marker, markersize=3, **style)
                if len(data.seeds[curve.method]) > 1:
                    axes.fill_between(curve.epochs, curve.low, curve.high, color=style["color"], alpha=0.2, linewidth=0)
                if name == "loss":
                    marks = [k for k, epoch in enumerate(curve.epochs) if epoch in data.warned[curve.method]]
                    axes.plot([curve.epochs[k] for k in marks], [curve.mean[k] for k in marks], color=style["color"],
                              linestyle="", marker="x", markersize=4)  # fmt: skip
            axes.set_title(_panel_title(name))
            axes.set_xlabel("epoch")
            axes.locator_params(axis="x", integer=True)
            axes.grid(alpha=0.3)
        # Handles of their own: a row may be missing in the first panel.
        handles = [panels[0][0].plot([], [], label=method, **line_style(k))[0] for k, method in enumerate(methods)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(methods)))
        figure.set_figheight(figure.get_figheight() + 0.25 * math.ceil(len(methods) / 4))
        add_caption(figure, picture.title or f"training on {data.dataset}, {data.encoder}", _seeds_text(data))

    def notes(self, data: TrainingData) -> list[str]:
        """Return which rows are missing, and why."""
        return list(data.reasons)


def _logs(entries: Sequence[Entry], store: "Store") -> dict[int, list[dict[str, Any]]]:
    """Read the logs of one row: seed -> lines of its epochs.

    Raises:
        BenchError: There is none; says why.
    """
    logs = {}
    for entry in sorted(entries, key=lambda entry: entry.seed):
        assert entry.document is not None  # entries that are done have one
        folder = store.chain_folder(key_of(entry.document.pretrain))
        if entry.seed not in logs and file_with(LOG, folder).is_file():
            logs[entry.seed] = [line for line in read_finished_log(folder) if isinstance(line.get("epoch"), int)]
    if not logs:
        raise RequestError(
            f"no log under {store.path / 'chains'}: it was deleted, or its records come from another store"
        )
    if not any(logs.values()):
        raise RequestError("it trains nothing")
    return {seed: lines for seed, lines in logs.items() if lines}


def _curves(method: str, logs: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[TrainingCurve]:
    """Yield the curves of one row from the logs of its seeds."""
    values: dict[str, dict[int, list[float]]] = {}
    for log in logs:
        for line in log:
            for name, value in log_numbers(line):
                if name not in _NO_CURVES and not name.endswith(_MARKS):
                    values.setdefault(name, {}).setdefault(line["epoch"], []).append(value)
    for name, by_epoch in values.items():
        epochs = sorted(by_epoch)
        yield TrainingCurve(
            method,
            name,
            tuple(epochs),
            tuple(sum(by_epoch[epoch]) / len(by_epoch[epoch]) for epoch in epochs),
            tuple(min(by_epoch[epoch]) for epoch in epochs),
            tuple(max(by_epoch[epoch]) for epoch in epochs),
        )


def _panel_title(name: str) -> str:
    titles = {"images_per_s": "images/s", "probe.knn": "probe: kNN top-1 in train", "probe.rankme": "probe: RankMe"}
    return titles.get(name, readable_name(name))


def _seeds_text(data: TrainingData) -> str:
    """Return the seeds that are shown, what the band is, and what a cross is where there is one."""
    of_rows = set(data.seeds.values())
    if all(len(seeds) == 1 for seeds in of_rows):
        text = f"seed {next(iter(of_rows))[0]}" if len(of_rows) == 1 else "one seed of each row"
    else:
        counts = sorted({len(seeds) for seeds in of_rows})
        text = f"lines: means over {' or '.join(map(str, counts))} seeds, bands: least to largest seed"
    return f"{text}; x: an epoch with a warning" if any(data.warned.values()) else text


def _no_logs(picture: Picture) -> RequestError:
    return RequestError(
        f"picture {picture.name!r}: training reads whole logs of trainings, which are not published; draw it from "
        "a store with `bench plot --kind training`."
    )
