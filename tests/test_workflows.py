"""The workflows of GitHub run elsewhere: they fit the schema, and each of their lines is one that runs here, too.

The line that builds the manual is run by tests/browser/test_manual_site.py.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
from click.testing import CliRunner

from bench_core.cli.group import main
from bench_core.reports.site.build import MANUAL

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
LINES = {line for path in WORKFLOWS for line in re.findall(r"^ *- run: (.*)$", path.read_text(), re.MULTILINE)}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CI = (ROOT / ".ci/run").read_text().splitlines()
README = (ROOT / "README.md").read_text().splitlines()

INSTALL = "python3 -m venv .venv && .venv/bin/pip install '.[docs]'"
MKDOCS = ".venv/bin/mkdocs build --strict -f docs/manual/mkdocs.yml"
BOARDS = ".venv/bin/bench site --out site/boards"
WHEEL = "python3 -m pip wheel --no-deps --wheel-dir dist ."


def test_workflows_fit_the_schema() -> None:
    words = ["--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS)]
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_line_is_run_here_or_is_one_that_the_readme_or_ci_runs() -> None:
    ours = [line for line in LINES if line not in CI and line not in README]
    assert sorted(ours) == sorted([INSTALL, MKDOCS, BOARDS, WHEEL])
    assert README[README.index("<!-- ci:tests -->") + 2] in LINES


def test_tests_run_on_every_promised_python() -> None:
    listed = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert f"python: {listed}".replace("'", '"') in (ROOT / ".github/workflows/tests.yml").read_text()


def test_the_manual_says_the_lines_that_make_the_pages() -> None:
    page = (ROOT / "docs/site.md").read_text()
    for line in (MKDOCS, BOARDS):
        assert line.removeprefix(".venv/bin/") in page
    assert "pip install '.[docs]'" in page
    assert "docs" in PROJECT["optional-dependencies"]
    assert (ROOT / "docs" / MANUAL).is_file()  # by which the boards know that the manual is there


def test_the_boards_are_made_by_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaderboards").mkdir()
    (tmp_path / "leaderboards/gaussian_ring").symlink_to(ROOT / "leaderboards/gaussian_ring")
    (tmp_path / "site/manual").mkdir(parents=True)
    (tmp_path / "site" / MANUAL).touch()
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, shlex.split(BOARDS)[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert '<a href="../index.html">Manual</a>' in (tmp_path / "site/boards/index.html").read_text()
    assert '<a href="../../index.html">Manual</a>' in (tmp_path / "site/boards/boards/gaussian_ring.html").read_text()


def test_the_wheel_is_made_by_the_line_and_holds_what_pages_need(tmp_path: Path) -> None:
    words = [sys.executable, *shlex.split(WHEEL.replace(" dist ", f" {tmp_path} "))[1:], "--no-build-isolation", "-q"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(ZipFile(wheel).namelist())
    site = ROOT / "bench_core/reports/site"
    for path in [*site.glob("static/*"), *site.glob("templates/*"), *site.glob("vendor/*"), *ROOT.glob("docs/*.md")]:
        name = path.relative_to(ROOT).as_posix()
        assert (f"bench_core/{name}" if name.startswith("docs/") else name) in names
