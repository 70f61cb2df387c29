"""A network that exists only in a Python session, as an encoder that runs can measure.

    component = given_module(model, "resnet50 of mine")

Its weights are the key: the same network gives the same records, whatever it is called.
"""

import copy
import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from bench_core.config import NoConfig
from bench_core.contracts import DataSpec, Encoder, OutsideWeights
from bench_core.errors import RequestError, shown
from bench_core.plugins import Component

ENCODER = "module"  # name of the component


def given_module(module: nn.Module, name: str, trained_on: str = "") -> Component:
    """Return an encoder component that measures a module as it is.

    Args:
        module: Takes images (N, C, H, W) in [0, 1], or what the dataset gives, and returns features (N, D); maps
            (N, D, h, w) are averaged. It is copied, and runs in eval mode.
        name: Name of the row.
        trained_on: The data that it was trained on, as records shall say it.

    Raises:
        RequestError: `module` is no module, or the name is empty.
    """
    if not isinstance(module, nn.Module):
        raise RequestError(f"module must be a torch.nn.Module, got {shown(module)}.")
    if not isinstance(name, str) or not name.strip():
        raise RequestError(f"name must be the name of a row, like 'resnet50 of mine', got {shown(name)}.")
    kept = copy.deepcopy(module).cpu().eval().requires_grad_(False)
    weights = OutsideWeights(name=name, digest=_digest(kept), trained_on=trained_on, source="a module of this session")
    attributes = {"given": [kept], "weights": weights}  # a list: a module as attribute of a class would be a submodule
    return Component("encoder", ENCODER, "session", "0", type("GivenModule", (_GivenModule,), attributes))


class _GivenModule(Encoder):
    """A module of this Python session."""

    given: list[nn.Module]
    weights: OutsideWeights

    def __init__(self, data: DataSpec, config: NoConfig) -> None:
        """Copy the module, and find the number of its features with one empty input."""
        super().__init__(data, config)
        self.module = copy.deepcopy(self.given[0])
        if not data.shape:
            raise RequestError(f"a module cannot be measured on {data.kind}: their inputs are no tensor.")
        with torch.no_grad():
            self.dim = self(torch.zeros(2, *data.shape)).shape[1]

    def forward(self, inputs: Any) -> Tensor:
        """Return features (N, D)."""
        output = self.module(inputs)
        if not isinstance(output, Tensor) or output.ndim < 2:
            raise RequestError(f"the module must return features (N, D) or maps (N, D, h, w), got {shown(output)}.")
        return output.flatten(2).mean(2) if output.ndim > 2 else output

    def maps(self, inputs: Any) -> dict[str, Any]:
        """Return what the module gives, as maps where it gives maps."""
        output = self.module(inputs)
        return {"output": output if output.ndim > 2 else output[:, :, None]}

    @classmethod
    def outside_weights(cls, config: NoConfig) -> OutsideWeights | None:
        """Return the name and the digest of the module."""
        return cls.weights


def _digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's printed structure and of its tensors."""
    digest = hashlib.sha256(repr(module).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
