"""A module that a function in a Python file of yours builds.

Source: ours.
Note:   `build()` is called without arguments and returns a `torch.nn.Module` that takes images (N, C, H, W) and returns
    features (N, D), or a map (N, D, h, w) that is averaged. The file is run: choose only files that you trust. The key
    knows the file, the file of weights, and the tensors that `build` makes with seed 0; not what the file imports.

Shapes: N images, D features.
"""

import functools
import hashlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, OutsideWeights, hookimpl, param
from bench_core.errors import RequestError, did_you_mean, shown

from .reading import RGB, Reading, Wanted, as_features, as_map, unreadable
from .weights import digest_of_file, digest_of_tensors, file_at, load_into

_SETTING = "python.factory"


@dataclass(frozen=True, kw_only=True)
class PythonConfig(Config):
    """Parameters of the module: who builds it, its weights, and how images are read."""

    factory: str = param(
        "", "FILE.py:FUNCTION that builds the module; empty is none", "ours: it has to be chosen", in_key=False
    )
    weights: str = param("", "file of the module's weights; empty leaves those of the function", "ours", in_key=False)
    channels: int = param(RGB, "channels that the module reads; gray is repeated to as many", "ours: colour", ge=1)
    size: int = param(0, "side of the images in pixels; 0 is the data's own", "ours: as they are", ge=0)
    mean: tuple[float, ...] = param((), "mean that is subtracted; empty is none", "ours: the module does it")
    deviation: tuple[float, ...] = param((), "deviation divided by; empty is none", "ours: the module does it", gt=0)


class PythonModule(Encoder):
    """Module that your own Python file builds (ours).

    `python.factory=FILE.py:build` calls `build()`; `python.weights=FILE` loads its weights. Images come in [0, 1].
    """

    Config = PythonConfig
    kinds = frozenset({"image"})

    def __init__(self, data: DataSpec, config: PythonConfig) -> None:
        """Build the module, load its weights, and find the number of its features with one empty image."""
        super().__init__(data, config)
        sides = (config.size, config.size) if config.size else None
        wanted = Wanted(size=sides, channels=config.channels, mean=(), deviation=()).changed("python", config)
        self.reading, self.net = Reading(wanted), _module(config)
        training = self.training
        with torch.no_grad():
            self.dim = self.eval()(torch.zeros(1, *data.shape)).shape[1]
        self.train(training)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, D) of images (N, C, H, W) in [0, 1]."""
        return as_features(self._output(inputs))

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the module's `output`: a map, or features as a map of one location."""
        return {"output": as_map(self._output(inputs))}

    def _output(self, inputs: Tensor) -> Tensor:
        output = self.net(self.reading(inputs))
        if isinstance(output, Tensor) and output.ndim in (2, 4):
            return output
        told = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise RequestError(f"the module must return features (N, D) or a map (N, D, h, w), got {told}")

    @classmethod
    def outside_weights(cls, config: PythonConfig) -> OutsideWeights:
        """Return the name of the file, and the digest of it, of its weights and of the tensors with seed 0."""
        file, _ = _factory(config)
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            parts = [digest_of_file(file), config.factory.rpartition(":")[2]]
            parts.append(digest_of_tensors(_module(config).state_dict()))
        source, name = file.name, file.stem
        if config.weights:
            weights = file_at("python.weights", config.weights)
            parts.append(digest_of_file(weights))
            source, name = f"{file.name}, {weights.name}", f"{name}:{weights.stem}"
        return OutsideWeights(name=name, digest=hashlib.sha256(" ".join(parts).encode()).hexdigest(), source=source)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: PythonConfig) -> str | None:
        """Return a reason unless a file is chosen and the module reads these images."""
        if not config.factory:
            return "no module is chosen: type --set python.factory=FILE.py:build"
        return unreadable(data, config.channels)


def _factory(config: PythonConfig) -> tuple[Path, Callable[[], Any]]:
    """Return the file and the function that a Config names.

    Raises:
        RequestError: There is no such file or function.
    """
    path, _, name = config.factory.rpartition(":")
    if not path or not name.isidentifier():
        raise RequestError(f"{_SETTING} = {shown(config.factory)} must be FILE.py:FUNCTION, such as net.py:build")
    file = file_at(_SETTING, path)
    found = _run(file, digest_of_file(file))
    if name not in found:
        own = [each for each, value in found.items() if callable(value)]
        raise RequestError(f"{file} has no function {name!r}{did_you_mean(name, own)}")
    return file, found[name]


@functools.lru_cache(maxsize=8)
def _run(file: Path, digest: str) -> dict[str, Any]:
    """Run a file, once for each content, and return what it defines."""
    name = f"bench_python_file_{digest[:16]}"
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    if spec is None or spec.loader is None:
        raise RequestError(f"{_SETTING} names {file.name}, which is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return vars(module)


def _module(config: PythonConfig) -> nn.Module:
    """Build the module and load its weights."""
    _, build = _factory(config)
    module = build()
    if not isinstance(module, nn.Module):
        raise RequestError(f"{config.factory} must return a torch.nn.Module, got a {type(module).__name__}")
    if config.weights:
        load_into(module, file_at("python.weights", config.weights))
    return module


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"python": PythonModule}
