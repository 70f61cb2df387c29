"""Generated text between markers in files that people write."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench_core.errors import RequestError
from bench_core.reports.tables import escape
from bench_core.reports.tables.model import Table
from bench_core.reports.tables.render import render


def placeholder(name: str) -> str:
    """Both markers and nothing between them; what a new page starts from."""
    return "\n".join(_markers(name)) + "\n"


def splice(text: str, name: str, content: str) -> str:
    """The text with new content between its markers of this name; everything else stays as it is.

    Args:
        text: Of a whole file.
        name: Of the markers `<!-- bench:begin NAME -->` and `<!-- bench:end NAME -->`.
        content: White space around it does not count.

    Raises:
        RequestError: A marker is missing, doubled or out of order, or stands in the content.
    """
    start, end = _between(text, name)
    if any(marker in content for marker in _markers(name)):
        raise RequestError(f"what shall stand between the markers {name!r} contains such a marker itself.")
    content = content.strip()
    return f"{text[:start]}\n{content}\n{text[end:]}" if content else f"{text[:start]}\n{text[end:]}"


def page(title: str, description: str, command: str, tables: Sequence[Table]) -> str:
    """What stands between the markers of a board's README.

    Args:
        title: Plain text.
        description: Markdown; what it may hold: `escape.prose`.
        command: The command that makes these records, as typed.
        tables: Of the board.
    """
    blocks = [f"# {escape.markdown(title)}", escape.prose(description.strip()), f"    {escape.one_line(command)}"]
    return "\n\n".join(block for block in (*blocks, render(tables, "md").strip()) if block.strip()) + "\n"


def stale_pages(pages: Mapping[Path, Mapping[str, str]]) -> dict[Path, str]:
    """The files in which something else stands between markers than should.

    Args:
        pages: File -> name of markers -> what should stand there.

    Returns:
        File -> unified diff with one line of context, from what stands there to what should; only files that
        differ.

    Raises:
        RequestError: A file lacks its markers; says which.
    """
    stale = {}
    for path, sections in pages.items():
        if not path.is_file():
            stale[path] = f"{path} does not exist\n"
            continue
        text = expected = path.read_text(encoding="utf-8")
        for name, content in sections.items():
            try:
                expected = splice(expected, name, content)
            except RequestError as error:
                raise RequestError(f"{path}: {error}") from error
        if expected != text:
            lines = difflib.unified_diff(
                text.splitlines(), expected.splitlines(), str(path), "as its records say", n=1, lineterm=""
            )
            stale[path] = "\n".join(lines) + "\n"
    return stale


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- bench:begin {name} -->", f"<!-- bench:end {name} -->"


def _between(text: str, name: str) -> tuple[int, int]:
    """Where the content starts and ends."""
    begin, end = _markers(name)
    for marker in (begin, end):
        count = text.count(marker)
        if count != 1:
            wrong = "is missing" if count == 0 else f"stands there {count} times"
            raise RequestError(
                f"the marker {marker!r} {wrong}; put {begin!r} and {end!r} once each, on lines of their own."
            )
    start, stop = text.index(begin) + len(begin), text.index(end)
    if stop < start:
        raise RequestError(f"the marker {end!r} stands before {begin!r}; swap them.")
    return start, stop
