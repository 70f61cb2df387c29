"""The options of `bench run` that say where chains run, and what is said of those that did not finish."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bench_core.cli.options import a_number
from bench_core.errors import RequestError
from bench_core.training.stopping import CALL_AGAIN, Stop

if TYPE_CHECKING:
    from bench_core.planning.plan import Plan
    from bench_core.running.failures import Failure
    from bench_core.store import Store

WORDS = "bench.words"  # of a click context's meta: what was typed


def engine_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that `Engine.take` takes."""
    options = [
        click.option(
            "--compile", "compiled", is_flag=True,
            help="Train through torch.compile, meant for GPUs: minutes before the first step, other last digits.",
        ),
        click.option("--isolate", is_flag=True, help="Each chain in a process of its own: a crash ends one chain."),
        click.option(
            "--jobs", type=click.IntRange(1), default=1, show_default=True, metavar="N",
            help="Chains at once, each in a process of its own; cores and GPUs are shared out.",
        ),
        click.option(
            "--time-limit", type=click.FloatRange(0, min_open=True), metavar="SECONDS", callback=a_number,
            help="A chain that takes longer saves a checkpoint and counts as failed; needs --isolate or --jobs 2.",
        ),
        click.option("--retry-failed", is_flag=True, help="Only cells that were tried before and did not finish."),
        click.option("--only-chain", metavar="KEY", hidden=True),  # how --isolate and --jobs start a process
        click.option("--without-cell", metavar="KEY", multiple=True, hidden=True),  # it crashed just now
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True)
class Engine:
    """Where chains run, and which."""

    compiled: bool
    isolate: bool
    jobs: int
    time_limit: float | None
    retry_failed: bool
    only_chain: str | None
    without_cell: Sequence[str]
    device: str
    workers: int
    checkpoint_every: float

    @classmethod
    def take(cls, asked: dict[str, Any], device: str, workers: int, checkpoint_every: float) -> "Engine":
        """The options of `engine_options` out of all; RequestError where they do not fit together."""
        from bench_core.devices import check_device

        names = ("compiled", "isolate", "jobs", "time_limit", "retry_failed", "only_chain", "without_cell")
        engine = cls(**{name: asked.pop(name) for name in names}, device=device, workers=workers,
                     checkpoint_every=checkpoint_every)  # fmt: skip
        if engine.time_limit is not None and not (engine.isolate or engine.jobs > 1):
            raise RequestError(
                "--time-limit needs --isolate (or --jobs 2 and more): only a process of its own can be ended."
            )
        if not engine.watches():  # who only watches leaves the device alone
            check_device(device)
        return engine

    def watches(self) -> bool:
        """Whether chains run in processes of their own, and this is none of them."""
        return (self.isolate or self.jobs > 1) and self.only_chain is None

    def narrow(self, plan: "Plan", store: "Store") -> "Plan":
        """The part of the plan that is asked for.

        Raises:
            RequestError: The plan has no such chain.
            Exit: Nothing has failed, so there is nothing to do.
        """
        from bench_core.planning.plan import narrowed

        if self.retry_failed:
            plan = narrowed(plan, lambda _, cell: bool(store.last_attempt(cell.key)) and not store.record(cell.key))
            if not plan.chains:
                click.echo(f"nothing of this request failed before in {store.path}", err=True)
                raise click.exceptions.Exit(0)
        if self.only_chain is not None:
            plan = narrowed(
                plan, lambda chain, cell: chain.key == self.only_chain and cell.key not in self.without_cell
            )
            if not plan.chains:
                raise RequestError(
                    f"chain {self.only_chain[:12]} is not in this request any more: code or data changed while it "
                    "ran; start again."
                )
        return plan

    def run(self, plan: "Plan", store: "Store", words: Sequence[str], quiet: bool, stop: Stop) -> "list[Failure]":
        """Run what is missing; the cells that did not finish."""
        from bench_core.engines.child_process import itself, leave_with_parent
        from bench_core.engines.processes import Apart, run_apart
        from bench_core.running.progress import Plain, Silent, Watched, choose_progress
        from bench_core.running.runner import execute

        if self.watches():
            how = Apart([*itself(), *words], self.device, self.time_limit, stop, self.jobs)
            return run_apart(plan, store, how, Silent() if quiet else Plain())
        progress = choose_progress(quiet)
        if self.only_chain is not None:
            leave_with_parent()
            progress = Watched()  # with --quiet, too: who watches hears how far it came, and says nothing
        return execute(
            plan, store, self.device, progress, workers=self.workers, checkpoint_every=self.checkpoint_every,
            compiled=self.compiled, stop=stop,
        )  # fmt: skip


def print_failures(plan: "Plan", store: "Store", failures: "Sequence[Failure]") -> None:
    """Where some did not finish: how many cells are done and how many are not, and why, on stderr."""
    from bench_core.reports.tables.cell_states import plan_entries
    from bench_core.running.failures import describe, unfinished

    if not failures:
        return
    failed = unfinished(failures)
    for line in describe(failed):
        click.echo(f"failed: {line}", err=True)
    for line in describe([one for one in failures if one not in failed]):
        click.echo(f"not done: {line}", err=True)
    states = [entry.state for entry in plan_entries(plan, store.records(), store.attempts())]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    click.echo(f"{len(states)} cells: {counts}", err=True)


def exit_code(failures: "Sequence[Failure]") -> int:
    """0 where all is done, 1 where a cell failed, and where some were only preempted: call again."""
    from bench_core.running.failures import unfinished

    return 1 if unfinished(failures) else CALL_AGAIN if failures else 0
