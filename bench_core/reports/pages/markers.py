"""Puts generated text between markers in files that people write."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from bench_core.errors import RequestError
from bench_core.files import write_text
from bench_core.reports.tables import escape

Sections = dict[Path, dict[str, str]]  # file -> name of markers -> content between them


def placeholder(name: str) -> str:
    """Return both markers with nothing between them: the text of a new page."""
    return "\n".join(_markers(name)) + "\n"


def begin_marker(name: str) -> str:
    """Return the marker at which generated text begins."""
    return _markers(name)[0]


def splice(text: str, name: str, content: str) -> str:
    """Replace the content between the markers of this name; everything else stays as it is.

    Args:
        text: Text of a whole file.
        name: NAME in the markers `<!-- bench:begin NAME -->` and `<!-- bench:end NAME -->`.
        content: New content; white space around it is removed.

    Returns:
        The text of the whole file.

    Raises:
        RequestError: A marker is missing, doubled or out of order, or stands in the content.
    """
    start, end = _between(text, name)
    if any(marker in content for marker in _markers(name)):
        raise RequestError(f"the content of the markers {name!r} contains such a marker itself.")
    content = content.strip()
    return f"{text[:start]}\n{content}\n{text[end:]}" if content else f"{text[:start]}\n{text[end:]}"


def write_sections(pages: Mapping[Path, Mapping[str, str]]) -> list[Path]:
    """Write content between the markers of files; a file that does not exist begins with these markers alone.

    Args:
        pages: File -> name of markers -> content.

    Returns:
        The files that changed.

    Raises:
        RequestError: A file lacks its markers; says which. The files before it are written.
    """
    changed = []
    for path, sections in pages.items():
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        text = _spliced(path, before or "\n".join(map(placeholder, sections)), sections)
        if text != before:
            write_text(path, text)
            changed.append(path)
    return changed


def page(title: str, description: str, command: str, tables: str) -> str:
    """Return title, description, command and tables of a board as Markdown.

    Args:
        title: Plain text.
        description: Markdown; `escape.prose` removes what it may not hold.
        command: The command that makes these records, as typed.
        tables: Tables of the board, as Markdown.
    """
    blocks = [
        f"# {escape.markdown(title)}",
        escape.prose(description.strip()),
        f"    {escape.one_line(command)}",
        tables,
    ]
    return "\n\n".join(block.strip("\n") for block in blocks if block.strip()) + "\n"


def stale_pages(pages: Mapping[Path, Mapping[str, str]]) -> dict[Path, str]:
    """Find the files whose content between markers is not as it should be.

    Args:
        pages: File -> name of markers -> the content that should be there.

    Returns:
        File -> unified diff with one line of context, from the content that is there to the one that should be;
        only files that differ.

    Raises:
        RequestError: A file lacks its markers; says which.
    """
    stale = {}
    for path, sections in pages.items():
        if not path.is_file():
            stale[path] = f"{path} does not exist\n"
            continue
        text = path.read_text(encoding="utf-8")
        expected = _spliced(path, text, sections)
        if expected != text:
            lines = difflib.unified_diff(
                text.splitlines(), expected.splitlines(), str(path), "as its records say", n=1, lineterm=""
            )
            stale[path] = "\n".join(lines) + "\n"
    return stale


def _spliced(path: Path, text: str, sections: Mapping[str, str]) -> str:
    """Splice all sections into the text of a file, which messages name."""
    for name, content in sections.items():
        try:
            text = splice(text, name, content)
        except RequestError as error:
            raise RequestError(f"{path}: {error}") from error
    return text


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- bench:begin {name} -->", f"<!-- bench:end {name} -->"


def _between(text: str, name: str) -> tuple[int, int]:
    """Return the positions at which the content starts and ends."""
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
