"""Make faults on purpose (stopped runs, damaged files, failing disks) and check that a store recovers from each.

    python -m tests.faults --kills 100 --tries 6 --io-faults 60 --seed 0 --out docs/reliability.md

An undisturbed store is made first. Every fault then strikes another store, the same command is given until it ends,
and both stores must agree: rows without times, weights, embeddings and logs to the bit. Most runs are forks of this
process, which has imported everything once, so that a stopped run costs tenths of a second; some are new processes.
With `--shared-kills` four runs of one command share each store.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a process with threads cannot be forked

import argparse
import importlib
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from bench_core.plugins import load_plugins
from bench_core.reports.pages.markers import splice
from tests.faults.campaign import METHODS, ONE_CHAIN, THREE_CHAINS, Campaign
from tests.faults.damaged_stores import (
    damage_files,
    damage_image_cache,
    forbid_folders,
    limit_disks,
    mislead_resuming,
    run_two_at_once,
)
from tests.faults.injector import remove_library, restart_with_library
from tests.faults.io_faults import IoFaults
from tests.faults.report import (
    circumstances,
    io_faults_table,
    other_faults_table,
    split_by_kind,
    stopped_runs_table,
)
from tests.faults.shared_stores import ENGINES, PLANS, share_stores, shared_stores_table
from tests.faults.stopped_runs import stop_parallel_runs, stop_runs


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--methods", default=",".join(METHODS), help="methods of the runs that are stopped (default: %(default)s)")
    add("--kills", type=int, default=100, help="stop so many runs (default: %(default)s)")
    add("--new-process-every", type=int, default=12, help="start every n-th of them anew instead of forking it (12)")
    add("--parallel-kills", type=int, default=16, help="stop so many runs with --jobs 2 (default: %(default)s)")
    add("--tries", type=int, default=6, help="try every other fault so often (default: %(default)s)")
    add("--only", default="", help="of the other faults, try damage to files whose name matches (default: all)")
    add("--io-faults", type=int, default=0, help="let so many operations on files fail in every command (default: 0)")
    add("--io-only", default="", help="let them fail in the commands whose name matches (default: all)")
    add("--shared-kills", type=int, default=0, help="send so many signals to runs that share stores (default: 0)")
    add("--shared-only", default="", help='let them share stores where "PLAN, ENGINE" matches (default: all)')
    add("--seed", type=int, default=0, help="seed of everything that is random (default: %(default)s)")
    add("--out", type=Path, help="write the tables into this page, between its markers `stopped`, `others` and `io`")
    return parser.parse_args()


def run_campaign(campaign: Campaign, chosen: argparse.Namespace) -> None:
    """Make all faults that the command line asks for."""
    if chosen.kills:
        stop_runs(campaign, chosen.methods.split(","), chosen.kills, chosen.new_process_every)
    if chosen.parallel_kills:
        arguments = ONE_CHAIN if chosen.methods == "moco" else THREE_CHAINS
        stop_parallel_runs(campaign, arguments, chosen.parallel_kills)
    if chosen.shared_kills:
        cases = [case for case in product(PLANS, ENGINES) if re.search(chosen.shared_only, ", ".join(case))]
        campaign.shared = share_stores(campaign, chosen.shared_kills, cases)
    if chosen.tries:
        damage_files(campaign, chosen.tries, chosen.only)
        if not chosen.only:
            for make_faults in (mislead_resuming, damage_image_cache, limit_disks, forbid_folders, run_two_at_once):
                make_faults(campaign, chosen.tries)
    if chosen.io_faults:
        io_faults = IoFaults(campaign.folder, chosen.seed, campaign.log)
        io_faults.inject(chosen.io_faults, chosen.io_only)
        campaign.tallies, campaign.defects = io_faults.tallies, [*campaign.defects, *io_faults.defects]


def load_everything() -> None:
    """Import and read what every forked run would otherwise import and read alone."""
    for name in (
        "bench_core.api",
        "bench_core.reports.pictures",
        "bench_core.reports.pages.publish",
        "bench_core.reports.comparison.rows",
        "bench_core.store.merge",
        "faiss",
        "matplotlib.backends.backend_svg",
        "pandas",
        "pyarrow.parquet",
        "rich.progress",
        "sklearn.neighbors",
        "torch._dynamo",
    ):
        importlib.import_module(name)
    digits = load_plugins().get("dataset", "digits").cls
    digits(Path(), digits.Config()).load("train")


@contextmanager
def workplace() -> Iterator[Path]:
    """Make a folder for all stores that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="bench-faults-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


def report(campaign: Campaign, chosen: argparse.Namespace, seconds: float) -> None:
    """Print the tables, and write them into the page of `--out`."""
    counts = f"--kills {chosen.kills} --parallel-kills {chosen.parallel_kills} --tries {chosen.tries}"
    if chosen.io_faults:
        counts += f" --io-faults {chosen.io_faults}"
    if chosen.shared_kills:
        counts += f" --shared-kills {chosen.shared_kills}"
    command = f"python -m tests.faults {counts} --seed {chosen.seed}"
    outcomes = split_by_kind(campaign.outcomes)
    tables = {
        "stopped": stopped_runs_table(outcomes["stopped"]) if outcomes["stopped"] else (),
        "others": other_faults_table(outcomes["others"]) if outcomes["others"] else (),
        "shared": shared_stores_table(campaign.shared) if campaign.shared else (),
        "io": io_faults_table(campaign.tallies) if campaign.tallies else (),
    }
    for marker, lines in tables.items():
        if not lines:
            continue
        text = "\n".join([*lines, circumstances(command, seconds)])
        if chosen.out:
            chosen.out.write_text(splice(chosen.out.read_text(), marker, text))
        print(text, flush=True)
    for defect in campaign.defects:
        print(f"NOT SURVIVED {defect}", file=sys.stderr)


def main() -> None:
    """Run the campaign, write the page, and exit with 1 if a fault was not survived."""
    chosen = options()
    if chosen.io_faults:
        restart_with_library()
    began = time.monotonic()
    load_everything()
    with workplace() as folder:
        campaign = Campaign(folder, chosen.seed)
        run_campaign(campaign, chosen)
    remove_library()
    report(campaign, chosen, time.monotonic() - began)
    sys.exit(1 if campaign.defects else 0)


if __name__ == "__main__":
    main()
