"""Models of torchvision, with its own weights, those of a file, or those of the seed.

Source: torchvision.models, https://pytorch.org/vision/stable/models.html
Note:   Features are what the model computes before its classifier. Images are resized to the model's own size; without
    weights of torchvision that is 224, with ImageNet's mean and deviation, and bilinear.

Shapes: N images, D features.
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, OutsideWeights, hookimpl, param
from bench_core.errors import RequestError, did_you_mean, one_line, shown

from .reading import Reading, Wanted, as_map, deviation_param, mean_param, size_param, unreadable
from .weights import digest_of_file, digest_of_tensors, file_at, load_into

_CLASSIFIERS = ("fc", "classifier", "heads", "head")  # where torchvision's models keep theirs
_STAGES = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True, kw_only=True)
class TorchvisionConfig(Config):
    """Parameters of the model: its name, its weights, and how images are read."""

    model: str = param("resnet18", "name of a classifier in torchvision.models", "ours: small")
    weights: str = param(
        "none", "DEFAULT or another name of torchvision, a file, or none: those of the seed", "ours", in_key=False
    )
    size: int = size_param()
    mean: tuple[float, ...] = mean_param()
    deviation: tuple[float, ...] = deviation_param()


class TorchvisionModel(Encoder):
    """Classifier of torchvision without its last part.

    `torchvision_model.weights=DEFAULT` has torchvision's weights, `FILE` those of a file; without, the seed gives them,
    for any method to train.
    """

    Config = TorchvisionConfig
    kinds = frozenset({"image"})

    def __init__(self, data: DataSpec, config: TorchvisionConfig) -> None:
        """Build the model and load its weights."""
        super().__init__(data, config)
        weights, wanted = _weights(config), _wanted(config)
        self.net, self.reading = _network(config.model, weights), Reading(wanted)
        self.dim = _dim(self, wanted)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, D) of images (N, C, H, W) in [0, 1]."""
        output = self.net(self.reading(inputs))
        features: Tensor = output if isinstance(output, Tensor) else output[0]  # with auxiliary outputs in training
        return features.flatten(1)

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return `layer1` to `layer4` where there are such, else the map before pooling, else the features."""
        maps: dict[str, Tensor] = {}

        def keep(name: str, module: nn.Module, taken: Any, output: Tensor) -> None:
            maps[name] = output.movedim(-1, 1) if _is_channels_last(self.net) else output

        names = [name for name in (*_STAGES, "features") if isinstance(getattr(self.net, name, None), nn.Module)]
        hooks = [self.net.get_submodule(name).register_forward_hook(functools.partial(keep, name)) for name in names]
        try:
            features = self(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return maps or {"features": as_map(features)}

    @classmethod
    def outside_weights(cls, config: TorchvisionConfig) -> OutsideWeights | None:
        """Return name and digest of the weights; torchvision's are fetched, unless they are there already."""
        weights = _weights(config)
        if weights is None:
            return None
        wanted = _wanted(config)
        if isinstance(weights, Path):
            digest = wanted.in_digest(digest_of_file(weights))
            return OutsideWeights(name=f"{config.model}:{weights.stem}", digest=digest, source=weights.name)
        digest, trained_on = wanted.in_digest(_digest(config.model, weights)), weights.name.partition("_")[0]
        return OutsideWeights(
            name=f"{config.model}:{weights.name}",
            digest=digest,
            trained_on="ImageNet-1k" if trained_on == "IMAGENET1K" else "",
            source=f"torchvision {weights.url.rpartition('/')[2]}",
        )

    @classmethod
    def skip_reason(cls, data: DataSpec, config: TorchvisionConfig) -> str | None:
        """Return a reason unless the data are gray or colour images."""
        return unreadable(data)


def _weights(config: TorchvisionConfig) -> Any:
    """Return the file of the weights, torchvision's description of its own, or None for those of the seed.

    Raises:
        RequestError: There is no such model, or no such weights.
    """
    from torchvision import models  # here, because importing it takes seconds

    known = models.list_models(module=models)
    if config.model not in known:
        wrong = f"torchvision has no classifier {shown(config.model)}{did_you_mean(config.model, known)}"
        raise RequestError(wrong)
    if config.weights == "none":
        return None
    own = models.get_model_weights(config.model)
    if config.weights in own.__members__:
        return own[config.weights]
    return file_at("torchvision_model.weights", config.weights, f"none, {', '.join(own.__members__)}")


def _wanted(config: TorchvisionConfig) -> Wanted:
    """Return how the model's images are read."""
    weights = _weights(config)
    own = Wanted(size=(224, 224), interpolation="bilinear")
    if weights is not None and not isinstance(weights, Path):
        said = weights.transforms()
        side, mode = said.crop_size[0], said.interpolation.value
        own = Wanted(size=(side, side), mean=tuple(said.mean), deviation=tuple(said.std), interpolation=mode)
    return own.changed("torchvision_model", config)


def _network(name: str, weights: Any) -> nn.Module:
    """Return a model without its classifier."""
    from torchvision import models

    of_file = isinstance(weights, Path)
    extra = {"init_weights": True} if name in ("googlenet", "inception_v3") and (of_file or weights is None) else {}
    try:
        network: nn.Module = models.get_model(name, weights=None if of_file else weights, **extra)
    except OSError as error:  # its download: there is no network
        raise RequestError(
            f"the weights of {name} cannot be fetched ({one_line(str(error))}). Give a file of them: "
            "--set torchvision_model.weights=FILE"
        ) from error
    classifier = next((each for each in _CLASSIFIERS if isinstance(getattr(network, each, None), nn.Module)), None)
    if classifier is None:
        raise RequestError(f"torchvision_model.model = {name!r} has no classifier that is known here")
    setattr(network, classifier, nn.Identity())
    if of_file:
        load_into(network, weights)
    return network


@functools.cache
def _digest(name: str, weights: Any) -> str:
    """Return the digest of torchvision's own weights, once in a process; the seeds' stream stays where it is."""
    with torch.random.fork_rng([]):
        return digest_of_tensors(_network(name, weights).state_dict())


def _is_channels_last(network: nn.Module) -> bool:
    """Return whether the model's maps are (N, h, w, D)."""
    return type(network).__name__ == "SwinTransformer"


@torch.no_grad()
def _dim(encoder: TorchvisionModel, wanted: Wanted) -> int:
    """Return the number of features, found with one empty image."""
    assert wanted.size
    training = encoder.training
    try:
        return int(encoder.eval()(torch.zeros(1, wanted.channels, *wanted.size)).shape[1])
    except (RuntimeError, AssertionError) as error:
        side = wanted.size[0]
        raise RequestError(
            f"the model cannot read images of {side} x {side} pixels: {one_line(str(error))}; "
            "set another torchvision_model.size"
        ) from error
    finally:
        encoder.train(training)


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"torchvision_model": TorchvisionModel}
