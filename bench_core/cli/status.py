"""`bench status` and `bench logs`: what a run is doing, and what its trainings have logged."""

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bench_core.cli.options import STORE, Command, load, make_request, reads_a_store, request_options, terminal_width
from bench_core.output import say

_POLL_S = 1.0  # between two looks at a log that is followed


@click.command(cls=Command)
@request_options
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.pass_context
@reads_a_store
def status(ctx: click.Context, /, as_json: bool, **asked: Any) -> None:
    """Show what is done, running, failed, left.

    Without --methods or --board this is about the last `bench run` of the store, of which any terminal may ask. With
    them it is about the cells that these options name. The time left is estimated from the speed of trainings under
    way and the costs of finished cells.
    """
    from bench_core.errors import RequestError
    from bench_core.running.planned import planned, read_planned
    from bench_core.running.status import others_under_way, status_lines
    from bench_core.running.status import status as look_up
    from bench_core.store import Store

    store = Store.existing(asked.pop("store"))
    if asked["methods"] or asked["board"]:
        from bench_core.planning.plan import make_plan

        content = planned(make_plan(make_request(asked), load(ctx)))
    else:
        given = [name for name, value in asked.items() if value and name != "data_root"]
        if given:
            raise RequestError(
                f"--{given[0].replace('_', '-')} needs --methods or --board beside it, as in `bench run`."
            )
        last = read_planned(store)
        if last is None:
            raise RequestError(f"{store.path} does not say what was run last; name it: --methods A,B or --board NAME.")
        content = last
    found, others = look_up(content, store), others_under_way(content, store)
    if as_json:
        cells = {state: found.cells(state) for state in ("running", "failed", "left")}
        seconds = {**asdict(found.seconds), "total": found.seconds.total}
        say(json.dumps({**asdict(found), "cells": {"done": found.done, **cells}, "seconds": seconds}, indent=1))
        return
    for line in status_lines(found, terminal_width()):
        say(line)
    if others:
        say("others in this store:")
    for line in others:
        say(f"  {line}")


@click.command(cls=Command)
@click.argument("chain")
@STORE
@click.option("-f", "--follow", is_flag=True, help="Go on printing while the chain is being trained.")
def logs(chain: str, store: Path, follow: bool) -> None:
    """Print the log of a chain's training.

    CHAIN is a name like digits/convnet/nac/seed-0 or its end like nac/seed-0, the beginning of a key, or a folder.
    One line is printed for each epoch, also of a training under way: loss and its parts, rate, images/s, warnings.
    """
    from bench_core.errors import RequestError
    from bench_core.reports.log_lines import log_lines
    from bench_core.store import Store
    from bench_core.store.chain_files import LOG, file_with, read_finished_log
    from bench_core.store.chain_names import find_chain
    from bench_core.store.under_way import UNDER_WAY, is_being_trained

    folder = find_chain(Store.existing(store), chain, under_way=True)
    epochs = _epochs(folder)
    if not file_with(LOG, folder).is_file():
        raise RequestError(f"{folder} has no log: it was stopped before its first epoch, or by older code.")
    shown = 0
    while True:
        goes_on = follow and is_being_trained(folder)  # asked before the log is read, so that its last line is read
        if not file_with(LOG, folder).is_file():  # the training has ended, and its folder has got its final name
            folder = folder.with_name(folder.name.removesuffix(UNDER_WAY))
            if not file_with(LOG, folder).is_file():
                return
        lines = read_finished_log(folder)
        for line in lines[shown:]:
            for text in log_lines(line, epochs):
                say(text)
        shown = len(lines) or shown
        if not goes_on:
            return
        time.sleep(_POLL_S)


def _epochs(folder: Path) -> int | None:
    """Return the epochs of a chain's training in all; None where its folder does not say."""
    from bench_core.errors import StoreError
    from bench_core.store.chain_files import read_recipe

    try:
        epochs = (read_recipe(folder)["doc"].get("recipe") or {}).get("epochs")
    except StoreError:
        return None
    return epochs if isinstance(epochs, int) else None
