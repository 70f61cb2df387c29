"""Measure what a store costs as it grows: `python -m benchmarks.scale [--sizes A,B] [--save]`.

Files, bytes and operations on files are those of a real run of one chain. Sizes are those of made stores: the cells of
a real plan, with records of a published board under their keys. Seconds are CPU seconds, but where it says wall.
`--save` writes scale.json, and its tables into docs/scale.md.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from bench_core import run
from bench_core.files import read_json, sealed, write_text
from bench_core.planning.chains import Chain, Plan
from bench_core.planning.changed_code import changed_code
from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.plugins import load_plugins
from bench_core.reports.pages.markers import splice
from bench_core.running.pending import to_run
from bench_core.store import Store
from bench_core.store.chain_files import LOG, write_chain
from bench_core.store.name_links import link_names

RESULTS = Path(__file__).with_name("scale.json")
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"
BOARD = Path(__file__).parents[1] / "leaderboards" / "digits" / "records"
SIZES = (100, 10_000, 100_000)
TASKS = ("knn", "linear", "retrieval", "hashing", "clustering")
EPOCHS = 40  # of the log of a made chain
_ROUNDS = 200  # records that are written to see how many a second are
# What the hook of CPython tells of work on files; what changes a directory, what looks, what is written through.
_CHANGES = ("os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.utime")
_LOOKS = ("os.listdir", "os.scandir")


def templates() -> dict[str, dict[str, Any]]:
    """Return a record of a published board for each of the tasks."""
    records = [read_json(path) for path in sorted(BOARD.glob("*.json"))]
    of_task = {record["names"]["task"]: record for record in records if record["names"]["method"] == "nac"}
    return {task: of_task.get(task, of_task["knn"]) for task in TASKS}


def counted_run(store: Path, tasks: list[str]) -> Counter[str]:
    """Run one small chain, and count the operations on files of its store."""
    counts: Counter[str] = Counter()
    watched = [True]  # a hook cannot be removed

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watched and event in ("open", *_CHANGES, *_LOOKS) and str(arguments[0]).startswith(str(store)):
            is_new = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
            kind = "creates" if is_new else "opens" if event == "open" else "looks" if event in _LOOKS else "changes"
            counts[kind] += 1

    def counting(name: str, function: Callable[..., Any]) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if name == "syncs" or str(arguments[0]).startswith(str(store)):
                counts[name] += 1
            return function(*arguments, **options)

        return call

    sys.addaudithook(hook)
    settings = {"convnet.widths": [4], "digits.train_size": 100}
    with mock.patch("os.stat", counting("looks", os.stat)), mock.patch("os.fsync", counting("syncs", os.fsync)):
        run("nac", tasks, seeds=[0], epochs=2, device="cpu", store=store, progress=False, settings=settings)
    watched.clear()
    return counts


def measure_run() -> dict[str, Any]:
    """Return files, bytes and operations of a chain and of a cell, as a real run makes them."""
    with tempfile.TemporaryDirectory() as folder:
        one, three = (counted_run(Path(folder) / f"{len(tasks)}", list(tasks)) for tasks in (TASKS[:1], TASKS[:3]))
        files = [path for path in (Path(folder) / "1").rglob("*") if path.is_file() and not path.is_symlink()]
        sizes = {str(path.relative_to(Path(folder) / "1")): path.stat().st_size for path in files}
    cell = {name: (three[name] - one[name]) / 2 for name in sorted({*one, *three})}
    records = sorted(path.stat().st_size for path in BOARD.glob("*.json"))
    return {
        "cell": cell,
        "chain": {name: one[name] - cell[name] for name in cell},  # with all that a run itself does
        "chain_files": sum(name.startswith("chains") for name in sizes),
        "record_bytes": {"least": records[0], "median": median(records), "most": records[-1]},
    }


@contextmanager
def cpu(into: dict[str, float], name: str) -> Iterator[None]:
    """Note the CPU seconds of a block."""
    began = time.process_time()
    yield
    into[name] = time.process_time() - began


def plan_of(cells: int) -> Plan:
    """Plan a request of so many cells: one row at many seeds."""
    request = Request(
        methods=["nac"], tasks=list(TASKS), seeds=list(range(cells // len(TASKS))), data_root=Path("data")
    )
    return make_plan(request, load_plugins())


def make_chain(chain: Chain, folder: Path, rng: random.Random) -> None:
    """Write the file of a trained chain with a log of some epochs; it has no weights."""
    folder.mkdir(parents=True)
    with (folder / LOG).open("w", encoding="utf-8") as log:
        for epoch in range(1, EPOCHS + 1):
            numbers = {name: rng.random() for name in ("loss", "information", "flips", "learning_rate", "seconds")}
            log.write(json.dumps({"step": 40 * epoch, "epoch": epoch, **numbers, "images_per_s": 4e4}) + "\n")
    recipe = {"doc": chain.document, "names": {**chain.cells[0].names, "method": chain.row_name}, "label": chain.label}
    cost = {"pretrain_s": rng.random(), "steps": 40 * EPOCHS}
    with mock.patch("os.fsync"):  # a made store may be lost
        write_chain(folder, recipe, {"weights_sha256": "0" * 64, "parameters": 1, "cost": cost, "provenance": {}})


def make_store(plan: Plan, store: Store) -> None:
    """Write a record for each cell of a plan, and the file of each chain."""
    rng, made = random.Random(0), templates()
    store.create()
    for chain in plan.chains:
        make_chain(chain, store.chain_folder(chain.key), rng)
        for cell in chain.cells:
            path = store.record_file(cell.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            record = {name: value for name, value in made[cell.task.name].items() if name != "sha256"}
            record |= {"key": cell.key, "doc": cell.document, "names": cell.names}
            path.write_text(json.dumps(sealed(record), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def measure_size(cells: int, folder: Path) -> dict[str, float]:
    """Make a store of so many finished cells, and measure what a run of the same request pays."""
    seconds: dict[str, float] = {}
    plan_of(len(TASKS))  # imports
    with cpu(seconds, "plan"):
        plan = plan_of(cells)
    store = Store(folder / "runs")
    make_store(plan, store)
    with cpu(seconds, "what is left"):
        assert not to_run(plan, store)
    with cpu(seconds, "code that changed"):
        changed_code(plan, store)
    for time_ in ("first", "again"):
        with cpu(seconds, f"all records, {time_}"):
            assert len(store.records()) == cells
        with cpu(seconds, f"links with names, {time_}"):
            link_names(store)
    files = [path for path in store.path.rglob("*") if path.is_file() and not path.is_symlink()]
    template = templates()["knn"]
    documents = [{**template, "doc": {**template["doc"], "made": number}} for number in range(_ROUNDS)]
    began = time.perf_counter()
    for document in documents:
        store.add_record({**document, "key": f"{random.Random(str(document['doc'])).getrandbits(256):064x}"})
    return {
        "cells": cells,
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "index_bytes": sum(path.stat().st_size for path in store.path.glob("index*")),
        "records_per_wall_s": _ROUNDS / (time.perf_counter() - began),
        **{f"{name} (CPU-s)": value for name, value in seconds.items()},
    }


def as_text(content: dict[str, Any]) -> str:
    """Return the measurements as Markdown."""
    sizes, of_run = content["sizes"], content["run"]
    kinds = ("creates", "changes", "opens", "looks", "syncs")
    record = of_run["record_bytes"]
    lines = [
        "| operations on files of the store | " + " | ".join(kinds) + " |",
        "|:--|" + "--:|" * len(kinds),
        *(
            f"| {what} | " + " | ".join(f"{max(0, of_run[name].get(kind, 0)):.0f}" for kind in kinds) + " |"
            for what, name in (("a chain of two epochs, with its run", "chain"), ("a further cell", "cell"))
        ),
        "",
        f"A chain leaves {of_run['chain_files']} files with two splits, a cell one record of {record['least']:,} to "
        f"{record['most']:,} bytes, {record['median']:,.0f} in the middle.",
        "",
        "| a store of | " + " | ".join(f"{size['cells']:,} cells" for size in sizes) + " |",
        "|:--|" + "--:|" * len(sizes),
    ]

    def row(name: str, values: list[str]) -> None:
        lines.append(f"| {name} | {' | '.join(values)} |")

    row("files, without weights and embeddings", [f"{size['files']:,}" for size in sizes])
    row("MiB, without weights and embeddings", [f"{size['bytes'] / 2**20:,.1f}" for size in sizes])
    row("of them the index", [f"{size['index_bytes'] / 2**20:,.1f}" for size in sizes])
    row("records that are written a second (wall)", [f"{size['records_per_wall_s']:,.0f}" for size in sizes])
    for name in (name for name in sizes[0] if name.endswith("(CPU-s)")):
        row(name, [f"{size[name]:.2f}" for size in sizes])
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and save with `--save`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of cells, five a chain")
    parser.add_argument("--save", action="store_true", help=f"write {RESULTS.name} and {PAGE.name}")
    asked = parser.parse_args()
    content: dict[str, Any] = {"measured": datetime.now(UTC).isoformat(timespec="minutes"), "run": measure_run()}
    content["sizes"] = []
    for size in map(int, asked.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            content["sizes"].append(measure_size(size, Path(folder)))
        print(as_text(content), flush=True)
    if asked.save:
        RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        write_text(PAGE, splice(PAGE.read_text(encoding="utf-8"), "scale", as_text(content)))


if __name__ == "__main__":
    main()
