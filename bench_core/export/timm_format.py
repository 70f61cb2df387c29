"""Writes encoders for timm, where timm has the architecture under the same layers.

Standardising is no layer of timm's networks: mean and deviation stand in `config.json`, as in timm's own files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench_core.contracts import DataSpec
from bench_core.errors import BenchError
from bench_core.export.load import CONFIG, MODEL, Trained
from bench_core.files import read_json, write_over
from bench_core.plugins import Registry
from bench_core.store.tensors import save_tensors

_RESNETS = {"bench-core/resnet18": "resnet18", "bench-core/resnet50": "resnet50"}
_VIT = "bench-core/vit_tiny"
_LARGE = 64  # side in pixels; below it our resnets have a stem that timm's lack


def refusal(encoder: str, data: DataSpec) -> str | None:
    """Return why timm cannot have an encoder, or None.

    Args:
        encoder: Its id.
        data: The data that it was built for.
    """
    if encoder in _RESNETS:
        if min(data.shape[1:]) >= _LARGE:
            return None
        return (
            f"for images under {_LARGE} pixels {encoder} has a 3 x 3 stem without pooling, which timm's does not have"
        )
    if encoder == _VIT:
        return None
    return f"timm does not have {encoder} under the same layers (it has {', '.join([*_RESNETS, _VIT])})"


def write(trained: Trained, folder: Path, description: Mapping[str, Any]) -> None:
    """Write weights and `config.json` as `timm.create_model("local-dir:FOLDER", pretrained=True)` reads them.

    Raises:
        BenchError: The installed timm calls the layers otherwise.
    """
    import timm

    architecture, arguments = _architecture(trained)
    standardize: Any = trained.encoder.standardize
    mean, std = standardize.mean.flatten().tolist(), standardize.std.flatten().tolist()
    state = {
        name.removeprefix("net."): t for name, t in trained.encoder.state_dict().items() if name.startswith("net.")
    }
    theirs = timm.create_model(architecture, num_classes=0, **arguments).state_dict()
    if {name: t.shape for name, t in theirs.items()} != {name: t.shape for name, t in state.items()}:
        names = sorted(theirs.keys() ^ state.keys())[:4]
        raise BenchError(f"timm {timm.__version__} has other layers in {architecture}: {', '.join(names) or 'shapes'}.")
    save_tensors(folder / MODEL, state)
    config = {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": trained.encoder.dim,
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": list(trained.data.shape),
            "mean": mean,
            "std": std,
            "num_classes": 0,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
        },
        "bench": dict(description),
    }
    write_over(folder / CONFIG, config)


def read(folder: Path, registry: Registry) -> Any:
    """Read the folder by timm, and put standardising before it."""
    import timm

    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval().requires_grad_(False)
    standard = read_json(folder / CONFIG)["pretrained_cfg"]
    mean, std = (torch.tensor(standard[name]).view(-1, 1, 1) for name in ("mean", "std"))

    def features(images: Tensor) -> Tensor:
        result: Tensor = model((images - mean) / std)
        return result

    return features


def _architecture(trained: Trained) -> tuple[str, dict[str, Any]]:
    """Return timm's name of an encoder's network, and the arguments that it is made with."""
    part, data = trained.recipe["doc"]["encoder"], trained.data
    if part["id"] in _RESNETS:
        return _RESNETS[part["id"]], {"in_chans": data.shape[0]}
    net: Any = trained.encoder.net
    return "vit_tiny_patch16_224", {
        "img_size": list(data.shape[1:]),
        "patch_size": net.patch_embed.patch_size[0],
        "in_chans": data.shape[0],
        "global_pool": "avg",
        "class_token": False,
        "embed_dim": net.embed_dim,
        "depth": len(net.blocks),
        "num_heads": net.blocks[0].attn.num_heads,
        "dynamic_img_size": True,
        "dynamic_img_pad": True,
    }
