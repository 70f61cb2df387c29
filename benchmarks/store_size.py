"""Measure commands that only read, on stores of many records: `python -m benchmarks.store_size [--sizes A,B] [--save]`.

Each store is made from real records: those of one row of a published board, under other names of data sets and methods,
with other seeds and scores. Every command runs in a process of its own; CPU seconds and peak memory are those that the
system counted for it. "first" is the first reading of a store, which makes its index; the others are the median of
three further ones.
"""

import argparse
import copy
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench_core.files import read_json, sealed
from bench_core.keys import key_of
from bench_core.running.planned import FILE, Planned, PlannedChain
from bench_core.store.chain_files import CHAIN
from bench_core.store.store import FORMAT, MARKER

RESULTS = Path(__file__).with_name("results") / "store_size.json"
BOARD = Path(__file__).parents[1] / "leaderboards" / "digits" / "records"
SIZES = (100, 1_000, 10_000, 100_000)
METHODS, SEEDS = 20, 5  # of one table
TASKS = ("linear", "linear_5", "knn", "retrieval", "hashing")
LOG = [{"epoch": epoch, "step": 5 * epoch, "loss": 1 / epoch, "seconds": 0.1} for epoch in range(1, 101)]
_ROUNDS = 3
_SETTLING_S = 4  # until files are old enough to be in an index
_CODE = """
import os, shutil
from bench_core.cli import main
try:
    main(prog_name="bench")  # as the installed script does
finally:
    if os.path.exists("/proc/self/status"):
        shutil.copyfile("/proc/self/status", os.environ["STATUS"])
"""


def templates() -> list[dict[str, Any]]:
    """Return the records of one chain of a published board, one for each of five tasks."""
    found = [read_json(path) for path in sorted(BOARD.glob("*.json"))]
    wanted = [record for record in found if record["names"]["method"] == "nac" and record["names"]["task"] in TASKS]
    trainings = [record["doc"]["embed"]["pretrain"] for record in wanted]
    one = next(training for training in trainings if training["seed"] == 0)  # the row may have had other values before
    return [record for record, training in zip(wanted, trainings, strict=True) if training == one]


def made_records(count: int) -> Iterator[dict[str, Any]]:
    """Yield records without their seal: tables of 20 methods and 5 seeds, all tasks of a chain one after another."""
    rng, tasks = random.Random(0), templates()
    chain = 0
    while True:
        table, place = divmod(chain, METHODS * SEEDS)
        method, seed = divmod(place, SEEDS)
        for template in tasks:
            if count == 0:
                return
            count -= 1
            yield _record(template, f"digits_{table}", f"method_{method}", seed, rng)
        chain += 1


def _record(template: dict[str, Any], dataset: str, method: str, seed: int, rng: random.Random) -> dict[str, Any]:
    record = copy.deepcopy(template)
    training = record["doc"]["embed"]["pretrain"]
    training["seed"] = seed
    training["dataset"]["id"], training["method"]["id"] = f"bench-core/{dataset}", f"bench-core/{method}"
    record["names"] |= {"dataset": dataset, "method": method}
    record["key"] = key_of(record["doc"])
    for score in record["scores"]:
        if score["unit"] == "fraction" and score["metric"] not in record["items"]:
            score["value"] = min(1.0, max(0.0, score["value"] + rng.gauss(0, 0.02)))
    for name in ("pretrain_s", "embed_s", "task_s"):
        record["cost"][name] *= rng.uniform(0.9, 1.1)
    return record


def make_store(folder: Path, count: int) -> None:
    """Write a store of this many records, the files of their chains without weights, and what its last run planned."""
    chains: dict[str, PlannedChain] = {}
    for record in made_records(count):
        key, names, document = record["key"], record["names"], record["doc"]
        _write(folder / "cells" / key[:2] / f"{key}.json", sealed(record))
        training = document["embed"]["pretrain"]
        axes = {axis: names[axis] for axis in ("dataset", "encoder", "method")}
        label = f"{'/'.join(axes.values())} seed {training['seed']}"
        chain = PlannedChain(key_of(training), key_of(document["embed"]), label, axes, 400, {})
        if chain.key not in chains:
            recipe = {"doc": training, "label": label, "names": axes}
            _write(
                folder / "chains" / chain.key / CHAIN,
                sealed({"recipe": recipe, "summary": _summary(record), "log": LOG}),
            )
        chain = chains.setdefault(chain.key, chain)
        chains[chain.key] = replace(chain, tasks={**chain.tasks, key: names["task"]})
    planned = Planned("bench run", 1, tuple(chains.values()))
    _write(folder / FILE, asdict(planned))
    _write(folder / MARKER, {"format": FORMAT})


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    facts = {name: record["facts"][name] for name in ("parameters", "uses_labels")}
    return {**facts, "weights_sha256": "0" * 64, "cost": record["cost"], "provenance": record["provenance"]["pretrain"]}


def _write(path: Path, value: dict[str, Any]) -> None:
    """Write a file as a store does, without waiting for the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def commands(store: Path) -> dict[str, list[str]]:
    """Return the commands that are measured, by name."""
    out = store.with_name("scores")
    return {
        "table": ["table"],
        "table --columns": ["table", "--columns", "knn,linear:top1"],
        "export --csv": ["export", "--csv", f"{out}.csv"],
        "export --sqlite": ["export", "--sqlite", f"{out}.sqlite"],
        "compare": ["compare"],
        "compare A B": ["compare", "method_0", "method_1"],
        "status": ["status"],
        "logs": ["logs", "digits_0/convnet/method_0/seed-0"],
        "rm --dry-run": ["rm", "digits_0/convnet/method_0/seed-0", "--dry-run"],
    }


def run(arguments: Sequence[str]) -> tuple[float, float]:
    """Run a command of bench; return its CPU seconds and its peak MiB.

    Linux counts the peak of the process that started it as its own (`ru_maxrss`), so there the command says its own.
    """
    with tempfile.NamedTemporaryFile("r", encoding="ascii") as status:
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE, *arguments],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "STATUS": status.name},
        )
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        peaks = [line.split()[1] for line in status if line.startswith("VmHWM")]
    if process.returncode:
        raise RuntimeError(f"bench {' '.join(arguments)} ended with exit code {process.returncode}")
    mib = int(peaks[0]) / 2**10 if peaks else usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return usage.ru_utime + usage.ru_stime, mib


def measure(count: int, folder: Path, rounds: int = _ROUNDS) -> list[dict[str, Any]]:
    """Make a store in a folder and measure all commands on it."""
    store = folder / "store"
    make_store(store, count)
    time.sleep(_SETTLING_S)
    lines: list[dict[str, Any]] = []
    for name, arguments in commands(store).items():
        arguments = [*arguments, "--store", str(store)]
        if not lines:
            seconds, memory = run(arguments)
            lines.append({"records": count, "command": f"{name}, first", "cpu_s": seconds, "mib": memory})
        measured = [run(arguments) for _ in range(rounds)]
        seconds, memory = median(seconds for seconds, _ in measured), max(memory for _, memory in measured)
        lines.append({"records": count, "command": name, "cpu_s": seconds, "mib": memory})
    return lines


def as_text(lines: Sequence[dict[str, Any]]) -> str:
    """Return the measurements as Markdown: a line for each command, a column for each size."""
    sizes = list(dict.fromkeys(line["records"] for line in lines))
    cells = {(line["command"], line["records"]): f"{line['cpu_s']:.2f} s, {line['mib']:.0f} MiB" for line in lines}
    text = [f"| command | {' | '.join(f'{size:,} records' for size in sizes)} |", f"|:--{'|--:' * len(sizes)}|"]
    for command in dict.fromkeys(line["command"] for line in lines):
        text.append(f"| {command} | {' | '.join(cells.get((command, size), '') for size in sizes)} |")
    return "\n".join(
        [*text, "", "CPU seconds and peak memory of the whole process, Python and its start included.", ""]
    )


def save(lines: Sequence[dict[str, Any]]) -> None:
    """Write the measurements with their provenance where the page reads them."""
    from bench_core.devices import find_device
    from bench_core.running.provenance import provenance

    content = {
        "measured": datetime.now(UTC).isoformat(timespec="minutes"),
        "provenance": provenance(
            find_device("cpu"), shlex.join(["python", "-m", "benchmarks.store_size", *sys.argv[1:]])
        ),
        "packages": {name: version(name) for name in ("numpy", "scipy")},
        "contests": [],
        "commands": lines,
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print, and save with `--save`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_size", description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of records")
    parser.add_argument("--rounds", type=int, default=_ROUNDS, help="runs of a command, of which the median counts")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name}, of which the page is made")
    asked = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for size in map(int, asked.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            lines += measure(size, Path(folder), asked.rounds)
        print(as_text(lines), flush=True)
    if asked.save:
        save(lines)


if __name__ == "__main__":
    main()
