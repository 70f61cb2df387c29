"""Faults made on purpose: killed runs, damaged files, full disks; what a store is afterwards.

    python tests/faults/campaign.py --kills 100 --tries 6 --seed 0 --out docs/reliability.md

An undisturbed store is made first. Every fault then strikes another one, the same command is given until it ends, and
both stores must agree: rows without times, weights, embeddings and logs to the bit. Most runs are forks of this process
(it has imported everything once, so that a kill costs tenths of a second); some are processes of their own.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a process with threads cannot be forked

import argparse
import base64
import hashlib
import importlib
import json
import mmap
import platform
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench_core.cli import group
from bench_core.cli import run as cli_run
from bench_core.errors import StoreError
from bench_core.planning import plan
from bench_core.plugins import load_plugins
from bench_core.reports.pages.markers import splice
from bench_core.running import chain, runner
from bench_core.running.provenance import provenance
from bench_core.store import Store
from bench_core.store.per_item import unpack_items
from bench_core.store.store import MARKER, read_record
from bench_core.training import checkpoints

Rng = random.Random
Limit = Callable[[], object]  # called in a run's process before the command

COMMON = ["--device", "cpu", "--epochs", "2", "--checkpoint-every"]
METHODS = {  # one player; two; a queue and a moving average; labels made anew
    "simclr": [],
    "uctrl": ["--set", "uctrl.width=8", "--set", "uctrl.latent_dim=16"],
    "moco": ["--set", "moco.queue_size=512"],
    "sela": [],
}
ONE = ["--methods", "moco", "--tasks", "knn", *METHODS["moco"], *COMMON, "0.1"]
THREE = [  # chains; with `--jobs 2` two run at once, and the third waits for the weights that it starts from
    "--methods", "simclr,moco", "--sweep", "moco.init=none,simclr", "--tasks", "knn,retrieval", *METHODS["moco"],
    *COMMON, "0.1",
]  # fmt: skip
SIGNALS = [signal.SIGKILL] * 6 + [signal.SIGTERM] * 2 + [signal.SIGUSR1, signal.SIGINT]
PHASES = {  # name -> where it happens, and for how long a signal may wait in it, in seconds
    "planning": (plan, "make_plan", 0.1),
    "training": (chain, "pretrain", 1.0),
    "writing a checkpoint": (checkpoints, "_write", 0.01),
    "writing weights": (chain, "save_tensors", 0.01),
    "embedding": (chain, "embed_all", 0.1),
    "tasks": (runner, "run_cell", 0.2),
    "writing a record": (Store, "publish", 0.01),
    "table and page": (cli_run, "_print_outcome", 0.05),
}
MOMENTS = {  # of a run whose chains are processes of their own -> what then lies in its store
    "chains start": "bench-store.json",
    "training": "chains/*.under-way/*.safetensors",
    "embedding and tasks": "chains/*/summary.json",
    "a record is there": "cells/*/*.json",
}
WATCHES, CHAIN = "`--jobs 2`, who watches", "`--jobs 2`, a chain's process"
OUTSIDE = "between these"
FRESH = "a fresh process, from its start on"
PATIENCE = 3600.0  # seconds after which a run counts as hung


class Phase:
    """In which phase the run is that was forked last, told through shared memory."""

    def __init__(self) -> None:
        """Wrap the functions that the phases are; the forks inherit them."""
        self.byte = mmap.mmap(-1, 1)
        self.names = [OUTSIDE, *PHASES]
        for number, (owner, name, _) in enumerate(PHASES.values(), 1):
            setattr(owner, name, self._telling(getattr(owner, name), number))

    def __call__(self) -> str:
        """Its name."""
        return self.names[self.byte[0]]

    def _telling(self, function: Callable[..., Any], number: int) -> Callable[..., Any]:
        def told(*words: Any, **named: Any) -> Any:
            outer, self.byte[0] = self.byte[0], number
            try:
                return function(*words, **named)
            finally:
                self.byte[0] = outer

        return told


class Run:
    """`bench run` in a process of its own: a fork of this one, or a fresh one."""

    def __init__(self, words: Sequence[str], store: Path, *, fresh: bool = False, limit: Limit | None = None) -> None:
        """Start it."""
        self.log = store.with_suffix(f".{time.monotonic_ns()}.log")
        self.code: int | None = None
        words = ["run", *words, "--store", str(store)]
        with self.log.open("wb") as out:
            if fresh:
                started = subprocess.Popen([sys.executable, "-m", "bench_core", *words], stdout=out, stderr=out)
                self.pid = started.pid
                started.returncode = 0  # it is waited for here
                return
            self.pid = os.fork()
            if self.pid == 0:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
                _become(words, limit)

    def ended(self) -> int | None:
        """Its exit code, minus the signal's number where one ended it; None while it goes on."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def wait(self) -> tuple[int, str]:
        """Its exit code and all that it printed."""
        deadline = time.monotonic() + PATIENCE
        while (code := self.ended()) is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"a run did not end in {PATIENCE} s: {self.log.read_text()[-500:]}")
            time.sleep(0.005)
        return code, self.log.read_text(errors="replace")


def _become(words: Sequence[str], limit: Limit | None) -> None:
    """Be the command, and nothing else afterwards."""
    code = 70
    try:
        if limit:
            limit()
        group.main(list(words))
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _busy(pid: int) -> float:
    """Seconds that a process has spent on a processor."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _chains_of(store: Path) -> list[int]:
    """Processes that run a chain of this store, whether somebody watches them or not."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            words = path.read_bytes().split(b"\0")
            found += [int(path.parent.name)] if b"--only-chain" in words and str(store).encode() in words else []
    return found


def _left_badly(hit: str, code: int, text: str) -> str:
    """What is wrong with how a stopped run left, or ""; before a process listens a signal simply ends it."""
    name, _, phase = hit.partition(": ")
    number = signal.Signals[name]
    allowed = {-9 if name == "SIGKILL" else 130 if name == "SIGINT" else 75}
    if phase in (FRESH, OUTSIDE, list(PHASES)[-1]):  # it may have come to its end, or may not listen yet
        allowed |= {0, -number, 1} if name == "SIGINT" else {0, -number}
    bad = code not in allowed or ("Traceback" in text and phase != FRESH)
    return f"exit code {code}: {text[-2000:]}" if bad else ""


def _left_badly_apart(hit: str, code: int, text: str, alone: int) -> str:
    """What is wrong with how a run left whose chains are processes of their own, or ""; `alone` of them live on."""
    name, _, whom = hit.partition(": ")
    if whom.startswith(CHAIN):  # it may have had nothing left to do
        bad = code != 0 and not (code == 1 and "killed by SIGKILL" in text)
    else:
        bad = bool(_left_badly(f"{name}: {OUTSIDE}", code, text))
    if alone and not (name == "SIGKILL" and whom.startswith(WATCHES)):
        return f"{alone} processes were left alone: {text[-2000:]}"
    return f"exit code {code}: {text[-2000:]}" if bad or "Traceback" in text else ""


def _left_behind(store: Path, hit: str) -> list[str]:
    """What should be gone, or on record, of a run whose chains are processes of their own."""
    attempts = [] if CHAIN in hit else list(store.glob("attempts/*/*"))
    attempts += [path for path in store.glob("attempts/*/*") if json.loads(path.read_text())["kind"] != "killed"]
    return [str(path.relative_to(store)) for path in (*attempts, *store.glob("chains/*.under-way"))]


def contents(store: Path) -> dict[str, Any]:
    """Name -> all that must be the same in an undisturbed store and in one that is whole again."""
    found: dict[str, Any] = {}
    for path in _published(store, "cells/*/*.json"):
        record = read_record(path)
        found[f"row {path.stem}"] = {k: v for k, v in record.items() if k not in ("provenance", "cost")}
    for path in _published(store, "chains/*/**/*.safetensors"):
        found[str(path.relative_to(store))] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in _published(store, "chains/*/log.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        times = ("seconds", "images_per_s", "peak_memory_gib")
        found[str(path.relative_to(store))] = [{k: v for k, v in line.items() if k not in times} for line in lines]
    return found


def _published(store: Path, pattern: str) -> list[Path]:
    """Files that somebody reads: not what a process left that died as it wrote."""
    return [p for p in store.glob(pattern) if not any(part.startswith(".") for part in p.relative_to(store).parts)]


def wrong(store: Path, expected: dict[str, Any]) -> list[str]:
    """Rows and files that are there and differ."""
    found = contents(store)
    return [name for name in found if name.startswith("row") and found[name] != expected.get(name)]


def differing(store: Path, expected: dict[str, Any]) -> list[str]:
    """Rows and files that are lost, doubled or changed."""
    found = contents(store)
    return [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]


class Campaign:
    """Faults, how often each was tried and what became of it."""

    def __init__(self, folder: Path, seed: int, only: str = "") -> None:
        """Make nothing yet.

        Args:
            folder: Of all the stores; readable by everybody.
            seed: Of all that is drawn at random.
            only: A pattern of the files that are damaged; all other faults are then left out.
        """
        self.only = only
        self.folder, self.rng, self.phase = folder, Rng(seed), Phase()
        self.number = 0
        self.began = time.monotonic()
        self.whole: dict[tuple[str, ...], tuple[Path, dict[str, Any]]] = {}
        self.struck: dict[str, Counter[str]] = {}
        self.defects: list[str] = []

    def store(self, like: Path | None = None) -> Path:
        """The path of a new store, empty or a copy."""
        self.number += 1
        path = self.folder / f"store{self.number}"
        if like:
            shutil.copytree(like, path)
        return path

    def undisturbed(self, words: Sequence[str]) -> tuple[Path, dict[str, Any]]:
        """A store of a run that nothing happened to, and its contents; not to be written."""
        if tuple(words) not in self.whole:
            store = self.store()
            code, text = Run(words, store).wait()
            assert code == 0, text
            self.whole[tuple(words)] = store, contents(store)
        return self.whole[tuple(words)]

    def halfway(self) -> Path:
        """A store of a training that was killed once it had two checkpoints."""
        while True:
            store = self.store()
            run = Run(ONE, store)
            while run.ended() is None and len(list(store.glob("chains/*.under-way/*.safetensors"))) < 2:
                time.sleep(0.001)
            if run.ended() is None:
                os.kill(run.pid, signal.SIGKILL)
            run.wait()
            if len(list(store.glob("chains/*.under-way/*.safetensors"))) == 2:
                return store

    def say(self, text: str) -> None:
        """A line of progress, with the minutes that have passed."""
        print(f"{(time.monotonic() - self.began) / 60:5.1f} min  {text}", flush=True)

    def note(self, fault: str, outcome: str, defect: str = "") -> None:
        """Count what became of one try."""
        self.struck.setdefault(fault, Counter())[outcome] += 1
        if outcome == "not survived":
            self.defects.append(f"{fault}: {defect}")
            self.say(f"NOT SURVIVED {self.defects[-1]}")

    # Runs that are stopped

    def kills(self, methods: Sequence[str], wanted: int, fresh_every: int) -> None:
        """Stop runs at random moments, until so many were struck; the same command goes on, and all must be there."""
        settings = [word for name in methods for word in METHODS[name]]
        words = ["--methods", ",".join(methods), "--tasks", "knn,retrieval", *settings, *COMMON, "0.3"]
        _, expected = self.undisturbed(words)
        done = 0
        while done < wanted:
            store, struck, code = self.store(), list[tuple[str, str]](), -1
            while code != 0:
                fresh = (done + len(struck)) % fresh_every == fresh_every - 1
                code = self._stopped(words, store, struck, list(PHASES) if done + len(struck) < wanted else [], fresh)
            for aim in ("planning", "table and page"):  # of runs that find nothing to do
                self._stopped(words, store, struck, [aim] if done + len(struck) < wanted else [])
            bad = differing(store, expected)
            left = [str(p.relative_to(store)) for p in (*store.glob("attempts/*"), *store.glob("chains/*.under-way"))]
            for fault, badly in struck:
                outcome = "not survived" if bad or left or badly else "went on by itself"
                self.note(fault, outcome, f"{bad} {left} {badly}")
            done += len(struck)
            self.say(f"{done} of {wanted} stopped, {len(struck)} of them in one store")
            shutil.rmtree(store)

    def _stopped(
        self, words: Sequence[str], store: Path, struck: list[tuple[str, str]], aims: Sequence[str], fresh: bool = False
    ) -> int:
        """One run, stopped in one of the phases if it comes there; notes what was struck, gives the exit code."""
        self.phase.byte[0] = 0
        run = Run(words, store, fresh=fresh)
        hit = self._strike(run, self.rng.choice(aims), fresh) if aims else None
        code, text = run.wait()
        if hit:
            struck.append((hit, _left_badly(hit, code, text)))
        elif code != 0:
            raise RuntimeError(f"exit code {code} of a run that nothing happened to: {text[-2000:]}")
        return code

    def _strike(self, run: Run, aim: str, fresh: bool) -> str | None:
        """Send a signal in this phase, or after a random time on the processor if that comes first; what was struck."""
        number = self.rng.choice(SIGNALS)
        waits, deadline = self.rng.uniform(0, PHASES[aim][2]), self.rng.uniform(0.1, 8.0 if fresh else 4.0)
        while _busy(run.pid) < deadline and (fresh or self.phase() != aim):
            if run.ended() is not None:
                return None
            time.sleep(0.001)
        time.sleep(0 if fresh else waits)
        phase = self.phase()
        os.kill(run.pid, number)
        return f"{signal.Signals(number).name}: {FRESH if fresh else phase}"

    def apart(self, words: Sequence[str], wanted: int) -> None:
        """Stop runs whose chains are processes of their own; the same command is given at once, in any form.

        In turn the process that watches is killed (its chains live on until they notice, and the command goes on beside
        them), it is told to stop, or a chain's process is killed.
        """
        _, expected = self.undisturbed(words)
        told = [number for number in SIGNALS if number != signal.SIGKILL]
        done = beside = 0
        while done < wanted:
            store, number = self.store(), self.rng.choice(told) if done % 3 == 1 else signal.SIGKILL
            run = Run([*words, "--jobs", "2"], store)
            hit = self._strike_apart(run, store, number, chain=done % 3 == 2)
            code, text = run.wait()
            if hit is None:
                continue
            alone = len(_chains_of(store))
            badly = _left_badly_apart(hit, code, text, alone)
            code, text = Run([*words, *self.rng.choice(([], ["--isolate"], ["--jobs", "2"]))], store).wait()
            badly += f"then exit code {code}: {text[-2000:]}" if code or "Traceback" in text else ""
            while _chains_of(store):  # a hung one hangs the campaign
                time.sleep(0.05)
            bad = [*differing(store, expected), *_left_behind(store, hit)]
            self.note(hit, "not survived" if bad or badly else "went on by itself", f"{bad} {badly}")
            done, beside = done + 1, beside + bool(alone)
            self.say(f"{done} of {wanted} stopped with --jobs 2; {beside} times it went on beside chains left alone")
            shutil.rmtree(store)

    def _strike_apart(self, run: Run, store: Path, number: signal.Signals, chain: bool) -> str | None:
        """Send a signal to the process that watches, or to one that runs a chain; what was struck."""
        aim = self.rng.choice(list(MOMENTS))
        wait = self.rng.uniform(0, 3.0 if aim == "chains start" else 0.5)
        while run.ended() is None and not (any(store.glob(MOMENTS[aim])) and _chains_of(store)):
            time.sleep(0.02)
        time.sleep(wait)
        moment = [name for name, pattern in MOMENTS.items() if any(store.glob(pattern))][-1:]
        struck = _chains_of(store) if chain else [run.pid]
        if run.ended() is not None or not struck:
            return None
        with suppress(ProcessLookupError):  # a chain that has just ended
            os.kill(self.rng.choice(struck), number)
            return f"{number.name}: {CHAIN if chain else WATCHES}, {moment[0]}"
        return None

    # Files that are damaged, disks that are full, folders that are forbidden

    def survives(
        self, fault: str, store: Path, words: Sequence[str], expected: dict[str, Any], limit: Limit | None = None,
        mend: Limit = lambda: None,
    ) -> None:  # fmt: skip
        """Give the command until it ends; do what it says in between.

        Args:
            fault: What was done to the store.
            store: Its path.
            words: The command.
            expected: Of an undisturbed store.
            limit: What the first run suffers; it may fail in any clear way, and nothing has to be named.
            mend: Takes the cause away after the first run.
        """
        outcome, text = "went on by itself", ""
        for attempt in range(4):
            code, text = Run(words, store, limit=limit if attempt == 0 else None).wait()
            if attempt == 0:
                mend()
            if "Traceback" in text or code not in (0, 1, 2):
                return self.note(fault, "not survived", f"exit code {code}: {text[-2000:]}")
            if bad := self._wrong(store, expected):
                return self.note(fault, "not survived", f"wrong rows {bad}: {text[-2000:]}")
            if code == 0:
                break
            outcome = "refused, then went on"
            if not (attempt == 0 and limit) and not remedy(text, store):
                return self.note(fault, "not survived", f"exit code {code}, and nothing is said to do: {text[-2000:]}")
        bad = differing(store, expected)
        self.note(fault, "not survived" if bad else outcome, f"{bad}: {text[-2000:]}")

    def _wrong(self, store: Path, expected: dict[str, Any]) -> list[str]:
        """Rows that are there and differ."""
        try:
            return wrong(store, expected)
        except StoreError:  # refused, as it should be
            return []

    def damage(self, tries: int) -> None:
        """Every kind of damage to every kind of file."""
        whole, expected = self.undisturbed(ONE)
        halfway = self.halfway()
        for title, (base, pattern, without) in FILES.items():
            if not re.fullmatch(self.only or ".*", title):
                continue
            for kind, harm in (ITEM_HARMS if title == ITEMS else HARMS).items():
                for _ in range(tries):
                    store = self.store(whole if base == "whole" else halfway)
                    for gone in (path for pattern_gone in without for path in list(store.glob(pattern_gone))):
                        shutil.rmtree(gone)
                    paths = sorted(store.glob(pattern))
                    for path in paths[-1:] if title == "newest checkpoint" else paths:
                        harm(path, self.rng)
                    self.survives(f"{title}: {kind}", store, ONE, expected)
                    shutil.rmtree(store)
            self.say(f"damaged: {title}")
        for _ in range(0 if self.only else tries):
            store = self.store(halfway)
            (under_way,) = store.glob("chains/*.under-way")
            checkpoints.Checkpoints(under_way).save(10**6, {"objective": {"alien": torch.zeros(3)}})
            self.survives("newest checkpoint: whole, but of another method", store, ONE, expected)
            store = self.store(halfway)
            (under_way,) = store.glob("chains/*.under-way")
            litter(store, under_way)
            self.survives("half-written files and folders (.tmp) lie about", store, ONE, expected)

    def images(self, tries: int) -> None:
        """Damage to what is kept of decoded image files."""
        folder = self.folder / "images"
        for place, (split, name) in enumerate((s, c) for s in ("train", "test") for c in "ab"):
            (folder / split / name).mkdir(parents=True)
            for k in range(24):
                pixels = np.random.default_rng(100 * place + k).integers(0, 256, (12, 12, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{k}.png")
        words = [
            "--datasets", "image_folder", "--set", f"image_folder.path={folder}", "--set", "image_folder.size=8",
            "--methods", "random", "--tasks", "knn", "--device", "cpu",
        ]  # fmt: skip
        _, expected = self.undisturbed(words)
        for ending in ("json", "npy"):
            for kind, harm in HARMS.items():
                for _ in range(tries):
                    harm(self.rng.choice(sorted((folder / ".bench-cache").glob(f"*.{ending}"))), self.rng)
                    self.survives(f"decoded images kept (.{ending}): {kind}", self.store(), words, expected)

    def disks(self, tries: int) -> None:
        """Disks that are full, and folders that may not be written."""
        _, expected = self.undisturbed(ONE)
        halfway = self.halfway()
        for _ in range(tries):
            size = int(10 ** self.rng.uniform(3.6, 6.3))  # at least what the run prints, into a file
            self.survives(
                "no file may be longer than a random limit (RLIMIT_FSIZE)", self.store(), ONE, expected,
                partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size)),
            )  # fmt: skip
            self._full(int(10 ** self.rng.uniform(4.2, 6.3)), expected)
        for name in (".", "chains", "cells", "chains/*.under-way"):
            for _ in range(max(1, tries // 3)):
                store = self.store(halfway)
                (store / "cells").mkdir(exist_ok=True)
                (forbidden,) = store.glob(name) if name != "." else (store,)
                fault = f"{name if name != '.' else 'the store'} may not be written"
                self.survives(fault, store, ONE, expected, *forbid(store, forbidden))
        for name in ("chains", "cells"):
            store = self.store()
            Store(store).create()
            (store / name).write_text("a file")
            self.survives(
                f"a file stands where the folder {name} should be", store, ONE, expected, lambda: None,
                (store / name).unlink,
            )  # fmt: skip

    def _full(self, size: int, expected: dict[str, Any]) -> None:
        """A disk of so many bytes, which has more room afterwards."""
        fault, store = "disk full (tmpfs of random size)", self.store()
        store.mkdir()
        mounted = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(store)]
        if shutil.which("mount") is None or subprocess.run(mounted, capture_output=True).returncode:
            self.struck.setdefault(f"{fault}: skipped, mount is not permitted here", Counter())
            return
        try:
            more = ["mount", "-o", "remount,size=100m", str(store)]
            self.survives(fault, store, ONE, expected, lambda: None, lambda: subprocess.run(more, check=True))
        finally:
            subprocess.run(["umount", str(store)], check=True)

    def together(self, tries: int) -> None:
        """Two runs on one store at once, both to their end, or one killed."""
        _, expected = self.undisturbed(ONE)
        for number in range(tries):
            store, killed = self.store(), number % 2 == 1
            runs = [Run(ONE, store), Run(ONE, store)]
            if killed:
                time.sleep(self.rng.uniform(0.2, 4.0))
                os.kill(runs[0].pid, signal.SIGKILL)
            ended = [run.wait() for run in runs][killed:]
            said = "; ".join(text[-1000:] for code, text in ended if code != 0)
            bad = differing(store, expected)
            fault = f"two runs on one store at once{', one killed' if killed else ''}"
            self.note(fault, "not survived" if bad or said else "went on by itself", f"{bad} {said}")


def flip(path: Path, rng: Rng) -> None:
    """One bit."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    _overwrite(path, bytes(content))


def cut(path: Path, rng: Rng) -> None:
    """The end is gone, or all."""
    _overwrite(path, path.read_bytes()[: rng.choice((0, rng.randrange(path.stat().st_size)))])


def gone(path: Path, rng: Rng) -> None:
    """No longer there."""
    path.unlink()


def flip_item(path: Path, rng: Rng) -> None:
    """One bit of the text of a record's per-item results."""
    content, record = bytearray(path.read_bytes()), json.loads(path.read_text())
    text = record["items"]["top1"]["values"].encode()
    content[content.index(text) + rng.randrange(len(text))] ^= 1 << rng.randrange(8)
    _overwrite(path, bytes(content))


def turn_hit(path: Path, rng: Rng) -> None:
    """A hit is a miss, or a miss a hit, in items that can be read."""
    record = json.loads(path.read_text())
    kept = record["items"]["top1"]
    values = unpack_items(kept) > 0
    values[rng.randrange(len(values))] ^= True
    kept["values"] = base64.b64encode(zlib.compress(np.packbits(values).tobytes(), 9)).decode()
    unpack_items(kept)
    _overwrite(path, json.dumps(record, indent=1).encode())


def drop_items(path: Path, rng: Rng) -> None:
    """A record without its per-item results, as those are that were written before there were any."""
    record = json.loads(path.read_text())
    del record["items"]
    _overwrite(path, json.dumps(record, indent=1).encode())


def _overwrite(path: Path, content: bytes) -> None:
    """As a failing disk does it: the time of the file stays."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


HARMS = {"one bit flipped": flip, "cut short": cut, "gone": gone}
ITEMS = "per-item results in a record"
ITEM_HARMS = {"one bit flipped": flip_item, "one hit turned": turn_hit, "gone": drop_items}
FILES = {  # base, files, what is taken away so that the file is needed
    "newest checkpoint": ("halfway", "chains/*.under-way/*.safetensors", ()),
    "all checkpoints": ("halfway", "chains/*.under-way/*.safetensors", ()),
    "weights": ("whole", "chains/*/weights.safetensors", ("cells", "chains/*/embeddings")),
    "summary of a training": ("whole", "chains/*/summary.json", ("cells",)),
    "embeddings": ("whole", "chains/*/embeddings/*/*.safetensors", ("cells",)),
    "digests of embeddings": ("whole", "chains/*/embeddings/*/done.json", ("cells",)),
    "record": ("whole", "cells/*/*.json", ()),
    ITEMS: ("whole", "cells/*/*.json", ()),
    "marker of the store": ("whole", "bench-store.json", ()),
}


def litter(store: Path, under_way: Path) -> None:
    """What processes leave that die as they write."""
    key = under_way.name.partition(".")[0]
    (store / "chains" / f".{key}.01234567.tmp").mkdir()
    (store / "chains" / f".{key}.01234567.tmp" / "weights.safetensors").write_bytes(b"\x10")
    (under_way / ".01234567.tmp").write_bytes(b"\x10")
    (store / "cells" / "ab").mkdir(parents=True)
    for path in (store / "cells" / "ab" / ".ab.json.01234567.tmp", store / ".leaderboard.md.01234567.tmp"):
        path.write_text("{")


def forbid(store: Path, folder: Path) -> tuple[Limit, Limit]:
    """What a run suffers that may not write into a folder, and what takes that away.

    Root may write everywhere: its runs become nobody's first, who may write everywhere but there.
    """
    if os.getuid():
        folder.chmod(0o555)
        return (lambda: None), (lambda: folder.chmod(0o755))
    for path in (store, *store.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    folder.chmod(0o755)

    def become_nobody() -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    return become_nobody, lambda: None


def remedy(text: str, store: Path) -> bool:
    """Do what a message says; False where it says nothing that can be done."""
    moved = re.search(rf"({store}\S*) (?:cannot be read|holds no|is not|has format).*move it away", text)
    deleted = re.search(rf"delete ({store}\S+) and run again", text)
    alien = re.search(rf"checkpoints in ({store}\S+) do not fit.*Delete that folder", text)
    marked = re.search(rf"write (\{{.*\}}) into ({store}\S+)\.", text)
    newer = "this bench reads" in text  # a flipped digit: no message can know that it is not another format
    if marked or newer:
        (store / MARKER).write_text(marked[1] if marked else '{"format": 1}')
    elif deleted or alien:
        shutil.rmtree((deleted or alien)[1])  # type: ignore[index]  # one of them is there
    elif moved:
        Path(moved[1]).unlink()
    return bool(marked or newer or deleted or alien or moved)


def stopped_runs(stopped: Mapping[str, Counter[str]]) -> Iterator[str]:
    """Markdown of the runs that were stopped."""
    names = [signal.Signals(number).name for number in dict.fromkeys(SIGNALS)]
    yield f"Runs that were stopped: {sum(map(Counter.total, stopped.values()))}.\n"
    yield f"| phase | {' | '.join(names)} | survived |"
    yield f"|:--|{'--:|' * (len(names) + 1)}"
    for phase in sorted({fault.partition(": ")[2] for fault in stopped}):
        counts = [stopped.get(f"{name}: {phase}", Counter()) for name in names]
        total, lost = sum(map(Counter.total, counts)), sum(count["not survived"] for count in counts)
        yield f"| {phase} | {' | '.join(str(c.total()) for c in counts)} | {total - lost} of {total} |"


def other_faults(others: Mapping[str, Counter[str]]) -> Iterator[str]:
    """Markdown of all else."""
    yield f"Other faults: {sum(map(Counter.total, others.values()))}.\n"
    yield "| fault | tries | went on by itself | refused, then went on | survived |"
    yield "|:--|--:|--:|--:|--:|"
    for fault, count in others.items():
        tries, lost = count.total(), count["not survived"]
        cells = (tries, count["went on by itself"], count["refused, then went on"], f"{tries - lost} of {tries}")
        yield f"| {fault} | {' | '.join(map(str, cells))} |"


def circumstances(command: str, seconds: float) -> Iterator[str]:
    """Markdown of how, when and where."""
    cores = len(os.sched_getaffinity(0))
    yield (
        f"\n`{command}`, {seconds / 60:.0f} minutes on {cores} cores of {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"bench {provenance(torch.device('cpu'), None)['bench']}."
    )


def warm() -> None:
    """Import and read here all that each fork would else by itself."""
    for name in (
        "bench_core.api",
        "bench_core.reports.pictures",
        "faiss",
        "rich.progress",
        "sklearn.neighbors",
        "torch._dynamo",
    ):
        importlib.import_module(name)
    digits = load_plugins().get("dataset", "digits").cls
    digits(Path(), digits.Config()).load("train")


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for all stores, which everybody may enter."""
    with tempfile.TemporaryDirectory(prefix="bench-faults-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def main() -> None:
    """Run it all and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(METHODS), help="in the runs that are stopped")
    parser.add_argument("--kills", type=int, default=100, help="runs that are stopped")
    parser.add_argument("--fresh-every", type=int, default=12, help="each such one of them is a process of its own")
    parser.add_argument("--apart", type=int, default=16, help="runs with --jobs 2 that are stopped")
    parser.add_argument("--tries", type=int, default=6, help="of every other fault")
    parser.add_argument("--only", default="", help="of the other faults those that match")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a page with the markers `stopped` and `others`")
    asked = parser.parse_args()
    started = time.monotonic()
    warm()
    with workplace() as folder:
        campaign = Campaign(folder, asked.seed, asked.only)
        if asked.kills:
            campaign.kills(asked.methods.split(","), asked.kills, asked.fresh_every)
        if asked.apart:
            campaign.apart(ONE if asked.methods == "moco" else THREE, asked.apart)
        if asked.tries:
            campaign.damage(asked.tries)
            for part in (campaign.images, campaign.disks, campaign.together) if not asked.only else ():
                part(asked.tries)
    numbers = f"--kills {asked.kills} --apart {asked.apart} --tries {asked.tries} --seed {asked.seed}"
    command = f"python tests/faults/campaign.py {numbers}"
    stopped = {fault: count for fault, count in campaign.struck.items() if fault.startswith("SIG")}
    others = {fault: count for fault, count in campaign.struck.items() if fault not in stopped}
    parts = {"stopped": stopped_runs(stopped) if stopped else (), "others": other_faults(others) if others else ()}
    for marker, lines in parts.items():
        text = "\n".join([*lines, *circumstances(command, time.monotonic() - started)])
        if lines and asked.out:
            asked.out.write_text(splice(asked.out.read_text(), marker, text))
        print(text if lines else "", flush=True)
    for defect in campaign.defects:
        print(f"NOT SURVIVED {defect}", file=sys.stderr)
    sys.exit(1 if campaign.defects else 0)


if __name__ == "__main__":
    main()
