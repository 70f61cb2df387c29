"""Reads files of weights from elsewhere, fits them to a network, and makes the digests of weights.

No code of a file is run: it is safetensors, or what `torch.save` wrote of tensors alone.
"""

import hashlib
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from bench_core.data import file_digest, read_weights
from bench_core.errors import RequestError, shown

_SHOWN = 3  # names in a message
_OPTIONAL = "num_batches_tracked"  # counts steps; older files lack it, and features do not depend on it


def file_at(setting: str, path: str, others: str = "") -> Path:
    """Return the path of a file that a parameter names.

    Args:
        setting: The parameter, as one types it: "timm.weights".
        path: Its value.
        others: What the value may be besides a path: "hub or none".

    Raises:
        RequestError: There is no such file.
    """
    file = Path(os.path.expanduser(path))
    if not file.is_file():
        right = f"{others}, or the path of a file" if others else "the path of a file"
        raise RequestError(f"{setting} = {shown(path)}: there is no such file; type --set {setting}=..., with {right}.")
    return file


def digest_of_file(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and values; the order of the names does not count."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_into(network: nn.Module, file: Path, unused: Collection[str] = ()) -> None:
    """Load the weights of a file into a network; what else the file holds, such as a classifier, is left.

    The file may hold them inside a mapping, or below a prefix such as `module.`, as long as one place fits.

    Args:
        network: Gets the weights.
        file: A safetensors file, or one that `torch.save` wrote.
        unused: Names of the network's tensors that may be missing, because nothing reads them.

    Raises:
        RequestError: The file cannot be read, or lacks weights, or holds several networks that fit.
    """
    found = read_weights(file, file_digest(file))
    state = {name: tensor for name, tensor in network.state_dict().items() if name not in unused}
    needed = [name for name in state if not name.endswith(_OPTIONAL)]
    if not needed:
        return
    last = needed[-1]
    places = {name.removesuffix(last) for name in found if name == last or name.endswith(f".{last}")}
    whole = [place for place in sorted(places, key=len) if all(place + name in found for name in needed)]
    if not whole:
        best = max(places, key=lambda place: sum(place + name in found for name in needed), default="")
        missing = [name for name in needed if best + name not in found]
        raise RequestError(
            f"{file} lacks {len(missing)} of {len(needed)} weights of this model: {_some(missing)}; "
            f"it holds {_some(list(found))}. Is it a file of another model?"
        )
    if len(whole) > 1:
        raise RequestError(f"{file} holds several networks that fit, below {_some(whole)}; save one of them alone.")
    taken = {name: found[whole[0] + name] for name in state if whole[0] + name in found}
    for name, tensor in taken.items():
        if tensor.shape != state[name].shape:
            raise RequestError(
                f"{file}: {name} has shape {tuple(tensor.shape)}, and the model's is {tuple(state[name].shape)}. "
                "Is it a file of another model?"
            )
    network.load_state_dict(taken, strict=False)


def _some(names: list[str]) -> str:
    """Return the first names, and how many there are besides."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(repr(name) for name in names[:_SHOWN]) or "nothing") + more
