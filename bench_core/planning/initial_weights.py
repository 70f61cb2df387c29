"""The weights that a method's encoder starts from: another chain of the same request, or a file.

    bench run --methods nac,vae --sweep vae.init=none,nac
    bench run --methods nac --set nac.init=moco.pth.tar --set nac.init_part=encoder_k

The key of a chain contains what defines its start: for another chain the parts of its document that define the encoder
and differ from the chain's own, for a file the SHA-256, with `init_part` and `init_partial` where they are set.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bench_core.contracts import Encoder, Objective
from bench_core.errors import RequestError, StoreError, one_line, shown
from bench_core.files import file_digest
from bench_core.nn.layers import Standardize
from bench_core.planning.weight_names import Match, Shapes, choose_match, find_matches, optional_names
from bench_core.store.chain_files import is_finished, read_recipe, read_summary
from bench_core.store.tensors import load_tensors
from bench_core.store.weight_files import check_weights, read_weights

_SHOWN = 3  # names in a line of a message
_LONGEST = 120  # characters of a name in a message


@dataclass(frozen=True)
class FromFile:
    """Choices of how the weights of an encoder are taken from a file.

    Attributes:
        part: Words before the names of the encoder's tensors in the file, such as "teacher"; "" leaves the choice to
            the names and shapes.
        partial: Whether the tensors that fit are loaded where others are missing or have other shapes; these come
            from the seed.
    """

    part: str = ""
    partial: bool = False

    def in_key(self) -> dict[str, Any]:
        """Return what of it is in a key: nothing where nothing is set."""
        return {**({"part": self.part} if self.part else {}), **({"partial": True} if self.partial else {})}


@dataclass(frozen=True)
class InitialWeights:
    """A file of weights that an encoder starts from.

    Attributes:
        path: A file with the weights of a trained method, of which the encoder's are loaded, or of an encoder alone.
        digest: The SHA-256 of the file.
        document: The part of the key's document that says what the encoder starts from.
        label: The start in words: "nac, 200 epochs".
        uses_labels: Whether labels took part in the training of the weights; False where that is not known.
        taken: How the encoder's tensors are taken from the file.
    """

    path: Path
    digest: str
    document: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    uses_labels: bool = False
    taken: FromFile = FromFile()

    @property
    def by_seed(self) -> bool:
        """True if other seeds of the row start from other weights: of another file, or in part of the seed itself."""
        return bool(self.document.get("by_seed")) or self.taken.partial

    def one_of_seeds(self) -> "InitialWeights":
        """Return the same weights, marked as those of one seed among others: `init` held `{seed}`."""
        return replace(self, document={**self.document, "by_seed": True})


def start_in_document(start: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a starting chain's document that takes part in the key of the chain that starts from it.

    It keeps the method, the recipe, and whatever differs. What both chains share, such as the data and the seed, is in
    the key already. So chains that start from the same method are one row over all seeds.

    Args:
        start: The document of the chain that trained the weights.
        document: The document of the chain that starts from them.
    """
    kept = {name: part for name, part in start.items() if name in ("method", "recipe") or part != document.get(name)}
    return {"chain": kept}


def find_initial_weights(
    init: str, document: Mapping[str, Any], other_methods: Sequence[str], taken: FromFile = FromFile()
) -> InitialWeights:
    """Find weights by the path of a chain's folder or of a file.

    Args:
        init: The value of `init`, which is not the name of a row.
        document: The document of the chain that starts from the weights.
        other_methods: The other methods of the request, for the message.
        taken: How the encoder's tensors are taken from a file.

    Raises:
        RequestError: There is no such folder or file, or it holds another encoder or no weights.
    """
    path = Path(init)
    with suppress(RuntimeError):  # "~user" of an unknown user
        path = path.expanduser()
    if is_finished(path):
        if taken != FromFile():
            raise RequestError(
                f"init_part and init_partial are for files; init = {init!r} is a chain, whose encoder is loaded whole."
            )
        return _weights_of_chain(init, path, document)
    if os.path.isfile(path):
        check_weights(path)
        digest = file_digest(path)
        in_key = {"sha256": digest, **taken.in_key()}
        return InitialWeights(path, digest, in_key, f"a file, sha256 {digest[:12]}", taken=taken)
    raise RequestError(
        f"init = {shown(init)} is no row of this request ({', '.join(other_methods) or 'it has no other'}), no chain's "
        "folder (STORE/chains/KEY) and no file; name a row (--methods nac,vae --set vae.init=nac), or give a path."
    )


def _weights_of_chain(init: str, folder: Path, document: Mapping[str, Any]) -> InitialWeights:
    start, summary = read_chain(folder)
    if start["encoder"] != document["encoder"]:
        raise RequestError(
            f"init = {init!r} was trained with encoder {start['encoder']}, this row has {document['encoder']}."
        )
    data, own = start["dataset"], document["dataset"]
    if "held_out" in own and data["id"] == own["id"] and data != own:
        raise RequestError(
            f"init = {init!r} was trained on {own['id']} with other parameters or parts, so perhaps on the items that "
            "this request holds out; train it with the same validation, or name its row in this request."
        )
    return InitialWeights(
        path=folder / "weights.safetensors",
        digest=summary["weights_sha256"],
        document=start_in_document(start, document),
        label=f"{start['method']['id'].rpartition('/')[2]}, {start['recipe']['epochs']} epochs",
        uses_labels=bool(summary.get("uses_labels")),
    )


def read_chain(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the document and the summary of a chain's folder; StoreError where they lack what is needed."""
    document, summary = read_recipe(folder)["doc"], read_summary(folder)
    if (document.get("recipe") or {}).get("epochs") is None:
        raise StoreError(f"{folder} is no chain's folder: it does not say how many epochs were trained.")
    return document, summary


def load_initial_weights(encoder: Encoder, initial: InitialWeights) -> str:
    """Load the weights into the encoder, in place, and return what was loaded in at most three lines.

    It is called before a method is built on the encoder, because a method may copy it.

    Raises:
        StoreError: The file is missing or has changed, or its tensors are not this encoder's.
        RequestError: Several parts of the file are this encoder's, or none is in the part that was chosen.
    """
    return load_file_into(encoder, initial.path, initial.digest, initial.taken.part, initial.taken.partial)


def load_file_into(module: nn.Module, path: Path, digest: str, part: str = "", partial: bool = False) -> str:
    """Load weights from a file into a network, in place, and return what was loaded in at most three lines.

    Names may differ as `bench_core.planning.weight_names` says. Mean and std of `Standardize` are those of the
    network's own data unless the file has them under the same names.

    Args:
        module: The network. Nothing of it changes where an error is raised.
        path: A safetensors file, or one that `torch.save` wrote.
        digest: The SHA-256 that the file must have.
        part: The value of `init_part`, "" for none.
        partial: The value of `init_partial`.

    Raises:
        StoreError: The file is missing or has changed, or its tensors are not this network's.
        RequestError: Several parts of the file are this network's, or none is in the part that was chosen.
    """
    tensors = read_weights(path, digest)
    own = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    expected = {name: tuple(value.shape) for name, value in own.items()}
    optional = optional_names(own) | _standardising(module)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    try:
        match = choose_match(find_matches(expected, optional, shapes), part, partial=partial)
    except RequestError as error:
        raise RequestError(f"{path.name}: {error}") from error
    if match and match.is_complete and partial:
        raise RequestError(
            f"{path.name} holds all tensors of this encoder{_under(match)}; leave out init_partial, "
            "which says that others come from the seed."
        )
    if match is None or not (match.is_complete or (partial and match.names and match.from_seed)):
        raise StoreError(_why_not(path, match, expected, optional, shapes))
    module.load_state_dict({name: tensors[there] for name, there in match.names.items()}, strict=False)
    return _loaded(path, match, shapes)


def load_weights(objective: Objective, weights: InitialWeights) -> None:
    """Load all weights of a trained method into a method of the same class and parameters, in place.

    Raises:
        StoreError: The file is damaged, or its tensors are not this method's.
    """
    try:
        objective.load_state_dict(load_tensors(weights.path, weights.digest))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise StoreError(f"{weights.path} does not hold the weights of this method: {reason}") from error


def _standardising(module: nn.Module) -> set[str]:
    """Return the names of means and stds in a network, which come from the data that it reads."""
    return {
        f"{name}.{buffer}" if name else buffer
        for name, layer in module.named_modules()
        if isinstance(layer, Standardize)
        for buffer in ("mean", "std")
    }


def _why_not(path: Path, match: Match | None, expected: Shapes, optional: Collection[str], shapes: Shapes) -> str:
    """Say in at most three lines why the weights of a file are not loaded."""
    begin = f"{path.name} does not hold the weights of this encoder"
    if match is None:
        needed = [name for name in expected if name not in optional]
        return f"{begin}: no names agree.\nIt needs {_some(needed)}.\nThe file has {_some(shapes)}."
    faults = []
    if match.missing:
        faults.append(f"lacks {_some(match.missing)}")
    if match.reshaped:
        sizes = [f"{name}: {shapes[there]}, not {expected[name]}" for name, there in match.reshaped.items()]
        faults.append(f"has other shapes for {_some(sizes)}")
    if match.surplus:
        faults.append(f"has layers that the encoder lacks, {_some(match.surplus)}")
    can_load = match.names and match.from_seed
    hint = f"\n--set NAME.init_partial=true loads the {len(match.names)} tensors that fit." if can_load else ""
    return f"{begin}{_under(match)}; it {'; '.join(faults)}.{hint}"


def _loaded(path: Path, match: Match, shapes: Shapes) -> str:
    """Say in at most three lines what was loaded from a file, what is left over in it, and what it lacks."""
    lines = [f"loaded {len(match.names)} tensors from {path.name}{_under(match)}"]
    if match.from_seed:
        lines.append(f"not loaded, because the file lacks them or has other shapes: {_some(match.from_seed)}")
    used = set(match.names.values())
    if left_over := [name for name in shapes if name not in used]:
        lines.append(f"left over in the file: {_some(left_over)}")
    return "\n".join(lines)


def _under(match: Match) -> str:
    return f" under {match.prefix}" if match.prefix else ""


def _some(names: Collection[str]) -> str:
    """Return the number of names, and the first of them: "5 tensors (a, b, c, ...)"."""
    first = ", ".join(one_line(name)[:_LONGEST] for name in islice(names, _SHOWN))
    plural = "tensor" if len(names) == 1 else "tensors"
    return f"{len(names)} {plural} ({first}{', ...' if len(names) > _SHOWN else ''})"
