"""Find the encoder of a row: the board's, one of its own, or the usual one for the kind of data.

[methods.student]
encoder.widths = [16, 32, 64]       # the board's encoder with other widths

bench run --datasets cora --methods dgi     # no encoder is named: nodes are read by `gcn`
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench_core.config import build
from bench_core.planning.boards import NamedComponent, OwnEncoder
from bench_core.planning.components import ConfiguredComponent, configure
from bench_core.plugins import Registry

# Kind of data -> the encoder of a request that names neither an encoder nor a board; images have the default board's.
USUAL_ENCODERS = {"vector": "mlp", "nodes": "gcn", "graphs": "gin", "pairs": "branches"}


@dataclass(frozen=True)
class RowEncoders:
    """Makes the encoders that rows have in place of the board's.

    Attributes:
        of_row: Name of a method's row -> its own encoder.
        of_teacher: Name of a method's row -> the encoder of its teacher, where that is a file.
        board_rows: The board's encoders by name; a row may name one of them.
    """

    of_row: Mapping[str, OwnEncoder] = field(default_factory=dict)
    of_teacher: Mapping[str, OwnEncoder] = field(default_factory=dict)
    board_rows: Mapping[str, NamedComponent] = field(default_factory=dict)

    def encoder(self, row: str, beside: ConfiguredComponent, registry: Registry) -> ConfiguredComponent:
        """Return the encoder of a row: its own, or the one beside which it stands in a table.

        Args:
            row: Name of the method's row.
            beside: The board's encoder.
            registry: The plugins.

        Raises:
            RequestError: There is no such encoder, or a value does not fit.
        """
        return self._configured(self.of_row.get(row, OwnEncoder()), f"{row}.encoder", beside, registry)

    def teacher_encoder(self, row: str, beside: ConfiguredComponent, registry: Registry) -> ConfiguredComponent | None:
        """Return the encoder of a row's teacher, or None where the row names none; arguments as for `encoder`."""
        own = self.of_teacher.get(row)
        return self._configured(own, f"{row}.teacher_encoder", beside, registry) if own else None

    def _configured(
        self, own: OwnEncoder, where: str, beside: ConfiguredComponent, registry: Registry
    ) -> ConfiguredComponent:
        if not own:
            return beside
        if not own.use:
            config = build(beside.plugin.cls.Config, dict(own.values), where, base=beside.config)
            return ConfiguredComponent(_label(beside.name, own.values), beside.plugin, config)
        row = self.board_rows.get(own.use, NamedComponent(own.use, own.use))
        named = NamedComponent(where, row.use, {**row.values, **own.values})
        encoder = configure(named, "encoders", registry)
        return ConfiguredComponent(_label(own.use, own.values), encoder.plugin, encoder.config)


def _label(name: str, values: Mapping[str, Any]) -> str:
    """Return the name of an encoder with the parameters that a row changes: "convnet (widths=[16, 32])"."""
    changed = ", ".join(f"{param}={_spelled(value)}" for param, value in values.items())
    return f"{name} ({changed})" if changed else name


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
