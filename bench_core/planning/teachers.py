"""The trained method that another one learns from: a row of the same request, a chain's folder, or a file of weights.

    bench run --methods supervised,mimkd --set mimkd.teacher=supervised --set mimkd.encoder.widths=[16,32]

A row is trained before, with its own encoder. A folder is rebuilt whole: encoder, method and parameters are those of
its `chain.json`. A file holds weights alone, so `NAME.teacher_encoder` must say which encoder they are of. The key of
a chain contains what defines its teacher, as it contains what its encoder starts from.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_core.config import build
from bench_core.errors import RequestError, shown
from bench_core.files import file_digest
from bench_core.planning.components import ConfiguredComponent
from bench_core.planning.initial_weights import InitialWeights, read_chain, start_in_document
from bench_core.plugins import Registry
from bench_core.store.chain_files import is_finished
from bench_core.store.weight_files import check_weights

_PARTS = (("encoder", "encoder"), ("objective", "method"))  # kind of component, and its field in a chain's document


@dataclass(frozen=True)
class TeacherWeights:
    """A teacher that this request does not train.

    Attributes:
        encoder: Its encoder.
        method: Its method; None where it is an encoder alone.
        weights: The file of its weights, and what of it is in the key.
    """

    encoder: ConfiguredComponent
    method: ConfiguredComponent | None
    weights: InitialWeights

    @property
    def uses_labels(self) -> bool:
        """True if labels took part in its training, as far as known."""
        return self.weights.uses_labels


def find_teacher(
    text: str,
    row: str,
    document: Mapping[str, Any],
    encoder: ConfiguredComponent | None,
    registry: Registry,
    other_methods: Sequence[str],
) -> TeacherWeights:
    """Find a teacher by the path of a chain's folder or of a file of weights.

    Args:
        text: The value of `teacher`, which is not the name of a row.
        row: Name of the method's row that learns from it.
        document: The document of the row's chain.
        encoder: The encoder that `teacher_encoder` names, or None.
        registry: The plugins.
        other_methods: The other methods of the request, for the message.

    Raises:
        RequestError: There is no such folder or file, it was trained on other data, or it needs `teacher_encoder`.
    """
    path = Path(text)
    with suppress(RuntimeError):  # "~user" of an unknown user
        path = path.expanduser()
    if is_finished(path):
        return _teacher_of_chain(text, row, path, document, registry)
    if not os.path.isfile(path):
        raise RequestError(
            f"{row}.teacher = {shown(text)} is no row of this request ({', '.join(other_methods) or 'no others'}), "
            f"no chain's folder (STORE/chains/KEY), no file; name a row, --set {row}.teacher=supervised, or a path."
        )
    check_weights(path)
    if encoder is None:
        raise RequestError(
            f"{row}.teacher = {text!r} is a file of weights, which does not say of which encoder; add "
            f"--set {row}.teacher_encoder=NAME, or give the folder of its chain."
        )
    digest = file_digest(path)
    in_key = {"sha256": digest, "encoder": encoder.document()}
    return TeacherWeights(encoder, None, InitialWeights(path, digest, in_key, f"a file, sha256 {digest[:12]}"))


def _teacher_of_chain(
    text: str, row: str, folder: Path, document: Mapping[str, Any], registry: Registry
) -> TeacherWeights:
    start, summary = read_chain(folder)
    if start["dataset"] != document["dataset"]:
        raise RequestError(
            f"{row}.teacher = {text!r} was trained on {start['dataset']['id']} of other content or parameters than "
            "this row's data; name a chain that was trained on the same data."
        )
    if "teacher" in start:
        raise RequestError(f"{row}.teacher = {text!r} had a teacher itself; name its row in this request instead.")
    parts = {axis: _component(axis, start[part], text, row, registry) for axis, part in _PARTS}
    weights = InitialWeights(
        path=folder / "weights.safetensors",
        digest=summary["weights_sha256"],
        document=start_in_document(start, document),
        label=f"{start['method']['id'].rpartition('/')[2]}, {start['recipe']['epochs']} epochs",
        uses_labels=bool(summary.get("uses_labels")),
    )
    return TeacherWeights(parts["encoder"], parts["objective"], weights)


def _component(kind: str, stored: Mapping[str, Any], text: str, row: str, registry: Registry) -> ConfiguredComponent:
    plugin = registry.get(kind, stored["id"])
    if plugin.cls.revision != stored["revision"]:
        raise RequestError(
            f"{row}.teacher = {text!r} was trained with revision {stored['revision']} of {stored['id']}, which is now "
            f"{plugin.cls.revision}; train it again."
        )
    return ConfiguredComponent(plugin.name, plugin, build(plugin.cls.Config, stored["config"], f"{row}.teacher"))
