"""The formats in which an encoder leaves: each writes a folder, and reads it back as somebody else would."""

import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench_core.contracts import DataSpec
from bench_core.errors import RequestError
from bench_core.export import timm_format
from bench_core.export.load import CONFIG, MODEL, PREFIX, Trained, load_folder
from bench_core.files import file_digest, write_over
from bench_core.plugins import Registry
from bench_core.store.tensors import save_tensors

Features = Callable[[Any], Tensor]  # inputs as the encoder takes them -> features (N, D)
GRAPHS = {"torch_export": "model.pt2", "onnx": "model.onnx"}  # formats that hold the computation, and their file


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        write: Writes weights and `config.json` into a folder; gets the description that `config.json` holds.
        read: Reads the folder back, with the format's own library.
        usage: Lines of Python for the model card.
        needs: Modules that it needs, and the extra that installs them.
        graph: True where the encoder's computation is recorded, which takes tensors only.
    """

    write: Callable[[Trained, Path, Mapping[str, Any]], None]
    read: Callable[[Path, Registry], Features]
    usage: str
    needs: tuple[str, ...] = ()
    extra: str = ""
    graph: bool = False


def check_format(to: str, trained: Trained) -> None:
    """Refuse a format that this encoder cannot have.

    Raises:
        RequestError: A package is missing, or the format cannot hold this encoder; the message names those that can.
    """
    form = FORMATS[to]
    missing = [name for name in form.needs if find_spec(name) is None]
    if missing:
        raise RequestError(f"{' and '.join(missing)} is not installed; type: pip install 'bench-core[{form.extra}]'")
    if form.graph and trained.data.kind not in ("image", "vector", "other"):
        raise RequestError(
            f"{to} records a computation on tensors, and this encoder reads {trained.data.kind}; use --to safetensors "
            "or --to huggingface."
        )
    if to in ("safetensors", "huggingface") and trained.recipe["doc"]["encoder"].get("weights"):
        raise RequestError(
            f"{to} holds weights alone, and how this network reads images comes from the weights that it was built on "
            "elsewhere; use --to torch_export or onnx."
        )
    if to == "timm" and (reason := timm_format.refusal(trained.recipe["doc"]["encoder"]["id"], trained.data)):
        raise RequestError(f"{reason}; use --to safetensors, torch_export, onnx or huggingface.")


class OneInput(nn.Module):
    """An encoder whose one argument is called `images`, so that its graph has this name."""

    def __init__(self, encoder: nn.Module) -> None:
        """Keep the encoder."""
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (N, D)."""
        features: Tensor = self.encoder(images)
        return features


def example(data: DataSpec) -> Tensor:
    """Return inputs with which a graph is recorded; their number is free in it."""
    return torch.full((3, *data.shape), 0.5)


def _write_weights(trained: Trained, folder: Path, description: Mapping[str, Any], prefix: str = "") -> None:
    state = trained.encoder.state_dict()
    save_tensors(folder / MODEL, {prefix + name: tensor for name, tensor in state.items()})
    write_over(folder / CONFIG, {**description, "weights_sha256": file_digest(folder / MODEL)})


def _read_weights(folder: Path, registry: Registry) -> Features:
    return load_folder(folder, registry)


def _write_for_hub(trained: Trained, folder: Path, description: Mapping[str, Any]) -> None:
    _write_weights(trained, folder, description, PREFIX)


def _read_from_hub(folder: Path, registry: Registry) -> Features:
    from bench_core.export.hub_model import HubEncoder

    with redirect_stdout(io.StringIO()):  # it prints what it does
        model: nn.Module = HubEncoder.from_pretrained(folder, strict=True, registry=registry)
    return model.eval()


def _write_export(trained: Trained, folder: Path, description: Mapping[str, Any]) -> None:
    free = {"images": {0: torch.export.Dim("items")}}
    inputs = example(trained.data)
    program = torch.export.export(OneInput(trained.encoder).eval(), (inputs,), dynamic_shapes=free)
    torch.export.save(program, folder / GRAPHS["torch_export"])
    write_over(folder / CONFIG, description)


def _read_export(folder: Path, registry: Registry) -> Features:
    features: Features = torch.export.load(folder / GRAPHS["torch_export"]).module()
    return features


def _write_onnx(trained: Trained, folder: Path, description: Mapping[str, Any]) -> None:
    torch.onnx.export(
        OneInput(trained.encoder).eval(),
        (example(trained.data),),
        folder / GRAPHS["onnx"],
        input_names=["images"],
        output_names=["features"],
        dynamic_shapes={"images": {0: torch.export.Dim("items")}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    write_over(folder / CONFIG, description)


def _read_onnx(folder: Path, registry: Registry) -> Features:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / GRAPHS["onnx"], providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["features"], {"images": images.numpy()})[0])


FORMATS: dict[str, Format] = {
    "safetensors": Format(
        _write_weights, _read_weights, 'encoder = bench_core.load_encoder("DIR")\nfeatures = encoder(images)'
    ),
    "torch_export": Format(
        _write_export,
        _read_export,
        'encoder = torch.export.load("DIR/model.pt2").module()\nfeatures = encoder(images)',
        graph=True,
    ),
    "onnx": Format(
        _write_onnx,
        _read_onnx,
        'session = onnxruntime.InferenceSession("DIR/model.onnx")\n'
        '[features] = session.run(["features"], {"images": images})',
        ("onnx", "onnxscript", "onnxruntime"),
        "onnx",
        graph=True,
    ),
    "timm": Format(
        timm_format.write,
        timm_format.read,
        'encoder = timm.create_model("local-dir:DIR", pretrained=True).eval()\n'
        "features = encoder(standardised)  # (images - mean) / std, with the values in config.json",
        ("timm",),
        "timm",
    ),
    "huggingface": Format(
        _write_for_hub,
        _read_from_hub,
        'encoder = HubEncoder.from_pretrained("DIR")  # or bench_core.load_encoder("DIR")\nfeatures = encoder(images)',
        ("huggingface_hub",),
        "huggingface",
    ),
}
