"""Every built-in component gives the numbers of tests/fingerprints/fingerprints.json as long as its key is the same."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load() -> ModuleType:
    """Import the script compute.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("fingerprints", Path(__file__).parent / "fingerprints" / "compute.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fingerprints"] = module
    spec.loader.exec_module(module)
    return module


fingerprints = _load()
STORED: dict[str, Any] = json.loads(fingerprints.FILE.read_text())
CASES: list[Any] = list(fingerprints.cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.component.kind}-{case.name}")
def test_numbers_do_not_change_while_the_key_stays(case: Any) -> None:
    complaint = fingerprints.complaint(case, STORED.get(case.label), case.numbers())
    assert complaint is None, complaint


def test_every_built_in_component_has_a_fingerprint_and_no_removed_one_is_left() -> None:
    assert sorted(STORED) == sorted(case.label for case in CASES)
    assert all(stored["numbers"] for stored in STORED.values())


def test_fingerprint_of_variant_differs_from_that_of_its_method() -> None:
    variants = {case.name: STORED[case.label]["numbers"] for case in CASES if case.variant}
    plain = {case.name: STORED[case.label]["numbers"] for case in CASES if not case.variant}
    assert {"dim:local_nce", "nac:hashing", "moco:v2plus"} <= variants.keys()
    assert all(numbers != plain[name.partition(":")[0]] for name, numbers in variants.items())


def test_changed_numbers_need_a_revision_and_a_revision_needs_new_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = next(case for case in CASES if case.name == "knn")
    stored = {"document": case.document, "numbers": {"top1": 0.5}}
    assert fingerprints.complaint(case, stored, {"top1": 0.5 * (1 + 1e-7)}) is None
    for changed in ({"top1": 0.5001}, {}, {"top1": 0.5, "top5": 0.9}):
        complaint = fingerprints.complaint(case, stored, changed)
        assert "under the same key: raise `revision` in KNN" in complaint
    monkeypatch.setattr(case.component.cls, "revision", case.component.cls.revision + 1)
    assert "new or has another key: python tests/fingerprints/compute.py --write" in fingerprints.complaint(
        case, stored, {"top1": 0.9}
    )
