"""Promises of SECURITY.md, which names a test for each; other tests of it lie in other files."""

import ast
import base64
import importlib.util
import re
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from safetensors import safe_open

from bench_core.errors import RequestError, StoreError
from bench_core.planning.boards import Picture, load_board
from bench_core.planning.chains import Plan
from bench_core.reports.pages.publish import publish_board
from bench_core.reports.pictures.draw import draw
from bench_core.reports.pictures.model import PlotRequest
from bench_core.reports.pictures.plot import plot_all
from bench_core.reports.tables import escape
from bench_core.reports.tables.build import build
from bench_core.reports.tables.entries import Entry
from bench_core.reports.tables.render import render
from bench_core.running.runner import run_plan
from bench_core.running.setting import RunSetting
from bench_core.store import Store
from bench_core.store.record import Document, record_from_json

ROOT = Path(__file__).parents[2]
SOURCES = [path for root in ("bench_core", "plugins") for path in (ROOT / root).rglob("*.py")]
EVIL = "<img src=x onerror=alert(1)> [a](javascript:b) `c` | $\\frac$ \\input{d} \x1b[2J\n# e"


@cache
def calls() -> list[tuple[Path, str, ast.Call]]:
    """Return every call in the sources: its file, its dotted name and its node."""
    result = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                result.append((path, ast.unparse(node.func), node))
    return result


def test_no_code_unpickles_evaluates_or_unpacks_an_archive() -> None:
    forbidden = re.compile(
        r"(pickle\.(?!UnpicklingError)|dill\.|joblib\.|shelve\.|marshal\.|yaml\.).*|torch\.load|torch\.hub\.load\w*|eval|exec|compile|os\.system"
        r"|os\.popen|.*\.extractall|.*\.extract|.*\.unpack_archive|.*\.read_pickle|__import__"
    )
    found = [(path.name, name, node) for path, name, node in calls() if forbidden.fullmatch(name)]
    loads = [node for _, name, node in found if name == "torch.load"]
    assert {(name, call) for name, call, _ in found} == {
        ("weight_files.py", "torch.load"),  # files of weights that users name, in `init` and in outside encoders
    }
    for node in loads:
        assert {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}["weights_only"] == "True"


def test_pickles_are_read_by_one_dataset_that_admits_six_names() -> None:
    importing = [
        path.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and "pickle" in (getattr(node, "module", None), *(alias.name for alias in node.names))
    ]
    assert importing == ["planetoid.py"]  # tests/bench_datasets/test_planetoid.py tries to smuggle other names in


def test_numpy_files_are_read_without_pickles() -> None:
    loads = [(path.name, node) for path, name, node in calls() if name in ("np.load", "numpy.load")]
    assert {name for name, _ in loads} == {"array_files.py", "image_cache.py", "factor_files.py", "raster.py"}
    for name, node in loads:
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert options.get("allow_pickle") == "False", name


def test_other_programs_are_started_only_for_git_machine_facts_chains_and_slurm() -> None:
    starts = {path.name for path, name, _ in calls() if name.startswith(("subprocess.", "os.exec", "os.spawn"))}
    chains = {"child_process.py", "ranks.py"}  # bench again
    slurm = {"slurm_element.py", "slurm_follow.py", "slurm_jobs.py"}  # bench again; sbatch, squeue, scontrol
    assert starts == {"provenance.py", *chains, *slurm}  # git and lscpu


def test_run_makes_no_connection_and_stores_tensors_as_safetensors(
    plan_of: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert not run_plan(plan_of(), Store(tmp_path / "runs"), RunSetting(device="cpu"))
    files = [path for path in (tmp_path / "runs" / "chains").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".jsonl"}
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as tensors:
                assert all(isinstance(tensors.get_tensor(name), torch.Tensor) for name in tensors.keys())  # noqa: SIM118


def entry(method: str = "nac", **parts: Any) -> Entry:
    parts_of = {part: {"id": "a/b", "revision": 1} for part in ("dataset", "encoder", "method")}
    doc = {"embed": {"pretrain": {**parts_of, "seed": 0}}, "task": {"id": "a/c", "revision": 1}}
    score = {"metric": "top1", "unit": "fraction", "value": 0.5, "higher_is_better": True}
    names = {"dataset": "d", "encoder": "e", "method": method, "task": "t"}
    record = {"key": "k", "doc": doc, "names": names, "scores": [score], **parts}
    return Entry(names, 0, "done", record=record_from_json(record), document=Document(doc))


def test_names_notes_and_protocols_of_records_are_escaped_in_markdown_and_latex() -> None:
    tables = build([entry(EVIL, protocol=EVIL, notes=[EVIL], provenance={"device": EVIL})])
    page, latex, text = (render(tables, name) for name in ("md", "latex", "text"))
    assert "<img" not in page
    assert not re.search(r"(?<!\\)\]\(javascript", page)
    assert "\\input" not in latex
    assert "\x1b" not in page + latex + text
    assert not re.search("^# e", page + text, re.MULTILINE)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a <b> [c](https://d) [e](f.md)", "a &lt;b> [c](https://d) [e](f.md)"),
        ("[a](javascript:b)", r"[a]\(javascript:b)"),
        ("[a](java&#115;cript:b)", r"[a]\(java&#115;cript:b)"),
        ("[a][b]\n\n[b]: javascript:c", "[a][b]\n\n[b]\\: javascript:c"),
        ("<!-- bench:end x -->", "&lt;!-- bench:end x -->"),
    ],
)
def test_html_and_script_links_in_descriptions_are_escaped(text: str, shown: str) -> None:
    assert escape.prose(text) == shown


def test_default_with_backtick_or_bar_stays_in_its_table_cell() -> None:
    assert escape.code("0.1") == "`0.1`"
    assert escape.code("a`b|<i>") == r"`` a`b\|<i> ``"


def test_names_in_pictures_are_escaped(tmp_path: Path) -> None:
    picture = Picture(name="a", x="t:top1", y="t:top1", x_label="<script>$\\frac$")
    draw([entry("<script>alert(1)</script> $\\frac$")], picture, tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    assert "<script" not in drawn
    assert "&lt;script&gt;" in drawn
    assert "$\\frac$" in drawn


@pytest.mark.parametrize("image", ["", "!", "aGk=", base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0").decode()])
def test_unreadable_image_in_record_is_reported_in_one_line(tmp_path: Path, image: str) -> None:
    picture = Picture(name="a", kind="samples")
    with pytest.raises(StoreError, match="nac, grid: the record's image cannot be read"):
        draw([entry(images={"grid": image})], picture, tmp_path / "a.svg")


def test_pictures_stay_in_their_folder_and_two_names_are_two_files(tmp_path: Path) -> None:
    curve = {"x": [0.0, 1.0], "y": [0.0, 1.0]}
    entries = [entry(curves={"../../a": curve, "..\\..\\a": curve, "/etc/x": curve})]
    store = Store(tmp_path / "runs")
    outcome = plot_all(entries, store, load_board("digits").__class__(), PlotRequest(kind="lines"), tmp_path / "out")
    assert len(set(outcome.drawn)) == 3
    assert all(path.parent == tmp_path / "out" and path.is_file() for path in outcome.drawn)


@pytest.mark.parametrize("name", ["..", ".", "a b", "-->", "a\nb"])
def test_board_whose_name_leaves_the_folder_cannot_be_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "work" / "inner" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "board.toml").write_text(
        "[datasets.digits]\n[encoders.convnet]\n[methods.random]\n[tasks.knn]\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path / "work" / "inner")
    assert load_board(name).name == folder.resolve().name
    with pytest.raises(RequestError, match=r"cannot be published under this name|has no cell of board"):
        publish_board(name, Store("runs"), tmp_path / "boards", tmp_path / "README.md")
    assert not (tmp_path / "boards").exists()


def test_key_holds_the_digest_of_the_dataset(plan_of: Callable[..., Plan]) -> None:
    for cell in plan_of().cells:
        assert cell.document["embed"]["pretrain"]["dataset"]["digest"] == "blobs-1"


def test_every_test_named_in_security_md_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8")))
    existing = {
        name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    assert len(named) > 8
    assert named <= existing, named - existing


def test_at_least_400_malformed_inputs_are_tried() -> None:
    total = 0
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"counted_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        if path.name != Path(__file__).name:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            total += len(getattr(module, "CASES", ()))
    assert total >= 400
