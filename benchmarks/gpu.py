"""Measure everything that is published about a GPU; a call that was stopped is resumed by the next one.

    python -m benchmarks.gpu --out DIR [--minutes 9]    # repeat until it prints "0 left"
    python -m benchmarks.gpu --out DIR --save           # write results/gpu.json; README.md is made from it
    python -m benchmarks.gpu --out DIR --full           # also 200 epochs of SimCLR, 100 of six methods; 40 minutes
    python -m benchmarks.gpu --out DIR --device cpu     # tiny sizes: check that the script works

It needs bench-core installed (its wheel will do) and nothing of the extra `benchmarks`. Where BENCH_DATA has no
`cifar10-jpeg`, it makes images. A measurement that fails is written down with its error and not tried again: delete its
line in DIR/gpu.jsonl to try it again. After an error that makes the device unusable, call again: the rest is measured.
"""

import argparse
import json
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from bench_core.devices import check_device, find_device
from bench_core.running.provenance import provenance
from bench_core.training.stopping import Stopped
from benchmarks import gpu_measures
from benchmarks.contest import RESULTS
from benchmarks.gpu_measures import RESNET18_FLOP
from benchmarks.gpu_setup import FULL, TINY, Numbers, Setup
from benchmarks.gpu_step import graph, parts

TASKS = ("linear", "knn", "retrieval")
SIX = ("simclr", "byol", "moco", "swav", "nac", "sela")
GRAPHS = ("simclr", "nac", "barlow_twins")  # methods whose step keeps no state in Python (tests/test_gpu_steps.py)


@dataclass(frozen=True)
class Measurement:
    """One line of the results.

    Attributes:
        key: Name of the measurement; no name is measured twice.
        run: Function that measures.
        seconds: Estimated duration on an H200. With less time left it is not started.
    """

    key: str
    run: Callable[[Setup], Numbers]
    seconds: float = 15.0


def measurements(setup: Setup, out: Path, full: bool) -> list[Measurement]:
    """Return all measurements, the most important ones first."""
    train, epochs = gpu_measures.training, setup.size.epochs
    other_methods = [m for m in setup.methods() if m != "simclr"] if setup.size is FULL else ["byol", "vae"]
    todo = [
        Measurement("ceiling: bf16 product", gpu_measures.matmul, 5),
        Measurement("ceiling: copy", gpu_measures.copy, 5),
        Measurement("simclr: eager", lambda setup: train(setup, "simclr")),
        Measurement("simclr: eager, fixed inputs", lambda setup: train(setup, "simclr", fixed=True)),
        Measurement("simclr: parts of a step", partial(parts, method="simclr")),
        Measurement("simclr: graph", partial(graph, method="simclr")),
        Measurement("simclr: eager, cuDNN tries", lambda setup: train(setup, "simclr", tuned=True), 30),
        Measurement("simclr: compiled", lambda setup: train(setup, "simclr", compiled=True), 100),
        Measurement(
            "simclr: compiled, fixed inputs", lambda setup: train(setup, "simclr", fixed=True, compiled=True), 60
        ),
        Measurement("simclr: compiled, graph", partial(graph, method="simclr", compiled=True), 60),
        Measurement("views: one of a batch", gpu_measures.views, 5),
        Measurement("views: one of a batch, compiled", lambda setup: gpu_measures.views(setup, compiled=True), 60),
        Measurement("optimisers", gpu_measures.optimisers, 10),
        Measurement("embedding", gpu_measures.embedding),
        *(Measurement(f"task: {name}", partial(gpu_measures.task, name=name), 20) for name in TASKS),
        Measurement(
            f"run: simclr, {epochs} epochs",
            lambda setup: gpu_measures.whole_run(setup, ["simclr"], TASKS, epochs, out / "short"),
            45,
        ),
        *(Measurement(f"{name}: eager", partial(train, method=name)) for name in other_methods),
        *(Measurement(f"{n}: graph", partial(graph, method=n)) for n in GRAPHS[1:] if setup.size is FULL),
        *(Measurement(f"{name}: compiled", partial(train, method=name, compiled=True), 120) for name in other_methods),
    ]
    if full:
        long, shorter = (200, 100) if setup.size is FULL else (2, 1)
        todo += [
            Measurement(
                "full: simclr, 200 epochs",
                lambda setup: gpu_measures.whole_run(setup, ["simclr"], TASKS, long, out / "long"),
                60,
            ),
            Measurement(
                "full: six methods, 100 epochs",
                lambda setup: gpu_measures.whole_run(setup, SIX, TASKS, shorter, out / "six"),
                60,
            ),
        ]
    return todo


def read(file: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of a results file by key, without a last line that a kill cut short."""
    lines = {}
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        lines[line["key"]] = line
    return lines


def measure(todo: Sequence[Measurement], setup: Setup, file: Path, ends: float) -> bool:
    """Measure what is not in the file yet, until the time is up.

    Args:
        todo: Measurements in this order.
        setup: Device, sizes and data.
        file: JSON lines; results are appended.
        ends: When the time is up, by `time.monotonic`.

    Returns:
        False if the device gives only errors after a measurement.
    """
    done = read(file)
    for number, measurement in enumerate(todo, 1):
        if measurement.key in done or time.monotonic() + measurement.seconds > ends:
            continue
        print(f"[{number}/{len(todo)}] {measurement.key}", flush=True)
        began = time.perf_counter()
        line: dict[str, Any] = {"key": measurement.key}
        try:
            line["numbers"] = measurement.run(setup)
        except Stopped:
            print("  stopped; the next call resumes from its checkpoint", flush=True)
            return True
        except Exception as error:
            line["error"] = f"{type(error).__name__}: {error}"
            line["where"] = traceback.format_exc().splitlines()[-8:]
        line |= {
            "seconds": round(time.perf_counter() - began, 2),
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        print(f"  {line.get('error') or _short(line['numbers'])} ({line['seconds']} s)", flush=True)
        torch.compiler.reset()
        if setup.device.type == "cuda" and not _device_works(setup):
            return False
    return True


def _short(numbers: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in numbers.items() if isinstance(value, int | float))


def _device_works(setup: Setup) -> bool:
    try:
        torch.cuda.empty_cache()
        setup.wait()
    except RuntimeError:
        print("  the device gives only errors from now on; give the same command again", flush=True)
        return False
    return True


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=9.0, help="start nothing that would end later (default 9)")
    parser.add_argument("--device", default="auto", help="auto, cuda:1, ...; cpu measures tiny sizes (default auto)")
    parser.add_argument(
        "--full", action="store_true", help="also measure runs of 200 and of 100 epochs, which resume when stopped"
    )
    parser.add_argument("--save", action="store_true", help="measure nothing; write results/gpu.json from the folder")
    options = parser.parse_args()
    file = options.out / "gpu.jsonl"
    if options.save:
        save(options.out)
        return
    ends = time.monotonic() + 60 * options.minutes
    check_device(options.device)
    device = find_device(options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]])
    (options.out / "provenance.json").write_text(json.dumps(provenance(device, command)), encoding="utf-8")
    setup = Setup(device, TINY if device.type == "cpu" else FULL)
    todo = measurements(setup, options.out, options.full)
    # A long run gets a signal when the time is up; it saves a checkpoint and stops.
    timer = threading.Timer(max(1.0, ends - time.monotonic()), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    if options.full:
        timer.start()
    works = measure(todo, setup, file, ends)
    timer.cancel()
    done = read(file)
    failed = [key for key, line in done.items() if "error" in line]
    left = sum(measurement.key not in done for measurement in todo)
    print(f"{len(done)} measured, {len(failed)} of them failed{': ' if failed else ''}{', '.join(failed)}; {left} left")
    sys.exit(0 if works else 1)


def save(out: Path) -> None:
    """Write the results of a folder where the page reads them."""
    origin = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    if origin["device"].startswith("cpu"):
        raise SystemExit(f"{out} was measured on {origin['device']} with tiny sizes: nothing for the page")
    lines = list(read(out / "gpu.jsonl").values())
    content = {
        "measured": max(line["at"] for line in lines),
        "provenance": origin,
        "packages": {name: number for name in ("torchvision", "triton") if (number := _version(name))},
        "contests": [],
        "measurements": lines,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "gpu.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def as_text(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the results as Markdown: training, other numbers, goals, failures."""
    numbers = {line["key"]: line["numbers"] for line in lines if "numbers" in line}
    ceiling = numbers.get("ceiling: bf16 product", {}).get("tflops")
    text = ["### Training, batch 512", "", "| what | images/s | ms a step | peak GiB |", "|:--|--:|--:|--:|"]
    for key, values in numbers.items():
        if "images_per_s" in values and "step_ms" in values:
            memory = values.get("peak_memory_gib", "")
            text.append(f"| {key} | {values['images_per_s']:,.0f} | {values['step_ms']:.4g} | {memory} |")
    text += ["", "### Other numbers", "", "| what | numbers |", "|:--|:--|"]
    for key, values in numbers.items():
        if "step_ms" not in values or "host_ms" in values:
            text.append(f"| {key} | {_short(values)} |")
    text += ["", *(f"- {goal}" for goal in goals(numbers, ceiling))]
    text += [f"- FAILED {line['key']}: {line['error'].splitlines()[0]}" for line in lines if "error" in line]
    return "\n".join([*text, ""])


def goals(numbers: Mapping[str, Numbers], ceiling: float | None) -> list[str]:
    """Return a line for each goal on an H200, and for each number that is extrapolated."""
    lines = []

    def goal(what: str, value: float, least: float) -> None:
        lines.append(f"{what}: **{value:,.4g}**; goal {least:,.4g}: {'reached' if value >= least else 'NOT reached'}")

    rates = {key: n["images_per_s"] for key, n in numbers.items() if key.startswith("simclr: ") and "images_per_s" in n}
    plain = {key: rate for key, rate in rates.items() if "fixed" not in key}
    if plain:
        best = max(plain, key=lambda key: plain[key])
        goal(f"SimCLR, images/s, the fastest ({best})", plain[best], 25_000)
        if ceiling:
            tflops = plain[best] * 2 * 3 * RESNET18_FLOP / 1e12
            lines.append(
                f"SimCLR's products run at {tflops:.3g} TFLOP/s, {tflops / ceiling:.1%} of the bf16 product's rate"
            )
    for mode in ("eager", "compiled"):
        if {f"simclr: {mode}", f"simclr: {mode}, fixed inputs"} <= rates.keys():
            goal(
                f"SimCLR {mode}, part of its rate on fixed inputs",
                rates[f"simclr: {mode}"] / rates[f"simclr: {mode}, fixed inputs"],
                0.9,
            )
    if parts := numbers.get("simclr: parts of a step"):
        goal(
            "device time of a SimCLR step over the time in which the host queues it",
            parts["step_ms"] / parts["host_ms"],
            1.0,
        )
    for key, run in numbers.items():
        costs = run.get("methods", {}).values()
        beside = sum(cost["embed_s"] + cost["tasks_s"] for cost in costs)
        if key.startswith("run: ") and plain:
            minutes = (200 * 50_000 / plain[best] + beside) / 60
            lines.append(f"200 epochs of SimCLR with three tasks, extrapolated: {minutes:.3g} min; goal: under 7")
        if key.startswith("full: "):
            minutes = (sum(cost["pretrain_s"] for cost in costs) + beside) / 60
            goal_minutes = 7 if "200" in key else 30
            lines.append(f"{key} with three tasks, measured: {minutes:.3g} min; goal: under {goal_minutes}")
    return lines


if __name__ == "__main__":
    main()
