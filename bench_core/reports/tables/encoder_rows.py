"""Rows that are a method with an encoder: without a board, a table is of one dataset and holds no encoder fixed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from bench_core.reports.tables.entries import Entry

RowLabels = Mapping[tuple[str, str], tuple[str, str]]  # dataset and name of the row -> method and encoder


def by_method_and_encoder(entries: Sequence[Entry]) -> tuple[list[Entry], RowLabels]:
    """Name the rows of each dataset after their method and, where one method has several, their encoder.

    Args:
        entries: Entries under the names of `with_distinct_names`.

    Returns:
        The entries, each cell once, all of a dataset with one `encoder`: that of all rows, or "" where encoders differ.
        Then method and encoder of each row of the datasets where encoders differ.
    """
    encoders: dict[str, dict[str, set[str]]] = {}  # dataset -> method -> encoders
    for entry in entries:
        of_dataset = encoders.setdefault(entry.names["dataset"], {})
        of_dataset.setdefault(entry.names["method"], set()).add(_encoder(entry))
    renamed: dict[tuple[object, ...], Entry] = {}
    labels: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in entries:
        dataset, method, encoder = entry.names["dataset"], entry.names["method"], _encoder(entry)
        of_dataset = encoders[dataset]
        row = f"{method} with {encoder}" if len(of_dataset[method]) > 1 else method
        differ = len(set().union(*of_dataset.values())) > 1
        if differ:
            labels[dataset, row] = (method, encoder)
        names = {**entry.names, "method": row, "encoder": "" if differ else encoder}
        renamed.setdefault((*names.items(), entry.seed), replace(entry, names=names))
    return list(renamed.values()), labels


def _encoder(entry: Entry) -> str:
    return entry.names.get("own_encoder") or entry.names["encoder"]
