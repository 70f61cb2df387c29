"""The table of the kinds of pictures.

A new kind is one file with a subclass of `PictureKind`, and an entry here: in `_CURVES_BY_PREFIX` if it reads curves
whose names begin with a prefix of its own, else in `_TABLE`. Boards, `bench plot`, its help and `bench publish` read
this table.
"""

from typing import Any

from bench_core.errors import UnknownNameError
from bench_core.planning.boards import Board, Picture
from bench_core.reports.pictures.filters import Filters
from bench_core.reports.pictures.histogram import Histogram
from bench_core.reports.pictures.layers import Layers
from bench_core.reports.pictures.lines import Lines
from bench_core.reports.pictures.model import PictureKind
from bench_core.reports.pictures.over_epochs import OverEpochs
from bench_core.reports.pictures.precision_recall import PrecisionRecall
from bench_core.reports.pictures.projection import Projection
from bench_core.reports.pictures.samples import Samples
from bench_core.reports.pictures.select import without_series
from bench_core.reports.pictures.series_kind import SeriesKind
from bench_core.reports.pictures.similarity import Similarity
from bench_core.reports.pictures.tradeoff import Tradeoff
from bench_core.reports.pictures.training import Training
from bench_core.reports.pictures.tuning import Tuning
from bench_core.store.record import Record

_CURVES_BY_PREFIX: tuple[SeriesKind, ...] = (
    Projection(),
    PrecisionRecall(),
    Histogram(),
    Layers(),
)
_TABLE: tuple[PictureKind[Any], ...] = (
    Tradeoff(),
    *_CURVES_BY_PREFIX,
    Lines(other_prefixes=[kind.prefix for kind in _CURVES_BY_PREFIX]),
    Samples(),
    Similarity(),
    Filters(),
    Training(),
    OverEpochs(),
    Tuning(),
)
KINDS = {kind.name: kind for kind in _TABLE}


def get_kind(name: str, hint: str = "") -> PictureKind[Any]:
    """Return the kind of a name.

    Raises:
        UnknownNameError: There is no such kind; the message lists all and ends with the hint.
    """
    if name not in KINDS:
        raise UnknownNameError("kind of picture", name, KINDS, hint)
    return KINDS[name]


def kind_of(picture: Picture, board: Board | None) -> PictureKind[Any]:
    """Return the kind of a picture as it reads a board.

    Args:
        picture: The picture.
        board: The board that the picture is of; None where there is none.

    Raises:
        UnknownNameError: There is no such kind.
    """
    kind = get_kind(picture.kind)
    return kind if board is None else kind.for_board(board)


def check_pictures(board: Board) -> None:
    """Check the pictures of a board before anything is run, drawn or published.

    Raises:
        RequestError: A kind does not exist, or options do not fit the kind.
    """
    for picture in board.pictures.values():
        get_kind(picture.kind, f"(picture {picture.name!r})").check(picture)


def _never_averaged_names(record: Record) -> set[str]:
    """Return the names of curves and images in a record of which pictures show the first seed's, not a mean."""
    names: set[str] = set()
    for kind in KINDS.values():
        if isinstance(kind, SeriesKind) and kind.mean_if == "never":
            names |= kind.series_in(record).keys()
    return names


def has_never_averaged(record: Record) -> bool:
    """Check whether a record holds curves or images of which pictures show the first seed's, not a mean."""
    return bool(_never_averaged_names(record))


def without_never_averaged(record: Record) -> Record:
    """Return a record without them, for other seeds than the first: they are large, and no picture shows them."""
    return without_series(record, _never_averaged_names(record))
