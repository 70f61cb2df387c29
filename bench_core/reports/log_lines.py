"""The log of a training as lines for people: epoch, loss and its parts, rate, speed, warnings."""

from collections.abc import Iterator, Mapping
from typing import Any

_OWN_PLACE = (  # shown elsewhere in the line, or not at all
    "epoch", "step", "loss", "seconds", "images_per_s", "learning_rate", "peak_memory_gib", "warnings", "stage",
    "kept_epoch", "after_training",
)  # fmt: skip


def log_lines(line: Mapping[str, Any], num_epochs: int | None = None) -> Iterator[str]:
    """Write one line of a training's log.

    Args:
        line: The JSON object of the log.
        num_epochs: Epochs of the training in all, if they are known.

    Yields:
        The epoch in one line, and a line for each of its warnings; or what the training returned at its end.
    """
    if "after_training" in line:
        yield "after training" + "".join(f"  {name} {_text(value)}" for name, value in _items(line["after_training"]))
        return
    parts = [f"epoch {line.get('epoch', '?')}{f'/{num_epochs}' if num_epochs else ''}"]
    if line.get("stage"):
        parts.append(f"stage {line['stage']}")
    parts.append(f"loss {_text(line.get('loss'))}")
    parts += [f"{name} {_text(value)}" for name, value in line.items() if name not in _OWN_PLACE]
    if "learning_rate" in line:
        parts.append(f"rate {_text(line['learning_rate'])}")
    if "images_per_s" in line:
        parts.append(f"{_text(line['images_per_s'], '.0f')} images/s")
    if line.get("kept_epoch"):
        parts.append(f"keeps epoch {line['kept_epoch']}")
    yield "  ".join(parts)
    warnings = line.get("warnings", [])
    for warning in warnings if isinstance(warnings, list) else [warnings]:
        yield f"  warning: {warning}"


def _items(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else [("", value)]


def _text(value: Any, form: str = ".4g") -> str:
    return format(value, form) if isinstance(value, float) else str(value)
