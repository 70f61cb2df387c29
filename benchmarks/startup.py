"""Start-up, whole processes: `python -m benchmarks.startup [--save]`.

Shell completion, `--help` and `--version` need nothing but click; `bench list` must import every plugin's module, and
those stand on torch. The column of memory leaves other processes out.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping

from benchmarks.contest import Budget, Contest, Way, main

PLUGINS = "from importlib.metadata import entry_points; [entry.load() for entry in entry_points(group='bench')]"
COMPLETE = {"_BENCH_COMPLETE": "bash_complete", "COMP_WORDS": "bench ru", "COMP_CWORD": "1"}


def contests() -> list[Contest]:
    """What needs no plugin, and what needs all of them."""
    light = [Way(f"bench {word}", bench(word)) for word in ("--help", "--version")]
    light.append(Way("completion of `bench ru`", bench(variables=COMPLETE)))
    light.append(Way("python alone", python("pass")))
    heavy = [
        Way("bench list", bench("list")),
        Way("import of the plugins", python(PLUGINS)),
        Way("import torch", python("import torch")),
        Way("import torch, torchvision", python("import torch, torchvision")),
        Way("import lightly's SimCLR parts", python("import lightly.data, lightly.loss, lightly.transforms")),
    ]
    return [
        Contest(
            "Start-up without plugins, whole processes",
            light,
            budgets=[Budget(way.name, "python alone", 0.25) for way in light[:3]],
            notes=["neither torch nor numpy is imported: tests/bench_core/test_public_names.py holds this"],
        ),
        Contest(
            "Start-up with all plugins, whole processes",
            heavy,
            budgets=[
                Budget("bench list", "import of the plugins", 1.0),
                Budget("bench list", "import torch", 1.0),
            ],
            notes=[
                "torchvision, scipy's parts, pandas, scikit-learn and faiss load where they are used; a test holds it"
            ],
        ),
    ]


def bench(*words: str, variables: Mapping[str, str] | None = None) -> Callable[[], None]:
    """The command line, in a process of its own."""
    code = "from bench_core.cli import main; main(prog_name='bench')"  # as the installed script does
    return _process([sys.executable, "-c", code, *words], {**(variables or {})})


def python(code: str) -> Callable[[], None]:
    """Some code, in a process of its own."""
    return _process([sys.executable, "-c", code], {})


def _process(words: list[str], variables: dict[str, str]) -> Callable[[], None]:
    return lambda: _run(words, {**os.environ, **variables})


def _run(words: list[str], environment: dict[str, str]) -> None:
    subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main("startup", contests, rounds=9)
