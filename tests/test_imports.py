"""Data flows one way: who may import whom, read off the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLOW = [  # each may import those after it, and nothing before it
    "cli", "cli_compare", "cli_records", "cli_tables", "cli_engine", "publishing", "verifying", "merging", "api",
    "engines.process", "state", "runner", "todo", "attempts",
    "pretrain", "embed", "plan", "request", "boards", "plugins",
]  # fmt: skip


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_core_imports_no_plugin() -> None:
    plugins = {path.name for path in (ROOT / "plugins").iterdir()}
    for path in (ROOT / "bench_core").rglob("*.py"):
        assert not {name.partition(".")[0] for name in imports(path)} & plugins, path


def test_a_plugin_imports_no_other_plugin() -> None:
    plugins = {path.name for path in (ROOT / "plugins").iterdir()}
    files = list((ROOT / "plugins").rglob("*.py"))
    assert len(files) > 10
    for path in files:
        assert not {name.partition(".")[0] for name in imports(path)} & plugins, path


def test_data_flows_one_way() -> None:
    for place, name in enumerate(FLOW):
        path = ROOT / "bench_core" / f"{name.replace('.', '/')}.py"
        upward = {f"bench_core.{earlier}" for earlier in FLOW[:place]}
        assert not set(imports(path)) & upward, path


def test_only_the_main_module_imports_the_command_line() -> None:
    users = [p.name for p in (ROOT / "bench_core").rglob("*.py") if "bench_core.cli" in set(imports(p))]
    assert users == ["__main__.py"]


def test_no_core_module_is_longer_than_300_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for root in ("bench_core", "plugins")
        for path in (ROOT / root).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 300
    }
    assert set(long) <= {"bench_core/contracts.py"}, long  # the contract is one idea and mostly words
