"""Commands that only read need neither torch nor plugins: names, units and order come from the records."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bench_core.keys import key_of
from bench_core.store.under_way import LiveLog
from benchmarks.store_size import made_records, make_store

HEAVY = ("torch", "torchvision", "pandas", "sklearn", "faiss", "safetensors")
BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise AssertionError("this command imports " + name)

sys.meta_path.insert(0, Block())
from bench_core.cli import main
main.main(sys.argv[1:], prog_name="bench")
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 60 records, in which one more training is under way."""
    folder = tmp_path_factory.mktemp("reading") / "store"
    make_store(folder, 60)
    training = next(made_records(1))["doc"]["embed"]["pretrain"] | {"seed": 77}
    with LiveLog(folder / "chains" / f"{key_of(training)}.under-way", {"doc": training}) as log:
        log.write({"epoch": 1, "loss": 0.5})
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "table",
        "table --format md --columns linear:*,rank",
        "table --wide --published",
        "compare",
        "compare method_0 method_1",
        "export --csv scores.csv --sqlite scores.sqlite",
        "status",
        "logs method_0/seed-0",
        "logs method_0/seed-77",
        "rm method_0/seed-0 --dry-run",
        "rm --failed --embeddings --dry-run",
        "path --names method_0",
        "plot --kind lines",
        "plot --kind training",
    ],
)
def test_a_command_that_only_reads_imports_neither_torch_nor_a_plugin(line: str, store: Path, tmp_path: Path) -> None:
    plugins = {entry.module.partition(".")[0] for entry in entry_points(group="bench")}
    code = BLOCKED.format(blocked={*HEAVY, *plugins})
    command = [sys.executable, "-c", code, *line.split(), "--store", str(store)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "imports" not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr
