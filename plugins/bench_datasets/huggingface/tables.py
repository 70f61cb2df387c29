"""Tables of images as the library `datasets` reads them: opened without a network, and read as bytes of files."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench_core.data import content_digest, missing_data
from bench_core.errors import DataMissingError, RequestError

NAME = "huggingface_dataset"


def open_splits(place: Path, config: str | None) -> dict[str, Any]:
    """Return the splits of a local dataset: a copy of one of the hub, a saved one, a folder, or a parquet file."""
    if not place.exists():
        raise missing_data(NAME, place, "does not exist", fetch=False)
    datasets = library()
    with _quiet(datasets):
        try:
            if place.is_file():
                found = datasets.load_dataset("parquet", data_files={"train": str(place)})
            elif (place / "dataset_dict.json").is_file() or (place / "state.json").is_file():
                found = datasets.load_from_disk(str(place))
            else:
                found = datasets.load_dataset(str(place), config)
        except Exception as error:  # the library raises many kinds, also those of pyarrow
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise DataMissingError(
                f"{NAME}: {place} cannot be read by `datasets` ({reason}). Expected a parquet file, or a folder of "
                "parquet files, of images by split and class, or of `save_to_disk`."
            ) from error
    return dict(found) if isinstance(found, dict) else {"train": found}


class ImageTable:
    """The images of one split, read from a table of `datasets`."""

    def __init__(self, table: Any, column: str, split: str) -> None:
        """Keep the table, whose images shall not be decoded by the library."""
        self.table, self.column, self.split = table.cast_column(column, library().Image(decode=False)), column, split
        self._images = self.table.select_columns([column])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._images)

    def read(self, places: Iterable[int]) -> list[bytes]:
        """Return the contents of some images; one that the table only names is read from its file."""
        places = list(places)
        cells = self._images[places][self.column]
        contents = []
        for place, cell in zip(places, cells, strict=True):
            if cell is None or (cell["bytes"] is None and not cell["path"]):
                raise DataMissingError(f"{NAME}: {self.names([place])[0]} has no image; remove the row.")
            contents.append(Path(cell["path"]).read_bytes() if cell["bytes"] is None else cell["bytes"])
        return contents

    def names(self, places: Iterable[int]) -> list[str]:
        """Return split and row of some images, for messages."""
        return [f"row {place} of {self.split}" for place in places]

    def content(self, *, trust_cache: bool) -> str:
        """Return the digest of all images; from the cache while no file of the table and of its images changed."""
        cells = self._images.with_format("arrow")[:].column(self.column).chunks
        named = [
            path for part in cells for path in part.field("path").filter(part.field("bytes").is_null()).to_pylist()
        ]
        files = [Path(file["filename"]) for file in self.table.cache_files] + [Path(path) for path in named if path]
        version = f"{self.table._fingerprint} {self.column}"
        try:
            return content_digest(self, files, version, trust_stamps=trust_cache)
        except OSError as error:
            why = f"cannot be read ({error.strerror})"
            raise missing_data(NAME, Path(str(error.filename)), why, fetch=False) from error


def library() -> Any:
    """Return the package `datasets`."""
    try:
        import datasets
    except ImportError as error:
        raise RequestError("datasets is not installed; type: pip install 'bench-core[huggingface]'") from error
    return datasets


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Turn the progress bars of `datasets` off."""
    shown_before = datasets.utils.are_progress_bars_disabled() is False
    datasets.utils.disable_progress_bars()
    try:
        yield
    finally:
        if shown_before:
            datasets.utils.enable_progress_bars()
