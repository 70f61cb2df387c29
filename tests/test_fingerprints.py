"""The numbers of every built-in, under the key that it has, are those of tests/fingerprints.json."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench_core.plugins import Component, load_plugins


def _load() -> ModuleType:
    """The script beside this file, which is no package."""
    spec = importlib.util.spec_from_file_location("fingerprints", Path(__file__).with_name("fingerprints.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fingerprints"] = module
    spec.loader.exec_module(module)
    return module


fingerprints = _load()
KEPT: dict[str, Any] = json.loads(fingerprints.FILE.read_text())
COMPONENTS: list[Component] = fingerprints.components()


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: f"{c.kind}-{c.name}")
def test_numbers_do_not_change_under_an_unchanged_key(component: Component) -> None:
    kept = KEPT.get(f"{component.kind} {component.id}")
    said = fingerprints.complaint(component, kept, fingerprints.numbers(component))
    assert said is None, said


def test_what_is_gone_is_not_kept() -> None:
    assert sorted(KEPT) == sorted(f"{c.kind} {c.id}" for c in COMPONENTS)


def test_other_numbers_ask_for_a_revision_and_a_revision_for_new_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    component = load_plugins().get("evaluator", "knn")
    kept = {"document": fingerprints.document(component), "numbers": {"top1": 0.5}}
    assert fingerprints.complaint(component, kept, {"top1": 0.5 * (1 + 1e-7)}) is None
    for changed in ({"top1": 0.5001}, {}, {"top1": 0.5, "top5": 0.9}):
        said = fingerprints.complaint(component, kept, changed)
        assert "under the same key: raise `revision` in KNN" in said
    monkeypatch.setattr(component.cls, "revision", component.cls.revision + 1)
    assert "new here or has another document: python tests/fingerprints.py --write" in fingerprints.complaint(
        component, kept, {"top1": 0.9}
    )
