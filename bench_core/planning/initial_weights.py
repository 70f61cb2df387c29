"""Where a method's encoder starts from: fresh, from another chain of the same request, or from a file.

    bench run --methods nac,vae --sweep vae.init=none,nac

What defines the start is in the key: of a chain all that defines its encoder and is not the same here anyway, of a
file its digest.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_core.contracts import Encoder
from bench_core.errors import RequestError, StoreError, shown
from bench_core.files import file_digest, read_json, read_sealed
from bench_core.store.tensors import holds_tensors, load_tensors

_PREFIX = "encoder."  # of the encoder's tensors in an objective's weights


@dataclass(frozen=True)
class Initial:
    """Weights that an encoder starts from.

    Attributes:
        path: A safetensors file: of a method's weights, of which the encoder's are taken, or of an encoder.
        digest: Its SHA-256.
        document: What of it takes part in the key.
        label: For people.
        uses_labels: Whether labels took part in its training, as far as that is known.
    """

    path: Path
    digest: str
    document: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    uses_labels: bool = False


def difference(source: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """What of a chain's document takes part in the key of one that starts from it.

    Its method and recipe, and of all else what differs: what is shared (data, seed) stands in the key already, and
    rows that start from the same method are one row over all seeds.
    """
    kept = {name: part for name, part in source.items() if name in ("method", "recipe") or part != own.get(name)}
    return {"chain": kept}


def find_initial(text: str, own: Mapping[str, Any], rows: Sequence[str]) -> Initial:
    """Weights by the path of a chain's folder or of a safetensors file.

    Args:
        text: As `init` says it, not the name of a row.
        own: The document of the chain that starts from it.
        rows: The other methods of the request, for the message.

    Raises:
        RequestError: There is no such thing, or it holds another encoder.
    """
    path = Path(text)
    with suppress(RuntimeError):  # nobody's home
        path = path.expanduser()
    if os.path.isfile(path / "summary.json"):
        source, summary = _of_chain(path)
        if source["encoder"] != own["encoder"]:
            raise RequestError(
                f"init = {text!r} was trained with encoder {source['encoder']}, this row has {own['encoder']}."
            )
        label = f"{source['method']['id'].rpartition('/')[2]}, {source['recipe']['epochs']} epochs"
        start = difference(source, own)
        labels = bool(summary.get("uses_labels"))
        return Initial(path / "weights.safetensors", summary["weights_sha256"], start, label, labels)
    if os.path.isfile(path):
        if not holds_tensors(path):
            raise RequestError(f"init = {text!r} holds no weights: it is no safetensors file.")
        digest = file_digest(path)
        return Initial(path, digest, {"sha256": digest}, f"a file, sha256 {digest[:12]}")
    raise RequestError(
        f"init = {shown(text)} is no row of this request ({', '.join(rows) or 'it has no other'}), no chain's folder "
        "(STORE/chains/KEY) and no file; name a row (--methods nac,vae --set vae.init=nac), or give a path."
    )


def _of_chain(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Document and summary of a chain; StoreError where they are none."""
    source: Any  # until it is known to be whole
    source, summary = read_json(folder / "recipe.json").get("doc"), read_sealed(folder / "summary.json")
    try:
        texts = source["method"]["id"], source["encoder"]["id"], summary["weights_sha256"]
        whole = all(isinstance(text, str) for text in texts) and source["recipe"]["epochs"] >= 0
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise StoreError(f"{folder} is no chain's folder: its recipe.json or summary.json lacks something.")
    return source, summary


def load_initial(encoder: Encoder, initial: Initial) -> None:
    """Put the weights into the encoder, in place, before a method is built on it and copies it.

    Raises:
        StoreError: The file is damaged, or its tensors are not this encoder's.
    """
    tensors = load_tensors(initial.path, initial.digest)
    own = {name.removeprefix(_PREFIX): t for name, t in tensors.items() if name.startswith(_PREFIX)} or tensors
    try:
        encoder.load_state_dict(own)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{initial.path} does not hold the weights of this encoder: {reason}") from error
