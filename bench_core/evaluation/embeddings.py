"""Embeddings of a split by their names."""

from torch import Tensor

from bench_core.contracts import Embedded, Frozen
from bench_core.errors import BenchError

_MADE_FOR_IT = ("embedding", "latent")  # what a method's own loss shapes, where it has one of these


def embedding_of(part: Embedded, name: str) -> Tensor:
    """One embedding (N, D) of a split, as it is kept.

    Raises:
        BenchError: The method has none of this name.
    """
    if name not in part.embeddings:
        raise BenchError(f"no embedding named {name!r}. This method has: {', '.join(sorted(part.embeddings))}.")
    return part.embeddings[name]


def own_embedding(part: Embedded) -> str:
    """The name of what the method's own loss shapes: `embedding`, else `latent`, else `features`."""
    return next((name for name in _MADE_FOR_IT if name in part.embeddings), "features")


def labelled(frozen: Frozen, split: str, embedding: str) -> tuple[Tensor, Tensor]:
    """One embedding of one split, with its labels.

    Args:
        frozen: The trained method.
        split: Name of the split.
        embedding: Name of the embedding.

    Returns:
        (N, D) float32, and labels (N,) int64 or (N, L) bool.

    Raises:
        BenchError: The method has no such embedding, or the split no labels.
    """
    part = frozen.splits[split]
    values = embedding_of(part, embedding)
    if part.labels is None:
        raise BenchError(f"the {split} split has no labels")
    return values.float(), part.labels
