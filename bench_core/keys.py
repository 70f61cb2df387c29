"""Keys: the SHA-256 of a canonical JSON document that holds everything which defines a result.

Example: two runs with the same method, dataset, parameters and seed have the same key document, hence the same key; a
changed learning rate is another document and another key.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

HARNESS_REVISION = 1  # rises when the harness itself (not a plugin) changes what numbers mean


def canonical_json(document: Mapping[str, Any]) -> str:
    """Return the one spelling of a key document: sorted names, no spaces, no NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def key_of(document: Mapping[str, Any]) -> str:
    """Return the key of a document, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def key_or_none(document: Mapping[str, Any]) -> str | None:
    """Return the key of a document that somebody else wrote, or None where it can have none: NaN, half a character."""
    try:
        return key_of(document)
    except ValueError:
        return None


def leaves(document: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of every leaf of a document, sorted by name: `("method.config.dim", 128)`."""
    if isinstance(document, Mapping):
        for name, value in sorted(document.items()):
            yield from leaves(value, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, document


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (path, our value, their value) of each leaf that differs; None stands for a leaf that one side lacks."""
    a, b = dict(leaves(ours)), dict(leaves(theirs))
    return [(path, a.get(path), b.get(path)) for path in sorted({*a, *b}) if a.get(path) != b.get(path)]
