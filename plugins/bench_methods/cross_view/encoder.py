"""The encoder of an image whose views have encoders of their own.

Shapes: N images of H x W pixels, V views, D features of each.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench_core import DataSpec, Encoder, NoConfig

from .views import Views


class ViewsEncoder(Encoder):
    """Splits an image into views and encodes each by its own network; features lie side by side."""

    def __init__(self, data: DataSpec, views: Views, new_encoder: Callable[[DataSpec], Encoder]) -> None:
        """Build an encoder for each view.

        Args:
            data: Images of red, green and blue.
            views: The views.
            new_encoder: Function that builds an encoder for a description.
        """
        super().__init__(data, NoConfig())
        self.views = views
        encoders = {name: new_encoder(spec) for name, spec in views.specs(data).items()}
        self.dims = {name: encoder.dim for name, encoder in encoders.items()}
        self.dim = sum(self.dims.values())
        self.encoders = nn.ModuleDict(encoders)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the features (N, V D) of images (N, 3, H, W) in [0, 1]."""
        return self.all_features(inputs)[0]

    def all_features(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the features (N, V D) of images (N, 3, H, W) in [0, 1], and those (N, D) of each view by its name."""
        of_views = self.features(self.views.split(inputs))
        return torch.cat(list(of_views.values()), 1), of_views

    def features(self, views: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the features (N, D) of each view, by its name.

        Args:
            views: What `Views.split` returns.
        """
        return {name: self.encoders[name](view) for name, view in views.items()}

    def maps(self, inputs: Tensor) -> dict[str, Any]:
        """Return the maps of all views, layer by layer: `l_conv1`, `ab_conv1`, `l_conv2`, ..."""
        return self.features_and_maps(inputs)[1]

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, dict[str, Any]]:
        """Return features (N, V D) and all maps of one pass."""
        features, maps = list[Tensor](), list[dict[str, Any]]()
        for name, view in self.views.split(inputs).items():
            encoder = self.encoders[name]
            assert isinstance(encoder, Encoder), "new_encoder builds them"
            of_view, maps_of_view = encoder.features_and_maps(view)
            features.append(of_view)
            maps.append({f"{name}_{layer}": values for layer, values in maps_of_view.items()})
        layers = zip(*(of_view.items() for of_view in maps), strict=True)
        return torch.cat(features, 1), {name: values for layer in layers for name, values in layer}
