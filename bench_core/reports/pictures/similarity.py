"""Pictures of kind `similarity`: debiased linear CKA of the embeddings of all pairs of methods, as a heat map.

Records hold no embeddings, so those of the test split are read from a store's chains.

Source: `bench_core.evaluation.cka`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench_core.errors import RequestError
from bench_core.keys import key_of
from bench_core.planning.boards import Picture
from bench_core.reports.pictures.model import PictureKind, PlotRequest, SeveralTablesError
from bench_core.reports.pictures.select import select_rows
from bench_core.reports.pictures.style import DARK, add_caption
from bench_core.reports.tables.entries import Entry, with_distinct_names
from bench_core.reports.tables.folds import in_one_entry

if TYPE_CHECKING:  # torch is imported when embeddings are read, not for a look at the table of kinds
    from matplotlib.figure import Figure
    from torch import Tensor

    from bench_core.store import Store

MAX_ITEMS = 1000
_MAX_WRITTEN_ROWS = 16  # with more rows, no numbers in the cells of the heat map


@dataclass(frozen=True)
class SimilarityData:
    """CKA of all pairs of rows at one seed.

    Attributes:
        dataset: The dataset of all rows.
        encoder: The encoder of all rows.
        methods: Names of the R rows that were compared.
        cka: (R, R), symmetric, in the order of `methods`.
        seed: The seed of all embeddings.
        items: Number of test items that were compared.
        missing: Names of the rows whose embeddings are not in the store.
    """

    dataset: str
    encoder: str
    methods: tuple[str, ...]
    cka: "Tensor"
    seed: int
    items: int
    missing: tuple[str, ...]


class Similarity(PictureKind[SimilarityData]):
    """Similarity of the embeddings of all pairs of rows."""

    name = "similarity"
    noun = "two rows with embeddings"
    hint = "`bench run --methods A,B` makes some"
    published = False

    def check(self, picture: Picture) -> None:
        """Refuse the picture: a board's page shows nothing that its published records do not hold."""
        raise _no_embeddings(picture)

    def possible_pictures(self, entries: Sequence[Entry], request: PlotRequest) -> Iterator[Picture]:
        """Yield one picture of all rows, only where the request names this kind: it reads many large files."""
        if request.kind == self.name:
            yield Picture(name=self.name, kind=self.name, methods=request.methods)

    def read(self, entries: Sequence[Entry], picture: Picture, store: "Store | None") -> SimilarityData:
        """Compare all pairs of rows at the seed at which most rows have embeddings; of equal seeds, the lowest.

        Raises:
            RequestError: Fewer than two rows have embeddings of the test split in the store, or there is more than
                one dataset or encoder.
        """
        if store is None:
            raise _no_embeddings(picture)
        done = [
            entry
            for entry in select_rows(with_distinct_names(in_one_entry(list(entries))), picture.methods)
            if entry.state == "done"
        ]
        pairs = {(entry.names["dataset"], entry.names["encoder"]) for entry in done}
        if len(pairs) > 1:
            raise SeveralTablesError(picture.name)
        rows = list(dict.fromkeys(entry.names["method"] for entry in done))
        folders = _embedding_folders(done, store)
        seed = _most_frequent_seed([seed for seed, _ in folders])
        methods = [method for method in rows if (seed, method) in folders]
        if len(methods) < 2:
            raise RequestError(
                f"{len(methods)} of {len(rows)} rows have embeddings of a test split under {store.path / 'chains'}, "
                "and a heat map needs two: they were deleted, or the records come from another store. Running a task "
                "that has no record yet makes them again."
            )
        features = [_load_features(folders[seed, method], seed) for method in methods]
        missing = tuple(method for method in rows if method not in methods)
        ((dataset, encoder),) = pairs
        return SimilarityData(
            dataset, encoder, tuple(methods), _pairwise_cka(features), seed, len(features[0]), missing
        )

    def shown(self, data: SimilarityData) -> list[tuple[str, str]]:
        """Return the rows; embeddings are of no task."""
        return [(method, "") for method in data.methods]

    def fingerprint_values(self, data: SimilarityData) -> list[Any]:
        """Return names and values, numbers as text with 9 significant digits."""
        return [list(data.methods), data.seed, [[f"{value:.9g}" for value in row] for row in data.cka.tolist()]]

    def paint(self, figure: "Figure", data: SimilarityData, picture: Picture) -> None:
        """Draw the heat map, the first row at the top."""
        count = len(data.methods)
        middles = [index + 0.5 for index in range(count)]
        size = 2.0 + max(2.5, 0.42 * count)
        figure.set_size_inches(size + 0.8, size)
        axes = figure.add_subplot()
        image = axes.pcolormesh(data.cka.numpy(), vmin=0, vmax=1, cmap="cividis", edgecolors="white", linewidth=1)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.tick_params(length=0)
        axes.set_xticks(middles, data.methods, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(middles, data.methods)
        if count <= _MAX_WRITTEN_ROWS:
            for row, values in enumerate(data.cka.tolist()):
                for column, value in enumerate(values):
                    colour = DARK if value > 0.55 else "white"
                    axes.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", fontsize=8,
                              color=colour)  # fmt: skip
        figure.colorbar(image, ax=axes, label="linear CKA, debiased", shrink=0.8)
        title = picture.title or f"{data.dataset}, {data.encoder}"
        add_caption(figure, f"{title}: {data.items:,} test items", f"seed {data.seed}")

    def notes(self, data: SimilarityData) -> list[str]:
        """Return which rows the heat map lacks."""
        return [f"no embeddings in this store of {', '.join(data.missing)}"] if data.missing else []


def _no_embeddings(picture: Picture) -> RequestError:
    return RequestError(
        f"picture {picture.name!r}: similarity reads embeddings, which are not published; draw it from a store with "
        "`bench plot --kind similarity`."
    )


def _embedding_folders(entries: Sequence[Entry], store: "Store") -> dict[tuple[int, str], Path]:
    """Return (seed, row) -> folder, for all entries whose embeddings of the test split are in the store."""
    from bench_core.training.embed import is_embedded

    folders = {}
    for entry in entries:
        assert entry.document is not None  # entries that are done have one
        folder = store.chain_folder(key_of(entry.document.pretrain)) / "embeddings" / key_of(entry.document.embed)
        if is_embedded(folder) and _test_digest(folder):
            folders[entry.seed, entry.names["method"]] = folder
    return folders


def _most_frequent_seed(seeds: Sequence[int]) -> int:
    """Return the seed that occurs most often, the lowest of several; 0 where there is none."""
    return max(seeds, key=lambda seed: (seeds.count(seed), -seed), default=0)


def _test_digest(folder: Path) -> str:
    from bench_core.store.chain_files import read_embedded

    return str(read_embedded(folder)["digests"].get("test", ""))


def _load_features(folder: Path, seed: int) -> "Tensor":
    """Load (N, D) features of at most `MAX_ITEMS` test items, the same items for all methods at a seed."""
    import torch

    from bench_core.seeds import stream
    from bench_core.store.tensors import load_tensors

    features = load_tensors(folder / "test.safetensors", _test_digest(folder))["features"].float()
    return features[torch.randperm(len(features), generator=stream(seed, "similarity", "items"))[:MAX_ITEMS]]


def _pairwise_cka(features: "Sequence[Tensor]") -> "Tensor":
    """Return the (R, R) CKA of R embeddings of the same items; 1 on the diagonal."""
    import torch

    from bench_core.evaluation.cka import linear_cka

    cka = torch.eye(len(features), dtype=torch.float64)
    for first in range(len(features)):
        for second in range(first):
            cka[first, second] = cka[second, first] = linear_cka(features[first], features[second])
    return cka
