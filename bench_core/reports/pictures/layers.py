"""Pictures of kind `layers`: a score over the layers of the encoder, a line for each row."""

from bench_core.reports.pictures.lines import LineKind


class Layers(LineKind):
    """Scores over layers, from curves `layers*`, x first."""

    name = "layers"
    noun = "a curve over layers"
    hint = "tasks that read every layer make one"
    prefix = "layers"
    mean_if = "same_x"
