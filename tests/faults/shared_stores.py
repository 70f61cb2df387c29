"""Faults of the third kind: four runs of one command share a store, and signals strike them at random moments.

A run that was killed or stopped is started again, one that only slept goes on. In the end the store must equal one in
which a single run did everything undisturbed, no chain may have been trained to its end twice, and nothing may be left
of a claim. Two trainings of a chain at the same time are a fault, unless the first one slept.
"""

import fcntl
import os
import random
import shutil
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench_core.planning.chains import Chain
from bench_core.running import chain
from bench_core.store.claims import FOLDER, Claims
from tests.faults.campaign import Campaign
from tests.faults.outcomes import SharedResult, differences, leftovers
from tests.faults.runs import Run

WORKERS = 4
BEAT_S, STALE_S = 0.25, 3.0
_AT_WORK = 0.7  # so often a signal strikes a run that holds a claim, not one that starts or waits
_HUNG_AFTER_S = 300.0  # a store that takes longer is hung
_SMALL = ["--device", "cpu", "--jobs", "1", "--epochs", "2", "--checkpoint-every", "0.2", "--claim-beat", str(BEAT_S),
    "--claim-stale", str(STALE_S)]  # fmt: skip
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
SIGNALS = [signal.SIGKILL] * 3 + [signal.SIGTERM] * 2 + [signal.SIGSTOP] * 3  # drawn evenly from this list


class TrainingLog:
    """A file to which every forked run writes when a training begins and how it ends."""

    def __init__(self, path: Path) -> None:
        """Wrap the function that trains; runs that are forked afterwards inherit it."""
        self.path = path
        train: Callable[..., None] = chain._train

        def tracked(trained: Chain, *args: Any, **kwargs: Any) -> None:
            self._write("begin", trained.key)
            try:
                train(trained, *args, **kwargs)
            except BaseException as error:
                self._write(type(error).__name__, trained.key)
                raise
            self._write("end", trained.key)

        vars(chain)["_train"] = tracked
        self._restore = train

    def restore(self) -> None:
        """Let runs that are forked afterwards write nothing."""
        vars(chain)["_train"] = self._restore

    def _write(self, what: str, key: str) -> None:
        with self.path.open("a", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(f"{time.monotonic()} {what} {key} {os.getpid()}\n")

    def read(self) -> list[tuple[float, str, str, int]]:
        """Return time, event, chain and process of each line."""
        lines = self.path.read_text(encoding="ascii").splitlines() if self.path.exists() else []
        parts = [line.split() for line in lines]
        return [(float(seconds), what, key, int(pid)) for seconds, what, key, pid in parts]


class SharedRuns:
    """Four runs of one command on one store, and the signals that strike them."""

    def __init__(self, arguments: Sequence[str], store: Path, rng: random.Random) -> None:
        """Start the runs."""
        self.arguments, self.store, self.rng = arguments, store, rng
        self.runs = [Run(arguments, store) for _ in range(WORKERS)]
        self.signals: Counter[str] = Counter()
        self.asleep: dict[int, float] = {}  # process -> when it goes on
        self.slept: set[int] = set()
        self.ended: dict[int, float] = {}  # process -> when it was killed or ended
        self.faults: list[str] = []

    def run(self, kills: int) -> None:
        """Let signals strike until there were so many, and then wait until all runs have ended well."""
        deadline = time.monotonic() + _HUNG_AFTER_S
        strike_at = time.monotonic() + self.rng.uniform(0.2, 1.0)
        done = [False] * WORKERS
        while not all(done):
            now = time.monotonic()
            if now > deadline:
                self.faults.append(f"hung: {[run.log.read_text()[-300:] for run in self.runs]}")
                return self.end()
            for pid in [pid for pid, until in self.asleep.items() if now >= until]:
                self.wake(pid)
            for number, run in enumerate(self.runs):
                if not done[number] and (code := run.exit_code()) is not None:
                    self.ended[run.pid] = now
                    self.asleep.pop(run.pid, None)
                    done[number] = code == 0
                    if code not in (0, 75, -signal.SIGKILL, -signal.SIGTERM):
                        self.faults.append(f"exit code {code}: {run.log.read_text()[-800:]}")
                        return self.end()
                    if code:
                        self.runs[number] = Run(self.arguments, self.store)
            if now >= strike_at and self.signals.total() < kills:
                strike_at = now + self.rng.uniform(0.1, 1.2)
                self.strike([run for number, run in enumerate(self.runs) if not done[number]])
            time.sleep(0.01)
        return None

    def strike(self, alive: Sequence[Run]) -> None:
        """Send a signal to one of the runs that do not sleep."""
        awake = [run for run in alive if run.pid not in self.asleep]
        if not awake:
            return
        working = {holder.pid for holder in Claims(self.store).holders().values()}
        at_work = [run for run in awake if run.pid in working]
        run = self.rng.choice(at_work if at_work and self.rng.random() < _AT_WORK else awake)
        number = self.rng.choice(SIGNALS)
        if number == signal.SIGSTOP:
            self.asleep[run.pid] = time.monotonic() + self.rng.choice([0.5, 1.0, 2 * STALE_S])
            self.slept.add(run.pid)
        with suppress(ProcessLookupError):
            os.kill(run.pid, number)
            self.signals[number.name] += 1

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


def share_stores(campaign: Campaign, kills: int, plans: Mapping[str, list[str]] = PLANS) -> dict[str, SharedResult]:
    """Strike runs that share stores until there were so many signals, evenly over the plans; return what became."""
    results: dict[str, SharedResult] = defaultdict(SharedResult)
    while sum(result.signals.total() for result in results.values()) < kills:
        for name, arguments in plans.items():
            left = kills - sum(result.signals.total() for result in results.values())
            if left > 0:
                _share(campaign, name, [*arguments, *_SMALL], min(left, 8), results[name])
    return results


def _share(campaign: Campaign, name: str, arguments: list[str], kills: int, result: SharedResult) -> None:
    """Let runs share one store, and add what became of it."""
    reference, expected = campaign.undisturbed(arguments)
    store = campaign.new_store()
    log = TrainingLog(store.with_suffix(".trainings"))
    try:
        shared = SharedRuns(arguments, store, campaign.rng)
        shared.run(kills)
    finally:
        log.restore()
    events = log.read()
    finished = Counter(key for _, what, key, _ in events if what == "end")
    chains = {path.name for path in (reference / "chains").iterdir() if path.is_dir() and len(path.name) == 64}
    defects = list(shared.faults)
    if not defects:
        claims = [path.name for path in (store / FOLDER).iterdir() if not path.name.startswith(".")]
        defects += [f"differs: {what}" for what in differences(store, expected)]
        defects += [f"left: {what}" for what in (*leftovers(store), *claims)]
        defects += [f"trained to its end {number} times: {key}" for key, number in finished.items() if number > 1]
    both, wrong = _at_once(events, shared)
    defects += wrong
    result.chains, result.stores, result.equal = len(chains), result.stores + 1, result.equal + (not defects)
    result.signals += shared.signals
    result.trainings += sum(what == "begin" for _, what, _, _ in events)
    result.both += both
    campaign.defects += [f"shared store, {name}: {defect}" for defect in defects]
    campaign.log(f"{name}: {shared.signals.total()} signals, {len(events)} events, {defects or 'equal'}")
    if not defects:
        shutil.rmtree(store)


def _at_once(events: Sequence[tuple[float, str, str, int]], shared: SharedRuns) -> tuple[int, list[str]]:
    """Count trainings that began while another of the same chain had not ended, and list those without a reason."""
    open_trainings: dict[str, int] = {}
    both, wrong = 0, []
    for seconds, what, key, pid in sorted(events):
        other = open_trainings.get(key)
        if what != "begin":
            if other == pid:
                del open_trainings[key]
            continue
        if other is not None and other != pid and not shared.ended.get(other, float("inf")) < seconds + 0.5:
            both += 1
            if other not in shared.slept:
                wrong.append(f"trained by two at once, of which none slept: {key}")
        open_trainings[key] = pid
    return both, wrong


def shared_stores_table(results: Mapping[str, SharedResult]) -> Iterator[str]:
    """Yield the lines of the table of shared stores: a row for each plan."""
    total = sum((result.signals for result in results.values()), Counter[str]())
    names = list(dict.fromkeys(number.name for number in SIGNALS))
    yield f"Signals to four runs that shared a store: {total.total()}.\n"
    yield f"| plan | stores | chains of each | {' | '.join(names)} | trainings | by two at once | equal |"
    yield f"|:--|{'--:|' * (len(names) + 5)}"
    for plan, result in results.items():
        signals = " | ".join(str(result.signals[name]) for name in names)
        counts = f"{result.trainings} | {result.both} | {result.equal} of {result.stores}"
        yield f"| {plan} | {result.stores} | {result.chains} | {signals} | {counts} |"
