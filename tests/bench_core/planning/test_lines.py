"""Texts of people fit a terminal and lose no word."""

import pytest

from bench_core.planning.lines import fitted, hanging

TEXT = """One paragraph of plain lines, which is filled anew where
one of its lines is longer than the width.

- one line of a list, which is broken by itself
- short

    an indented line, such as a command"""


@pytest.mark.parametrize("width", [20, 31, 40, 56])
def test_no_line_is_longer_than_the_width_and_no_word_is_lost(width: int) -> None:
    shown = fitted(TEXT, width + 5)
    assert max(map(len, shown.splitlines())) <= width + 5
    assert shown.split() == TEXT.split()


def test_a_text_that_fits_stays_as_it_was_written() -> None:
    assert fitted(TEXT, 80) == TEXT


def test_lists_and_indents_stay() -> None:
    paragraphs = fitted(TEXT, 30).split("\n\n")
    assert paragraphs[1] == "- one line of a list, which is\n  broken by itself\n- short"
    assert paragraphs[2] == "    an indented line, such as\n    a command"


def test_further_lines_stand_below_the_text_or_where_asked() -> None:
    text = "several words that fill more than a single line"
    assert hanging("name  ", text, 30) == "name  several words that fill\n      more than a single line"
    assert hanging("name  ", text, 30, indent=2) == "name  several words that fill\n  more than a single line"
    assert hanging("name  ", "", 30) == "name  "


def test_an_address_is_not_broken() -> None:
    address = "https://example.org/" + "a-b" * 30
    assert hanging("Code:  ", address, 40) == f"Code:  {address}"
