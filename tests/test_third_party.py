"""A third-party plugin package is installed, listed, checked, run and removed, in an environment of its own."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Runs command lines in one process, so that torch is imported once; prints exit code and output of each.
BENCH = """
import json, sys
from click.testing import CliRunner
from bench_core.cli import main
done = [CliRunner().invoke(main, line) for line in json.loads(sys.argv[1])]
print(json.dumps([(each.exit_code, each.output) for each in done]))
"""
PACKAGE = Path(__file__).parent / "third_party" / "bench-echo"
Call = Callable[..., str]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Function that calls the Python of a new environment, in which this one's packages can be imported too."""
    home = tmp_path_factory.mktemp("third_party")
    venv.create(home / "venv", symlinks=True)
    interpreter = home / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = Path(
        subprocess.run(
            [interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()
    )  # fmt: skip
    parents = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (site / "shared.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in parents))
    shutil.copytree(PACKAGE, home / "bench-echo")

    def call(*arguments: str) -> str:
        done = subprocess.run([interpreter, *arguments], capture_output=True, text=True, cwd=home, timeout=300)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return call


def bench(python: Call, *lines: str) -> Iterator[tuple[int, str]]:
    """Yield exit code and output of each command line."""
    yield from json.loads(python("-c", BENCH, json.dumps([line.split() for line in lines])))


def test_third_party_package_is_installed_listed_checked_run_and_removed(python: Call) -> None:
    assert sys.version_info >= (3, 11)
    pip = ["-m", "pip", "--disable-pip-version-check", "-q"]
    python(*pip, "install", "--no-deps", "--no-build-isolation", "--no-index", "./bench-echo")

    run = "run --methods echo,random --tasks knn,feature_norm --epochs 2 --json --quiet"
    answers = list(bench(python, "list --json", "check bench-echo", run, "table"))
    assert [code for code, _ in answers] == [0, 0, 0, 0], answers
    listed, checked, scores, table = (output for _, output in answers)
    components = [line for line in json.loads(listed) if line["package"] == "bench-echo"]
    assert [(line["kind"], line["name"], line["version"]) for line in components] == [
        ("method", "echo", "0.3.0"),
        ("task", "feature_norm", "0.3.0"),
    ]
    assert "ok    method bench-echo/echo" in checked
    assert "FAIL" not in checked
    assert {(s["method"], s["task"]) for s in json.loads(scores)} == {
        ("echo", "knn"), ("echo", "feature_norm"), ("random", "knn"), ("random", "feature_norm"),
    }  # fmt: skip
    assert "feature_norm norm length" in table

    python(*pip, "uninstall", "-y", "bench-echo")
    (_, listed), (code, gone), (_, table) = bench(python, "list --json", "run --methods echo", "table")
    assert "echo" not in {line["name"] for line in json.loads(listed)}
    assert code == 2
    assert "no method named 'echo'" in gone
    assert "feature_norm" in table  # its records are still there
