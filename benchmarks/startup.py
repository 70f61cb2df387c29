"""Measure the start-up of whole processes: `python -m benchmarks.startup [--save]`.

Shell completion, `--help` and `--version` need nothing but click; `bench list` must import every plugin's module, and
those need torch. The column of memory is empty, because it covers this process only.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping

from benchmarks.contest import Budget, Contender, Contest, main

PLUGINS = "from importlib.metadata import entry_points; [entry.load() for entry in entry_points(group='bench')]"
COMPLETE = {"_BENCH_COMPLETE": "bash_complete", "COMP_WORDS": "bench ru", "COMP_CWORD": "1"}


def contests() -> list[Contest]:
    """Return two contests: commands that need no plugin, and commands that need all of them."""
    light = [Contender(f"bench {word}", bench(word)) for word in ("--help", "--version")]
    light.append(Contender("completion of `bench ru`", bench(variables=COMPLETE)))
    light.append(Contender("python alone", python("pass")))
    heavy = [
        Contender("bench list", bench("list")),
        Contender("import of the plugins", python(PLUGINS)),
        Contender("import torch", python("import torch")),
        Contender("import torch, torchvision", python("import torch, torchvision")),
        Contender("import lightly's SimCLR parts", python("import lightly.data, lightly.loss, lightly.transforms")),
    ]
    return [
        Contest(
            "Start-up without plugins, whole processes",
            light,
            budgets=[Budget(contender.name, "python alone", 0.25) for contender in light[:3]],
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


def bench(*arguments: str, variables: Mapping[str, str] | None = None) -> Callable[[], None]:
    """Return a call that runs the command line in a new process."""
    code = "from bench_core.cli import main; main(prog_name='bench')"  # as the installed script does
    return _process([sys.executable, "-c", code, *arguments], {**(variables or {})})


def python(code: str) -> Callable[[], None]:
    """Return a call that runs some code in a new process."""
    return _process([sys.executable, "-c", code], {})


def _process(command: list[str], variables: dict[str, str]) -> Callable[[], None]:
    return lambda: _run(command, {**os.environ, **variables})


def _run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)


if __name__ == "__main__":
    main("startup", contests, rounds=9)
