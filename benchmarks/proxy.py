"""Measure if a cheap proxy keeps the order of settings: `python -m benchmarks.proxy --board mnist [--save]`.

`bench tune` chooses a row's values on a proxy of its board, of fewer epochs and images: the board's table [tuning].
Here the first trials of a row are trained at the proxy's size and at the board's own, each with some seeds, and scored
on a held-out part of the train split of that size. If the order is the same, the proxy chooses what the board would
have chosen.

A stopped call goes on where it was: trainings lie in --store. Rows may be measured one by one, in any order.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from scipy.stats import kendalltau

from bench_core import load_plugins, results, run
from bench_core.devices import find_device
from bench_core.errors import BenchError, RequestError
from bench_core.planning.boards import load_board
from bench_core.planning.tuning import Tuning
from bench_core.plugins import Registry
from bench_core.running.provenance import provenance
from bench_core.tuning.trial_board import trial_board
from bench_core.tuning.trials import RowTrials, trials_of
from bench_core.tuning.tuned_file import toml_text

RESULTS = Path(__file__).with_name("results") / "proxy.json"
PROXY, FINAL = "proxy", "final"
_IDENTITY = ("board", "row", "metric", "proxy", "seeds")  # an entry replaces one that has all these


def measure(
    board_name: str, row: str, tuning: Tuning, *, trials: int, store: Path, jobs: int, registry: Registry
) -> dict[str, Any]:
    """Train the first trials of a row at both sizes, and return their scores as plain values for JSON.

    Args:
        board_name: Name or path of the board.
        row: Name of the row.
        tuning: Epochs and datasets of the proxy, seeds, and the one metric.
        trials: Number of trials; the first is the row as it is.
        store: Folder of all trainings.
        jobs: Chains that run at the same time.
        registry: Plugins.

    Raises:
        RequestError: There is no such board or row, or the proxy is as large as the board.
    """
    board = load_board(board_name, tuned=False)
    if row not in board.methods:
        raise RequestError(f"board {board.name} has no row {row!r}; it has: {', '.join(board.methods)}.")
    proxy = {"epochs": tuning.epochs, "datasets": {name: dict(part) for name, part in tuning.datasets.items()}}
    if not any(proxy.values()):
        raise RequestError(f"board {board.name} has no proxy: type --epochs N, or write [tuning] epochs into it.")
    of_row = trials_of(board.methods[row], board, registry, trials)
    sizes = {PROXY: tuning, FINAL: replace(tuning, epochs=None, datasets={})}
    found = {}
    for size, at_size in sizes.items():
        folder = store / board.name / (FINAL if size == FINAL else _folder_name(proxy))
        _run_trials(folder, trial_board(board, at_size, [of_row], registry), of_row, jobs)
        found[size] = _scores(folder, of_row, at_size)
    return {
        "board": board.name,
        "row": row,
        "metric": _metric(tuning),
        "proxy": proxy,
        "validation": tuning.validation,
        "seeds": list(tuning.seeds),
        "higher_is_better": any(size["higher_is_better"] for size in found.values()),
        "seconds": {size: content["seconds"] for size, content in found.items()},
        "trials": [
            {"values": dict(values), **{size: content["scores"].get(number, []) for size, content in found.items()}}
            for number, values in enumerate(of_row.values)
        ],
        "measured": datetime.now(UTC).isoformat(timespec="minutes"),
        "provenance": provenance(find_device("cpu"), _command()),
    }


def _folder_name(proxy: Mapping[str, Any]) -> str:
    parts = {"epochs": proxy["epochs"], **{k: v for part in proxy["datasets"].values() for k, v in part.items()}}
    return "_".join(f"{name}_{value}" for name, value in parts.items() if value is not None)


def _run_trials(folder: Path, document: Mapping[str, Any], of_row: RowTrials, jobs: int) -> None:
    """Run the trials of a row as a board; a trial that fails is told, and the others count."""
    file = folder / f"{of_row.row.name}.toml"  # a board of each row: calls side by side write no common file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(toml_text(document), encoding="utf-8")
    try:
        run([row.name for row in of_row.rows.values()], board=str(file), store=folder / "runs", jobs=jobs, device="cpu")
    except RequestError:
        raise
    except BenchError as error:
        print(error, file=sys.stderr)


def _scores(folder: Path, of_row: RowTrials, tuning: Tuning) -> dict[str, Any]:
    """Return trial -> its scores by seed, of the trials that have all seeds, and the median seconds of a training."""
    task, _, metric = _metric(tuning).partition(":")
    frame = results(folder / "runs")
    frame = frame[(frame["task"] == task) & (frame["metric"] == metric) & frame["seed"].isin(tuning.seeds)]
    of_trial = {number: frame[frame["method"] == row.name] for number, row in of_row.rows.items()}
    scores = {
        number: [float(score) for score in lines.groupby("seed")["value"].mean()]
        for number, lines in of_trial.items()
        if set(lines["seed"]) == set(tuning.seeds)
    }
    seconds = [float(s) for lines in of_trial.values() for s in lines["pretrain_s"].dropna()]
    return {
        "scores": scores,
        "seconds": median(seconds) if seconds else None,
        "higher_is_better": bool(frame["higher_is_better"].all()),
    }


def _metric(tuning: Tuning) -> str:
    return next(iter(tuning.metrics.values()))[0]


def _command() -> str:
    return shlex.join(["python", "-m", "benchmarks.proxy", *sys.argv[1:]])


def kendall(entry: Mapping[str, Any]) -> float:
    """Return Kendall's tau between the mean scores at both sizes, of the trials that finished at both."""
    trials = finished(entry)
    means = ([fmean(trial[size]) for trial in trials.values()] for size in (PROXY, FINAL))
    return float(kendalltau(*means).statistic)


def finished(entry: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Return number -> trial, of the trials that finished at both sizes."""
    return {number: trial for number, trial in enumerate(entry["trials"]) if trial[PROXY] and trial[FINAL]}


def pick(entry: Mapping[str, Any], size: str) -> int | None:
    """Return the number of the trial that a size would choose, the first of equal ones; None where none finished."""
    sign = 1 if entry["higher_is_better"] else -1
    trials = finished(entry)
    return max(trials, key=lambda number: sign * fmean(trials[number][size]), default=None)


def as_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of each row's trials at both sizes as Markdown, and what the proxy's choice loses."""
    parts = [
        "Trials of one row at the size of its board's proxy and at the board's own, each scored on a held-out part of "
        "its train split: mean ± standard deviation over seeds, bold where a size would choose. Kendall's tau is 1 "
        "where both sizes have the same order, 0 where one says nothing about the other; of five trials it is coarse.",
    ]
    for entry in entries:
        parts += ["", f"### {entry['row']} on {entry['board']}, {entry['metric']}", "", _sizes(entry), ""]
        parts += ["| trial | values | proxy | final |", "|--:|:--|--:|--:|"]
        for number, trial in enumerate(entry["trials"]):
            values = ", ".join(f"{name} = {_value(value)}" for name, value in trial["values"].items())
            cells = [_cell(trial[size], bold=pick(entry, size) == number) for size in (PROXY, FINAL)]
            parts.append(f"| {number} | {values or 'the row as it is'} | {' | '.join(cells)} |")
        parts += ["", _verdict(entry)]
    return "\n".join([*parts, ""])


def _sizes(entry: Mapping[str, Any]) -> str:
    proxy = entry["proxy"]
    parts = {"epochs": proxy["epochs"], **{k: v for part in proxy["datasets"].values() for k, v in part.items()}}
    said = ", ".join(f"{name} = {value}" for name, value in parts.items() if value is not None)
    took = {size: "unknown" if s is None else f"{s:.3g} s" for size, s in entry["seconds"].items()}
    origin = entry["provenance"]
    return (
        f"Proxy: {said}; a training takes {took[PROXY]}, at the final size {took[FINAL]} (median). "
        f"{100 * entry['validation']:g} % of train are held out, seeds {', '.join(map(str, entry['seeds']))}, "
        f"commit {(origin['commit'] or 'unknown')[:8]}{', with changes' if origin['dirty'] else ''}, "
        f"{entry['measured'][:10]}."
    )


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(scores: Sequence[float], *, bold: bool) -> str:
    if not scores:
        return "failed"
    spread = f" ± {stdev(scores):.4f}" if len(scores) > 1 else ""
    return f"**{fmean(scores):.4f}**{spread}" if bold else f"{fmean(scores):.4f}{spread}"


def _verdict(entry: Mapping[str, Any]) -> str:
    chosen, best = pick(entry, PROXY), pick(entry, FINAL)
    if chosen is None or best is None:
        return "No trial finished at both sizes."
    trials = finished(entry)
    loss = abs(fmean(trials[best][FINAL]) - fmean(trials[chosen][FINAL]))
    choice = "Both sizes choose the same trial" if chosen == best else f"The proxy's choice loses {loss:.4f} at the end"
    order = f"Kendall's tau {kendall(entry):.2f}" if len(trials) > 1 else "One trial has no order"
    return f"{order}. {choice}."


def save(entry: Mapping[str, Any]) -> None:
    """Write an entry beside those that are there where the page reads them, in place of an earlier one of its kind."""
    entries = json.loads(RESULTS.read_text(encoding="utf-8"))["orders"] if RESULTS.exists() else []
    others = [other for other in entries if any(other[name] != entry[name] for name in _IDENTITY)]
    content = {
        "measured": entry["measured"],
        "provenance": entry["provenance"],
        "packages": {name: version(name) for name in ("optuna", "scipy")},
        "contests": [],
        "orders": sorted([*others, entry], key=lambda one: [json.dumps(one[name]) for name in _IDENTITY]),
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure row by row, print each, and save it with `--save`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxy", description=__doc__.partition("\n")[0])
    parser.add_argument("--board", default="mnist", help="name or path of a board")
    parser.add_argument("--methods", default="simclr,nac", help="rows of the board")
    parser.add_argument("--trials", type=int, default=5, help="settings of each row, the row as it is among them")
    parser.add_argument("--seeds", default="0,1,2", help="seeds of each setting at both sizes")
    parser.add_argument("--metric", help="TASK:METRIC; by default the board's first one of features")
    parser.add_argument("--epochs", type=int, help="epochs of the proxy, in place of the board's [tuning]")
    parser.add_argument(
        "--train-size", type=int, help="items that the proxy trains on, in place of the board's [tuning]"
    )
    parser.add_argument("--store", type=Path, default=Path("data/proxy"), help="folder of all trainings")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at the same time")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}, of which the page is made")
    asked = parser.parse_args()
    try:
        _measure_rows(asked)
    except BenchError as error:
        sys.exit(f"Error: {error}")


def _measure_rows(asked: argparse.Namespace) -> None:
    registry = load_plugins()
    board = load_board(asked.board, tuned=False)
    tuning = board.tuning or Tuning()
    metric = asked.metric or tuning.metrics.get("features", next(iter(tuning.metrics.values())))[0]
    tuning = replace(tuning, metrics={"features": (metric,)}, seeds=tuple(map(int, asked.seeds.split(","))))
    if asked.epochs is not None:
        tuning = replace(tuning, epochs=asked.epochs)
    if asked.train_size is not None:
        tuning = replace(tuning, datasets={name: {"train_size": asked.train_size} for name in board.datasets})
    for row in asked.methods.split(","):
        entry = measure(
            asked.board, row, tuning, trials=asked.trials, store=asked.store, jobs=asked.jobs, registry=registry
        )
        print(as_text([entry]), flush=True)
        if asked.save:
            save(entry)


if __name__ == "__main__":
    main()
