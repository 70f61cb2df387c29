"""Make single operations on files fail, in every command, and check that nothing is half written, lost or claimed.

Each command is run undisturbed first, and its operations on the store, the published boards, caches and outputs are
counted. Then one operation fails: with an I/O error (EIO), as one on a file of a server that has gone (ESTALE), or as
on a disk that is full from then on (ENOSPC).
"""

import random
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from bench_core.reports.pages.markers import placeholder
from bench_core.running import provenance
from tests.faults.damaged_stores import write_images
from tests.faults.file_trees import DAMAGED, Tree, read_tree, without_times
from tests.faults.injector import ERRORS, NEEDS_ROOM, Ending, Fault, Operation, run_command
from tests.faults.io_tally import COLUMNS, Tally

BOARD = """
title = "Two rows"
seeds = [0]
[recipe]
epochs = 1
[datasets.digits]
[encoders.convnet]
[methods.random]
[methods.simclr]
[tasks.knn]
[tasks.retrieval]
[pictures.both]
x = "knn:top1"
y = "retrieval:map_cosine"
"""
_RANDOM_PARTS = re.compile(r"[0-9a-f]{8,}|\d{8}T\d{12}|\d{12}|(?<=bench-verify-)\w+")


@dataclass(frozen=True)
class Command:
    """A command that is disturbed.

    Attributes:
        name: Its name in the table.
        arguments: Arguments of `bench`; PROJECT stands for the folder of the project.
        state: State of the project before: a key of `IoFaults.projects`.
        before: Changes the project before the command.
    """

    name: str
    arguments: Sequence[str]
    state: str = "finished"
    before: Callable[[Path], object] = lambda project: None


_STORE = ["--store", "PROJECT/runs"]
_PUBLISHED = ["--leaderboards", "PROJECT/leaderboards", "--readme", "PROJECT/README.md"]
_BOARD = ["--board", "PROJECT/boards/tiny/board.toml"]
_TRAIN = ["run", "--methods", "simclr", "--tasks", "knn", "--epochs", "1", "--checkpoint-every", "0", *_STORE]
_IMAGES = [
    "--datasets", "image_folder", "--set", "image_folder.path=PROJECT/images", "--set", "image_folder.size=8",
]  # fmt: skip


def commands(key: str) -> Iterator[Command]:
    """Yield all commands that are disturbed; `key` is that of a record in the store."""
    yield Command("`run`, images", ["run", "--methods", "random", "--tasks", "knn", *_IMAGES, *_STORE], "empty")
    yield Command("`run`, training", _TRAIN, "empty")
    yield Command("`run`, resumed", _TRAIN, "in training")
    yield Command("`run --rerun`, a task", ["run", *_BOARD, "--rerun", "knn", *_STORE])
    yield Command("`run --rerun`, a method", ["run", *_BOARD, "--rerun", "simclr", *_STORE])
    yield Command("`why`", ["why", "random/knn/0", "--methods", "random", "--tasks", "knn", *_STORE])
    yield Command("`table`", ["table", *_STORE])
    yield Command("`table --check`", ["table", "--check", *_PUBLISHED], "published")
    yield Command("`plot`", ["plot", "--x", "knn:top1", "--y", "retrieval:map_cosine", "--out", "PROJECT/out", *_STORE])
    yield Command("`compare`", ["compare", "random", "simclr", *_STORE])
    yield Command("`verify`", ["verify", key, *_STORE])
    yield Command("`publish`", ["publish", "PROJECT/boards/tiny/board.toml", *_STORE, *_PUBLISHED])
    yield Command("`publish --pages`", ["publish", "--pages", *_PUBLISHED], "published", _make_pages_stale)
    for ending in ("csv", "parquet", "sqlite"):
        yield Command(f"`export --{ending}`", ["export", f"--{ending}", f"PROJECT/out/scores.{ending}", *_STORE])
    yield Command("`merge`", ["merge", "PROJECT/other", *_STORE])


def _make_pages_stale(project: Path) -> None:
    for page in (project / "leaderboards" / "tiny" / "README.md", project / "docs" / "tasks" / "knn.md"):
        page.write_text(page.read_text().replace("| ", "|  "))
    for picture in project.glob("leaderboards/*/*.svg"):
        picture.unlink()


class IoFaults:
    """Projects in several states, commands that are run in copies of them, and a tally for each command.

    Attributes:
        projects: State -> project in this state.
        tallies: Command -> its tally.
        defects: One line for each fault that was not survived.
    """

    def __init__(self, folder: Path, seed: int, log: Callable[[str], None]) -> None:
        """Make the projects.

        Args:
            folder: All is written below it.
            seed: Seed of the choice of faults.
            log: Called with a line of progress.
        """
        self.folder, self.rng, self.log = folder / "io", random.Random(seed), log
        self.project, self.outside = self.folder / "project", self.folder / "logs"
        self.projects: dict[str, Path] = {}
        self.tallies: dict[str, Tally] = {}
        self.defects: list[str] = []
        self.outside.mkdir(parents=True)
        # Publishing refuses records of changed code.
        mock.patch.object(provenance, "_commit", return_value=("0" * 40, False)).start()
        self._make_projects()

    def _make_projects(self) -> None:
        project = self.project
        (project / "boards" / "tiny").mkdir(parents=True)
        (project / "boards" / "tiny" / "board.toml").write_text(BOARD)
        (project / "docs" / "tasks").mkdir(parents=True)
        (project / "docs" / "tasks" / "knn.md").write_text(placeholder("parameters") + placeholder("numbers"))
        (project / "README.md").write_text(placeholder("tiny"))
        write_images(project / "images")
        self._keep("empty")
        self._must_run(["run", *_BOARD, *_STORE])
        self._must_run(["run", "--methods", "random", "--tasks", "knn", "--seeds", "1", "--store", "PROJECT/other"])
        self._keep("finished")
        self._must_run(["publish", "PROJECT/boards/tiny/board.toml", *_STORE, *_PUBLISHED])
        self._keep("published")
        self._start_from("empty")
        _, operations = self._run(_TRAIN)
        self._start_from("empty")
        number = next(k for k, made in enumerate(operations) if made.path.endswith("weights.safetensors"))
        self._run(_TRAIN, Fault(number, "EIO"))
        shutil.rmtree(project / "runs" / "attempts")
        self._keep("in training")

    def _keep(self, state: str) -> None:
        self.projects[state] = self.folder / state
        shutil.copytree(self.project, self.projects[state])

    def _start_from(self, state: str, before: Callable[[Path], object] = lambda project: None) -> None:
        """Put the project into a state; its path is always the same, as commands print it."""
        shutil.rmtree(self.project)
        shutil.copytree(self.projects[state], self.project)
        (self.project / "tmp").mkdir(exist_ok=True)
        before(self.project)

    def _run(self, arguments: Sequence[str], fault: Fault | None = None) -> tuple[Ending, list[Operation]]:
        typed = [argument.replace("PROJECT", str(self.project)) for argument in arguments]
        if typed[0] in ("run", "verify"):
            typed += ["--device", "cpu"]
        return run_command(typed, [self.project], self.outside, fault)

    def _must_run(self, arguments: Sequence[str]) -> None:
        (self.project / "tmp").mkdir(exist_ok=True)
        ending, _ = self._run(arguments)
        assert ending.code == 0, f"{arguments}: {ending}"

    def inject(self, limit: int, only: str = "") -> None:
        """Disturb every command.

        Args:
            limit: The most faults for a command. They are drawn from all, first one of each kind of operation and file.
            only: Pattern of the names of commands; all where it is empty.
        """
        key = next((self.projects["finished"] / "runs" / "cells").glob("*/*.json")).stem
        for command in commands(key):
            if re.search(only, command.name):
                self._inject(command, limit)

    def _inject(self, command: Command, limit: int) -> None:
        self._start_from(command.state, command.before)
        before = read_tree(self.project)
        ending, operations = self._run(command.arguments)
        assert ending.code == 0, f"{command.name}: {ending}"
        expected = read_tree(self.project)
        damaged = [name for name, content in expected.items() if content.startswith(DAMAGED)]
        assert not damaged, f"{command.name}: {expected[damaged[0]]}"
        tally = self.tallies[command.name] = Tally(len(operations))
        for fault in self._choose(operations, limit):
            made = operations[fault.number]
            self._start_from(command.state, command.before)
            disturbed, done = self._run(command.arguments, fault)
            after = read_tree(self.project)
            again, _ = self._run(command.arguments)
            wrong = [
                *_wrong_ending(disturbed, ending),
                *_wrong_files(before, after, expected, finished=disturbed.code == 0),
                *([f"then exit code {again.code}: {again.stdout[-500:]}{again.stderr[-1500:]}"] if again.code else []),
                *(f"then {text}" for text in _wrong_files(expected, read_tree(self.project), expected, finished=True)),
            ]
            if fault.number < len(done):  # what was hit, where threads change the order
                made = done[fault.number]
            column = next(name for name, operations_ in COLUMNS.items() if made.name in operations_)
            tally.injected[column] += 1
            tally.errors[fault.error] += 1
            tally.refused += disturbed.code != 0
            if wrong:
                tally.lost += 1
                where = _RANDOM_PARTS.sub("*", str(Path(made.path).relative_to(self.project)))
                at = f"{fault.error} at operation {fault.number}, {made.name} {where}"
                self.defects.append(f"{command.name}: {at}: {wrong}")
                self.log(f"NOT SURVIVED {self.defects[-1]}")
        self.log(f"{command.name}: {tally.injected.total()} faults at {len(operations)} operations")

    def _choose(self, operations: Sequence[Operation], limit: int) -> list[Fault]:
        """Choose faults: one of each kind of operation, file and error first, then any."""
        faults = [
            Fault(number, error)
            for number, made in enumerate(operations)
            for error in ERRORS
            if error != "ENOSPC" or made.name in NEEDS_ROOM
        ]
        self.rng.shuffle(faults)
        first: dict[tuple[str, str, str], Fault] = {}
        for fault in faults:
            made = operations[fault.number]
            first.setdefault((made.name, _RANDOM_PARTS.sub("*", made.path), fault.error), fault)
        rest = [fault for fault in faults if fault not in set(first.values())]
        return [*first.values(), *rest][:limit]


def _wrong_ending(disturbed: Ending, undisturbed: Ending) -> Iterator[str]:
    """Yield what is wrong with the ending of a disturbed command."""
    text = f"{disturbed.stdout[-500:]}{disturbed.stderr[-2500:]}"
    if "Traceback" in disturbed.stderr or disturbed.code not in (0, 1, 2):
        yield f"exit code {disturbed.code}: {text}"
    elif disturbed.code and not disturbed.stderr.strip():
        yield f"exit code {disturbed.code} without a word: {text}"
    elif not disturbed.code and not _is_equal(disturbed.stdout, undisturbed.stdout):
        yield f"exit code 0, but it printed {text}"


def _is_equal(text: str, other: str) -> bool:
    """Return whether two commands printed the same; times are only in what `bench run` prints."""
    if "images/s" in text:
        text, other = without_times(text), without_times(other)
    return _RANDOM_PARTS.sub("*", text) == _RANDOM_PARTS.sub("*", other)


def _wrong_files(before: Tree, after: Tree, expected: Tree, *, finished: bool) -> Iterator[str]:
    """Yield what is wrong with the files after a command.

    Args:
        before: The files before it.
        after: The files after it.
        expected: The files after an undisturbed one.
        finished: Whether the command says that all is done.
    """
    kept = set(after.values())
    for name in sorted({*before, *after, *expected}):
        old, now, new = (tree.get(name) for tree in (before, after, expected))
        is_cache = "/.bench-cache/" in name
        may_be_between = not finished and ("/rerun/" in name or name == "runs/leaderboard.md")  # which shows failures
        if now is not None and now.startswith(DAMAGED):
            yield f"{name} is {now}"
        elif is_cache or may_be_between:
            continue
        elif finished and now != new:
            yield f"{name} is {'missing' if now is None else 'another'}"
        elif now not in (old, new) and not (now is None and old in kept):  # or it was moved
            yield f"{name} is {'lost' if now is None else 'neither the old nor the new one'}"
