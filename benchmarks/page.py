"""README.md of this folder, made of results/*.json: `python -m benchmarks.page [--check]`."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import gpu
from benchmarks.contest import RESULTS, as_text

PAGE = Path(__file__).with_name("README.md")
INTRODUCTION = """\
# Benchmarks

How fast we are, side by side with what people use today. This page is made of `results/*.json` by
`python -m benchmarks.page`; nothing here is typed by hand. To measure again, from the checkout:

```bash
pip install -e '.[benchmarks]'
python -m benchmarks.views --save     # one of: {scripts}
python -m benchmarks.page
```

All ways to do a work run in turns in one process, the threads of torch are set, and a ratio is taken within each round;
the median over rounds stands here with the range. Seconds are CPU seconds over all threads: on a shared machine wall
time is noise. Memory is what a call takes at most beyond what the process held before.

A GPU is measured by another script, in one call that writes as it goes and goes on where it was stopped; times there
are the device's own. Nothing of the extra `benchmarks` is needed, and no network:

```bash
python -m benchmarks.gpu --out gpu-results --minutes 9   # until it says that nothing is left
python -m benchmarks.gpu --out gpu-results --save && python -m benchmarks.page
```
"""


def page() -> str:
    """The page as it should be."""
    files = sorted(RESULTS.glob("*.json"))
    contents = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    parts = [INTRODUCTION.format(scripts=", ".join(f"`{name}`" for name in contents)), _summary(contents)]
    for name, content in contents.items():
        parts.append(f"## {name}\n\n{_origin(content)}\n")
        parts += [as_text(contest) for contest in content["contests"]]
        if "measurements" in content:
            parts.append(gpu.as_text(content["measurements"]))
    return "\n".join(parts)


def _summary(contents: Mapping[str, Any]) -> str:
    """All goals and budgets in one table."""
    lines = ["## At a glance", "", "| work | ours | against | measured | goal | |", "|:--|:--|:--|--:|--:|:--|"]
    for contest in (contest for content in contents.values() for contest in content["contests"]):
        for goal in contest["goals"]:
            found = median(goal["ratios"])
            reached = "reached" if found >= goal["ratio"] else "**not reached**"
            against = f"{contest['work']} | {goal['ours']} | {goal['theirs']}"
            lines.append(f"| {against} | {found:.3g}x | {goal['ratio']:g}x | {reached} |")
        for budget in contest.get("budgets", ()):
            found = median(budget["excess"])
            kept = "kept" if found <= budget["seconds"] else "**not kept**"
            lines.append(
                f"| {contest['work']} | {budget['way']} | {budget['beyond']} | {found:.2f} s more | "
                f"{budget['seconds']:g} s | {kept} |"
            )
        if powers := contest.get("exponents"):
            lines.append(f"| {contest['work']} | | size | power {median(powers):.2f} | | |")
    return "\n".join([*lines, ""])


def _origin(content: dict[str, Any]) -> str:
    here = content["provenance"]
    packages = ", ".join(f"{name} {version}" for name, version in sorted(content["packages"].items()))
    dirty, commit = ", with changes" if here["dirty"] else "", here["commit"] or "unknown"
    return (
        f"`{here['command']}`, {here['threads']} thread(s), {here['device']}, {here['cores']} cores, "
        f"Python {here['python']}, torch {here['torch']}, {packages}; commit {commit[:8]}{dirty}, "
        f"{content['measured'][:10]}."
    )


def main() -> None:
    """Write the page, or say whether it is as it should be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page is another")
    if parser.parse_args().check:
        if PAGE.read_text(encoding="utf-8") != page():
            sys.exit("benchmarks/README.md is not what results/ give; run python -m benchmarks.page")
        return
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
