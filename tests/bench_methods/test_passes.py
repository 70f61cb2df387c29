"""Number of passes of an image through the encoder in one step of each method, so that no method adds a hidden pass."""

import pytest
import torch
from torch import nn

from benchmarks.methods import Step, build_step, count, random_batch, trained

# Images through an encoder for each image of the batch: (with gradient, without).
PASSES = {
    "amdim": (2, 0),
    "autoencoder": (1, 0),
    "barlow_twins": (2, 0),
    "beta_vae": (1, 0),
    "bigan": (1, 1),  # the discriminator's turn reads new latents
    "byol": (2, 2),  # two views: online, target
    "cmc": (2, 0),  # two views, each through its own encoder
    "coconet": (3, 0),
    "ctrl": (3, 1),  # the encoder's turn: images and copies; the decoder's: images without gradient, and copies
    "ctrl_multi": (3, 1),
    "dim": (1, 1),  # the discriminator's turn reads new features
    "factor_vae": (1, 1),  # likewise
    "gan": (3, 0),  # the discriminator's turn: real and generated items; the generator's: generated ones
    "mine": (1, 0),
    "mine_bottleneck": (1, 1),  # the critic's turn reads new latents
    "moco": (2, 2),
    "nac": (2, 0),
    "nac_moco": (2, 2),
    "noisy_dim": (2, 0),
    "sela": (1, 0),
    "simclr": (2, 0),
    "simsiam": (2, 0),
    "supervised": (1, 0),
    "swav": (2, 0),
    "uctrl": (4, 1),  # as ctrl, and the encoder's turn has augmented images, too
    "vae": (1, 0),
    "vicreg": (2, 0),
}
METHODS = {part.name: part for part in trained()}


def test_passes_are_listed_for_every_trained_method() -> None:
    assert set(METHODS) == set(PASSES)


@pytest.mark.parametrize("name", PASSES)
def test_a_step_makes_the_listed_number_of_passes_through_the_encoder(name: str) -> None:
    batch = random_batch(8, 8)
    with torch.random.fork_rng([]):
        step = build_step(METHODS[name], (4, 8), batch)
        counted = count(step, batch)
    assert (counted.with_gradient, counted.without) == PASSES[name]
    assert counted.flops > 0


def test_an_additional_pass_and_its_operations_are_counted() -> None:
    batch = random_batch(8, 8)
    with torch.random.fork_rng([]):
        step = build_step(METHODS["supervised"], (4, 8), batch)
    plain = count(step, batch)

    def twice() -> None:
        step.run()
        with torch.no_grad():
            step.method.encoder.maps(batch.inputs)

    hidden = count(Step(step.method, twice), batch)
    assert hidden.without == 1
    forward = 2 * 8 * (3 * 4 * 9 * 4 * 4 + 4 * 8 * 9 * 2 * 2)  # twice images x weights x positions, of both layers
    assert hidden.flops - plain.flops == forward
    linear = nn.Linear(5, 3)
    layer = Step(step.method, lambda: linear(torch.zeros(7, 5)).sum().backward())
    assert count(layer, batch).flops == 2 * (2 * 7 * 5 * 3)  # forward, and the gradient of the weights
