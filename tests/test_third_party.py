"""Third-party plugin packages are installed, listed, checked, run and removed, in an environment of their own."""

import json
import os
import re
import shutil
import subprocess
import sysconfig
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench_core.cli.new import KINDS, write_package

# Runs command lines in one process, so that torch is imported once; prints exit code and output of each.
BENCH = """
import json, sys
from click.testing import CliRunner
from bench_core.cli import main
done = [CliRunner().invoke(main, line) for line in json.loads(sys.argv[1])]
print(json.dumps([(each.exit_code, each.output) for each in done]))
"""
PACKAGES = Path(__file__).parent / "third_party"
README = Path(__file__).parents[1] / "README.md"
# Package -> the command that runs its method beside another one.
RUNS = {
    "bench-nodes": "run --datasets circle --encoders neighbours --methods link,random --tasks knn",
    "bench-graphs": "run --datasets rings_and_stars --encoders sum_of_nodes --methods count,random --tasks knn",
    "bench-pairs": "run --datasets spots_and_sounds --encoders two_towers --methods align,random --tasks knn",
    "bench-stages": "run --methods thaw,random --tasks knn",
    "bench-tilt": "run --methods tilt,random --tasks linear",
    "bench-teacher": "run --methods imitate,random --set imitate.teacher=random --tasks knn",
}
PIP = ("-m", "pip", "--disable-pip-version-check", "-q")
Call = Callable[..., str]


def write_readmes_package(folder: Path) -> None:
    """Write the package that README.md prints, as it prints it."""
    folder.mkdir()
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (module,) = (block for block in blocks if "class Tilt" in block)
    (metadata,) = (block for block in blocks if "bench-tilt" in block)
    (folder / "bench_tilt.py").write_text(module, encoding="utf-8")
    (folder / "pyproject.toml").write_text(metadata, encoding="utf-8")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Function that calls the Python of a new environment with all packages, beside those of this environment."""
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
    shutil.copytree(PACKAGES, home, dirs_exist_ok=True)
    write_readmes_package(home / "bench-tilt")
    for kind in KINDS:
        write_package(kind, f"own_{kind}", home / f"bench-own-{kind}")

    def call(*arguments: str) -> str:
        done = subprocess.run([interpreter, *arguments], capture_output=True, text=True, cwd=home, timeout=300)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    names = sorted(path.name for path in home.glob("bench-*"))
    call(*PIP, "install", "--no-deps", "--no-build-isolation", "--no-index", *(f"./{name}" for name in names))
    return call


def bench(python: Call, *lines: str) -> Iterator[tuple[int, str]]:
    """Yield exit code and output of each command line."""
    yield from json.loads(python("-c", BENCH, json.dumps([line.split() for line in lines])))


def test_third_party_package_is_installed_listed_checked_run_and_removed(python: Call) -> None:
    run = "run --methods echo,random --tasks knn,feature_norm --epochs 2 --json --quiet"
    answers = list(bench(python, "list --json", "check bench-echo", run, "table --format md"))
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

    python(*PIP, "uninstall", "-y", "bench-echo")
    (_, listed), (code, gone), (_, table) = bench(python, "list --json", "run --methods echo", "table")
    assert "echo" not in {line["name"] for line in json.loads(listed)}
    assert code == 2
    assert "no method named 'echo'" in gone
    assert "feature_norm" in table  # its records are still there


def test_packages_for_other_kinds_of_data_stages_and_a_teacher_are_checked_and_run(python: Call) -> None:
    checked, *runs = bench(
        python, "check " + " ".join(RUNS), *(f"{run} --epochs 2 --json --quiet" for run in RUNS.values())
    )
    assert checked[0] == 0, checked[1]
    assert {line[:4] for line in checked[1].splitlines() if " can: " not in line} == {
        "ok  "
    }  # nothing failed, and nothing was left out
    for (package, run), (code, output) in zip(RUNS.items(), runs, strict=True):
        assert code == 0, f"{package}: {output}"
        methods = run.split("--methods ")[1].split()[0].split(",")
        assert sorted(score["method"] for score in json.loads(output)) == sorted(methods)


def test_new_packages_of_each_kind_conform_and_run_untouched(python: Call) -> None:
    names = [f"own_{kind}" for kind in KINDS]
    run = (
        "run --datasets own_dataset --encoders own_encoder --methods own_method,random --tasks own_task,knn "
        "--epochs 1 --json --quiet --store own"
    )
    answers = list(bench(python, f"check {' '.join(names)}", run))
    assert [code for code, _ in answers] == [0, 0], answers
    checked, scores = (output for _, output in answers)
    assert "FAIL" not in checked
    assert {f"bench-own-{kind}/own_{kind}" for kind in KINDS} <= {
        line.split()[2].strip(":") for line in checked.splitlines()
    }
    assert {score["task"] for score in json.loads(scores)} == {"own_task", "knn"}
    python("-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"bench-own-{kind}" for kind in KINDS))
