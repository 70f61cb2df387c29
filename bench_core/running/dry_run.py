"""The screen of `bench run --dry-run`: the cells that would run, and the time and memory that they take."""

import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from textwrap import shorten, wrap

from bench_core.planning.chains import Plan
from bench_core.reports.tables.cell_states import plan_entries
from bench_core.running.estimates import Costs, Left, Seconds, about, all_left, duration
from bench_core.running.pending import is_trained, missing
from bench_core.running.planned import planned
from bench_core.store import Store
from bench_core.store.record import Record, cell_label

FEW = 20  # cells that are listed one by one
_MOST_REASONS = 4  # why cells are skipped
_MOST_CHAINS = 3  # those that take longest
_MOST_DATA = 4  # pairs of dataset and encoder
_WOULD_RUN = {"missing": "would run", "failed": "would run again", "stale": "would run again"}

Line = Mapping[str, object]


def cells_of(plan: Plan, store: Store, records: Sequence[Record], again: Collection[str]) -> list[dict[str, object]]:
    """Return the names, state and reason of each cell of a plan, as `--json` prints them.

    Args:
        plan: The plan.
        store: The store.
        records: Its records.
        again: Keys of finished cells that are run again.
    """
    lines: list[dict[str, object]] = []
    for cell, entry in zip(plan.cells, plan_entries(plan, records, store.attempts()), strict=True):
        state = "would run again" if cell.key in again else _WOULD_RUN.get(entry.state, entry.state)
        lines.append({"cell": cell.key, **cell.names, "seed": cell.seed, "state": state, "reason": entry.reason})
    return lines


def cell_lines(cells: Sequence[Line]) -> list[str]:
    """Write one line for each cell."""
    lines = []
    for cell in cells:
        reason = f"  ({cell['reason']})" if cell["reason"] else ""
        names = cell_label({name: str(value) for name, value in cell.items()})
        lines.append(f"{str(cell['cell'])[:12]}  {cell['state']:<15}  {names}  seed {cell['seed']}{reason}")
    return lines


def summary_lines(plan: Plan, store: Store, records: Sequence[Record], cells: Sequence[Line], jobs: int) -> list[str]:
    """Count the cells of each state and the trained chains, and estimate what the others cost."""
    counts = ", ".join(f"{n} {state}" for state, n in Counter(str(cell["state"]) for cell in cells).items())
    trained = sum(is_trained(chain, store) for chain in plan.chains)
    lines = [f"{len(cells)} cells: {counts}; {len(plan.chains)} chains, {trained} of them pretrained"]
    costs = Costs(records)
    left = all_left(planned(plan), store)
    return lines + _cost_lines(left, costs, jobs) if left else lines


def group_lines(cells: Sequence[Line], width: int) -> list[str]:
    """Write the cells of a large plan in a few lines: which data, how many rows and columns, and why cells are skipped.

    Args:
        cells: The cells.
        width: Columns of the terminal.
    """
    data = list(dict.fromkeys((cell["dataset"], cell.get("own_encoder", cell["encoder"])) for cell in cells))
    lines = []
    for dataset, encoder in data[:_MOST_DATA]:
        mine = [c for c in cells if (c["dataset"], c.get("own_encoder", c["encoder"])) == (dataset, encoder)]
        number = {axis: len({cell[axis] for cell in mine}) for axis in ("method", "task", "seed")}
        words = ", ".join(f"{n} {axis}{'' if n == 1 else 's'}" for axis, n in number.items())
        lines.append(f"{dataset}, {encoder}: {words}; {len(mine)} cells")
    if len(data) > _MOST_DATA:
        lines.append(f"and {len(data) - _MOST_DATA} more pairs of dataset and encoder")
    reasons = Counter(str(cell["reason"]) for cell in cells if cell["state"] == "skipped")
    for reason, count in reasons.most_common(_MOST_REASONS):
        lines.append(f"skipped {count:>5}  {shorten(reason, max(20, width - 15), placeholder=' ...')}")
    if others := sum(count for _, count in reasons.most_common()[_MOST_REASONS:]):
        lines.append(f"skipped {others:>5}  for {len(reasons) - _MOST_REASONS} other reasons")
    return lines


def screen(
    plan: Plan, store: Store, again: Collection[str], *, width: int, jobs: int = 1, every_cell: bool = False
) -> list[str]:
    """Return the lines of a dry run.

    Args:
        plan: What would be run.
        store: The store.
        again: Keys of finished cells that are run again.
        width: Columns of the terminal.
        jobs: Chains that would run at the same time.
        every_cell: List each cell, however many there are.
    """
    records = store.records()
    cells = cells_of(plan, store, records, again)
    listed = cell_lines(cells) if lists_cells(plan, every_cell) else group_lines(cells, width)
    summary = summary_lines(plan, store, records, cells, jobs)
    lines = [line for text in summary for line in wrap(text, width, subsequent_indent=" " * 9)]
    return [*listed, *lines, *([] if lists_cells(plan, every_cell) else ["--cells lists them one by one, --json too"])]


def chain_commands(plan: Plan, store: Store, words: Sequence[str]) -> list[str]:
    """Return a command for each chain that is left; a chain stands after those that it starts from.

    Args:
        plan: What would be run.
        store: Its chains without missing cells are left out.
        words: Arguments of `bench` as they were typed.
    """
    left = {chain.key for chain in plan.chains if missing(chain, store)}
    keys = dict.fromkeys(link.key for chain in plan.chains for link in chain.lineage if link.key in left)
    kept = [word for word in words if word not in ("--dry-run", "--commands")]
    return [shlex.join(["bench", *kept, "--only-chain", key]) for key in keys]


def lists_cells(plan: Plan, every_cell: bool) -> bool:
    """Return whether a dry run has a line for each cell, and of each recipe."""
    return every_cell or len(plan.cells) <= FEW


def _cost_lines(left: Sequence[Left], costs: Costs, jobs: int) -> list[str]:
    estimates = [costs.of(part) for part in left]
    seconds = sum(estimates, Seconds())
    parallel = max(1, min(jobs, len(left)))
    parts = [
        f"{name} {duration(value)}"
        for name, value in (("training", seconds.training), ("embedding", seconds.embedding), ("tasks", seconds.tasks))
        if value
    ]
    lines = [f"time     {about(seconds, parallel)}{': ' if parts else ''}{', '.join(parts)}"]
    number = sum(part.trains + part.embeds + len(part.tasks) for part in left)
    sources = [f"{number - seconds.guessed - seconds.unknown} of {number} parts measured in this store"]
    if seconds.guessed:
        sources.append(f"{seconds.guessed} guessed from other methods")
    if seconds.unknown:
        sources.append(f"{seconds.unknown} unknown")
    lines.append(f"from     {', '.join(sources)}")
    longest = sorted(zip(estimates, left, strict=True), key=lambda pair: -pair[0].total)[:_MOST_CHAINS]
    named = [f"{part.chain.label}: {duration(estimate.total)}" for estimate, part in longest if estimate.total >= 1]
    if named and len(left) > 1:
        lines.append(f"longest  {'; '.join(named)}")
    memory = {part.chain.label: costs.memory(part.chain.names) for part in left if part.trains}
    known = {label: gib for label, gib in memory.items() if gib is not None}
    if known:
        label, most = max(known.items(), key=lambda item: item[1])
        text = f"memory   up to {most:.1f} GiB ({label}), measured"
        lines.append(text if len(known) == len(memory) else f"{text}; of {len(memory) - len(known)} others unknown")
    elif memory:
        lines.append("memory   unknown: no such training has finished in this store")
    return lines
