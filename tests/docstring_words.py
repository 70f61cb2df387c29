"""Count docstrings whose first word shows a fragment that hangs on a name, and print where they are.

python tests/docstring_words.py                      # all of the project
python tests/docstring_words.py bench_core/store     # one folder or file
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("bench_core", "plugins", "benchmarks", "tests")
FRAGMENTS = frozenset(["What", "Who", "Whether", "Where", "How", "Of", "By", "As", "Those", "That", "Nothing"])
Documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def docstrings(paths: Iterable[Path]) -> Iterator[tuple[Path, int, str]]:
    """Yield file, line and text of every docstring below the given files and folders."""
    for path in paths:
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, Documented) and (text := ast.get_docstring(node)):
                    yield file, getattr(node, "lineno", 1), text


def fragments(paths: Iterable[Path]) -> tuple[list[str], int]:
    """Return `file:line: first line` of each docstring that begins with one of the words, and the number of all."""
    lines, count = [], 0
    for file, line, text in docstrings(paths):
        count += 1
        first = text.splitlines()[0]
        if first.partition(" ")[0].strip(",.:;") in FRAGMENTS:
            lines.append(f"{file}:{line}: {first}")
    return lines, count


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]] or [ROOT / folder for folder in FOLDERS]
    lines, count = fragments(paths)
    print(*lines, f"{len(lines)} of {count} docstrings", sep="\n")
