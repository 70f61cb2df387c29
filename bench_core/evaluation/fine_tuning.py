"""Fine-tuning: a copy of an encoder and a linear head, trained together on labels for a fixed number of steps.

The features pass a batch norm without parameters before the head, as in probes by layer of SeLa's code: without it one
rate does not serve methods whose features differ in scale. The head starts at zero. All batch norms are in train mode,
so they use the batch's statistics and their running ones follow; these serve the test. Counting steps and not epochs
makes the cost the same for every size of data.

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
from bench_core.views import PRESETS, augment, preset

_BATCH = 512  # of answers, in eval mode: the size changes no number beyond rounding


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

    SGD with Nesterov momentum 0.9, no weight decay, the rate falls to 0 along a cosine. A last short batch of a pass is
    left out unless it is the only one.

    Args:
        encoder: Stays as it is; one without parameters leaves the head alone to be trained.
        split: Two items or more, with labels (N,).
        data: Images are augmented, as far as that keeps their meaning; other inputs are not.
        num_classes: K.
        steps: Optimiser steps.
        batch_size: Items a step.
        learning_rate: Peak rate.
        augmentation: A preset of `bench_core.views.pipeline`.
        device: Of the encoder.
        seed: Of the order, the views and dropout.

    Returns:
        Inputs -> logits (N, K), in eval mode.
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
            assert batch.labels is not None, "asked for"
            loss = F.cross_entropy(model(inputs), batch.labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return model.eval()


def _with_head(encoder: Encoder, num_classes: int) -> nn.Sequential:
    """A copy of the encoder, batch norm without parameters, and a linear head at zero; all of it can be trained."""
    head = nn.Linear(encoder.dim, num_classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model = nn.Sequential(copy.deepcopy(encoder), nn.BatchNorm1d(encoder.dim, affine=False), head)
    return model.requires_grad_(True).to(memory_format=torch.channels_last)  # about twice as fast on a CPU


@torch.inference_mode()
def answers(model: nn.Module, split: Split, device: torch.device) -> Tensor:
    """Logits (N, K) of every item on the CPU; a logit that is not finite counts as 0."""
    batches = open_split(split, device).batches(_BATCH)
    return torch.cat([model(batch.inputs).cpu() for batch in batches]).nan_to_num(0.0, 0.0, 0.0)


def describe(augmentation: str, data: DataSpec) -> str:
    """The recipe in words, for a protocol."""
    views = augmentation if preset(augmentation, data) == PRESETS[augmentation] else "glyph"
    return (
        "SGD, Nesterov momentum 0.9, no decay, cosine, one rate for encoder and head, head from zero behind a batch "
        f"norm without parameters, batch norms in train mode, views: {views if data.is_image else 'none'}"
    )
