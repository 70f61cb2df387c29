"""Puts odd values into every field of every file that a stranger can hand over, and runs every command that reads them.

    python -m tests.bad_input.fuzz                      # the full grid: every field, value and command
    python -m tests.bad_input.fuzz --share 0.05 --seed 3 --kinds record,attempt

A command may do its work or refuse it: exit code 0, 1 or 2, at most one line of error, and never a traceback. A case is
(kind of file, field, value, command); `test_fuzz.py` tries a sample of the cases.
"""

import argparse
import copy
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

from click.testing import CliRunner

from bench_core.cli.group import main
from bench_core.errors import StoreError
from bench_core.files import sealed, unsealed
from bench_core.keys import key_of
from bench_core.plugins import Registry, load_plugins
from bench_core.training.checkpoints import pack, unpack
from tests.chain_forms import make_older

BOARD = """
title = "Tiny"
description = "All of a board's keys."
seeds = [0, 1]
precision = "fp32"
[recipe]
epochs = 1
batch_size = 32
[datasets.digits]
train_size = 64
[encoders.convnet]
widths = [4, 4]
[methods.random]
[methods.nac]
code_dim = 8
recipe.learning_rate = 1e-3
[methods.from_nac]
use = "nac"
code_dim = 8
flip = 0.2
init = "nac"
[tasks.knn]
k = 5
[pictures.plane]
x = "knn:top1"
y = "knn:top1"
"""
NUMBERS = """
[[number]]
method = "nac"
dataset = "digits"
beside = ["mnist"]
setting = "a network"
metric = "top1"
value = 0.7
unit = "fraction"
source = "paper, Table 1"
url = "https://example.org/a"
verified = "read"
"""

DELETED = "(deleted)"
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
VALUES: dict[str, Any] = {
    "missing": DELETED, "null": None, "text": "x", "no text": "", "number": 7, "negative": -1, "fraction": 0.5,
    "true": True, "list": [1], "object": {"a": 1}, "huge": 10**400, "64 bits": 2**63, "large float": 1e308,
    "NaN": float("nan"), "infinity": float("inf"), "deep": DEEP, "half a character": "\ud800",
    "control characters": "a\x1b[2J\x00\n", "path": "../../x", "long": "a" * 100_000, "formula": "=1+1",
    "quote": "it's",
}  # fmt: skip

COMMANDS: dict[str, tuple[str, ...]] = {
    "table": ("table",),
    "table of a board": ("table", "--board", "tiny", "--format", "md", "--published"),
    "table as json": ("table", "--format", "json"),
    "table --check": ("table", "--check", "--leaderboards", "leaderboards", "--readme", "README.md"),
    "run --dry-run": ("run", "--board", "tiny", "--dry-run"),
    "run": ("run", "--board", "tiny", "--device", "cpu", "--quiet"),
    "run --rerun": ("run", "--board", "tiny", "--device", "cpu", "--quiet", "--seeds", "0", "--rerun", "knn"),
    "why": ("why", "nac/knn/0", "--board", "tiny"),
    "compare": ("compare", "--format", "md"),
    "compare two rows": ("compare", "nac", "from_nac", "--every-metric"),
    "compare of a board": ("compare", "--board", "tiny", "--store", "leaderboards/tiny"),
    "export": ("export", "--csv", "out.csv", "--sqlite", "out.sqlite", "--parquet", "out.parquet"),
    "plot": ("plot", "--out", "pictures"),
    "plot of similarity": ("plot", "--out", "pictures", "--kind", "similarity"),
    "show": ("show", "nac", "--board", "tiny"),
    "list": ("list", "boards"),
    "verify": ("verify", "KEY", "--device", "cpu", "--quiet"),
    "merge": ("merge", "runs", "--store", "ours"),
    "merge of a board": ("merge", "leaderboards/tiny", "--store", "ours"),
    "publish": ("publish", "tiny", "--partial", "--leaderboards", "leaderboards", "--readme", "README.md"),
    "publish --pages": ("publish", "--pages", "--leaderboards", "leaderboards", "--readme", "README.md"),
    "init": ("run", "--methods", "vae", "--tasks", "knn", "--dry-run", "--set", "vae.init=CHAIN", "--set",
             "digits.train_size=64", "--set", "convnet.widths=[4,4]"),
}  # fmt: skip

_OF_STORE = (
    "table", "table of a board", "table as json", "run --dry-run", "run", "run --rerun", "why", "compare",
    "compare two rows", "export", "plot", "plot of similarity", "verify", "merge", "publish",
)  # fmt: skip
_OF_PAGES = ("table --check", "publish", "publish --pages")
READERS: dict[str, tuple[str, ...]] = {  # the commands that open each kind of file
    "record": _OF_STORE,
    "published record": ("compare of a board", "merge of a board", *_OF_PAGES),
    "attempt": _OF_STORE,
    "published attempt": ("merge of a board", *_OF_PAGES),
    "chain": ("merge", "init", "run", "run --rerun", "run --dry-run", "plot of similarity"),
    "recipe": ("merge", "init", "run"),
    "summary": ("merge", "init", "run", "run --rerun", "run --dry-run", "plot of similarity"),
    "embeddings": ("merge", "run", "run --rerun", "plot of similarity"),
    "log": ("merge",),
    "checkpoint": ("run", "run --dry-run", "merge"),
    "marker": _OF_STORE,
    "moves": ("run", "run --rerun"),
    "board": ("table of a board", "run --dry-run", "run", "run --rerun", "why", "compare of a board", "show", "list",
              "publish", "publish --pages", "table --check"),
    "reported numbers": ("table of a board", *_OF_PAGES),
}  # fmt: skip

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        pattern: Finds one such file below the working folder; the first of several is changed.
        read: From the file to its content, dicts and lists.
        write: Writes changed content over the file, with the key and the seal that belong to it.
    """

    pattern: str
    read: Callable[[Path], Any]
    write: Callable[[Path, Any], None]


def _read_json(path: Path) -> Any:
    value = json.loads(path.read_text())
    return unsealed(value, path) if "sha256" in value else value


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def _write_sealed(path: Path, value: Any) -> None:
    with suppress(StoreError, ValueError, TypeError, RecursionError):  # NaN: nobody can seal it
        value = sealed(value)
    _write_json(path, value)


def _key(document: Any) -> str | None:
    try:
        return key_of(document)
    except (ValueError, TypeError, RecursionError):
        return None


def _write_record(path: Path, value: Any) -> None:
    """Write a record under the key of its document, as a stranger would who wants it to be read."""
    old = _read_json(path)
    if isinstance(value, dict) and value.get("doc") != old["doc"] and value.get("key") == old["key"]:
        path.unlink()
        value["key"] = _key(value.get("doc")) or old["key"]
        path = path.with_name(f"{value['key']}.json")
    _write_sealed(path, value)


def _write_attempt(path: Path, value: Any) -> None:
    old = _read_json(path)
    if isinstance(value, dict) and value.get("doc") != old["doc"] and value.get("key") == old["key"]:
        path.unlink()
        value["key"] = _key(value.get("doc")) or old["key"]
        in_store = path.parent.name == old["key"]
        path = path.parent.parent / value["key"] / path.name if in_store else path.with_name(f"{value['key']}.json")
        path.parent.mkdir(exist_ok=True)
    _write_json(path, value)


def _write_recipe(path: Path, value: Any) -> None:
    key = _key(value.get("doc")) if isinstance(value, dict) else None
    _write_json(path, value)
    if key and key != path.parent.name:
        path.parent.rename(path.parent.with_name(key))


def _write_chain(path: Path, value: Any) -> None:
    """Write the file of a trained chain, with its seal, into the folder of its document's key."""
    _write_sealed(path, value)
    recipe = value.get("recipe") if isinstance(value, dict) else None
    key = _key(recipe.get("doc")) if isinstance(recipe, dict) else None
    if key and key != path.parent.name:
        path.parent.rename(path.parent.with_name(key))


def _read_log(path: Path) -> Any:
    return json.loads(path.read_text().splitlines()[0])


def _write_log(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value) + "\n{}\n")


def _read_checkpoint(path: Path) -> Any:
    return unpack(path.read_bytes())


def _write_checkpoint(path: Path, value: Any) -> None:
    import hashlib

    try:
        content = pack(value)
    except (TypeError, AttributeError):  # no checkpoint can hold it
        return
    step, code, _ = path.stem.split("-")
    path.unlink()
    path.with_name(f"{step}-{code}-{hashlib.sha256(content).hexdigest()}.safetensors").write_bytes(content)


def _read_toml(path: Path) -> Any:
    return tomllib.loads(path.read_text())


def _toml(value: Any) -> str:
    """Write a value as TOML; what TOML lacks is written as JSON has it, and is wrong."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return str(value)
    return json.dumps(value)


def _write_toml(path: Path, value: Any) -> None:
    lines = (
        [f"{json.dumps(name)} = {_toml(item)}" for name, item in value.items()]
        if isinstance(value, dict)
        else [_toml(value)]
    )
    path.write_text("\n".join(lines) + "\n")


KINDS: dict[str, Kind] = {
    "record": Kind("runs/cells/*/*.json", _read_json, _write_record),
    "published record": Kind("leaderboards/tiny/records/*.json", _read_json, _write_record),
    "attempt": Kind("runs/attempts/*/*.json", _read_json, _write_attempt),
    "published attempt": Kind("leaderboards/tiny/failed/*.json", _read_json, _write_attempt),
    "chain": Kind("runs/chains/*/chain.json", _read_json, _write_chain),
    "recipe": Kind("runs/chains/*[!y]/recipe.json", _read_json, _write_recipe),
    "summary": Kind("runs/chains/*/summary.json", _read_json, _write_sealed),
    "embeddings": Kind("runs/chains/*/embeddings/*/done.json", _read_json, _write_sealed),
    "log": Kind("runs/chains/*[!y]/log.jsonl", _read_log, _write_log),
    "checkpoint": Kind("runs/chains/*.under-way/*.safetensors", _read_checkpoint, _write_checkpoint),
    "marker": Kind("runs/bench-store.json", _read_json, _write_json),
    "moves": Kind("runs/rerun/a/moves/*.json", _read_json, _write_json),
    "board": Kind("leaderboards/tiny/board.toml", _read_toml, _write_toml),
    "reported numbers": Kind("leaderboards/published.toml", _read_toml, _write_toml),
}


def places(value: Any, before: Place = ()) -> Iterator[Place]:
    """Yield the place of every field at any depth; of a list the first and the last item, () for the whole."""
    yield before
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*before, name))
    elif isinstance(value, list):
        for position in sorted({0, len(value) - 1} if value else set()):
            yield from places(value[position], (*before, position))


def changed(content: Any, place: Place, value: Any) -> Any:
    """Return a copy of content with another value at a place."""
    content = copy.deepcopy(content)
    if not place:
        return {} if value == DELETED else value
    parent = content
    for name in place[:-1]:
        parent = parent[name]
    if isinstance(value, str) and value == DELETED:
        del parent[place[-1]]
    else:
        parent[place[-1]] = copy.copy(value)
    return content


@dataclass(frozen=True)
class Case:
    """One value at one place of one kind of file, and a command that is run then."""

    kind: str
    place: Place
    value: str
    command: str

    def __str__(self) -> str:
        """Return the case in one line."""
        return f"{self.kind}: {'.'.join(map(str, self.place))} = {self.value}: {self.command}"


class Fuzz:
    """A working folder with a store, a board and its published records, from which each case gets a copy."""

    def __init__(self, folder: Path) -> None:
        """Fill the folder; takes some seconds.

        Args:
            folder: An empty folder.
        """
        self.folder, self.good = folder, folder / "good"
        self._registry: list[Registry] = []  # loaded once: most of a command's time
        tiny = self.good / "leaderboards" / "tiny"
        tiny.mkdir(parents=True)
        (tiny / "board.toml").write_text(BOARD)
        (tiny.parent / "published.toml").write_text(NUMBERS)
        (self.good / "README.md").write_text("# Tiny\n")
        with self.inside(self.good):
            self._do("run", *COMMANDS["run"][1:], "--seeds", "0")
            make_older(sorted(Path("runs/chains").iterdir())[0])
            with mock.patch("bench_core.running.chain.save_tensors", side_effect=RuntimeError("interrupted")):
                CliRunner().invoke(main, [*COMMANDS["run"], "--seeds", "1", "--checkpoint-every", "0"])
            self._do(*COMMANDS["publish"])
        moves = self.good / "runs" / "rerun" / "a" / "moves" / f"{'0' * 64}.json"
        moves.parent.mkdir(parents=True)
        _write_json(moves, {"when": "20260101T000000000000", "chain": "0" * 64, "cells": ["0" * 64], "left_behind": []})
        self.contents = {name: kind.read(self._file(name, self.good)) for name, kind in KINDS.items()}

    def cases(self, kinds: Sequence[str] = tuple(KINDS)) -> list[Case]:
        """List all cases of these kinds."""
        return [
            Case(kind, place, value, command)
            for kind in kinds
            for place, value, command in product(places(self.contents[kind]), VALUES, READERS[kind])
            if not (
                place[-1:] in (("epochs",), ("counts",)) and value in ("64 bits", "number", "large float")
            )  # trains for ever
        ]

    def fault(self, case: Case) -> str | None:
        """Try a case in a fresh folder, and return what came out wrong, or None."""
        here = self.folder / "here"
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(self.good, here)
        kind = KINDS[case.kind]
        file = self._file(case.kind, here)
        before = {path.stem for path in here.glob("runs/cells/*/*.json")}
        chains = {path.name for path in here.glob("runs/chains/*")}
        kind.write(file, changed(self.contents[case.kind], case.place, VALUES[case.value]))
        after = {path.stem for path in here.glob("runs/cells/*/*.json")}
        key = next(iter(sorted(after - before)), sorted(after)[0])
        moved = {path.name for path in here.glob("runs/chains/*")} - chains
        chain = here / "runs" / "chains" / next(iter(moved), file.parent.name)
        words = [word.replace("KEY", key).replace("CHAIN", str(chain)) for word in COMMANDS[case.command]]
        with self.inside(here):
            result = CliRunner().invoke(main, words)
        errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            return f"{type(result.exception).__name__}: {str(result.exception)[:200]}"
        is_traceback = any(line.startswith("Traceback") for line in result.output.splitlines())
        if result.exit_code not in (0, 1, 2) or is_traceback:
            return f"exit code {result.exit_code}: {result.output[-300:]}"
        if len(errors) > 1 or any(len(line) > 1500 or not line.isprintable() for line in errors):
            return f"{len(errors)} errors, or one that is no line: {result.stderr[-300:]}"
        if "\x1b" in result.output:
            return "a control character reaches the terminal"
        return None

    @contextmanager
    def inside(self, folder: Path) -> Iterator[None]:
        """Make a folder the working folder and the checkout whose boards are known, and end what takes too long."""

        def end(number: int, frame: FrameType | None) -> None:
            raise TimeoutError("it takes too long")

        if not self._registry:
            self._registry.append(load_plugins())
        before, handler = Path.cwd(), signal.signal(signal.SIGALRM, end)
        os.chdir(folder)
        signal.alarm(60)
        try:
            with (
                mock.patch("bench_core.plugins.load_plugins", return_value=self._registry[0]),
                mock.patch("bench_core.reports.pages.publish.load_plugins", return_value=self._registry[0]),
                mock.patch("bench_core.planning.board_files.checkout", return_value=folder),
                mock.patch("bench_core.reports.pages.reported_numbers.checkout", return_value=folder),
                mock.patch("bench_core.running.provenance._commit", return_value=(None, None)),  # as from a wheel
            ):
                yield
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, handler)
            os.chdir(before)

    def _do(self, *words: str) -> None:
        result = CliRunner().invoke(main, words)
        if result.exit_code:
            raise AssertionError(f"{words}: {result.output}") from result.exception

    def _file(self, kind: str, world: Path) -> Path:
        return sorted(world.glob(KINDS[kind].pattern))[0]


def sample(cases: Sequence[Case], number: int, seed: int) -> list[Case]:
    """Draw cases; each kind is drawn equally often, whatever the number of its fields."""
    of_kind: dict[str, list[Case]] = {}
    for case in cases:
        of_kind.setdefault(case.kind, []).append(case)
    rng = random.Random(seed)
    return [case for kind in of_kind.values() for case in rng.sample(kind, min(len(kind), number // len(of_kind)))]


def report(faults: Mapping[Case, str]) -> str:
    """Return the faults by what they are, each with its number and one case."""
    counts = Counter(faults.values())
    first = {fault: case for case, fault in reversed(list(faults.items()))}
    return "\n".join(f"{number:5}  {fault}\n       {first[fault]}" for fault, number in counts.most_common())


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--share", type=float, default=1.0, help="share of the cases that is tried")
    parser.add_argument("--seed", type=int, default=0, help="draws the share")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of files")
    asked = parser.parse_args()
    faults: dict[Case, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(Path(folder))
        cases = fuzz.cases(asked.kinds.split(","))
        cases = random.Random(asked.seed).sample(cases, int(len(cases) * asked.share))
        for case in cases:
            if fault := fuzz.fault(case):
                faults[case] = fault
                sys.stdout.write(f"{case}: {fault}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{len(cases)} cases, {len(faults)} wrong\n{report(faults)}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(_main())
