"""The versions that README.md promises are those of pyproject.toml and of the script that runs the tests with them."""

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPT = (ROOT / "tests/versions.sh").read_text()


def bounds(requirements: list[str]) -> dict[str, str]:
    """Return the lower bound of each package, "" where there is none."""
    return {name: bound for name, _, bound in (line.partition(">=") for line in requirements)}


def test_readme_promises_the_pythons_and_the_torch_of_the_package() -> None:
    found = re.search(r"Python (3\.\d+) to (3\.\d+), torch (\S+) or newer", (ROOT / "README.md").read_text())
    assert found is not None
    listed = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    first, last = (int(version.partition(".")[2]) for version in found.groups()[:2])
    assert listed == [f"3.{minor}" for minor in range(first, last + 1)]
    assert PROJECT["requires-python"] == f">={found[1]}"
    assert bounds(PROJECT["dependencies"])["torch"] == found[3]


def test_script_runs_the_lowest_and_the_newest_promised_python() -> None:
    listed = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    assert f"LOWEST_PYTHON:-{listed[0]}}}" in SCRIPT
    assert f"NEWEST_PYTHON:-{listed[-1]}}}" in SCRIPT


def test_script_installs_every_extra() -> None:
    found = re.search(r"--editable '\.\[(.*)\]'", SCRIPT)
    assert found is not None
    assert sorted(found[1].split(",")) == sorted(PROJECT["optional-dependencies"])


def test_every_package_has_one_lower_bound() -> None:
    """Tests with the lowest versions would else run with a higher one than is promised."""
    of_package = bounds(PROJECT["dependencies"])
    assert all(of_package.values())
    for requirements in PROJECT["optional-dependencies"].values():
        of_extra = bounds(requirements)
        assert all(of_extra.values())
        assert {name: of_package.get(name, bound) for name, bound in of_extra.items()} == of_extra
