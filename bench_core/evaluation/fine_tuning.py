"""Fine-tuning: train a copy of an encoder and a linear head together on labels, for a fixed number of steps.

The features pass a batch norm without parameters before the head, as in the layer probes of SeLa's code; without it,
one learning rate does not fit methods whose features differ in scale. The head starts at zero. All batch norms are in
train mode: they use the statistics of the batch and update their running ones, which the test uses. The length is
given in steps, not epochs, so the cost is the same for every size of the dataset.

Source: SimCLR's code (google-research/simclr at 0075cc0: README.md, momentum, no decay, no warm-up, logits from zero;
        data.py at 711541f, crop and flip without colour); SwAV's (facebookresearch/swav at 57eac59, eval_semisup.py:
        SGD with momentum, no decay, batch norm in train mode). Nesterov, cosine and counting steps are ours.

Shapes: N items, D features, K classes.
"""

import copy
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.contracts import DataSpec, Encoder, Recipe, Split
from bench_core.data import open_split
from bench_core.seeds import stream, stream_seed
from bench_core.training.optimizers import make_optimizer, rate_factor
from bench_core.views import augment, preset, used_preset

_BATCH = 512  # items of a batch when answering, in eval mode; it changes numbers only by rounding


def fine_tune(
    encoder: Encoder,
    split: Split,
    data: DataSpec,
    num_classes: int,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    augmentation: str,
    device: torch.device,
    seed: int,
) -> nn.Sequential:
    """Train a copy of the encoder with a head on labelled items.

    The optimiser is SGD with Nesterov momentum 0.9 and no weight decay; the rate falls to 0 along a cosine. A last,
    shorter batch of a pass is left out unless it is the only one.

    Args:
        encoder: Encoder to copy; it is not changed. If it has no parameters, only the head is trained.
        split: Two items or more, with labels (N,).
        data: Description of the dataset. Images are augmented by changes that keep their meaning; other inputs are not
            augmented.
        num_classes: Number of classes K.
        steps: Number of optimiser steps.
        batch_size: Number of items in a step.
        learning_rate: Peak learning rate.
        augmentation: Name of a preset of `bench_core.views`.
        device: Device of the encoder.
        seed: Seed of the order of items, the views and dropout.

    Returns:
        Model that turns inputs into logits (N, K), in eval mode.
    """
    recipe = Recipe(optimizer="sgd", learning_rate=learning_rate, momentum=0.9, nesterov=True, schedule="cosine")
    order, views = stream(seed, "order"), stream(seed, "views", device=device)
    source = open_split(split, device)
    passes = (source.batches(batch_size, rng=order, drop_last=True, labels=True) for _ in itertools.count())
    with torch.random.fork_rng([device.index or 0] if device.type == "cuda" else []):
        torch.manual_seed(stream_seed(seed, "dropout"))
        model = _with_head(encoder, num_classes).to(device).train()
        optimizer = make_optimizer(list(model.parameters()), recipe)
        for step, batch in enumerate(itertools.islice(itertools.chain.from_iterable(passes), steps)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * rate_factor(recipe, step, steps, 1)
            inputs = augment(batch.inputs, views, preset(augmentation, data)) if data.is_image else batch.inputs
            assert batch.labels is not None, "the pass was opened with labels=True"
            loss = F.cross_entropy(model(inputs), batch.labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return model.eval()


def _with_head(encoder: Encoder, num_classes: int) -> nn.Sequential:
    """Copy the encoder and add a batch norm without parameters and a linear head at zero; all can be trained."""
    head = nn.Linear(encoder.dim, num_classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(copy.deepcopy(encoder), nn.BatchNorm1d(encoder.dim, affine=False), head)
    return model.requires_grad_(True).to(memory_format=torch.channels_last)  # about twice as fast on a CPU


@torch.inference_mode()
def answers(model: nn.Module, split: Split, device: torch.device) -> Tensor:
    """Return the logits (N, K) of every item, on the CPU; they are not finite where the training diverged."""
    batches = open_split(split, device).batches(_BATCH)
    return torch.cat([model(batch.inputs).cpu() for batch in batches])


def describe(augmentation: str, data: DataSpec) -> str:
    """Describe the recipe in words, for a protocol."""
    views = used_preset(augmentation, data) if data.is_image else "none"
    return (
        "SGD, Nesterov momentum 0.9, no decay, cosine, one rate for encoder and head, head from zero behind a batch "
        f"norm without parameters, batch norms in train mode, views: {views}"
    )
