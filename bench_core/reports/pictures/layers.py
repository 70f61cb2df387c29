"""Pictures of kind `layers`: a score over the layers of the encoder, a line for each row."""

from bench_core.reports.pictures.lines import LineKind
from bench_core.reports.pictures.model import Columns
from bench_core.store.record import Record


class Layers(LineKind):
    """Scores over layers, from curves `layers*`, x first."""

    name = "layers"
    noun = "a curve over layers"
    hint = "tasks that read every layer make one"
    prefix = "layers"
    mean_if = "same_x"

    def point_names(self, record: Record, columns: Columns) -> tuple[str, ...]:
        """Return the layers' names, from the scores of single layers: `top1_conv1` is of layer conv1."""
        x_key, *y_keys = columns
        for key in y_keys:
            names = tuple(name.removeprefix(f"{key}_") for name in record.scores if name.startswith(f"{key}_"))
            if len(names) == len(columns[x_key]):
                return names
        return ()
