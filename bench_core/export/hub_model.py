"""The class that reads a folder of `bench convert --to huggingface`, by Hugging Face's own `from_pretrained`.

    from bench_core.export.hub_model import HubEncoder
    encoder = HubEncoder.from_pretrained("DIR")  # or the name of a repository on the hub

No code comes with the folder: the encoder is the one that is installed here.
"""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from bench_core.export.load import build_encoder
from bench_core.plugins import Registry, load_plugins
from bench_core.store.data_spec import spec_from_json


class HubEncoder(nn.Module, PyTorchModelHubMixin, library_name="bench-core"):
    """An encoder whose folder or repository holds `config.json` and `model.safetensors`."""

    def __init__(self, encoder: Mapping[str, Any], data: Mapping[str, Any], registry: Registry | None = None) -> None:
        """Build the encoder that `config.json` describes, with weights that `from_pretrained` replaces.

        Args:
            encoder: Its id, revision and parameters.
            data: The description of the data that it was trained on.
            registry: Plugins to use, for tests; None loads those that are installed.
        """
        super().__init__()
        self.encoder = build_encoder(encoder, spec_from_json(data, "config.json"), registry or load_plugins())
        self.encoder.eval().requires_grad_(False)

    def forward(self, inputs: Any) -> Tensor:
        """Return features (N, D) of images (N, C, H, W) in [0, 1]."""
        features: Tensor = self.encoder(inputs)
        return features
