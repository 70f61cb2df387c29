"""Texts of people, such as docstrings and descriptions, broken into lines that fit a terminal."""

import textwrap
from collections.abc import Sequence

_NARROWEST = 20  # characters that are left for a text, however narrow the terminal


def fitted(text: str, width: int) -> str:
    """Break the lines of a text that are longer than the width.

    A paragraph of plain lines is filled anew; a line of a list, or one that is indented, is broken by itself. Words
    are never broken, so that an address can be copied. A paragraph that fits stays as it was written.
    """
    return "\n\n".join(_fitted_paragraph(paragraph.splitlines(), width) for paragraph in text.split("\n\n"))


def hanging(first: str, text: str, width: int, indent: int | None = None) -> str:
    """Break a text into lines, of which the first begins with words of its own.

    Args:
        first: What the first line begins with.
        text: The text after it.
        width: Characters of a line.
        indent: Blanks before the further lines; None for as many as `first` has characters.
    """
    blanks = len(first) if indent is None else indent
    filled = textwrap.fill(
        text,
        max(width, max(blanks, len(first)) + _NARROWEST),
        initial_indent=first,
        subsequent_indent=" " * blanks,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled or first


def _fitted_paragraph(lines: Sequence[str], width: int) -> str:
    if all(len(line) <= width for line in lines):
        return "\n".join(lines)
    if not any(line.startswith((" ", "- ")) for line in lines):
        return hanging("", " ".join(lines), width)
    return "\n".join(line if len(line) <= width else _broken(line, width) for line in lines)


def _broken(line: str, width: int) -> str:
    text = line.lstrip()
    mark = "- " if text.startswith("- ") else ""
    return hanging(" " * (len(line) - len(text)) + mark, text.removeprefix(mark), width)
