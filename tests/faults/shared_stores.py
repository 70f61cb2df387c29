"""Faults of the third kind: four runs of one command share a store, and signals strike them at random moments.

With `--jobs 2` a signal strikes the run, or a process that it started for a chain. A run that was killed or stopped is
started again, one that only slept goes on. In the end the store must equal one in which a single run did everything
undisturbed, no chain may have been trained to its end twice or cut short without a signal, and nothing may be left of a
claim. Two trainings of a chain at the same time are a fault, unless the first one slept.
"""

import math
import os
import random
import shutil
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench_core.store.claims import FOLDER, Claims
from bench_core.store.store import PREEMPTED
from tests.faults.campaign import Campaign
from tests.faults.outcomes import SharedResult, differences, leftovers
from tests.faults.runs import Run, chain_processes
from tests.faults.trainings import END, TrainingLog, trainings

WORKERS = 4
_AT_WORK = 0.7  # so often a signal strikes a process that holds a claim, not a run that starts, waits or has started it
_STALE_S = 3.0  # without a beat, and a claim is lost
_HUNG_AFTER_S = 300.0  # a store that takes longer is hung
_SMALL = ["--device", "cpu", "--epochs", "10", "--checkpoint-every", "0.2"]
_MOCO = ["--set", "moco.queue_size=512"]
PLANS = {  # what shares a store -> arguments of the run
    "one chain": ["--methods", "moco", "--tasks", "knn", *_MOCO],
    "two seeds of two methods": ["--methods", "simclr,random", "--tasks", "knn,retrieval", "--seeds", "0,1"],
    "a start from another row": [
        "--methods", "simclr,moco", "--sweep", "moco.init=none,simclr", "--tasks", "knn", *_MOCO,
    ],
    "two that start from one, which has no row": [
        "--methods", "moco,simsiam", "--tasks", "knn", *_MOCO,
        "--set", "moco.init=simclr", "--set", "simsiam.init=simclr",
    ],
    "a teacher": ["--methods", "supervised,mimkd", "--set", "mimkd.teacher=supervised", "--tasks", "knn"],
    "a game, and labels made anew": [
        "--methods", "uctrl,sela", "--set", "uctrl.width=8", "--set", "uctrl.latent_dim=16", "--tasks", "knn",
    ],
    "weights along the way": ["--methods", "simclr,byol", "--tasks", "knn", "--keep-every", "1", "--at", "epochs=1"],
}  # fmt: skip
Case = tuple[str, str]  # plan and engine
SIGNALS = [signal.SIGKILL] * 3 + [signal.SIGTERM] * 2 + [signal.SIGSTOP] * 3  # drawn evenly from this list


@dataclass(frozen=True)
class Engine:
    """Options of the four runs, and what follows from them.

    Attributes:
        jobs: Value of `--jobs`.
        beat_s: Value of `--claim-beat`.
        sleeps_s: Times that a stopped process sleeps; after the longest, it has lost its claim.
        attempts: Kinds of the attempts that a run may record when the process of a chain was struck.
    """

    jobs: int
    beat_s: float
    sleeps_s: Sequence[float]
    attempts: Sequence[str] = ()

    def options(self) -> list[str]:
        """Return the options of a run."""
        return ["--jobs", str(self.jobs), "--claim-beat", str(self.beat_s), "--claim-stale", str(_STALE_S)]


ENGINES = {  # a parent of `--jobs 2` looks only every two seconds whether a claim still beats
    "--jobs 1": Engine(1, 0.25, [0.5, 1.0, 6.0]),
    "--jobs 2": Engine(2, 1.0, [0.5, 1.0, 12.0], ["killed", PREEMPTED]),
}


class SharedRuns:
    """Four runs of one command on one store, and the signals that strike them."""

    def __init__(self, arguments: Sequence[str], engine: Engine, store: Path, rng: random.Random) -> None:
        """Start the runs."""
        self.arguments, self.engine, self.store, self.rng = [*arguments, *engine.options()], engine, store, rng
        self.runs = [Run(self.arguments, store) for _ in range(WORKERS)]
        self.signals: Counter[str] = Counter()
        self.asleep: dict[int, float] = {}  # process -> when it goes on
        self.slept: set[int] = set()
        self.struck: set[int] = set()
        self.faults: list[str] = []

    def run(self, kills: int) -> None:
        """Let signals strike until there were so many, and then wait until all runs have ended well."""
        deadline = time.monotonic() + _HUNG_AFTER_S
        strike_at = time.monotonic() + self.rng.uniform(0.2, 1.0)
        done = [False] * WORKERS
        while not all(done) or chain_processes(self.store):  # those of a killed run live on until they notice
            now = time.monotonic()
            if now > deadline:
                self.faults.append(f"hung: {[run.log.read_text()[-300:] for run in self.runs]}")
                return self.end()
            for pid in [pid for pid, until in self.asleep.items() if now >= until]:
                self.wake(pid)
            for number, run in enumerate(self.runs):
                if not done[number] and (code := run.exit_code()) is not None:
                    self.asleep.pop(run.pid, None)
                    done[number] = code == 0
                    text = run.log.read_text()
                    chain_was_killed = code == 1 and "killed by SIGKILL" in text
                    if code not in (0, 75, -signal.SIGKILL, -signal.SIGTERM) and not chain_was_killed:
                        self.faults.append(f"exit code {code}: {text[-800:]}")
                        return self.end()
                    if code:
                        self.runs[number] = Run(self.arguments, self.store)
            if now >= strike_at and self.signals.total() < kills:
                strike_at = now + self.rng.uniform(0.1, 1.2)
                self.strike([run for number, run in enumerate(self.runs) if not done[number]])
            time.sleep(0.01)
        return None

    def strike(self, alive: Sequence[Run]) -> None:
        """Send a signal to a process that does not sleep, if one of them works on a chain."""
        runs = {run.pid for run in alive} - {*self.asleep}
        started = {*chain_processes(self.store)} - {*self.asleep}
        at_work = {holder.pid for holder in Claims(self.store).holders().values()} & (runs | started)
        targets = at_work if self.rng.random() < _AT_WORK else runs
        if not (at_work and targets):
            return
        pid, number = self.rng.choice(sorted(targets)), self.rng.choice(SIGNALS)
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            self.signals[number.name] += 1
            self.struck.add(pid)
            if number == signal.SIGSTOP:
                self.asleep[pid] = time.monotonic() + self.rng.choice(self.engine.sleeps_s)
                self.slept.add(pid)

    def wake(self, pid: int) -> None:
        """Let a process go on."""
        del self.asleep[pid]
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def end(self) -> None:
        """End all runs."""
        for run in self.runs:
            if run.exit_code() is None:
                os.kill(run.pid, signal.SIGKILL)
                run.wait()
        for pid in chain_processes(self.store):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def share_stores(campaign: Campaign, kills: int, cases: Sequence[Case]) -> dict[Case, SharedResult]:
    """Strike runs that share stores until there were so many signals, evenly over the cases; return what became."""
    results: dict[Case, SharedResult] = defaultdict(SharedResult)
    while sum(result.signals.total() for result in results.values()) < kills:
        for case in cases:
            left = kills - sum(result.signals.total() for result in results.values())
            if left > 0:
                _share(campaign, case, min(left, 8, math.ceil(kills / len(cases))), results[case])
    return results


def _share(campaign: Campaign, case: Case, kills: int, result: SharedResult) -> None:
    """Let runs share one store, and add what became of it."""
    plan, engine = case
    arguments = [*PLANS[plan], *_SMALL]
    reference, expected = campaign.undisturbed([*arguments, "--jobs", "1"])
    store = campaign.new_store()
    log = TrainingLog(store.with_suffix(".trainings"))
    try:
        shared = SharedRuns(arguments, ENGINES[engine], store, campaign.rng)
        shared.run(kills)
    finally:
        log.restore()
    begun = trainings(log.read())
    both = [beginning for beginning, _ in begun if beginning.beside]
    cut_short = [beginning for beginning, end in begun if end != END]
    finished = Counter(beginning.key for beginning, end in begun if end == END)
    chains = {path.name for path in (reference / "chains").iterdir() if path.is_dir() and len(path.name) == 64}
    defects = list(shared.faults)
    if not defects:
        claims = [path.name for path in (store / FOLDER).iterdir() if not path.name.startswith(".")]
        defects += [f"differs: {what}" for what in differences(store, expected)]
        defects += [f"left: {what}" for what in (*leftovers(store, ENGINES[engine].attempts), *claims)]
        defects += [f"trained to its end {number} times: {key}" for key, number in finished.items() if number > 1]
        unexplained = [each for each in cut_short if not shared.struck & {each.pid, each.parent}]
        defects += [f"cut short without a signal: {each}" for each in unexplained]
        defects += [f"beside one that never slept: {each}" for each in both if not shared.slept >= {*each.beside}]
    result.chains, result.stores, result.equal = len(chains), result.stores + 1, result.equal + (not defects)
    result.signals += shared.signals
    result.trainings += len(begun)
    result.cut_short += len(cut_short)
    result.both += len(both)
    campaign.defects += [f"shared store, {plan}, {engine}: {defect}" for defect in defects]
    campaign.log(f"{plan}, {engine}: {shared.signals.total()} signals, {len(begun)} trainings, {defects or 'equal'}")
    if not defects:
        shutil.rmtree(store)


def shared_stores_table(results: Mapping[Case, SharedResult]) -> Iterator[str]:
    """Yield the lines of the table of shared stores: a row for each plan and engine."""
    total = sum((result.signals for result in results.values()), Counter[str]())
    names = list(dict.fromkeys(number.name for number in SIGNALS))
    columns = ["stores", "chains of each", *names, "trainings", "cut short", "by two at once", "equal"]
    yield f"Signals to four runs that shared a store: {total.total()}.\n"
    yield f"| plan | engine | {' | '.join(columns)} |"
    yield f"|:--|:--|{'--:|' * len(columns)}"
    for (plan, engine), result in results.items():
        signals = " | ".join(str(result.signals[name]) for name in names)
        counts = f"{result.trainings} | {result.cut_short} | {result.both} | {result.equal} of {result.stores}"
        yield f"| {plan} | `{engine}` | {result.stores} | {result.chains} | {signals} | {counts} |"
