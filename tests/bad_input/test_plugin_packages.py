"""Malformed plugin packages: each is reported with its cause, and breaks no other plugin."""

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench_core import plugins
from bench_core.cli.group import main

BASE = """
from dataclasses import dataclass
from bench_core import hookimpl, Evaluator, Evaluation, Score, Dataset, DataSpec, Objective, Variant, NoConfig
class Zero(Evaluator):
    def __init__(self, config): pass
    def evaluate(self, frozen): return Evaluation(scores=[Score(metric="zero", value=0, n=1)], protocol="none")
"""
HOOK = "@hookimpl\ndef bench_evaluators(): return {'zero': Zero}\n"
CONFIG = "@dataclass(frozen=True, kw_only=True)\nclass C:\n    a: int = 1\n"


def with_config(body: str) -> str:
    return f"{BASE}{body}\nZero.Config = C\n{HOOK}"


CASES: list[tuple[str, str]] = [  # source of the module, part of the reason
    ("import nothing_of_this_name", "nothing_of_this_name"), ("1 / 0", "ZeroDivisionError"), ("def", "SyntaxError"),
    ("raise SystemExit(3)", "SystemExit: 3"), ("raise ValueError('a\\nb')", "b"), ("x = '\\x00", "SyntaxError"),
    ("", "gives nothing"), (BASE, "gives nothing"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return {{}}", "gives nothing"),
    (f"{BASE}def bench_evaluators(): return {{'zero': Zero}}", "gives nothing"),
    (f"{BASE}@hookimpl\ndef bench_evaluator(): return {{}}", "did you mean 'bench_evaluators'"),
    (f"{BASE}@hookimpl\ndef bench_tasks(): return {{}}", "no hook named 'bench_tasks'"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(config): return {{}}", "config"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return None", "must return a dict of name -> class, got None"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return [Zero]", "must return a dict"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return Zero", "must return a dict"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): yield Zero", "must return a dict"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): raise KeyError('x')", "KeyError: 'x'"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return {{1: Zero}}", "name 1 must be lower-case"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return {{'': Zero}}", "name '' must be lower-case"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return {{'../x': Zero}}", "must be lower-case"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return {{'a\\nb': Zero}}", "must be lower-case"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return {{'<b>': Zero}}", "must be lower-case"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return {{'zero': Zero(None)}}", "must be a subclass of"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return {{'zero': 'Zero'}}", "must be a subclass of"),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return {{'zero': None}}", "must be a subclass of"),
    (f"{BASE}@hookimpl\ndef bench_encoders(): return {{'zero': Zero}}", "must be a subclass of bench_core.Encoder"),
    (f"{BASE}@hookimpl\ndef bench_datasets(): return {{'data': Dataset}}", "lacks "),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return {{'zero': Evaluator}}", "lacks "),
    (f"{BASE}Zero.revision = '1'\n{HOOK}", "revision must be a whole number"),
    (f"{BASE}Zero.revision = True\n{HOOK}", "revision must be a whole number"),
    (f"{BASE}Zero.Config = None\n{HOOK}", "Config must be a dataclass"),
    (f"{BASE}Zero.Config = dict\n{HOOK}", "Config must be a dataclass"),
    (f"{BASE}Zero.Config = NoConfig()\n{HOOK}", "Config must be a dataclass"),
    (with_config(CONFIG.replace(" = 1", "")), "cannot be built from its defaults"),
    (with_config(CONFIG.replace("a: int", "a: Nothing")), "Nothing"),
    (with_config(CONFIG.replace("a: int = 1", "a: int = 'x'")), "a must be int"),
    (with_config(CONFIG + "    def __post_init__(self): raise TypeError('no')\n"), "TypeError: no"),
    (f"{BASE}raise type('Panic', (BaseException,), {{}})('in Rust')", "Panic: in Rust"),
    (f"{BASE}error = ValueError('the cause')\nerror.add_note('a note')\nraise error", "the cause a note"),
    (f"{BASE}raise ValueError('x' * 100_000)", "xxx..."),
    (f"{BASE}@hookimpl\ndef bench_evaluators(): return {{'all': Zero}}", "'all' is taken by the command line"),
    (f"{BASE}Zero.__doc__ = 3\n{HOOK}", "docstring must be text, got 3"),
    (f"{BASE}import torch\ntorch.set_default_dtype(torch.float64)\n{HOOK}", "default dtype to torch.float64"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install `sample`, a module that the test writes, beside one good task `fine`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "fine.py").write_text(f"{BASE}@hookimpl\ndef bench_evaluators(): return {{'fine': Zero}}\n")
    entries = [EntryPoint("sample", "sample", "bench"), EntryPoint("fine", "fine", "bench")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: entries)
    yield
    for name in ("sample", "fine"):
        sys.modules.pop(name, None)


def listed(*arguments: str) -> list[dict[str, str]]:
    result = CliRunner().invoke(main, ["list", "--json", *arguments])
    assert result.exit_code == 0, result.output
    lines: list[dict[str, str]] = json.loads(result.stdout)
    return lines


@pytest.mark.parametrize(("source", "reason"), CASES, ids=range(len(CASES)))
def test_broken_plugin_is_listed_in_one_line_with_its_cause_and_other_plugins_work(
    tmp_path: Path, source: str, reason: str
) -> None:
    (tmp_path / "sample.py").write_text(source)
    (broken,) = listed("--broken")
    assert broken["plugin"] == "sample"
    assert reason in broken["reason"]
    assert "\n" not in broken["reason"]
    assert [line["name"] for line in listed() if line["kind"] == "task"] == ["fine"]
    result = CliRunner().invoke(main, ["run", "--methods", "sample", "--dry-run"])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "did not load" in result.stderr or "sample" in result.stderr


@pytest.mark.parametrize("value", ["", "not a module!", ":", "sample:gone", "a b:c", "../sample"])
def test_entry_point_that_names_no_module_is_listed_as_broken(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: [EntryPoint("sample", value, "bench")])
    (broken,) = listed("--broken")
    assert broken["reason"]


def test_class_without_docstring_does_not_inherit_a_summary(tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(BASE + HOOK)
    assert {line["name"]: line["summary"] for line in listed() if line["kind"] == "task"} == {"fine": "", "zero": ""}
    assert CliRunner().invoke(main, ["show", "zero"]).exit_code == 0


def test_second_of_two_modules_with_one_name_is_listed_as_broken(tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text((tmp_path / "fine.py").read_text())
    (broken,) = listed("--broken")
    assert "is taken by another module" in broken["reason"]


PRINTS = """
import sys
print("[at import]")
kept = sys.stdout
from bench_core import hookimpl, Evaluator, Evaluation, Score
class Zero(Evaluator):
    def __init__(self, config): print("[in __init__]", file=kept)
    def evaluate(self, frozen):
        sys.stdout.write("[in evaluate]\\n")
        return Evaluation(scores=[Score(metric="zero", value=0, n=1)], protocol="none")
    def datasets(self, data): print("[in datasets]"); return ()
@hookimpl
def bench_evaluators():
    print("[in the hook]")
    sys.stdout = None
    return {"zero": Zero}
"""
RUN = ("run", "--methods", "random", "--tasks", "zero", "--device", "cpu", "--quiet", "--json")


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("list", "--json"), ["[at import]", "[in the hook]"]),
        (("list", "--broken", "--json"), ["[at import]", "[in the hook]"]),
        (("show", "zero", "--json"), ["[at import]", "[in the hook]"]),
        ((*RUN, "--dry-run"), ["[at import]", "[in the hook]", "[in datasets]"]),
        (RUN, ["[at import]", "[in the hook]", "[in datasets]", "[in __init__]", "[in evaluate]"]),
    ],
    ids=lambda value: value[0],
)
def test_what_a_plugin_prints_goes_to_stderr_and_json_stays_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], printed: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "entry_points", importlib.metadata.entry_points)
    install(tmp_path, PRINTS)
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    json.loads(result.stdout)
    assert [text for text in printed if text not in result.stderr] == []


@pytest.mark.parametrize(
    "words", [("show", "zero", "--json"), pytest.param((*RUN, "--isolate"), marks=pytest.mark.slow)], ids=lambda w: w[0]
)
def test_output_of_c_code_of_child_processes_and_at_exit_goes_to_stderr_too(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    at_exit = "import atexit\natexit.register(print, '[at exit]')\n"
    below_python = "import os, subprocess\nos.write(1, b'[descriptor]\\n')\nsubprocess.run(['echo', '[child]'])\n"
    install(tmp_path, f"{PRINTS}\n{at_exit}{below_python}print('[dunder]', file=sys.__stdout__, flush=True)\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench_core", *words]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    (line,) = json.loads(ended.stdout)
    assert "zero" in (line.get("name"), line.get("task"))
    for text in ("[at import]", "[descriptor]", "[child]", "[dunder]", "[at exit]"):
        assert text in ended.stderr


def install(folder: Path, source: str) -> None:
    """Install a package `sample` whose only plugin is this module."""
    information = folder / "sample-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: sample\nVersion: 1\n")
    (information / "entry_points.txt").write_text("[bench]\nsample = sample\n")
    (folder / "sample.py").write_text(source)
