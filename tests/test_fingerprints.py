"""The numbers of every built-in, under the key that it has, are those of tests/fingerprints/fingerprints.json."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load() -> ModuleType:
    """The script beside this file, which is no package."""
    spec = importlib.util.spec_from_file_location("fingerprints", Path(__file__).parent / "fingerprints" / "compute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fingerprints"] = module
    spec.loader.exec_module(module)
    return module


fingerprints = _load()
KEPT: dict[str, Any] = json.loads(fingerprints.FILE.read_text())
CASES: list[Any] = list(fingerprints.cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.component.kind}-{case.name}")
def test_numbers_do_not_change_under_an_unchanged_key(case: Any) -> None:
    said = fingerprints.complaint(case, KEPT.get(case.label), case.numbers())
    assert said is None, said


def test_everything_has_numbers_and_what_is_gone_is_not_kept() -> None:
    assert sorted(KEPT) == sorted(case.label for case in CASES)
    assert all(kept["numbers"] for kept in KEPT.values())


def test_a_variant_has_the_numbers_of_its_own_parameters() -> None:
    variants = {case.name: KEPT[case.label]["numbers"] for case in CASES if case.variant}
    plain = {case.name: KEPT[case.label]["numbers"] for case in CASES if not case.variant}
    assert {"dim:local_nce", "nac:hashing", "moco:v2plus"} <= variants.keys()
    assert all(numbers != plain[name.partition(":")[0]] for name, numbers in variants.items())


def test_other_numbers_ask_for_a_revision_and_a_revision_for_new_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in CASES if case.name == "knn")
    kept = {"document": case.document, "numbers": {"top1": 0.5}}
    assert fingerprints.complaint(case, kept, {"top1": 0.5 * (1 + 1e-7)}) is None
    for changed in ({"top1": 0.5001}, {}, {"top1": 0.5, "top5": 0.9}):
        said = fingerprints.complaint(case, kept, changed)
        assert "under the same key: raise `revision` in KNN" in said
    monkeypatch.setattr(case.component.cls, "revision", case.component.cls.revision + 1)
    assert "new here or has another document: python tests/fingerprints/compute.py --write" in fingerprints.complaint(
        case, kept, {"top1": 0.9}
    )
