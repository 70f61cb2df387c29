"""Faults of the first kind: runs that a signal stops."""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.faults.campaign import COMMON, METHODS, Campaign
from tests.faults.outcomes import (
    CHILD,
    NOT_SURVIVED,
    PARENT,
    RECOVERED,
    differences,
    exit_fault,
    exit_fault_of_parallel_run,
    leftovers,
)
from tests.faults.runs import NEW_PROCESS, PHASES, Run, chain_processes, cpu_seconds

SIGNALS = [signal.SIGKILL] * 6 + [signal.SIGTERM] * 2 + [signal.SIGUSR1, signal.SIGINT]  # drawn evenly from this list
MOMENTS = {  # moment of a run with `--jobs 2` -> what then exists in its store
    "chains starting": "bench-store.json",
    "training": "chains/*.under-way/*.safetensors",
    "embedding and tasks": "chains/*/chain.json",
    "first record written": "cells/*/*.json",
}


def stop_runs(campaign: Campaign, methods: Sequence[str], count: int, new_process_every: int) -> None:
    """Stop runs at random moments; the same command is given until it ends, and then nothing may be missing.

    Args:
        campaign: Counts the outcomes.
        methods: Names of the methods that each run trains.
        count: Number of runs to stop.
        new_process_every: Every n-th run is a new process; the others are forks, which saves their imports.
    """
    settings = [argument for name in methods for argument in METHODS[name]]
    arguments = ["--methods", ",".join(methods), "--tasks", "knn,retrieval", *settings, *COMMON, "0.3"]
    _, expected = campaign.undisturbed(arguments)
    done = 0
    while done < count:
        store, hits, code = campaign.new_store(), list[tuple[str, str]](), -1
        while code != 0:
            number = done + len(hits)
            new_process = number % new_process_every == new_process_every - 1
            code = _run_and_stop(campaign, arguments, store, hits, list(PHASES) if number < count else [], new_process)
        for phase in ("planning", "table and page"):  # of runs that have nothing left to do
            _run_and_stop(campaign, arguments, store, hits, [phase] if done + len(hits) < count else [])
        wrong, left = differences(store, expected), leftovers(store)
        for hit, fault in hits:
            survived = not (wrong or left or fault)
            campaign.count(hit, RECOVERED if survived else NOT_SURVIVED, f"{wrong} {left} {fault}")
        done += len(hits)
        campaign.log(f"{done} of {count} stopped, {len(hits)} of them in one store")
        shutil.rmtree(store)


def _run_and_stop(
    campaign: Campaign,
    arguments: Sequence[str],
    store: Path,
    hits: list[tuple[str, str]],
    phases: Sequence[str],
    new_process: bool = False,
) -> int:
    """Run the command once and stop it in one of the phases, if it reaches that phase; return the exit code.

    A run that was stopped is added to `hits`, with what was wrong with its exit.
    """
    campaign.phases.reset()
    run = Run(arguments, store, new_process=new_process)
    hit = _send_signal(campaign, run, campaign.rng.choice(phases), new_process) if phases else None
    code, text = run.wait()
    if hit:
        hits.append((hit, exit_fault(hit, code, text)))
    elif code != 0:
        raise RuntimeError(f"exit code {code} of a run that nothing happened to: {text[-2000:]}")
    return code


def _send_signal(campaign: Campaign, run: Run, phase: str, new_process: bool) -> str | None:
    """Send a signal in this phase, or after a random time on the processor if that comes first.

    Returns:
        The signal and the phase that it hit, or None where the run ended before.
    """
    rng = campaign.rng
    number = rng.choice(SIGNALS)
    wait, deadline = rng.uniform(0, PHASES[phase][2]), rng.uniform(0.1, 8.0 if new_process else 4.0)
    while cpu_seconds(run.pid) < deadline and (new_process or campaign.phases.current() != phase):
        if run.exit_code() is not None:
            return None
        time.sleep(0.001)
    time.sleep(0 if new_process else wait)
    phase_hit = NEW_PROCESS if new_process else campaign.phases.current()
    os.kill(run.pid, number)
    return f"{signal.Signals(number).name}: {phase_hit}"


def stop_parallel_runs(campaign: Campaign, arguments: Sequence[str], count: int) -> None:
    """Stop runs with `--jobs 2`; the same command is given at once, with `--jobs 2`, `--isolate` or neither.

    In turn the parent process is killed, is stopped by another signal, or a chain's process is killed. Chains of a
    killed parent live on until they notice, so the second run works beside them.
    """
    _, expected = campaign.undisturbed(arguments)
    milder = [number for number in SIGNALS if number != signal.SIGKILL]
    done = beside_orphans = 0
    while done < count:
        store = campaign.new_store()
        number = campaign.rng.choice(milder) if done % 3 == 1 else signal.SIGKILL
        run = Run([*arguments, "--jobs", "2"], store)
        hit = _send_signal_to_parallel_run(campaign, run, store, number, to_chain=done % 3 == 2)
        code, text = run.wait()
        if hit is None:
            continue
        orphans = len(chain_processes(store))
        fault = exit_fault_of_parallel_run(hit, code, text, orphans)
        form = campaign.rng.choice(([], ["--isolate"], ["--jobs", "2"]))
        code, text = Run([*arguments, *form], store).wait()
        if code or "Traceback" in text:
            fault += f"then exit code {code}: {text[-2000:]}"
        while chain_processes(store):  # a hung one hangs the campaign
            time.sleep(0.05)
        wrong = [*differences(store, expected), *leftovers(store, ["killed"] if CHILD in hit else [])]
        campaign.count(hit, NOT_SURVIVED if wrong or fault else RECOVERED, f"{wrong} {fault}")
        done, beside_orphans = done + 1, beside_orphans + bool(orphans)
        campaign.log(f"{done} of {count} stopped with --jobs 2; {beside_orphans} times the next run met orphans")
        shutil.rmtree(store)


def _send_signal_to_parallel_run(
    campaign: Campaign, run: Run, store: Path, number: signal.Signals, to_chain: bool
) -> str | None:
    """Send a signal to the parent process or to one that runs a chain, at a random moment.

    Returns:
        The signal, the process and the moment that it hit, or None where that process had ended.
    """
    rng = campaign.rng
    aim = rng.choice(list(MOMENTS))
    wait = rng.uniform(0, 3.0 if aim == "chains starting" else 0.5)
    while run.exit_code() is None and not (any(store.glob(MOMENTS[aim])) and chain_processes(store)):
        time.sleep(0.02)
    time.sleep(wait)
    moments = [name for name, pattern in MOMENTS.items() if any(store.glob(pattern))]
    targets = chain_processes(store) if to_chain else [run.pid]
    if run.exit_code() is not None or not targets:
        return None
    with suppress(ProcessLookupError):  # a chain that has just ended
        os.kill(rng.choice(targets), number)
        return f"{number.name}: {CHILD if to_chain else PARENT}, {moments[-1]}"
    return None
