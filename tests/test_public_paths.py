"""The import paths for authors of plugins are frozen: none disappears, and a new one is a decision.

After a decision: `python tests/test_public_paths.py --write` takes today's paths into public_paths.json.
"""

import importlib
import inspect
import json
import pkgutil
import sys
from pathlib import Path

FILE = Path(__file__).with_name("public_paths.json")
MODULES = ("bench_core", "bench_core.conformance", "bench_core.data", "bench_core.errors", "bench_core.views")
FOLDERS = ("bench_core.evaluation", "bench_core.nn")  # each module below them


def public_modules() -> list[str]:
    below = [
        f"{folder}.{module.name}"
        for folder in FOLDERS
        for module in pkgutil.iter_modules(importlib.import_module(folder).__path__)
    ]
    return sorted([*MODULES, *below])


def public_names(name: str) -> list[str]:
    """Return a module's `__all__`, or where it has none all that it defines under a public name."""
    module = importlib.import_module(name)
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    return sorted(
        attribute
        for attribute, value in vars(module).items()
        if not attribute.startswith("_") and not inspect.ismodule(value)
        if getattr(value, "__module__", name) == name
    )


def public_paths() -> dict[str, list[str]]:
    return {name: public_names(name) for name in public_modules()}


def test_no_public_path_disappears_and_a_new_one_is_written_down() -> None:
    frozen: dict[str, list[str]] = json.loads(FILE.read_text(encoding="utf-8"))
    today = public_paths()
    before = {f"{module}:{name}" for module, names in frozen.items() for name in names}
    now = {f"{module}:{name}" for module, names in today.items() for name in names}
    assert not before - now, "public paths that are gone"
    assert not now - before, "public paths that public_paths.json does not have"


if __name__ == "__main__" and "--write" in sys.argv:
    FILE.write_text(json.dumps(public_paths(), indent=1) + "\n", encoding="utf-8")
