"""Information on labels: a lower bound from a classifier, in nats; it holds for items that were not trained on.

Source: Barber and Agakov, NeurIPS 2003 (a classifier's bound)
Shapes: M test items, K classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def entropy_of(labels: Tensor) -> float:
    """Return the entropy in nats of the frequencies of classes (N,) int64."""
    return float(torch.special.entr(torch.bincount(labels).double() / len(labels)).sum())


def classifier_information(logits: Tensor, labels: Tensor) -> float:
    """Return H(label) minus a classifier's cross-entropy: in the mean at most I(x; label); negative for a bad one.

    Args:
        logits: (M, K) logits of a classifier that was fitted on other items.
        labels: (M,) int64.
    """
    return entropy_of(labels) - float(F.cross_entropy(logits.double(), labels))
