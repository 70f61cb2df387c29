"""Odd values in every field of files that a stranger can hand over: each command does its work or refuses in one line.

Here a sample of the cases is tried; `python -m tests.bad_input.fuzz` tries all of them, which takes hours, or a share
(`--share 0.01 --seed 7`).
"""

import pytest

from tests.bad_input.fuzz import COMMANDS, KINDS, READERS, VALUES, Fuzz, changed, places, report, sample

CASES = [(kind, value) for kind in KINDS for value in VALUES]
NUMBER = 84  # of cases that are tried: six of each kind of file


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Fuzz:
    """Folder with one file of each kind."""
    return Fuzz(tmp_path_factory.mktemp("fuzz"))


def test_no_odd_value_in_a_strangers_file_ends_in_a_traceback(fuzz: Fuzz) -> None:
    cases = sample(fuzz.cases(), NUMBER, seed=0)
    assert len(cases) > NUMBER - len(KINDS)
    faults = {case: fault for case in cases if (fault := fuzz.fault(case))}
    assert not faults, f"\n{report(faults)}"


def test_every_kind_of_file_is_read_by_a_command_and_every_command_reads_one() -> None:
    assert READERS.keys() == KINDS.keys()
    assert {command for commands in READERS.values() for command in commands} == COMMANDS.keys()


def test_places_of_a_file_are_its_fields_at_any_depth() -> None:
    content = {"a": {"b": [1, 2, {"c": 3}]}}
    assert list(places(content)) == [(), ("a",), ("a", "b"), ("a", "b", 0), ("a", "b", 2), ("a", "b", 2, "c")]
    assert changed(content, ("a", "b", 2, "c"), "x") == {"a": {"b": [1, 2, {"c": "x"}]}}
    assert content["a"]["b"][2] == {"c": 3}
