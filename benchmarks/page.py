"""Make README.md of this folder from results/*.json: `python -m benchmarks.page [--check]`."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import gpu, proxy, store_size
from benchmarks.contest import RESULTS, as_text

PAGE = Path(__file__).with_name("README.md")
INTRODUCTION = """\
# Benchmarks

This page shows how fast bench is beside the libraries that people use today. It is made from `results/*.json` by
`python -m benchmarks.page`; nothing here is typed by hand. To measure again, from the checkout:

```bash
pip install -e '.[benchmarks]'
python -m benchmarks.views --save     # one of: {scripts}
python -m benchmarks.page
```

All contenders of a contest run in turns in one process with a fixed number of threads. A ratio is taken within each
round, and this page shows the median over rounds with its range. Seconds are CPU seconds over all threads, because on a
shared machine wall time is noise. Memory is the peak of a call beyond what the process held before.

A GPU is measured by another script. One call writes results as it measures, and the next call resumes where it was
stopped. Its times are taken by the device's own clock. It needs no network and nothing of the extra `benchmarks`:

```bash
python -m benchmarks.gpu --out gpu-results --minutes 9   # repeat until it prints "0 left"
python -m benchmarks.gpu --out gpu-results --save && python -m benchmarks.page
```

Not of speed, but of statistics: [bold.md](bold.md) shows on simulated boards how well bold keeps its promise.
"""


def page() -> str:
    """Return the page that the results give."""
    files = sorted(RESULTS.glob("*.json"))
    contents = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    parts = [INTRODUCTION.format(scripts=", ".join(f"`{name}`" for name in contents)), _summary(contents)]
    for name, content in contents.items():
        parts.append(f"## {name}\n\n{_origin(content)}\n")
        parts += [as_text(contest) for contest in content["contests"]]
        if "measurements" in content:
            parts.append(gpu.as_text(content["measurements"]))
        if "commands" in content:
            parts.append(store_size.as_text(content["commands"]))
        if "orders" in content:
            parts.append(proxy.as_text(content["orders"]))
    return "\n".join(parts)


def _summary(contents: Mapping[str, Any]) -> str:
    """Return one table of all goals, budgets and exponents."""
    lines = ["## At a glance", "", "| work | ours | against | measured | goal | |", "|:--|:--|:--|--:|--:|:--|"]
    for contest in (contest for content in contents.values() for contest in content["contests"]):
        for goal in contest["goals"]:
            ratio = median(goal["ratios"])
            reached = "reached" if ratio >= goal["ratio"] else "**not reached**"
            against = f"{contest['work']} | {goal['ours']} | {goal['theirs']}"
            lines.append(f"| {against} | {ratio:.3g}x | {goal['ratio']:g}x | {reached} |")
        for budget in contest.get("budgets", ()):
            seconds = median(budget["excess"])
            kept = "kept" if seconds <= budget["seconds"] else "**not kept**"
            lines.append(
                f"| {contest['work']} | {budget['way']} | {budget['beyond']} | {seconds:.2f} s more | "
                f"{budget['seconds']:g} s | {kept} |"
            )
        if powers := contest.get("exponents"):
            lines.append(f"| {contest['work']} | | size | power {median(powers):.2f} | | |")
    return "\n".join([*lines, ""])


def _origin(content: dict[str, Any]) -> str:
    """Return a line with the command, the machine, the versions and the date of a script's results."""
    origin = content["provenance"]
    packages = ", ".join(f"{name} {version}" for name, version in sorted(content["packages"].items()))
    dirty, commit = ", with changes" if origin["dirty"] else "", origin["commit"] or "unknown"
    return (
        f"`{origin['command']}`, {origin['threads']} thread(s), {origin['device']}, {origin['cores']} cores, "
        f"Python {origin['python']}, torch {origin['torch']}, {packages}; commit {commit[:8]}{dirty}, "
        f"{content['measured'][:10]}."
    )


def main() -> None:
    """Write the page, or check it with `--check`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with code 1 if it differs")
    if parser.parse_args().check:
        if PAGE.read_text(encoding="utf-8") != page():
            sys.exit("benchmarks/README.md is not what results/ give; run python -m benchmarks.page")
        return
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
