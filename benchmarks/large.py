"""Measure tasks on embeddings larger than memory: `python -m benchmarks.large [--save]`.

Made features are written to files as `bench run` writes embeddings, and read as memory maps; then the tasks run one
after the other. The script fails where one of them takes more private memory than 6 GiB, or its part for fewer items.
"""

import argparse
import ctypes
import gc
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import DataSpec, Embedded, Evaluator, Frozen
from bench_core.devices import peak_memory_gib, reset_peak_memory
from bench_core.evaluation.linear_probe import GRID
from bench_core.files import file_digest
from bench_core.store.tensors import load_tensors, tensor_rows
from bench_evaluators.clustering.evaluator import Clustering, ClusteringConfig
from bench_evaluators.knn import KNN, KNNConfig
from bench_evaluators.linear import Linear, LinearConfig
from bench_evaluators.retrieval import Retrieval, RetrievalConfig
from benchmarks.contest import Contest, Timing, as_text, cpu_seconds, result, save

GIB = 2**30
ITEMS, QUERIES, DIMS, CLASSES = 2_000_000, 1000, 256, 100
MEMORY = 6 * GIB  # for ITEMS items; for fewer a part in proportion
_ROWS = 2**12  # rows that are made at once
_DECAY = 1.0  # of the features' spectrum, as in `toy_features`
_SPREAD = 4.0
_SEED = 0
_CPU = torch.device("cpu")


def made_features(items: int, dims: int, classes: int, stream: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield features (n, D) and classes (n,) of items like those of `toy_features`, some at a time.

    Args:
        items: Number of items N.
        dims: Number of dimensions D.
        classes: Number of classes K.
        stream: Number of the stream of items; all streams have the same classes.
    """
    rng = torch.Generator().manual_seed(_SEED)
    centres, turned = torch.randn(classes, dims, generator=rng), torch.randn(dims, dims, generator=rng)
    deviations = torch.arange(1, dims + 1) ** -_DECAY
    rng.manual_seed(_SEED + 1 + stream)
    for start in range(0, items, _ROWS):
        labels = torch.randint(classes, (min(_ROWS, items - start),), generator=rng)
        noise = torch.randn(len(labels), dims, generator=rng)
        yield F.relu((centres[labels] + _SPREAD * noise) * deviations @ turned), labels


def embedded(path: Path, items: int, dims: int, classes: int, stream: int) -> Embedded:
    """Write made features to a file in pieces, and return them as a run reads them."""
    labels, start = torch.empty(items, dtype=torch.int64), 0
    with tensor_rows(path, items) as file:
        for features, answers in made_features(items, dims, classes, stream):
            file.append({"features": features})
            labels[start : start + len(answers)] = answers
            start += len(answers)
    return Embedded(load_tensors(path, file_digest(path)), labels)


def frozen_of(folder: Path, items: int, queries: int, dims: int, classes: int, memory: int) -> Frozen:
    """Return embeddings of a method without clusters of its own, on which the tasks may use so much memory."""
    sizes = {"train": items, "test": queries}
    splits = {
        name: embedded(folder / f"{name}.safetensors", size, dims, classes, stream)
        for stream, (name, size) in enumerate(sizes.items())
    }
    data = DataSpec(shape=(dims,), splits=sizes, num_classes=classes)

    def no_inputs(split: str) -> NoReturn:
        raise AssertionError(f"no task reads the inputs of {split}")

    return Frozen(splits, data, _SEED, _CPU, nn.Identity, no_inputs, memory=memory)  # type: ignore[arg-type]  # never called


def tasks(fit_items: int, penalties: Sequence[float] = GRID) -> Mapping[str, Evaluator]:
    """Return the tasks; `clustering` fits k-means to so many items, `linear` chooses from these penalties."""
    return {
        "knn": KNN(KNNConfig()),
        "retrieval": Retrieval(RetrievalConfig(num_queries=QUERIES)),
        "clustering": Clustering(ClusteringConfig(fit_items=fit_items)),
        "linear": Linear(LinearConfig(grid=tuple(penalties))),
    }


@contextmanager
def peak_memory() -> Iterator[dict[str, float]]:
    """Yield a dict that gets the peaks in MiB of a block: `private` beyond what the process held before, and `all`.

    Private memory (RssAnon) is what the system cannot take back; it is looked at every two milliseconds. `all` (VmHWM)
    adds the libraries and the pages of mapped files that happen to be in memory.
    """
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    reset_peak_memory(_CPU)
    before, peaks, done = _private_mib(), {"private": 0.0}, threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peaks["private"] = max(peaks["private"], _private_mib() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()
        peaks["all"] = 1024 * (peak_memory_gib(_CPU) or 0.0)


def _private_mib() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def measured(name: str, task: Evaluator, frozen: Frozen) -> Timing:
    """Run a task once."""
    with peak_memory() as peaks:
        cpu, wall = cpu_seconds(), time.perf_counter()
        score = task.evaluate(frozen).scores[0]
        seconds = [cpu_seconds() - cpu], [time.perf_counter() - wall]
    facts = {"of the process": f"{peaks['all']:.0f}", "first score": f"{score.metric} {score.value:.4f}"}
    print(f"{name}: {seconds[0][0]:.1f} CPU s, {peaks['private']:.0f} MiB", file=sys.stderr, flush=True)
    return Timing(name, 1.0, *seconds, peaks["private"], facts)


def large(items: int, penalties: Sequence[float] = GRID) -> dict[str, Any]:
    """Run all tasks on so many items, and return the results of a contest.

    Args:
        items: Number of items of train.
        penalties: Penalties that `linear` chooses from.

    Raises:
        AssertionError: A task took more private memory than `MEMORY`, or than its part for fewer items.
    """
    share = min(1.0, items / ITEMS)
    memory = round(MEMORY * share)
    with tempfile.TemporaryDirectory() as folder:
        trial = frozen_of(Path(folder), 4000, 500, 64, 10, memory)
        for task in tasks(1000).values():
            task.evaluate(trial)  # so that the libraries and their buffers are loaded before memory is looked at
        with peak_memory() as peaks:
            frozen = frozen_of(Path(folder), items, QUERIES, DIMS, CLASSES, memory)
        of_tasks = tasks(max(CLASSES, round(50_000 * share)), penalties)
        timings = [measured(name, task, frozen) for name, task in of_tasks.items()]
    for name, peak in {"writing": peaks["private"], **{one.name: one.peak_mib or 0.0 for one in timings}}.items():
        if peak > memory / 2**20:
            raise AssertionError(f"{name} took {peak:.0f} MiB, more than {memory / 2**20:.0f}")
    notes = [
        f"limit: {memory / GIB:.3g} GiB; the embeddings are {4 * items * DIMS / GIB:.3g} GiB of files, which were "
        f"written in pieces with {peaks['private']:.0f} MiB",
        "peak MiB: private memory (RssAnon) beyond what the process held before; of the process: its whole peak "
        "(VmHWM), with the libraries and those pages of the mapped files that are in memory",
    ]
    work = f"Tasks on {items:,} x {DIMS} features, {QUERIES:,} queries, {CLASSES} classes"
    return result(Contest(work, [], notes=notes), timings)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--items", type=int, default=ITEMS, help=f"items of train (default {ITEMS:,})")
    parser.add_argument("--save", action="store_true", help="write results/large.json; README.md is made from it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    outcome = large(options.items)
    print(as_text(outcome))
    if options.save:
        save("large", [outcome])


if __name__ == "__main__":
    main()
