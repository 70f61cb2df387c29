"""Reading the embeddings of a split by name, with labels."""

from torch import Tensor

from bench_core.contracts import Embedded, Frozen
from bench_core.errors import BenchError

_SHAPED_BY_LOSS = ("embedding", "latent")  # the embedding that a method's loss acts on, if it has one of these


def embedding_of(part: Embedded, name: str) -> Tensor:
    """Return one embedding (N, D) of a split, in its stored type.

    Raises:
        BenchError: The method has no embedding of this name; the message lists those that it has.
    """
    if name not in part.embeddings:
        raise BenchError(f"no embedding named {name!r}. This method has: {', '.join(sorted(part.embeddings))}.")
    return part.embeddings[name]


def loss_embedding_name(part: Embedded) -> str:
    """Return the name of the embedding that the method's loss acts on: `embedding`, else `latent`, else `features`."""
    return next((name for name in _SHAPED_BY_LOSS if name in part.embeddings), "features")


def labelled_embedding(frozen: Frozen, split: str, embedding: str) -> tuple[Tensor, Tensor]:
    """Return one embedding of a split, with the labels.

    Args:
        frozen: The trained method.
        split: Name of the split.
        embedding: Name of the embedding.

    Returns:
        The embedding (N, D) float32, and labels (N,) int64 or (N, L) bool.

    Raises:
        BenchError: The method has no such embedding, or the split has no labels.
    """
    part = frozen.splits[split]
    values = embedding_of(part, embedding)
    if part.labels is None:
        raise BenchError(f"the {split} split has no labels")
    return values.float(), part.labels
