"""The digest of a component's code changes with what the code does, and with nothing else."""

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench_core.planning.plan import make_plan
from bench_core.planning.request import Request
from bench_core.planning.source_code import source_digest, source_files
from bench_core.plugins import Component, load_plugins

METHOD = '''
"""A method."""
from math import sqrt

class Method:
    """Doc."""
    factor: float = 0.5

    def loss(self, x):
        """Doc of the loss."""
        return sqrt(x) * self.factor
'''
ImportClass = Callable[[str], Component]


@pytest.fixture
def component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImportClass]:
    """Function that imports a module below tmp_path anew, and returns its class `Method` as a component."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a file may be changed twice within a second
    before = set(sys.modules)

    def load(module: str) -> Component:
        for name in set(sys.modules) - before:
            del sys.modules[name]
        importlib.invalidate_caches()
        return Component("objective", "mine", "mine", "1.0", importlib.import_module(module).Method)

    yield load
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    """Write modules by dotted name; `mine__losses` is mine/losses.py."""
    for name, text in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.with_name("__init__.py") if path.stem == "init" else path).write_text(text, encoding="utf-8")


def names(component: Component, folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in source_files(component)]


def test_digest_of_a_fixed_file_is_the_same_in_every_python(tmp_path: Path, component: ImportClass) -> None:
    """Python 3.11, 3.12 and 3.13 gave this digest; the file has every construct that these have in common."""
    constructs = Path(__file__).with_name("constructs.py.txt").read_text(encoding="utf-8")
    write(tmp_path, mine="class Method: ...\n")
    loaded = component("mine")
    write(tmp_path, mine=constructs)  # is read, and never run
    assert source_digest(loaded) == "sha256:0c4425c43375552d"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return sqrt", "# a comment\n        return sqrt"),
        ("sqrt(x) * self.factor", "(sqrt(\n            x,\n        ) * self.factor)"),
        ('"""Doc of the loss."""', '"""Another doc."""'),
        ('    """Doc."""\n', ""),
        ('"""A method."""', ""),
        ("from math import sqrt", "import math, json\nfrom math import sqrt"),
        ("0.5", "0.50"),
        ("    factor", '    licence = "MIT, ours"\n    factor'),
    ],
)
def test_comments_docstrings_layout_and_imports_change_nothing(
    tmp_path: Path, component: ImportClass, old: str, new: str
) -> None:
    write(tmp_path, mine=METHOD)
    digest = source_digest(component("mine"))
    assert METHOD.count(old) == 1
    write(tmp_path, mine=METHOD.replace(old, new))
    assert source_digest(component("mine")) == digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* self.factor", "* self.factor * 0"),
        ("0.5", "0.25"),
        ("0.5", '"0.5"'),
        ("sqrt(x) * self.factor", "self.factor * sqrt(x)"),
        ("factor: float = 0.5", "factor: float = 0.5\n    revision = 2"),
        ("import sqrt", "import exp as sqrt"),
        ("def loss", "@staticmethod\n    def loss"),
        ('"""Doc of the loss."""', '"""Doc."""\n        x = x + 1'),
    ],
)
def test_what_the_code_does_changes_the_digest(tmp_path: Path, component: ImportClass, old: str, new: str) -> None:
    write(tmp_path, mine=METHOD)
    digest = source_digest(component("mine"))
    write(tmp_path, mine=METHOD.replace(old, new))
    assert source_digest(component("mine")) != digest


def test_files_of_its_package_count_that_the_component_imports_and_no_others(
    tmp_path: Path, component: ImportClass
) -> None:
    write(
        tmp_path,
        mine__init="from mine.heavy import Heavy as Big\nVERSION = 3\n",
        mine__method="from . import losses\nfrom .nets.deep import Net\nfrom mine import Big\nimport json, other\n"
        "class Method:\n    def late(self):\n        import mine.late\n",
        mine__losses="from math import sqrt\n",
        mine__nets__init="from .wide import Wide\n",
        mine__nets__deep="class Net: ...\n",
        mine__nets__wide="class Wide: ...\n",
        mine__heavy="class Heavy: ...\n",
        mine__late="",
        mine__unused="",
        other="",
    )
    assert names(component("mine.method"), tmp_path) == [
        "mine/method.py", "mine/losses.py", "mine/nets/deep.py", "mine/heavy.py", "mine/late.py",
    ]  # fmt: skip


def test_an_init_file_counts_where_it_makes_the_name_or_the_class(tmp_path: Path, component: ImportClass) -> None:
    write(
        tmp_path,
        mine__init="from .heavy import Heavy\nFACTOR = 3\n",
        mine__method="from mine import FACTOR\nclass Method: ...\n",
        mine__heavy="class Heavy: ...\n",
        own__init="from .losses import loss\nclass Method: ...\n",
        own__losses="loss = 1\n",
    )
    assert names(component("mine.method"), tmp_path) == ["mine/method.py", "mine/__init__.py", "mine/heavy.py"]
    assert names(component("own"), tmp_path) == ["own/__init__.py", "own/losses.py"]


def test_modules_beside_a_plugin_of_one_file_count_if_they_were_installed_with_it(
    tmp_path: Path, component: ImportClass, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"mine": "from losses import loss\nclass Method: ...\n", "losses": "import nets\nloss = 1\n", "nets": ""}
    write(tmp_path, **files)
    assert names(component("mine"), tmp_path) == ["mine.py", "losses.py", "nets.py"]
    digest = source_digest(component("mine"))
    for name in files:
        (tmp_path / f"{name}.py").unlink()
    site = tmp_path / "site-packages"
    write(site, **files)
    monkeypatch.syspath_prepend(str(site))
    assert names(component("mine"), site) == ["mine.py"]
    information = site / "mine-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (information / "RECORD").write_text("mine.py,,\nlosses.py,,\nnets.py,,\n")
    assert source_digest(component("mine")) == digest


def test_a_moved_file_changes_nothing(tmp_path: Path, component: ImportClass) -> None:
    loss = "def loss(x):\n    return x\n"
    write(tmp_path, mine__init="", mine__method="from mine.losses import loss\n" + METHOD, mine__losses=loss)
    digest = source_digest(component("mine.method"))
    write(tmp_path, ours__init="", ours__a__method="from ..b import loss\n" + METHOD, ours__a__init="", ours__b=loss)
    assert source_digest(component("ours.a.method")) == digest
    write(tmp_path, ours__b=loss.replace("return x", "return -x"))
    assert source_digest(component("ours.a.method")) != digest


def test_code_that_cannot_be_read_has_no_digest(tmp_path: Path, component: ImportClass) -> None:
    notebook = type("Method", (), {"__module__": "__notebook__"})
    assert source_digest(Component("objective", "mine", "mine", "1.0", notebook)) is None
    write(tmp_path, mine=METHOD)
    loaded = component("mine")
    write(tmp_path, mine="class Method(:\n")
    assert source_digest(loaded) is None


def test_a_running_process_keeps_the_digest_of_the_code_that_it_has_loaded(
    tmp_path: Path, component: ImportClass
) -> None:
    write(tmp_path, mine=METHOD)
    loaded = component("mine")
    digest = source_digest(loaded)
    write(tmp_path, mine=METHOD.replace("0.5", "0.25"))
    assert source_digest(loaded) == digest


def test_built_in_components_count_their_files_and_shared_parts_and_nothing_else_of_the_core() -> None:
    components = load_plugins().components
    assert all(source_digest(component) for component in components)
    files = {c.name: [_from_package(path) for path in source_files(c)] for c in components}
    assert "bench_core/nn/activation_codes.py" in files["nac"]
    assert "bench_core/views/image_ops.py" in files["nac"]  # by way of `from bench_core.views import augment`
    assert "bench_methods/dim/critics.py" in files["dim"]
    assert "bench_core/evaluation/linear_probe.py" in files["linear"]
    paths = [path.split("/") for of_component in files.values() for path in of_component]
    rooms = {parts[1] if parts[0] == "bench_core" else parts[0] for parts in paths}
    assert rooms == {
        "nn", "views", "evaluation", *(f"bench_{kind}" for kind in ("methods", "evaluators", "encoders", "datasets")),
    }  # fmt: skip
    assert [path for path in files["simclr"] if not path.startswith("bench_core")] == ["bench_methods/simclr.py"]


def _from_package(path: Path) -> str:
    """Return a path from its top package on: the same in a checkout and where a wheel was installed."""
    tops = ("bench_core", "bench_methods", "bench_evaluators", "bench_encoders", "bench_datasets")
    start = max(position for position, part in enumerate(path.parts) if part in tops)
    return "/".join(path.parts[start:])


def test_no_digest_of_code_is_in_a_key(tmp_path: Path) -> None:
    plan = make_plan(Request(methods=["nac"], tasks=["knn"], data_root=tmp_path), load_plugins())
    chain = plan.chains[0]
    digests = [source_digest(part.plugin) for part in (chain.dataset, chain.encoder, chain.method, chain.cells[0].task)]
    text = json.dumps(chain.cells[0].document)
    assert not any(str(digest) in text for digest in digests)
