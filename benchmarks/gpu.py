"""All that is said of a GPU, measured in one call; it writes as it goes, and goes on where it was stopped.

    python -m benchmarks.gpu --out DIR [--minutes 9]    # again and again, until nothing is left to do
    python -m benchmarks.gpu --out DIR --save           # results/gpu.json, of which README.md is made
    python -m benchmarks.gpu --out DIR --full           # besides: 200 epochs of SimCLR, 100 of six methods; 40 minutes
    python -m benchmarks.gpu --out DIR --device cpu     # in tiny: whether the script works

It needs bench-core installed (its wheel will do) and nothing of the extra `benchmarks`; pictures are made where
`cifar10-jpeg` does not lie in BENCH_DATA. A measurement that fails is written down with its error and not tried again:
delete its line in DIR/gpu.jsonl for that. After an error that the device does not survive the next call goes on.
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
from benchmarks import gpu_measures as of
from benchmarks.contest import RESULTS
from benchmarks.gpu_measures import RESNET18_FLOP
from benchmarks.gpu_setup import FULL, TINY, Bed, Numbers
from benchmarks.gpu_step import graph, parts

TASKS = ("linear", "knn", "retrieval")
SIX = ("simclr", "byol", "moco", "swav", "nac", "sela")
GRAPHS = ("simclr", "nac", "barlow_twins")  # methods whose step keeps nothing in Python (tests/test_gpu_steps.py)


@dataclass(frozen=True)
class Measurement:
    """One line of the results.

    Attributes:
        key: Its name, which is never measured twice.
        run: Measures.
        seconds: What it takes on an H200, guessed: with less time left it is not begun.
    """

    key: str
    run: Callable[[Bed], Numbers]
    seconds: float = 15.0


def measurements(bed: Bed, out: Path, full: bool) -> list[Measurement]:
    """All, what matters most first."""
    train, epochs = of.training, bed.size.epochs
    others = [m for m in bed.methods() if m != "simclr"] if bed.size is FULL else ["byol", "vae"]
    found = [
        Measurement("ceiling: bf16 product", of.matmul, 5),
        Measurement("ceiling: copy", of.copy, 5),
        Measurement("simclr: eager", lambda bed: train(bed, "simclr")),
        Measurement("simclr: eager, fixed inputs", lambda bed: train(bed, "simclr", fixed=True)),
        Measurement("simclr: parts of a step", partial(parts, method="simclr")),
        Measurement("simclr: graph", partial(graph, method="simclr")),
        Measurement("simclr: eager, cuDNN tries", lambda bed: train(bed, "simclr", tuned=True), 30),
        Measurement("simclr: compiled", lambda bed: train(bed, "simclr", compiled=True), 100),
        Measurement("simclr: compiled, fixed inputs", lambda bed: train(bed, "simclr", fixed=True, compiled=True), 60),
        Measurement("simclr: compiled, graph", partial(graph, method="simclr", compiled=True), 60),
        Measurement("views: one of a batch", of.views, 5),
        Measurement("views: one of a batch, compiled", lambda bed: of.views(bed, compiled=True), 60),
        Measurement("optimisers", of.optimisers, 10),
        Measurement("embedding", of.embedding),
        *(Measurement(f"task: {name}", partial(of.task, name=name), 20) for name in TASKS),
        Measurement(
            f"run: simclr, {epochs} epochs",
            lambda bed: of.whole_run(bed, ["simclr"], TASKS, epochs, out / "short"),
            45,
        ),
        *(Measurement(f"{name}: eager", partial(train, method=name)) for name in others),
        *(Measurement(f"{n}: graph", partial(graph, method=n)) for n in GRAPHS[1:] if bed.size is FULL),
        *(Measurement(f"{name}: compiled", partial(train, method=name, compiled=True), 120) for name in others),
    ]
    if full:
        long, shorter = (200, 100) if bed.size is FULL else (2, 1)
        found += [
            Measurement(
                "full: simclr, 200 epochs", lambda bed: of.whole_run(bed, ["simclr"], TASKS, long, out / "long"), 60
            ),
            Measurement(
                "full: six methods, 100 epochs", lambda bed: of.whole_run(bed, SIX, TASKS, shorter, out / "six"), 60
            ),
        ]
    return found


def read(file: Path) -> dict[str, dict[str, Any]]:
    """Key -> line of what was measured; a line that was cut by a kill is not there."""
    found = {}
    for text in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        found[line["key"]] = line
    return found


def measure(todo: Sequence[Measurement], bed: Bed, file: Path, ends: float) -> bool:
    """Measure what is not in the file, until the time is up; whether the device still answers.

    Args:
        todo: In this order.
        bed: Where.
        file: JSON lines, added to.
        ends: By `time.monotonic`.
    """
    done = read(file)
    for number, one in enumerate(todo, 1):
        if one.key in done or time.monotonic() + one.seconds > ends:
            continue
        print(f"[{number}/{len(todo)}] {one.key}", flush=True)
        began = time.perf_counter()
        line: dict[str, Any] = {"key": one.key}
        try:
            line["numbers"] = one.run(bed)
        except Stopped:
            print("  stopped; the next call goes on from its checkpoint", flush=True)
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
        if bed.device.type == "cuda" and not _answers(bed):
            return False
    return True


def _short(numbers: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in numbers.items() if isinstance(value, int | float))


def _answers(bed: Bed) -> bool:
    try:
        torch.cuda.empty_cache()
        bed.wait()
    except RuntimeError:
        print("  the device gives only errors from here on; call again", flush=True)
        return False
    return True


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of what is measured")
    parser.add_argument("--minutes", type=float, default=9.0, help="begin nothing that would end later (default 9)")
    parser.add_argument("--device", default="auto", help="auto, cuda:1, ...; cpu measures in tiny")
    parser.add_argument(
        "--full", action="store_true", help="besides: runs of 200 and of 100 epochs, which may be stopped"
    )
    parser.add_argument("--save", action="store_true", help="measure nothing; write results/gpu.json")
    asked = parser.parse_args()
    file = asked.out / "gpu.jsonl"
    if asked.save:
        save(asked.out)
        return
    ends = time.monotonic() + 60 * asked.minutes
    check_device(asked.device)
    device = find_device(asked.device)
    asked.out.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "benchmarks.gpu", *sys.argv[1:]])
    (asked.out / "provenance.json").write_text(json.dumps(provenance(device, command)), encoding="utf-8")
    bed = Bed(device, TINY if device.type == "cpu" else FULL)
    todo = measurements(bed, asked.out, asked.full)
    # A long run is told to stop when the time is up; it keeps where it stands.
    timer = threading.Timer(max(1.0, ends - time.monotonic()), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    if asked.full:
        timer.start()
    answers = measure(todo, bed, file, ends)
    timer.cancel()
    done = read(file)
    failed = [key for key, line in done.items() if "error" in line]
    left = sum(one.key not in done for one in todo)
    print(f"{len(done)} measured, {len(failed)} of them failed{': ' if failed else ''}{', '.join(failed)}; {left} left")
    sys.exit(0 if answers else 1)


def save(out: Path) -> None:
    """What a folder holds, as the page reads it."""
    here = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    if here["device"].startswith("cpu"):
        raise SystemExit(f"{out} was measured on {here['device']}, in tiny: nothing for the page")
    lines = list(read(out / "gpu.jsonl").values())
    content = {
        "measured": max(line["at"] for line in lines),
        "provenance": here,
        "packages": {name: found for name in ("torchvision", "triton") if (found := _version(name))},
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
    """What was measured, as Markdown: training, the other numbers, what was aimed at, what failed."""
    numbers = {line["key"]: line["numbers"] for line in lines if "numbers" in line}
    ceiling = numbers.get("ceiling: bf16 product", {}).get("tflops")
    text = ["### Training, batch 512", "", "| what | images/s | ms a step | peak GiB |", "|:--|--:|--:|--:|"]
    for key, found in numbers.items():
        if "images_per_s" in found and "step_ms" in found:
            memory = found.get("peak_memory_gib", "")
            text.append(f"| {key} | {found['images_per_s']:,.0f} | {found['step_ms']:.4g} | {memory} |")
    text += ["", "### Other numbers", "", "| what | numbers |", "|:--|:--|"]
    text += [
        f"| {key} | {_short(found)} |" for key, found in numbers.items() if "step_ms" not in found or "host_ms" in found
    ]
    text += ["", *(f"- {goal}" for goal in goals(numbers, ceiling))]
    text += [f"- FAILED {line['key']}: {line['error'].splitlines()[0]}" for line in lines if "error" in line]
    return "\n".join([*text, ""])


def goals(numbers: Mapping[str, Numbers], ceiling: float | None) -> list[str]:
    """What was aimed at on an H200, and what came of it."""
    found = []

    def goal(what: str, value: float, least: float) -> None:
        found.append(f"{what}: **{value:,.4g}**; goal {least:,.4g}: {'reached' if value >= least else 'NOT reached'}")

    rates = {key: n["images_per_s"] for key, n in numbers.items() if key.startswith("simclr: ") and "images_per_s" in n}
    plain = {key: rate for key, rate in rates.items() if "fixed" not in key}
    if plain:
        best = max(plain, key=lambda key: plain[key])
        goal(f"SimCLR, images/s, the fastest ({best})", plain[best], 25_000)
        if ceiling:
            tflops = plain[best] * 2 * 3 * RESNET18_FLOP / 1e12
            found.append(
                f"SimCLR's products run at {tflops:.3g} TFLOP/s, {tflops / ceiling:.1%} of the bf16 product's rate"
            )
    for way in ("eager", "compiled"):
        if {f"simclr: {way}", f"simclr: {way}, fixed inputs"} <= rates.keys():
            goal(
                f"SimCLR {way}, part of its rate on fixed inputs",
                rates[f"simclr: {way}"] / rates[f"simclr: {way}, fixed inputs"],
                0.9,
            )
    if parts := numbers.get("simclr: parts of a step"):
        goal(
            "device time of a SimCLR step over what the host takes to ask for it",
            parts["step_ms"] / parts["host_ms"],
            1.0,
        )
    for key, run in numbers.items():
        costs = run.get("methods", {}).values()
        beside = sum(cost["embed_s"] + cost["tasks_s"] for cost in costs)
        if key.startswith("run: ") and plain:
            minutes = (200 * 50_000 / plain[best] + beside) / 60
            found.append(f"200 epochs of SimCLR with three tasks, extrapolated: {minutes:.3g} min; goal: under 7")
        if key.startswith("full: "):
            minutes = (sum(cost["pretrain_s"] for cost in costs) + beside) / 60
            goal_minutes = 7 if "200" in key else 30
            found.append(f"{key} with three tasks, measured: {minutes:.3g} min; goal: under {goal_minutes}")
    return found


if __name__ == "__main__":
    main()
