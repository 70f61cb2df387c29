"""The Inception network of FID, KID and the inception score, from a file of the user; nothing is downloaded.

Source: torch-fidelity 0.4, https://github.com/toshas/torch-fidelity, whose extractor follows the original TensorFlow
        graph of 2015 with its resizing; the file is an asset of its release v0.2.0. Another file gives other numbers,
        so only the file with this SHA-256 is accepted.

Shapes: N images, C channels, H x W pixels.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from bench_core import DataMissingError
from bench_core.data import file_digest

FILE = "weights-inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
_BATCH = 50  # images of 299 x 299 pixels at once


def inception_missing_reason(path: str | None) -> str | None:
    """Return the reason why the network cannot be loaded, or None; only `Inception` reads the file's content.

    Args:
        path: Path of the file; None is the place where torch keeps its downloads.
    """
    if find_spec("torch_fidelity") is None:
        return "Inception needs torch-fidelity: pip install 'bench-core[generation]'"
    if not _weights_path(path).is_file():
        where = "at inception_weights" if path else "in torch's hub cache"
        return f"Inception needs the file {FILE} of torch-fidelity's release v0.2.0; there is none {where}"
    return None


class Inception:
    """The network: features (N, 2048) of the last pooling, and the logits without bias for the inception score."""

    def __init__(self, path: str | None, device: torch.device) -> None:
        """Load the network.

        Args:
            path: Path of the file; None is the place where torch keeps its downloads.
            device: Device of the network.

        Raises:
            DataMissingError: The package or the file is missing, or it is another file.
        """
        if reason := inception_missing_reason(path):
            raise DataMissingError(f"{reason}.")
        file = _weights_path(path)
        if (digest := file_digest(file)) != SHA256:
            raise DataMissingError(
                f"{file} is not {FILE}: its SHA-256 is {digest[:8]}..., not {SHA256[:8]}...; "
                "download it from torch-fidelity's release v0.2.0."
            )
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        network: nn.Module = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=file)
        self._network, self._device = network.to(device), device

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Map images (N, 1 or 3, H, W) uint8 to features (N, 2048) on the CPU; a grey channel is used three times."""
        colour = images.expand(-1, 3, -1, -1)
        return torch.cat([self._network(part.to(self._device))[0].cpu() for part in torch.split(colour, _BATCH)])

    def logits(self, features: Tensor) -> Tensor:
        """Map features (N, 2048) to logits (N, 1008), without the bias, as the original does."""
        weight: Tensor = self._network.get_submodule("fc").weight  # type: ignore[assignment]  # of a linear layer
        return features @ weight.detach().cpu().T


def _weights_path(path: str | None) -> Path:
    """Return the path of the file: the given one, or the place where torch keeps its downloads."""
    return Path(path).expanduser() if path else Path(torch.hub.get_dir()) / "checkpoints" / FILE
