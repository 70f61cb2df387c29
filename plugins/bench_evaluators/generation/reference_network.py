"""Two feature spaces without a download: a small network of ours, and principal components of pixels.

The network is trained on the train split with its labels, by one recipe and one seed, so that all methods on a dataset
are compared by the same network; it is never the encoder under test. Principal components need no labels.

Source: ours. Two strided convolutions and a linear layer to 64 features, each of mean 0 and variance 1 on the train
        split; AdamW, 300 steps of 128 images, one cycle.

Shapes: N images, C channels, H x W pixels, D = 64 features, K classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench_core import stream, stream_seed
from bench_core.data import digest_of

FEATURES = 64
STEPS = 300
_BATCH = 128  # images in a training step
_RATE = 4e-3  # peak learning rate
_WIDTHS = (16, 32)  # channels of the convolutions
_SIDE = 32  # pixels: larger images are averaged down to this side
_BLOCK = 1000  # images whose features are computed at once
_SEED = 0  # fixed, so that the network does not depend on a run's seed


class ReferenceNetwork(nn.Module):
    """A classifier whose last features are the space in which images are compared."""

    def __init__(self, shape: tuple[int, ...], num_classes: int) -> None:
        """Initialise random weights.

        Args:
            shape: (C, H, W) of the images.
            num_classes: K.
        """
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((shape[0], *_WIDTHS)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        height, width = (-(-min(side, _SIDE) // 4) for side in shape[1:])
        layers += [nn.Flatten(), nn.Linear(_WIDTHS[-1] * height * width, FEATURES, bias=False)]
        self.layers = nn.Sequential(*layers, nn.BatchNorm1d(FEATURES, affine=False))
        self.classifier = nn.Linear(FEATURES, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) in [0, 1], with sides of at most 32 pixels, to features (N, D)."""
        features: Tensor = self.layers(images)
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Map features (N, D) to logits (N, K)."""
        logits: Tensor = self.classifier(F.relu(features))
        return logits

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Map uint8 images (N, C, H, W) to features (N, D), in eval mode."""
        self.eval()
        return torch.cat([self(_small(part)) for part in torch.split(images, _BLOCK)])

    def digest(self) -> str:
        """Return 8 hex digits of the SHA-256 of all weights, as training on another machine may round differently."""
        return digest_of(*self.state_dict().values()).rpartition(":")[2][:8]


def train_reference(images: Tensor, labels: Tensor, num_classes: int) -> ReferenceNetwork:
    """Train the network of a dataset; the same data gives the same network, and the global generator stays as it was.

    It is trained on one thread: on more, sums are taken in another order, and after 300 steps distances differ by some
    per cent. Such small steps would not be faster on more threads.

    Args:
        images: (N, C, H, W) uint8, on the CPU, on which the network is trained.
        labels: (N,) int64.
        num_classes: K.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(stream_seed(_SEED, "reference network", "init"))
        network = ReferenceNetwork(tuple(images.shape[1:]), num_classes).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=STEPS)
    rng = stream(_SEED, "reference network", "batches")
    with _one_thread():
        for _ in range(STEPS):
            chosen = torch.randint(len(images), (_BATCH,), generator=rng)
            loss = F.cross_entropy(network.logits(network(_small(images[chosen]))), labels[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


class PixelComponents:
    """Principal components of pixels: they need no labels, and no decoder can be trained to fool them."""

    def __init__(self, images: Tensor) -> None:
        """Fit at most 64 components to uint8 images (N, C, H, W)."""
        from sklearn.decomposition import PCA

        pixels = _pixels(images)
        self.size = min(FEATURES, *pixels.shape)
        self._pca = PCA(self.size, random_state=_SEED).fit(pixels.numpy())

    def features(self, images: Tensor) -> Tensor:
        """Map images (N, C, H, W) uint8 to (N, size), unscaled: distances are those of pixel values in [0, 1]."""
        return torch.from_numpy(self._pca.transform(_pixels(images).numpy()))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one thread, and restore the number of threads afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _pixels(images: Tensor) -> Tensor:
    """Return small versions of uint8 images as rows (N, C h w) in [0, 1]."""
    return torch.cat([_small(part).flatten(1) for part in torch.split(images, _BLOCK)])


def _small(images: Tensor) -> Tensor:
    """Convert uint8 images to [0, 1], and average sides of more than 32 pixels down to 32."""
    values = images.float() / 255
    height, width = (min(side, _SIDE) for side in images.shape[2:])
    return values if (height, width) == images.shape[2:] else F.adaptive_avg_pool2d(values, (height, width))
