"""Checks of datasets with parameters of one's own: behind `bench check --datasets NAME --set NAME.PATH=...`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench_core.contracts import Dataset
from bench_core.data.checked import load_split, reading_data
from bench_core.data.split_faults import first_items_fault
from bench_core.errors import ConfigError, DataMissingError
from bench_core.planning.boards import NamedComponent
from bench_core.planning.components import ConfiguredComponent, configure
from bench_core.planning.recipes import parameter_types
from bench_core.planning.settings import Typed, read_typed
from bench_core.planning.skip_reasons import plugin_named_in_errors
from bench_core.plugins import Registry


def own_datasets(names: Sequence[str], settings: dict[str, Typed], registry: Registry) -> list[ConfiguredComponent]:
    """Return the datasets of these names with the parameters that were typed.

    Args:
        names: Names of datasets.
        settings: "NAME.PARAM" -> value as typed.
        registry: The plugins.

    Raises:
        RequestError: There is no such dataset or parameter, a value does not fit, or a setting is of no dataset that
            is checked.
    """
    for path in settings:
        if path.partition(".")[0] not in names:
            raise ConfigError(f"--set {path} is of no dataset that is checked ({', '.join(names) or 'none'}); add it.")
    found = []
    for name in names:
        values = {path.partition(".")[2]: value for path, value in settings.items() if path.startswith(f"{name}.")}
        row = NamedComponent(name, name)
        typed = read_typed(values, parameter_types(row, "datasets", registry))
        found.append(configure(NamedComponent(name, name, typed), "datasets", registry))
    return found


def check_data(dataset: ConfiguredComponent, data_root: Path) -> Iterator[tuple[str, str | None]]:
    """Read all files of a dataset again, and compare its splits with its description.

    Args:
        dataset: The dataset with its parameters.
        data_root: Folder of the datasets.

    Yields:
        What was checked, and what is wrong with it, or None.
    """
    try:
        with plugin_named_in_errors(dataset), reading_data(dataset.name):
            loader: Dataset = dataset.plugin.cls(data_root, dataset.config)
            loader.check_files()
            spec, digest = loader.spec(), loader.digest()
    except DataMissingError as error:
        yield "its files can be read", str(error)
        return
    yield f"its files can be read, and have the digest {digest}", None
    for name, count in spec.splits.items():
        try:
            fault = first_items_fault(load_split(loader, spec, name), spec)
        except DataMissingError as error:
            fault = str(error)
        yield f"split {name!r} has {count:,} items, as its description says", fault
