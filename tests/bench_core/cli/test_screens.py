"""What commands print on a terminal of 80 columns, each kept as text that can be looked at: golden/*.txt."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

GOLDEN = Path(__file__).parent / "golden"
RUN = ["--methods", "random", "--tasks", "knn"]
# What differs between machines, days and versions, and what stands for it; a score keeps its width.
VOLATILE = (
    (r"\b[0-9a-f]{12}\b", "0" * 12),
    (r"(?<=^random  )(.*\])", lambda found: re.sub(r"\d", "9", found[1])),
    (r"(?<=^random    )(.*)(?= 1/1$)", lambda found: re.sub(r"\d", "9", found[1])),
    (r"(?<=^Devices: ).*", "DEVICE"),
    (r"(?<=^Versions: ).*", "VERSIONS"),
    (r"(?<=newest of ).*", "DAY; store hash HASH."),
    (r"\(version [^,]*,", "(version VERSION,"),
)


@pytest.fixture
def screen(bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that types a command and returns the lines of its output, what differs replaced."""
    monkeypatch.setenv("COLUMNS", "80")

    def lines(*words: str) -> list[str]:
        text = bench(*words).stdout
        for pattern, instead in VOLATILE:
            text = re.sub(pattern, instead, text, flags=re.MULTILINE)
        return text.splitlines()

    return lines


def golden(name: str) -> list[str]:
    """Return the lines of a screen as it is kept."""
    return (GOLDEN / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def too_long(lines: list[str]) -> list[str]:
    """Return the lines that are longer than the terminal though they could be broken: an address cannot."""
    return [line for line in lines if len(line) > 80 and not line.removeprefix("Code:  ").startswith("https://")]


@pytest.mark.parametrize(("name", "words"), [("list_methods", ["list", "methods"]), ("show_knn", ["show", "knn"])])
def test_screens_of_what_there_is(screen: Callable[..., list[str]], name: str, words: list[str]) -> None:
    assert screen(*words) == golden(name)
    assert not too_long(golden(name))


def test_screens_of_a_run_from_its_plan_to_its_end(screen: Callable[..., list[str]]) -> None:
    assert screen("run", *RUN, "--dry-run") == golden("dry_run")
    assert screen("run", *RUN) == golden("run")
    assert screen("run", *RUN, "--dry-run") == golden("dry_run_done")
    assert screen("status") == golden("status")
    assert not [line for name in ("dry_run", "run", "dry_run_done", "status") for line in too_long(golden(name))]


@pytest.mark.parametrize("kind", ["methods", "tasks", "encoders", "datasets", "boards"])
def test_lists_fit_the_terminal(screen: Callable[..., list[str]], kind: str) -> None:
    assert not too_long(screen("list", kind))


@pytest.mark.parametrize("name", ["nac", "digits", "linear", "convnet", "sprites"])
def test_descriptions_fit_the_terminal(screen: Callable[..., list[str]], name: str) -> None:
    settings = [line for line in too_long(screen("show", name)) if not line.startswith("--set ")]  # to be typed whole
    assert not settings
