"""A foreign plugin package is installed, listed, checked, run and removed, in an environment of its own."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "third_party" / "bench-echo"
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Calls the interpreter of a fresh environment that sees this one's packages, torch among them."""
    home = tmp_path_factory.mktemp("foreign")
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

    def call(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run([interpreter, *words], capture_output=True, text=True, cwd=home, timeout=300)
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    return call


def test_a_foreign_package_is_installed_listed_checked_run_and_gone_after_uninstall(python: Call) -> None:
    assert sys.version_info >= (3, 11)
    pip = ["-m", "pip", "--disable-pip-version-check", "-q"]
    python(*pip, "install", "--no-deps", "--no-build-isolation", "--no-index", "./bench-echo")

    lines = json.loads(python("-m", "bench_core", "list", "--json").stdout)
    ours = [line for line in lines if line["package"] == "bench-echo"]
    assert [(line["kind"], line["name"], line["version"]) for line in ours] == [
        ("method", "echo", "0.3.0"),
        ("task", "feature_norm", "0.3.0"),
    ]

    checked = python("-m", "bench_core", "check", "bench-echo").stdout
    assert "ok    objective bench-echo/echo" in checked
    assert "FAIL" not in checked

    words = ["--methods", "echo,random", "--tasks", "knn,feature_norm", "--epochs", "2", "--json", "--quiet"]
    scores = json.loads(python("-m", "bench_core", "run", *words).stdout)
    assert {(s["method"], s["task"]) for s in scores} == {
        ("echo", "knn"), ("echo", "feature_norm"), ("random", "knn"), ("random", "feature_norm"),
    }  # fmt: skip
    table = python("-m", "bench_core", "table").stdout
    assert "feature_norm norm length" in table

    python(*pip, "uninstall", "-y", "bench-echo")
    lines = json.loads(python("-m", "bench_core", "list", "--json").stdout)
    assert "echo" not in {line["name"] for line in lines}
    gone = python("-m", "bench_core", "run", "--methods", "echo", code=2)
    assert "no method named 'echo'" in gone.stderr
    assert "feature_norm" in python("-m", "bench_core", "table").stdout  # its records are still there
