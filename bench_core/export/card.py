"""Writes the model card of a converted encoder: what it is, how to load it, what trained it, what it scored."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench_core.export.load import Trained
from bench_core.keys import leaves
from bench_core.store.record import Record

_IMPORTS = {
    "safetensors": "import bench_core",
    "torch_export": "import torch",
    "onnx": "import onnxruntime",
    "timm": "import timm",
    "huggingface": "from bench_core.export.hub_model import HubEncoder",
}


def card(trained: Trained, name: str, to: str, usage: str, records: Sequence[Record]) -> str:
    """Return the model card in Markdown.

    Args:
        trained: The encoder.
        name: The chain's name.
        to: Name of the format.
        usage: Lines of Python that load the folder.
        records: The chain's records.
    """
    return "\n".join([*_head(trained, name), *_usage(trained, to, usage), *_recipe(trained), *_scores(records),
                      *_provenance(trained)]) + "\n"  # fmt: skip


def _head(trained: Trained, name: str) -> Iterator[str]:
    summary = trained.summary
    yield from ("---", "library_name: bench-core", "tags:", "- self-supervised-learning", "---", "")
    yield from (f"# {name}", "")
    labels = "with labels" if summary.get("uses_labels") else "without labels"
    size = f"{summary['parameters']:,} parameters that gives {trained.encoder.dim} features"
    yield f"An encoder of {size}, trained {labels}: {trained.recipe.get('label', name)}."
    yield ""


def _usage(trained: Trained, to: str, usage: str) -> Iterator[str]:
    shape = ", ".join(map(str, ("N", *trained.data.shape)))
    yield from ("## Use", "", "```python", _IMPORTS[to], "", *usage.splitlines(), "```", "")
    standard = "standardised as `config.json` says" if to == "timm" else "not standardised: the network does it"
    values = f"images in [0, 1], {standard}" if trained.data.is_image else "inputs as the data set gives them"
    yield from (f"Inputs ({shape}): {values}. N is free.", "")


def _recipe(trained: Trained) -> Iterator[str]:
    document = trained.recipe["doc"]
    yield from ("## Training", "", "| parameter | value |", "|:--|:--|")
    for path, value in leaves({part: value for part, value in document.items() if part != "protocol"}):
        yield f"| {_cell(path)} | {_cell(value)} |"
    yield ""


def _scores(records: Sequence[Record]) -> Iterator[str]:
    if not records:
        return
    yield from ("## Scores", "", "| task | score | value |", "|:--|:--|:--|")
    for record in sorted(records, key=lambda record: record.names["task"]):
        for metric, score in record.scores.items():
            yield f"| {_cell(record.names['task'])} | {_cell(metric)} | {score.value:.6g} |"
    yield ""


def _provenance(trained: Trained) -> Iterator[str]:
    by: Mapping[str, Any] = trained.summary["provenance"]
    yield from ("## Provenance", "", "| | |", "|:--|:--|")
    facts = {"chain": trained.folder.name, "weights": f"sha256 {trained.summary['weights_sha256']}"}
    facts |= {what: str(by[what]) for what in ("bench", "torch", "commit", "device", "command") if by.get(what)}
    for what, value in facts.items():
        yield f"| {what} | {_cell(value)} |"


def _cell(value: Any) -> str:
    """Return a value as a cell of a table: one line, no bar."""
    return " ".join(str(value).split()).replace("|", "\\|")
