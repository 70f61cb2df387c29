"""A graph that another program exported: `torch.export` (.pt2) or ONNX (.onnx).

Source: ours. .pt2 is run by torch, .onnx by onnxruntime on the CPU.
Note:   The graph is run as it is and cannot be trained. Export it in eval mode. Images come in [0, 1], at the size of
    the graph's input; `mean` and `deviation` standardise them where the graph does not.

Shapes: N images, D features.
"""

import copy
import functools
import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from bench_core import Config, DataSpec, Encoder, OutsideWeights, hookimpl, param
from bench_core.errors import RequestError, one_line, shown

from .reading import Reading, Wanted, as_features, as_map, unreadable
from .weights import digest_of_file, file_at


@dataclass(frozen=True, kw_only=True)
class ExportedConfig(Config):
    """Parameters of the graph: its file, and how images are read."""

    path: str = param("", "file of the graph, .pt2 or .onnx; empty is none", "ours: it has to be chosen", in_key=False)
    size: int = param(0, "side of the images in pixels; 0 is the graph's, else the data's", "ours: as it is", ge=0)
    mean: tuple[float, ...] = param((), "mean that is subtracted; empty is none", "ours: the graph does it")
    deviation: tuple[float, ...] = param((), "deviation divided by; empty is none", "ours: the graph does it", gt=0)


class Exported(Encoder):
    """Graph of a .pt2 or .onnx file as it is (ours).

    `exported.path=FILE`. It takes images (N, C, H, W), and its first output is features (N, D), or a map (N, D, h, w)
    that is averaged.
    """

    Config = ExportedConfig
    kinds = frozenset({"image"})

    def __init__(self, data: DataSpec, config: ExportedConfig) -> None:
        """Load the graph, and find the number of its features with one empty image."""
        super().__init__(data, config)
        self.graph = _graph(file_at("exported.path", config.path))
        wanted = _wanted(config, self.graph.shape, data)
        self.reading = Reading(wanted)
        with torch.no_grad():
            self.dim = self(torch.zeros(1, wanted.channels, *data.shape[1:])).shape[1]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return features (N, D) of images (N, C, H, W) in [0, 1]."""
        return as_features(self.graph.run(self.reading(inputs)))

    def maps(self, inputs: Tensor) -> dict[str, Tensor]:
        """Return the graph's `output`: a map, or features as a map of one location."""
        return {"output": as_map(self.graph.run(self.reading(inputs)))}

    @classmethod
    def outside_weights(cls, config: ExportedConfig) -> OutsideWeights:
        """Return name and digest of the file; how images are read is in the key besides."""
        file = file_at("exported.path", config.path)
        digest, beside = digest_of_file(file), file.with_name(f"{file.name}.data")
        if beside.is_file():  # where ONNX keeps large weights
            digest = hashlib.sha256(f"{digest} {digest_of_file(beside)}".encode()).hexdigest()
        return OutsideWeights(name=file.stem, digest=digest, source=file.name)

    @classmethod
    def skip_reason(cls, data: DataSpec, config: ExportedConfig) -> str | None:
        """Return a reason unless a file is chosen and its graph reads these images."""
        if not config.path:
            return "no graph is chosen: type --set exported.path=FILE, with a .pt2 or .onnx file"
        file = Path(config.path).expanduser()
        if not (data.is_image and file.is_file()):
            return unreadable(data)
        return unreadable(data, _graph(file).shape[1] or data.shape[0])


class _Graph:
    """A graph that runs batches of images; copies of an encoder share it, since nothing changes it."""

    shape: tuple[int | None, ...]  # of its input, (N, C, H, W); None where it is free

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @torch.no_grad()
    def run(self, images: Tensor) -> Tensor:
        """Return the first output for images (N, C, H, W), in batches of the size that the graph has."""
        fixed = self.shape[0]
        count = len(images)
        least = fixed or 2  # graphs that were exported with a free batch may refuse a batch of one
        short = -count % fixed if fixed else max(0, least - count)
        padded = torch.cat([images, images[-1:].expand(short, -1, -1, -1)]) if short else images
        outputs = [self._call(part.contiguous()) for part in (torch.split(padded, fixed) if fixed else (padded,))]
        for output in outputs:
            if not isinstance(output, Tensor) or output.ndim not in (2, 4):
                told = tuple(output.shape) if isinstance(output, Tensor) else shown(output)
                raise RequestError(
                    f"the graph's first output must be features (N, D) or a map (N, D, h, w), got {told}"
                )
        return torch.cat(outputs)[:count]

    def _call(self, images: Tensor) -> Any:
        raise NotImplementedError


class _TorchGraph(_Graph):
    """A graph of `torch.export`; moved to the device of the images."""

    def __init__(self, file: Path) -> None:
        self.program: Any = torch.export.load(file)
        names = self.program.graph_signature.user_inputs
        inputs = [node for node in self.program.graph.nodes if node.op == "placeholder" and node.name in names]
        if len(inputs) != 1:
            raise RequestError(f"{file} has {len(inputs)} inputs; an encoder has one, the images")
        self.shape = tuple(side if isinstance(side, int) else None for side in inputs[0].meta["val"].shape)
        self.modules = {"cpu": self.program.module()}

    def _call(self, images: Tensor) -> Any:
        device = str(images.device)
        if device not in self.modules:
            from torch.export.passes import move_to_device_pass

            self.modules[device] = move_to_device_pass(copy.deepcopy(self.program), device).module()
        output = self.modules[device](images)
        return output[0] if isinstance(output, tuple | list) else output


class _OnnxGraph(_Graph):
    """A graph of ONNX; onnxruntime runs it on the CPU."""

    def __init__(self, file: Path) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        inputs = self.session.get_inputs()
        if len(inputs) != 1:
            raise RequestError(f"{file} has {len(inputs)} inputs; an encoder has one, the images")
        self.name, sides = inputs[0].name, inputs[0].shape
        self.shape = tuple(side if isinstance(side, int) else None for side in sides)

    def _call(self, images: Tensor) -> Any:
        output = self.session.run(None, {self.name: images.cpu().float().numpy()})[0]
        return torch.as_tensor(output).to(images.device)


def _graph(file: Path) -> _Graph:
    """Load a graph; once for a file that does not change.

    Raises:
        RequestError: It is no graph of images, or what runs it is missing.
    """
    status = file.stat()
    return _load(file, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=4)
def _load(file: Path, modified: int, size: int) -> _Graph:
    kinds = {".pt2": _TorchGraph, ".onnx": _OnnxGraph}
    if file.suffix not in kinds:
        raise RequestError(f"exported.path = {shown(str(file))} must end in .pt2 (torch.export.save) or .onnx")
    if file.suffix == ".onnx" and find_spec("onnxruntime") is None:
        raise RequestError("onnxruntime is not installed; type: pip install 'bench-core[onnx]'")
    try:
        graph = kinds[file.suffix](file)  # type: ignore[abstract, unused-ignore]  # each of the two is whole
    except RequestError:
        raise
    except Exception as error:  # a stranger's file: both libraries raise whatever its bytes lead to
        raise RequestError(f"{file} cannot be read as a graph, or is damaged: {one_line(str(error))}") from error
    if len(graph.shape) != 4:
        raise RequestError(f"{file} takes inputs of {len(graph.shape)} dimensions, not images (N, C, H, W)")
    return graph


def _wanted(config: ExportedConfig, shape: tuple[int | None, ...], data: DataSpec) -> Wanted:
    """Return how images are read: at the size of the graph's input, or where that is free, at their own."""
    channels, height, width = shape[1] or data.shape[0], shape[2], shape[3]
    size = (height, width) if height and width else None
    return Wanted(size=size, channels=channels, mean=(), deviation=()).changed("exported", config)


@hookimpl
def bench_encoders() -> dict[str, type[Encoder]]:
    return {"exported": Exported}
