"""Models of timm, with weights of its hub, of a file, or of the seed.

Source: timm (PyTorch Image Models), https://github.com/huggingface/pytorch-image-models
Note:   Features are what the model computes before its classifier. Images are resized to the model's own size.
    Without weights, mean and deviation are ImageNet's and images are resized bicubically.

Shapes: N images, D features.
"""

import functools
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, OutsideWeights, hookimpl, param
from bench_core.errors import RequestError, did_you_mean, one_line, shown

from .reading import MODES, Reading, Wanted, as_map, deviation_param, mean_param, size_param, unreadable
from .weights import digest_of_file, digest_of_tensors, file_at, load_into

_MISSING = "timm is not installed; type: pip install 'bench-core[timm]'"
_DATA = {  # words of timm's tags, and the data that they stand for
    "in1k": "ImageNet-1k", "in12k": "ImageNet-12k", "in21k": "ImageNet-21k", "in22k": "ImageNet-22k",
    "lvd142m": "LVD-142M", "lvd1689m": "LVD-1689M", "laion2b": "LAION-2B", "laion400m": "LAION-400M",
    "webli": "WebLI", "openai": "WebImageText", "yfcc100m": "YFCC-100M", "ig1b": "Instagram-1B",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TimmConfig(Config):
    """Parameters of the model: its name, its weights, and how images are read."""

    model: str = param("resnet18", "name in timm, with or without the tag of weights", "ours: small")
    weights: str = param(
        "auto", "hub, none, a file, or auto: hub where the name has a tag, else none", "ours", in_key=False
    )
    size: int = size_param()
    mean: tuple[float, ...] = mean_param()
    deviation: tuple[float, ...] = deviation_param()


class Timm(Encoder):
    """Any model of timm, as it came or from scratch.

    `timm.model=resnet18.a1_in1k` has the weights of its tag; `timm.weights=FILE` has those of a file, and a name
    without tag is built from the seed, for any method to train.
    """

    Config = TimmConfig
    kinds = frozenset({"image"})

    def __init__(self, data: DataSpec, config: TimmConfig) -> None:
        """Build the model, load its weights and set it to the size of its images."""
        super().__init__(data, config)
        wanted, weights = _wanted(config), _weights(config)
        network: Any = _network(config.model, weights)
        if config.size and hasattr(network, "set_input_size"):  # of transformers: it resamples their positions
            network.set_input_size(img_size=wanted.size)
        self.reading, self.net = Reading(wanted), network
        self.dim = _dim(self, wanted)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, D) of images (N, C, H, W) in [0, 1]."""
        net: Any = self.net
        features: Tensor = net.forward_head(net.forward_features(self.reading(inputs)), pre_logits=True)
        return features.flatten(1)

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs of the model's stages or blocks, `map1` to the last; where it tells none, the final."""
        net: Any = self.net
        images = self.reading(inputs)
        if hasattr(net, "forward_intermediates"):
            maps = net.forward_intermediates(images, output_fmt="NCHW", intermediates_only=True)
            return {f"map{number}": each for number, each in enumerate(maps, 1)}
        final = net.forward_features(images)
        if final.ndim != 4:
            final = net.forward_head(final, pre_logits=True).flatten(1)
        return {"final": as_map(final)}

    @classmethod
    def outside_weights(cls, config: TimmConfig) -> OutsideWeights | None:
        """Return name and digest of the weights; of the hub they are fetched, unless they are there already."""
        weights = _weights(config)
        if weights is None:
            return None
        wanted = _wanted(config)
        if isinstance(weights, Path):
            name = config.model.partition(".")[0]
            digest = wanted.in_digest(digest_of_file(weights))
            return OutsideWeights(name=f"{name}:{weights.stem}", digest=digest, source=weights.name)
        name, hub, digest, revision = _facts_of_hub(config.model)
        words = name.partition(".")[2].split("_")
        trained_on = ", ".join(_DATA[word] for word in words if word in _DATA)
        digest = wanted.in_digest(digest)
        return OutsideWeights(name=name, digest=digest, trained_on=trained_on, revision=revision, source=f"hub {hub}")

    @classmethod
    def skip_reason(cls, data: DataSpec, config: TimmConfig) -> str | None:
        """Return a reason unless the data are gray or colour images."""
        if find_spec("timm") is None:
            return _MISSING
        return unreadable(data)


def _weights(config: TimmConfig) -> Path | str | None:
    """Return the file of the weights, "hub", or None for those of the seed."""
    if find_spec("timm") is None:
        raise RequestError(_MISSING)
    if config.weights == "none" or (config.weights == "auto" and "." not in config.model):
        return None
    if config.weights in ("hub", "auto"):
        return "hub"
    return file_at("timm.weights", config.weights, "hub, none or auto")


def _wanted(config: TimmConfig) -> Wanted:
    """Return how the model's images are read; with weights of the seed only the size is the model's.

    Raises:
        RequestError: There is no such model, or it has no weights of this tag.
    """
    import timm  # an extra; importing it takes seconds

    base = config.model.partition(".")[0]
    if not timm.is_model(base):
        known = timm.list_models()
        raise RequestError(f"timm has no model {shown(config.model)}{did_you_mean(base, known)}")
    known = timm.list_pretrained(f"{base}.*") if "." in config.model else []
    if "." in config.model and config.model not in known and config.weights in ("hub", "auto"):
        raise RequestError(f"timm has no weights {shown(config.model)}; of {base} it has: {', '.join(known) or 'none'}")
    described = timm.get_pretrained_cfg(config.model if config.model in known else base)
    size = described.input_size if described else (3, 224, 224)
    own = Wanted(size=(size[1], size[2]))
    if described and _weights(config) is not None:
        mode = described.interpolation
        own = Wanted(
            size=(size[1], size[2]),
            channels=size[0],
            mean=tuple(described.mean),
            deviation=tuple(described.std),
            interpolation=mode if mode in MODES else "bicubic",
        )
    return own.changed("timm", config)


def _network(name: str, weights: Path | str | None) -> nn.Module:
    """Return a model without its classifier."""
    import timm

    try:
        network: nn.Module = timm.create_model(name, pretrained=weights == "hub", num_classes=0)
    except Exception as error:  # the hub's client raises errors of many kinds where there is no network
        if weights != "hub":
            raise
        raise RequestError(
            f"the weights of {name} cannot be fetched from the hub ({one_line(str(error))}). Give a file of them: "
            "--set timm.weights=FILE, or none: --set timm.weights=none"
        ) from error
    if isinstance(weights, Path):
        load_into(network, weights)
    return network


@functools.cache
def _facts_of_hub(name: str) -> tuple[str, str, str, str]:
    """Return full name, hub, digest and revision of weights of the hub; once in a process, since it reads them all."""
    with torch.random.fork_rng([]):  # a plan must not move the seeds' stream
        network: Any = _network(name, "hub")
    described = network.pretrained_cfg
    tag, hub = described.get("tag"), described.get("hf_hub_id") or described.get("url") or "timm"
    full = name if "." in name or not tag else f"{name}.{tag}"
    return full, hub, digest_of_tensors(network.state_dict()), _revision(hub)


def _revision(hub: str) -> str:
    """Return the commit of the hub's files that were read; empty where it is not known."""
    from huggingface_hub import try_to_load_from_cache

    for file in ("model.safetensors", "pytorch_model.bin"):
        path = try_to_load_from_cache(hub, file) if hub.count("/") == 1 else None
        if isinstance(path, str):
            return Path(path).parent.name
    return ""


@torch.no_grad()
def _dim(encoder: Timm, wanted: Wanted) -> int:
    """Return the number of features, found with one empty image; the model is put back in the mode it had."""
    assert wanted.size
    training = encoder.training
    try:
        return int(encoder.eval()(torch.zeros(1, wanted.channels, *wanted.size)).shape[1])
    except (RuntimeError, AssertionError) as error:
        side = wanted.size[0]
        raise RequestError(
            f"the model cannot read images of {side} x {side}: {one_line(str(error))}; set another timm.size"
        ) from error
    finally:
        encoder.train(training)


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"timm": Timm}
