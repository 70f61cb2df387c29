"""Read what the files of a project say, without times and random names, to compare two runs of a command."""

import hashlib
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from bench_core.files import read_json, read_sealed
from bench_core.store.store import read_attempt, read_record

Tree = dict[str, str]

DAMAGED = "damaged: "
_TIME = re.compile(r"\d{8}T\d{12}")
_TIMES_OF_A_LOG = ("seconds", "images_per_s", "peak_memory_gib")


def read_tree(root: Path) -> Tree:
    """Return name -> content of all files below a folder that `bench` reads or a user asked for.

    Temporary files and folders are left out, and so are attempts and checkpoints, which a failed run leaves and an
    undisturbed one does not; but they must be whole. A file that is not begins with `DAMAGED`.
    """
    tree: Tree = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        hidden = [part for part in Path(name).parts if part.startswith(".") and part != ".bench-cache"]
        if hidden or name.startswith("tmp/") or not path.is_file() or _is_for_people(name):
            continue
        try:
            content = _content(path, name)
        except Exception as error:
            content = f"{DAMAGED}{error}"
        if ("/attempts/" not in f"/{name}" and ".under-way/" not in name) or content.startswith(DAMAGED):
            tree[_TIME.sub("TIME", name)] = content
    return tree


def _is_for_people(name: str) -> bool:
    """Return whether no run reads this file: `bench status` and `bench logs` do, and it may be half written."""
    path = Path(name)
    return path.name == "planned.json" or (
        path.parent.name.endswith(".under-way") and path.name in ("log.jsonl", "recipe.json")
    )


def _content(path: Path, name: str) -> str:
    """Return the content of a file as text that is equal after an equal run; any error if the file is not whole."""
    if "/attempts/" in f"/{name}" or "/failed/" in name:
        attempt = read_attempt(path)
        return f"{attempt['kind']} {attempt['key']}"
    if ".under-way/" in name:
        if hashlib.sha256(path.read_bytes()).hexdigest() not in path.name:
            raise ValueError("a checkpoint that is not what its name says")
        return "checkpoint"
    if "/cells/" in f"/{name}" or "/records/" in name:
        return _as_text({k: v for k, v in read_record(path).stored.items() if k not in ("provenance", "cost")})
    if path.name == "done.json":
        return _as_text({k: v for k, v in read_sealed(path).items() if k != "embed_s"})
    if path.name == "chain.json":
        chain = read_sealed(path)
        summary = {k: v for k, v in chain["summary"].items() if k not in ("provenance", "cost")}
        log = [{k: v for k, v in line.items() if k not in _TIMES_OF_A_LOG} for line in chain["log"]]
        return _as_text({**chain, "summary": summary, "log": log})
    if path.suffix == ".json":
        return _as_text({k: v for k, v in read_json(path).items() if k != "when"})
    if path.suffix == ".sqlite":
        with closing(sqlite3.connect(path)) as connection:
            return "\n".join(connection.iterdump())
    if path.name == "leaderboard.md":
        return without_times(path.read_text())
    content = path.read_bytes()
    if path.suffix == ".svg" and not content.endswith(b"</svg>\n"):
        raise ValueError("half a picture")
    return hashlib.sha256(content).hexdigest()


def without_times(text: str) -> str:
    """Return a text without its numbers and the widths of its columns, for texts that hold times."""
    return re.sub(r"[\d.,:\s-]+", " ", text)


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
