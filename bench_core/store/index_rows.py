"""A record as a row of an index: what differs from seed to seed, and six parts that many records share.

    rows, parts = {}, SharedParts()
    row = row_of(record, parts)               # a list that JSON can hold
    record_of_row(row, parts, path)

Parts are JSON texts with a number: each is kept once, and read once. Curves, images and per-item results are in no row:
`StoredFile` reads them from the record's file, where they are asked for.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench_core.errors import StoreError
from bench_core.files import read_json
from bench_core.store.record import Record, record_from_json
from bench_core.store.record_schema import PROVENANCE

_IN_FILE = ("curves", "images", "items")  # large, and of few records at a time
_TIMES = ("started", "ended")
_OF_TASK = ("ranks", "family", "protocol")


class StoredFile(Mapping[str, Any]):
    """The JSON object of a record's file, without its seal; it is read where a value is asked for that is not known."""

    def __init__(self, path: str, key: str, known: Mapping[str, Any]) -> None:
        """Name the file.

        Args:
            path: The file of the record.
            key: The key of the record.
            known: Each name in it -> the value if that is empty, else None.
        """
        self._path, self._key, self._known = path, key, known
        self._content: Mapping[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        """Return a value; KeyError where there is no such name, StoreError where the file cannot be read any more."""
        known = self._known[name]
        if known is not None:
            return known
        if self._content is not None and name in self._content:
            return self._content[name]
        content = read_json(Path(self._path))  # its seal was checked when the index was made, and it has not changed
        if content.get("key") != self._key:
            raise StoreError(f"{self._path} is not what its key says: it was edited or damaged; move it away.")
        if name != "items":  # tables look once at the items of all records, which fill the memory
            self._content = {name: content[name] for name in self._known if name != "items"}
        return content[name]

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a name; the file is not read."""
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, in the order of the file."""
        return iter(self._known)

    def __len__(self) -> int:
        """Count the names."""
        return len(self._known)


class SharedParts:
    """Texts with numbers: the same text has the same number, and its content is parsed once."""

    def __init__(self, texts: Iterable[tuple[int, str]] = ()) -> None:
        """Take in numbers and texts of an index."""
        self._texts = dict(texts)
        self._next = max(self._texts, default=-1) + 1
        self._numbers: dict[str, int] | None = None  # text -> number, made where one is added
        self._contents: dict[int, Any] = {}
        self._memos: dict[int, dict[Any, Any]] = {}
        self.added: list[tuple[int, str]] = []

    def number(self, content: Any) -> int:
        """Return the number of a content, which is added where it is new."""
        text = json.dumps(content, ensure_ascii=False)
        if self._numbers is None:
            self._numbers = {text: number for number, text in self._texts.items()}
        if text not in self._numbers:
            self._numbers[text] = self._next
            self._texts[self._next] = text
            self.added.append((self._next, text))
            self._next += 1
        return self._numbers[text]

    def content(self, number: int) -> Any:
        """Return the content of a number, one object for all who ask; KeyError where there is none."""
        if number not in self._contents:
            self._contents[number] = json.loads(self._texts[number])
        return self._contents[number]

    def memo(self, number: int) -> dict[Any, Any]:
        """Return a dictionary for what is computed of a content, one for all who ask."""
        return self._memos.setdefault(number, {})


def row_of(record: Record, parts: SharedParts) -> list[Any]:
    """Return a record as a row."""
    stored = record.stored
    document = stored["doc"]
    embed, training = document["embed"], document["embed"]["pretrain"]
    task = {name: stored[name] for name in _OF_TASK if name in stored}
    task["doc"] = {**document, "embed": {name: value for name, value in embed.items() if name != "pretrain"}}
    file = {name: value if name in _IN_FILE and value == {} else None for name, value in stored.items()}
    provenance = stored.get("provenance") or {}
    scores = stored["scores"]
    return [
        [
            parts.number(task),
            parts.number({name: value for name, value in training.items() if name != "seed"}),
            parts.number(stored["names"]),
            parts.number([stored.get("facts"), file]),
            parts.number([{name: value for name, value in score.items() if name != "value"} for score in scores]),
            parts.number(_code(provenance)),
        ],
        training["seed"],
        [score["value"] for score in scores],
        stored.get("notes"),
        stored.get("cost"),
        [provenance.get(name) for name in _TIMES],
    ]


def _code(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a provenance says of code and machine, as far as a record has fields for it."""
    code = {name: value for name, value in provenance.items() if name in PROVENANCE and name not in _TIMES}
    if (pretrain := provenance.get("pretrain")) is not None:
        code["pretrain"] = {name: value for name, value in pretrain.items() if name in PROVENANCE}
    return code


def record_of_row(row: list[Any], parts: SharedParts, path: str) -> Record:
    """Build the record of a row.

    Args:
        row: A row of `row_of`.
        parts: The parts of its index.
        path: The file of the record, which its key names.

    Raises:
        KeyError, TypeError, ValueError: The row is none.
    """
    numbers, seed, values, notes, cost, (started, ended) = row
    task, training, names, (facts, file), scores, code = map(parts.content, numbers)
    document, key = task["doc"], os.path.basename(path).removesuffix(".json")
    stored = {
        **task,
        "key": key,
        "names": names,
        "doc": {**document, "embed": {**document["embed"], "pretrain": {**training, "seed": seed}}},
        "scores": [{**score, "value": value} for score, value in zip(scores, values, strict=True)],
        "notes": notes,
        "facts": facts,
        "cost": cost,
        "provenance": {**code, "started": started, "ended": ended},
    }
    return record_from_json(
        stored, memos=(parts.memo(numbers[0]), parts.memo(numbers[1])), whole=StoredFile(path, key, file)
    )
