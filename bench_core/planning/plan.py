"""The plan of a request: its chains and their cells, each with a key that is the hash of a document.

    request -> resolved components -> chains -> cells

A chain is one dataset x encoder x method x seed: pretrained once, embedded once. Its cells are its tasks.
A document is a JSON object with all that defines a number; docs/numbers.md lists what is in it and what is not. Names
of rows, devices and folders are not in it, so they change no key.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from stat import S_ISDIR
from typing import Any

from bench_core.config import build, plain
from bench_core.contracts import Dataset, DataSpec, OtherData, OutsideWeights
from bench_core.contracts.keywords import named_only
from bench_core.data import default_data_root
from bench_core.data.checked import load_split, reading_data
from bench_core.data.files import NO_FOLDER
from bench_core.data.held_out import HeldOut, held_out_name
from bench_core.errors import RequestError, shown
from bench_core.keys import HARNESS_REVISION, key_of
from bench_core.planning.at_epochs import at_epochs
from bench_core.planning.chains import Cell, Chain, Plan
from bench_core.planning.components import ConfiguredComponent
from bench_core.planning.initial_weights import FromFile, InitialWeights, find_initial_weights, start_in_document
from bench_core.planning.origins import RecipeOrigin
from bench_core.planning.outside_weights import SEED, Outside, at_seed, has_seed, name_of_all_seeds, outside_of_init
from bench_core.planning.request import Request, Resolved, resolve
from bench_core.planning.skip_reasons import encoder_skip_reason, plugin_named_in_errors, skip_reason_of
from bench_core.planning.teachers import TeacherWeights, find_teacher
from bench_core.plugins import Registry, load_plugins


@dataclass(frozen=True)
class _OpenedDataset:
    """A dataset of which shape, splits and digest are known; no images are loaded."""

    component: ConfiguredComponent
    loader: Dataset
    spec: DataSpec
    digest: str

    def document(self) -> dict[str, Any]:
        """Return what defines the data, and which part of train is held out, if one is."""
        document = {**self.component.document(), "digest": self.digest}
        return {**document, "held_out": self.loader.document} if isinstance(self.loader, HeldOut) else document


_OpenByName = Callable[[str], _OpenedDataset]  # opens a dataset with its default parameters


def make_plan(request: Request, registry: Registry, *, download: bool = False, check_data: bool = False) -> Plan:
    """Resolve every name and parameter of a request; nothing is trained or embedded.

    Args:
        request: The rows, columns and parameters that the user chose.
        registry: The plugins.
        download: Whether to download datasets first.
        check_data: Whether to read all files of the datasets again, also those that a cache has seen.

    Raises:
        RequestError: A name, parameter or value does not fit, or data is missing.
    """
    resolved = resolve(request, registry)
    plan = plan_resolved(resolved, request.data_root, registry, download=download, check_data=check_data)
    return at_epochs(plan, request.at_epochs)


def board_plan(board: str, registry: Registry | None = None) -> Plan:
    """Plan all rows and columns of a board."""
    return make_plan(Request(board=board, data_root=default_data_root()), registry or load_plugins())


def plan_resolved(
    resolved: Resolved, data_root: Path, registry: Registry, *, download: bool = False, check_data: bool = False
) -> Plan:
    """Plan the chains and cells of names and parameters that are resolved already."""
    _refuse_wrong_root(data_root)

    def open_configured(dataset: ConfiguredComponent) -> _OpenedDataset:
        opened = _open(dataset, data_root, download, check_data)
        return _held_out(opened, resolved.validation) if resolved.validation else opened

    @cache
    def open_by_name(name: str) -> _OpenedDataset:
        component = registry.get("dataset", name)
        return open_configured(ConfiguredComponent(name, component, component.cls.Config()))

    planner = _Planner(resolved, registry, open_by_name)
    chains = []
    for dataset in map(open_configured, resolved.components["datasets"]):
        folds = [open_configured(fold) for fold in _folds(dataset)]
        for encoder in resolved.usual_encoders.get(dataset.spec.kind) or resolved.components["encoders"]:
            chains += planner.chains(dataset, folds, encoder)
    return Plan(resolved.board, tuple(chains))


def _folds(dataset: "_OpenedDataset") -> list[ConfiguredComponent]:
    """Return the dataset once for each value of its parameter `fold`; nothing where it has a test part."""
    component, folds = dataset.component, dataset.spec.folds or 0
    config_type, config = component.plugin.cls.Config, component.config
    return [
        replace(component, config=build(config_type, {"fold": fold}, component.name, base=config))
        for fold in range(folds)
    ]


def _refuse_wrong_root(data_root: Path) -> None:
    """Raise RequestError if the folder of the datasets is something else, also where no dataset reads it.

    It may be missing: datasets that read nothing from it work without one, and `--download` creates it.
    """
    if data_root == NO_FOLDER:  # datasets that need a folder say that there is none
        return
    try:
        why = "" if S_ISDIR(data_root.stat().st_mode) else "is no folder"
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # a name that is too long or holds a NUL, a folder that may not be entered
        why = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if why:
        where = shown(str(data_root))
        raise RequestError(f"the data folder {where} {why}; name a folder with --data-root or BENCH_DATA.")


def _open(dataset: ConfiguredComponent, data_root: Path, download: bool, check_data: bool) -> _OpenedDataset:
    with plugin_named_in_errors(dataset), reading_data(dataset.name):
        loader: Dataset = dataset.plugin.cls(data_root, dataset.config)
        if download:
            loader.download()
        if check_data:
            loader.check_files()
        digest: object = loader.digest()
        if not isinstance(digest, str):
            raise TypeError(f"digest() must return text, got {shown(digest)}")
        return _OpenedDataset(dataset, loader, replace(loader.spec(), name=dataset.plugin.name), digest)


def _held_out(opened: _OpenedDataset, fraction: float) -> _OpenedDataset:
    """Return the two parts of a dataset's train split in its place, under a name that says so."""
    loader = HeldOut(opened.loader, opened.spec, fraction)
    named = replace(opened.component, name=held_out_name(opened.component.name, fraction))
    return replace(opened, component=named, loader=loader, spec=loader.spec())


@dataclass(frozen=True)
class _Planner:
    """Plans the chains of a resolved request."""

    resolved: Resolved
    registry: Registry
    open_by_name: _OpenByName

    def chains(
        self, dataset: _OpenedDataset, folds: Sequence[_OpenedDataset], encoder: ConfiguredComponent
    ) -> list[Chain]:
        """Plan the requested methods at all seeds, for one dataset and one encoder of the request.

        Rows of the board that were not requested are planned, too, if requested rows need them. They become the `init`
        or the `teacher` of these rows, not chains of the plan.

        Args:
            dataset: The dataset.
            folds: The dataset with each value of `fold`, for methods that use labels; empty where it has a test part.
            encoder: The encoder; rows may have one of their own in its place.
        """
        whole = self._of_one_dataset(dataset, encoder)
        of_folds = [
            self._of_one_dataset(fold, encoder, f"{number} of {len(folds)}") for number, fold in enumerate(folds)
        ]
        chains = []
        for method in self.resolved.components["methods"]:
            for seed in self.resolved.seeds:
                chain = whole[method.name, seed]
                if chain.is_one_network and seed != self.resolved.seeds[0]:
                    continue
                by_fold = [planned[method.name, seed] for planned in of_folds]
                needs_folds = (chain.uses_labels or chain.uses_factors) and not any(map(skip_reason_of, by_fold[:1]))
                chains += by_fold if by_fold and needs_folds else [chain]
        return chains

    def _of_one_dataset(
        self, dataset: _OpenedDataset, encoder: ConfiguredComponent, fold: str = ""
    ) -> dict[tuple[str, int], Chain]:
        """Return (method, seed) -> its chain, for all methods of the request and those that they need."""
        planned: dict[tuple[str, int], Chain] = {}
        for method in _methods_in_order_of_training(self.resolved):
            for seed in self.resolved.seeds:
                named = [start.get(method.name, "") for start in (self.resolved.inits, self.resolved.teachers)]
                init, teacher = (planned.get((start, seed), start) for start in named)
                chain = self._chain(dataset, encoder, method, seed, init, teacher)
                planned[method.name, seed] = self._with_cells(chain, encoder, fold)
        return planned

    def _chain(
        self,
        dataset: _OpenedDataset,
        beside: ConfiguredComponent,
        method: ConfiguredComponent,
        seed: int,
        init: Chain | str,
        teacher: Chain | str,
    ) -> Chain:
        """Plan one chain without its cells.

        Args:
            dataset: The opened dataset.
            beside: The encoder of the request, which the row may replace by its own.
            method: The method.
            seed: The seed of the training.
            init: The chain that the encoder starts from, the text of `init` where that is no row, or "".
            teacher: The chain of the teacher, the text of `teacher` where that is no row, or "".
        """
        recipe = self.resolved.recipes[method.name]
        row_encoder = self.resolved.row_encoders.encoder(method.name, beside, self.registry)
        encoder = at_seed(row_encoder, seed)
        outside = _outside(row_encoder, encoder, dataset.spec)
        document = {
            "protocol": HARNESS_REVISION,  # the field's name in every key; a record's `protocol` is the task's text
            "dataset": dataset.document(),
            "encoder": encoder.document() | ({"weights": outside.in_key()} if outside else {}),
            "method": method.document(),
            "recipe": plain(recipe),
            "precision": self.resolved.precision,
            "seed": seed,
        }
        start = self._init(init, method, document, seed)
        if outside is None and isinstance(start, InitialWeights) and method.plugin.cls.measures_outside_weights:
            outside = outside_of_init(start, str(init))
        taught = self._teacher(teacher, method, beside, document)
        for name, part in (("init", start), ("teacher", taught)):
            if isinstance(part, Chain):
                document[name] = start_in_document(part.document, document)
            elif part is not None:
                document[name] = part.weights.document if isinstance(part, TeacherWeights) else part.document
        embed_document = {"protocol": HARNESS_REVISION, "pretrain": document}
        return Chain(
            dataset=dataset.component,
            encoder=encoder,
            method=method,
            loader=dataset.loader,
            data=dataset.spec,
            recipe=recipe,
            origin=self.resolved.origins.get(method.name, RecipeOrigin()),
            precision=self.resolved.precision,
            seed=seed,
            document=document,
            key=key_of(document),
            embed_document=embed_document,
            embed_key=key_of(embed_document),
            cells=(),
            init=start,
            teacher=taught,
            outside=outside,
        )

    def _init(
        self, init: Chain | str, method: ConfiguredComponent, document: Mapping[str, Any], seed: int
    ) -> Chain | InitialWeights | None:
        """Return what the encoder of a row starts from; RequestError where that is another encoder."""
        taken = self.resolved.from_files.get(method.name, FromFile())
        if taken != FromFile() and (isinstance(init, Chain) or not init):
            raise RequestError(
                f"{method.name}.init_part and .init_partial say what of a file is loaded; give a file with "
                f"--set {method.name}.init=FILE, or leave them out."
            )
        if not init:
            return None
        if isinstance(init, str):
            found = find_initial_weights(init.replace(SEED, str(seed)), document, self._others(method), taken)
            return found.one_of_seeds() if SEED in init else found
        if init.document["encoder"] != document["encoder"]:
            raise RequestError(
                f"{method.name} cannot start from {init.method.name}, which has another encoder ({init.encoder.name}); "
                f"give both rows the same, with --set {init.method.name}.encoder."
            )
        return init

    def _teacher(
        self,
        teacher: Chain | str,
        method: ConfiguredComponent,
        beside: ConfiguredComponent,
        document: Mapping[str, Any],
    ) -> Chain | TeacherWeights | None:
        """Return the teacher of a row; RequestError where the method takes none."""
        if teacher and not named_only(method.plugin.cls.__init__, teacher=teacher):
            raise RequestError(f"{method.name} takes no teacher; leave out {method.name}.teacher.")
        if not isinstance(teacher, str):
            return teacher
        if not teacher:
            return None
        encoder = self.resolved.row_encoders.teacher_encoder(method.name, beside, self.registry)
        return find_teacher(teacher, method.name, document, encoder, self.registry, self._others(method))

    def _others(self, method: ConfiguredComponent) -> list[str]:
        return [row.name for row in self.resolved.components["methods"] if row is not method]

    def _with_cells(self, chain: Chain, beside: ConfiguredComponent, fold: str) -> Chain:
        """Return a chain with a cell for each task."""
        names = {"dataset": chain.dataset.name, "encoder": beside.name, "method": chain.row_name}
        if self.resolved.row_encoders.of_row.get(chain.method.name):
            names["own_encoder"] = chain.encoder.name
        if fold:
            names["fold"] = fold
        skip, tasks = skip_reason_of(chain), self.resolved.components["tasks"]
        return replace(chain, cells=tuple(_plan_cell(chain, task, names, skip, self.open_by_name) for task in tasks))


def _methods_in_order_of_training(resolved: Resolved) -> list[ConfiguredComponent]:
    """Return all methods, each after those that it needs.

    Raises:
        RequestError: Rows need each other in a circle.
    """
    rows = {method.name: method for method in (*resolved.components["methods"], *resolved.ancestors)}
    ordered: dict[str, ConfiguredComponent] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            what = "init goes" if all(row in resolved.inits for row in path) else "init and teacher go"
            raise RequestError(f"{what} in a circle: {' <- '.join([*path[path.index(name) :], name])}.")
        for start in (resolved.inits.get(name, ""), resolved.teachers.get(name, "")):
            if start in rows and start not in ordered:
                add(start, (*path, name))
        ordered.setdefault(name, rows[name])

    for name in rows:
        add(name, ())
    return list(ordered.values())


def _outside(row_encoder: ConfiguredComponent, encoder: ConfiguredComponent, data: DataSpec) -> Outside | None:
    """Return the weights that an encoder brings; None where it brings none or cannot read the data.

    Args:
        row_encoder: The encoder of the row, with `{seed}` in its parameters.
        encoder: The encoder at one seed.
        data: The dataset.
    """
    if encoder_skip_reason(encoder, data):
        return None
    with plugin_named_in_errors(encoder):
        weights: OutsideWeights | None = encoder.plugin.cls.outside_weights(encoder.config)
    if weights is None or not has_seed(row_encoder.config):
        return Outside(weights, by_seed=False) if weights else None
    name = name_of_all_seeds(weights.name, row_encoder.config, encoder.config)
    return Outside(replace(weights, name=name), by_seed=True)


def _plan_cell(
    chain: Chain,
    task: ConfiguredComponent,
    names: Mapping[str, str],
    chain_skip: str | None,
    open_by_name: _OpenByName,
) -> Cell:
    """Plan one task on a chain, with the chain's names; `chain_skip` is why the chain itself cannot run, or None."""
    document: dict[str, Any] = {"protocol": HARNESS_REVISION, "task": task.document(), "embed": chain.embed_document}
    with plugin_named_in_errors(task):
        evaluator = task.plugin.cls(task.config)
        skip = chain_skip or evaluator.skip_reason(chain.data, chain.method.plugin.cls)
        other_names = [] if skip else list(evaluator.datasets(chain.data))
    other_datasets: dict[str, OtherData] = {}
    for name in other_names:
        dataset = open_by_name(name)
        document.setdefault("others", {})[name] = dataset.document()
        other_datasets[name] = OtherData(dataset.spec, partial(load_split, dataset.loader, dataset.spec))
    return Cell({**names, "task": task.name}, chain.seed, task, document, key_of(document), skip, other_datasets)
