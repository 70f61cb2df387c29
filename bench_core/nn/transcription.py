"""The closed loop of CTRL and U-CTRL: image -> latent on the sphere -> image -> latent.

    z = f(x),  x^ = g(z),  z^ = f(x^);  f is an encoder and a linear layer, its rows made of length 1, and g a decoder.

Papers: Dai et al., Entropy 2022, https://www.mdpi.com/1099-4300/24/4/456; Tong et al., CPAL 2024,
        https://arxiv.org/abs/2210.16782
Note:   the papers' images, like their g's tanh, lie in [-1, 1]. Here images lie in [0, 1] and standardising is an
        encoder's first layer, so (tanh + 1) / 2 enters it again: the same pictures, in other units. As in CTRL's code
        real and decoded images pass f as two batches, and the running statistics of batch norm are of both kinds.

Shapes: N items, C channels, H x W pixels, D features, P latents.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core.contracts import DataSpec, Encoder, EpochContext, Player
from bench_core.nn.decoders import conv_decoder
from bench_core.nn.latent_sampling import draw_gaussian, fit_gaussian, principal_like

_DIRECTIONS = 12  # of one cluster: i-CTRL's sampler


class Transcription(nn.Module):
    """All of the loop but the encoder; and the Gaussian of the training latents, which is fitted after training."""

    mean: Tensor  # (P,) of all training latents
    root: Tensor  # (P, P), a square root of their covariance

    def __init__(self, features: int, data: DataSpec, latent_dim: int, width: int) -> None:
        """Build.

        Args:
            features: D, of the encoder.
            data: Images of 8 pixels or more.
            latent_dim: P.
            width: Of the decoder.
        """
        super().__init__()
        self.head = nn.Linear(features, latent_dim)
        self.decoder = conv_decoder(latent_dim, data.shape, width)
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("root", torch.eye(latent_dim))

    def players(self, encoder: Encoder, encoder_steps: int) -> list[Player]:
        """`encoder` (f, with its head) and then `decoder` (g)."""
        theta = [*encoder.parameters(), *self.head.parameters()]
        return [
            Player("encoder", theta, steps=encoder_steps),
            Player("decoder", list(self.decoder.parameters())),
        ]

    def transcribe(self, encoder: Encoder, images: Tensor, player: str) -> tuple[Tensor, Tensor]:
        """Once around the loop, with the gradients of one player.

        The encoder's reach it through z and through z^, but not through g; the decoder's pass through f as it is.
        In train mode batch norm sees real and decoded images as two batches.

        Args:
            encoder: Of f.
            images: (N, C, H, W) in [0, 1].
            player: "encoder" or "decoder".

        Returns:
            z and z^, each (N, P), rows of length 1.
        """
        on = torch.is_grad_enabled()
        with torch.set_grad_enabled(on and player == "encoder"):
            z = self.latents(encoder(images))
        with torch.set_grad_enabled(on and player == "decoder"):
            decoded = self.decode(z)
        return z, self.latents(encoder(decoded))

    def latents(self, features: Tensor) -> Tensor:
        """(N, D) -> rows (N, P) of length 1, float32."""
        return F.normalize(self.head(features).float(), dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        """(N, P) -> images (N, C, H, W) in [0, 1], float32."""
        raw: Tensor = self.decoder(latents)
        return (torch.tanh(raw.float()) + 1) / 2

    @torch.no_grad()
    def fit(self, encoder: Encoder, context: EpochContext) -> Tensor:
        """Fit the Gaussian that `sample` draws from to the train split, in eval mode; returns its latents (M, P)."""
        training = encoder.training
        encoder.eval()
        latents = torch.cat([self.latents(encoder(batch.inputs)) for batch in context.batches()])
        encoder.train(training)
        mean, root = fit_gaussian(latents)
        self.mean.copy_(mean)
        self.root.copy_(root)
        return latents

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator, like: Tensor | None = None) -> Tensor:
        """Images (n, C, H, W) of latents drawn and put back on the sphere, as `Generative.sample` says.

        Without `like` from one Gaussian of all training latents, else along the principal directions of those given.
        """
        if like is None:
            drawn = draw_gaussian(self.mean, self.root, n, rng)
        else:
            drawn = principal_like(like, n, rng, _DIRECTIONS)
        return self.decode(F.normalize(drawn.float(), dim=1))
