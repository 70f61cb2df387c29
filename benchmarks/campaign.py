"""Simulate a campaign of a million cells on 512 GPUs: `python -m benchmarks.campaign [--seed N] [--save]`.

Chains of random length are taken from queues; GPUs are preempted, nodes fail, chains crash. What bench itself costs is
taken from scale.json, which `benchmarks.scale` measured; all else is an assumption, and stands in `Campaign`. The file
server is not simulated: the operations that it would get are counted by the hour, and beside them stands what a server
does. `--save` writes the table into docs/scale.md.
"""

import argparse
import heapq
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench_core.files import write_text
from bench_core.reports.pages.markers import splice
from benchmarks.scale import PAGE, RESULTS

_HOUR = 3600.0
_KINDS = ("creates", "changes", "opens", "looks")
_PLANS_OF_ELEMENT = 2  # an element of an array and the process that it starts both plan the request


@dataclass(frozen=True)
class Campaign:
    """Assumptions of what is run, and where, in seconds where no unit is named.

    Attributes:
        chains: Number of chains.
        tasks: Cells of a chain.
        gpus: GPUs; each works on one chain.
        gpus_of_node: GPUs that fail together.
        training_min: Median minutes of a training; the lengths are lognormal.
        spread: Sigma of the logarithms of the lengths.
        measuring: Embedding and all tasks of a chain.
        start: From the start of a process to its first step, without planning.
        checkpoint: From one checkpoint to the next.
        preempted_h: Mean hours until a GPU is taken away with a warning.
        requeued: From a preemption until the GPU, or another one, is back.
        node_days: Mean days until a node fails without a warning.
        repaired: From a node's failure until it is back.
        stale: From the last beat of a dead process until its chain is free.
        beat: From one beat of a claim to the next.
        crash: Share of chains whose training fails.
        latency: Of one operation of the file server.
    """

    chains: int = 200_000
    tasks: int = 5
    gpus: int = 512
    gpus_of_node: int = 8
    training_min: float = 20.0
    spread: float = 0.8
    measuring: float = 90.0
    start: float = 20.0
    checkpoint: float = 600.0
    preempted_h: float = 12.0
    requeued: float = 120.0
    node_days: float = 30.0
    repaired: float = 4 * _HOUR
    stale: float = 300.0
    beat: float = 30.0
    crash: float = 0.005
    latency: float = 0.0005


@dataclass(frozen=True)
class Layout:
    """A way to run it.

    Attributes:
        name: The name in the table.
        stores: Into how many stores and requests the chains are shared out, such as one for each data set.
        elements: A process for each chain, as in an array of Slurm; else each GPU has a process that takes chains.
    """

    name: str
    stores: int
    elements: bool = False


LAYOUTS = (
    Layout("one store, 512 times `bench run`", 1),
    Layout("50 stores, 512 times `bench run`", 50),
    Layout("one store, `--engine slurm`", 1, elements=True),
    Layout("50 stores, `--engine slurm`", 50, elements=True),
)


@dataclass(frozen=True)
class Costs:
    """Costs of bench, from measurements.

    Attributes:
        plan: CPU seconds of planning a cell.
        remark: CPU seconds of reading a record, of which a process reads some when it begins.
        most_read: Most records that it reads for that.
        of_chain: Operations of a chain without its cells.
        of_cell: Operations of a cell.
    """

    plan: float
    remark: float
    of_chain: float
    of_cell: float
    most_read: int = 10_000


def measured_costs(content: Mapping[str, Any]) -> Costs:
    """Return the costs that scale.json holds."""
    largest, of_run = content["sizes"][-1], content["run"]
    return Costs(
        plan=largest["plan (CPU-s)"] / largest["cells"],
        remark=largest["code that changed (CPU-s)"] / min(largest["cells"], Costs.most_read),
        of_chain=sum(max(0.0, of_run["chain"].get(kind, 0.0)) for kind in _KINDS),
        of_cell=sum(max(0.0, of_run["cell"].get(kind, 0.0)) for kind in _KINDS),
    )


@dataclass
class Outcome:
    """Outcome of a simulation.

    Attributes:
        hours: Hours until all is done.
        trained: GPU hours of trainings and tasks that counted.
        lost: GPU hours of steps that were done again.
        idle: GPU hours of starting, planning, looking for work, and waiting for GPUs and claims.
        failed: Chains whose training failed.
        preempted: Number of preemptions.
        node_failures: Number of times a GPU was lost with its node.
        operations: Hour -> operations on files.
    """

    hours: float = 0.0
    trained: float = 0.0
    lost: float = 0.0
    idle: float = 0.0
    failed: int = 0
    preempted: int = 0
    node_failures: int = 0
    operations: Counter[int] = field(default_factory=Counter)

    def a_second(self) -> list[float]:
        """Return the operations a second of each hour but the last, in which GPUs have nothing to do."""
        return [self.operations[hour] / _HOUR for hour in range(max(1, int(self.hours)))]


@dataclass
class _Queue:
    """The chains of a store that nobody works on, the next one last, and how many are taken and done."""

    left: list[int]
    taken: int = 0
    done_cells: int = 0


@dataclass
class _Worker:
    """A GPU with the process on it.

    Attributes:
        store: Index of the store that its process works on.
        fresh: Whether a process must be started.
        seen: Chains of the store that had been taken when it looked last.
    """

    store: int
    fresh: bool = True
    seen: int = 0


def simulate(layout: Layout, costs: Costs, campaign: Campaign = Campaign(), seed: int = 0) -> Outcome:
    """Run a campaign until no chain is left; the same seed draws the same lengths and failures for each layout."""
    c, rng, outcome = campaign, random.Random(seed), Outcome()
    lengths = [60 * c.training_min * rng.lognormvariate(0, c.spread) for _ in range(c.chains)]
    crashes = {chain for chain in range(c.chains) if rng.random() < c.crash}
    queues = [_Queue(list(range(store, c.chains, layout.stores))[::-1]) for store in range(layout.stores)]
    nodes = [_times(rng, c.node_days * 24 * _HOUR) for _ in range(-(-c.gpus // c.gpus_of_node))]
    preemptions = [_times(rng, c.preempted_h * _HOUR) for _ in range(c.gpus)]
    workers = [_Worker(gpu % layout.stores) for gpu in range(c.gpus)]
    free = [(rng.uniform(0, 60), gpu) for gpu in range(c.gpus)]
    heapq.heapify(free)
    back: list[tuple[float, int, int]] = []  # when a chain is free again whose process died, store, chain
    unfinished = c.chains

    def operations(when: float, count: float) -> None:
        outcome.operations[int(when / _HOUR)] += round(count)

    while unfinished:
        now, gpu = heapq.heappop(free)
        while back and back[0][0] <= now:
            _, store, chain = heapq.heappop(back)
            queues[store].left.append(chain)
        worker = workers[gpu]
        if not queues[worker.store].left:
            fullest = max(range(layout.stores), key=lambda store: len(queues[store].left))
            if not queues[fullest].left:
                if not back:
                    continue  # nothing will come any more for this GPU
                heapq.heappush(free, (max(now + 1, back[0][0]), gpu))
                outcome.idle += max(1.0, back[0][0] - now) / _HOUR
                continue
            workers[gpu] = worker = _Worker(fullest)
        queue = queues[worker.store]
        chain = queue.left.pop()
        cells = c.chains // layout.stores * c.tasks
        begins, count = now, 0.0
        if worker.fresh or layout.elements:
            read = 0 if layout.elements else min(queue.done_cells, costs.most_read)
            count += 260 + read  # folders of names, and records
            plans = _PLANS_OF_ELEMENT if layout.elements else 1
            begins += plans * costs.plan * cells + c.start + costs.remark * read
        if not layout.elements:
            passed = 0 if worker.fresh else queue.taken - worker.seen
            count += 1 + passed * c.tasks  # the names of all claims, and the cells that others have finished
        worker.fresh, queue.taken = False, queue.taken + 1
        worker.seen = queue.taken
        begins += count * c.latency
        operations(now, count)
        outcome.idle += (begins - now) / _HOUR
        crashed = chain in crashes
        needed = lengths[chain] * (rng.random() if crashed else 1.0) + (0.0 if crashed else c.measuring)
        ends = begins + needed
        preempted, died = _next(preemptions[gpu], now), _next(nodes[gpu // c.gpus_of_node], now)
        if min(preempted, died) >= ends:
            unfinished -= 1
            outcome.failed += crashed
            outcome.trained += needed / _HOUR
            queue.done_cells += 0 if crashed else c.tasks
            operations(ends, costs.of_chain + costs.of_cell * c.tasks + 6 * needed // c.checkpoint)
            heapq.heappush(free, (ends, gpu))
            outcome.hours = max(outcome.hours, ends / _HOUR)
            continue
        stopped = min(preempted, died)
        done = max(0.0, stopped - begins)
        kept = min(done if preempted < died else done - done % c.checkpoint, lengths[chain])
        lengths[chain] -= kept
        outcome.trained += kept / _HOUR
        outcome.lost += (done - kept) / _HOUR
        workers[gpu] = _Worker(worker.store)
        if preempted < died:
            outcome.preempted += 1
            queue.left.append(chain)
        else:
            outcome.node_failures += 1
            heapq.heappush(back, (stopped + c.stale, worker.store, chain))
        returns = stopped + (c.requeued if preempted < died else c.repaired)
        outcome.idle += (returns - stopped) / _HOUR
        heapq.heappush(free, (returns, gpu))
    for hour in range(int(outcome.hours) + 1):
        outcome.operations[hour] += round(3 * c.gpus * _HOUR / c.beat)
    return outcome


def _times(rng: random.Random, mean: float) -> list[float]:
    """Draw the times of a Poisson process for a year."""
    times = [0.0]
    while times[-1] < 365 * 24 * _HOUR:
        times.append(times[-1] + rng.expovariate(1 / mean))
    return times[:0:-1]


def _next(times: list[float], now: float) -> float:
    """Return the first time after now, and drop those before it; the earliest stands last."""
    while times[-1] <= now:
        times.pop()
    return times[-1]


def as_text(costs: Costs, campaign: Campaign, outcomes: Sequence[tuple[Layout, Outcome]]) -> str:
    """Return the outcomes as Markdown."""
    c = campaign
    lines = [
        f"Assumed: {c.chains:,} chains of {c.tasks} cells on {c.gpus} GPUs in nodes of {c.gpus_of_node}; trainings of",
        f"{c.training_min:g} minutes in the middle (lognormal, sigma {c.spread:g}), {c.measuring:g} s for all tasks of",
        f"a chain, {c.start:g} s from the start of a process to its first step without planning, a checkpoint every",
        f"{c.checkpoint / 60:g} minutes; each GPU is preempted every {c.preempted_h:g} hours and back after",
        f"{c.requeued / 60:g} minutes; a node fails every {c.node_days:g} days and is back after",
        f"{c.repaired / _HOUR:g} hours; {c.crash:.1%} of the chains crash; {1000 * c.latency:g} ms for an operation of",
        "the file server.",
        "",
        f"Measured: {1e6 * costs.plan:.0f} µs to plan a cell, {1e6 * costs.remark:.0f} µs to read and check a record,",
        f"{costs.of_chain:.0f} operations on files for a chain and {costs.of_cell:.0f} for each of its cells.",
        "",
        "| | " + " | ".join(layout.name for layout, _ in outcomes) + " |",
        "|:--|" + "--:|" * len(outcomes),
    ]

    def row(name: str, values: list[str]) -> None:
        lines.append(f"| {name} | {' | '.join(values)} |")

    got = [outcome for _, outcome in outcomes]
    row("days", [f"{outcome.hours / 24:.1f}" for outcome in got])
    row("GPU hours that counted", [f"{outcome.trained:,.0f}" for outcome in got])
    row("GPU hours of steps done again", [f"{outcome.lost:,.0f}" for outcome in got])
    row("GPU hours of starting, planning, looking, waiting", [f"{outcome.idle:,.0f}" for outcome in got])
    row("preemptions; GPUs lost with their node", [f"{o.preempted:,}; {o.node_failures:,}" for o in got])
    row("chains that failed", [f"{outcome.failed:,}" for outcome in got])
    means = [sum(outcome.a_second()) / len(outcome.a_second()) for outcome in got]
    row("operations on files a second, mean", [f"{mean:,.0f}" for mean in means])
    row("the same in the busiest hour", [f"{max(outcome.a_second()):,.0f}" for outcome in got])
    planning = [costs.plan * c.chains * c.tasks / layout.stores for layout, _ in outcomes]
    row("CPU seconds in which a process plans its request", [f"{seconds:,.1f}" for seconds in planning])
    row("folders below `chains/` of a store", [f"{c.chains // layout.stores:,}" for layout, _ in outcomes])
    row(
        "records in each of its 256 folders",
        [f"{c.chains * c.tasks // layout.stores // 256:,}" for layout, _ in outcomes],
    )
    return "\n".join(lines)


def main() -> None:
    """Simulate, print, and save with `--save`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaign", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="seed of lengths and failures")
    parser.add_argument("--save", action="store_true", help=f"write the table into {PAGE.name}")
    asked = parser.parse_args()
    costs = measured_costs(json.loads(RESULTS.read_text(encoding="utf-8")))
    outcomes = [(layout, simulate(layout, costs, seed=asked.seed)) for layout in LAYOUTS]
    text = as_text(costs, Campaign(), outcomes)
    print(text)
    if asked.save:
        write_text(PAGE, splice(PAGE.read_text(encoding="utf-8"), "campaign", text))


if __name__ == "__main__":
    main()
