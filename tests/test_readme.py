"""README.md shows what is true: its plugin conforms and installs, its commands parse, its pages are there."""

import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path
from types import ModuleType

import click
import pytest

from bench_core.cli.group import main
from bench_core.conformance import check_component
from bench_core.plugins import Component, load_plugins

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCS = ROOT / "docs"


def blocks(language: str) -> list[str]:
    """Code blocks of one language, as printed."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def tilt() -> Component:
    (source,) = (block for block in blocks("python") if "class Tilt" in block)
    module = ModuleType("bench_tilt")
    sys.modules["bench_tilt"] = module
    exec(compile(source, "bench_tilt.py", "exec"), module.__dict__)
    ((name, cls),) = module.bench_objectives().items()
    return Component("objective", name, "bench-tilt", "0.1.0", cls)


def test_the_plugin_conforms(tilt: Component) -> None:
    outcomes = list(check_component(tilt, load_plugins()))
    assert [outcome for outcome in outcomes if outcome.error] == []
    assert len(outcomes) == 10


def test_the_plugin_fits_on_a_page(tilt: Component) -> None:
    assert max(len(block.splitlines()) for block in blocks("python")) <= 60


def commands() -> list[str]:
    text = README + (DOCS / "using.md").read_text()
    shell = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.split("#")[0].strip() for block in shell for line in block.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&") if "bench" in part and "pip" not in part]


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_parses(line: str) -> None:
    words = shlex.split(line.partition(">>")[0])
    name = words[1]
    assert name in main.commands
    with main.commands[name].make_context(name, words[2:], resilient_parsing=False):
        pass


def test_every_command_is_there() -> None:
    assert {shlex.split(line)[1] for line in commands()} >= {
        "list",
        "show",
        "run",
        "why",
        "table",
        "export",
        "completion",
    }
    assert isinstance(main, click.Group)


def test_the_printed_package_installs_beside_tests_and_notebooks(tmp_path: Path) -> None:
    (module,) = (block for block in blocks("python") if "class Tilt" in block)
    (metadata,) = (block for block in blocks("toml") if "bench-tilt" in block)
    package = tmp_path / "package"
    (package / "notebooks").mkdir(parents=True)
    (package / "bench_tilt.py").write_text(module)
    (package / "pyproject.toml").write_text(metadata)
    (package / "test_bench_tilt.py").write_text("def test_nothing(): pass\n")
    (package / "plots.py").write_text("raise ImportError('a script beside the plugin')\n")
    (package / "notebooks" / "first.py").write_text("print('a notebook')\n")
    target = tmp_path / "installed"
    words = [
        "install",
        "--quiet",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(package),
    ]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in target.glob("*.py")) == ["bench_tilt.py"]
    assert not (target / "notebooks").exists()
    (distribution,) = distributions(path=[str(target)])
    (entry,) = distribution.entry_points
    assert (entry.group, entry.name, entry.value) == ("bench", "tilt", "bench_tilt")


def test_the_docs_travel_in_the_wheel_to_where_the_readme_says_they_lie() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["force-include"]["docs"] == "bench_core/docs"
    assert "bench_core.__path__[0] + '/docs'" in README


def test_every_page_of_the_docs_is_named_by_the_index() -> None:
    index = (DOCS / "README.md").read_text()
    for page in DOCS.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page


def test_the_version_of_the_readmes_plugin_is_served() -> None:
    assert tuple(map(int, version("bench-core").split(".")[:2])) >= (0, 1)
