"""Vision models of the Hugging Face hub, or of a folder that `save_pretrained` wrote.

Source: transformers, https://github.com/huggingface/transformers (AutoModel)
Note:   No code of a model's folder is run. Images are resized to the model's own size; where the folder has no
    preprocessor_config.json, mean and deviation are 0.5.

Shapes: N images, D features, T tokens, h x w patches.
"""

import functools
import inspect
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench_core import Config, DataSpec, Encoder, OutsideWeights, hookimpl, param
from bench_core.errors import RequestError, one_line, shown

from .reading import Reading, Wanted, as_map, deviation_param, mean_param, size_param, unreadable
from .weights import digest_of_tensors

_MISSING = "transformers is not installed; type: pip install 'bench-core[huggingface]'"
_BICUBIC, _BILINEAR = 3, 2  # numbers of PIL, as files hold them


@dataclass(frozen=True, kw_only=True)
class HuggingFaceConfig(Config):
    """Parameters of the model: where it is, how tokens become features, and how images are read."""

    model: str = param("", "name on the hub, or a folder; empty is none", "ours: it has to be chosen", in_key=False)
    revision: str = param("", "branch, tag or commit on the hub; empty is the newest", "ours", in_key=False)
    pool: Literal["auto", "cls", "mean", "pooler"] = param(
        "auto",
        "features: class token, mean of the other tokens, the model's pooler; auto: cls if any, else mean",
        "ours",
    )
    size: int = size_param()
    mean: tuple[float, ...] = mean_param()
    deviation: tuple[float, ...] = deviation_param()


class HuggingFace(Encoder):
    """Vision model of the Hugging Face hub or a folder.

    `huggingface.model=facebook/dinov2-small`, or a folder with config.json and weights. Of a model of images and text
    the part that reads images is taken.
    """

    Config = HuggingFaceConfig
    kinds = frozenset({"image"})

    def __init__(self, data: DataSpec, config: HuggingFaceConfig) -> None:
        """Load the model, and find the number of its features with one empty image."""
        super().__init__(data, config)
        self.net, missing = _network(config.model, config.revision)
        wanted = _wanted(config, self.net)
        has_class = any(name.endswith(("cls_token", "class_embedding")) for name, _ in self.net.named_parameters())
        self.pool = ("cls" if has_class else "mean") if config.pool == "auto" else config.pool
        if self.pool == "cls" and not has_class:
            raise RequestError(f"{config.model} has no class token; type --set huggingface.pool=mean")
        _require_weights(config.model, missing, self.pool)
        if self.pool != "pooler" and isinstance(getattr(self.net, "pooler", None), nn.Module):
            self.net.pooler.requires_grad_(False)  # nothing reads it
        net: Any = self.net
        patch = getattr(net.config, "patch_size", None)
        self.patch = int(patch) if isinstance(patch, int) else None
        self.other_size = "interpolate_pos_encoding" in inspect.signature(net.forward).parameters and config.size > 0
        self.reading = Reading(wanted)
        self.dim = _dim(self, wanted)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, D) of images (N, C, H, W) in [0, 1]."""
        return self.features_and_maps(inputs)[0]

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the last map, `last`: (N, D, h, w), or (N, D, T) where the tokens make no grid."""
        return self.features_and_maps(inputs)[1]

    def features_and_maps(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return features and map of one pass."""
        images = self.reading(inputs)
        output = self.net(pixel_values=images, **({"interpolate_pos_encoding": True} if self.other_size else {}))
        last: Tensor = output.last_hidden_state
        if last.ndim == 3:
            last = self._grid(last, images.shape[2:])
        if self.pool == "cls":
            features = output.last_hidden_state[:, 0]
        elif self.pool == "pooler":
            if getattr(output, "pooler_output", None) is None:
                raise RequestError("the model has no pooler; type --set huggingface.pool=mean")
            features = output.pooler_output.flatten(1)
        else:
            features = last.flatten(2).mean(2)
        return features.float(), {"last": as_map(last)}

    def _grid(self, tokens: Tensor, size: torch.Size) -> Tensor:
        """Return the tokens of patches (N, D, h, w); class and register tokens come first and are left out."""
        if not self.patch:
            return tokens.transpose(1, 2)
        height, width = (side // self.patch for side in size)
        first = tokens.shape[1] - height * width
        if first < 0:
            return tokens.transpose(1, 2)
        return tokens[:, first:].transpose(1, 2).reshape(len(tokens), -1, height, width)

    @classmethod
    def outside_weights(cls, config: HuggingFaceConfig) -> OutsideWeights:
        """Return name and digest of the weights; of the hub they are fetched, unless they are there already."""
        network, missing = _read(config.model, config.revision)
        tensors = {name: tensor for name, tensor in network.state_dict().items() if name not in missing}
        architecture: Any = network.config
        described = f"{type(network).__name__} {digest_of_tensors(tensors)} {_described(architecture)}"
        digest = _wanted(config, network).in_digest(described)
        folder = Path(config.model).expanduser()
        if folder.is_dir():
            return OutsideWeights(name=folder.resolve().name, digest=digest, source=folder.resolve().name)
        revision = str(getattr(architecture, "_commit_hash", None) or config.revision)
        return OutsideWeights(
            name=config.model.rpartition("/")[2], digest=digest, revision=revision, source=f"hub {config.model}"
        )

    @classmethod
    def skip_reason(cls, data: DataSpec, config: HuggingFaceConfig) -> str | None:
        """Return a reason unless a model is chosen and the data are gray or colour images."""
        if find_spec("transformers") is None:
            return _MISSING
        if not config.model:
            return "no model is chosen: type --set huggingface.model=NAME, with a name on the hub or a folder"
        return unreadable(data)


def _described(architecture: Any) -> str:
    """Return what an architecture's config says, without where it was read from and which library wrote it."""
    own = architecture.to_dict()
    return str(
        sorted((k, str(v)) for k, v in own.items() if k not in ("_name_or_path", "transformers_version", "dtype"))
    )


def _network(model: str, revision: str) -> tuple[Any, tuple[str, ...]]:
    """Load the part of a model that reads images, and the names of its weights that the file lacks.

    Raises:
        RequestError: There is no such model, or it needs code of its own.
    """
    if find_spec("transformers") is None:
        raise RequestError(_MISSING)
    from transformers import AutoModel  # an extra; importing it takes seconds

    folder = Path(model).expanduser()
    try:
        network, info = AutoModel.from_pretrained(
            str(folder) if folder.is_dir() else model,
            revision=revision or "main",
            trust_remote_code=False,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except Exception as error:  # the hub's client raises errors of many kinds; strangers' folders as well
        raise RequestError(
            f"huggingface.model = {shown(model)} cannot be loaded ({one_line(str(error))}). Give a name on the hub, or "
            "a folder with config.json and weights: --set huggingface.model=FOLDER"
        ) from error
    mismatched = sorted(str(each[0]) for each in info["mismatched_keys"])
    if mismatched:
        raise RequestError(f"{model}: weights of other shapes than its config.json says, such as {mismatched[0]}")
    missing = set(info["missing_keys"])
    if isinstance(getattr(network, "vision_model", None), nn.Module):
        network = network.vision_model
        missing = {name.removeprefix("vision_model.") for name in missing if name.startswith("vision_model.")}
    return network.train(), tuple(sorted(missing))


def _read(model: str, revision: str) -> tuple[Any, tuple[str, ...]]:
    """Load a model for its digest; the seeds' stream stays where it is."""
    if not Path(model).expanduser().is_dir():
        return _read_hub(model, revision)
    with torch.random.fork_rng([]):
        return _network(model, revision)


@functools.lru_cache(maxsize=1)
def _read_hub(model: str, revision: str) -> tuple[Any, tuple[str, ...]]:
    """Load a model of the hub, once for all chains of a plan; folders may change in between."""
    with torch.random.fork_rng([]):
        return _network(model, revision)


def _require_weights(model: str, missing: tuple[str, ...], pool: str) -> None:
    """Raise RequestError if the file lacks weights that features depend on."""
    used = [name for name in missing if pool == "pooler" or not name.startswith("pooler.")]
    if used:
        told = ", ".join(used[:3]) + (f" and {len(used) - 3} more" if len(used) > 3 else "")
        hint = "; type --set huggingface.pool=mean" if all(name.startswith("pooler.") for name in used) else ""
        raise RequestError(f"the file of {model} lacks weights that the model uses: {told}{hint}")


def _wanted(config: HuggingFaceConfig, network: Any) -> Wanted:
    """Return how images are read: as preprocessor_config.json says, else with mean and deviation 0.5."""
    from transformers.image_processing_base import ImageProcessingMixin

    folder = Path(config.model).expanduser()
    where = str(folder) if folder.is_dir() else config.model
    try:
        said, _ = ImageProcessingMixin.get_image_processor_dict(where, revision=config.revision or "main")
    except OSError:  # the model has no such file
        said = {}
    channels = getattr(network.config, "num_channels", 3)
    own = getattr(network.config, "image_size", None) or 224
    size = said.get("crop_size") or said.get("size") or own
    plain = said.get("do_normalize", True)
    wanted = Wanted(
        size=_sides(size, own),
        channels=channels,
        mean=tuple(said.get("image_mean") or (0.5,) * channels) if plain else (),
        deviation=tuple(said.get("image_std") or (0.5,) * channels) if plain else (),
        interpolation="bicubic" if said.get("resample", _BILINEAR) == _BICUBIC else "bilinear",
    )
    return wanted.changed("huggingface", config)


def _sides(size: Any, own: Any) -> tuple[int, int]:
    """Return height and width of what a config calls a size: a number, a pair, or a mapping."""
    if isinstance(size, dict):
        shortest = size.get("shortest_edge")
        size = (size["height"], size["width"]) if "height" in size else shortest or own
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height), int(width)


@torch.no_grad()
def _dim(encoder: HuggingFace, wanted: Wanted) -> int:
    """Return the number of features, found with one empty image."""
    assert wanted.size
    training = encoder.training
    try:
        return int(encoder.eval()(torch.zeros(1, wanted.channels, *wanted.size)).shape[1])
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise RequestError(
            f"the model cannot read images of {wanted.size[0]} x {wanted.size[1]} pixels: {one_line(str(error))}"
        ) from error
    finally:
        encoder.train(training)


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"huggingface": HuggingFace}
