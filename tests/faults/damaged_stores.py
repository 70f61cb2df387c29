"""Faults of the second kind: damaged files, full disks, forbidden folders, two runs on one store."""

import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench_core.store import Store
from bench_core.training.checkpoints import Checkpoints
from tests.faults.campaign import ONE_CHAIN, Campaign
from tests.faults.faults import (
    FILE_DAMAGES,
    ITEM_DAMAGES,
    ITEMS,
    TARGETS,
    delete_matching,
    forbid_writing,
    litter,
)
from tests.faults.outcomes import (
    NOT_SURVIVED,
    RECOVERED,
    REFUSED,
    Contents,
    differences,
    follow_advice,
    wrong_rows,
)
from tests.faults.runs import Action, Run


def _nothing() -> None:
    pass


def run_until_done(
    campaign: Campaign,
    fault: str,
    store: Path,
    arguments: Sequence[str],
    expected: Contents,
    before_first: Action | None = None,
    after_first: Action = _nothing,
) -> None:
    """Give the command until it ends, follow the advice of its messages in between, and count the outcome.

    Args:
        campaign: Counts the outcome.
        fault: What was done to the store.
        store: The store's path.
        arguments: Arguments of `bench run`.
        expected: Contents of an undisturbed store.
        before_first: Makes a fault inside the first run, which may then fail in any clear way without advice.
        after_first: Takes the cause away after the first run.
    """
    outcome, text = RECOVERED, ""
    for attempt in range(4):
        code, text = Run(arguments, store, before=before_first if attempt == 0 else None).wait()
        if attempt == 0:
            after_first()
        if "Traceback" in text or code not in (0, 1, 2):
            return campaign.count(fault, NOT_SURVIVED, f"exit code {code}: {text[-2000:]}")
        if wrong := wrong_rows(store, expected):
            return campaign.count(fault, NOT_SURVIVED, f"wrong rows {wrong}: {text[-2000:]}")
        if code == 0:
            break
        outcome = REFUSED
        needs_advice = attempt > 0 or before_first is None
        if needs_advice and not follow_advice(text, store):
            return campaign.count(fault, NOT_SURVIVED, f"exit code {code}, and no advice: {text[-2000:]}")
    wrong = differences(store, expected)
    campaign.count(fault, NOT_SURVIVED if wrong else outcome, f"{wrong}: {text[-2000:]}")


def damage_files(campaign: Campaign, tries: int, only: str = "") -> None:
    """Damage every kind of file in every way; `only` is a pattern of target names, all where it is empty."""
    finished, expected = campaign.undisturbed(ONE_CHAIN)
    in_training = campaign.killed_in_training()
    for target in TARGETS:
        if not re.fullmatch(only or ".*", target.name):
            continue
        for kind, damage in (ITEM_DAMAGES if target is ITEMS else FILE_DAMAGES).items():
            for _ in range(tries):
                store = campaign.new_store(finished if target.store == "finished" else in_training)
                delete_matching(store, target.removed)
                paths = sorted(store.glob(target.pattern))
                for path in paths[-1:] if target.newest_only else paths:
                    damage(path, campaign.rng)
                run_until_done(campaign, f"{target.name}: {kind}", store, ONE_CHAIN, expected)
                shutil.rmtree(store)
        campaign.log(f"damaged: {target.name}")


def mislead_resuming(campaign: Campaign, tries: int) -> None:
    """Put a checkpoint of another method, and half-written files, where a training is resumed."""
    _, expected = campaign.undisturbed(ONE_CHAIN)
    in_training = campaign.killed_in_training()
    for _ in range(tries):
        store = campaign.new_store(in_training)
        (folder,) = store.glob("chains/*.under-way")
        Checkpoints(folder).save(10**6, {"objective": {"alien": torch.zeros(3)}})
        run_until_done(campaign, "newest checkpoint: whole, but of another method", store, ONE_CHAIN, expected)
        store = campaign.new_store(in_training)
        (folder,) = store.glob("chains/*.under-way")
        litter(store, folder)
        run_until_done(campaign, "half-written files and folders (.tmp)", store, ONE_CHAIN, expected)


def damage_image_cache(campaign: Campaign, tries: int) -> None:
    """Damage the cache of decoded image files."""
    folder = campaign.folder / "images"
    write_images(folder)
    arguments = [
        "--datasets", "image_folder", "--set", f"image_folder.path={folder}", "--set", "image_folder.size=8",
        "--methods", "random", "--tasks", "knn", "--device", "cpu",
    ]  # fmt: skip
    _, expected = campaign.undisturbed(arguments)
    for ending in ("json", "npy"):
        for kind, damage in FILE_DAMAGES.items():
            for _ in range(tries):
                cached = sorted((folder / ".bench-cache").glob(f"*.{ending}"))
                damage(campaign.rng.choice(cached), campaign.rng)
                fault = f"cache of decoded images (.{ending}): {kind}"
                run_until_done(campaign, fault, campaign.new_store(), arguments, expected)


def write_images(folder: Path) -> None:
    """Write two splits of two classes of 24 random images each."""
    classes = [(split, name) for split in ("train", "test") for name in "ab"]
    for number, (split, name) in enumerate(classes):
        (folder / split / name).mkdir(parents=True)
        for k in range(24):
            pixels = np.random.default_rng(100 * number + k).integers(0, 256, (12, 12, 3), np.uint8)
            Image.fromarray(pixels).save(folder / split / name / f"{k}.png")


def limit_disks(campaign: Campaign, tries: int) -> None:
    """Run with a limit on file sizes, and on a disk that is full."""
    _, expected = campaign.undisturbed(ONE_CHAIN)
    for _ in range(tries):
        size = int(10 ** campaign.rng.uniform(3.6, 6.3))  # at least what the run prints, which goes into a file
        run_until_done(
            campaign,
            "no file may be longer than a random limit (RLIMIT_FSIZE)",
            campaign.new_store(),
            ONE_CHAIN,
            expected,
            partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size)),
        )
        _run_on_full_disk(campaign, int(10 ** campaign.rng.uniform(4.2, 6.3)), expected)


def _run_on_full_disk(campaign: Campaign, size: int, expected: Contents) -> None:
    """Run on a disk of so many bytes that gets more room after the first run."""
    fault, store = "disk full (tmpfs of random size)", campaign.new_store()
    store.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(store)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        campaign.outcomes.setdefault(f"{fault}: skipped, mount is not permitted here", Counter())
        return
    try:
        enlarge = partial(subprocess.run, ["mount", "-o", "remount,size=100m", str(store)], check=True)
        run_until_done(campaign, fault, store, ONE_CHAIN, expected, _nothing, enlarge)
    finally:
        subprocess.run(["umount", str(store)], check=True)


def forbid_folders(campaign: Campaign, tries: int) -> None:
    """Run where a folder may not be written, or where a file stands in place of a folder."""
    _, expected = campaign.undisturbed(ONE_CHAIN)
    in_training = campaign.killed_in_training()
    for name in (".", "chains", "cells", "chains/*.under-way"):
        for _ in range(max(1, tries // 3)):
            store = campaign.new_store(in_training)
            (store / "cells").mkdir(exist_ok=True)
            (folder,) = store.glob(name) if name != "." else (store,)
            fault = f"{name if name != '.' else 'the store'} may not be written"
            run_until_done(campaign, fault, store, ONE_CHAIN, expected, *forbid_writing(store, folder))
    for name in ("chains", "cells"):
        store = campaign.new_store()
        Store(store).create()
        (store / name).write_text("a file")
        fault = f"a file in place of the folder {name}"
        run_until_done(campaign, fault, store, ONE_CHAIN, expected, _nothing, (store / name).unlink)


def run_two_at_once(campaign: Campaign, tries: int) -> None:
    """Give the same command twice at once on one store; in every second try one of the two is killed."""
    _, expected = campaign.undisturbed(ONE_CHAIN)
    for number in range(tries):
        store, kill_one = campaign.new_store(), number % 2 == 1
        runs = [Run(ONE_CHAIN, store), Run(ONE_CHAIN, store)]
        if kill_one:
            time.sleep(campaign.rng.uniform(0.2, 4.0))
            os.kill(runs[0].pid, signal.SIGKILL)
        exits = [run.wait() for run in runs]
        if kill_one:
            del exits[0]
        errors = "; ".join(text[-1000:] for code, text in exits if code != 0)
        wrong = differences(store, expected)
        fault = f"two runs on one store at once{', one killed' if kill_one else ''}"
        campaign.count(fault, NOT_SURVIVED if wrong or errors else RECOVERED, f"{wrong} {errors}")
