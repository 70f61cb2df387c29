"""The weights that a method's encoder starts from: another chain of the same request, or a file.

    bench run --methods nac,vae --sweep vae.init=none,nac

The key of a chain contains what defines its start: for another chain the parts of its document that define the encoder
and differ from the chain's own, for a file the SHA-256.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench_core.contracts import Encoder, Objective
from bench_core.errors import RequestError, StoreError, shown
from bench_core.files import file_digest
from bench_core.store.chain_files import read_recipe, read_summary
from bench_core.store.tensors import holds_tensors, load_tensors

_PREFIX = "encoder."  # of the encoder's tensors in the weights of a trained method


@dataclass(frozen=True)
class InitialWeights:
    """A file of weights that an encoder starts from.

    Attributes:
        path: A safetensors file with the weights of a trained method, of which the encoder's are loaded, or of an
            encoder alone.
        digest: The SHA-256 of the file.
        document: The part of the key's document that says what the encoder starts from.
        label: The start in words: "nac, 200 epochs".
        uses_labels: Whether labels took part in the training of the weights; False where that is not known.
    """

    path: Path
    digest: str
    document: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    uses_labels: bool = False

    @property
    def by_seed(self) -> bool:
        """True if other seeds of the row start from other weights."""
        return bool(self.document.get("by_seed"))

    def one_of_seeds(self) -> "InitialWeights":
        """Return the same weights, marked as those of one seed among others: `init` held `{seed}`."""
        return replace(self, document={**self.document, "by_seed": True})


def start_in_document(start: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a starting chain's document that takes part in the key of the chain that starts from it.

    It keeps the method, the recipe, and whatever differs. What both chains share, such as the data and the seed, is in
    the key already. So chains that start from the same method are one row over all seeds.

    Args:
        start: The document of the chain that trained the weights.
        document: The document of the chain that starts from them.
    """
    kept = {name: part for name, part in start.items() if name in ("method", "recipe") or part != document.get(name)}
    return {"chain": kept}


def find_initial_weights(init: str, document: Mapping[str, Any], other_methods: Sequence[str]) -> InitialWeights:
    """Find weights by the path of a chain's folder or of a safetensors file.

    Args:
        init: The value of `init`, which is not the name of a row.
        document: The document of the chain that starts from the weights.
        other_methods: The other methods of the request, for the message.

    Raises:
        RequestError: There is no such folder or file, or it holds another encoder.
    """
    path = Path(init)
    with suppress(RuntimeError):  # "~user" of an unknown user
        path = path.expanduser()
    if os.path.isfile(path / "summary.json"):
        return _weights_of_chain(init, path, document)
    if os.path.isfile(path):
        if not holds_tensors(path):
            raise RequestError(f"init = {init!r} holds no weights: it is no safetensors file.")
        digest = file_digest(path)
        return InitialWeights(path, digest, {"sha256": digest}, f"a file, sha256 {digest[:12]}")
    raise RequestError(
        f"init = {shown(init)} is no row of this request ({', '.join(other_methods) or 'it has no other'}), no chain's "
        "folder (STORE/chains/KEY) and no file; name a row (--methods nac,vae --set vae.init=nac), or give a path."
    )


def _weights_of_chain(init: str, folder: Path, document: Mapping[str, Any]) -> InitialWeights:
    start, summary = read_chain(folder)
    if start["encoder"] != document["encoder"]:
        raise RequestError(
            f"init = {init!r} was trained with encoder {start['encoder']}, this row has {document['encoder']}."
        )
    return InitialWeights(
        path=folder / "weights.safetensors",
        digest=summary["weights_sha256"],
        document=start_in_document(start, document),
        label=f"{start['method']['id'].rpartition('/')[2]}, {start['recipe']['epochs']} epochs",
        uses_labels=bool(summary.get("uses_labels")),
    )


def read_chain(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the document and the summary of a chain's folder; StoreError where they lack what is needed."""
    document, summary = read_recipe(folder)["doc"], read_summary(folder)
    if (document.get("recipe") or {}).get("epochs") is None:
        raise StoreError(f"{folder} is no chain's folder: its recipe.json does not say how many epochs were trained.")
    return document, summary


def load_initial_weights(encoder: Encoder, initial: InitialWeights) -> None:
    """Load the weights into the encoder, in place.

    It is called before a method is built on the encoder, because a method may copy it.

    Raises:
        StoreError: The file is damaged, or its tensors are not this encoder's.
    """
    tensors = load_tensors(initial.path, initial.digest)
    encoder_tensors = {
        name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)
    }
    _load(encoder, encoder_tensors or tensors, "encoder", initial)


def load_weights(objective: Objective, weights: InitialWeights) -> None:
    """Load all weights of a trained method into a method of the same class and parameters, in place.

    Raises:
        StoreError: The file is damaged, or its tensors are not this method's.
    """
    _load(objective, load_tensors(weights.path, weights.digest), "method", weights)


def _load(module: nn.Module, tensors: Mapping[str, Tensor], what: str, initial: InitialWeights) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{initial.path} does not hold the weights of this {what}: {reason}") from error
