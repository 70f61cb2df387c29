"""Pictures of kind `pr`: precision over recall, a line for each row."""

from collections.abc import Mapping

from bench_core.reports.pictures.lines import LineKind
from bench_core.reports.pictures.model import Columns
from bench_core.store.record import Record


class PrecisionRecall(LineKind):
    """Precision over recall, from curves `pr_*`, which have a point for each radius."""

    name = "pr"
    noun = "a precision-recall curve"
    hint = "`bench run --tasks hashing` makes one"
    prefix = "pr_"
    needs = frozenset({"recall", "precision"})
    fractions = frozenset({"recall", "precision"})
    mean_if = "same_length"  # the points of two seeds with the same radius belong together, whatever their recall

    def series_in(self, record: Record) -> Mapping[str, Columns]:
        """Return the curves with recall first: records of older code have their keys sorted."""
        curves = super().series_in(record)
        return {name: {key: curve[key] for key in ("recall", "precision")} for name, curve in curves.items()}
