"""Escapes other people's text for each format."""

import re

from bench_core.errors import one_line as one_line

_MARKDOWN = re.compile(r"[\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # at the start of a row it would be an option of the line break before
    "*": "{*}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"\textsuperscript{\dag}",
    "–": "--",  # noqa: RUF001  # an en dash is meant
}


def markdown(text: str) -> str:
    """Escape text for a table cell or a line of a list; a `_` inside a word has no meaning and stays."""
    text = "".join(_ENTITIES.get(c, c) for c in one_line(text))
    text = _MARKDOWN.sub(r"\\\g<0>", text)
    return re.sub(r"^([#+-]|\d+[.)])(?=\s|$)", lambda m: f"{m[1][:-1]}\\{m[1][-1]}", text)


def code(text: str) -> str:
    """Return a code span of any text, for a table cell."""
    text = one_line(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    blank = " " if "`" in text else ""
    return f"{fence}{blank}{text}{blank}{fence}".replace("|", r"\|")


def with_code(text: str) -> str:
    """Escape text for a table cell, but for what stands between backticks: that is code."""
    parts = re.split(r"(`[^`]+`)", one_line(text))
    return "".join(code(part[1:-1]) if number % 2 else _escaped(part) for number, part in enumerate(parts))


def _escaped(part: str) -> str:
    """Escape a part of a line; white space at its ends stays."""
    return part if not part.strip() else re.sub(r"\S(?:.*\S)?", lambda inner: markdown(inner[0]), part)


def prose(text: str) -> str:
    """Escape HTML in Markdown that somebody wrote, and links, except those to https and to files beside the page."""
    return re.sub(r"(?<=\])([(:])(?!\s*(?:https://|[\w./#-]+[)\s]))", r"\\\1", text.replace("<", "&lt;"))


def latex(text: str) -> str:
    """Escape text for LaTeX's text mode."""
    return "".join(_LATEX.get(c, c) for c in one_line(text))
