"""Keys made of content: SHA-256 of a canonical JSON document of all that defines a result."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PROTOCOL = 1  # rises when the harness itself (not a plugin) changes what numbers mean


def canonical(document: Mapping[str, Any]) -> str:
    """One spelling of a document: sorted keys, no spaces, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def key_of(document: Mapping[str, Any]) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(canonical(document).encode()).hexdigest()


def flat(document: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a document with their dotted paths, in order."""
    if isinstance(document, Mapping):
        for name, value in sorted(document.items()):
            yield from flat(value, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, document


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(path, ours, theirs) for each leaf that differs; None where one side lacks it."""
    a, b = dict(flat(ours)), dict(flat(theirs))
    return [(path, a.get(path), b.get(path)) for path in sorted({*a, *b}) if a.get(path) != b.get(path)]


def nearest(document: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The record among `others` whose key document differs in the fewest leaves."""
    return min(others, key=lambda r: len(differences(document, r["doc"])), default=None)
