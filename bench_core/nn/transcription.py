"""The closed loop of CTRL and U-CTRL: image -> latent on the sphere -> image -> latent.

    z = f(x),  x^ = g(z),  z^ = f(x^);  f is an encoder and a linear layer, its rows scaled to length 1; g is a decoder.

Papers: Dai et al., Entropy 2022, https://www.mdpi.com/1099-4300/24/4/456; Tong et al., CPAL 2024,
        https://arxiv.org/abs/2210.16782
Note:   in the papers images, like the tanh at the end of g, lie in [-1, 1]. Here they lie in [0, 1] and an encoder's
        first layer standardises them, so decoded images are (tanh + 1) / 2: the same images in other units. As in
        CTRL's code, real and decoded images pass f as two batches, and the running statistics of batch norm mix both
        while it trains. CTRL's code also tests with these; here they are measured anew on images alone (ours), as
        latents of other statistics are not those that the decoder learned from.

Shapes: N items, C channels, H x W pixels, D features, P latents.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from bench_core.contracts import DataSpec, Encoder, EpochContext, Player
from bench_core.nn.decoders import conv_decoder
from bench_core.nn.latent_sampling import draw_gaussian, fit_gaussian, principal_like

_DIRECTIONS = 12  # principal directions of a cluster, as in i-CTRL's sampler


class Transcribed(NamedTuple):
    """Hold the latents and the images of one way around the loop.

    Attributes:
        z: (N, P) latents of the images, rows of length 1.
        images: (N, C, H, W) in [0, 1], decoded from z.
        z_hat: (N, P) latents of the decoded images, rows of length 1.
    """

    z: Tensor
    images: Tensor
    z_hat: Tensor


class Transcription(nn.Module):
    """The loop without its encoder, and the Gaussian of the training latents, which is fitted after training."""

    mean: Tensor  # (P,), mean of all training latents
    root: Tensor  # (P, P), a square root of their covariance

    def __init__(self, features: int, data: DataSpec, latent_dim: int, width: int) -> None:
        """Build head and decoder with fresh weights.

        Args:
            features: D, width of the encoder's features.
            data: Images with sides of 8 pixels or more.
            latent_dim: P.
            width: Width of the decoder, as in `conv_decoder`.
        """
        super().__init__()
        self.head = nn.Linear(features, latent_dim)
        self.decoder = conv_decoder(latent_dim, data.shape, width)
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("root", torch.eye(latent_dim))

    def players(self, encoder: Encoder, encoder_steps: int) -> list[Player]:
        """Return the two players: `encoder` (f, with its head), which moves first, and `decoder` (g)."""
        theta = [*encoder.parameters(), *self.head.parameters()]
        return [
            Player("encoder", theta, steps=encoder_steps),
            Player("decoder", list(self.decoder.parameters())),
        ]

    def transcribe(self, encoder: Encoder, images: Tensor, player: str) -> Transcribed:
        """Pass images once around the loop, with the gradients of one player.

        Gradients of the encoder flow through z and through z^, but not through g. Those of the decoder flow through z^
        and f, whose weights stay. In train mode batch norm takes real and decoded images as two batches.

        Args:
            encoder: The encoder of f.
            images: (N, C, H, W) in [0, 1].
            player: "encoder" or "decoder".
        """
        gradients = torch.is_grad_enabled()
        with torch.set_grad_enabled(gradients and player == "encoder"):
            z = self.latents(encoder(images))
        with torch.set_grad_enabled(gradients and player == "decoder"):
            decoded = self.decode(z)
        return Transcribed(z, decoded, self.latents(encoder(decoded)))

    def latents(self, features: Tensor) -> Tensor:
        """Return latents of features: (N, D) -> rows (N, P) of length 1, float32."""
        return F.normalize(self.head(features).float(), dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents: (N, P) -> images (N, C, H, W) in [0, 1], float32."""
        raw: Tensor = self.decoder(latents)
        return (torch.tanh(raw.float()) + 1) / 2

    @torch.no_grad()
    def fit(self, encoder: Encoder, context: EpochContext) -> Tensor:
        """Fit what belongs to the whole train split after training, and return its latents (M, P) in eval mode.

        This is the Gaussian that `sample` draws from and, before, the statistics of the encoder's batch norm. Those of
        training mix images, views and decoded images; these are of the images alone, which the encoder reads from now
        on.
        """
        training = encoder.training
        # Batch norm over features needs two items in train mode.
        update_bn((batch.inputs for batch in context.batches() if len(batch.index) > 1), encoder)
        encoder.eval()
        latents = torch.cat([self.latents(encoder(batch.inputs)) for batch in context.batches()])
        encoder.train(training)
        mean, root = fit_gaussian(latents)
        self.mean.copy_(mean)
        self.root.copy_(root)
        return latents

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Draw latents, scale them to length 1 and decode them to images (n, C, H, W); see `Generative.sample`.

        Without `like` they are drawn from one Gaussian of all training latents, with `like` along the principal
        directions of those latents.
        """
        if like is None:
            drawn = draw_gaussian(self.mean, self.root, n, rng)
        else:
            drawn = principal_like(like, n, rng, _DIRECTIONS)
        return self.decode(F.normalize(drawn.float(), dim=1))


@torch.no_grad()
def pixel_parts(images: Tensor, decoded: Tensor) -> dict[str, Tensor]:
    """Compare decoded images with their originals, for the log; no loss contains these numbers.

    Args:
        images: (N, C, H, W) in [0, 1].
        decoded: (N, C, H, W) in [0, 1], their decoded copies.

    Returns:
        `pixel_error`, the mean squared difference of a pixel, (); and `pixel_r2`, 1 - error / error of the batch's
        mean image: 1 for equal images, 0 for the mean image, below 0 for anything worse.
    """
    error = (images - decoded).square().mean()
    of_mean = (images - images.mean(0)).square().mean()
    return {"pixel_error": error, "pixel_r2": 1 - error / of_mean.clamp_min(1e-12)}
