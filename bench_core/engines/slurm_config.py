"""Options of Slurm's sbatch for the elements of a run: from the command line, and from a table of a TOML file.

    [slurm]                     # ./bench.toml, else ~/.config/bench/config.toml
    partition = "gpu"
    gpus = 1
    time = "04:00:00"
    setup = ["module load cuda/12"]

    [slurm.evaluation]          # other nodes for the tasks, after the training
    partition = "cpu"
    time = "01:00:00"

Keys are the long options of sbatch without their dashes. Options of the command line win over those of the file.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_core.errors import RequestError, did_you_mean, shown

EVALUATION = "evaluation"  # the table below [slurm], and what stands before a key: evaluation.partition=cpu
SETUP = "setup"  # lines of the shell before the element begins; the one key that is no option of sbatch
SIGNAL = "USR2"  # what submitit listens to
_SIGNAL_DELAY_S = 120  # from the signal to the end of the time limit: one step, a checkpoint, and a slow disk
_KEY = re.compile(r"[a-z][a-z0-9-]*")
_SIGNAL = re.compile(rf"(?:SIG)?{SIGNAL}@(\d+)")
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<parts>\d+(?::\d+){0,2})")
_LEAST_TIME_S = 60  # what Slurm rounds up to
_OURS = {
    "array": "bench makes one array element for each chain; --jobs N lets N elements of an array run at a time",
    "chdir": "elements run in the folder of this command, so that relative paths mean the same",
    "dependency": "bench lets elements wait for the chains that they need",
    "error": "the log of each chain is a file below STORE/slurm/logs",
    "input": "elements read nothing",
    "job-name": "bench knows its elements by it",
    "no-requeue": "an element that is stopped is queued again and goes on from its checkpoint",
    "gpus-per-task": "each rank gets one GPU; write gpus=N or gpus-per-node=N",
    "ntasks": "the number of processes of a chain is --ranks",
    "ntasks-per-node": "the number of processes of a chain is --ranks",
    "open-mode": "the log of each chain is a file below STORE/slurm/logs",
    "output": "the log of each chain is a file below STORE/slurm/logs",
    "parsable": "bench reads what sbatch prints",
    "quiet": "bench reads what sbatch prints",
    "requeue": "bench always asks for it",
    "test-only": "--dry-run shows what would run",
    "wait": "it is an option of its own: --wait",
    "wrap": "bench says what elements run",
}


@dataclass(frozen=True)
class Resources:
    """Options of sbatch for one kind of elements.

    Attributes:
        options: Option of sbatch -> value; True for one without a value.
        setup: Lines of the shell that run before the element.
        where: Where they were read, for messages: "--slurm" or the name of a file.
    """

    options: Mapping[str, str | bool]
    setup: tuple[str, ...] = ()
    where: str = "--slurm"

    @property
    def time_s(self) -> int:
        """Time limit of an element in seconds."""
        return _seconds(str(self.options["time"]))

    @property
    def nodes(self) -> int:
        """Nodes of an element."""
        return _count(self.options.get("nodes", "1"))

    @property
    def gpus(self) -> int:
        """GPUs that an element gets, on all its nodes."""
        options = self.options
        if "gpus" in options:
            return _count(options["gpus"])
        if "gpus-per-node" in options:
            return _count(options["gpus-per-node"]) * self.nodes
        of_gres = [part for part in str(options.get("gres", "")).split(",") if part.partition(":")[0] == "gpu"]
        return sum(_count(part.partition(":")[2] or "1") for part in of_gres) * self.nodes

    def ranks_per_node(self, ranks: int | str) -> int:
        """Return how many ranks of a chain srun starts on each node.

        Args:
            ranks: Value of --ranks: auto is one for each GPU.

        Raises:
            RequestError: The elements ask for another number of GPUs, or the nodes cannot have equally many.
        """
        wanted = max(1, self.gpus) if ranks == "auto" else int(ranks)
        if wanted > 1 and self.gpus not in (0, wanted):
            raise RequestError(
                f"{self.where}: an element asks for {self.gpus} GPUs, but ranks is {wanted}, and each needs its own; "
                f"add --slurm gpus={wanted}, or --ranks auto for as many as there are GPUs."
            )
        if wanted % self.nodes:
            raise RequestError(f"{self.where}: {wanted} ranks cannot be shared out among {self.nodes} nodes equally.")
        return wanted // self.nodes

    @property
    def signal_delay_s(self) -> int:
        """Seconds before the time limit at which an element saves its state; at most a third of a short limit."""
        if match := _SIGNAL.fullmatch(str(self.options.get("signal", ""))):
            return int(match[1])
        return min(_SIGNAL_DELAY_S, self.time_s // 3)


@dataclass(frozen=True)
class SlurmConfig:
    """Options of sbatch for the elements of a run.

    Attributes:
        training: For elements that train, and run the tasks too where `evaluation` is None.
        evaluation: For elements that only run tasks, after the training.
    """

    training: Resources
    evaluation: Resources | None = None


@dataclass
class _Table:
    """Options under construction."""

    options: dict[str, str | bool] = field(default_factory=dict)
    setup: tuple[str, ...] = ()
    where: str = "--slurm"


def slurm_config(given: Sequence[str]) -> SlurmConfig:
    """Join the options of the command line with the table of a file.

    Args:
        given: Values of --slurm: `partition=gpu`, `exclusive`, `setup=module load cuda`, `evaluation.partition=cpu`.

    Raises:
        RequestError: A file is no TOML or holds something else; a key is ours; a time is missing or none.
    """
    training, evaluation = _read_file()
    fresh_setup = set[int]()  # of tables whose setup the command line has replaced
    for text in given:
        key, equals, value = text.partition("=")
        table = training
        if key.startswith(f"{EVALUATION}."):
            evaluation = evaluation or _Table()
            table, key = evaluation, key.removeprefix(f"{EVALUATION}.")
        if key == SETUP:
            table.setup = (*table.setup, value) if id(table) in fresh_setup else (value,)
            fresh_setup.add(id(table))
        else:
            _add(table, key, value if equals else True, f"--slurm {text}")
    return SlurmConfig(_finished(training, ""), _finished(evaluation, f"{EVALUATION}.") if evaluation else None)


def config_files() -> list[Path]:
    """Return the files that may hold the table, in their order: of this folder, of the user."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return [Path("bench.toml"), Path(home) / "bench" / "config.toml"]


def refuse_unknown(resources: Resources, help_text: str) -> None:
    """Refuse an option that this site's sbatch does not know.

    Args:
        resources: Options.
        help_text: What `sbatch --help` prints.

    Raises:
        RequestError: One is not in the help.
    """
    known = set(re.findall(r"--([a-z][a-z0-9-]*)", help_text))
    for key in resources.options:
        if key not in known:
            raise RequestError(
                f"{resources.where}: {shown(key)} is no option of sbatch{did_you_mean(key, known)} "
                "`sbatch --help` lists them."
            )


def _read_file() -> tuple[_Table, _Table | None]:
    """Read the first file that has a table [slurm]."""
    for path in config_files():
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise RequestError(f"{path} cannot be read: {error}; correct it or delete it.") from error
        if unknown := sorted(content.keys() - {"slurm"}):
            raise RequestError(f"{path}: [{unknown[0]}] is no table that bench reads; it reads [slurm].")
        if "slurm" not in content:
            continue
        table = _mapping(content["slurm"], "slurm", path)
        evaluation = table.pop(EVALUATION, None)
        training = _from_table(table, "slurm", path)
        if evaluation is None:
            return training, None
        name = f"slurm.{EVALUATION}"
        return training, _from_table(_mapping(evaluation, name, path), name, path)
    return _Table(), None


def _mapping(value: Any, name: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"{path}: {name} must be a table, [{name}], got {shown(value)}.")
    return value


def _from_table(content: dict[str, Any], name: str, path: Path) -> _Table:
    table = _Table(where=f"{path} [{name}]")
    setup = content.pop(SETUP, [])
    setup = [setup] if isinstance(setup, str) else setup
    if not isinstance(setup, list) or not all(isinstance(line, str) for line in setup):
        raise RequestError(f"{table.where}: setup must be a list of lines of the shell, got {shown(setup)}.")
    table.setup = tuple(setup)
    for key, value in content.items():
        if isinstance(value, bool):
            if not value:
                raise RequestError(f"{table.where}: {key} = false says nothing; leave the line out.")
            _add(table, key, True, table.where)
        elif isinstance(value, str | int | float):
            _add(table, key, str(value), table.where)
        else:
            raise RequestError(f"{table.where}: {key} must be text, a number or true, got {shown(value)}.")
    return table


def _add(table: _Table, key: str, value: str | bool, where: str) -> None:
    """Take in one option, if it may be set."""
    if not _KEY.fullmatch(key):
        raise RequestError(
            f"{where}: {shown(key)} is no option of sbatch; write KEY=VALUE with KEY as sbatch spells it, without "
            "dashes before it: partition=gpu, cpus-per-task=8."
        )
    if reason := _OURS.get(key):
        raise RequestError(f"{where}: {key} cannot be set: {reason}.")
    if isinstance(value, str) and (not value or not value.isprintable()):
        raise RequestError(f"{where}: {key} must have a value of printable characters, got {shown(value)}.")
    if key == "signal" and not (isinstance(value, str) and _SIGNAL.fullmatch(value)):
        raise RequestError(
            f"{where}: signal must be {SIGNAL}@SECONDS, the time that a checkpoint may take before the time limit; "
            f"{SIGNAL}@{_SIGNAL_DELAY_S} is the default."
        )
    if key == "time":
        _seconds(str(value))
    table.options[key] = value


def _finished(table: _Table, prefix: str) -> Resources:
    """Check what several options say together."""
    if "time" not in table.options:
        raise RequestError(
            f"{table.where}: time is missing, which an element may run before it saves its state and is queued again; "
            f"add --slurm {prefix}time=04:00:00."
        )
    resources = Resources(table.options, table.setup, table.where)
    if resources.signal_delay_s >= resources.time_s:
        raise RequestError(
            f"{table.where}: signal={table.options['signal']} comes before an element of time={table.options['time']} "
            "begins; give more time or fewer seconds."
        )
    return resources


def _count(value: str | bool) -> int:
    """Read a number as sbatch spells it, perhaps behind a type: `4`, `a100:4`; of a range of nodes the least."""
    match = re.search(r"(?:^|:)(\d+)(?:-\d+)?$", str(value))
    if not match:
        raise RequestError(f"{shown(value)} is no number that sbatch takes for nodes or GPUs; write 4 or a100:4.")
    return int(match[1])


def _seconds(text: str) -> int:
    """Parse a time limit as sbatch spells it: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS."""
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise RequestError(f"time={text} is no time limit; write HH:MM:SS, minutes, or D-HH: time=04:00:00.")
    parts = [int(part) for part in match["parts"].split(":")]
    if match["days"] is not None:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:
        hours, (minutes, seconds) = 0, (*parts, 0)[:2]
    total = int(match["days"] or 0) * 86400 + hours * 3600 + minutes * 60 + seconds
    if total < _LEAST_TIME_S:
        raise RequestError(f"time={text} is less than a minute, the least that Slurm counts; write time=01:00:00.")
    return total
